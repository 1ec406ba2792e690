//! Tidy tables for notebooks: a row per thing, a column per fact, as CSV for people and spreadsheets, and as Parquet for
//! polars, DuckDB and Spark, which then needn't guess types.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use super::output::Output;

/// Writes all of this to a file, or to the standard output, which is called `-`.
pub(super) fn put(file: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let named = Some(file).filter(|file| *file != Path::new("-"));
    let write = || {
        let mut out = Output::to(named)?;
        out.write_all(bytes)?;
        out.finish()
    };
    write().with_context(|| format!("failed writing `{}`", file.display()))
}

/// One column's cells.
#[derive(Debug)]
pub(super) enum Cells {
    /// Text, which may come from telemetry.
    Names(Vec<String>),
    /// Whole numbers; `None` where nothing is known.
    Counts(Vec<Option<u64>>),
    /// Other numbers, with so many digits behind the point in CSV.
    Numbers(usize, Vec<Option<f64>>),
    /// Yes or no.
    Truths(Vec<bool>),
}

/// A table; all columns have as many cells.
#[derive(Debug, Default)]
pub(super) struct Table {
    columns: Vec<(&'static str, Cells)>,
    rows: usize,
}

impl Table {
    /// A table of so many rows, without columns yet.
    pub(super) fn of(rows: usize) -> Self {
        Self {
            columns: Vec::new(),
            rows,
        }
    }

    /// The same with one more column.
    pub(super) fn with(mut self, name: &'static str, cells: Cells) -> Self {
        self.columns.push((name, cells));
        self
    }

    /// Writes it to the files that are asked for.
    pub(super) fn write(&self, csv: Option<&Path>, parquet: Option<&Path>) -> anyhow::Result<()> {
        if let Some(file) = csv {
            put(file, self.csv().as_bytes())?;
        }
        if let Some(file) = parquet {
            let bytes = self.parquet().context("failed making a Parquet file")?;
            put(file, &bytes)?;
        }
        Ok(())
    }

    fn csv(&self) -> String {
        let names: Vec<&str> = self.columns.iter().map(|(name, _)| *name).collect();
        let mut csv = names.join(",");
        csv.push('\n');
        for row in 0..self.rows {
            for (at, (_, cells)) in self.columns.iter().enumerate() {
                if at > 0 {
                    csv.push(',');
                }
                // Writing to a string can't fail.
                let _ = match cells {
                    Cells::Names(names) => write!(csv, "{}", quoted(&names[row])),
                    Cells::Truths(truths) => write!(csv, "{}", truths[row]),
                    Cells::Counts(counts) => match counts[row] {
                        Some(count) => write!(csv, "{count}"),
                        None => Ok(()),
                    },
                    Cells::Numbers(digits, numbers) => match numbers[row] {
                        Some(number) => write!(csv, "{number:.digits$}"),
                        None => Ok(()),
                    },
                };
            }
            csv.push('\n');
        }
        csv
    }

    fn parquet(&self) -> Result<Vec<u8>, ParquetError> {
        let columns = self.columns.iter().map(|(name, cells)| match cells {
            Cells::Names(_) => format!("REQUIRED BINARY {name} (UTF8);"),
            Cells::Counts(_) => format!("OPTIONAL INT64 {name};"),
            Cells::Numbers(..) => format!("OPTIONAL DOUBLE {name};"),
            Cells::Truths(_) => format!("REQUIRED BOOLEAN {name};"),
        });
        let columns: String = columns.collect();
        let schema = parse_message_type(&format!("message table {{ {columns} }}"))?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .build();
        let mut bytes = Vec::new();
        let mut file =
            SerializedFileWriter::new(&mut bytes, Arc::new(schema), Arc::new(properties))?;
        let mut group = file.next_row_group()?;
        for (_, cells) in &self.columns {
            let Some(mut column) = group.next_column()? else {
                break;
            };
            match cells {
                Cells::Names(names) => {
                    let texts: Vec<ByteArray> =
                        names.iter().map(|name| name.as_str().into()).collect();
                    let column = column.typed::<ByteArrayType>();
                    column.write_batch(&texts, None, None)?;
                }
                Cells::Counts(counts) => {
                    let (levels, known) = known(counts.iter().map(|it| it.map(|n| n as i64)));
                    let column = column.typed::<Int64Type>();
                    column.write_batch(&known, Some(&levels), None)?;
                }
                Cells::Numbers(_, numbers) => {
                    let (levels, known) = known(numbers.iter().copied());
                    let column = column.typed::<DoubleType>();
                    column.write_batch(&known, Some(&levels), None)?;
                }
                Cells::Truths(truths) => {
                    column.typed::<BoolType>().write_batch(truths, None, None)?;
                }
            }
            column.close()?;
        }
        group.close()?;
        file.close()?;
        Ok(bytes)
    }
}

/// Whether each is known, as Parquet's levels say it, and those that are.
fn known<T>(cells: impl Iterator<Item = Option<T>>) -> (Vec<i16>, Vec<T>) {
    let (mut levels, mut known) = (Vec::new(), Vec::new());
    for cell in cells {
        levels.push(i16::from(cell.is_some()));
        known.extend(cell);
    }
    (levels, known)
}

/// Telemetry may hold anything: always in quotes, and never the beginning of a formula.
fn quoted(text: &str) -> String {
    let text = text.replace('"', "\"\"").replace(['\n', '\r'], " ");
    let guard = if text.starts_with(['=', '+', '-', '@']) {
        "'"
    } else {
        ""
    };
    format!("\"{guard}{text}\"")
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::RowAccessor;

    use super::*;

    fn table() -> Table {
        Table::of(2)
            .with("name", Cells::Names(vec!["a,b".into(), "=c".into()]))
            .with("count", Cells::Counts(vec![Some(3), None]))
            .with("millis", Cells::Numbers(1, vec![None, Some(0.25)]))
            .with("right", Cells::Truths(vec![true, false]))
    }

    #[test]
    fn a_line_per_row() {
        let expected = "name,count,millis,right\n\"a,b\",3,,true\n\"'=c\",,0.2,false\n";
        assert_eq!(table().csv(), expected);
    }

    #[test]
    fn parquet_holds_the_same() {
        let mut file = tempfile::tempfile().expect("a file");
        let bytes = table().parquet().expect("a table");
        file.write_all(&bytes).expect("written");
        let reader = SerializedFileReader::new(file).expect("readable");
        let rows: Vec<_> = reader.get_row_iter(None).expect("rows").collect();
        let [first, second] = rows.as_slice() else {
            panic!("{rows:?}");
        };
        let (first, second) = (
            first.as_ref().expect("a row"),
            second.as_ref().expect("a row"),
        );
        assert_eq!(first.get_string(0).expect("text"), "a,b");
        assert_eq!(first.get_long(1).expect("a count"), 3);
        assert!(second.get_long(1).is_err(), "nothing is known");
        assert!((second.get_double(2).expect("a number") - 0.25).abs() < 1e-12);
        assert!(first.get_bool(3).expect("a truth"));
    }

    #[test]
    fn names_from_telemetry_stay_in_their_cell() {
        for (text, cell) in [
            ("plain", "\"plain\""),
            ("a,\"b\"\nc", "\"a,\"\"b\"\" c\""),
            ("=1+1", "\"'=1+1\""),
        ] {
            assert_eq!(quoted(text), cell);
        }
    }
}
