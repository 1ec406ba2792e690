//! Which life of a unit did this work?
//!
//! A process that is started by Rekindle is told the number of its life and says it with its resource; a part that is
//! rebooted alone says its own with its spans. These are different counters: a part begins to count anew with each
//! process. So a life is both numbers, and which of two is the older can only be told where they are known.

use serde::{Deserialize, Serialize};

use crate::Shape;

/// The attribute that tells a life's number: of a resource the process's, of a span the part's.
pub const GENERATION: &str = "rekindle.generation";

/// The life of a process, and of a part within it, as far as known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Life {
    /// The number of the process's life.
    pub process: Option<u64>,
    /// The number of the part's life within that process's.
    pub part: Option<u64>,
}

impl Life {
    /// The life of which a span says that it is.
    pub fn told_by(shape: &Shape) -> Self {
        let process = shape.resource.attribute(GENERATION);
        Self {
            process: process.and_then(|text| text.parse().ok()),
            part: shape.facts.generation,
        }
    }

    /// Whether it surely was over when the other one began: an earlier process's, or an earlier one of the part within
    /// the same process. What isn't known makes nothing older.
    pub fn is_older_than(self, other: Self) -> bool {
        match (self.process, other.process) {
            (Some(own), Some(others)) if own != others => own < others,
            (Some(_), Some(_)) => {
                matches!((self.part, other.part), (Some(own), Some(others)) if own < others)
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{Facts, Resource};

    #[test]
    fn only_what_is_known_makes_a_life_older() {
        let life = |process: u64, part: u64| {
            // Zero stands for what isn't known.
            let known = |number| (number > 0).then_some(number);
            Life {
                process: known(process),
                part: known(part),
            }
        };
        for (own, other, expected) in [
            (life(1, 0), life(2, 0), true),
            (life(2, 0), life(2, 0), false),
            (life(3, 0), life(2, 0), false),
            (life(2, 4), life(2, 5), true),
            (life(2, 5), life(2, 5), false),
            // A new process's parts count from the beginning.
            (life(3, 1), life(2, 5), false),
            (life(1, 9), life(2, 5), true),
            (life(2, 0), life(2, 5), false),
            (life(2, 4), life(2, 0), false),
            (life(0, 4), life(2, 5), false),
            (life(2, 4), life(0, 5), false),
            (life(0, 4), life(0, 5), false),
        ] {
            assert_eq!(own.is_older_than(other), expected, "{own:?} {other:?}");
        }
    }

    #[test]
    fn a_process_tells_by_its_resource_and_a_part_by_its_span() {
        for (resource, span, process, part) in [
            (None, None, None, None),
            (Some("7"), None, Some(7), None),
            (Some("x"), Some(0), None, Some(0)),
            (Some("7"), Some(2), Some(7), Some(2)),
        ] {
            let attributes = resource.map(|text: &str| (GENERATION.into(), text.into()));
            let shape = Shape {
                resource: Arc::new(Resource {
                    attributes: attributes.into_iter().collect(),
                    ..Resource::default()
                }),
                facts: Facts {
                    generation: span,
                    ..Facts::default()
                },
                ..Shape::default()
            };
            assert_eq!(Life::told_by(&shape), Life { process, part });
        }
    }
}
