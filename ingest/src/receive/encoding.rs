//! Which compressions are understood, and by what names?
//!
//! None and gzip because the specification demands it; zstd because the Collector offers it and it
//! costs both sides a third of gzip. The others that the Collector takes are hardly used.

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// Not at all.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

impl Encoding {
    /// What may be asked for, as HTTP and gRPC list it.
    pub(super) const ACCEPTED: &str = "gzip, zstd, identity";

    /// The encoding of this name.
    pub(super) fn named(name: &[u8]) -> Option<Self> {
        let name = name.trim_ascii();
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        if name.is_empty() || is("identity") {
            Some(Self::Identity)
        } else if is("gzip") {
            Some(Self::Gzip)
        } else if is("zstd") {
            Some(Self::Zstd)
        } else {
            None
        }
    }
}
