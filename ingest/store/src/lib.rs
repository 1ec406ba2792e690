//! The span store: what the journal held, as Parquet that anybody can read; and other forms of traces, in and out.
//!
//! [`Compactor`] brings the journal's segments into a [`Store`], whose columns `SCHEMA.md` describes. A [`StoredSpan`]
//! is everything that an exporter said of a span: it is read from and written as OTLP in [protobuf](protobuf_of) and
//! [JSON](json_of), Jaeger's JSON, and the store's own files.

mod alike;
#[cfg(feature = "s3")]
mod bucket;
mod compact;
mod error;
mod files;
mod jaeger;
mod merge;
mod otlp;
mod otlp_json;
mod pages;
mod partition;
mod place;
mod read;
mod recorded;
mod schema;
mod source;
mod span;
mod store;
mod tail;
#[cfg(test)]
mod tests;
mod text;
mod value;
mod write;

pub use alike::{AlikeReader, Meanings, SpanOf};
pub use compact::{CompactCounts, Compactor, Step};
pub use error::StoreError;
pub use files::{Imported, read_any, read_stream};
pub use jaeger::{jaeger_of, spans_of_jaeger};
pub use otlp::{Received, protobuf_of, spans_of_protobuf};
pub use otlp_json::{json_of, spans_of_json};
pub use place::StoredFile;
pub use recorded::{Recorded, recorded, spans_of};
pub use schema::{SCHEMA_VERSION, SCHEMA_VERSION_KEY};
pub use span::{Event, Link, StoredResource, StoredScope, StoredSpan};
pub use store::{Retention, Store, StoreSize, alike_file, parquet_of, read_bytes, read_file};
pub use tail::trace_in_journal;
pub use text::Text;
pub use value::{Attributes, Value};

/// What was mended and left out while reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadCounts {
    /// Spans without valid ids; receivers reject them.
    pub rejected: u64,
    /// Texts that weren't UTF-8 and were mended.
    pub mended_text: u64,
    /// Values that nested too deep, or weren't whole, and are empty.
    pub cut_values: u64,
}

impl ReadCounts {
    /// Adds what else was counted.
    pub fn add(&mut self, other: Self) {
        self.rejected += other.rejected;
        self.mended_text += other.mended_text;
        self.cut_values += other.cut_values;
    }
}
