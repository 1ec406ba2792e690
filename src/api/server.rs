//! Who keeps the API's connections, and how do they end?
//!
//! As the receivers do: one loop accepts and owns every connection's task, their number is bounded,
//! and one that says nothing is closed. A browser opens a handful and opens them again when it needs
//! them, so closing one that is silent or one too many costs nobody anything.

use std::pin::pin;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1::Builder;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// How long to wait when a connection can't be accepted; out of file descriptors, usually.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Bounds on connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time.
    pub connections: usize,
    /// How long a connection may be silent before a request's head has come.
    pub head_within: Duration,
    /// How long requests under way may take to end at a shutdown.
    pub drain_within: Duration,
}

impl Default for Limits {
    /// Twenty people with a browser each, and some scripts: 256. Half a minute is longer than any
    /// client that means well takes from connecting to asking. The drain is the daemon's own.
    fn default() -> Self {
        Self {
            connections: 256,
            head_within: Duration::from_secs(30),
            drain_within: Duration::from_secs(5),
        }
    }
}

/// Serves the router on this socket until `shutdown` turns true or its sender is gone, then lets
/// the requests under way end.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    mut shutdown: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            // An error means that nobody is left to say so.
            _ = shutdown.wait_for(|ends| *ends) => break,
        };
        match accepted {
            Ok((socket, _)) if connections.len() < limits.connections => {
                connections.spawn(answer(socket, router.clone(), limits, shutdown.clone()));
            }
            Ok((_, peer)) => {
                tracing::debug!(%peer, "closed a connection to the API: there are too many");
            }
            Err(error) => {
                tracing::warn!(%error, "failed accepting a connection to the API");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    if timeout(limits.drain_within, ended).await.is_err() {
        connections.shutdown().await;
    }
}

/// Answers one connection's requests until it ends, by itself or because it must.
async fn answer(
    socket: TcpStream,
    router: Router,
    limits: Limits,
    mut shutdown: watch::Receiver<bool>,
) {
    // Answers are small and waited for. A socket that can't be set so is closed already.
    if socket.set_nodelay(true).is_err() {
        return;
    }
    let connection = Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_within)
        .serve_connection(TokioIo::new(socket), TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    let mut ending = false;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection to the API broke");
                }
                return;
            }
            _ = shutdown.wait_for(|ends| *ends), if !ending => {
                ending = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// More than any of this takes; only a failure waits for so long.
    const PATIENCE: Duration = Duration::from_secs(60);

    struct Server {
        address: std::net::SocketAddr,
        stop: watch::Sender<bool>,
        task: tokio::task::JoinHandle<()>,
    }

    impl Server {
        async fn start(limits: Limits) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("an address");
            let router = Router::new().route("/", get(async || "here"));
            let (stop, stopped) = watch::channel(false);
            let task = tokio::spawn(serve(listener, router, limits, stopped));
            Self {
                address,
                stop,
                task,
            }
        }

        async fn connect(&self) -> TcpStream {
            TcpStream::connect(self.address).await.expect("it listens")
        }
    }

    /// What comes until the other end closes.
    async fn rest(socket: &mut TcpStream) -> String {
        let mut text = String::new();
        let read = timeout(PATIENCE, socket.read_to_string(&mut text)).await;
        // Closed with something unread is closed as well.
        drop(read.expect("it is closed"));
        text
    }

    async fn ask(socket: &mut TcpStream) -> String {
        let request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
        socket.write_all(request).await.expect("it reads");
        let mut answer = vec![0; 15];
        timeout(PATIENCE, socket.read_exact(&mut answer))
            .await
            .expect("in time")
            .expect("an answer");
        String::from_utf8(answer).expect("text")
    }

    #[tokio::test]
    async fn a_connection_that_says_nothing_or_half_a_head_is_closed() {
        let server = Server::start(Limits {
            head_within: Duration::from_millis(50),
            ..Limits::default()
        })
        .await;
        for said in ["", "GET / HTTP/1.1\r\nHost:"] {
            let mut socket = server.connect().await;
            socket.write_all(said.as_bytes()).await.expect("it reads");
            assert!(!rest(&mut socket).await.contains("200"), "{said:?}");
        }
        let mut talks = server.connect().await;
        assert_eq!(ask(&mut talks).await, "HTTP/1.1 200 OK");
    }

    #[tokio::test]
    async fn connections_are_bounded_and_make_room_when_they_end() {
        let server = Server::start(Limits {
            connections: 1,
            ..Limits::default()
        })
        .await;
        let mut first = server.connect().await;
        assert_eq!(ask(&mut first).await, "HTTP/1.1 200 OK");
        assert_eq!(rest(&mut server.connect().await).await, "");
        drop(first);
        let begun = std::time::Instant::now();
        loop {
            let mut next = server.connect().await;
            let request = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
            let sent = next.write_all(request).await;
            if sent.is_ok() && rest(&mut next).await.contains("here") {
                break;
            }
            assert!(begun.elapsed() < PATIENCE, "there is never room");
        }
    }

    #[tokio::test]
    async fn a_stop_ends_silent_connections() {
        let server = Server::start(Limits::default()).await;
        let mut silent = server.connect().await;
        assert_eq!(ask(&mut silent).await, "HTTP/1.1 200 OK");
        server.stop.send_replace(true);
        timeout(PATIENCE, server.task)
            .await
            .expect("in time")
            .expect("it ends");
    }
}
