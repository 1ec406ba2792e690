//! What does a receiver of OTLP bear?
//!
//! A made-up system of services sends real traces: trees over several services, each process's spans
//! in requests of its own, so that a trace comes in several of them; some requests fail, from a leaf
//! up to the user. It sends as fast as answers come or at a rate, and says what it measured. It
//! speaks OTLP and nothing else, so any receiver can be asked.

mod generate;
mod protobuf;
mod receiver;
mod send;
mod system;

use std::time::Duration;

use serde::Serialize;

pub use generate::{Generator, Request, SystemShape};
pub use receiver::{Address, AddressError, Credentials};
pub use send::run;

/// Over what the spans are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// OTLP/HTTP, protobuf.
    Http,
    /// OTLP/gRPC.
    Grpc,
}

/// How bodies are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compression {
    /// Not at all.
    None,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

/// What is sent, where to, and for how long.
#[derive(Clone, Debug)]
pub struct LoadConfig {
    /// The receiver.
    pub to: Address,
    /// What is shown to it, and whom it is believed to be.
    pub credentials: Credentials,
    /// Over what.
    pub transport: Transport,
    /// How compressed.
    pub compression: Compression,
    /// Connections, each with one request under way at a time.
    pub connections: usize,
    /// Spans per second in all; as fast as answers come, if not given.
    pub rate: Option<f64>,
    /// How long.
    pub duration: Duration,
    /// What the system looks like.
    pub shape: SystemShape,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct LoadReport {
    /// Requests that were acknowledged.
    pub requests: u64,
    /// Spans in them.
    pub spans: u64,
    /// Answers that said to come back later; what they were about was sent again.
    pub told_to_come_back: u64,
    /// Requests that were refused for good.
    pub refused: u64,
    /// Connections that broke, or couldn't be made.
    pub broken_connections: u64,
    /// Seconds that it took.
    pub seconds: f64,
    /// Spans acknowledged per second.
    pub spans_per_second: f64,
    /// Bytes of bodies per second, as sent.
    pub bytes_per_second: f64,
    /// Milliseconds to an acknowledgement, from when the request was due (at a rate) or first sent (without one), however
    /// often it was sent again: half of them took no longer.
    pub median_millis: f64,
    /// The same: 99 in 100 took no longer.
    pub p99_millis: f64,
    /// The same: the longest.
    pub longest_millis: f64,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Nobody listens there.
    #[error("failed connecting to {to}")]
    Connect {
        /// Where.
        to: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// What was given to reach it can't be used.
    #[error("{wrong}")]
    Credentials {
        /// What is wrong with it.
        wrong: String,
    },
    /// It takes no spans of who shows what we show.
    #[error(
        "{to} lets nobody in who shows what was given: it answered {answer}; it wants another token, or one at all"
    )]
    NotLetIn {
        /// Who answered.
        to: String,
        /// What it said.
        answer: String,
    },
    /// It is no OTLP receiver, or another one than was thought.
    #[error("{to} does not take OTLP over {over}: it answered {answer}")]
    Refused {
        /// Who answered.
        to: String,
        /// HTTP or gRPC.
        over: &'static str,
        /// What it said.
        answer: String,
    },
}
