//! Receiving, decoding, keeping and assembling OpenTelemetry traces.
//!
//! [`decode`] reads what exporters send, [`journal`] keeps it before they hear OK, and [`assembly`]
//! puts the spans of one request together.

pub mod assembly;
pub mod decode;
pub mod journal;

pub use assembly::{Assembler, AssemblerConfig, AssemblyCounts, InFlight, Pushed};
pub use decode::{
    ContentType, DecodeContext, DecodeCounts, DecodeError, Decoded, KeepAttributes, decode_payload,
};
pub use journal::{Durability, Journal, JournalConfig, JournalError, Record, Recovered};
