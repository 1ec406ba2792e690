//! Which units go together, and in which order?
//!
//! Two kinds of rules go across the tree. A *recovery group* says that units must be restarted
//! together: whoever restarts one restarts all, and what that restarts may be in a group, too. So
//! each unit has its *tops*: the highest units that its restart covers, itself first. An *order* says
//! that of two units which are restarted in one go the one comes first; it holds for whatever is
//! restarted in their place, be it a part of them or what contains them.

use std::collections::BTreeMap;
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
        units: &[UnitSpec],
        range: impl Fn(usize) -> Range<usize>,
    ) {
        for pair in pairs {
            self.order.push(pair);
            if !self.rings(units, &range).is_empty() {
                self.order.pop();
            }
        }
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
        let overlap =
            |one: usize, other: usize| range(one).contains(&other) || range(other).contains(&one);
        let mut left = units;
        let mut sorted = Vec::with_capacity(left.len());
        while !left.is_empty() {
            let is_free = |unit: usize| {
                !self.order.iter().any(|(first, second)| {
                    overlap(*second, unit)
                        && left
                            .iter()
                            .any(|other| *other != unit && overlap(*first, *other))
                })
            };
            // A ring was refused when the tree was built; should there be one, the tree's order breaks it.
            let next = left.iter().position(|unit| is_free(*unit)).unwrap_or(0);
            sorted.push(left.remove(next));
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

    /// Orders that no restart could keep. A rule about a unit is one about its parts, so rings are
    /// looked for among the parts.
    fn rings(&self, units: &[UnitSpec], range: impl Fn(usize) -> Range<usize>) -> Vec<TreeError> {
        let mut graph = DiGraph::<(), ()>::new();
        let nodes: Vec<_> = units.iter().map(|_| graph.add_node(())).collect();
        for (first, second) in &self.order {
            for part in range(*first) {
                for other in range(*second) {
                    graph.add_edge(nodes[part], nodes[other], ());
                }
            }
        }
        tarjan_scc(&graph)
            .into_iter()
            .filter(|ring| ring.len() > 1)
            .map(|ring| {
                let mut units: Vec<UnitName> = ring
                    .iter()
                    .map(|node| units[node.index()].name.clone())
                    .collect();
                units.sort();
                TreeError::OrderRing { units }
            })
            .collect()
    }
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
