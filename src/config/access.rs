//! Who may send traces, and how much.

use std::path::PathBuf;

use rekindle_ingest::{AccessFiles, SourceLimits, TlsFiles};

use super::reader::{Reader, Section};

fn path(section: &Section<'_>, key: &'static str) -> Option<PathBuf> {
    section.read(key, Reader::filled_text).map(PathBuf::from)
}

/// Reads the section, and the files that it names: what is wrong with them is better known now than by silence.
pub(super) fn take(section: &Section<'_>) -> AccessFiles {
    let tokens = path(section, "tokens");
    let mut files = AccessFiles { tokens, tls: None };
    if let Some(tls) = section.section("tls", "tls") {
        let [certificate, key, client_ca] =
            ["certificate", "key", "client_ca"].map(|name| path(&tls, name));
        match (certificate, key) {
            (Some(certificate), Some(key)) => {
                files.tls = Some(TlsFiles {
                    certificate,
                    key,
                    client_ca,
                });
            }
            (None, None) if client_ca.is_none() => {}
            _ => tls.complain_about_itself("it needs both `certificate` and `key`"),
        }
        tls.close();
    }
    if let Err(error) = files.check() {
        let cause = std::error::Error::source(&error);
        let cause = cause.map_or_else(String::new, |it| format!(": {it}"));
        section.complain_about_itself(&format!("{error}{cause}"));
    }
    files
}

/// Reads how much each source may send.
pub(super) fn take_limits(section: &Section<'_>) -> SourceLimits {
    let number = |key, range| {
        let value = section.read(key, |reader, node| reader.integer(node, range))?;
        u32::try_from(value).ok()
    };
    let limits = SourceLimits {
        spans_per_second: number("spans_per_second", 1..=100_000_000),
        burst: number("burst", 1..=1_000_000_000),
        new_names_per_hour: number("new_names_per_hour", 1..=65_536),
    };
    if limits.burst.is_some() && limits.spans_per_second.is_none() {
        section.complain_about_itself("`burst` means nothing without `spans_per_second`");
    }
    limits
}
