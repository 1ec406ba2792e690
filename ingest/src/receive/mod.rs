//! How do exporters hand over their spans?
//!
//! OTLP over gRPC and over HTTP, on a port each as is usual; either port understands both, because
//! exporters are pointed at the wrong one all the time. Every answer is one that the specification
//! gives for the case, every wait has an end, and nothing that comes from outside can grow without
//! bound: connections, requests, bodies and batches are all limited, and what is over a limit is
//! told to come back.

mod access;
mod answer;
mod body;
mod budget;
mod encoding;
mod gzip;
mod intake;
mod origin;
mod over_grpc;
mod over_http;
mod quota;
mod refusal;
mod server;
mod stats;
mod status;
#[cfg(test)]
mod tests;
mod turned_away;
mod zstd;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

pub use access::{AccessError, AccessFiles, TlsFiles};
pub(crate) use access::{certificates_in, tokens_in};
pub use intake::Batch;
pub use quota::SourceLimits;
pub use refusal::Class;
pub use stats::{IngestCounts, IngestStats};
pub use turned_away::TurnedAway;

use crate::decode::KeepAttributes;
use crate::journal::Journal;
use access::Access;
use intake::Intake;

/// Where to listen, and what to let in.
#[derive(Clone, Debug)]
pub struct ReceiverConfig {
    /// Where to listen for OTLP/gRPC; port 0 takes any free one.
    pub grpc: SocketAddr,
    /// Where to listen for OTLP/HTTP; port 0 takes any free one.
    pub http: SocketAddr,
    /// Bytes of one request, as sent and after decompression.
    pub max_request_bytes: usize,
    /// Span attributes to keep on the span beyond the facts.
    pub keep_attributes: KeepAttributes,
    /// Batches that may wait for the engine: the capacity to give its channel.
    pub queue: usize,
    /// Who may send: anybody, unless files say otherwise.
    pub access: AccessFiles,
    /// What each source may send.
    pub per_source: SourceLimits,
    /// What else is bounded.
    pub limits: Limits,
}

impl Default for ReceiverConfig {
    /// The ports and the size that the specification names, on loopback. 256 batches of the usual
    /// 512 spans are a second's work and some 60 MB.
    fn default() -> Self {
        Self {
            grpc: SocketAddr::from(([127, 0, 0, 1], 4317)),
            http: SocketAddr::from(([127, 0, 0, 1], 4318)),
            max_request_bytes: 64 << 20,
            keep_attributes: KeepAttributes::default(),
            queue: 256,
            access: AccessFiles::default(),
            per_source: SourceLimits::default(),
            limits: Limits::default(),
        }
    }
}

/// Bounds that hardly anyone needs to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time, of both ports together.
    pub connections: usize,
    /// How long a body may take to come.
    pub body_within: Duration,
    /// How long a connection may take to its first request, and a request's head to come.
    pub head_within: Duration,
    /// How long a request waits for a place in the engine's queue before it is told to come back.
    pub queue_within: Duration,
    /// How long requests under way may take to end at a shutdown.
    pub drain_within: Duration,
    /// Bodies and batches under way, in requests of the largest size.
    pub largest_requests_at_once: usize,
}

impl Default for Limits {
    /// A file descriptor limit of 1,024 is common, and others need some. 30 s is an exporter's usual
    /// patience, after which nobody waits for the answer. Half a second is longer than any pause of
    /// the engine that isn't an overload, and a tenth of the least patience that exporters have by
    /// default (the Collector's 5 s). Four of the largest requests are 256 MiB.
    fn default() -> Self {
        Self {
            connections: 768,
            body_within: Duration::from_secs(30),
            head_within: Duration::from_secs(60),
            queue_within: Duration::from_millis(500),
            drain_within: Duration::from_secs(5),
            largest_requests_at_once: 4,
        }
    }
}

/// Why the receivers can't listen.
#[derive(Debug, thiserror::Error)]
#[error("failed listening for OTLP/{protocol} on {address}")]
pub struct BindError {
    /// `gRPC` or `HTTP`.
    pub protocol: &'static str,
    /// The address that was asked for.
    pub address: SocketAddr,
    /// Why it can't be had.
    #[source]
    pub source: io::Error,
}

/// Why the receivers can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address can't be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The files that say who may send are wrong.
    #[error(transparent)]
    Access(#[from] AccessError),
}

/// Receivers that listen, but don't answer yet: what connects meanwhile waits.
#[derive(Debug)]
pub struct Receivers {
    config: ReceiverConfig,
    access: Access,
    grpc: (TcpListener, SocketAddr),
    http: (TcpListener, SocketAddr),
}

/// What all connections share.
struct Shared {
    intake: Intake,
    access: Access,
    max_request_bytes: usize,
    limits: Limits,
}

impl Receivers {
    /// Listens on both addresses.
    ///
    /// # Errors
    /// When an address can't be had (another process may have it), or the files that say who may send are wrong.
    pub async fn bind(config: &ReceiverConfig) -> Result<Self, StartError> {
        Ok(Self {
            access: Access::new(config.access.clone())?,
            grpc: bind("gRPC", config.grpc).await?,
            http: bind("HTTP", config.http).await?,
            config: config.clone(),
        })
    }

    /// Where OTLP/gRPC is listened for.
    pub fn grpc_addr(&self) -> SocketAddr {
        self.grpc.1
    }

    /// Where OTLP/HTTP is listened for.
    pub fn http_addr(&self) -> SocketAddr {
        self.http.1
    }

    /// Takes requests until `shutdown` becomes true (or its sender is gone), then lets those under
    /// way end. Each is kept in the journal, sent to the engine, then acknowledged; when the
    /// engine's channel is full, exporters are told to come back.
    pub async fn serve(
        self,
        journal: Journal,
        sender: mpsc::Sender<Batch>,
        stats: Arc<IngestStats>,
        shutdown: watch::Receiver<bool>,
    ) {
        let config = self.config;
        let shared = Arc::new(Shared {
            intake: Intake::new(journal, sender, stats, &config),
            access: self.access,
            max_request_bytes: config.max_request_bytes,
            limits: config.limits,
        });
        server::serve([self.grpc.0, self.http.0], shared, shutdown).await;
    }
}

async fn bind(
    protocol: &'static str,
    address: SocketAddr,
) -> Result<(TcpListener, SocketAddr), BindError> {
    let failed = |source| BindError {
        protocol,
        address,
        source,
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}
