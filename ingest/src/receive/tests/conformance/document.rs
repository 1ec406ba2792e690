//! The table for people, written from what was seen.

use super::{Seen, Way};

/// Says how the file is written anew.
const WRITE: &str = "REKINDLE_WRITE_CONFORMANCE";

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/CONFORMANCE.md");

const HEAD: &str = "\
# Conformance

What OTLP 1.11 demands of a receiver of traces, and what ours answers, over gRPC and over HTTP with protobuf and JSON;
every case is asked on both ports, for either takes all three. The headings are sections of the specification
(`docs/specification.md` of opentelemetry-proto 1.11.0, its `.proto` files, and what they refer to). A dash means
that the case doesn't arise that way.

The test `conformance` in `src/receive/tests` sends all of it and fails where an answer, or this page, differs:
`cargo test -p rekindle-ingest conformance`. With `REKINDLE_WRITE_CONFORMANCE=1` it writes this page instead.
Of every answer it checks, too, that the content type is the request's, that each 4xx and 5xx has a `google.rpc.Status`
as its body, that a request that makes no sense has `BadRequest` in its details, and that whatever is to be sent again, and
nothing else, says when.
";

/// Rows by section, in the order of the cases.
#[derive(Default)]
pub(super) struct Table {
    sections: Vec<(&'static str, String)>,
}

impl Table {
    pub(super) fn add(
        &mut self,
        section: &'static str,
        demand: &str,
        reads: &[(&str, &str)],
        seen: &Seen,
    ) {
        let cell = |way| seen.get(&way).map_or("–".to_owned(), |it| it.join("; "));
        let read: Vec<String> = reads
            .iter()
            .map(|(what, expected)| format!("{what} `{expected}`"))
            .collect();
        let reads = match read.is_empty() {
            true => String::new(),
            false => format!(" *Read: {}*", read.join(", ")),
        };
        let cells = [Way::Grpc, Way::Protobuf, Way::Json].map(cell).join(" | ");
        let row = format!("| {demand}{reads} | {cells} |\n").replace("\\", "");
        match self.sections.iter_mut().find(|(name, _)| *name == section) {
            Some((_, rows)) => rows.push_str(&row),
            None => self.sections.push((section, row)),
        }
    }

    fn text(&self) -> String {
        let mut text = HEAD.to_owned();
        for (section, rows) in &self.sections {
            text += &format!("\n## {section}\n\n| | gRPC | HTTP, protobuf | HTTP, JSON |\n");
            text += "|---|---|---|---|\n";
            text += rows;
        }
        text
    }

    /// Fails unless the file says the same.
    pub(super) fn compare(&self) {
        let text = self.text();
        if std::env::var_os(WRITE).is_some() {
            std::fs::write(FILE, text).expect("writes the page");
            return;
        }
        let kept = std::fs::read_to_string(FILE).unwrap_or_default();
        let differs = text.lines().zip(kept.lines()).find(|(new, old)| new != old);
        assert!(
            kept == text,
            "{FILE} says otherwise ({WRITE}=1 writes it anew): {differs:?}"
        );
    }
}
