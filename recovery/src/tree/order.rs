//! Which units go together, and in which order?
//!
//! Two kinds of rules go across the tree. A *recovery group* says that units must be restarted
//! together: whoever restarts one restarts all, and what that restarts may be in a group, too. So
//! each unit has its *tops*: the highest units that its restart covers, itself first. An *order* says
//! that of two units which are restarted in one go the one comes first; it holds for whatever is
//! restarted in their place, be it a part of them or what contains them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use petgraph::algo::tarjan_scc;
use petgraph::graph::DiGraph;

use super::TreeError;
use crate::{UnitName, UnitSpec};

/// The rules of a tree, by its units' places.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules {
    /// Of each unit that a group concerns: the highest units that its restart covers, itself first.
    tops: BTreeMap<usize, Vec<usize>>,
    /// The first of each pair goes before the second.
    order: Vec<(usize, usize)>,
}

/// A unit's rules with what they are called.
fn named(spec: &UnitSpec) -> [(&'static str, &[UnitName]); 3] {
    let rules = &spec.rules;
    [
        ("before", &rules.before),
        ("after", &rules.after),
        ("together", &rules.together),
    ]
}

/// Whom rules name and nobody is. Asked of any list of units, tree or not.
pub(super) fn unknown<'a>(
    units: impl IntoIterator<Item = &'a UnitSpec>,
    is_known: impl Fn(&UnitName) -> bool,
) -> Vec<TreeError> {
    let mut errors = Vec::new();
    for spec in units {
        for (rule, others) in named(spec) {
            let strangers = others.iter().filter(|other| !is_known(other));
            errors.extend(strangers.map(|other| TreeError::UnknownInRule {
                unit: spec.name.clone(),
                rule,
                other: other.clone(),
            }));
        }
    }
    errors
}

impl Rules {
    /// Reads the rules, or says what is wrong with them. `range` is a unit's subtree.
    pub(super) fn read(
        units: &[UnitSpec],
        find: impl Fn(&UnitName) -> Option<usize>,
        range: impl Fn(usize) -> Range<usize>,
    ) -> Result<Self, Vec<TreeError>> {
        let mut errors = unknown(units, |unit| find(unit).is_some());
        let mut pairs = Vec::new();
        let mut groups: Vec<(usize, usize)> = Vec::new();
        for (at, spec) in units.iter().enumerate() {
            for (rule, others) in named(spec) {
                for other in others {
                    let Some(place) = find(other) else {
                        continue;
                    };
                    if range(at).contains(&place) || range(place).contains(&at) {
                        errors.push(TreeError::RuleWithin {
                            unit: spec.name.clone(),
                            rule,
                            other: other.clone(),
                        });
                        continue;
                    }
                    match rule {
                        "before" => pairs.push((at, place)),
                        "after" => pairs.push((place, at)),
                        _ => groups.push((at, place)),
                    }
                }
            }
        }
        pairs.sort_unstable();
        pairs.dedup();
        let rules = Self {
            tops: tops(units.len(), &groups, &range),
            order: pairs,
        };
        errors.extend(rules.within(units, &range));
        errors.extend(rules.rings(units, &range));
        if errors.is_empty() {
            Ok(rules)
        } else {
            Err(errors)
        }
    }

    /// The highest units that a unit's restart covers, itself first, where a group adds any.
    pub(super) fn tops(&self, unit: usize) -> Option<&[usize]> {
        self.tops.get(&unit).map(Vec::as_slice)
    }

    /// From now on this unit's restart covers these, too, and all that goes with them.
    pub(super) fn cover(&mut self, unit: usize, members: &[usize]) {
        let mut all = vec![unit];
        for member in members {
            match self.tops(*member) {
                Some(tops) => all.extend(tops),
                None => all.push(*member),
            }
        }
        self.tops.insert(unit, all);
    }

    /// Orders that hold as far as those which there are leave room for them.
    pub(super) fn add_orders(
        &mut self,
        pairs: impl IntoIterator<Item = (usize, usize)>,
        range: impl Fn(usize) -> Range<usize>,
    ) {
        for (first, second) in pairs {
            let Err(at) = self.order.binary_search(&(first, second)) else {
                continue;
            };
            if !self.leads(second, first, &range) {
                self.order.insert(at, (first, second));
            }
        }
    }

    /// Whether restarting something of the one unit first means, by the orders that there are, that something of the
    /// other must be restarted later.
    fn leads(&self, from: usize, to: usize, range: impl Fn(usize) -> Range<usize>) -> bool {
        let mut is_known = vec![false; self.order.len()];
        let mut left = vec![from];
        while let Some(unit) = left.pop() {
            if overlap(&range, unit, to) {
                return true;
            }
            for (at, (first, second)) in self.order.iter().enumerate() {
                if !is_known[at] && overlap(&range, unit, *first) {
                    is_known[at] = true;
                    left.push(*second);
                }
            }
        }
        false
    }

    /// Puts units that are restarted in one go into order; those that no rule concerns stay as they are.
    pub(super) fn sort(
        &self,
        units: Vec<usize>,
        range: impl Fn(usize) -> Range<usize>,
    ) -> Vec<usize> {
        if self.order.is_empty() || units.len() < 2 {
            return units;
        }
        // By their places in the list, whom each order has first and whom second.
        let places = |of: usize| -> Vec<usize> {
            let here = units.iter().enumerate();
            let here = here.filter(|(_, unit)| overlap(&range, of, **unit));
            here.map(|(place, _)| place).collect()
        };
        let orders = self.order.iter();
        let orders: Vec<(Vec<usize>, Vec<usize>)> = orders
            .map(|(first, second)| (places(*first), places(*second)))
            .filter(|(firsts, seconds)| !firsts.is_empty() && !seconds.is_empty())
            .collect();
        let mut first_in: Vec<Vec<usize>> = vec![Vec::new(); units.len()];
        let mut second_in = first_in.clone();
        for (number, (firsts, seconds)) in orders.iter().enumerate() {
            firsts
                .iter()
                .for_each(|place| first_in[*place].push(number));
            seconds
                .iter()
                .for_each(|place| second_in[*place].push(number));
        }
        // Who waits for nobody but himself is free, and stays so.
        let mut waits_for: Vec<usize> = orders.iter().map(|(firsts, _)| firsts.len()).collect();
        let is_free = |place: usize, waits_for: &[usize]| {
            let mut orders = second_in[place].iter();
            orders.all(|order| waits_for[*order] <= usize::from(first_in[place].contains(order)))
        };
        let mut left: BTreeSet<usize> = (0..units.len()).collect();
        let mut free: BTreeSet<usize> = left.iter().copied().collect();
        free.retain(|place| is_free(*place, &waits_for));
        let mut sorted = Vec::with_capacity(units.len());
        // A ring was refused when the tree was built; should there be one, the tree's order breaks it.
        while let Some(next) = free.pop_first().or_else(|| left.first().copied()) {
            left.remove(&next);
            sorted.push(units[next]);
            for order in &first_in[next] {
                waits_for[*order] -= 1;
                // Only the last two may set somebody free: one of them may be who waits.
                if waits_for[*order] < 2 {
                    let seconds = orders[*order].1.iter();
                    let waiting = seconds.filter(|place| left.contains(place));
                    free.extend(waiting.filter(|place| is_free(**place, &waits_for)));
                }
            }
        }
        sorted
    }

    /// Groups that bring, over others, what contains a member: that one would be restarted twice in one go.
    fn within(&self, units: &[UnitSpec], range: impl Fn(usize) -> Range<usize>) -> Vec<TreeError> {
        let mut errors = Vec::new();
        for (unit, tops) in &self.tops {
            let above = tops
                .iter()
                .find(|top| *top != unit && range(**top).contains(unit));
            if let Some(above) = above {
                errors.push(TreeError::RuleWithin {
                    unit: units[*unit].name.clone(),
                    rule: "together",
                    other: units[*above].name.clone(),
                });
            }
        }
        errors
    }

    /// Orders that no restart could keep. A rule about a unit is one about its parts, so after an order comes any whose
    /// first unit has something in common with its second.
    fn rings(&self, units: &[UnitSpec], range: impl Fn(usize) -> Range<usize>) -> Vec<TreeError> {
        let mut graph = DiGraph::<(), ()>::new();
        let nodes: Vec<_> = self.order.iter().map(|_| graph.add_node(())).collect();
        for (at, (_, second)) in self.order.iter().enumerate() {
            for (next, (first, _)) in self.order.iter().enumerate() {
                if overlap(&range, *second, *first) {
                    graph.add_edge(nodes[at], nodes[next], ());
                }
            }
        }
        let rings = tarjan_scc(&graph).into_iter().filter(|ring| ring.len() > 1);
        rings
            .map(|ring| {
                let orders = ring.iter().map(|node| self.order[node.index()]);
                let concerned: BTreeSet<UnitName> = orders
                    .flat_map(|(first, second)| [first, second])
                    .map(|unit| units[unit].name.clone())
                    .collect();
                TreeError::OrderRing {
                    units: concerned.into_iter().collect(),
                }
            })
            .collect()
    }
}

/// Whether the one is in the other, or the other way round.
fn overlap(range: impl Fn(usize) -> Range<usize>, one: usize, other: usize) -> bool {
    range(one).contains(&other) || range(other).contains(&one)
}

/// What each unit's restart covers, grown until no group adds anything.
fn tops(
    count: usize,
    groups: &[(usize, usize)],
    range: &impl Fn(usize) -> Range<usize>,
) -> BTreeMap<usize, Vec<usize>> {
    let mut all = BTreeMap::new();
    if groups.is_empty() {
        return all;
    }
    for unit in 0..count {
        let mut tops = vec![unit];
        let covers =
            |tops: &[usize], place: usize| tops.iter().any(|top| range(*top).contains(&place));
        loop {
            let missing = groups
                .iter()
                .flat_map(|(one, other)| [(*one, *other), (*other, *one)])
                .find(|(one, other)| covers(&tops, *one) && !covers(&tops, *other));
            let Some((_, missing)) = missing else { break };
            // What the new one contains goes with it; only the unit itself stays first.
            tops.retain(|top| *top == unit || !range(missing).contains(top));
            tops.push(missing);
        }
        if tops.len() > 1 {
            all.insert(unit, tops);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Of units in preorder, each by the place of its parent: the end of each one's subtree.
    fn ends(parents: &[usize]) -> Vec<usize> {
        let mut ends: Vec<usize> = (1..=parents.len()).collect();
        for unit in (1..parents.len()).rev() {
            ends[parents[unit]] = ends[parents[unit]].max(ends[unit]);
        }
        ends
    }

    /// Such units: each next is below the last one, or below one that contains it.
    fn units() -> impl Strategy<Value = Vec<usize>> {
        proptest::collection::vec(0usize..4, 1..20).prop_map(|ups| {
            let mut parents = vec![0];
            for up in ups {
                let above = std::iter::successors(Some(parents.len() - 1), |unit| {
                    (*unit > 0).then(|| parents[*unit])
                });
                let chain: Vec<usize> = above.collect();
                parents.push(chain[up.min(chain.len() - 1)]);
            }
            parents
        })
    }

    /// As it is defined: whoever waits for nobody that is left, in the order that they are in.
    fn one_by_one(
        rules: &Rules,
        mut left: Vec<usize>,
        overlap: impl Fn(usize, usize) -> bool,
    ) -> Vec<usize> {
        let mut sorted = Vec::new();
        while !left.is_empty() {
            let waits = |unit: usize, other: usize| {
                let mut orders = rules.order.iter();
                orders.any(|(first, second)| overlap(*second, unit) && overlap(*first, other))
            };
            let is_free = |unit: &usize| left.iter().all(|it| it == unit || !waits(*unit, *it));
            let next = left.iter().position(is_free).unwrap_or(0);
            sorted.push(left.remove(next));
        }
        sorted
    }

    /// Whether the parts of the orders' units can be put in order at all.
    fn can_be_kept(orders: &[(usize, usize)], ends: &[usize]) -> bool {
        let mut graph = DiGraph::<(), ()>::new();
        let nodes: Vec<_> = ends.iter().map(|_| graph.add_node(())).collect();
        for (first, second) in orders {
            for part in *first..ends[*first] {
                for other in *second..ends[*second] {
                    graph.add_edge(nodes[part], nodes[other], ());
                }
            }
        }
        !petgraph::algo::is_cyclic_directed(&graph)
    }

    proptest! {
        #[test]
        fn orders_are_kept_as_far_as_they_can_be(
            parents in units(),
            wanted in proptest::collection::vec((0usize..20, 0usize..20), 0..12),
            shuffled in any::<u64>(),
        ) {
            let ends = ends(&parents);
            let range = |unit: usize| unit..ends[unit];
            let overlap = |one: usize, other: usize| super::overlap(range, one, other);
            let wanted = wanted.into_iter().map(|(a, b)| (a % ends.len(), b % ends.len()));
            let wanted = wanted.filter(|(first, second)| !overlap(*first, *second));
            let mut rules = Rules::default();
            for pair in wanted {
                let mut with = rules.order.clone();
                with.push(pair);
                let is_known = rules.order.contains(&pair);
                rules.add_orders([pair], range);
                let is_taken = rules.order.contains(&pair);
                prop_assert_eq!(is_taken, is_known || can_be_kept(&with, &ends), "{:?} {:?}", pair, with);
            }
            prop_assert!(can_be_kept(&rules.order, &ends));
            let mut all: Vec<usize> = (0..ends.len()).collect();
            all.sort_by_key(|unit| (*unit as u64 + 1).wrapping_mul(shuffled | 1).rotate_left(17));
            // What is restarted in one go: nobody with what contains it.
            let mut units: Vec<usize> = Vec::new();
            for unit in all {
                if !units.iter().any(|other| overlap(*other, unit)) {
                    units.push(unit);
                }
            }
            let sorted = rules.sort(units.clone(), range);
            prop_assert_eq!(sorted, one_by_one(&rules, units, overlap));
        }
    }
}
