//! Does the receiver keep its promises over real sockets? What OTLP demands, clause by clause, is in
//! [`conformance`]; here is what takes a story: queues that fill up and empty, disks without room, bodies
//! that stall, connections that stay.

mod client;
mod conformance;
mod secured;

use std::io::Write;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1 as proto;
use prost::Message;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::*;
use crate::decode::tests::oracle::Style;
use crate::journal::tests::Room;
use crate::journal::{Durability, JournalConfig};
use client::{EXPORT, RetryInfo, Server, config, framed, grpc, head, http, read_reply};

const PROTOBUF: (&str, &str) = ("Content-Type", "application/x-protobuf");
const JSON: (&str, &str) = ("Content-Type", "application/json");
const GZIP: (&str, &str) = ("Content-Encoding", "gzip");
const TRACES: &str = "/v1/traces";

/// A request of good spans and of spans with an invalid trace id.
fn request(good: usize, bad: usize) -> Vec<u8> {
    let span = |number: usize, trace_id| proto::Span {
        trace_id,
        span_id: (number as u64 + 1).to_be_bytes().to_vec(),
        name: "a span".to_owned(),
        start_time_unix_nano: 1,
        end_time_unix_nano: 2,
        ..Default::default()
    };
    let good = (0..good).map(|it| span(it, vec![7; 16]));
    let bad = (0..bad).map(|it| span(it, vec![0; 16]));
    let scope_spans = proto::ScopeSpans {
        spans: good.chain(bad).collect(),
        ..Default::default()
    };
    let resource_spans = proto::ResourceSpans {
        scope_spans: vec![scope_spans],
        ..Default::default()
    };
    ExportTraceServiceRequest {
        resource_spans: vec![resource_spans],
    }
    .encode_to_vec()
}

const JSON_SPAN: &str = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{
    "traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"EEE19B7EC3C1B174","name":"a span",
    "startTimeUnixNano":"1","endTimeUnixNano":2}]}]}]}"#;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).expect("writes");
    encoder.finish().expect("ends")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    ::zstd::bulk::compress(bytes, 1).expect("compresses")
}

/// S: overload is 503 with Retry-After, or UNAVAILABLE with RetryInfo; and what is taken before and
/// after isn't touched by it.
#[tokio::test]
async fn a_full_queue_is_told_to_come_back() {
    let one_place = ReceiverConfig {
        queue: 1,
        limits: Limits {
            queue_within: Duration::from_millis(1),
            ..config().limits
        },
        ..config()
    };
    let mut server = Server::start(one_place, Journal::off()).await;
    let body = request(1, 0);
    let first = http(server.http, "POST", TRACES, &[PROTOBUF], &body).await;
    assert_eq!(first.status, 200);
    for headers in [PROTOBUF, JSON] {
        let body = if headers == JSON {
            JSON_SPAN.as_bytes()
        } else {
            &body
        };
        let reply = http(server.http, "POST", TRACES, &[headers], body).await;
        assert_eq!(
            (reply.status, reply.header("retry-after")),
            (503, Some("1"))
        );
        assert!(reply.error().has("RetryInfo"));
    }
    let reply = grpc(server.grpc, EXPORT, &[], framed(0, &body)).await;
    assert_eq!(reply.code(), 14);
    let details = reply.details();
    let info = RetryInfo::decode(&details.details[0].value[..]).expect("a RetryInfo");
    assert_eq!(info.retry_delay.map(|it| it.seconds), Some(1));
    // What needs no place is taken.
    assert_eq!(
        http(server.http, "POST", TRACES, &[PROTOBUF], b"")
            .await
            .status,
        200
    );

    server.engine.recv().await.expect("the first");
    let again = http(server.http, "POST", TRACES, &[PROTOBUF], &body).await;
    assert_eq!(again.status, 200);
    let counts = server.stop().await;
    assert_eq!((counts.requests_busy, counts.spans_http_protobuf), (3, 2));
}

/// A pause of the engine that is shorter than the exporter's patience costs nobody a retry.
#[tokio::test]
async fn a_place_that_is_free_soon_is_waited_for() {
    let one_place = ReceiverConfig {
        queue: 1,
        limits: Limits {
            queue_within: Duration::from_secs(600),
            ..config().limits
        },
        ..config()
    };
    let mut server = Server::start(one_place, Journal::off()).await;
    let body = request(1, 0);
    let first = http(server.http, "POST", TRACES, &[PROTOBUF], &body).await;
    assert_eq!(first.status, 200);
    let address = server.http;
    let waits = tokio::spawn(async move {
        let body = request(1, 0);
        http(address, "POST", TRACES, &[PROTOBUF], &body).await
    });
    server.engine.recv().await.expect("the first");
    server.engine.recv().await.expect("the second");
    assert_eq!(waits.await.expect("an answer").status, 200);
    assert_eq!(server.stop().await.requests_busy, 0);
}

/// What the engine hasn't taken counts against the memory that requests may take together.
#[tokio::test]
async fn batches_that_wait_hold_their_memory() {
    let small = ReceiverConfig {
        limits: Limits {
            largest_requests_at_once: 1,
            ..Limits::default()
        },
        ..config()
    };
    let mut server = Server::start(small, Journal::off()).await;
    let body = request(1000, 0);
    assert!(body.len() > 40 << 10);
    assert_eq!(
        http(server.http, "POST", TRACES, &[PROTOBUF], &body)
            .await
            .status,
        200
    );
    let reply = http(server.http, "POST", TRACES, &[PROTOBUF], &body).await;
    assert_eq!(
        (reply.status, reply.header("retry-after")),
        (503, Some("1"))
    );
    drop(server.engine.recv().await);
    assert_eq!(
        http(server.http, "POST", TRACES, &[PROTOBUF], &body)
            .await
            .status,
        200
    );
    server.stop().await;
}

/// A disk without room refuses what can't be kept, retryably, hands nothing to the engine, takes nothing from the
/// source's allowance, and all is well when there is room again.
#[tokio::test]
async fn what_cannot_be_kept_is_not_acknowledged() {
    let dir = tempfile::tempdir().expect("a directory");
    let room = Arc::new(Room::new(0));
    let full = JournalConfig {
        durability: Durability::ProcessCrash,
        room: Some(room.clone()),
        ..JournalConfig::default()
    };
    let (journal, _) = Journal::open(dir.path(), full).expect("opens");
    let mut server = Server::start(sparing(), journal).await;
    let body = request(5, 0);
    let reply = http(server.http, "POST", TRACES, &[PROTOBUF], &body).await;
    assert_eq!(
        (reply.status, reply.header("retry-after")),
        (503, Some("5"))
    );
    let reply = grpc(server.grpc, EXPORT, &[], framed(0, &body)).await;
    assert_eq!(reply.code(), 14);
    assert!(reply.details().has("RetryInfo"));
    assert!(server.engine.try_recv().is_err());

    room.left
        .store(1 << 20, std::sync::atomic::Ordering::SeqCst);
    let reply = http(server.http, "POST", TRACES, &[PROTOBUF, GZIP], &gzip(&body)).await;
    assert_eq!(reply.status, 200);
    let batch = server.engine.recv().await.expect("a batch");
    assert_eq!(server.stop().await.requests_not_kept, 2);
    let mut records = Vec::new();
    crate::journal::replay(dir.path(), batch.received_at, |it| records.push(it)).expect("replays");
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].position, batch.position);
    assert_eq!(records[0].entry.payload, body);
}

/// One span a second for each source, and none saved up.
fn sparing() -> ReceiverConfig {
    ReceiverConfig {
        per_source: SourceLimits {
            spans_per_second: Some(1),
            burst: Some(1),
            ..Default::default()
        },
        ..config()
    }
}

/// What can't be read is charged like what can, decompressed, and so is what is rejected.
#[tokio::test]
async fn nonsense_is_not_free() {
    let nonsense = vec![0xff; 1 << 16];
    for (headers, body, status) in [
        (vec![PROTOBUF], nonsense.clone(), 400),
        (vec![PROTOBUF, GZIP], gzip(&nonsense), 400),
        (vec![PROTOBUF], request(0, 100), 200),
    ] {
        let server = Server::start(sparing(), Journal::off()).await;
        let first = http(server.http, "POST", TRACES, &headers, &body).await;
        assert_eq!(first.status, status);
        let again = http(server.http, "POST", TRACES, &headers, &body).await;
        assert_eq!(again.status, 429);
        server.stop().await;
    }
}

/// A body of 100 MiB is refused, and its sender reads the answer though it never stopped sending;
/// one that asks first is told at once.
#[tokio::test]
async fn a_huge_body_is_refused_and_the_answer_read() {
    let server = Server::start(config(), Journal::off()).await;
    let length = (100 << 20).to_string();
    let known = ("Content-Length", length.as_str());
    let chunked = ("Transfer-Encoding", "chunked");
    let expect = ("Expect", "100-continue");
    for (headers, sends) in [([PROTOBUF, known], true), ([PROTOBUF, chunked], true)] {
        let mut socket = TcpStream::connect(server.http).await.expect("connects");
        let head = head("POST", TRACES, &headers);
        socket.write_all(head.as_bytes()).await.expect("sends");
        let part = [b"100000\r\n".to_vec(), vec![0; 1 << 20], b"\r\n".to_vec()].concat();
        for _ in 0..100 {
            let part = if headers[1] == chunked {
                &part[..]
            } else {
                &part[8..part.len() - 2]
            };
            socket.write_all(part).await.expect("is read on");
        }
        if headers[1] == chunked {
            socket.write_all(b"0\r\n\r\n").await.expect("is read on");
        }
        assert!(sends);
        let reply = read_reply(&mut socket).await;
        assert_eq!(reply.status, 413, "{headers:?}");
    }
    let mut socket = TcpStream::connect(server.http).await.expect("connects");
    let head = head("POST", TRACES, &[PROTOBUF, known, expect]);
    socket.write_all(head.as_bytes()).await.expect("sends");
    assert_eq!(read_reply(&mut socket).await.status, 413);

    let reply = grpc(server.grpc, EXPORT, &[], framed(0, &vec![0; 100 << 20])).await;
    assert_eq!(reply.code(), 8);
    assert_eq!(server.stop().await.requests_too_large, 4);
}

/// A body that stops coming is answered retryably: 408 isn't retried.
#[tokio::test]
async fn a_body_that_stalls_is_given_up() {
    let impatient = ReceiverConfig {
        limits: Limits {
            body_within: Duration::from_millis(200),
            head_within: Duration::from_millis(200),
            ..Limits::default()
        },
        ..config()
    };
    let server = Server::start(impatient, Journal::off()).await;
    let mut socket = TcpStream::connect(server.http).await.expect("connects");
    let head = head("POST", TRACES, &[PROTOBUF, ("Content-Length", "100")]);
    socket.write_all(head.as_bytes()).await.expect("sends");
    socket.write_all(b"\x0a").await.expect("sends");
    let reply = read_reply(&mut socket).await;
    assert_eq!(
        (reply.status, reply.header("retry-after")),
        (503, Some("1"))
    );

    // Nor does a connection that says nothing, or half a head, stay for ever.
    for said in [
        &b""[..],
        b"P",
        b"PRI * HTTP/2.0\r\n",
        b"POST /v1/traces HTTP/1.1\r\nHost: test\r\n",
    ] {
        let mut socket = TcpStream::connect(server.http).await.expect("connects");
        socket.write_all(said).await.expect("sends");
        let mut rest = Vec::new();
        let closed = tokio::io::AsyncReadExt::read_to_end(&mut socket, &mut rest);
        let closed = timeout(Duration::from_secs(10), closed).await;
        assert!(closed.is_ok(), "{said:?} keeps a connection");
    }
    assert_eq!(server.stop().await.requests_stalled, 1);
}

#[tokio::test]
async fn connections_are_bounded_and_make_room_when_they_end() {
    let two = ReceiverConfig {
        limits: Limits {
            connections: 2,
            ..Limits::default()
        },
        ..config()
    };
    let server = Server::start(two, Journal::off()).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        held.push(TcpStream::connect(server.http).await.expect("connects"));
    }
    let mut third = TcpStream::connect(server.http).await.expect("connects");
    let mut rest = Vec::new();
    let closed = tokio::io::AsyncReadExt::read_to_end(&mut third, &mut rest);
    let closed = timeout(Duration::from_secs(10), closed).await;
    assert!(closed.is_ok(), "the third is closed");
    drop(held);
    // The server notices when it notices.
    let mut status = 0;
    for _ in 0..100 {
        let mut socket = TcpStream::connect(server.http).await.expect("connects");
        let head = head("POST", TRACES, &[PROTOBUF, ("Content-Length", "0")]);
        let mut answer = Vec::new();
        if socket.write_all(head.as_bytes()).await.is_ok()
            && tokio::io::AsyncReadExt::read_to_end(&mut socket, &mut answer)
                .await
                .is_ok()
            && answer.starts_with(b"HTTP/1.1 200")
        {
            status = 200;
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(status, 200);
    assert!(server.stop().await.connections_refused >= 1);
}

#[tokio::test]
async fn a_shutdown_lets_requests_end_and_waits_for_no_one_else() {
    let server = Server::start(config(), Journal::off()).await;
    let idle = TcpStream::connect(server.http).await.expect("connects");
    let mut busy = TcpStream::connect(server.http).await.expect("connects");
    let body = request(1, 0);
    let length = body.len().to_string();
    let head = head("POST", TRACES, &[PROTOBUF, ("Content-Length", &length)]);
    busy.write_all(head.as_bytes()).await.expect("sends");
    busy.write_all(&body[..4]).await.expect("sends");
    // So that the request is under way.
    while server.stats.snapshot().connections < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    let (http, stopping) = (server.http, tokio::spawn(server.stop()));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(
        TcpStream::connect(http).await.is_err(),
        "nothing new is accepted"
    );
    busy.write_all(&body[4..]).await.expect("sends");
    assert_eq!(read_reply(&mut busy).await.status, 200);
    let counts = timeout(Duration::from_secs(20), stopping).await;
    assert_eq!(counts.expect("ends").expect("ends").spans_http_protobuf, 1);
    drop(idle);
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let server = Server::start(config(), Journal::off()).await;
    let taken = ReceiverConfig {
        http: server.http,
        ..config()
    };
    let error = Receivers::bind(&taken)
        .await
        .expect_err("the address is taken");
    assert_eq!(
        error.to_string(),
        format!("failed listening for OTLP/HTTP on {}", server.http)
    );
    server.stop().await;
}
