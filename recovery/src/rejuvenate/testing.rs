//! A small tree and a rule for this room's tests.

use std::time::Duration;

use super::rule::{Gauge, Levels, Order, Rule, Trigger};
use crate::tree::tests::tree as notation;
use crate::{RestartTree, UnitName};

/// `site`, a process, with the components `a`, `b` and `c`.
pub(crate) fn tree() -> RestartTree {
    notation("site process auto\n  a part=a\n  b part=b\n  c part=c")
}

/// Memory of `site`: alarm at 800, sufficient at 500.
pub(crate) fn memory_rule() -> Rule {
    Rule {
        name: "memory".to_owned(),
        units: ["a", "b", "c", "site"].map(UnitName::from).to_vec(),
        trigger: Trigger::Gauge {
            gauge: Gauge::Memory { of: "site".into() },
            levels: Levels {
                alarm: 800.0,
                sufficient: 500.0,
            },
        },
        every: Duration::from_secs(1),
        settle: Duration::from_secs(5),
        rest: Duration::from_secs(600),
        order: Order::Learned,
    }
}
