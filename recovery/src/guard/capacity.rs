//! Would too few be left that serve?
//!
//! Members of a group stand in for one another: the units directly below one with a minimum, or those
//! with the same capacity group anywhere. A member is up as long as nothing speaks against it and
//! nobody restarts it, or a part of it, and no list says that it isn't there. What a restart takes from those that are down
//! anyway doesn't count, or a group that is sick as a whole could never be cured. But that it is sick as a whole must be
//! likelier than all else, and for longer than a moment: the first failures of one member are the group's, too.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use super::{Consequence, Deed, Down, Guard, Refusal, World, no, unsure_for};
use crate::{RestartTree, UnitName};

/// Members that stand in for one another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// For people: `the units below web`, `group storage`.
    pub name: String,
    /// They.
    pub members: Vec<UnitName>,
    /// So many must be up.
    pub minimum: u32,
}

/// All groups of a tree. `capacity` says how many of each named group must be up; a name that it lacks
/// is taken for "all of them", since a guard that can't tell says no.
pub fn groups(tree: &RestartTree, capacity: &BTreeMap<String, u32>) -> Vec<Group> {
    let mut groups = Vec::new();
    let mut named: BTreeMap<&str, Vec<UnitName>> = BTreeMap::new();
    for spec in tree.units() {
        if let Some(minimum) = spec.rules.minimum_healthy {
            groups.push(Group {
                name: format!("the units below {}", spec.name),
                members: tree.children(&spec.name).into_iter().cloned().collect(),
                minimum,
            });
        }
        if let Some(name) = &spec.rules.capacity_group {
            named.entry(name).or_default().push(spec.name.clone());
        }
    }
    groups.extend(named.into_iter().map(|(name, members)| {
        Group {
            name: format!("group {name}"),
            minimum: capacity
                .get(name)
                .copied()
                .unwrap_or_else(|| u32::try_from(members.len()).unwrap_or(u32::MAX)),
            members,
        }
    }));
    groups
}

/// The units that stand in for this one and that its restart doesn't touch: the other members of every
/// group that it, or what contains it, is in.
pub fn stand_ins(
    tree: &RestartTree,
    capacity: &BTreeMap<String, u32>,
    unit: &UnitName,
) -> Vec<UnitName> {
    let is_in = |group: &Group| {
        tree.chain(unit)
            .iter()
            .any(|above| group.members.contains(above))
    };
    let others: BTreeSet<UnitName> = groups(tree, capacity)
        .into_iter()
        .filter(is_in)
        .flat_map(|group| group.members)
        .filter(|member| !tree.touches(unit, member) && !tree.chain(unit).contains(&member))
        .collect();
    others.into_iter().collect()
}

/// Refusals of groups that would have too few left.
pub(super) fn check(deed: &Deed<'_>, world: &World<'_>, now: SystemTime) -> Vec<Refusal> {
    let tree = world.tree;
    let mut refusals = Vec::new();
    for group in groups(tree, &world.policy.capacity) {
        let takes = |unit: &UnitName| tree.touches(deed.target, unit);
        if !group.members.iter().any(takes) {
            continue;
        }
        let away: BTreeSet<&UnitName> = group
            .members
            .iter()
            .filter(|member| {
                world.leases.iter().any(|lease| {
                    Some(lease.recovery) != deed.recovery
                        && lease.until > now
                        && tree.touches(&lease.target, member)
                })
            })
            .collect();
        let health: Vec<(&UnitName, Health)> = group
            .members
            .iter()
            .map(|member| (member, health(member, world, now)))
            .collect();
        let sick: BTreeSet<&UnitName> = health
            .iter()
            .filter(|(_, health)| *health == Health::Sick)
            .map(|(member, _)| *member)
            .collect();
        let listed_down = || world.comings.missing.iter().chain(&world.comings.down);
        let absent: BTreeSet<&UnitName> = group
            .members
            .iter()
            .filter(|member| !sick.contains(member) && !away.contains(member))
            .filter(|member| listed_down().any(|unit| is_part(tree, unit, member)))
            .collect();
        // One that is being restarted would come back sooner without this.
        let takes_any = group
            .members
            .iter()
            .any(|unit| takes(unit) && !sick.contains(unit) && !absent.contains(unit));
        let left = group
            .members
            .iter()
            .filter(|unit| !away.contains(unit) && !sick.contains(unit))
            .filter(|unit| !absent.contains(unit) && !takes(unit))
            .count();
        let minimum = group.minimum as usize;
        if !takes_any || left >= minimum {
            continue;
        }
        // What is being restarted or cured comes back, and what is unclear clears up in a moment; what is well can't be
        // taken at any time.
        let is_unclear = health.iter().any(|(_, it)| *it == Health::Unclear);
        let comes_back =
            is_unclear || group.members.iter().filter(|unit| !takes(unit)).count() >= minimum;
        let consequence = match comes_back {
            true => Consequence::Wait,
            false => Consequence::GiveUp,
        };
        let words = format!(
            "of {}, {left} of {} would be left up, and {minimum} must be{}{}{}",
            group.name,
            group.members.len(),
            listed(&sick, "sick"),
            listed(&absent, "not up"),
            listed(&away, "being restarted"),
        );
        refusals.push(no(Guard::Capacity, consequence, None, words));
    }
    refusals
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Health {
    Well,
    /// Only what contains it is suspected, and only for a moment.
    Unclear,
    Sick,
}

/// How a member is, by the worst that is known. What contains it and may be well itself makes it unclear at first, and
/// then speaks against nobody: it doesn't get clearer by waiting, and somebody must be told.
fn health(member: &UnitName, world: &World<'_>, now: SystemTime) -> Health {
    let tree = world.tree;
    let suspected = world
        .down
        .iter()
        .filter(|down| is_part(tree, &down.unit, member));
    let by = |down: &Down| {
        let contains = down.unit != *member && tree.chain(member).contains(&&down.unit);
        let is_likely = down.probability >= world.policy.auto_probability;
        let lasted = now.duration_since(down.since).unwrap_or_default();
        match lasted >= unsure_for(world.policy) {
            _ if !contains || down.is_seen => Health::Sick,
            false => Health::Unclear,
            true if is_likely => Health::Sick,
            true => Health::Well,
        }
    };
    suspected.map(by).max().unwrap_or(Health::Well)
}

/// Whether one of the two contains the other, whatever goes together with them.
fn is_part(tree: &RestartTree, one: &UnitName, other: &UnitName) -> bool {
    tree.chain(one).contains(&other) || tree.chain(other).contains(&one)
}

fn listed(units: &BTreeSet<&UnitName>, are: &str) -> String {
    let names: Vec<&str> = units.iter().map(|unit| unit.as_str()).collect();
    match names.len() {
        0 => String::new(),
        1 => format!("; {} is {are}", names.concat()),
        _ => format!("; {} are {are}", names.join(", ")),
    }
}
