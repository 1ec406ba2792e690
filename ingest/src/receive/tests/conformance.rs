//! Is every demand of OTLP met, by its clause, over every way in?
//!
//! Each case says which demand it is about, what is sent, and what has to come back; one function sends
//! it over real sockets, on either port, and checks everything that the specification demands of any
//! answer: content type, body, retry delay. What came back is then written as the table in
//! `CONFORMANCE.md`, and this fails when the two differ, so that the table can't say more than is true.

mod content;
mod conventions;
mod document;
mod transport;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::client::{http_chunked, over_http2};
use super::*;

/// How a request travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    Grpc,
    Protobuf,
    Json,
}

/// How its bytes do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Carriage {
    /// HTTP/1.1 with a length; HTTP/2 for gRPC.
    Usual,
    /// HTTP/1.1 in chunks.
    Chunked,
    /// HTTP/2 from the first byte on.
    Http2,
}

/// One request.
#[derive(Clone, Debug)]
struct Sent {
    way: Way,
    carriage: Carriage,
    method: &'static str,
    path: &'static str,
    headers: Vec<(&'static str, &'static str)>,
    /// As it is on the wire.
    body: Vec<u8>,
}

/// What has to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// 200 or OK.
    Taken { spans: usize, rejected: i64 },
    /// The status in HTTP, the code of gRPC, and after how many seconds to send again.
    Refused(u16, u16, Option<u64>),
}

/// How the receiver fares meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fares {
    Well,
    /// The engine takes nothing.
    Behind,
    /// Its journal can't be written.
    WithoutDisk,
    /// Requests under way hold all memory.
    WithoutMemory,
    /// The source has sent more than it may.
    Rationed,
    /// The source may bring no new names.
    Known,
}

/// One demand, and how it is put to the test.
struct Case {
    /// Section of the specification.
    section: &'static str,
    demand: &'static str,
    fares: Fares,
    sent: Vec<Sent>,
    answer: Answer,
    /// What has to be read of the first span.
    reads: Vec<(&'static str, &'static str)>,
}

impl Case {
    fn new(section: &'static str, demand: &'static str, answer: Answer) -> Self {
        Self {
            section,
            demand,
            fares: Fares::Well,
            sent: Vec::new(),
            answer,
            reads: Vec::new(),
        }
    }

    fn sent(mut self, sent: impl IntoIterator<Item = Sent>) -> Self {
        self.sent.extend(sent);
        self
    }

    fn while_it_is(mut self, fares: Fares) -> Self {
        self.fares = fares;
        self
    }

    fn reads(mut self, what: &'static str, expected: &'static str) -> Self {
        self.reads.push((what, expected));
        self
    }
}

const fn taken(spans: usize) -> Answer {
    Answer::Taken { spans, rejected: 0 }
}

fn grpc_call(message: &[u8]) -> Sent {
    grpc_bytes(framed(0, message))
}

/// A call with any bytes as its body.
fn grpc_bytes(body: Vec<u8>) -> Sent {
    Sent {
        way: Way::Grpc,
        carriage: Carriage::Usual,
        method: "POST",
        path: EXPORT,
        headers: vec![("content-type", "application/grpc")],
        body,
    }
}

fn http_bytes(way: Way, body: Vec<u8>) -> Sent {
    let content_type = if way == Way::Json { JSON } else { PROTOBUF };
    Sent {
        way,
        carriage: Carriage::Usual,
        method: "POST",
        path: TRACES,
        headers: vec![content_type],
        body,
    }
}

fn json_text(text: &str) -> Sent {
    http_bytes(Way::Json, text.as_bytes().to_vec())
}

/// The same request over all ways.
fn all_ways(request: &ExportTraceServiceRequest) -> Vec<Sent> {
    let message = request.encode_to_vec();
    let mut ways = vec![
        grpc_call(&message),
        http_bytes(Way::Protobuf, message.clone()),
    ];
    ways.push(json_text(&as_json(request)));
    ways
}

fn as_json(request: &ExportTraceServiceRequest) -> String {
    let style = Style {
        digits_in_text: true,
        upper_case: false,
        with_nulls: false,
    };
    style.request(request).to_string()
}

impl Sent {
    fn header(mut self, name: &'static str, value: &'static str) -> Self {
        if name.eq_ignore_ascii_case("content-type") {
            self.headers.retain(|it| !it.0.eq_ignore_ascii_case(name));
        }
        self.headers.push((name, value));
        self
    }

    fn without_content_type(mut self) -> Self {
        self.headers.clear();
        self
    }

    fn method(mut self, method: &'static str) -> Self {
        self.method = method;
        self
    }

    fn path(mut self, path: &'static str) -> Self {
        self.path = path;
        self
    }

    fn by(mut self, carriage: Carriage) -> Self {
        self.carriage = carriage;
        self
    }

    fn compressed(mut self, name: &'static str) -> Self {
        let compress = if name == "zstd" { zstd } else { gzip };
        if self.way == Way::Grpc {
            self.body = framed(1, &compress(&self.body[5..]));
            return self.header("grpc-encoding", name);
        }
        self.body = compress(&self.body);
        self.header("content-encoding", name)
    }
}

/// What came back, in the words of the table.
async fn ask(address: SocketAddr, sent: &Sent, case: &Case) -> String {
    let demand = case.demand;
    let headers = &sent.headers;
    if sent.way == Way::Grpc && sent.carriage == Carriage::Usual {
        let reply = over_http2(address, sent.method, sent.path, headers, &sent.body).await;
        return check_grpc(&reply, case);
    }
    let reply = match sent.carriage {
        Carriage::Usual => http(address, sent.method, sent.path, headers, &sent.body).await,
        Carriage::Chunked => {
            http_chunked(address, sent.method, sent.path, headers, &sent.body).await
        }
        Carriage::Http2 => {
            let reply = over_http2(address, sent.method, sent.path, headers, &sent.body).await;
            client::HttpReply {
                status: reply.http_status,
                headers: reply.headers,
                body: reply.body,
            }
        }
    };
    // The response's content type must be the request's.
    let content_type = if sent.way == Way::Json {
        JSON.1
    } else {
        PROTOBUF.1
    };
    assert_eq!(reply.header("content-type"), Some(content_type), "{demand}");
    // Nobody asked for a compressed answer.
    assert_eq!(reply.header("content-encoding"), None, "{demand}");
    check_http(&reply, sent.way == Way::Json, case)
}

fn check_http(reply: &client::HttpReply, is_json: bool, case: &Case) -> String {
    let demand = case.demand;
    match case.answer {
        Answer::Taken { rejected, .. } => {
            assert_eq!(reply.status, 200, "{demand}: {reply:?}");
            let partial = match is_json {
                true => partial_in_json(&reply.body),
                false => partial_in_protobuf(&reply.body),
            };
            check_partial(partial, rejected, demand);
            with_rejected("200", rejected)
        }
        Answer::Refused(status, code, retry) => {
            assert_eq!(reply.status, status, "{demand}: {reply:?}");
            // Every 4xx and 5xx has a Status.
            let error = reply.error();
            assert_eq!(error.code, i32::from(code), "{demand}");
            assert!(!error.message.is_empty(), "{demand}");
            assert_eq!(error.has("BadRequest"), status == 400, "{demand}");
            assert_eq!(error.has("RetryInfo"), retry.is_some(), "{demand}");
            let after = reply
                .header("retry-after")
                .map(|it| it.parse().expect("seconds"));
            assert_eq!(after, retry, "{demand}");
            assert_eq!(reply.header("allow").is_some(), status == 405, "{demand}");
            // Only these are sent again; and nothing is our fault for good.
            assert_eq!(
                matches!(status, 429 | 502..=504),
                retry.is_some(),
                "{demand}"
            );
            match retry {
                Some(seconds) => format!("{status}, Retry-After: {seconds}"),
                None => status.to_string(),
            }
        }
    }
}

fn check_grpc(reply: &client::GrpcReply, case: &Case) -> String {
    let demand = case.demand;
    let name = |code| match code {
        0 => "OK",
        3 => "INVALID_ARGUMENT",
        8 => "RESOURCE_EXHAUSTED",
        12 => "UNIMPLEMENTED",
        14 => "UNAVAILABLE",
        _ => "none that we send",
    };
    match case.answer {
        Answer::Taken { rejected, .. } => {
            assert_eq!(
                (reply.http_status, reply.code()),
                (200, 0),
                "{demand}: {reply:?}"
            );
            assert_eq!(framed(0, &reply.body[5..]), reply.body, "{demand}");
            check_partial(partial_in_protobuf(&reply.body[5..]), rejected, demand);
            with_rejected(name(0), rejected)
        }
        Answer::Refused(status, code, retry) => {
            assert_eq!(reply.code(), code, "{demand}: {reply:?}");
            let unsupported = status == 415;
            let expected = if unsupported { 415 } else { 200 };
            assert_eq!(reply.http_status, expected, "{demand}");
            assert!(reply.body.is_empty(), "{demand}");
            let details = reply.details();
            assert_eq!(details.code, i32::from(code), "{demand}");
            assert!(!details.message.is_empty(), "{demand}");
            assert_eq!(details.has("BadRequest"), code == 3, "{demand}");
            let after = details
                .details
                .iter()
                .find(|it| it.type_url.ends_with("RetryInfo"));
            let after = after.and_then(|it| {
                let info = RetryInfo::decode(&it.value[..]).expect("a RetryInfo");
                u64::try_from(info.retry_delay?.seconds).ok()
            });
            // RESOURCE_EXHAUSTED would be sent again with it, and UNAVAILABLE is anyway.
            assert_eq!(after, retry, "{demand}");
            assert_eq!(code == 14, retry.is_some(), "{demand}");
            match retry {
                Some(seconds) => format!("{}, RetryInfo {seconds} s", name(code)),
                None if unsupported => format!("{}, 415", name(code)),
                None => name(code).to_owned(),
            }
        }
    }
}

/// The number of rejected spans and the message; `None` when partial success is unset.
type PartialSuccess = Option<(i64, String)>;

fn partial_in_protobuf(body: &[u8]) -> PartialSuccess {
    let body = ExportTraceServiceResponse::decode(body).expect("a response");
    let partial = body.partial_success?;
    Some((partial.rejected_spans, partial.error_message))
}

fn partial_in_json(body: &[u8]) -> PartialSuccess {
    let body: serde_json::Value = serde_json::from_slice(body).expect("JSON");
    let partial = body.as_object().expect("an object").get("partialSuccess")?;
    // 64 bits are a text of digits.
    let rejected = partial["rejectedSpans"].as_str().expect("digits");
    let message = partial["errorMessage"].as_str().expect("a text");
    Some((rejected.parse().expect("a number"), message.to_owned()))
}

fn check_partial(partial: PartialSuccess, rejected: i64, demand: &str) {
    match partial {
        None => assert_eq!(rejected, 0, "{demand}"),
        Some((number, message)) => {
            assert_eq!(number, rejected, "{demand}");
            // Unset when all is taken; and who is rejected is told why.
            assert!(
                rejected > 0 && message.contains(" id"),
                "{demand}: {message}"
            );
        }
    }
}

fn with_rejected(answer: &str, rejected: i64) -> String {
    match rejected {
        0 => answer.to_owned(),
        some => format!("{answer}, {some} rejected"),
    }
}

async fn server(fares: Fares) -> Server {
    let kept = ReceiverConfig {
        keep_attributes: ["shard"].into_iter().collect(),
        ..config()
    };
    let mut limits = kept.limits;
    let mut queue = kept.queue;
    let mut per_source = kept.per_source;
    let mut journal = Journal::off();
    match fares {
        Fares::Well => {}
        Fares::Behind => (queue, limits.queue_within) = (1, Duration::from_millis(1)),
        Fares::WithoutMemory => limits.largest_requests_at_once = 1,
        Fares::Rationed => {
            per_source.spans_per_second = Some(1);
            per_source.burst = Some(0);
        }
        Fares::Known => per_source.new_names_per_hour = Some(0),
        Fares::WithoutDisk => {
            let dir = tempfile::tempdir().expect("a directory").keep();
            let full = JournalConfig {
                durability: Durability::ProcessCrash,
                room: Some(Arc::new(Room::new(0))),
                ..JournalConfig::default()
            };
            journal = Journal::open(&dir, full).expect("opens").0;
            // It is open, and nothing is ever written.
            std::fs::remove_dir_all(dir).expect("removes it");
        }
    }
    let server = Server::start(
        ReceiverConfig {
            limits,
            queue,
            per_source,
            ..kept
        },
        journal,
    )
    .await;
    if matches!(fares, Fares::Behind | Fares::WithoutMemory) {
        // Takes the only place, and two thirds of the memory.
        let filler = request(1000, 0);
        let reply = http(server.http, "POST", TRACES, &[PROTOBUF], &filler).await;
        assert_eq!(reply.status, 200);
    }
    if fares == Fares::Rationed {
        // What is owed from now on, for a quarter of an hour.
        let reply = http(server.http, "POST", TRACES, &[PROTOBUF], &request(1000, 0)).await;
        assert_eq!(reply.status, 200);
    }
    server
}

/// What came back, per way; the same whichever port was asked.
type Seen = BTreeMap<Way, Vec<String>>;

async fn put_to_the_test(server: &mut Server, case: &Case) -> Seen {
    let mut seen = Seen::new();
    for address in [server.http, server.grpc] {
        for sent in &case.sent {
            let words = ask(address, sent, case).await;
            let of_way = seen.entry(sent.way).or_default();
            if !of_way.contains(&words) {
                of_way.push(words);
            }
            if let Answer::Taken { spans, .. } = case.answer
                && spans > 0
            {
                let batch = timeout(Duration::from_secs(5), server.engine.recv()).await;
                let batch = batch.expect("in time").expect(case.demand);
                assert_eq!(batch.spans.len(), spans, "{}", case.demand);
                let span = batch.spans.iter().next().expect("a span");
                for (what, expected) in &case.reads {
                    let read = content::said(&span, what);
                    assert_eq!(read, *expected, "{what} by {:?}: {}", sent.way, case.demand);
                }
            }
            if case.fares == Fares::Well {
                assert!(server.engine.try_recv().is_err(), "{}", case.demand);
            }
        }
    }
    seen
}

#[tokio::test]
async fn conformance() {
    let cases: Vec<Case> = [transport::cases(), content::cases(), conventions::cases()]
        .into_iter()
        .flatten()
        .collect();
    let mut servers: BTreeMap<Fares, Server> = BTreeMap::new();
    let mut table = document::Table::default();
    for case in &cases {
        let server = match servers.entry(case.fares) {
            Entry::Occupied(started) => started.into_mut(),
            Entry::Vacant(place) => place.insert(server(case.fares).await),
        };
        let seen = put_to_the_test(server, case).await;
        table.add(case.section, case.demand, &case.reads, &seen);
    }
    for server in servers.into_values() {
        server.stop().await;
    }
    table.compare();
}
