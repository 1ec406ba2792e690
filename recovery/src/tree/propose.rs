//! What do past recoveries say about the tree's shape?
//!
//! Every cure, and everything that was tried before it in vain, says something about which restarts should
//! have been to be had. From the ledger's history come edits, each with what it would have saved, for a
//! person to review; nothing changes a tree by itself. (The iRoom's oracle inferred dependencies that its
//! tree didn't have in the same way.)
//!
//! What an edit would have saved is counted over the very recoveries that it is based on, with the mean
//! measured cost of each unit's restarts: an estimate, and an optimistic one, as all that is read off the
//! past that suggested it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use rekindle_stats::{Probability, Share};

use super::RestartTree;
use super::edit::{Edit, apply, children};
use crate::{Around, ExecutorSpec, Mode, UnitName, UnitRules, UnitSpec};

/// From so many recoveries of a kind on, it isn't an accident.
pub(super) const LEAST: usize = 3;

/// A fault that shows within this after a restart follows from it: starting and the noticing of the
/// next fault take seconds, unrelated faults are hours apart.
pub(super) const FOLLOWS_WITHIN: Duration = Duration::from_secs(60);

/// One restart of the history.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// The unit that was decided on.
    pub unit: UnitName,
    /// When the fault began, where known.
    pub began: Option<SystemTime>,
    /// When.
    pub at: SystemTime,
    /// Whether it ended the fault; `None` where that can't be told.
    pub cured: Option<bool>,
    /// How long it was away, where known.
    pub downtime: Option<Duration>,
    /// Users' requests that it failed, where known.
    pub failed_requests: Option<f64>,
}

/// Something in a unit that is none itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Nameless {
    /// The unit.
    pub unit: UnitName,
    /// What it could be called.
    pub name: UnitName,
    /// The telemetry attributes that tell it from the rest of the unit.
    pub selector: BTreeMap<String, String>,
}

/// One recovery: what was tried, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Episode {
    /// The restarts.
    pub attempts: Vec<Attempt>,
    /// What was suspected first, where that is a part of a unit that has no restart of its own.
    pub suspect: Option<Nameless>,
}

impl Episode {
    pub(super) fn cure(&self) -> Option<&UnitName> {
        let last = self.attempts.last()?;
        (last.cured == Some(true)).then_some(&last.unit)
    }

    /// What was tried in vain before the cure.
    fn in_vain(&self) -> BTreeSet<&UnitName> {
        let vain = self.attempts.iter();
        vain.filter(|attempt| attempt.cured == Some(false))
            .map(|attempt| &attempt.unit)
            .collect()
    }

    /// What was tried in vain of the cure's parts, of one and what contains it the larger: that was in vain for both.
    pub(super) fn in_vain_below(&self, tree: &RestartTree, cure: &UnitName) -> Vec<&UnitName> {
        let tried = self.in_vain();
        let is_part = |unit: &UnitName| unit != cure && tree.contains(cure, unit);
        let is_largest = |unit: &UnitName| {
            let mut others = tried.iter();
            !others.any(|other| *other != unit && is_part(other) && tree.contains(other, unit))
        };
        let parts = tried.iter().copied();
        parts
            .filter(|unit| is_part(unit) && is_largest(unit))
            .collect()
    }
}

/// One executor's part of an attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The recovery's number.
    pub recovery: u64,
    /// Who was restarted, of what was decided on.
    pub unit: UnitName,
    /// The attempt, as far as this part says.
    pub attempt: Attempt,
}

/// The recoveries of these steps, which come oldest first. Each part of a unit is a step of its own; together they are one
/// attempt.
pub fn episodes(steps: impl IntoIterator<Item = Step>) -> BTreeMap<u64, Episode> {
    let mut episodes: BTreeMap<u64, Episode> = BTreeMap::new();
    for step in steps {
        let Step {
            recovery,
            unit,
            attempt,
        } = step;
        let attempts = &mut episodes.entry(recovery).or_default().attempts;
        let is_part = |last: &&mut Attempt| last.unit == attempt.unit && unit != attempt.unit;
        match attempts.last_mut().filter(is_part) {
            Some(last) => {
                let both = last.downtime.zip(attempt.downtime);
                last.downtime = both.map(|(one, other)| one + other);
            }
            None => attempts.push(attempt),
        }
    }
    episodes
}

/// A change that the history speaks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposal {
    /// The change.
    pub edit: Edit,
    /// Why, in a sentence.
    pub why: String,
    /// The recoveries that it is based on.
    pub episodes: usize,
    /// What it would have saved over them, in seconds away.
    pub saved_seconds: f64,
    /// The same in users' failed requests, where restarts' were measured.
    pub saved_requests: f64,
}

/// What restarts of a unit took and cost on average.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    seconds: f64,
    requests: f64,
}

impl Cost {
    fn plus(self, other: Self) -> Self {
        Self {
            seconds: self.seconds + other.seconds,
            requests: self.requests + other.requests,
        }
    }

    fn times(self, factor: f64) -> Self {
        Self {
            seconds: factor * self.seconds,
            requests: factor * self.requests,
        }
    }
}

struct Books<'a> {
    tree: &'a RestartTree,
    episodes: &'a [Episode],
    costs: BTreeMap<&'a UnitName, Cost>,
}

impl<'a> Books<'a> {
    fn of(tree: &'a RestartTree, episodes: &'a [Episode]) -> Self {
        let mut sums: BTreeMap<&UnitName, (f64, u32, f64, u32)> = BTreeMap::new();
        for attempt in episodes.iter().flat_map(|episode| &episode.attempts) {
            let sum = sums.entry(&attempt.unit).or_default();
            if let Some(downtime) = attempt.downtime {
                sum.0 += downtime.as_secs_f64();
                sum.1 += 1;
            }
            if let Some(failed) = attempt.failed_requests.filter(|failed| failed.is_finite()) {
                sum.2 += failed;
                sum.3 += 1;
            }
        }
        let mean = |sum: f64, count: u32| sum / f64::from(count.max(1));
        let costs = sums.into_iter().map(|(unit, sum)| {
            let cost = Cost {
                seconds: mean(sum.0, sum.1),
                requests: mean(sum.2, sum.3),
            };
            (unit, cost)
        });
        Self {
            tree,
            episodes,
            costs: costs.collect(),
        }
    }

    fn cost(&self, unit: &UnitName) -> Cost {
        if let Some(cost) = self.costs.get(unit) {
            return *cost;
        }
        // Never restarted: what is configured, or what its parts take.
        let spec = self.tree.spec(unit);
        if spec.is_some_and(|spec| spec.executor.is_none()) {
            let parts = self.tree.restarts(unit).into_iter();
            return self.together(parts.filter(|part| *part != unit));
        }
        Cost {
            seconds: spec
                .and_then(|spec| spec.expected_downtime)
                .unwrap_or_default()
                .as_secs_f64(),
            requests: 0.0,
        }
    }

    /// Parts are started one after the other.
    fn together<'u>(&self, units: impl IntoIterator<Item = &'u UnitName>) -> Cost {
        let costs = units.into_iter().map(|unit| self.cost(unit));
        costs.fold(Cost::default(), Cost::plus)
    }

    fn proposal(&self, edit: Edit, why: String, episodes: usize, saved: Cost) -> Option<Proposal> {
        let is_gain = saved.seconds > 0.0 || saved.requests > 0.0;
        // What can't be done isn't proposed.
        (is_gain && apply(self.tree, &edit).is_ok()).then_some(Proposal {
            edit,
            why,
            episodes,
            saved_seconds: saved.seconds,
            saved_requests: saved.requests,
        })
    }

    /// Units that were only cured together: each in vain, then what contains them and more.
    fn cured_together(&self) -> Vec<Proposal> {
        let mut kinds: BTreeMap<(&UnitName, Vec<&UnitName>), usize> = BTreeMap::new();
        for episode in self.episodes {
            let Some(cure) = episode.cure() else { continue };
            let vain = episode.in_vain_below(self.tree, cure);
            // All the parts of the cure are it already.
            let parts = children(self.tree, cure);
            let is_all = vain.len() == parts.len() && parts.iter().all(|part| vain.contains(&part));
            if vain.len() >= 2 && !is_all {
                *kinds.entry((cure, vain)).or_default() += 1;
            }
        }
        let proposals = kinds.into_iter().filter(|(_, count)| *count >= LEAST);
        proposals
            .filter_map(|((cure, units), count)| {
                let names: Vec<String> = units.iter().map(ToString::to_string).collect();
                let why = format!(
                    "{count} times neither {} alone cured, and {cure} did, which is more than them",
                    names.join(" nor ")
                );
                // Each alone in vain, then the whole; instead of just them together.
                let each = self.together(units.iter().copied());
                let then = each.plus(self.cost(cure));
                let saved = then.plus(each.times(-1.0)).times(count as f64);
                let edit = self.grouped(&units);
                self.proposal(edit, why, count, saved)
            })
            .collect()
    }

    /// The edit that makes one group of these: below a unit of its own where they are parts of one, otherwise by a
    /// rule.
    fn grouped(&self, units: &[&UnitName]) -> Edit {
        let parents: BTreeSet<_> = units.iter().map(|unit| self.tree.parent(unit)).collect();
        let members = units.iter().copied().cloned().collect();
        match parents.len() {
            1 => Edit::Consolidate {
                group: group_name(units),
                units: members,
            },
            _ => Edit::Join {
                units: members,
                in_order: false,
            },
        }
    }

    /// Units whose restart is followed by another's fault, as the estimators of Mercury.
    fn followed(&self) -> Vec<Proposal> {
        let mut restarts: BTreeMap<&UnitName, usize> = BTreeMap::new();
        let mut follows: BTreeMap<(&UnitName, &UnitName), usize> = BTreeMap::new();
        let last_of = |episode: &'a Episode| episode.attempts.last();
        for last in self.episodes.iter().filter_map(last_of) {
            *restarts.entry(&last.unit).or_default() += 1;
        }
        for next in self.episodes {
            let Some(first) = next.attempts.first() else {
                continue;
            };
            // Who was sick before, and only had to wait, doesn't fail of it; and it is one fault, however many were
            // restarted in a row.
            let began = first.began.unwrap_or(first.at);
            let followed = self.episodes.iter().filter_map(last_of).filter(|last| {
                let after = first.at.duration_since(last.at);
                after.is_ok_and(|after| !after.is_zero() && after <= FOLLOWS_WITHIN)
                    && began > last.at
                    && !self.tree.overlap(&first.unit, &last.unit)
            });
            let followed: BTreeSet<&UnitName> = followed.map(|last| &last.unit).collect();
            for one in followed {
                *follows.entry((one, &first.unit)).or_default() += 1;
            }
        }
        let mut found = Vec::new();
        for ((one, other), count) in follows {
            let of = restarts.get(one).copied().unwrap_or(0);
            if count < LEAST || 2 * count <= of {
                continue;
            }
            let why = format!(
                "{count} of {of} restarts of {one} were followed by a fault of {other} within {} s",
                FOLLOWS_WITHIN.as_secs()
            );
            let mut units = vec![one, other];
            units.sort();
            let edit = match self.grouped(&units) {
                // Who fails after the other's restart is restarted after it.
                Edit::Join { .. } => Edit::Join {
                    units: vec![one.clone(), other.clone()],
                    in_order: true,
                },
                below_one => below_one,
            };
            // Started together, the second isn't away once more.
            let saved = self.cost(other).times(count as f64);
            found.extend(self.proposal(edit, why, count, saved));
        }
        found
    }

    /// Units whose restart alone is so often in vain that the whole at once would have been cheaper.
    fn in_vain(&self) -> Vec<Proposal> {
        let mut found = Vec::new();
        for spec in self.tree.units() {
            let unit = &spec.name;
            let Some(parent) = self.tree.parent(unit) else {
                continue;
            };
            let cured_by = |cure: &UnitName| {
                let episodes = self.episodes.iter();
                episodes
                    .filter(|episode| episode.cure() == Some(cure))
                    .filter(|episode| cure == unit || episode.in_vain().contains(unit))
                    .count()
            };
            let (alone, whole) = (cured_by(unit), cured_by(parent));
            if whole + alone < LEAST || whole == 0 {
                continue;
            }
            let own = self.cost(unit).times((whole + alone) as f64);
            let now = own.plus(self.cost(parent).times(whole as f64));
            let then = self.cost(parent).times((whole + alone) as f64);
            let saved = now.plus(then.times(-1.0));
            let why = format!(
                "restarting {unit} alone was in vain {whole} of {} times, and then took {parent}",
                whole + alone
            );
            let edit = Edit::Promote { unit: unit.clone() };
            found.extend(self.proposal(edit, why, whole + alone, saved));
        }
        found
    }

    /// Parts without a restart of their own for whose sake a whole is restarted again and again.
    fn nameless(&self) -> Vec<Proposal> {
        let mut cured: BTreeMap<&Nameless, usize> = BTreeMap::new();
        for episode in self.episodes {
            let suspect = episode.suspect.as_ref();
            if let Some(part) = suspect.filter(|part| episode.cure() == Some(&part.unit)) {
                *cured.entry(part).or_default() += 1;
            }
        }
        let often = cured.into_iter().filter(|(_, count)| *count >= LEAST);
        often
            .filter_map(|(part, count)| {
                let unit = &part.unit;
                let parts = vec![observed(&part.name, &part.selector)];
                let edit = Edit::Deepen {
                    unit: unit.clone(),
                    parts,
                };
                let (own, like) = self.microreboot(unit);
                let why = format!(
                    "{count} times {unit} was restarted, which cured, while {} in it was suspected; {like}",
                    part.name
                );
                let saved = self.cost(unit).plus(own.times(-1.0)).times(count as f64);
                self.proposal(edit, why, count, saved)
            })
            .collect()
    }

    /// What the restart of a part by itself may cost, and whence that is known.
    fn microreboot(&self, of: &UnitName) -> (Cost, &'static str) {
        let is_http = |unit: &UnitName| {
            let spec = self.tree.spec(unit);
            let executor = spec.and_then(|spec| spec.executor.as_ref());
            matches!(executor, Some(ExecutorSpec::Http(_)))
        };
        let known: Vec<Cost> = self
            .costs
            .iter()
            // Not those of the whole that is to be spared.
            .filter(|(unit, _)| is_http(unit) && !self.tree.contains(unit, of))
            .map(|(_, cost)| *cost)
            .collect();
        match known.len() {
            0 => (
                Cost::default(),
                "what a restart of it alone costs is not known, and taken for nothing",
            ),
            some => (
                known
                    .into_iter()
                    .fold(Cost::default(), Cost::plus)
                    .times(1.0 / some as f64),
                "a restart of it alone is taken to cost what microreboots here do",
            ),
        }
    }

    /// Wholes that cure, some of whose parts are dear to restart and seldom at fault: parts that differ in how long they
    /// take (MTTR), in how often they fail (MTTF), or in both.
    fn seldom_and_dear(&self) -> Vec<Proposal> {
        let mut found = Vec::new();
        for spec in self.tree.units().filter(|spec| spec.executor.is_none()) {
            let unit = &spec.name;
            let of_it = |episode: &&&Episode| {
                let cure = episode.cure();
                // Where several parts were in vain, they are what goes together.
                cure.is_some_and(|cure| self.tree.contains(unit, cure))
                    && (cure != Some(unit) || episode.in_vain().len() < 2)
            };
            let episodes: Vec<&Episode> = self.episodes.iter().collect();
            let episodes: Vec<&Episode> = episodes.iter().filter(of_it).copied().collect();
            let cures = episodes.iter().filter(|it| it.cure() == Some(unit)).count();
            let mut parts = children(self.tree, unit);
            if cures < LEAST || parts.len() < 3 {
                continue;
            }
            let at_fault = |some: &[UnitName]| {
                let is_of = |attempt: &Attempt| {
                    let mut some = some.iter();
                    some.any(|part| self.tree.contains(part, &attempt.unit))
                };
                let episodes = episodes.iter();
                episodes
                    .filter(|episode| episode.attempts.iter().any(is_of))
                    .count()
            };
            // The dearest for what they are at fault come first, and the best cut of that order is one of its prefixes.
            let worth = |part: &UnitName| {
                let faults = at_fault(std::slice::from_ref(part)) as f64;
                self.cost(part).seconds / (faults + 1.0)
            };
            parts.sort_by(|a, b| worth(b).total_cmp(&worth(a)).then(a.cmp(b)));
            let cuts = (1..parts.len() - 1).filter_map(|at| {
                let (seldom, often) = parts.split_at(at);
                let faults = at_fault(seldom);
                let share = Share::of(faults as u64, (episodes.len() - faults) as u64);
                // Not seen to be at fault is not never.
                let most = share.wilson(Probability::P95).high;
                let spared = self.together(seldom).times(1.0 - most);
                let in_vain = self.together(often).times(most);
                let saved = spared.plus(in_vain.times(-1.0)).times(cures as f64);
                Some((at, faults, saved)).filter(|(_, _, saved)| saved.seconds > 0.0)
            });
            let best = cuts.max_by(|(_, _, a), (_, _, b)| a.seconds.total_cmp(&b.seconds));
            let Some((at, faults, saved)) = best else {
                continue;
            };
            let (seldom, often) = parts.split_at(at);
            let names: Vec<&str> = seldom.iter().map(UnitName::as_str).collect();
            let why = format!(
                "{unit} cured {cures} times in {:.1} s, {:.1} s of which are for {}, suspected in {faults} of {} recoveries",
                self.cost(unit).seconds,
                self.together(seldom).seconds,
                names.join(", "),
                episodes.len()
            );
            let group = |members: &[UnitName]| {
                let mut members = members.to_vec();
                members.sort();
                let name = match &members[..] {
                    [one] => UnitName(format!("{one}.alone")),
                    several => group_name(&several.iter().collect::<Vec<_>>()),
                };
                (name, members)
            };
            let edit = Edit::Split {
                unit: unit.clone(),
                groups: vec![group(often), group(seldom)],
            };
            found.extend(self.proposal(edit, why, cures, saved));
        }
        found
    }
}

/// A unit of which a person has yet to say how it is restarted; as long as nobody has, a tree may only observe it.
fn observed(name: &UnitName, selector: &BTreeMap<String, String>) -> UnitSpec {
    UnitSpec {
        name: name.clone(),
        parent: None,
        selector: selector.clone(),
        executor: None,
        start_deadline: Duration::from_secs(30),
        ready: None,
        check: None,
        watches: Vec::new(),
        mode: Some(Mode::Observe),
        expected_downtime: None,
        rules: UnitRules::default(),
        around: Around::default(),
    }
}

/// The name of a new group: its members', cut where that gets long. A person will find a better one.
fn group_name(units: &[&UnitName]) -> UnitName {
    const LONGEST: usize = 60;
    let names: Vec<&str> = units.iter().map(|unit| unit.as_str()).collect();
    let mut name = names.join("-with-");
    if name.chars().count() > LONGEST {
        name = format!("{}-and-{}-more", names[0], names.len() - 1);
    }
    UnitName(name)
}

/// Edits that the history speaks for, those that would have saved most first.
pub fn propose(tree: &RestartTree, episodes: &[Episode]) -> Vec<Proposal> {
    let books = Books::of(tree, episodes);
    let mut found = books.cured_together();
    found.extend(books.followed());
    found.extend(books.in_vain());
    found.extend(books.seldom_and_dear());
    found.extend(books.nameless());
    found.sort_by(|a, b| {
        b.saved_requests
            .total_cmp(&a.saved_requests)
            .then(b.saved_seconds.total_cmp(&a.saved_seconds))
    });
    let mut seen: Vec<Edit> = Vec::new();
    found.retain(|proposal| {
        let is_new = !seen.contains(&proposal.edit);
        seen.push(proposal.edit.clone());
        is_new
    });
    found
}

#[cfg(test)]
mod tests;
