//! For the tests of executors and probes: a server on loopback that answers well, badly or not at
//! all.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::Pid;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What the server does with one connection.
#[derive(Clone, Debug)]
pub(crate) enum Script {
    /// Answers.
    Answer(u16, String),
    /// Answers by the request's first line and body.
    Decide(Handler),
    /// Reads the request and never answers.
    Silent,
    /// Reads the request and closes the connection.
    HangUp,
    /// Sends headers for ever.
    DripHeaders,
    /// Sends a body for ever.
    DripBody,
}

/// From a request's first line and its body to status and body of the answer.
type Decide = dyn Fn(&str, &str) -> (u16, String) + Send + Sync;

/// Decides an answer.
#[derive(Clone)]
pub(crate) struct Handler(Arc<Decide>);

impl std::fmt::Debug for Handler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a handler")
    }
}

impl Script {
    pub(crate) fn decide(
        handler: impl Fn(&str, &str) -> (u16, String) + Send + Sync + 'static,
    ) -> Self {
        Self::Decide(Handler(Arc::new(handler)))
    }

    pub(crate) fn answer(status: u16, body: &str) -> Self {
        Self::Answer(status, body.to_owned())
    }
}

/// The server. Connections take the scripts in turn; the last one goes on.
pub(crate) struct Server {
    address: std::net::SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start(scripts: Vec<Script>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            for turn in 0.. {
                let (stream, _) = listener.accept().await.expect("accepts");
                let script = scripts[turn.min(scripts.len() - 1)].clone();
                connections.spawn(serve(stream, script, Arc::clone(&seen)));
            }
        });
        Self {
            address,
            requests,
            task,
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// The heads of all requests so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, script: Script, seen: Arc<Mutex<Vec<String>>>) {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    // Head and body both: closing with unread bytes would reset the connection.
    let (line, body) = loop {
        match stream.read(&mut buffer).await {
            Ok(count @ 1..) => request.extend_from_slice(&buffer[..count]),
            _ => return,
        }
        let text = String::from_utf8_lossy(&request);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .to_ascii_lowercase()
            .lines()
            .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok())
            .unwrap_or(0_usize);
        if body.len() >= length {
            let line = head.lines().next().unwrap_or_default().to_owned();
            let body = body.to_owned();
            seen.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(text.into_owned());
            break (line, body);
        }
    };
    let script = match script {
        Script::Decide(Handler(decide)) => {
            let (status, body) = decide(&line, &body);
            Script::Answer(status, body)
        }
        script => script,
    };
    let drip = |head: &'static str, drop: &'static str| (head, drop);
    let (head, drop) = match script {
        Script::Answer(status, body) => {
            let answer = format!(
                "HTTP/1.1 {status} Whatever\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(answer.as_bytes()).await.ok();
            return;
        }
        Script::HangUp | Script::Decide(_) => return,
        Script::Silent => drip("", ""),
        Script::DripHeaders => drip("HTTP/1.1 200 OK\r\n", "X-More: yes\r\n"),
        Script::DripBody => drip("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", "x"),
    };
    stream.write_all(head.as_bytes()).await.ok();
    loop {
        // A client reads so many headers and no more: they take longer than any test waits.
        tokio::time::sleep(Duration::from_millis(100)).await;
        if stream.write_all(drop.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Whether a process lives, zombies not counted.
pub(crate) fn lives(pid: Pid) -> bool {
    std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()))
        .is_ok_and(|stat| !stat.contains(") Z "))
}
