//! Two things fail at once, in different ways: are both among the first three?
//!
//! The sets break two services at once only in one and the same way. What fails hides what is merely slow, and
//! what stops halfway hides both, so recordings of one fault each are put together here: what two users of
//! one system saw, of whom each met one fault. Each fault has a part of the requests only, as faults do
//! that live in one replica.

use std::collections::HashSet;
use std::path::Path;

use rekindle_model::Trace;

use super::Excerpt;
use crate::public::{CaseInfo, LabelledTraces, PublicError, Set, load};

/// Cases of one system, two at a time: of each two kinds of faults, each case with one of the other kind that
/// broke something else.
pub fn pairs(cases: &[CaseInfo]) -> Vec<[&CaseInfo; 2]> {
    let single = || cases.iter().filter(|case| case.roots.len() == 1);
    let mut kinds: Vec<(&str, &str)> = single()
        .map(|case| (case.system.as_str(), case.fault_type.as_str()))
        .collect();
    kinds.sort_unstable();
    kinds.dedup();
    let mut found = Vec::new();
    for (at, first) in kinds.iter().enumerate() {
        for second in kinds[at + 1..].iter().filter(|second| second.0 == first.0) {
            let of = |kind: &(&str, &str)| -> Vec<&CaseInfo> {
                let kind = *kind;
                single()
                    .filter(|case| (case.system.as_str(), case.fault_type.as_str()) == kind)
                    .collect()
            };
            found.extend(paired(&of(first), &of(second)));
        }
    }
    found
}

/// Each of the more numerous kind once; of the other, one after another.
fn paired<'a>(some: &[&'a CaseInfo], others: &[&'a CaseInfo]) -> Vec<[&'a CaseInfo; 2]> {
    let (more, fewer) = match some.len() < others.len() {
        true => (others, some),
        false => (some, others),
    };
    let with_another = more.iter().enumerate().filter_map(|(at, case)| {
        let mut in_turn = fewer
            .iter()
            .cycle()
            .skip(at % fewer.len())
            .take(fewer.len());
        let other = in_turn.find(|other| other.roots != case.roots)?;
        Some([*case, *other])
    });
    with_another.collect()
}

/// The traces of all these cases, of each what the excerpt keeps, and what is known of them together.
///
/// # Errors
/// When the traces of one of them can't be read.
pub(super) fn load_together(
    folder: &Path,
    set: Set,
    cases: &[&CaseInfo],
    excerpt: &Excerpt,
) -> Result<(CaseInfo, LabelledTraces), PublicError> {
    let mut sum = LabelledTraces::default();
    for case in cases {
        let mut traces = load(folder, set, case)?;
        excerpt.cut(&mut traces);
        add(&mut sum.baseline, traces.baseline);
        add(&mut sum.window, traces.window);
        sum.unreadable += traces.unreadable;
        sum.interventions.extend(traces.interventions);
    }
    Ok((as_one(cases), sum))
}

/// What is known of all. The kinds are in order, so that it doesn't matter which came first.
fn as_one(cases: &[&CaseInfo]) -> CaseInfo {
    let mut kinds: Vec<&str> = cases.iter().map(|case| case.fault_type.as_str()).collect();
    kinds.sort_unstable();
    let names: Vec<&str> = cases.iter().map(|case| case.id.as_str()).collect();
    let mut sum = cases[0].clone();
    sum.id = names.join(" + ");
    sum.fault_type = kinds.join(" + ");
    sum.roots = cases.iter().flat_map(|case| case.roots.clone()).collect();
    sum
}

/// Adds what isn't known yet: recordings of calm times overlap.
fn add(sum: &mut Vec<Trace>, traces: Vec<Trace>) {
    let known: HashSet<_> = sum.iter().map(Trace::trace_id).collect();
    let new = traces
        .into_iter()
        .filter(|trace| !known.contains(&trace.trace_id()));
    sum.extend(new);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cases(of: &[(&str, &str, &str)]) -> Vec<CaseInfo> {
        let cases: Vec<serde_json::Value> = of
            .iter()
            .enumerate()
            .map(|(at, (system, fault, root))| {
                serde_json::json!({
                    "id": format!("{at}"), "system": system, "fault_type": fault,
                    "root_cause": { "service": root }, "normal_files": [], "faulty_files": [],
                })
            })
            .collect();
        serde_json::from_value(cases.into()).expect("cases")
    }

    #[test]
    fn pairs_are_of_one_system_two_kinds_and_two_culprits() {
        let cases = cases(&[
            ("shop", "abort", "cart"),
            ("shop", "delay", "cart"),
            ("shop", "delay", "pay"),
            ("shop", "delay", "ship"),
            ("bank", "abort", "teller"),
            ("bank", "cpu", "teller"),
        ]);
        let found: Vec<[&str; 2]> = pairs(&cases)
            .iter()
            .map(|pair| pair.map(|case| case.id.as_str()))
            .collect();
        assert_eq!(found, [["2", "0"], ["3", "0"]]);
        let both = as_one(&[&cases[2], &cases[0]]);
        assert_eq!(both.fault_type, "abort + delay");
        assert_eq!(both.roots, ["pay", "cart"]);
    }
}
