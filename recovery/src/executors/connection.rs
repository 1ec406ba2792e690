//! How is a platform's API called: one request over a connection of its own, to a Unix socket, a
//! port of this machine, or a TLS server that a given authority vouches for?
//!
//! Own framing of hyper's client, because a Unix socket, a private authority and cancellation by
//! dropping are needed together. Connection and request are driven by the same future: who drops it
//! closes the connection, and nothing is left running. As everywhere, a failure says whether the
//! other side may have got the request.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::http_call::CallFailure;

/// The longest answer that is read: a list of a few hundred pods with all their fields has a few
/// megabytes.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// As much of an answer as is passed on to people when it isn't what was expected.
const MAX_REASON_CHARS: usize = 300;

/// Where an API is.
#[derive(Clone, Debug)]
pub(crate) enum Endpoint {
    /// A Unix socket.
    Unix(PathBuf),
    /// A port in the clear, which is for this machine only.
    Plain {
        /// Name or address.
        host: String,
        /// Its port.
        port: u16,
    },
    /// TLS.
    Tls {
        /// Name or address.
        host: String,
        /// What its certificate must say.
        name: String,
        /// Its port.
        port: u16,
        /// Whom to believe, and who we are.
        config: Arc<ClientConfig>,
    },
}

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// What goes into `Authorization`.
    pub authorization: Option<String>,
    /// Content type and body.
    pub body: Option<(&'static str, Vec<u8>)>,
}

impl Ask {
    /// Without a body.
    pub(crate) fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            authorization: None,
            body: None,
        }
    }

    /// With a JSON body of this content type.
    pub(crate) fn with_json(
        mut self,
        content_type: &'static str,
        body: &serde_json::Value,
    ) -> Self {
        self.body = Some((content_type, body.to_string().into_bytes()));
        self
    }
}

/// What was answered.
#[derive(Clone, Debug)]
pub(crate) struct Answered {
    pub status: u16,
    /// When the server wants to be asked again.
    pub retry_after: Option<Duration>,
    pub body: Vec<u8>,
}

impl Answered {
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body as what it should be.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, CallFailure> {
        serde_json::from_slice(&self.body).map_err(|error| CallFailure {
            maybe_sent: true,
            reason: format!("its answer can't be read: {error}"),
        })
    }

    /// The `message` that both Docker and Kubernetes put into their refusals, or the body's begin.
    pub(crate) fn message(&self) -> String {
        let message = serde_json::from_slice::<serde_json::Value>(&self.body)
            .ok()
            .and_then(|body| Some(body.get("message")?.as_str()?.to_owned()))
            .unwrap_or_else(|| String::from_utf8_lossy(&self.body).trim().to_owned());
        message.chars().take(MAX_REASON_CHARS).collect()
    }
}

/// Asks, and reads the whole answer, within `limit`.
pub(crate) async fn ask(
    endpoint: &Endpoint,
    ask: Ask,
    limit: Duration,
) -> Result<Answered, CallFailure> {
    let mut is_sent = false;
    match tokio::time::timeout(limit, exchange(endpoint, ask, &mut is_sent)).await {
        Ok(answered) => answered,
        Err(_elapsed) => Err(CallFailure {
            maybe_sent: is_sent,
            reason: if is_sent {
                format!("no answer within {limit:.1?}")
            } else {
                format!("no connection to {endpoint} within {limit:.1?}")
            },
        }),
    }
}

async fn exchange(
    endpoint: &Endpoint,
    ask: Ask,
    is_sent: &mut bool,
) -> Result<Answered, CallFailure> {
    let unreachable = |error: std::io::Error| CallFailure {
        maybe_sent: false,
        reason: format!("no connection to {endpoint}: {error}"),
    };
    match endpoint {
        Endpoint::Unix(path) => {
            let stream = UnixStream::connect(path).await.map_err(unreachable)?;
            over(stream, "localhost", ask, is_sent).await
        }
        Endpoint::Plain { host, port } => {
            let stream = TcpStream::connect((host.as_str(), *port))
                .await
                .map_err(unreachable)?;
            over(stream, &authority(host, *port), ask, is_sent).await
        }
        Endpoint::Tls {
            host,
            name,
            port,
            config,
        } => {
            let name = ServerName::try_from(name.clone()).map_err(|error| CallFailure {
                maybe_sent: false,
                reason: format!("{name} can't be the name of a TLS server: {error}"),
            })?;
            let stream = TcpStream::connect((host.as_str(), *port))
                .await
                .map_err(unreachable)?;
            let stream = TlsConnector::from(Arc::clone(config))
                .connect(name, stream)
                .await
                .map_err(unreachable)?;
            over(stream, &authority(host, *port), ask, is_sent).await
        }
    }
}

async fn over(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    authority: &str,
    ask: Ask,
    is_sent: &mut bool,
) -> Result<Answered, CallFailure> {
    let failed = |maybe_sent: bool, error: &dyn std::error::Error| CallFailure {
        maybe_sent,
        reason: format!("the connection broke: {}", with_causes(error)),
    };
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| failed(false, &error))?;
    let request = request(ask, authority).map_err(|error| CallFailure {
        maybe_sent: false,
        reason: format!("it can't be asked: {error}"),
    })?;
    *is_sent = true;
    let exchange = async {
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| failed(true, &error))?;
        let status = response.status().as_u16();
        let retry_after = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.trim().parse().ok())
            .map(Duration::from_secs);
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES)
            .collect()
            .await
            .map_err(|error| failed(true, error.as_ref()))?;
        Ok(Answered {
            status,
            retry_after,
            body: body.to_bytes().to_vec(),
        })
    };
    // The connection is driven beside the request. It may be over first, with the whole answer read.
    tokio::pin!(exchange, connection);
    tokio::select! {
        biased;
        answered = &mut exchange => answered,
        _ended = &mut connection => exchange.await,
    }
}

fn request(ask: Ask, authority: &str) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
    let mut request = Request::builder()
        .method(ask.method)
        .uri(ask.path)
        .header(HOST, authority)
        .header(USER_AGENT, concat!("rekindle/", env!("CARGO_PKG_VERSION")));
    if let Some(authorization) = ask.authorization {
        let mut value = HeaderValue::from_str(&authorization)?;
        value.set_sensitive(true);
        request = request.header(hyper::header::AUTHORIZATION, value);
    }
    let body = match ask.body {
        Some((content_type, body)) => {
            request = request.header(CONTENT_TYPE, content_type);
            Full::from(body)
        }
        None => Full::default(),
    };
    request.body(body)
}

fn authority(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Plain { host, port } | Self::Tls { host, port, .. } => {
                f.write_str(&authority(host, *port))
            }
        }
    }
}

/// A text as one segment of a path, or one value of a query.
pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Script, Server};

    const LONG: Duration = Duration::from_secs(10);
    const SHORT: Duration = Duration::from_millis(200);

    fn endpoint(server: &Server) -> Endpoint {
        let address = server.address();
        let (host, port) = address.rsplit_once(':').expect("has a port");
        Endpoint::Plain {
            host: host.to_owned(),
            port: port.parse().expect("a number"),
        }
    }

    /// Each way in which a call can end, and whether the other side may have got it.
    #[tokio::test]
    async fn a_failure_says_whether_it_was_sent() {
        for (script, limit, maybe_sent, expected) in [
            (Script::Silent, SHORT, true, "no answer within"),
            (Script::HangUp, LONG, true, "the connection broke"),
            (Script::DripHeaders, SHORT, true, "no answer within"),
            (Script::DripBody, SHORT, true, "no answer within"),
        ] {
            let server = Server::start(vec![script.clone()]).await;
            let failure = ask(&endpoint(&server), Ask::new(Method::GET, "/x"), limit)
                .await
                .expect_err("no whole answer");
            assert_eq!(failure.maybe_sent, maybe_sent, "{script:?}: {failure}");
            assert!(failure.reason.contains(expected), "{script:?}: {failure}");
        }
        let nobody = Endpoint::Unix("/nonexistent/engine.sock".into());
        let failure = ask(&nobody, Ask::new(Method::GET, "/x"), LONG)
            .await
            .expect_err("nobody is there");
        assert!(!failure.maybe_sent, "{failure}");
        assert!(
            failure.reason.contains("/nonexistent/engine.sock"),
            "{failure}"
        );
    }

    #[tokio::test]
    async fn an_answer_comes_whole_and_refusals_in_their_own_words() {
        let server = Server::start(vec![
            Script::answer(200, r#"{"a": 1}"#),
            Script::answer(409, r#"{"message": "the object has been modified"}"#),
            Script::answer(500, " plain words "),
        ])
        .await;
        let endpoint = endpoint(&server);
        let mut ask_it = Ask::new(Method::POST, "/path?a=b")
            .with_json("application/json", &serde_json::json!({"b": 2}));
        ask_it.authorization = Some("Bearer secret".to_owned());
        let answered = ask(&endpoint, ask_it, LONG).await.expect("answered");
        assert!(answered.is_success());
        let body: serde_json::Value = answered.json().expect("JSON");
        assert_eq!(body["a"], 1);
        let seen = server.requests()[0].to_ascii_lowercase();
        for part in [
            "post /path?a=b http/1.1",
            "authorization: bearer secret",
            "content-type: application/json",
            r#"{"b":2}"#,
        ] {
            assert!(seen.contains(part), "{part} in {seen}");
        }
        for (status, message) in [(409, "the object has been modified"), (500, "plain words")] {
            let answered = ask(&endpoint, Ask::new(Method::GET, "/"), LONG)
                .await
                .expect("answered");
            assert_eq!(
                (answered.status, answered.message().as_str()),
                (status, message)
            );
        }
    }

    #[test]
    fn names_are_data_in_a_path() {
        assert_eq!(escaped("catalog-1.a_b~"), "catalog-1.a_b~");
        assert_eq!(
            escaped("../x?y=z&a b\u{e9}"),
            "..%2Fx%3Fy%3Dz%26a%20b%C3%A9"
        );
    }
}
