//! Receiving, decoding, keeping and assembling OpenTelemetry traces.
//!
//! [`decode`] reads what exporters send, and [`assembly`] puts the spans of one request together.

pub mod assembly;
pub mod decode;

pub use assembly::{Assembler, AssemblerConfig, AssemblyCounts, InFlight, Pushed};
pub use decode::{
    ContentType, DecodeContext, DecodeCounts, DecodeError, Decoded, KeepAttributes, decode_payload,
};
