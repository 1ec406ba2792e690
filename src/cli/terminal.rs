//! Where answers go: tables and sentences for people, JSON for programs.
//!
//! Much of what is shown came in telemetry, which an attacker may have written; control characters
//! are taken out, so that no escape sequence reaches the terminal.

use std::io::{self, IsTerminal, Write};

use comfy_table::{Cell, Color, ContentArrangement, LineStyle, Table, TableStyle};
use serde::Serialize;

use super::args::Output;

/// One line below the header and none else: on a terminal, height is what runs out.
const STYLE: TableStyle =
    TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// How good or bad something is; shown as a colour where there are any, and always in words too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Good,
    Bad,
    Attention,
}

/// One cell: words and their tone.
pub(crate) type Words = (String, Tone);

/// Where answers go.
pub(crate) struct Terminal {
    out: Box<dyn Write>,
    json: bool,
    colours: bool,
}

impl Terminal {
    /// The standard output. Colours only on a terminal, and not against `NO_COLOR`.
    pub(crate) fn stdout(output: Output) -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            out: Box::new(io::stdout()),
            json: output == Output::Json,
            colours: io::stdout().is_terminal() && !refused,
        }
    }

    /// Whether a program reads.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Shows a value: as it is to programs, by `render` to people.
    pub(crate) fn answer<T: Serialize>(
        &mut self,
        value: &T,
        render: impl FnOnce(&mut Self, &T) -> io::Result<()>,
    ) -> io::Result<()> {
        if self.json {
            serde_json::to_writer_pretty(&mut self.out, value)?;
            writeln!(self.out)
        } else {
            render(self, value)
        }?;
        self.out.flush()
    }

    /// A line of text.
    pub(crate) fn line(&mut self, text: impl AsRef<str>) -> io::Result<()> {
        writeln!(self.out, "{}", printable(text.as_ref()))
    }

    /// A line that stands out.
    pub(crate) fn heading(&mut self, text: &str, tone: Tone) -> io::Result<()> {
        let text = printable(text);
        match (self.colours, tone) {
            (false, _) => writeln!(self.out, "{text}"),
            (true, Tone::Plain) => writeln!(self.out, "\x1b[1m{text}\x1b[0m"),
            (true, Tone::Good) => writeln!(self.out, "\x1b[1;32m{text}\x1b[0m"),
            (true, Tone::Bad) => writeln!(self.out, "\x1b[1;31m{text}\x1b[0m"),
            (true, Tone::Attention) => writeln!(self.out, "\x1b[1;33m{text}\x1b[0m"),
        }
    }

    /// A table that fits the terminal; without a header where its first column says it all.
    pub(crate) fn table(&mut self, header: &[&str], rows: Vec<Vec<Words>>) -> io::Result<()> {
        let mut table = Table::new();
        table
            .load_style(STYLE)
            .set_content_arrangement(ContentArrangement::Dynamic);
        if !header.is_empty() {
            table.set_header(header.iter().map(Cell::new));
        }
        for row in rows {
            table.add_row(row.into_iter().map(|(text, tone)| {
                let cell = Cell::new(printable(&text));
                match (self.colours, tone) {
                    (false, _) | (true, Tone::Plain) => cell,
                    (true, Tone::Good) => cell.fg(Color::Green),
                    (true, Tone::Bad) => cell.fg(Color::Red),
                    (true, Tone::Attention) => cell.fg(Color::Yellow),
                }
            }));
        }
        writeln!(self.out, "{}\n", table.trim_fmt())
    }
}

/// Plain words.
pub(crate) fn plain(text: impl Into<String>) -> Words {
    (text.into(), Tone::Plain)
}

/// Everything but control characters; line feeds stay.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() && c != '\n' {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_do_not_reach_the_terminal() {
        assert_eq!(
            printable("a\x1b[31mb\r\nc\u{9b}d"),
            "a\u{fffd}[31mb\u{fffd}\nc\u{fffd}d"
        );
    }
}
