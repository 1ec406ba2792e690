//! HTTP/1.1 over kept connections, for the users and for calls between processes.
//!
//! Small on purpose: one request at a time per connection, idle connections kept per address, no
//! retries (a retry would hide the failures that this testbed is there to show). Connections are
//! driven by the runtime given at the start, so a caller on another thread can die without taking
//! a connection's driver along.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::runtime::Handle;

/// Idle connections kept per address; beyond that a connection is closed after its answer.
const MAX_IDLE: usize = 64;

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct WireResponse {
    pub(crate) status: StatusCode,
    /// The `traceresponse` header: which trace the server made of the request.
    pub(crate) trace: Option<String>,
    pub(crate) body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    #[error("connect to {address}")]
    Connect {
        address: SocketAddr,
        source: std::io::Error,
    },
    #[error("exchange with {address}")]
    Exchange {
        address: SocketAddr,
        source: hyper::Error,
    },
    #[error("the runtime that drives connections to {address} is gone")]
    Stopped { address: SocketAddr },
}

impl WireError {
    /// The name for `error.type`.
    pub(crate) fn error_type(&self) -> &'static str {
        match self {
            Self::Connect { source, .. }
                if source.kind() == std::io::ErrorKind::ConnectionRefused =>
            {
                "connection_refused"
            }
            Self::Connect { .. } => "connection_failed",
            Self::Exchange { .. } => "connection_closed",
            Self::Stopped { .. } => "client_stopped",
        }
    }
}

type Connection = SendRequest<Full<Bytes>>;

/// Connections to any number of addresses.
pub(crate) struct HttpPool {
    runtime: Handle,
    idle: Mutex<HashMap<SocketAddr, Vec<Connection>>>,
}

impl HttpPool {
    pub(crate) fn new(runtime: Handle) -> Self {
        Self {
            runtime,
            idle: Mutex::new(HashMap::new()),
        }
    }

    /// Sends and reads the answer. No time limit of its own: callers know theirs, and dropping the
    /// future closes the connection.
    pub(crate) async fn request(
        &self,
        address: SocketAddr,
        request: Request<Full<Bytes>>,
    ) -> Result<WireResponse, WireError> {
        let mut connection = match self.take_idle(address).await {
            Some(connection) => connection,
            None => self.connect(address).await?,
        };
        let failed = |source| WireError::Exchange { address, source };
        let response = connection.send_request(request).await.map_err(failed)?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(failed)?.to_bytes();
        self.keep(address, connection);
        Ok(WireResponse {
            status: head.status,
            trace: head
                .headers
                .get("traceresponse")
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned),
            body,
        })
    }

    async fn take_idle(&self, address: SocketAddr) -> Option<Connection> {
        loop {
            let mut connection = {
                let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
                idle.get_mut(&address)?.pop()?
            };
            if connection.ready().await.is_ok() {
                return Some(connection);
            }
        }
    }

    async fn connect(&self, address: SocketAddr) -> Result<Connection, WireError> {
        let failed = move |source| WireError::Connect { address, source };
        let connecting = self.runtime.spawn(async move {
            let stream = TcpStream::connect(address).await.map_err(failed)?;
            stream.set_nodelay(true).map_err(failed)?;
            let (connection, driver) = handshake(TokioIo::new(stream))
                .await
                .map_err(|source| WireError::Exchange { address, source })?;
            // Ends when the connection does; its errors come out of `send_request` too.
            tokio::spawn(driver);
            Ok(connection)
        });
        connecting
            .await
            .unwrap_or(Err(WireError::Stopped { address }))
    }

    fn keep(&self, address: SocketAddr, connection: Connection) {
        if connection.is_closed() {
            return;
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = idle.entry(address).or_default();
        if kept.len() < MAX_IDLE {
            kept.push(connection);
        }
    }
}
