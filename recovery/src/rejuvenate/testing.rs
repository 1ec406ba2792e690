//! A small tree and a rule for this room's tests.

use std::time::Duration;

use super::rule::{Gauge, Levels, Order, Rule, Trigger};
use crate::{ExecutorSpec, HttpSpec, Mode, ProcessSpec, RestartTree, UnitName, UnitSpec};

/// `site`, a process, with the components `a`, `b` and `c`.
pub(crate) fn tree() -> RestartTree {
    let unit = |name: &str, parent: Option<&str>, executor| UnitSpec {
        name: name.into(),
        parent: parent.map(UnitName::from),
        selector: [("part".to_owned(), name.to_owned())].into(),
        executor: Some(executor),
        start_deadline: Duration::from_secs(5),
        ready: None,
        check: None,
        mode: Some(Mode::Auto),
        expected_downtime: None,
        around: crate::Around::default(),
        rules: crate::UnitRules::default(),
    };
    let process = ExecutorSpec::Process(ProcessSpec {
        command: vec!["site".to_owned()],
        environment: [].into(),
        directory: None,
        stop_grace: Duration::from_secs(1),
        stop: crate::Stop::Term,
        ports: Vec::new(),
    });
    let http = || {
        ExecutorSpec::Http(HttpSpec {
            url: "http://127.0.0.1:1/".to_owned(),
            timeout: Duration::from_secs(1),
        })
    };
    let mut units = vec![unit("site", None, process)];
    units[0].selector.clear();
    for part in ["a", "b", "c"] {
        units.push(unit(part, Some("site"), http()));
    }
    RestartTree::build(units).expect("a tree")
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
