//! Would too few be left that serve?
//!
//! Members of a group stand in for one another: the units directly below one with a minimum, or those
//! with the same capacity group anywhere. A member is up as long as nothing speaks against it and
//! nobody restarts it, or a part of it, and no list says that it isn't there. What a restart takes from those that are down
//! anyway doesn't count, or a group that is sick as a whole could never be cured. But that it is sick as a whole must be
//! likelier than all else, and for longer than a moment: the first failures of one member are the group's, too.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use super::{Consequence, Deed, Guard, Refusal, UNSURE, World, no};
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
        let sick: BTreeSet<&UnitName> = group
            .members
            .iter()
            .filter(|member| is_sick(deed, member, world) == Some(true))
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
        // What is being restarted or cured comes back, and what is unclear clears up; what is well can't be taken at any
        // time.
        let mut members = group.members.iter();
        let is_unclear = members.any(|member| is_sick(deed, member, world).is_none());
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

/// Whether a member is sick; `None` where only what contains it is suspected, and not surely yet.
fn is_sick(deed: &Deed<'_>, member: &UnitName, world: &World<'_>) -> Option<bool> {
    let tree = world.tree;
    let suspected = world.down.iter().filter(|unit| is_part(tree, unit, member));
    let is_sure = |unit: &UnitName| {
        let contains = unit != member && tree.chain(member).contains(&unit);
        let known = deed.evidence.filter(|_| contains);
        // What fails no request was seen directly.
        let known = known.filter(|known| !known.signature.request_types.is_empty());
        known.is_none_or(|known| {
            let lasted = known.at.duration_since(known.since).unwrap_or_default();
            let mut suspects = known.suspects.iter().filter(|it| it.unit == *unit);
            let is_likely = |probability| probability >= world.policy.auto_probability;
            suspects.all(|it| is_likely(it.probability) && lasted >= UNSURE)
        })
    };
    let sure: Vec<bool> = suspected.map(is_sure).collect();
    match sure.contains(&true) {
        true => Some(true),
        false if sure.is_empty() => Some(false),
        false => None,
    }
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
