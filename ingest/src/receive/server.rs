//! Who keeps the connections, and how do they end?
//!
//! One loop accepts on both ports and owns every connection's task. A connection that is one too
//! many is closed at once: exporters connect again, and one that waited unanswered would only learn
//! it later.

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{Request, Response, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::answer::Answer;
use super::quota::Source;
use super::{Limits, Shared, over_grpc, over_http};

/// How long to wait when a connection can't be accepted; out of file descriptors, usually.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How often a silent HTTP/2 connection is asked whether it lives, and how long it may take to say.
const PING: Duration = Duration::from_secs(30);

/// Calls of one gRPC connection at a time; exporters have one or a few.
const STREAMS: u32 = 64;

/// Bytes that may be under way on a call before we have read them, and on its connection: enough for
/// a usual request of 200 kB without a pause.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// The largest frame taken: larger ones mean fewer pieces to put together.
const FRAME: u32 = 1 << 20;

type Builder = auto::Builder<TokioExecutor>;

/// Accepts and answers until the shutdown, then lets what is under way end.
pub(super) async fn serve(
    [one, two]: [TcpListener; 2],
    shared: Arc<Shared>,
    mut shutdown: watch::Receiver<bool>,
) {
    let builder = Arc::new(builder(shared.limits));
    let mut connections = JoinSet::new();
    let fresh = shared.clone();
    let mut fresh = pin!(fresh.access.keep_fresh());
    loop {
        let accepted = tokio::select! {
            () = fresh.as_mut() => continue,
            accepted = one.accept() => accepted,
            accepted = two.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            // An error means that nobody is left to say so.
            _ = shutdown.wait_for(|ends| *ends) => break,
        };
        match accepted {
            Ok((socket, peer)) => {
                let room = connections.len() < shared.limits.connections;
                shared.intake.stats.connection(room);
                if room {
                    let (builder, shared) = (builder.clone(), shared.clone());
                    let from = peer.ip();
                    connections.spawn(answer(socket, from, builder, shared, shutdown.clone()));
                }
            }
            Err(error) => {
                tracing::warn!(%error, "failed accepting a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop((one, two));
    let ended = async { while connections.join_next().await.is_some() {} };
    if timeout(shared.limits.drain_within, ended).await.is_err() {
        tracing::warn!(
            connections = connections.len(),
            "closing connections that didn't end"
        );
        connections.shutdown().await;
    }
}

fn builder(limits: Limits) -> Builder {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_within);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING)
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME);
    builder
}

/// Answers one connection's requests until it ends, by itself or because it must.
async fn answer(
    socket: TcpStream,
    from: IpAddr,
    builder: Arc<Builder>,
    shared: Arc<Shared>,
    shutdown: watch::Receiver<bool>,
) {
    // Answers are small and waited for. A socket that can't be set so is closed already.
    if socket.set_nodelay(true).is_err() {
        return;
    }
    let Some(config) = shared.access.tls() else {
        let source = shared.access.source(from, None);
        return converse(socket, source, builder, shared, shutdown).await;
    };
    // Whoever knocks and says nothing goes as soon as one who connects and says nothing.
    let accepted = TlsAcceptor::from(config).accept(socket);
    match timeout(shared.limits.head_within, accepted).await {
        Ok(Ok(stream)) => {
            let source = shared
                .access
                .source(from, stream.get_ref().1.peer_certificates());
            converse(stream, source, builder, shared, shutdown).await;
        }
        Ok(Err(error)) => {
            shared.intake.stats.handshake_failed();
            tracing::debug!(%error, "a connection could not be secured");
        }
        Err(_) => shared.intake.stats.handshake_failed(),
    }
}

/// Answers requests on a connection that is as secure as is wanted.
async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    source: Source,
    builder: Arc<Builder>,
    shared: Arc<Shared>,
    mut shutdown: watch::Receiver<bool>,
) {
    let spoke = Arc::new(AtomicBool::new(false));
    let silence = sleep(shared.limits.head_within);
    let service = service_fn(|request| {
        spoke.store(true, Ordering::Relaxed);
        let shared = shared.clone();
        async move { respond(&shared, source, request).await }
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut silence = pin!(silence);
    let mut waiting = true;
    let mut ending = false;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection broke");
                }
                return;
            }
            _ = shutdown.wait_for(|ends| *ends), if !ending => {
                ending = true;
                connection.as_mut().graceful_shutdown();
            }
            // Which protocol it speaks isn't known before it does, so no other timer runs yet.
            () = silence.as_mut(), if waiting => {
                if !spoke.load(Ordering::Relaxed) {
                    return;
                }
                waiting = false;
            }
        }
    }
}

async fn respond(
    shared: &Shared,
    source: Source,
    request: Request<Incoming>,
) -> Result<Response<Answer>, Infallible> {
    let is_grpc = request.version() == Version::HTTP_2 && over_grpc::is_grpc(request.headers());
    Ok(match is_grpc {
        true => over_grpc::handle(shared, source, request).await,
        false => over_http::handle(shared, source, request).await,
    })
}
