//! Receiving, decoding, keeping and assembling OpenTelemetry traces.
//!
//! [`receive`] takes OTLP from exporters, [`decode`] reads it, [`journal`] keeps it before they hear
//! OK, and [`assembly`] puts the spans of one request together. [`load`] sends them, to be measured.

pub mod assembly;
pub mod decode;
mod folder;
pub mod journal;
pub mod load;
mod lock;
mod packed;
pub mod receive;

pub use assembly::{Assembler, AssemblerConfig, AssemblyCounts, InFlight, Pushed};
pub use decode::{
    ContentType, DecodeContext, DecodeCounts, DecodeError, Decoded, KeepAttributes, decode_payload,
};
pub use folder::{make_folder, sync_folder};
pub use journal::{
    AppendError, Durability, Entry, Journal, JournalConfig, JournalError, Protocol, Record,
    Recovered, Replayed,
};
pub use lock::{LOCK, lock_folder};
pub use packed::PackedSpans;
pub use receive::{
    AccessError, AccessFiles, Batch, BindError, IngestCounts, IngestStats, Limits, ReceiverConfig,
    Receivers, SourceLimits, StartError, TlsFiles,
};
