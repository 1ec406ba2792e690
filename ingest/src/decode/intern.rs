//! How does the same text become the same allocation, without remembering for ever?
//!
//! A request's few hundred spans carry a few dozen distinct texts, so looking one up costs less
//! than allocating it. The table is bounded: when it is full, the names that nobody else holds any
//! more are dropped (so the names of dead instances age out), and when all of them are held, a new
//! name becomes `other` and is counted, because whatever is keyed by names further on must stay
//! bounded too.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};
use rekindle_model::Name;

/// Names that one interner remembers: some 20 MiB at the usual lengths, and far more than the
/// services, operations and instances of any system in one process's sight. Twice as many as there
/// are shapes remembered, each of which may hold a name that nothing else does.
const MAX_NAMES: usize = 1 << 17;

/// A sweep is earned by this share of the bound in refusals: then it costs each of them a look at
/// two names, whatever is sent.
const EARNED_BY: usize = 2;

/// Bytes kept of one text. Operation names and error types are far shorter; a stack trace put
/// where a name belongs must not fill the memory.
pub(crate) const MAX_TEXT_BYTES: usize = 1024;

/// What becomes of a name that there is no room for.
pub(crate) const OTHER: &str = "other";

/// What was done to texts that couldn't be taken as they were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TextCounts {
    /// Names that became `other`.
    pub(crate) overflowed: u64,
    /// Texts cut to [`MAX_TEXT_BYTES`].
    pub(crate) cut: u64,
    /// Texts that weren't UTF-8, and had the offending bytes replaced.
    pub(crate) mended: u64,
}

impl TextCounts {
    /// What was done since an earlier count.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            overflowed: self.overflowed - earlier.overflowed,
            cut: self.cut - earlier.cut,
            mended: self.mended - earlier.mended,
        }
    }
}

/// Makes equal texts the same [`Name`].
pub(crate) struct Interner {
    names: HashTable<Name>,
    hasher: DefaultHashBuilder,
    bound: usize,
    /// Names asked for in vain since the last sweep: a sweep reads the whole table, so it has to
    /// be earned.
    refused_since_sweep: usize,
    other: Name,
    counts: TextCounts,
}

impl Interner {
    pub(crate) fn new() -> Self {
        Self::with_bound(MAX_NAMES)
    }

    fn with_bound(bound: usize) -> Self {
        Self {
            names: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            bound,
            refused_since_sweep: bound,
            other: OTHER.into(),
            counts: TextCounts::default(),
        }
    }

    /// The name with this text; `other` when there is no room for it.
    #[inline]
    pub(crate) fn name(&mut self, text: &[u8]) -> Name {
        if let Some(name) = self.find(text) {
            return name;
        }
        self.insert(text).unwrap_or_else(|_| {
            self.counts.overflowed += 1;
            self.other.clone()
        })
    }

    /// The text as it is, shared where there is room: for what is shown but never counted by,
    /// such as a status message.
    pub(crate) fn message(&mut self, text: &[u8]) -> Name {
        if let Some(name) = self.find(text) {
            return name;
        }
        self.insert(text).unwrap_or_else(|text| text)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    /// Counts what was done to texts when they were looked up before.
    #[inline]
    pub(crate) fn count(&mut self, texts: TextCounts) {
        self.counts.overflowed += texts.overflowed;
        self.counts.cut += texts.cut;
        self.counts.mended += texts.mended;
    }

    /// What was mended since it was taken last.
    pub(crate) fn counts(&self) -> TextCounts {
        self.counts
    }

    /// What was mended since this was asked last.
    pub(crate) fn take_counts(&mut self) -> TextCounts {
        std::mem::take(&mut self.counts)
    }

    #[inline]
    fn find(&self, text: &[u8]) -> Option<Name> {
        let hash = self.hasher.hash_one(text);
        self.names
            .find(hash, |name| name.as_bytes() == text)
            .cloned()
    }

    /// The new name, kept; or, as an error, not kept for want of room.
    #[cold]
    fn insert(&mut self, text: &[u8]) -> Result<Name, Name> {
        let whole = self.readable(text);
        if whole.as_bytes() != text
            && let Some(name) = self.find(whole.as_bytes())
        {
            return Ok(name);
        }
        if self.names.len() >= self.bound && !self.sweep() {
            return Err(whole);
        }
        let hash = self.hasher.hash_one(whole.as_bytes());
        let hasher = &self.hasher;
        self.names
            .insert_unique(hash, whole.clone(), |name| hasher.hash_one(name.as_bytes()));
        Ok(whole)
    }

    /// Cut and mended as needed. One wrong byte in one text must not cost the exporter its other
    /// five hundred spans.
    fn readable(&mut self, text: &[u8]) -> Name {
        let text = if text.len() > MAX_TEXT_BYTES {
            self.counts.cut += 1;
            cut(text, MAX_TEXT_BYTES)
        } else {
            text
        };
        match simdutf8::basic::from_utf8(text) {
            Ok(text) => text.into(),
            Err(_) => {
                self.counts.mended += 1;
                String::from_utf8_lossy(text).as_ref().into()
            }
        }
    }

    /// Drops what only this table holds; whether there is room now.
    fn sweep(&mut self) -> bool {
        self.refused_since_sweep += 1;
        if self.refused_since_sweep < self.bound / EARNED_BY {
            return false;
        }
        self.refused_since_sweep = 0;
        self.names.retain(|name| name.holders() > 1);
        self.names.len() < self.bound
    }
}

/// The first bytes of a text, at most so many, not ending inside a character.
fn cut(text: &[u8], most: usize) -> &[u8] {
    let mut end = most;
    // No character has more than three continuation bytes; more of them is no UTF-8 anyway.
    while end > most - 4 && text[end] & 0xc0 == 0x80 {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_one_allocation() {
        let mut interner = Interner::new();
        let first = interner.name(b"GET /cart");
        let second = interner.name(b"GET /cart");
        assert_eq!(first, second);
        assert_eq!(first.holders(), 3);
    }

    #[test]
    fn past_the_bound_a_name_is_other_until_names_are_let_go() {
        let mut interner = Interner::with_bound(16);
        let held: Vec<Name> = (0..16)
            .map(|i| interner.name(format!("held-{i}").as_bytes()))
            .collect();
        assert_eq!(&*interner.name(b"one more"), OTHER);
        assert_eq!(&*interner.message(b"a message"), "a message");
        assert_eq!(interner.name(b"held-3"), held[3]);
        assert_eq!(interner.take_counts().overflowed, 1);

        drop(held);
        // The sweep is earned by having been refused.
        let names: Vec<Name> = (0..9).map(|_| interner.name(b"one more")).collect();
        assert_eq!(&*names[8], "one more");
        assert!(interner.names.len() < 16);
    }

    #[test]
    fn long_and_broken_texts_are_made_readable() {
        let mut interner = Interner::new();
        let long = format!("{}é", "x".repeat(MAX_TEXT_BYTES - 1));
        assert_eq!(interner.name(long.as_bytes()).len(), MAX_TEXT_BYTES - 1);
        assert_eq!(
            interner.name(&[0x80; 4 * MAX_TEXT_BYTES]).chars().next(),
            Some('\u{fffd}')
        );
        let broken = interner.name(b"caf\xe9");
        assert_eq!(&*broken, "caf\u{fffd}");
        assert_eq!(interner.name(b"caf\xe9").holders(), 3);
        let counts = interner.take_counts();
        assert_eq!((counts.cut, counts.mended), (2, 3));
    }
}
