//! A server on free ports, and clients that send any bytes at all.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::super::*;

/// `google.rpc.Status`, to read what we write.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Status {
    #[prost(int32, tag = "1")]
    pub(super) code: i32,
    #[prost(string, tag = "2")]
    pub(super) message: String,
    #[prost(message, repeated, tag = "3")]
    pub(super) details: Vec<Detail>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Detail {
    #[prost(string, tag = "1")]
    pub(super) type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct RetryInfo {
    #[prost(message, tag = "1")]
    pub(super) retry_delay: Option<RetryDelay>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct RetryDelay {
    #[prost(int64, tag = "1")]
    pub(super) seconds: i64,
}

impl Status {
    pub(super) fn has(&self, kind: &str) -> bool {
        self.details.iter().any(|it| it.type_url.ends_with(kind))
    }
}

pub(super) struct Server {
    pub(super) grpc: SocketAddr,
    pub(super) http: SocketAddr,
    pub(super) engine: mpsc::Receiver<Batch>,
    pub(super) stats: Arc<IngestStats>,
    shutdown: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// Free ports, and a limit that tests can exceed.
pub(super) fn config() -> ReceiverConfig {
    ReceiverConfig {
        grpc: SocketAddr::from(([127, 0, 0, 1], 0)),
        http: SocketAddr::from(([127, 0, 0, 1], 0)),
        max_request_bytes: 64 << 10,
        ..ReceiverConfig::default()
    }
}

impl Server {
    pub(super) async fn start(config: ReceiverConfig, journal: Journal) -> Self {
        let receivers = Receivers::bind(&config).await.expect("binds");
        let (grpc, http) = (receivers.grpc_addr(), receivers.http_addr());
        let (sender, engine) = mpsc::channel(config.queue);
        let (shutdown, ends) = watch::channel(false);
        let stats = Arc::new(IngestStats::default());
        let task = tokio::spawn(receivers.serve(journal, sender, stats.clone(), ends));
        Self {
            grpc,
            http,
            engine,
            stats,
            shutdown,
            task,
        }
    }

    /// Shuts down, waits for the end, and says what came in.
    pub(super) async fn stop(self) -> IngestCounts {
        self.shutdown.send_replace(true);
        self.task.await.expect("ends");
        self.stats.snapshot()
    }
}

#[derive(Debug)]
pub(super) struct HttpReply {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl HttpReply {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|it| it.to_str().expect("text"))
    }

    /// The body as a Status, in the encoding that the content type names.
    pub(super) fn error(&self) -> Status {
        match self.header("content-type") {
            Some("application/x-protobuf") => {
                prost::Message::decode(&self.body[..]).expect("a Status in protobuf")
            }
            Some("application/json") => {
                let json: serde_json::Value = serde_json::from_slice(&self.body).expect("JSON");
                let details = json["details"].as_array().cloned().unwrap_or_default();
                Status {
                    code: json["code"].as_i64().expect("a code") as i32,
                    message: json["message"].as_str().expect("a message").to_owned(),
                    details: details
                        .iter()
                        .map(|it| Detail {
                            type_url: it["@type"].as_str().expect("a type").to_owned(),
                            value: Vec::new(),
                        })
                        .collect(),
                }
            }
            other => panic!("no content type for a Status: {other:?}"),
        }
    }
}

/// The head of a request of HTTP/1.1.
pub(super) fn head(method: &str, path: &str, headers: &[(&str, &str)]) -> String {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head + "\r\n"
}

/// Sends a request whole and reads the answer.
pub(super) async fn http(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> HttpReply {
    let mut socket = TcpStream::connect(address).await.expect("connects");
    let length = body.len().to_string();
    let headers = [headers, &[("Content-Length", length.as_str())]].concat();
    let head = head(method, path, &headers);
    socket.write_all(head.as_bytes()).await.expect("sends");
    socket.write_all(body).await.expect("sends");
    read_reply(&mut socket).await
}

/// The same in chunks, so that its length isn't known before its end.
pub(super) async fn http_chunked(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> HttpReply {
    let mut socket = TcpStream::connect(address).await.expect("connects");
    let headers = [headers, &[("Transfer-Encoding", "chunked")]].concat();
    let head = head(method, path, &headers);
    socket.write_all(head.as_bytes()).await.expect("sends");
    for part in body.chunks(body.len().div_ceil(3).max(1)) {
        let size = format!("{:x}\r\n", part.len());
        let chunk = [size.as_bytes(), part, b"\r\n"].concat();
        socket.write_all(&chunk).await.expect("sends");
    }
    socket.write_all(b"0\r\n\r\n").await.expect("sends");
    read_reply(&mut socket).await
}

pub(super) async fn read_reply(socket: &mut TcpStream) -> HttpReply {
    let mut bytes = Vec::new();
    let read = socket.read_to_end(&mut bytes);
    let read = tokio::time::timeout(Duration::from_secs(20), read).await;
    read.expect("an answer in time").expect("an answer");
    let end = bytes.windows(4).position(|it| it == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no head: {:?}", String::from_utf8_lossy(&bytes)));
    let head = std::str::from_utf8(&bytes[..end]).expect("text");
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|it| it.split(' ').nth(1)?.parse().ok());
    let headers = lines.filter_map(|line| {
        let (name, value) = line.split_once(": ")?;
        Some((name.parse::<http::HeaderName>().ok()?, value.parse().ok()?))
    });
    HttpReply {
        status: status.expect("a status"),
        headers: headers.collect(),
        body: bytes[end + 4..].to_vec(),
    }
}

#[derive(Debug)]
pub(super) struct GrpcReply {
    pub(super) http_status: u16,
    /// Headers and trailers together.
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl GrpcReply {
    pub(super) fn code(&self) -> u16 {
        let code = self.headers.get("grpc-status").expect("a grpc-status");
        code.to_str().expect("text").parse().expect("a number")
    }

    /// The details, which are a Status of their own.
    pub(super) fn details(&self) -> Status {
        use base64::Engine;
        let details = self
            .headers
            .get("grpc-status-details-bin")
            .expect("details");
        let details = base64::engine::general_purpose::STANDARD_NO_PAD.decode(details.as_bytes());
        prost::Message::decode(&details.expect("base64")[..]).expect("a Status")
    }
}

/// A message of gRPC with its prefix.
pub(super) fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
    let length = (message.len() as u32).to_be_bytes();
    [&[flag][..], &length, message].concat()
}

pub(super) const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// Makes one call over a connection of its own.
pub(super) async fn grpc(
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> GrpcReply {
    let content_type = ("content-type", "application/grpc");
    let headers = [&[content_type], headers].concat();
    over_http2(address, "POST", path, &headers, &body).await
}

/// Sends a request over HTTP/2, on a connection that speaks it from the first byte on.
pub(super) async fn over_http2(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> GrpcReply {
    let socket = TcpStream::connect(address).await.expect("connects");
    over_http2_on(socket, method, path, headers, body).await
}

/// The same on a connection that is there.
pub(super) async fn over_http2_on<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
    socket: S,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> GrpcReply {
    let (client, connection) = h2::client::handshake(socket).await.expect("speaks HTTP/2");
    let connection = tokio::spawn(connection);
    let mut client = client.ready().await.expect("is ready");
    let uri = format!("http://test{path}");
    let mut request = Request::builder().method(method).uri(uri);
    request = request.header("te", "trailers");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(()).expect("a request");
    let (response, mut stream) = client.send_request(request, false).expect("sends");
    // h2 keeps what the window has no room for and sends it later; a stream that was answered
    // early takes no more.
    let _ = stream.send_data(Bytes::copy_from_slice(body), true);
    let response = response.await.expect("an answer");
    let http_status = response.status().as_u16();
    let mut headers = response.headers().clone();
    let mut stream = response.into_body();
    let mut body = Vec::new();
    while let Some(data) = stream.data().await {
        body.extend_from_slice(&data.expect("data"));
    }
    headers.extend(
        stream
            .trailers()
            .await
            .expect("trailers")
            .unwrap_or_default(),
    );
    connection.abort();
    GrpcReply {
        http_status,
        headers,
        body,
    }
}
