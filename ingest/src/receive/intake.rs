//! What happens between a request's last byte and its OK?
//!
//! In this order: reserve its place in the engine's queue, decode it, keep it in the journal, hand it
//! to the engine, say OK. So what was said OK to is durable and on its way, and what was refused is
//! neither. The place comes first because what can't be taken shouldn't be read: an overload must
//! not cost more than the load. For a place there is a short wait, which slows an exporter down at
//! once, where a refusal would make it pause for seconds; after that, full is an answer.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rekindle_model::UnixNanos;
use tokio::sync::mpsc;
use tokio::sync::mpsc::OwnedPermit;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::timeout;

use super::ReceiverConfig;
use super::budget::{Budget, Hold};
use super::encoding::Encoding;
use super::gzip::{self, GunzipError};
use super::quota::{Quotas, Source};
use super::refusal::Refusal;
use super::stats::IngestStats;
use super::status::Partial;
use super::zstd::{self, UnzstdError};
use crate::decode::{ContentType, DecodeContext, DecodeCounts, KeepAttributes, decode_payload};
use crate::journal::{AppendError, Entry, Journal, Protocol};
use crate::packed::PackedSpans;

/// The spans of one request, durable and decoded.
#[derive(Debug)]
pub struct Batch {
    /// Where the request is in the journal. Batches come in the order of their positions.
    pub position: u64,
    /// When its last byte came.
    pub received_at: UnixNanos,
    /// Its spans, at least one; none of a note.
    pub spans: PackedSpans,
    /// What was told beside spans, as it is in the journal.
    pub note: Option<Box<[u8]>>,
    /// The memory it takes, given back when the engine drops the batch.
    #[expect(dead_code, reason = "held for being dropped with the batch")]
    hold: Option<Hold>,
}

impl Batch {
    /// A batch that came from elsewhere than a receiver: a replay or a test.
    pub fn new(position: u64, received_at: UnixNanos, spans: PackedSpans) -> Self {
        Self {
            position,
            received_at,
            spans,
            note: None,
            hold: None,
        }
    }

    /// What was told beside spans: it has its place among them.
    pub fn of_note(position: u64, received_at: UnixNanos, note: &[u8]) -> Self {
        Self {
            note: Some(note.into()),
            ..Self::new(position, received_at, PackedSpans::default())
        }
    }
}

/// What it takes to read a request, used by one request at a time.
struct Workbench {
    context: DecodeContext,
    gunzip: libdeflater::Decompressor,
    unzstd: Option<::zstd::bulk::Decompressor<'static>>,
}

/// Takes requests of any protocol.
pub(super) struct Intake {
    pub(super) budget: Arc<Budget>,
    pub(super) stats: Arc<IngestStats>,
    journal: Journal,
    engine: mpsc::Sender<Batch>,
    keep: KeepAttributes,
    quotas: Quotas,
    max_request_bytes: usize,
    /// How long a place in the engine's queue is waited for.
    queue_within: Duration,
    /// Workbenches that nobody uses. A request is read without waiting for anything, so there are
    /// never more than threads.
    workbenches: Mutex<Vec<Workbench>>,
}

impl Intake {
    pub(super) fn new(
        journal: Journal,
        engine: mpsc::Sender<Batch>,
        stats: Arc<IngestStats>,
        config: &ReceiverConfig,
    ) -> Self {
        let at_once = config.limits.largest_requests_at_once;
        Self {
            budget: Budget::new(config.max_request_bytes.saturating_mul(at_once)),
            stats,
            journal,
            engine,
            keep: config.keep_attributes.clone(),
            quotas: Quotas::new(config.per_source),
            max_request_bytes: config.max_request_bytes,
            queue_within: config.limits.queue_within,
            workbenches: Mutex::default(),
        }
    }

    /// Whether a source may send now, to be asked before a body is read.
    pub(super) fn admit(&self, source: Source) -> Result<(), Refusal> {
        let admitted = self.quotas.admit(source, Instant::now());
        admitted.map_err(|wait| Refusal::OverRate { wait })
    }

    /// Takes a request whose body has come.
    pub(super) async fn take(
        &self,
        source: Source,
        protocol: Protocol,
        body: Bytes,
        encoding: Encoding,
        mut hold: Hold,
    ) -> Result<Partial, Refusal> {
        let receipt = self.journal.receive();
        let received_at = receipt.at();
        let received = body.len();
        if received == 0 && protocol.content_type() == ContentType::Protobuf {
            // A message without fields: valid, and nothing to find a place for.
            self.stats.decoded(protocol, 0, &DecodeCounts::default());
            return Ok(Partial::default());
        }
        let place = self.place().await?;
        let (payload, decoded) = self.read(source, protocol, body, encoding, &mut hold)?;
        let payload_bytes = payload.len();
        let (spans, counts) = (decoded.spans, decoded.counts);
        let accepted = spans.len();
        if !hold.grow_by(spans.bytes().min(self.max_decoded_bytes())) {
            return Err(Refusal::MemoryFull);
        }
        self.quotas
            .charge(source, &spans, counts.rejected(), Instant::now())
            .map_err(|new| Refusal::OverNames { new })?;
        if accepted > 0 {
            let entry = Entry {
                received_at,
                protocol,
                payload,
            };
            let hand_on = move |position| {
                place.send(Batch {
                    position,
                    received_at,
                    spans,
                    note: None,
                    hold: Some(hold),
                });
                drop(receipt);
            };
            if let Err(error) = self.journal.append_and(entry, hand_on).await {
                self.quotas.give_back(source, accepted, Instant::now());
                return Err(match error {
                    AppendError::Write { .. } | AppendError::Full | AppendError::NoRoom { .. } => {
                        Refusal::NotKept
                    }
                    AppendError::Closed => Refusal::Ending,
                    AppendError::TooLong => self.too_large(),
                });
            }
        }
        self.stats.bytes(received, payload_bytes);
        self.stats.decoded(protocol, accepted, &counts);
        Ok(partial(&counts))
    }

    /// A place in the engine's queue.
    async fn place(&self) -> Result<OwnedPermit<Batch>, Refusal> {
        let engine = match self.engine.clone().try_reserve_owned() {
            Ok(place) => return Ok(place),
            Err(TrySendError::Closed(_)) => return Err(Refusal::Ending),
            Err(TrySendError::Full(engine)) => engine,
        };
        match timeout(self.queue_within, engine.reserve_owned()).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) => Err(Refusal::Ending),
            Err(_) => Err(Refusal::QueueFull),
        }
    }

    /// Decompresses and decodes, without waiting for anything. What can't be read costs its source, too.
    fn read(
        &self,
        source: Source,
        protocol: Protocol,
        body: Bytes,
        encoding: Encoding,
        hold: &mut Hold,
    ) -> Result<(Bytes, crate::decode::Decoded), Refusal> {
        let mut workbench = self.lock().pop().unwrap_or_else(|| Workbench {
            context: DecodeContext::new(&self.keep),
            gunzip: libdeflater::Decompressor::new(),
            unzstd: None,
        });
        let mut bytes = body.len();
        let payload = self.payload(&mut workbench, body, encoding, hold);
        let read = payload.and_then(|payload| {
            bytes = payload.len();
            let content_type = protocol.content_type();
            let decoded = decode_payload(content_type, &payload, &mut workbench.context)
                .map_err(|error| Refusal::malformed(&error))?;
            Ok((payload, decoded))
        });
        self.lock().push(workbench);
        if let Err(Refusal::Malformed { .. } | Refusal::TooLarge { .. }) = &read {
            self.quotas.charge_malformed(source, bytes, Instant::now());
        }
        read
    }

    fn payload(
        &self,
        workbench: &mut Workbench,
        body: Bytes,
        encoding: Encoding,
        hold: &mut Hold,
    ) -> Result<Bytes, Refusal> {
        match encoding {
            Encoding::Identity => Ok(body),
            Encoding::Gzip => self.gunzip(&mut workbench.gunzip, &body, hold),
            Encoding::Zstd => self.unzstd(&mut workbench.unzstd, &body, hold),
        }
    }

    fn gunzip(
        &self,
        decompressor: &mut libdeflater::Decompressor,
        body: &Bytes,
        hold: &mut Hold,
    ) -> Result<Bytes, Refusal> {
        let refusal = |error| match error {
            GunzipError::TooLarge => self.too_large(),
            GunzipError::Corrupt => Refusal::Malformed {
                reason: "the body is not gzip, or damaged".to_owned(),
            },
        };
        let claimed = gzip::claimed_bytes(body).map_err(refusal)?;
        if claimed <= self.max_request_bytes && !hold.grow_to(body.len() + claimed) {
            return Err(Refusal::MemoryFull);
        }
        let payload = gzip::gunzip(decompressor, body, self.max_request_bytes).map_err(refusal)?;
        // Should it be more than it claimed.
        match hold.grow_to(body.len() + payload.len()) {
            true => Ok(Bytes::from(payload)),
            false => Err(Refusal::MemoryFull),
        }
    }

    fn unzstd(
        &self,
        decompressor: &mut Option<::zstd::bulk::Decompressor<'static>>,
        body: &Bytes,
        hold: &mut Hold,
    ) -> Result<Bytes, Refusal> {
        // Made when it is first needed: it takes 150 kB, and few exporters use it.
        let decompressor = match decompressor {
            Some(made) => made,
            None => decompressor.insert(zstd::decompressor().map_err(|_| Refusal::MemoryFull)?),
        };
        let payload = zstd::unzstd(decompressor, body, self.max_request_bytes, hold);
        payload.map(Bytes::from).map_err(|error| match error {
            UnzstdError::TooLarge => self.too_large(),
            UnzstdError::MemoryFull => Refusal::MemoryFull,
            UnzstdError::Corrupt => Refusal::Malformed {
                reason: "the body is not zstd, or damaged".to_owned(),
            },
        })
    }

    /// The most that is asked of the budget for a request's spans: with it, with its body and with its payload the
    /// largest request still fits when it is alone, or it would be told to come back for ever.
    fn max_decoded_bytes(&self) -> usize {
        self.budget
            .bytes()
            .saturating_sub(2 * self.max_request_bytes)
    }

    fn too_large(&self) -> Refusal {
        Refusal::TooLarge {
            limit: self.max_request_bytes,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Workbench>> {
        self.workbenches
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the exporter is told of the spans that were rejected.
fn partial(counts: &DecodeCounts) -> Partial {
    let mut reasons = Vec::new();
    for (number, what) in [
        (counts.rejected_trace_id, "with an invalid trace id"),
        (counts.rejected_span_id, "with an invalid span id"),
        (counts.rejected_parent_id, "with an invalid parent span id"),
        (
            counts.rejected_variety,
            "after more kinds of span than a request of its length may have",
        ),
    ] {
        if number > 0 {
            reasons.push(format!("{number} {what}"));
        }
    }
    Partial {
        rejected_spans: counts.rejected(),
        message: match reasons.is_empty() {
            true => String::new(),
            false => format!("spans rejected: {}", reasons.join(", ")),
        },
    }
}
