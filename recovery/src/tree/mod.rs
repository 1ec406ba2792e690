//! Which units are there, what contains what, and whom does a component belong to?
//!
//! A flat list of [`UnitSpec`]s becomes a tree once, at the door, or is refused with everything
//! that is wrong with it. After that nobody has to check again: there is one root, every unit can
//! be restarted, and restarting a unit restarts all below it.
//!
//! A unit's *effective* selector is its own with those of its ancestors added, so that two
//! processes may have a code component of the same name; a namespace of code stands for the one above that it lies in.
//! A unit with an empty selector of its own
//! only groups others, and never matches by itself.
//!
//! The units are kept in preorder, so a subtree is a range, and questions about ancestry are two
//! comparisons.

mod check;
pub mod edit;
mod error;
pub mod failure_map;
pub mod inferred;
mod kinds;
mod live;
mod order;
pub mod propose;

use std::collections::BTreeMap;
use std::ops::Range;

use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};

pub use self::error::TreeError;
pub use self::inferred::{Group, Inferred};
pub use self::kinds::{Kinds, OF_KIND};
pub use self::live::LiveTree;
use self::order::Rules;
use crate::{ExecutorSpec, Mode, UnitName, UnitSpec};

/// The restart units, checked.
#[derive(Clone, Debug, Default)]
pub struct RestartTree {
    /// In preorder: parents before children, siblings as configured.
    units: Vec<UnitSpec>,
    places: Vec<Place>,
    index: BTreeMap<UnitName, usize>,
    /// Recovery groups and orders.
    rules: Rules,
    /// What grows in it.
    kinds: Kinds,
    /// What nobody wrote, and is to be had all the same, by the places of the units that stand for them …
    groups: BTreeMap<usize, Group>,
    /// … and those places by members'.
    groups_with: BTreeMap<usize, Vec<usize>>,
}

/// What follows from a unit's place in the tree.
#[derive(Clone, Debug)]
struct Place {
    parent: Option<usize>,
    depth: usize,
    /// The end of its subtree, which starts with itself.
    end: usize,
    mode: Mode,
    selector: BTreeMap<String, String>,
}

/// What a unit's restart restarts, by places in the tree: for those who ask of thousands of units.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cover(Vec<Range<usize>>);

impl Cover {
    pub(crate) fn contains(&self, place: usize) -> bool {
        self.0.iter().any(|range| range.contains(&place))
    }
}

/// Which of at most 32 covers have a place in them, for those who ask of thousands of places.
#[derive(Debug)]
pub(crate) struct Covers {
    /// Where the answer changes, ascending …
    starts: Vec<usize>,
    /// … and from there on, a bit for each cover.
    masks: Vec<u32>,
}

impl Covers {
    pub(crate) fn new(covers: &[Cover]) -> Self {
        let ranges = covers.iter().flat_map(|cover| &cover.0);
        let mut starts: Vec<usize> = ranges.flat_map(|it| [it.start, it.end]).collect();
        starts.sort_unstable();
        starts.dedup();
        let bit = |(at, cover): (usize, &Cover), place| u32::from(cover.contains(place)) << at;
        let mask = |place: &usize| {
            let bits = covers.iter().enumerate().map(|cover| bit(cover, *place));
            bits.fold(0, |mask, bit| mask | bit)
        };
        let masks = starts.iter().map(mask).collect();
        Self { starts, masks }
    }

    pub(crate) fn containing(&self, place: usize) -> u32 {
        let after = self.starts.partition_point(|start| *start <= place);
        after.checked_sub(1).map_or(0, |at| self.masks[at])
    }
}

/// Whom a component belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolution {
    /// The most specific unit that surely contains it.
    pub unit: UnitName,
}

impl RestartTree {
    /// A tree without units: nothing can be restarted.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Checks the list and makes the tree.
    ///
    /// # Errors
    /// Everything that is wrong with the list. Selectors and executors are only looked at once
    /// names and parents make a tree, since before that there are no ancestors.
    pub fn build(specs: Vec<UnitSpec>) -> Result<Self, Vec<TreeError>> {
        Self::growing(specs, Kinds::default())
    }

    /// As [`Self::build`], of a tree in which units of these kinds come and go.
    ///
    /// # Errors
    /// As [`Self::build`].
    pub fn growing(specs: Vec<UnitSpec>, kinds: Kinds) -> Result<Self, Vec<TreeError>> {
        let (graph, by_name) = Self::graph(specs);
        let mut errors = check::structure(&graph, &by_name);
        if !errors.is_empty() {
            // What follows from a tree isn't known yet; who is named and isn't there is.
            let is_known = |unit: &UnitName| by_name.contains_key(unit);
            errors.extend(order::unknown(graph.node_weights(), is_known));
            return Err(errors);
        }
        let mut tree = Self::lay_out(&graph);
        tree.kinds = kinds;
        let mut errors = check::meaning(
            &tree.units,
            |unit| tree.chain_at(unit).collect(),
            |unit| &tree.places[unit].selector,
            |unit| {
                tree.places[unit].end > unit + 1 || tree.kinds.grow_below(&tree.units[unit].name)
            },
        );
        match Rules::read(&tree.units, |unit| tree.at(unit), |unit| tree.range(unit)) {
            Ok(rules) => tree.rules = rules,
            Err(more) => errors.extend(more),
        }
        if errors.is_empty() {
            Ok(tree)
        } else {
            Err(errors)
        }
    }

    /// The list with who is whose parent, tree or not.
    fn graph(specs: Vec<UnitSpec>) -> (DiGraph<UnitSpec, ()>, BTreeMap<UnitName, NodeIndex>) {
        let mut graph = DiGraph::new();
        let mut by_name = BTreeMap::new();
        for spec in specs {
            let name = spec.name.clone();
            let node = graph.add_node(spec);
            by_name.entry(name).or_insert(node);
        }
        for node in graph.node_indices() {
            let parent = graph[node].parent.as_ref();
            if let Some(parent) = parent.and_then(|parent| by_name.get(parent)) {
                graph.add_edge(*parent, node, ());
            }
        }
        (graph, by_name)
    }

    fn lay_out(graph: &DiGraph<UnitSpec, ()>) -> Self {
        let mut tree = Self::default();
        let root = graph
            .externals(Direction::Incoming)
            .next()
            .into_iter()
            .map(|root| (root, None));
        // Depth first with siblings as configured: petgraph lists neighbours latest first, which is
        // the order that a stack wants.
        let mut stack: Vec<(NodeIndex, Option<usize>)> = root.collect();
        while let Some((node, parent)) = stack.pop() {
            let at = tree.units.len();
            let spec = graph[node].clone();
            let above = parent.map(|parent| &tree.places[parent]);
            let mut selector = above
                .map(|above| above.selector.clone())
                .unwrap_or_default();
            selector.extend(spec.selector.clone());
            let place = Place {
                parent,
                depth: above.map_or(0, |above| above.depth + 1),
                end: at + 1,
                mode: spec
                    .mode
                    .or(above.map(|above| above.mode))
                    .unwrap_or_default(),
                selector,
            };
            tree.index.insert(spec.name.clone(), at);
            tree.units.push(spec);
            tree.places.push(place);
            stack.extend(graph.neighbors(node).map(|child| (child, Some(at))));
        }
        for unit in (0..tree.units.len()).rev() {
            if let Some(parent) = tree.places[unit].parent {
                tree.places[parent].end = tree.places[parent].end.max(tree.places[unit].end);
            }
        }
        tree
    }

    pub(crate) fn at(&self, unit: &UnitName) -> Option<usize> {
        self.index.get(unit).copied()
    }

    /// Where the unit is; of one that grew and is gone, where its kind grows: what was done to it was done to its
    /// parent's part, and its successor may stand there under another name.
    fn home(&self, unit: &UnitName) -> Option<usize> {
        self.at(unit)
            .or_else(|| self.at(self.kinds.parent_of(unit)?))
    }

    /// As [`Self::home`]; of a group that this tree doesn't have, where its members are: what was done to it was done to
    /// them, and they can't be without it by forgetting that it was one.
    fn homes(&self, unit: &UnitName) -> impl Iterator<Item = usize> + Clone + use<> {
        let home = self.home(unit);
        let members = match home {
            Some(_) => Vec::new(),
            None => Self::members_of_former(unit, |member| self.home(member)),
        };
        home.into_iter().chain(members)
    }

    /// The members, as far as they are found, of a group that isn't there.
    fn members_of_former(unit: &UnitName, find: impl Fn(&UnitName) -> Option<usize>) -> Vec<usize> {
        let members = Group::named(unit).map_or(Vec::new(), |group| group.members);
        members.iter().filter_map(find).collect()
    }

    /// What the unit is one of: the template that it grew from, or itself. What is learned of units is learned of their
    /// kinds, so that a new one has its kind's experience, and names that come and go fill nothing.
    pub fn kind<'a>(&'a self, unit: &'a UnitName) -> &'a UnitName {
        self.kinds.kind_of(unit).unwrap_or(unit)
    }

    /// [`Self::kind`] of each.
    pub(crate) fn kinds_of<'a>(&'a self, units: &[&'a UnitName]) -> Vec<&'a UnitName> {
        units.iter().map(|unit| self.kind(unit)).collect()
    }

    /// A kind of unit and all that contain it, nearest first: of a written unit as [`Self::chain`], of a template with
    /// the template first. Empty for what is neither.
    pub fn chain_of_kind(&self, kind: &UnitName) -> Vec<UnitName> {
        let written: Vec<UnitName> = self.chain(kind).into_iter().cloned().collect();
        match self.kinds.parent_of_kind(kind) {
            Some(parent) if written.is_empty() => {
                let above = self.chain(parent).into_iter().cloned();
                std::iter::once(kind.clone()).chain(above).collect()
            }
            _ => written,
        }
    }

    /// The unit below which such a unit grows; `None` for one that was written.
    pub(crate) fn grown_below(&self, unit: &UnitName) -> Option<&UnitName> {
        self.kinds.parent_of(unit)
    }

    /// Whether units come and go directly below it.
    pub fn grows_below(&self, unit: &UnitName) -> bool {
        self.kinds.grow_below(unit)
    }

    pub(crate) fn chain_at(&self, unit: usize) -> impl Iterator<Item = usize> + '_ {
        std::iter::successors(Some(unit), |unit| self.places[*unit].parent)
    }

    pub(crate) fn range(&self, unit: usize) -> Range<usize> {
        unit..self.places[unit].end
    }

    /// The subtrees that a unit's restart covers: its own first, then those of its recovery group, or of its members.
    fn covered(&self, unit: usize) -> impl Iterator<Item = Range<usize>> + '_ {
        let tops = self.rules.tops(unit);
        let own = tops.is_none().then_some(unit);
        own.into_iter()
            .chain(tops.unwrap_or_default().iter().copied())
            .map(|top| self.range(top))
    }

    /// What a unit's restart restarts, or the restart of a group that this tree doesn't have; nothing for what is neither.
    pub(crate) fn cover(&self, unit: &UnitName) -> Cover {
        let places = match self.at(unit) {
            Some(at) => vec![at],
            // Who of a former group has gone is covered by nothing any more.
            None => Self::members_of_former(unit, |member| self.at(member)),
        };
        let covered = places.into_iter().flat_map(|at| self.covered(at));
        Cover(covered.collect())
    }

    /// As [`Self::cover`], of the unit at this place.
    pub(crate) fn cover_at(&self, unit: usize) -> Cover {
        Cover(self.covered(unit).collect())
    }

    /// The places of a unit and of all that contain it, nearest first.
    pub(crate) fn chain_places(&self, unit: &UnitName) -> Vec<usize> {
        self.at(unit)
            .map_or(Vec::new(), |at| self.chain_at(at).collect())
    }

    /// The names of the units at these places.
    pub(crate) fn named<'a, 'b>(
        &'a self,
        places: &'b [usize],
    ) -> impl Iterator<Item = &'a UnitName> + use<'a, 'b> {
        places.iter().map(|place| &self.units[*place].name)
    }

    /// What of a unit, and of all that goes with it, is lost beside requests when it is restarted: by part, in failed user
    /// requests; only those that lose any.
    pub(crate) fn losing(&self, unit: &UnitName) -> impl Iterator<Item = (&UnitName, u32)> {
        let covered = self.at(unit).into_iter().flat_map(|at| self.covered(at));
        let parts = covered.flatten().map(|place| &self.units[place]);
        let losing = parts.filter(|part| part.rules.loses > 0);
        losing.map(|part| (&part.name, part.rules.loses))
    }

    /// All units, parents before children.
    pub fn units(&self) -> impl Iterator<Item = &UnitSpec> {
        self.units.iter()
    }

    /// How many units there are.
    pub fn len(&self) -> usize {
        self.units.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.units.is_empty()
    }

    /// The root; `None` for the tree without units.
    pub fn root(&self) -> Option<&UnitName> {
        self.units.first().map(|spec| &spec.name)
    }

    /// What the configuration says about the unit; `None` when there is no such unit.
    pub fn spec(&self, unit: &UnitName) -> Option<&UnitSpec> {
        self.at(unit).map(|at| &self.units[at])
    }

    /// The unit that contains it; `None` for the root and for what is no unit.
    pub fn parent(&self, unit: &UnitName) -> Option<&UnitName> {
        let parent = self.places[self.at(unit)?].parent?;
        Some(&self.units[parent].name)
    }

    /// The unit and all that contain it, nearest first; empty for what is no unit.
    pub fn chain(&self, unit: &UnitName) -> Vec<&UnitName> {
        let Some(at) = self.at(unit) else {
            return Vec::new();
        };
        self.chain_at(at).map(|at| &self.units[at].name).collect()
    }

    /// All units that contain it, nearest first.
    pub fn ancestors(&self, unit: &UnitName) -> Vec<&UnitName> {
        let mut chain = self.chain(unit);
        if !chain.is_empty() {
            chain.remove(0);
        }
        chain
    }

    /// Whose lives are counted by the number that the unit's process tells: of the unit and all that contain it, the nearest
    /// that has a process of its own and can be told ([`ExecutorSpec::tells_generation`]).
    pub(crate) fn numbered_by(&self, unit: &UnitName) -> Option<&UnitName> {
        let mut chain = self.chain_at(self.at(unit)?).map(|at| &self.units[at]);
        let tells = |unit: &&UnitSpec| {
            let executor = unit.executor.as_ref();
            executor.is_some_and(ExecutorSpec::tells_generation)
        };
        chain.find(tells).map(|unit| &unit.name)
    }

    /// All that a restart of the unit restarts: itself and all below it, parents before children, then
    /// its recovery group likewise; empty for what is no unit.
    pub fn subtree(&self, unit: &UnitName) -> Vec<&UnitName> {
        let Some(at) = self.at(unit) else {
            return Vec::new();
        };
        let places = self.covered(at).flatten();
        places.map(|at| &self.units[at].name).collect()
    }

    /// The unit and all below it, parents before children, without its recovery group: what its own
    /// executor restarts.
    pub fn own_subtree(&self, unit: &UnitName) -> Vec<&UnitName> {
        let Some(at) = self.at(unit) else {
            return Vec::new();
        };
        self.range(at).map(|at| &self.units[at].name).collect()
    }

    /// The units directly below it, as configured.
    pub fn children(&self, unit: &UnitName) -> Vec<&UnitName> {
        let Some(at) = self.at(unit) else {
            return Vec::new();
        };
        self.range(at)
            .filter(|below| self.places[*below].parent == Some(at))
            .filter(|below| !self.groups.contains_key(below))
            .map(|below| &self.units[below].name)
            .collect()
    }

    /// How far below the root: 0 for the root.
    pub fn depth(&self, unit: &UnitName) -> Option<usize> {
        self.at(unit).map(|at| self.places[at].depth)
    }

    /// The unit's own mode or what it inherits; [`Mode::Observe`] for what is no unit.
    pub fn mode(&self, unit: &UnitName) -> Mode {
        self.at(unit)
            .map_or(Mode::Observe, |at| self.places[at].mode)
    }

    /// The unit's selector with those of its ancestors added.
    pub fn selector(&self, unit: &UnitName) -> Option<&BTreeMap<String, String>> {
        self.at(unit).map(|at| &self.places[at].selector)
    }

    /// Whether restarting `unit` restarts `other`: it is the same, contains it, or a recovery group
    /// brings it.
    pub fn contains(&self, unit: &UnitName, other: &UnitName) -> bool {
        let Some(other) = self.at(other) else {
            return false;
        };
        let covers = |at| self.covered(at).any(|covered| covered.contains(&other));
        match self.at(unit) {
            Some(at) => covers(at),
            // Who of them has gone contains nobody any more.
            None => {
                let members = Self::members_of_former(unit, |member| self.at(member));
                members.into_iter().any(covers)
            }
        }
    }

    /// Whether what the one's restart restarts and what the other's does have anything in common, so that
    /// they must not be restarted at once.
    pub fn overlap(&self, one: &UnitName, other: &UnitName) -> bool {
        let others = self.homes(other);
        self.homes(one).any(|one| {
            let mut others = others.clone().flat_map(|at| self.covered(at));
            others.any(|b| {
                self.covered(one)
                    .any(|a| a.contains(&b.start) || b.contains(&a.start))
            })
        })
    }

    /// Whether restarting `unit` restarts `other`, something in it, or what it is part of.
    pub fn touches(&self, unit: &UnitName, other: &UnitName) -> bool {
        let others = self.homes(other).map(|at| self.range(at));
        let mut covered = self.homes(unit).flat_map(|at| self.covered(at));
        covered.any(|covered| {
            let mut others = others.clone();
            others.any(|other| covered.contains(&other.start) || other.contains(&covered.start))
        })
    }

    /// The smallest unit that contains all of these; `None` when there is none of them.
    pub fn common_ancestor<'a>(
        &self,
        units: impl IntoIterator<Item = &'a UnitName>,
    ) -> Option<&UnitName> {
        let places: Vec<usize> = units.into_iter().filter_map(|unit| self.at(unit)).collect();
        self.common_at(&places).map(|at| &self.units[at].name)
    }

    fn common_at(&self, places: &[usize]) -> Option<usize> {
        let (first, rest) = places.split_first()?;
        self.chain_at(*first)
            .find(|above| rest.iter().all(|unit| self.range(*above).contains(unit)))
    }

    /// The units whose executors restart this one, in order: itself, or the highest below it that
    /// have an executor, and of those below these whom they leave running; with a recovery group, its
    /// members' likewise.
    pub fn restarts(&self, unit: &UnitName) -> Vec<&UnitName> {
        let places = self.at(unit).map_or(Vec::new(), |at| self.restarts_at(at));
        places.into_iter().map(|at| &self.units[at].name).collect()
    }

    /// As [`Self::restarts`], by places.
    pub(crate) fn restarts_at(&self, unit: usize) -> Vec<usize> {
        let mut found: Vec<usize> = Vec::new();
        for covered in self.covered(unit) {
            // Those restarted that contain the place looked at, the nearest last.
            let mut above: Vec<(usize, &ExecutorSpec)> = Vec::new();
            for at in covered {
                let Some(executor) = &self.units[at].executor else {
                    continue;
                };
                while above.pop_if(|(end, _)| *end <= at).is_some() {}
                let nearest = above.last();
                if nearest.is_none_or(|(_, whole)| !whole.takes_along(executor)) {
                    above.push((self.places[at].end, executor));
                    found.push(at);
                }
            }
        }
        self.rules.sort(found, |unit| self.range(unit))
    }

    /// The unit that a component with these attributes belongs to: the deepest whose selector it
    /// satisfies. Where several in different branches do, the smallest that contains them all,
    /// since the fault may be in any. Where none does, the smallest that contains all units which
    /// the component could be a part of, judged by those attributes that any selector asks for.
    pub fn resolve(&self, attributes: &BTreeMap<String, String>) -> Option<Resolution> {
        let has_own = |unit: &usize| !self.units[*unit].selector.is_empty();
        let matching: Vec<usize> = (0..self.units.len())
            .filter(has_own)
            .filter(|unit| check::is_subset(&self.places[*unit].selector, attributes))
            .collect();
        let mut lowest = matching.clone();
        lowest.retain(|unit| {
            !matching
                .iter()
                .any(|other| other != unit && self.range(*unit).contains(other))
        });
        let found = self.common_at(&lowest).or_else(|| {
            let relevant: BTreeMap<String, String> = attributes
                .iter()
                .filter(|(key, _)| {
                    self.units
                        .iter()
                        .any(|unit| unit.selector.contains_key(*key))
                })
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect();
            if relevant.is_empty() {
                return None;
            }
            let possible: Vec<usize> = (0..self.units.len())
                .filter(has_own)
                .filter(|unit| check::is_subset(&relevant, &self.places[*unit].selector))
                .collect();
            self.common_at(&possible)
        })?;
        let unit = self.units[found].name.clone();
        Some(Resolution { unit })
    }
}

/// The first of these that is a supervised process; of a unit and all that contain it, nearest first, the one that it is
/// or is a part of.
pub(crate) fn nearest_process<'a>(
    chain: impl IntoIterator<Item = &'a UnitSpec>,
) -> Option<&'a UnitName> {
    let mut chain = chain.into_iter();
    let is_process = |unit: &&UnitSpec| matches!(unit.executor, Some(ExecutorSpec::Process(_)));
    chain.find(is_process).map(|unit| &unit.name)
}

#[cfg(test)]
pub(crate) mod tests;
