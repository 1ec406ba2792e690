//! How is a restart tree changed without breaking it?
//!
//! The four transformations of the Mercury work (DSN 2002), as edits of the list of units. Each is refused
//! where it would make no sense, and its result is checked as any tree is: what [`apply`] gives back can be
//! loaded.
//!
//! - *Depth augmentation* gives parts of a unit buttons of their own, for parts that fail independently.
//! - *Group consolidation* puts units that fail together below one that restarts just them.
//! - *Promotion* puts a unit's siblings below it, for one that is restarted in vain when it is restarted
//!   alone.
//! - *Splitting* divides a unit's parts into groups, for parts whose times to fail or to restart differ.
//!
//! And one for dependencies that go across the tree: units that are only cured together, wherever they stand, are
//! made a recovery group; where one fails after the other's restart, it is restarted after it.

use std::collections::BTreeSet;

use super::{RestartTree, TreeError};
use crate::{UnitName, UnitSpec};

/// A change of the tree.
#[derive(Clone, Debug, PartialEq)]
pub enum Edit {
    /// Depth augmentation.
    Deepen {
        /// The unit that gets parts.
        unit: UnitName,
        /// They; whatever they name as parent, it is the unit.
        parts: Vec<UnitSpec>,
    },
    /// Group consolidation.
    Consolidate {
        /// The new unit's name.
        group: UnitName,
        /// Two or more siblings.
        units: Vec<UnitName>,
    },
    /// Promotion: its siblings come below the unit, which takes the place of the group that they were.
    Promote {
        /// The unit.
        unit: UnitName,
    },
    /// Splitting.
    Split {
        /// The unit whose parts are divided.
        unit: UnitName,
        /// New units, each with parts of it. Every part is in exactly one.
        groups: Vec<(UnitName, Vec<UnitName>)>,
    },
    /// A recovery group: whoever restarts one of them restarts all.
    Join {
        /// Two or more, none of which is restarted with another already.
        units: Vec<UnitName>,
        /// Whether each is restarted after the one before it.
        in_order: bool,
    },
}

/// Why an edit can't be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// There is no such unit.
    #[error("there is no unit {unit}")]
    NoSuchUnit {
        /// The name.
        unit: UnitName,
    },
    /// Too few for what it is.
    #[error("{what} takes at least {least}")]
    TooFew {
        /// The edit.
        what: &'static str,
        /// So many.
        least: usize,
    },
    /// They aren't parts of one unit.
    #[error("{one} and {other} are not parts of one unit")]
    NotSiblings {
        /// One.
        one: UnitName,
        /// The other.
        other: UnitName,
    },
    /// They are all the parts of their unit, which is that group already.
    #[error("{unit} is just that group already")]
    IsThatGroup {
        /// The unit.
        unit: UnitName,
    },
    /// The unit that contains it does more than to group.
    #[error("{unit} is more than a group: it is restarted by itself, or matches telemetry")]
    NoGroup {
        /// The unit above.
        unit: UnitName,
    },
    /// It can't be promoted.
    #[error("{unit} can't be restarted by itself, so nothing can be put below its restart")]
    NoExecutor {
        /// The unit.
        unit: UnitName,
    },
    /// A part that is in no group or in several, or is no part.
    #[error("{part} is not in exactly one of the groups")]
    NotDivided {
        /// The part.
        part: UnitName,
    },
    /// One's restart brings the other already.
    #[error("restarting {one} restarts {other} already, or the other way round")]
    TogetherAlready {
        /// One.
        one: UnitName,
        /// The other.
        other: UnitName,
    },
    /// What it would be is no tree.
    #[error("the tree would be wrong: {}", .errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Tree {
        /// Everything that would be wrong.
        errors: Vec<TreeError>,
    },
}

/// The units after the edit, parents before children.
///
/// # Errors
/// Why it can't be; then nothing has changed.
pub fn apply(tree: &RestartTree, edit: &Edit) -> Result<Vec<UnitSpec>, EditError> {
    let mut units: Vec<UnitSpec> = tree.units().cloned().collect();
    match edit {
        Edit::Deepen { unit, parts } => {
            known(tree, unit)?;
            if parts.is_empty() {
                return Err(EditError::TooFew {
                    what: "depth augmentation",
                    least: 1,
                });
            }
            units.extend(parts.iter().map(|part| UnitSpec {
                parent: Some(unit.clone()),
                ..part.clone()
            }));
        }
        Edit::Consolidate {
            group,
            units: members,
        } => {
            let parent = siblings(tree, members)?;
            if children(tree, &parent).len() == distinct(members) {
                return Err(EditError::IsThatGroup { unit: parent });
            }
            below(&mut units, members, group);
            units.push(grouping(group, &parent));
        }
        Edit::Promote { unit } => {
            known(tree, unit)?;
            let Some(parent) = tree.parent(unit) else {
                return Err(EditError::TooFew {
                    what: "promotion",
                    least: 1,
                });
            };
            let spec = tree.spec(parent);
            let is_group = spec.is_some_and(|spec| {
                spec.executor.is_none() && spec.selector.is_empty() && spec.parent.is_some()
            });
            if !is_group {
                return Err(EditError::NoGroup {
                    unit: parent.clone(),
                });
            }
            if tree.spec(unit).is_none_or(|spec| spec.executor.is_none()) {
                return Err(EditError::NoExecutor { unit: unit.clone() });
            }
            let others: Vec<UnitName> = children(tree, parent)
                .into_iter()
                .filter(|child| child != unit)
                .collect();
            below(&mut units, &others, unit);
            let above = tree.parent(parent).cloned();
            units.retain(|spec| spec.name != *parent);
            for spec in units.iter_mut().filter(|spec| spec.name == *unit) {
                spec.parent.clone_from(&above);
            }
        }
        Edit::Split { unit, groups } => {
            known(tree, unit)?;
            if groups.len() < 2 {
                return Err(EditError::TooFew {
                    what: "splitting",
                    least: 2,
                });
            }
            let parts = children(tree, unit);
            let named = groups.iter().flat_map(|(_, members)| members);
            for part in parts.iter().chain(named.clone()) {
                let times = named.clone().filter(|member| *member == part).count();
                if times != 1 || !parts.contains(part) {
                    return Err(EditError::NotDivided { part: part.clone() });
                }
            }
            for (group, members) in groups {
                // One alone has its own button.
                if members.len() > 1 {
                    below(&mut units, members, group);
                    units.push(grouping(group, unit));
                }
            }
        }
        Edit::Join {
            units: members,
            in_order,
        } => join(tree, &mut units, members, *in_order)?,
    }
    let tree = RestartTree::growing(units, tree.kinds.clone())
        .map_err(|errors| EditError::Tree { errors })?;
    Ok(tree.units().cloned().collect())
}

/// Says with the first that the others go with it, and with each after whom it comes.
fn join(
    tree: &RestartTree,
    units: &mut [UnitSpec],
    members: &[UnitName],
    in_order: bool,
) -> Result<(), EditError> {
    let (Some((first, others)), true) = (members.split_first(), distinct(members) >= 2) else {
        return Err(EditError::TooFew {
            what: "a recovery group",
            least: 2,
        });
    };
    for (at, one) in members.iter().enumerate() {
        known(tree, one)?;
        let mut later = members[at + 1..].iter();
        if let Some(other) = later.find(|other| tree.overlap(one, other)) {
            return Err(EditError::TogetherAlready {
                one: one.clone(),
                other: other.clone(),
            });
        }
    }
    for spec in units.iter_mut() {
        let Some(at) = members.iter().position(|member| *member == spec.name) else {
            continue;
        };
        if spec.name == *first {
            spec.rules.together.extend(others.iter().cloned());
        }
        if let Some(before) = at.checked_sub(1).filter(|_| in_order) {
            let before = &members[before];
            // A tree that says so already is right.
            if !spec.rules.after.contains(before) {
                spec.rules.after.push(before.clone());
            }
        }
    }
    Ok(())
}

fn known(tree: &RestartTree, unit: &UnitName) -> Result<(), EditError> {
    match tree.spec(unit) {
        Some(_) => Ok(()),
        None => Err(EditError::NoSuchUnit { unit: unit.clone() }),
    }
}

fn distinct(units: &[UnitName]) -> usize {
    units.iter().collect::<BTreeSet<_>>().len()
}

/// The one parent of these.
fn siblings(tree: &RestartTree, units: &[UnitName]) -> Result<UnitName, EditError> {
    for unit in units {
        known(tree, unit)?;
    }
    if distinct(units) < 2 {
        return Err(EditError::TooFew {
            what: "consolidation",
            least: 2,
        });
    }
    let one = &units[0];
    for other in &units[1..] {
        if tree.parent(other) != tree.parent(one) {
            return Err(EditError::NotSiblings {
                one: one.clone(),
                other: other.clone(),
            });
        }
    }
    let parent = tree.parent(one).cloned();
    parent.ok_or_else(|| EditError::NoSuchUnit { unit: one.clone() })
}

/// The units right below one.
pub(super) fn children(tree: &RestartTree, unit: &UnitName) -> Vec<UnitName> {
    tree.units()
        .filter(|spec| spec.parent.as_ref() == Some(unit))
        .map(|spec| spec.name.clone())
        .collect()
}

fn below(units: &mut [UnitSpec], moved: &[UnitName], parent: &UnitName) {
    for spec in units.iter_mut().filter(|spec| moved.contains(&spec.name)) {
        spec.parent = Some(parent.clone());
    }
}

/// A unit that only groups others.
pub(super) fn grouping(name: &UnitName, parent: &UnitName) -> UnitSpec {
    UnitSpec {
        name: name.clone(),
        parent: Some(parent.clone()),
        selector: std::collections::BTreeMap::new(),
        executor: None,
        // It is never started by itself.
        start_deadline: std::time::Duration::from_secs(30),
        ready: None,
        check: None,
        watches: Vec::new(),
        mode: None,
        expected_downtime: None,
        rules: crate::UnitRules::default(),
        around: crate::Around::default(),
    }
}

impl std::fmt::Display for Edit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let list = |units: &[UnitName]| {
            let names: Vec<&str> = units.iter().map(UnitName::as_str).collect();
            names.join(", ")
        };
        match self {
            Self::Deepen { unit, parts } => {
                let parts: Vec<&str> = parts.iter().map(|part| part.name.as_str()).collect();
                write!(
                    f,
                    "give parts of {unit} restarts of their own: {}",
                    parts.join(", ")
                )
            }
            Self::Consolidate { group, units } => {
                write!(f, "put {} below one unit, {group}", list(units))
            }
            Self::Promote { unit } => {
                write!(
                    f,
                    "put what is beside {unit} below it, so that it is never restarted alone"
                )
            }
            Self::Split { unit, groups } => {
                let groups: Vec<String> = groups
                    .iter()
                    .map(|(name, members)| format!("{name} ({})", list(members)))
                    .collect();
                write!(f, "divide {unit} into {}", groups.join(" and "))
            }
            Self::Join { units, in_order } => {
                let names: Vec<&str> = units.iter().map(UnitName::as_str).collect();
                match in_order {
                    true => write!(
                        f,
                        "restart {} together, in this order",
                        names.join(", then ")
                    ),
                    false => write!(f, "restart {} together", list(units)),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::tests::{specs, tree};

    const MERCURY: &str = "
mercury -
  mbus
  fedrcom -
    fedr
    pbcom
  ses
  str
  rtu
";

    fn outline(units: &[UnitSpec]) -> String {
        let pairs: Vec<String> = units
            .iter()
            .map(|spec| {
                let parent = spec.parent.as_ref().map_or("", UnitName::as_str);
                format!("{}<{parent}", spec.name)
            })
            .collect();
        pairs.join(" ")
    }

    fn names(names: &[&str]) -> Vec<UnitName> {
        names.iter().map(|name| UnitName::from(*name)).collect()
    }

    #[test]
    fn mercurys_steps_from_tree_to_tree() {
        let consolidate = Edit::Consolidate {
            group: "ses-str".into(),
            units: names(&["ses", "str"]),
        };
        let four = apply(&tree(MERCURY), &consolidate).expect("tree IV");
        assert_eq!(
            outline(&four),
            "mercury< mbus<mercury fedrcom<mercury fedr<fedrcom pbcom<fedrcom rtu<mercury \
             ses-str<mercury ses<ses-str str<ses-str"
        );
        let four = RestartTree::build(four).expect("a tree");
        let five = apply(
            &four,
            &Edit::Promote {
                unit: "pbcom".into(),
            },
        )
        .expect("tree V");
        assert!(
            outline(&five).contains("pbcom<mercury fedr<pbcom"),
            "{}",
            outline(&five)
        );
        assert!(!outline(&five).contains("fedrcom"));
        let deepen = Edit::Deepen {
            unit: "rtu".into(),
            parts: specs("rtu.part k=v"),
        };
        let deeper = apply(&tree(MERCURY), &deepen).expect("a tree");
        assert!(outline(&deeper).contains("rtu.part<rtu"));
        let split = Edit::Split {
            unit: "mercury".into(),
            groups: vec![
                ("fast".into(), names(&["mbus", "ses", "str", "rtu"])),
                ("slow".into(), names(&["fedrcom"])),
            ],
        };
        let split = apply(&tree(MERCURY), &split).expect("a tree");
        assert!(
            outline(&split).contains("fast<mercury mbus<fast"),
            "{}",
            outline(&split)
        );
        assert!(
            outline(&split).contains("fedrcom<mercury"),
            "one alone has its own button"
        );
    }

    #[test]
    fn units_of_two_branches_are_joined_and_ordered() {
        for (in_order, restarts) in [(false, ["fedr", "ses"]), (true, ["ses", "fedr"])] {
            let edit = Edit::Join {
                units: names(&["ses", "fedr"]),
                in_order,
            };
            let joined = apply(&tree(MERCURY), &edit).expect("a tree");
            let joined = RestartTree::build(joined).expect("a tree");
            let of = |unit: &str| joined.restarts(&unit.into()).into_iter().cloned();
            assert_eq!(of("fedr").collect::<Vec<_>>(), names(&restarts));
            assert_eq!(of("ses").count(), 2);
        }
        let edit = Edit::Join {
            units: names(&["ses", "fedr"]),
            in_order: true,
        };
        let ordered = RestartTree::build(
            specs(MERCURY)
                .into_iter()
                .map(|mut spec| {
                    if spec.name.as_str() == "fedr" {
                        spec.rules.after.push("ses".into());
                    }
                    spec
                })
                .collect(),
        );
        let joined = apply(&ordered.expect("a tree"), &edit).expect("a tree");
        let fedr = joined.iter().find(|spec| spec.name.as_str() == "fedr");
        assert_eq!(fedr.expect("a unit").rules.after, names(&["ses"]));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_what_it_is() {
        let consolidate = |units: &[&str]| Edit::Consolidate {
            group: "new".into(),
            units: names(units),
        };
        let promote = |unit: &str| Edit::Promote { unit: unit.into() };
        for (edit, told) in [
            (consolidate(&["ses", "nobody"]), "there is no unit nobody"),
            (
                consolidate(&["ses", "ses"]),
                "consolidation takes at least 2",
            ),
            (
                consolidate(&["ses", "fedr"]),
                "ses and fedr are not parts of one unit",
            ),
            (
                consolidate(&["fedr", "pbcom"]),
                "fedrcom is just that group already",
            ),
            (promote("mbus"), "mercury is more than a group"),
            (promote("mercury"), "promotion takes at least 1"),
            (
                Edit::Split {
                    unit: "fedrcom".into(),
                    groups: vec![
                        ("x".into(), names(&["fedr"])),
                        ("y".into(), names(&["fedr", "pbcom"])),
                    ],
                },
                "fedr is not in exactly one of the groups",
            ),
            (
                Edit::Join {
                    units: names(&["fedr", "fedrcom"]),
                    in_order: false,
                },
                "restarting fedr restarts fedrcom already, or the other way round",
            ),
            (
                Edit::Join {
                    units: names(&["ses"]),
                    in_order: false,
                },
                "a recovery group takes at least 2",
            ),
            (
                Edit::Consolidate {
                    group: "mbus".into(),
                    units: names(&["ses", "str"]),
                },
                "the tree would be wrong: 2 units are called mbus",
            ),
        ] {
            let error = apply(&tree(MERCURY), &edit)
                .expect_err("refused")
                .to_string();
            assert!(error.starts_with(told), "{error}");
        }
    }
}
