//! How cheap can receiving be? A receiver that answers, and does next to nothing.
//!
//! `floor [discard|walk] [ADDRESS]` speaks OTLP over gRPC and HTTP on one port, on one thread, by the same HTTP
//! library as the product. `walk` goes over the protobuf bytes once and takes of each span what
//! ranking needs (ids, name, kind, times, status, two attributes), but keeps nothing. Nothing real can be cheaper,
//! so other receivers are compared with it.

#![expect(clippy::print_stderr, reason = "it is a program")]

use std::collections::VecDeque;
use std::convert::Infallible;
use std::hint::black_box;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use hyper::http::HeaderValue;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What comes before a message of gRPC: a flag and a length.
const GRPC_PREFIX: usize = 5;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (work, address) = match arguments[..] {
        [] => ("walk", "127.0.0.1:4318"),
        [work @ ("discard" | "walk")] => (work, "127.0.0.1:4318"),
        [work @ ("discard" | "walk"), address] => (work, address),
        _ => return Err("usage: floor [discard|walk] [ADDRESS]".into()),
    };
    let walks = work == "walk";
    let address: SocketAddr = address.parse()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(address).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(async move {
                let answers = service_fn(move |request| answer(request, walks));
                let served = Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), answers)
                    .await;
                if let Err(error) = served {
                    eprintln!("a connection ended: {error}");
                }
            });
        }
    })
}

/// An answer's frames, all there from the beginning.
struct Answer(VecDeque<Frame<Bytes>>);

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }
}

async fn answer(request: Request<Incoming>, walks: bool) -> Result<Response<Answer>, hyper::Error> {
    let is_grpc = request
        .headers()
        .get("content-type")
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    let body = request.into_body().collect().await?.to_bytes();
    let prefix = if is_grpc { GRPC_PREFIX } else { 0 };
    if walks {
        black_box(walk(body.get(prefix..).unwrap_or_default()));
    }
    let (frames, kind) = if is_grpc {
        (grpc_frames(), "application/grpc")
    } else {
        (VecDeque::new(), "application/x-protobuf")
    };
    let mut response = Response::new(Answer(frames));
    response
        .headers_mut()
        .insert("content-type", HeaderValue::from_static(kind));
    Ok(response)
}

/// An empty message, and the status OK.
fn grpc_frames() -> VecDeque<Frame<Bytes>> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    VecDeque::from([
        Frame::data(Bytes::from_static(&[0; GRPC_PREFIX])),
        Frame::trailers(trailers),
    ])
}

/// What was taken: a sum that keeps the compiler from leaving out the reading.
#[derive(Default)]
struct Taken {
    spans: u64,
    sum: u64,
}

impl Taken {
    fn bytes(&mut self, bytes: &[u8]) {
        let first = bytes.first().copied().unwrap_or_default();
        self.sum = self.sum.wrapping_add(bytes.len() as u64 ^ u64::from(first));
    }

    fn number(&mut self, number: u64) {
        self.sum = self.sum.wrapping_add(number);
    }
}

/// An `ExportTraceServiceRequest`: its resources' names, and its spans.
fn walk(request: &[u8]) -> Taken {
    let mut taken = Taken::default();
    for (_, resource_spans) in Fields(request) {
        for (number, field) in Fields(resource_spans.bytes()) {
            match number {
                1 => attributes(field.bytes(), 1, &mut taken),
                2 => {
                    for (number, span) in Fields(field.bytes()) {
                        if number == 2 {
                            walk_span(span.bytes(), &mut taken);
                        }
                    }
                }
                _ => {}
            }
        }
    }
    taken
}

/// Ids, name, kind, times, attributes, status, by the numbers of `trace.proto`.
fn walk_span(span: &[u8], taken: &mut Taken) {
    taken.spans += 1;
    for (number, field) in Fields(span) {
        match (number, field) {
            (1 | 2 | 4 | 5, Field::Bytes(bytes)) => taken.bytes(bytes),
            (6..=8, Field::Number(value)) => taken.number(value),
            (9, Field::Bytes(bytes)) => attribute(bytes, taken),
            (15, Field::Bytes(status)) => {
                for (_, field) in Fields(status) {
                    if let Field::Number(code) = field {
                        taken.number(code);
                    }
                }
            }
            _ => {}
        }
    }
}

/// The attributes of a message that has them in the field of that number.
fn attributes(message: &[u8], at: u64, taken: &mut Taken) {
    for (number, field) in Fields(message) {
        if number == at {
            attribute(field.bytes(), taken);
        }
    }
}

/// Its value, where its key is one of those that ranking needs.
fn attribute(pair: &[u8], taken: &mut Taken) {
    let mut wanted = false;
    for (number, field) in Fields(pair) {
        match number {
            1 => {
                wanted = matches!(
                    field.bytes(),
                    b"service.name"
                        | b"service.instance.id"
                        | b"error.type"
                        | b"http.response.status_code"
                );
            }
            2 if wanted => {
                for (_, value) in Fields(field.bytes()) {
                    match value {
                        Field::Bytes(text) => taken.bytes(text),
                        Field::Number(number) => taken.number(number),
                    }
                }
            }
            _ => {}
        }
    }
}

/// A field's value, as far as the walk tells them apart.
#[derive(Clone, Copy)]
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Field<'a> {
    fn bytes(self) -> &'a [u8] {
        match self {
            Field::Bytes(bytes) => bytes,
            Field::Number(_) => &[],
        }
    }
}

/// The fields of a protobuf message, until it ends or can't be read.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for (index, &byte) in self.0.iter().enumerate().take(10) {
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                self.0 = &self.0[index + 1..];
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (u64, Field<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let tag = self.varint()?;
        let field = match tag & 7 {
            0 => Field::Number(self.varint()?),
            1 => Field::Number(u64::from_le_bytes(self.take(8)?.try_into().ok()?)),
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Field::Bytes(self.take(length)?)
            }
            5 => Field::Number(u64::from(u32::from_le_bytes(
                self.take(4)?.try_into().ok()?,
            ))),
            _ => return None,
        };
        Some((tag >> 3, field))
    }
}
