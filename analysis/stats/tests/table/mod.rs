//! Reads tables that an independent implementation made, for every crate that is checked against one.

/// The rows below the header, cut at their commas.
pub(crate) fn rows(table: &str) -> Vec<Vec<&str>> {
    let lines = table.lines().skip(1);
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    assert!(!rows.is_empty(), "an empty table checks nothing");
    rows
}

pub(crate) fn number(text: &str) -> f64 {
    text.parse().expect("a number")
}

/// A cell that holds several.
pub(crate) fn numbers(text: &str) -> Vec<f64> {
    text.split(' ').map(number).collect()
}
