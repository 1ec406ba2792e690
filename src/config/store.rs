//! Where spans are kept for longer than the journal does.

use std::time::Duration;

use rekindle_store::Store;

use super::reader::{Reader, Section};
use super::settings::Durability;

const DAY: Duration = Duration::from_secs(24 * 3600);
const MEBIBYTE: u64 = 1 << 20;

/// Where spans are kept for longer than the journal does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreSettings {
    /// A folder or a bucket; nowhere when `None`.
    pub url: Option<String>,
    /// For how long.
    pub keep_for: Duration,
    /// How much at most.
    pub keep_bytes: u64,
}

impl Default for StoreSettings {
    /// A week is how far back people look for what changed. 20 GiB hold some 400 million spans, and leave room on a
    /// small disk.
    fn default() -> Self {
        Self {
            url: None,
            keep_for: 7 * DAY,
            keep_bytes: 20 << 30,
        }
    }
}

impl StoreSettings {
    pub(super) fn take(&mut self, section: &Section<'_>) {
        let address = |reader: &Reader<'_>, node: &_| {
            let url = reader.filled_text(node)?;
            match Store::at(&url) {
                Ok(_) => Ok(url),
                Err(error) => Err(error.to_string()),
            }
        };
        if let Some(url) = section.read("url", address) {
            self.url = Some(url);
        }
        section.set("keep_for", &mut self.keep_for, Reader::some_time);
        section.set(
            "keep_bytes",
            &mut self.keep_bytes,
            |reader, node| match reader.size(node)? {
                size if size < 256 * MEBIBYTE => {
                    Err("it is out of range; it must be at least 256MiB".to_owned())
                }
                size => Ok(size),
            },
        );
    }

    /// The store is filled from the journal.
    pub(super) fn check(&self, section: &Section<'_>, durability: Durability) {
        if self.url.is_some() && durability == Durability::Off {
            section.complain(
                "url",
                section.at(),
                "there is nothing to fill the store from: `ingest.journal.durability` is `off`",
            );
        }
    }
}
