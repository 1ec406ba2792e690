//! Everything that must hold before a list of units is a tree. All errors are found, not the first.

use std::collections::{BTreeMap, HashMap};

use petgraph::algo::tarjan_scc;
use petgraph::graph::{DiGraph, NodeIndex};

use super::TreeError;
use crate::{Mode, UnitName, UnitSpec};

/// Names, parents and roots: whether the list is a tree at all. The graph's edges go from parent to
/// child.
pub(super) fn structure(
    graph: &DiGraph<UnitSpec, ()>,
    index: &BTreeMap<UnitName, NodeIndex>,
) -> Vec<TreeError> {
    let mut errors = Vec::new();
    let mut counts: BTreeMap<&UnitName, usize> = BTreeMap::new();
    let mut roots = Vec::new();
    for spec in graph.node_weights() {
        *counts.entry(&spec.name).or_default() += 1;
        if spec.name.as_str().trim().is_empty() {
            let parent = spec.parent.as_ref().map_or("", UnitName::as_str).to_owned();
            errors.push(TreeError::EmptyName { parent });
        }
        match &spec.parent {
            None => roots.push(spec.name.clone()),
            Some(parent) if !index.contains_key(parent) => errors.push(TreeError::UnknownParent {
                unit: spec.name.clone(),
                parent: parent.clone(),
                known: most_similar(parent, index.keys()),
            }),
            Some(_) => {}
        }
    }
    for (unit, count) in counts {
        if count > 1 {
            let unit = unit.clone();
            errors.push(TreeError::DuplicateName { unit, count });
        }
    }
    match roots.len() {
        0 => errors.push(TreeError::NoRoot),
        1 => {}
        _ => errors.push(TreeError::SeveralRoots { units: roots }),
    }
    for ring in tarjan_scc(graph) {
        let is_ring = ring.len() > 1
            || ring
                .first()
                .is_some_and(|unit| graph.contains_edge(*unit, *unit));
        if is_ring {
            let mut units: Vec<UnitName> =
                ring.iter().map(|unit| graph[*unit].name.clone()).collect();
            units.sort();
            errors.push(TreeError::Cycle { units });
        }
    }
    errors
}

/// The name with the smallest edit distance, if it is near enough to be what was meant: a third of
/// the letters wrong is a typing error, more is another word.
fn most_similar<'a>(
    name: &UnitName,
    known: impl Iterator<Item = &'a UnitName>,
) -> Option<UnitName> {
    let limit = name.as_str().chars().count().div_ceil(3);
    known
        .map(|other| (distance(name.as_str(), other.as_str()), other))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, other)| other.clone())
}

/// Levenshtein's distance, one row at a time.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (line, letter) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for column in 0..b.len() {
            let replaced = diagonal + usize::from(letter != b[column]);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// Selectors and executors of what is known to be a tree. `chain` lists a unit and its ancestors,
/// nearest first; `effective` is a unit's selector with those of its ancestors added.
pub(super) fn meaning<'a>(
    units: &'a [UnitSpec],
    chain: impl Fn(usize) -> Vec<usize>,
    effective: impl Fn(usize) -> &'a BTreeMap<String, String>,
    has_children: impl Fn(usize) -> bool,
) -> Vec<TreeError> {
    let mut errors = Vec::new();
    for (unit, spec) in units.iter().enumerate() {
        // What is only observed needs no way to be restarted yet: that is how one begins.
        let mode = chain(unit).into_iter().find_map(|above| units[above].mode);
        let is_observed = mode.unwrap_or_default() == Mode::Observe;
        if spec.executor.is_none() && !has_children(unit) && !is_observed {
            let unit = spec.name.clone();
            errors.push(TreeError::NotRestartable { unit });
        }
        for (key, value) in &spec.selector {
            // The nearest that disagrees is enough: those above it have their own quarrel with it.
            let quarrel = chain(unit).into_iter().skip(1).find_map(|ancestor| {
                let other = units[ancestor].selector.get(key)?;
                let agrees = other == value || is_within(key, value, other);
                (!agrees).then_some((ancestor, other))
            });
            if let Some((ancestor, other)) = quarrel {
                errors.push(TreeError::Contradiction {
                    unit: spec.name.clone(),
                    ancestor: units[ancestor].name.clone(),
                    key: key.clone(),
                    value: value.clone(),
                    other: other.clone(),
                });
            }
        }
    }
    errors.extend(ambiguous(units, &chain, &effective));
    errors
}

/// Of units that don't contain each other, all pairs of which the first matches all that the second does. Who has all of a
/// selector has the pair of it that the fewest have, too: ten thousand units are searched in one pass.
fn ambiguous<'a>(
    units: &'a [UnitSpec],
    chain: impl Fn(usize) -> Vec<usize>,
    effective: impl Fn(usize) -> &'a BTreeMap<String, String>,
) -> Vec<TreeError> {
    let matching = || (0..units.len()).filter(|unit| !units[*unit].selector.is_empty());
    let mut having: HashMap<(&str, &str), Vec<usize>> = HashMap::new();
    for unit in matching() {
        for (key, value) in effective(unit) {
            having.entry((key, value)).or_default().push(unit);
        }
    }
    let mut errors = Vec::new();
    for first in matching() {
        let wide = effective(first);
        let fewest = wide
            .iter()
            .filter_map(|(key, value)| having.get(&(key.as_str(), value.as_str())))
            .min_by_key(|them| them.len());
        for second in fewest.into_iter().flatten().copied() {
            let narrow = effective(second);
            let is_second_time = wide == narrow && first > second;
            if first == second || is_second_time || !is_subset(wide, narrow) {
                continue;
            }
            if chain(first).contains(&second) || chain(second).contains(&first) {
                continue;
            }
            let pairs = narrow.iter();
            let pairs: Vec<String> = pairs.map(|(key, value)| format!("{key}={value}")).collect();
            errors.push(TreeError::Ambiguous {
                first: units[first].name.clone(),
                second: units[second].name.clone(),
                selector: pairs.join(", "),
            });
        }
    }
    errors
}

/// Whether who has the one value has the other, too, though they differ: namespaces of code lie in each other, and a
/// component's part is named below it (`shop.cart.cache` in `shop.cart`).
fn is_within(key: &str, inner: &str, outer: &str) -> bool {
    let rest = inner.strip_prefix(outer);
    key == "code.namespace" && rest.is_some_and(|rest| rest.starts_with(['.', ':', '/', '$']))
}

/// Whether every pair of `small` is in `large`.
pub(super) fn is_subset(
    small: &BTreeMap<String, String>,
    large: &BTreeMap<String, String>,
) -> bool {
    small.len() <= large.len()
        && small
            .iter()
            .all(|(key, value)| large.get(key) == Some(value))
}
