//! The published methods against an independent implementation: tables made with SciPy, NumPy and mlxtend by
//! `notebooks/reference_methods.py`, and with Weka by `notebooks/reference_trees.py`.

#[path = "../stats/tests/table/mod.rs"]
mod table;

use std::collections::BTreeSet;

use rekindle_analysis::rank::spectrum_formula::Counted;
use rekindle_analysis::rank::{
    barinel::barinel,
    c45::{self, Tree},
    decision_tree::{Ends, Request, gain},
    dstar::dstar,
    jaccard::jaccard,
    ochiai::ochiai,
    op2::op2,
    pinpoint::{joined, upgma},
    tarantula::tarantula,
    trace_rca::{self, Transaction},
};
use table::{number, numbers, rows};

fn check(what: &str, found: f64, expected: f64) {
    let error = (found - expected).abs() / expected.abs().max(1e-3);
    assert!(error < 1e-9, "{what}: {found}, not {expected}");
}

fn ends(failed: f64, ok: f64) -> Ends {
    Ends { failed, ok }
}

#[test]
fn formulas_as_scipy_has_them() {
    for row in rows(include_str!("reference/formulas.csv")) {
        let [ef, ep, f, p] = [0, 1, 2, 3].map(|at| number(row[at]));
        let counted = Counted { ef, ep, f, p };
        let found = [
            ("ochiai", ochiai(counted)),
            ("tarantula", tarantula(counted)),
            ("jaccard", jaccard(counted)),
            ("dstar", dstar(counted)),
            ("op2", op2(counted)),
            ("barinel", barinel(counted)),
            (
                "trace_rca",
                trace_rca::jaccard_index(ef / f, ef / (ef + ep)),
            ),
            ("decision_tree", gain(ends(f, p), ends(ef, ep))),
        ];
        assert_eq!(found.len(), row[4..].len(), "{counted:?}");
        for ((name, found), expected) in found.into_iter().zip(&row[4..]) {
            check(&format!("{name} of {counted:?}"), found, number(expected));
        }
    }
}

#[test]
fn clusters_as_scipy_has_them() {
    for row in rows(include_str!("reference/upgma.csv")) {
        let members: usize = row[0].parse().expect("a count");
        let mut similar = vec![vec![1.0; members]; members];
        let above = (0..members).flat_map(|i| (i + 1..members).map(move |j| (i, j)));
        for ((i, j), similarity) in above.zip(numbers(row[1])) {
            similar[i][j] = similarity;
            similar[j][i] = similarity;
        }
        let merges = upgma(similar);
        assert_eq!(merges.len(), members - 1);
        for column in [row[2], row[3]] {
            assert_eq!(numbers(column).len(), members - 1, "{column}");
        }
        for ((merge, similarity), size) in merges.iter().zip(numbers(row[2])).zip(numbers(row[3])) {
            check(
                &format!("{members} members, {merge:?}"),
                merge.similarity,
                similarity,
            );
            check(
                "size",
                (merge.first.len() + merge.second.len()) as f64,
                size,
            );
        }
        for (cut, expected) in numbers(row[4]).into_iter().zip(row[5].split(' ')) {
            let with_last = joined(&merges, members - 1).into_iter();
            let with_last = with_last.filter(|(_, similarity)| *similarity >= cut);
            let found: BTreeSet<usize> = with_last.flat_map(|(of, _)| of.iter().copied()).collect();
            let expected = expected.split('+').filter_map(|it| it.parse().ok());
            assert_eq!(found, expected.collect(), "{members} members cut at {cut}");
        }
    }
}

/// Numbers between plus signs.
fn members(text: &str) -> Vec<usize> {
    let each = text.split('+');
    each.map(|it| it.parse().expect("a number")).collect()
}

#[test]
fn sets_as_mlxtend_has_them() {
    for row in rows(include_str!("reference/itemsets.csv")) {
        let traces = row[0].split(';').map(|trace| {
            let services = members(trace.trim_end_matches('!'));
            let entered = match trace.ends_with('!') {
                true => vec![services[0]],
                false => vec![],
            };
            Transaction {
                services,
                entered,
                left: vec![],
                count: 1,
            }
        });
        let found = trace_rca::mined(&traces.collect::<Vec<_>>());
        let expected: Vec<&str> = row[1].split(';').collect();
        assert_eq!(found.len(), expected.len(), "{found:?}, not {expected:?}");
        for (found, expected) in found.iter().zip(expected) {
            let cells: Vec<&str> = expected.split(' ').collect();
            assert_eq!(found.services, members(cells[0]));
            check("support", found.support, number(cells[1]));
            check("confidence", found.confidence, number(cells[2]));
        }
    }
}

/// As the table has it.
fn text(tree: &Tree) -> String {
    match tree {
        Tree::Leaf(Ends { failed, ok }) => format!("{failed}/{ok}"),
        Tree::Split {
            feature,
            with,
            without,
        } => format!("({feature} {} {})", text(with), text(without)),
    }
}

#[test]
fn trees_as_weka_has_them() {
    for row in rows(include_str!("reference/c45.csv")) {
        let requests = row[1].split(';').map(|cell| {
            let (touched, count) = cell.split_once([':', '!']).expect("a count");
            let features = touched.split_whitespace();
            Request {
                features: features.map(|it| it.parse().expect("a feature")).collect(),
                failed: cell.contains('!'),
                count: count.parse().expect("a count"),
            }
        });
        let requests: Vec<Request> = requests.collect();
        let features = row[0].parse().expect("a count");
        assert_eq!(text(&c45::tree(&requests, features)), row[2], "{}", row[1]);
    }
}
