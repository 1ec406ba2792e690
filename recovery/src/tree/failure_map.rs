//! Who fails when another fails?
//!
//! The f-map of automatic failure-path inference (WIAPP 2003): an edge from `u` to `v` says that a fault in
//! `u` makes `v` fail. There faults were injected; here it is what production showed, passively: how often
//! `v` failed when `u` did, or was restarted, beside how often it fails otherwise. An edge needs the
//! difference to be clear (the shares' 95 % intervals don't overlap), so that what always fails follows
//! from nobody.
//!
//! What was recorded of recoveries says the same of restarts ([`after_restarts`]): who was in trouble right after whose.
//! Such an edge says nothing of where a fault sits, and so it makes nobody a source of another's: it says who isn't to
//! be suspected meanwhile, and who is to be restarted after whom.
//!
//! Units that make each other fail more often than not are one recovery group: curing one alone only hands
//! the fault on. What shows in a unit may sit in whoever makes it fail: [`FailureMap::sources`] is what the
//! planner then looks at, too.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use petgraph::Directed;
use petgraph::algo::tarjan_scc;
use petgraph::graphmap::GraphMap;
use rekindle_stats::{Probability, Share};

use super::propose::{FOLLOWS_WITHIN, LEAST};

/// What was seen of an ordered pair of units, by their numbers. Several of one pair add up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The unit that failed or was restarted.
    pub source: usize,
    /// The other.
    pub target: usize,
    /// How often the source failed, or was restarted, while the target could be seen.
    pub failed: u64,
    /// How often the target failed then, or right after.
    pub also: u64,
    /// How often the target was seen while the source was well.
    pub well: u64,
    /// How often the target failed all the same.
    pub anyway: u64,
}

/// A fault in the source makes the target fail.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Edge {
    /// Where the fault is.
    pub source: usize,
    /// Who fails of it.
    pub target: usize,
    /// How often, of the source's failures, in `[0, 1]`.
    pub share: f64,
    /// The share's lower limit at 95 %.
    pub least: f64,
}

/// Who fails when another does.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FailureMap {
    /// By source, then target.
    pub edges: Vec<Edge>,
    /// Units that must be restarted together, each group sorted; groups of one are left out.
    pub groups: Vec<Vec<usize>>,
    /// What holds groups together that were there before, by source, then target.
    kept: Vec<Edge>,
    /// The places of [`Self::edges`], by target.
    into: Vec<usize>,
}

impl FailureMap {
    /// Whose failures make this unit fail, and how often at least (95 %).
    pub fn sources(&self, target: usize) -> impl Iterator<Item = (usize, f64)> + '_ {
        let target_of = |at: &usize| self.edges[*at].target;
        let first = self.into.partition_point(|at| target_of(at) < target);
        let edges = self.into[first..].iter().map(|at| &self.edges[*at]);
        edges
            .take_while(move |edge| edge.target == target)
            .map(|edge| (edge.source, edge.least))
    }

    /// How often at least (95 %) one of this group fails when another does, as far as one makes the other fail.
    pub fn least_within(&self, group: &[usize]) -> f64 {
        let is_within = |edge: &&Edge| group.contains(&edge.source) && group.contains(&edge.target);
        let edges = self.edges.iter().chain(&self.kept).filter(is_within);
        edges.map(|edge| edge.least).fold(1.0, f64::min)
    }

    /// Who fails when this unit does, and how often at least (95 %).
    pub fn targets(&self, source: usize) -> impl Iterator<Item = (usize, f64)> + '_ {
        let first = self.edges.partition_point(|edge| edge.source < source);
        let edges = self.edges[first..].iter();
        edges
            .take_while(move |edge| edge.source == source)
            .map(|edge| (edge.target, edge.least))
    }
}

/// Failing of another more often than not is failing with it: of each other, it makes a group.
pub const GROUPED: f64 = 0.5;

/// Infers the map. Takes time proportional to what was seen (sorting apart).
pub fn infer(seen: &[Seen]) -> FailureMap {
    infer_since(&FailureMap::default(), seen)
}

/// As [`infer`], some time after another map was inferred of the same units. Counts go up and down by every request, and
/// whoever goes by a group shouldn't see it come and go with them. So a group comes when its edges are clear and more
/// likely than not ([`GROUPED`]), and between its members these stay until the opposite is as clear: the share's upper limit
/// at 95 % isn't above that, or the target fails no more often with the source than otherwise.
pub fn infer_since(last: &FailureMap, seen: &[Seen]) -> FailureMap {
    let grouped = last.groups.iter().flatten().max();
    let mut group_of: Vec<Option<usize>> = vec![None; grouped.map_or(0, |last| last + 1)];
    for (number, group) in last.groups.iter().enumerate() {
        group.iter().for_each(|unit| group_of[*unit] = Some(number));
    }
    let group_of = |unit: usize| group_of.get(unit).copied().flatten();
    let are_grouped = |pair: &Seen| {
        let source = group_of(pair.source);
        source.is_some() && source == group_of(pair.target)
    };
    let mut seen: Vec<Seen> = seen
        .iter()
        .copied()
        .filter(|pair| pair.source != pair.target)
        .collect();
    seen.sort_unstable_by_key(|pair| (pair.source, pair.target));
    let mut edges = Vec::new();
    let mut kept = Vec::new();
    for pairs in seen.chunk_by(|a, b| (a.source, a.target) == (b.source, b.target)) {
        let sum = |of: fn(&Seen) -> u64| pairs.iter().map(of).fold(0, u64::saturating_add);
        let failed = sum(|pair| pair.failed);
        let well = sum(|pair| pair.well);
        // More of them than there were are somebody's miscount.
        let also = sum(|pair| pair.also).min(failed);
        let anyway = sum(|pair| pair.anyway).min(well);
        if also == 0 {
            continue;
        }
        let with = Share::of(also, failed - also).wilson(Probability::P95);
        // Of nothing seen nothing follows: the target may fail all the time.
        if well == 0 {
            continue;
        }
        let usually = Share::of(anyway, well - anyway);
        let edge = Edge {
            source: pairs[0].source,
            target: pairs[0].target,
            share: also as f64 / failed as f64,
            least: with.low,
        };
        if with.low > usually.wilson(Probability::P95).high {
            edges.push(edge);
        }
        let is_above = edge.share > anyway as f64 / well as f64;
        if are_grouped(&pairs[0]) && with.high > GROUPED && is_above {
            kept.push(edge);
        }
    }
    let strong = edges.iter().filter(|edge| edge.share > GROUPED);
    let groups = groups(strong.chain(&kept));
    let mut into: Vec<usize> = (0..edges.len()).collect();
    into.sort_by_key(|at| edges[*at].target);
    FailureMap {
        edges,
        groups,
        kept,
        into,
    }
}

/// A restart that was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Away {
    /// The unit.
    pub unit: usize,
    /// When its old life began to end.
    pub from: SystemTime,
    /// When the new one was ready.
    pub until: SystemTime,
}

/// What recorded recoveries say: who failed after whose restart. `alarms` are units with when they fell sick: who was sick
/// before the restart, and only had to wait for it, doesn't fail of it. A unit's alarm follows from one restart of another,
/// the last before it. How often somebody fails anyway is counted in stretches of time as long as those after a restart.
/// Restarts have times of our clock and alarms those of telemetry, which are taken for no later than when we were told: so
/// a clock that goes ahead by less than that took makes up an order, and one that goes behind hides one.
pub fn after_restarts(restarts: &[Away], alarms: &[(usize, SystemTime)]) -> Vec<Seen> {
    let mut sorted = alarms.to_vec();
    sorted.sort_by_key(|(_, at)| *at);
    let mut followed: BTreeMap<(usize, usize), u64> = BTreeMap::new();
    let mut times: BTreeMap<usize, u64> = BTreeMap::new();
    let mut newest_first = restarts.to_vec();
    newest_first.sort_by_key(|away| std::cmp::Reverse((away.unit, away.from)));
    // When the restart after the one that is looked at began: what came then follows from that one.
    let mut next: Option<(usize, SystemTime)> = None;
    for Away { unit, from, until } in newest_first {
        *times.entry(unit).or_default() += 1;
        let later = next.filter(|(of, _)| *of == unit).map(|(_, at)| at);
        next = Some((unit, from));
        let until = until.checked_add(FOLLOWS_WITHIN).unwrap_or(until);
        let until = later.map_or(until, |later| later.min(until));
        let first = sorted.partition_point(|(_, at)| *at <= from);
        let after = sorted[first..].iter().take_while(|(_, at)| *at <= until);
        let targets: BTreeSet<usize> = after.map(|(target, _)| *target).collect();
        for target in targets.into_iter().filter(|target| *target != unit) {
            *followed.entry((unit, target)).or_default() += 1;
        }
    }
    let alarmed = alarms.iter().map(|(_, at)| *at);
    let all = restarts.iter().map(|away| away.until).chain(alarmed);
    let span = all.clone().max().zip(all.min());
    let span = span.and_then(|(last, first)| last.duration_since(first).ok());
    let stretches = span.unwrap_or_default().as_secs() / FOLLOWS_WITHIN.as_secs();
    followed
        .into_iter()
        // Less is an accident.
        .filter(|(_, also)| *also >= LEAST as u64)
        .map(|((source, target), also)| {
            let failed = times.get(&source).copied().unwrap_or(also);
            let alarms = alarms.iter().filter(|(unit, _)| *unit == target).count() as u64;
            let anyway = alarms.saturating_sub(also);
            Seen {
                source,
                target,
                failed,
                also,
                well: stretches.saturating_sub(failed).max(anyway),
                anyway,
            }
        })
        .collect()
}

/// Units that these edges lead round to each other.
fn groups<'a>(edges: impl Iterator<Item = &'a Edge>) -> Vec<Vec<usize>> {
    let mut graph: GraphMap<usize, (), Directed> = GraphMap::new();
    for edge in edges {
        graph.add_edge(edge.source, edge.target, ());
    }
    let mut groups: Vec<Vec<usize>> = tarjan_scc(&graph)
        .into_iter()
        .filter(|ring| ring.len() > 1)
        .collect();
    groups.iter_mut().for_each(|group| group.sort_unstable());
    groups.sort();
    groups
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const fn seen(source: usize, target: usize, also: u64, anyway: u64) -> Seen {
        Seen {
            source,
            target,
            failed: 100,
            also,
            well: 1000,
            anyway,
        }
    }

    #[test]
    fn an_edge_needs_a_clear_difference() {
        for (pair, expected) in [
            (seen(0, 1, 90, 2), true),
            (seen(0, 1, 10, 2), true),
            // It fails all the time.
            (seen(0, 1, 90, 900), false),
            (seen(0, 1, 2, 10), false),
            (seen(0, 1, 0, 0), false),
            (seen(1, 1, 100, 0), false),
            // Once is chance.
            (
                Seen {
                    failed: 1,
                    also: 1,
                    ..seen(0, 1, 0, 300)
                },
                false,
            ),
            // Never seen well: nobody knows.
            (
                Seen {
                    well: 0,
                    ..seen(0, 1, 90, 0)
                },
                false,
            ),
        ] {
            assert_eq!(
                infer(&[pair]).edges.len(),
                usize::from(expected),
                "{pair:?}"
            );
        }
        let halves = [seen(0, 1, 5, 2), seen(0, 1, 5, 2)];
        let map = infer(&halves);
        assert!((map.edges[0].share - 0.05).abs() < 1e-9, "{map:?}");
    }

    #[test]
    fn who_fails_of_each_other_is_a_group() {
        // The database (7) makes the estimators (2, 5) fail, they each other, and both the page (3).
        let map = infer(&[
            seen(7, 2, 95, 1),
            seen(7, 5, 95, 1),
            seen(2, 5, 90, 1),
            seen(5, 2, 90, 1),
            seen(2, 3, 30, 1),
        ]);
        assert_eq!(map.groups, [vec![2, 5]]);
        let sources = |unit| map.sources(unit).map(|one| one.0).collect::<Vec<_>>();
        assert_eq!(sources(5), [2, 7]);
        assert_eq!(sources(7), Vec::<usize>::new());
        let targets: Vec<usize> = map.targets(2).map(|one| one.0).collect();
        assert_eq!(targets, [3, 5]);
        assert_eq!(map.targets(3).count(), 0);
    }

    /// What is near the bound is in or out by a request more or less; a group that is there stays until it clearly isn't one.
    #[test]
    fn a_group_stays_until_it_is_clearly_none() {
        let back = seen(5, 2, 90, 1);
        let mut map = FailureMap::default();
        for (also, anyway, is_there) in [
            (49, 1, false),
            (51, 1, true),
            (49, 1, true),
            (45, 1, true),
            // 40 of 100 may be up to 49.8 %.
            (40, 1, false),
            (49, 1, false),
            (90, 1, true),
            // It fails as often when the other is well.
            (90, 850, true),
            (90, 901, false),
            (90, 850, false),
        ] {
            map = infer_since(&map, &[seen(2, 5, also, anyway), back]);
            assert_eq!(!map.groups.is_empty(), is_there, "{also} {anyway}");
            if is_there {
                let least = map.least_within(&[2, 5]);
                assert!(least > 0.0 && least < 0.9, "{least}");
            }
        }
        // Who was in no group of theirs doesn't come into it by what keeps one.
        let pair = infer(&[seen(2, 5, 90, 1), back]);
        let third = [seen(5, 7, 49, 1), seen(7, 2, 90, 1)];
        let wider = infer_since(&pair, &[&[seen(2, 5, 45, 1), back][..], &third].concat());
        assert_eq!(wider.groups, [vec![2, 5]]);
    }

    #[test]
    fn who_fails_after_a_restart_is_seen_in_what_was_recorded() {
        let at = |seconds: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let hours = |times: u64| (0..times).map(|hour| 3600 * hour);
        // Unit 1 fails half a minute after each restart of unit 0; unit 2 fails when it likes.
        let away = |second: u64| Away {
            unit: 0,
            from: at(second),
            until: at(second + 1),
        };
        let restarts: Vec<_> = hours(6).map(away).collect();
        let follows = hours(6).map(|hour| (1, at(hour + 30)));
        let anyhow = hours(5).map(|hour| (2, at(hour + 1000)));
        let alarms: Vec<_> = follows.chain(anyhow).collect();
        let map = infer(&after_restarts(&restarts, &alarms));
        let targets: Vec<_> = map.targets(0).collect();
        assert_eq!(targets.len(), 1, "{targets:?}");
        assert!(targets[0].0 == 1 && targets[0].1 > GROUPED, "{targets:?}");
        // Twice is an accident; what came long after, or before, didn't follow.
        assert!(after_restarts(&restarts[..2], &alarms).is_empty());
        let late: Vec<_> = hours(6).map(|hour| (1, at(hour + 62))).collect();
        assert!(after_restarts(&restarts, &late).is_empty());
        let own: Vec<_> = hours(6).map(|hour| (0, at(hour + 30))).collect();
        assert!(after_restarts(&restarts, &own).is_empty());
        // Who fell sick before the restart, though looked after only then, doesn't fail of it.
        let before: Vec<_> = hours(6).map(|hour| (1, at(hour))).collect();
        assert!(after_restarts(&restarts, &before).is_empty());
        // One alarm follows from one restart, however many were tried in a row.
        let row: Vec<_> = [10, 20, 30, 40].into_iter().map(away).collect();
        assert!(after_restarts(&row, &[(1, at(45))]).is_empty());
        // Who fails every half minute follows from nobody.
        let always: Vec<_> = (0..1000).map(|half| (1, at(30 * half))).collect();
        assert!(infer(&after_restarts(&restarts, &always)).edges.is_empty());
        assert!(after_restarts(&[], &[]).is_empty());
    }

    proptest! {
        #[test]
        fn whatever_was_seen_shares_are_shares_and_groups_are_rings(
            pairs in proptest::collection::vec(
                (0usize..20, 0usize..20, 0u64..50, 0u64..80, 0u64..50, 0u64..80), 0..60)
        ) {
            let pairs: Vec<Seen> = pairs
                .into_iter()
                .map(|(source, target, failed, also, well, anyway)| Seen {
                    source, target, failed, also, well, anyway,
                })
                .collect();
            let map = infer(&pairs);
            for edge in &map.edges {
                prop_assert!((0.0..=1.0).contains(&edge.share) && edge.least <= edge.share + 1e-9);
            }
            let reaches = |from: usize, to: usize| {
                let mut known = vec![from];
                let mut at = 0;
                while at < known.len() {
                    let here = known[at];
                    let next = map.edges.iter().filter(|edge| edge.source == here);
                    for edge in next {
                        if !known.contains(&edge.target) { known.push(edge.target); }
                    }
                    at += 1;
                }
                known.contains(&to)
            };
            for group in &map.groups {
                for pair in group.windows(2) {
                    prop_assert!(reaches(pair[0], pair[1]) && reaches(pair[1], pair[0]));
                }
            }
        }
    }
}
