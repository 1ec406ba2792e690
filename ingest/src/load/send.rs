//! How fast does the receiver take what it is sent?

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::{Response, StatusCode, Version, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until, timeout};

use super::generate::{Generator, Request, SystemShape};
use super::receiver::Receiver;
use super::{Compression, LoadConfig, LoadError, LoadReport, Transport};

/// How long an answer is waited for, as SDKs do.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// How long to wait before connecting again, and when told to come back without being told when.
const PAUSE: Duration = Duration::from_secs(1);

/// The longest that a receiver may ask for, so that a test ends.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How long before it is due a request is made: what making it costs is not to be taken for the receiver's slowness, and
/// its spans should still be fresh when it is sent.
const MADE_AHEAD: Duration = Duration::from_millis(20);

/// What one connection counted.
#[derive(Default)]
struct Counted {
    report: LoadReport,
    bytes: u64,
    /// Of each acknowledged request.
    millis: Vec<f64>,
}

/// A request that is to be sent, until it is acknowledged or refused.
struct Made {
    body: Bytes,
    spans: usize,
    /// Since when its answer is waited for.
    from: Instant,
}

/// Sends the load, and says what came of it.
///
/// # Errors
/// When nobody listens, or the very first answer says that this is no OTLP receiver.
pub async fn run(config: LoadConfig) -> Result<LoadReport, LoadError> {
    // Before anything is counted: is there anybody?
    let receiver = Receiver::new(config.to.clone(), config.transport, &config.credentials)?;
    try_out(&config, &receiver).await?;
    let (config, receiver) = (Arc::new(config), Arc::new(receiver));
    // Until the first request is full, the others become so, too: many times the work of those that follow.
    let mut filling = JoinSet::new();
    for number in 0..config.connections.max(1) as u64 {
        let shape = SystemShape {
            seed: config.shape.seed.wrapping_add(number),
            ..config.shape
        };
        filling.spawn(async move {
            let mut generator = Generator::new(shape);
            let first = generator.request(SystemTime::now().into());
            (generator, first)
        });
    }
    let filled: Vec<(Generator, Request)> = filling.join_all().await;
    let began = Instant::now();
    let mut connections = JoinSet::new();
    for (generator, first) in filled {
        connections.spawn(connection(
            (config.clone(), receiver.clone()),
            generator,
            first,
        ));
    }
    let mut sum = Counted::default();
    while let Some(counted) = connections.join_next().await {
        // A task that panicked has said so; what the others counted still holds.
        let Ok(mut counted) = counted else { continue };
        sum.report.requests += counted.report.requests;
        sum.report.spans += counted.report.spans;
        sum.report.told_to_come_back += counted.report.told_to_come_back;
        sum.report.refused += counted.report.refused;
        sum.report.broken_connections += counted.report.broken_connections;
        sum.bytes += counted.bytes;
        sum.millis.append(&mut counted.millis);
    }
    let mut report = sum.report;
    report.seconds = began.elapsed().as_secs_f64();
    report.spans_per_second = report.spans as f64 / report.seconds;
    report.bytes_per_second = sum.bytes as f64 / report.seconds;
    sum.millis.sort_unstable_by(f64::total_cmp);
    let quantile = |share: f64| {
        let at = (sum.millis.len() as f64 * share) as usize;
        let last = sum.millis.len().checked_sub(1);
        last.map_or(0.0, |last| sum.millis[at.min(last)])
    };
    report.median_millis = quantile(0.5);
    report.p99_millis = quantile(0.99);
    report.longest_millis = quantile(1.0);
    Ok(report)
}

/// An empty request, which any receiver of OTLP takes.
async fn try_out(config: &LoadConfig, receiver: &Receiver) -> Result<(), LoadError> {
    let to = || config.to.to_string();
    let refused = |answer| LoadError::Refused {
        to: to(),
        over: match config.transport {
            Transport::Http => "HTTP",
            Transport::Grpc => "gRPC",
        },
        answer,
    };
    let connected = Sender::connect(receiver, config.transport).await;
    let mut sender = connected.map_err(|source| LoadError::Connect { to: to(), source })?;
    match sender.send((config, receiver), Bytes::new()).await {
        Answer::Taken | Answer::ComeBack(_) => Ok(()),
        Answer::Refused(answer) => Err(refused(answer)),
        Answer::NotLetIn(answer) => Err(LoadError::NotLetIn { to: to(), answer }),
        Answer::Broken => Err(refused("nothing that could be read".to_owned())),
    }
}

async fn connection(
    (config, receiver): (Arc<LoadConfig>, Arc<Receiver>),
    mut generator: Generator,
    first: Request,
) -> Counted {
    let mut counted = Counted::default();
    let mut filled = Some(first);
    let share = config
        .rate
        .map(|rate| rate / config.connections.max(1) as f64);
    let mut due = Instant::now();
    let ends = due + config.duration;
    let mut sender = None;
    let mut waiting: Option<Made> = None;
    while Instant::now() < ends {
        let connected = match sender.take() {
            Some(connected) => Ok(connected),
            None => Sender::connect(&receiver, config.transport).await,
        };
        let mut connected: Sender = match connected {
            Ok(connected) => connected,
            Err(_) => {
                counted.report.broken_connections += 1;
                sleep(PAUSE).await;
                continue;
            }
        };
        let made = match waiting.take() {
            Some(again) => again,
            None => {
                if due > ends {
                    sleep_until(ends.into()).await;
                    break;
                }
                sleep_until(due.checked_sub(MADE_AHEAD).unwrap_or(due).into()).await;
                let request = filled
                    .take()
                    .unwrap_or_else(|| generator.request(SystemTime::now().into()));
                let body = compressed(config.compression, request.payload);
                sleep_until(due.into()).await;
                let mut made = Made {
                    body,
                    spans: request.spans,
                    from: Instant::now(),
                };
                if let Some(rate) = share {
                    // From when it was due, not from now: a slow answer neither is taken off the load, nor makes only its
                    // own request late.
                    made.from = due;
                    due += Duration::from_secs_f64(request.spans as f64 / rate.max(0.001));
                }
                made
            }
        };
        match connected
            .send((&config, &receiver), made.body.clone())
            .await
        {
            Answer::Taken => {
                counted.report.requests += 1;
                counted.report.spans += made.spans as u64;
                counted.bytes += made.body.len() as u64;
                counted.millis.push(made.from.elapsed().as_secs_f64() * 1e3);
            }
            Answer::ComeBack(after) => {
                counted.report.told_to_come_back += 1;
                waiting = Some(made);
                sleep(after.min(LONGEST_PAUSE)).await;
            }
            Answer::Refused(_) | Answer::NotLetIn(_) => counted.report.refused += 1,
            Answer::Broken => {
                counted.report.broken_connections += 1;
                waiting = Some(made);
                continue;
            }
        }
        sender = Some(connected);
    }
    counted
}

fn compressed(compression: Compression, payload: Vec<u8>) -> Bytes {
    // Writing to memory doesn't fail; if it did, what is sent would be refused and counted.
    match compression {
        Compression::None => payload.into(),
        Compression::Gzip => {
            let level = flate2::Compression::fast();
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
            let written = encoder.write_all(&payload);
            written
                .and_then(|()| encoder.finish())
                .unwrap_or_default()
                .into()
        }
        Compression::Zstd => ::zstd::bulk::compress(&payload, 1)
            .unwrap_or_default()
            .into(),
    }
}

enum Answer {
    Taken,
    ComeBack(Duration),
    Refused(String),
    NotLetIn(String),
    Broken,
}

/// One connection.
struct Sender {
    calls: Calls,
    #[expect(dead_code, reason = "the connection's task ends when this is dropped")]
    task: JoinSet<()>,
}

enum Calls {
    Http(http1::SendRequest<Full<Bytes>>),
    Grpc(http2::SendRequest<Full<Bytes>>),
}

impl Sender {
    async fn connect(receiver: &Receiver, transport: Transport) -> std::io::Result<Self> {
        let connected = timeout(ANSWER_WITHIN, receiver.connect()).await;
        let io = TokioIo::new(connected.map_err(|_| std::io::ErrorKind::TimedOut)??);
        let mut task = JoinSet::new();
        let other = std::io::Error::other;
        let calls = match transport {
            Transport::Http => {
                let (calls, connection) = http1::handshake(io).await.map_err(other)?;
                task.spawn(async move { drop(connection.await) });
                Calls::Http(calls)
            }
            Transport::Grpc => {
                let runs = TokioExecutor::new();
                let (calls, connection) = http2::handshake(runs, io).await.map_err(other)?;
                task.spawn(async move { drop(connection.await) });
                Calls::Grpc(calls)
            }
        };
        Ok(Self { calls, task })
    }

    async fn send(&mut self, (config, receiver): (&LoadConfig, &Receiver), body: Bytes) -> Answer {
        let answered = async {
            match &mut self.calls {
                Calls::Http(sender) => {
                    let request = http_request(config.compression, receiver, body)?;
                    sender.ready().await.ok()?;
                    let response = sender.send_request(request).await.ok()?;
                    http_answer(response).await
                }
                Calls::Grpc(sender) => {
                    let request = grpc_request(config.compression, receiver, &body)?;
                    sender.ready().await.ok()?;
                    let response = sender.send_request(request).await.ok()?;
                    grpc_answer(response).await
                }
            }
        };
        match timeout(ANSWER_WITHIN, answered).await {
            Ok(Some(answer)) => answer,
            Ok(None) | Err(_) => Answer::Broken,
        }
    }
}

fn http_request(
    compression: Compression,
    receiver: &Receiver,
    body: Bytes,
) -> Option<http::Request<Full<Bytes>>> {
    let path = receiver.uri.path_and_query()?.as_str();
    let mut request = http::Request::post(path)
        .header(header::HOST, receiver.authority())
        .header(header::CONTENT_TYPE, "application/x-protobuf");
    if let Some(encoding) = encoding(compression).filter(|_| !body.is_empty()) {
        request = request.header(header::CONTENT_ENCODING, encoding);
    }
    let request = request.body(Full::new(body)).ok()?;
    Some(with_headers(request, receiver))
}

/// What was asked to be sent with each request comes last: it may say otherwise than we do.
fn with_headers(
    mut request: http::Request<Full<Bytes>>,
    receiver: &Receiver,
) -> http::Request<Full<Bytes>> {
    let headers = request.headers_mut();
    for name in receiver.headers.keys() {
        headers.remove(name);
    }
    for (name, value) in &receiver.headers {
        headers.append(name, value.clone());
    }
    request
}

async fn http_answer(response: Response<Incoming>) -> Option<Answer> {
    let status = response.status();
    let after = response.headers().get(header::RETRY_AFTER);
    let after = after.and_then(|it| it.to_str().ok()?.parse().ok());
    let after = after.map_or(PAUSE, Duration::from_secs);
    // To its end, so that the connection can be used again.
    response.into_body().collect().await.ok()?;
    Some(match status {
        StatusCode::OK => Answer::Taken,
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => Answer::ComeBack(after),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Answer::NotLetIn(status.to_string()),
        status => Answer::Refused(status.to_string()),
    })
}

fn grpc_request(
    compression: Compression,
    receiver: &Receiver,
    message: &Bytes,
) -> Option<http::Request<Full<Bytes>>> {
    let compressed = compression != Compression::None && !message.is_empty();
    let mut framed = Vec::with_capacity(message.len() + 5);
    framed.push(u8::from(compressed));
    framed.extend_from_slice(&u32::try_from(message.len()).ok()?.to_be_bytes());
    framed.extend_from_slice(message);
    let mut request = http::Request::post(receiver.uri.clone())
        .version(Version::HTTP_2)
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers");
    if let Some(encoding) = encoding(compression) {
        request = request.header("grpc-encoding", encoding);
    }
    let request = request.body(Full::new(framed.into())).ok()?;
    Some(with_headers(request, receiver))
}

async fn grpc_answer(response: Response<Incoming>) -> Option<Answer> {
    let (head, body) = response.into_parts();
    let body: Result<_, hyper::Error> = body.collect().await;
    let body = body.ok()?;
    let status = |headers: &http::HeaderMap| headers.get("grpc-status").cloned();
    let status = body
        .trailers()
        .and_then(status)
        .or_else(|| status(&head.headers));
    let Some(status) = status else {
        return Some(Answer::Refused(format!(
            "{} without a gRPC status",
            head.status
        )));
    };
    Some(match status.as_bytes() {
        b"0" => Answer::Taken,
        // UNAVAILABLE, RESOURCE_EXHAUSTED with a delay, and their like.
        b"14" | b"1" | b"4" | b"10" | b"11" | b"15" => Answer::ComeBack(PAUSE),
        b"8" if head.headers.contains_key("grpc-status-details-bin") => Answer::ComeBack(PAUSE),
        b"7" => Answer::NotLetIn("PERMISSION_DENIED".to_owned()),
        b"16" => Answer::NotLetIn("UNAUTHENTICATED".to_owned()),
        other => Answer::Refused(format!("gRPC status {}", String::from_utf8_lossy(other))),
    })
}

fn encoding(compression: Compression) -> Option<&'static str> {
    match compression {
        Compression::None => None,
        Compression::Gzip => Some("gzip"),
        Compression::Zstd => Some("zstd"),
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::sync::{mpsc, watch};

    use super::*;
    use crate::load::Credentials;
    use crate::{IngestStats, Journal, ReceiverConfig, Receivers};

    fn config(to: SocketAddr, transport: Transport, compression: Compression) -> LoadConfig {
        LoadConfig {
            to: to.to_string().parse().expect("an address"),
            credentials: Credentials::default(),
            transport,
            compression,
            connections: 2,
            rate: None,
            duration: Duration::from_millis(100),
            shape: SystemShape {
                spans_per_request: 50,
                ..SystemShape::default()
            },
        }
    }

    /// What it says was acknowledged is what our receivers counted, over each way there is.
    #[tokio::test]
    async fn what_is_reported_is_what_arrived() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let receivers = ReceiverConfig {
            grpc: any,
            http: any,
            ..ReceiverConfig::default()
        };
        let receivers = Receivers::bind(&receivers).await.expect("binds");
        let (grpc, http) = (receivers.grpc_addr(), receivers.http_addr());
        let stats = Arc::new(IngestStats::default());
        let (engine, mut batches) = mpsc::channel(8);
        let (stop, stopped) = watch::channel(false);
        let serving = tokio::spawn(receivers.serve(Journal::off(), engine, stats.clone(), stopped));
        let draining = tokio::spawn(async move {
            let mut spans = 0;
            while let Some(batch) = batches.recv().await {
                spans += batch.spans.len() as u64;
            }
            spans
        });
        let mut spans = 0;
        for (to, transport) in [(http, Transport::Http), (grpc, Transport::Grpc)] {
            for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
                let report = run(config(to, transport, compression)).await.expect("runs");
                let bad = (report.refused, report.broken_connections);
                assert_eq!(bad, (0, 0), "{transport:?} {compression:?}");
                assert!(report.spans > 0 && report.median_millis <= report.longest_millis);
                spans += report.spans;
            }
        }
        // Fifty spans are due every tenth of a second on each of two connections: one at the start, one at the end.
        let slowly = LoadConfig {
            rate: Some(1000.0),
            ..config(http, Transport::Http, Compression::None)
        };
        let report = run(slowly).await.expect("runs");
        assert!((2..=4).contains(&report.requests), "{report:?}");
        spans += report.spans;
        stop.send_replace(true);
        serving.await.expect("ends");
        assert_eq!(draining.await.expect("ends"), spans);
        assert_eq!(stats.snapshot().spans(), spans);
    }

    #[tokio::test]
    async fn what_is_no_receiver_says_so() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("binds");
        let to = listener.local_addr().expect("an address");
        drop(listener);
        let nobody = run(config(to, Transport::Http, Compression::None)).await;
        assert!(matches!(nobody, Err(LoadError::Connect { .. })));
    }
}
