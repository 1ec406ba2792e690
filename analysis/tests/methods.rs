//! The published methods against an independent implementation: tables made with SciPy and NumPy by
//! `notebooks/reference_methods.py`.

#[path = "../stats/tests/table/mod.rs"]
mod table;

use rekindle_analysis::rank::spectrum_formula::Counted;
use rekindle_analysis::rank::{
    barinel::barinel,
    decision_tree::{Ends, gain},
    dstar::dstar,
    jaccard::jaccard,
    ochiai::ochiai,
    op2::op2,
    pinpoint::upgma,
    tarantula::tarantula,
    trace_rca,
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
            ("trace_rca", trace_rca::score(ef / f, ef / (ef + ep))),
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
    }
}
