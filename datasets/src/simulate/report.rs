//! What a simulation has to say: tables, the assumptions behind them, and claims that hold or don't.
//!
//! Plain data, so that the command line can print it for people and for programs, and a test can
//! compare it whole.

use serde::Serialize;

/// The answer of one scenario.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// The scenario's name.
    pub scenario: String,
    /// What was asked, in a sentence.
    pub question: String,
    /// Everything that was assumed, and where a number comes from.
    pub assumptions: Vec<String>,
    /// The figures.
    pub tables: Vec<Table>,
    /// The figures that make a curve, where any do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plot: Option<Plot>,
    /// What should hold, and whether it does.
    pub claims: Vec<Claim>,
}

/// Curves over one quantity, on a logarithmic scale.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Plot {
    /// What it shows.
    pub title: String,
    /// What is varied, with its unit; all positive.
    pub across: String,
    /// What comes of it, with its unit.
    pub upward: String,
    /// The curves' names.
    pub names: Vec<String>,
    /// By what is varied: a value per curve.
    pub points: Vec<(f64, Vec<f64>)>,
}

impl Plot {
    pub(super) fn new(title: &str, across: &str, upward: &str, names: &[String]) -> Self {
        Self {
            title: title.to_owned(),
            across: across.to_owned(),
            upward: upward.to_owned(),
            names: names.to_vec(),
            points: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, at: f64, values: &[f64]) {
        self.points.push((at, values.to_vec()));
    }
}

/// A table as it is shown.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Table {
    /// What it shows, with units.
    pub title: String,
    /// The columns' names.
    pub header: Vec<String>,
    /// The rows; each as long as the header.
    pub rows: Vec<Vec<String>>,
}

/// Something that should hold.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Claim {
    /// What.
    pub claim: String,
    /// What was found.
    pub found: String,
    /// Whether it holds.
    pub holds: bool,
}

impl Report {
    /// All tables as CSV: a line per cell, so that tables of different shapes fit into one file.
    pub fn csv(&self) -> String {
        let quoted = |cell: &str| format!("\"{}\"", cell.replace('"', "\"\""));
        let mut csv = String::from("scenario,table,row,column,value\n");
        for table in &self.tables {
            for (number, row) in table.rows.iter().enumerate() {
                for (column, cell) in table.header.iter().zip(row) {
                    let cells = [&self.scenario, &table.title].map(|cell| quoted(cell));
                    csv.push_str(&format!(
                        "{},{},{},{}\n",
                        cells.join(","),
                        number + 1,
                        quoted(column),
                        quoted(cell)
                    ));
                }
            }
        }
        csv
    }

    /// Whether all that should hold does.
    pub fn holds(&self) -> bool {
        self.claims.iter().all(|claim| claim.holds)
    }

    pub(super) fn claim(&mut self, claim: impl Into<String>, found: String, holds: bool) {
        self.claims.push(Claim {
            claim: claim.into(),
            found,
            holds,
        });
    }
}

impl Table {
    pub(super) fn new(title: impl Into<String>, header: &[&str]) -> Self {
        Self {
            title: title.into(),
            header: header.iter().map(|name| (*name).to_owned()).collect(),
            rows: Vec::new(),
        }
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }
}

/// A mean over seeds and half its 95 % interval (normal: there are dozens of seeds).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Mean {
    pub(super) mean: f64,
    pub(super) half_width: f64,
}

impl Mean {
    pub(super) fn of(values: &[f64]) -> Self {
        let count = values.len().max(1) as f64;
        let mean = values.iter().sum::<f64>() / count;
        let square: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let variance = if values.len() > 1 {
            square / (count - 1.0)
        } else {
            0.0
        };
        Self {
            mean,
            half_width: 1.96 * (variance / count).sqrt(),
        }
    }

    pub(super) fn words(self) -> String {
        format!("{} ± {}", number(self.mean), number(self.half_width))
    }
}

/// A figure with as many digits as it deserves.
pub(super) fn number(value: f64) -> String {
    if value.abs() < 10.0 {
        format!("{value:.2}")
    } else if value.abs() < 100.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_a_line_whatever_is_in_it() {
        let mut report = Report {
            scenario: "mercury".to_owned(),
            ..Report::default()
        };
        let mut table = Table::new("Time, in \"s\"", &["tree", "ours"]);
        table.row(["I, all".to_owned(), "24.75".to_owned()]);
        report.tables.push(table);
        assert_eq!(
            report.csv(),
            "scenario,table,row,column,value\n\
             \"mercury\",\"Time, in \"\"s\"\"\",1,\"tree\",\"I, all\"\n\
             \"mercury\",\"Time, in \"\"s\"\"\",1,\"ours\",\"24.75\"\n"
        );
    }
}
