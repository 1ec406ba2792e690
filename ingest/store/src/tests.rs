//! Does a span come out of the store as it went in, and once, wherever the engine was killed?

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use proptest::prelude::*;
use prost::Message;
use rekindle_ingest::load::{Generator, SystemShape};
use rekindle_ingest::{
    ContentType, DecodeContext, Durability, Entry, Journal, JournalConfig, KeepAttributes,
    Protocol, decode_payload,
};
use rekindle_model::{SpanId, TraceId, UnixNanos};

use super::*;
use crate::span::list_text;
use crate::value::tests::any_attributes;

const START: UnixNanos = UnixNanos::from_secs(1_795_255_800);

/// After all that these tests receive.
const LATER: UnixNanos = UnixNanos(u64::MAX);

const RECEIVED: Received = Received {
    at: Some(START),
    position: 7,
};

/// Requests as an SDK sends them, with errors in them.
fn requests(number: usize, seed: u64) -> Vec<Bytes> {
    let mut generator = Generator::new(SystemShape {
        spans_per_request: 20,
        failing: 0.3,
        seed,
        ..SystemShape::default()
    });
    let requests = (0..number).map(|_| Bytes::from(generator.request(START).payload));
    requests.collect()
}

fn spans(number: usize) -> Vec<StoredSpan> {
    let mut counts = ReadCounts::default();
    let of = |request| spans_of_protobuf(request, RECEIVED, &mut counts).expect("it is one");
    let spans = requests(number, 1).into_iter().flat_map(of).collect();
    assert_eq!(counts, ReadCounts::default());
    spans
}

fn sorted(mut spans: Vec<StoredSpan>) -> Vec<StoredSpan> {
    spans.sort_by_key(StoredSpan::identity);
    spans
}

prop_compose! {
    fn any_span()(
        ids in (1u128.., 1u64.., any::<u64>()),
        texts in prop::collection::vec("[a-zé\"]{0,5}", 6),
        numbers in (any::<i32>(), any::<i32>(), any::<u64>(), any::<u64>()),
        counts in prop::array::uniform6(any::<u32>()),
        attributes in prop::collection::vec(any_attributes(), 5),
        position: u64,
    ) -> StoredSpan {
        let text = |at: usize| Text::from(texts[at].as_str());
        let event = Event {
            time_unix_nanos: numbers.2,
            name: text(0),
            attributes: attributes[0].clone(),
            dropped_attributes: counts[0],
        };
        let link = Link {
            trace_id: "00ff".to_owned(),
            span_id: String::new(),
            trace_state: text(1),
            attributes: attributes[1].clone(),
            dropped_attributes: counts[1],
            flags: counts[2],
        };
        StoredSpan {
            trace_id: TraceId::from_bytes(ids.0.to_be_bytes()).expect("not zero"),
            span_id: SpanId::from_bytes(ids.1.to_be_bytes()).expect("not zero"),
            parent_id: SpanId::from_bytes(ids.2.to_be_bytes()),
            trace_state: text(1),
            flags: counts[0],
            name: text(2),
            kind: numbers.0,
            start: UnixNanos(numbers.2),
            end: UnixNanos(numbers.3),
            attributes: attributes[2].to_json(),
            dropped_attributes: counts[1],
            events: list_text(&vec![event; ids.2 as usize % 3]),
            dropped_events: counts[2],
            links: list_text(&vec![link; ids.2 as usize % 2]),
            dropped_links: counts[3],
            status: numbers.1,
            status_message: text(3),
            resource: Arc::new(StoredResource {
                service: attributes[3].text("service.name").cloned().unwrap_or_default(),
                attributes: attributes[3].to_json(),
                dropped_attributes: counts[4],
                schema_url: text(4),
            }),
            scope: Arc::new(StoredScope {
                name: text(5),
                version: text(0),
                attributes: attributes[4].to_json(),
                dropped_attributes: counts[5],
                schema_url: text(1),
            }),
            received_at: START,
            position,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nothing_is_lost_in_any_form(spans in prop::collection::vec(any_span(), 1..6)) {
        let mut spans = spans;
        for span in &mut spans {
            span.position = RECEIVED.position;
        }
        let mut counts = ReadCounts::default();
        let again = spans_of_protobuf(protobuf_of(&spans).into(), RECEIVED, &mut counts);
        prop_assert_eq!(&again.expect("protobuf"), &spans);
        let again = spans_of_json(json_of(&spans).as_bytes(), RECEIVED, &mut counts);
        prop_assert_eq!(&again.expect("JSON"), &spans);
        let file = parquet_of(spans.clone()).expect("Parquet");
        let (again, read) = read_bytes(file.into()).expect("Parquet");
        prop_assert_eq!(&again, &sorted(spans));
        counts.add(read);
        prop_assert_eq!(counts, ReadCounts::default());
    }

    /// Jaeger has no place for some of it, which is gone at once; the rest stays.
    #[test]
    fn what_jaeger_has_a_place_for_comes_back(spans in prop::collection::vec(any_span(), 1..6)) {
        let read = |text: String| {
            let mut counts = ReadCounts::default();
            let spans = spans_of_jaeger(text.as_bytes(), RECEIVED, &mut counts);
            sorted(spans.expect("Jaeger's"))
        };
        let once = read(jaeger_of(&spans));
        let kept = |spans: &[StoredSpan]| -> Vec<_> {
            let of = |it: &StoredSpan| {
                (it.trace_id, it.span_id, it.parent_id, it.name.clone(), it.resource.service.clone())
            };
            spans.iter().map(of).collect()
        };
        let mut spans = spans;
        spans.sort_by_key(|it| (it.trace_id, it.span_id));
        prop_assert_eq!(kept(&once), kept(&spans));
        prop_assert_eq!(read(jaeger_of(&once)), once);
    }

    /// The generated types read what we write as we do.
    #[test]
    fn the_generated_types_agree(spans in prop::collection::vec(any_span(), 1..4)) {
        let ours = protobuf_of(&spans);
        let theirs = ExportTraceServiceRequest::decode(&ours[..]).expect("they read it");
        let read = spans_of_protobuf(theirs.encode_to_vec().into(), RECEIVED, &mut ReadCounts::default());
        let mut spans = spans;
        for span in &mut spans {
            span.position = RECEIVED.position;
        }
        prop_assert_eq!(read.expect("we read it"), spans);
    }

    #[test]
    fn any_bytes_are_read_or_not(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut counts = ReadCounts::default();
        let _ = spans_of_protobuf(bytes.clone().into(), RECEIVED, &mut counts);
        let _ = spans_of_json(&bytes, RECEIVED, &mut counts);
        let _ = read_bytes(bytes.into());
    }
}

/// A request with all that a request may have.
fn json_request() -> serde_json::Value {
    let attributes = r#"[{"key":"a","value":{"kvlistValue":{"values":[{"key":"b","value":{"intValue":"1"}}]}}}]"#;
    let text = r#"{"resourceSpans":[{"schemaUrl":"s","resource":{"droppedAttributesCount":1,"attributes":ALL},
        "scopeSpans":[{"schemaUrl":"s","scope":{"name":"n","version":"1","attributes":ALL,"droppedAttributesCount":1},
        "spans":[{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174",
        "parentSpanId":"eee19b7ec3c1b173","name":"n","traceState":"t","kind":2,"startTimeUnixNano":"1",
        "endTimeUnixNano":2,"attributes":ALL,"droppedAttributesCount":1,"droppedEventsCount":1,"droppedLinksCount":1,
        "flags":1,"events":[{"timeUnixNano":"1","name":"e","attributes":ALL,"droppedAttributesCount":1}],
        "links":[{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","traceState":"t",
        "attributes":ALL,"flags":1}],"status":{"message":"m","code":2}},
        {"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b175"}]}]}]}"#;
    serde_json::from_str(&text.replace("ALL", attributes)).expect("it is JSON")
}

/// How many parts it has.
fn parts(json: &serde_json::Value) -> usize {
    1 + match json {
        serde_json::Value::Array(items) => items.iter().map(parts).sum::<usize>(),
        serde_json::Value::Object(fields) => fields.values().map(parts).sum(),
        _ => 0,
    }
}

/// Puts something else in the place of one part.
fn replace(json: &mut serde_json::Value, at: &mut usize, with: &serde_json::Value) {
    if *at == 0 {
        *json = with.clone();
    }
    *at = at.wrapping_sub(1);
    match json {
        serde_json::Value::Array(items) => items.iter_mut().for_each(|it| replace(it, at, with)),
        serde_json::Value::Object(fields) => {
            fields.values_mut().for_each(|it| replace(it, at, with));
        }
        _ => {}
    }
}

/// Whether it was taken by the receiver; what it takes must be read with as many spans.
fn check_taken(request: &str) -> bool {
    let mut context = DecodeContext::new(&KeepAttributes::default());
    let Ok(taken) = decode_payload(ContentType::Json, request.as_bytes(), &mut context) else {
        return false;
    };
    let read = spans_of_json(request.as_bytes(), RECEIVED, &mut ReadCounts::default());
    let read = read.unwrap_or_else(|error| panic!("{error}: {request}"));
    assert_eq!(read.len(), taken.spans.len(), "{request}");
    true
}

#[test]
fn what_a_receiver_takes_is_read() {
    let (whole, mut taken, mut changed) = (json_request(), 0, 0);
    let others = [
        "null",
        "true",
        "5",
        "-1",
        "1.5",
        "1e300",
        r#""x""#,
        r#""""#,
        "[]",
        "{}",
        "[null]",
        "[5]",
        "[[]]",
        "[{}]",
        r#"{"values":5}"#,
        r#"{"stringValue":5}"#,
        r#"{"arrayValue":[{}]}"#,
        r#""SPAN_KIND_SERVER""#,
    ];
    assert!(check_taken(&whole.to_string()));
    for part in 0..parts(&whole) {
        for other in others {
            let mut request = whole.clone();
            let with = serde_json::from_str(other).expect("it is JSON");
            replace(&mut request, &mut { part }, &with);
            taken += usize::from(check_taken(&request.to_string()));
            changed += 1;
        }
    }
    assert!(
        taken > changed / 4 && taken < changed,
        "{taken} of {changed}"
    );
}

#[test]
fn only_what_is_wrong_in_json_is_missing() {
    let deep = |levels: usize| {
        let (open, close) = (r#"{"arrayValue":{"values":["#, "]}}");
        format!("{}{{}}{}", open.repeat(levels), close.repeat(levels))
    };
    let (cut, whole) = (deep(10_000), deep(32));
    for (wrong, cut_values) in [
        (
            r#""attributes":[{"key":"a","value":DEEP}]"#.replace("DEEP", &cut),
            1,
        ),
        (
            r#""attributes":[{"key":"a","value":DEEP}]"#.replace("DEEP", &whole),
            0,
        ),
        (r#""droppedAttributesCount":true"#.to_owned(), 1),
        (
            r#""events":[{"attributes":[{"key":"a","value":{"stringValue":5}}]}]"#.to_owned(),
            1,
        ),
        (
            r#""droppedLinksCount":1,"droppedLinksCount":2"#.to_owned(),
            0,
        ),
        (r#""links":[{"traceState":"\ud800"}]"#.to_owned(), 1),
    ] {
        let request = r#"{"resourceSpans":[{"scopeSpans":[{"scope":{"version":VERSION},"spans":[{"traceId":
            "5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","name":"kept",WRONG}]}]}]}"#;
        let request = request.replace("WRONG", &wrong).replace("VERSION", "1.2");
        assert!(check_taken(&request), "{request}");
        let mut counts = ReadCounts::default();
        let read = spans_of_json(request.as_bytes(), RECEIVED, &mut counts).expect("it is one");
        assert_eq!(read[0].name.as_str(), "kept");
        assert!(read[0].scope.version.is_empty());
        // The scope's version is the other one.
        assert_eq!(counts.cut_values, cut_values + 1, "{wrong:.200}");
    }
}

#[test]
fn a_damaged_file_is_an_error_and_no_panic() {
    let file = parquet_of(spans(3)).expect("Parquet");
    for at in (0..file.len()).step_by(7) {
        let mut damaged = file.clone();
        damaged[at] ^= 0x55;
        let _ = read_bytes(damaged.into());
        let _ = read_bytes(file[..at].to_vec().into());
    }
}

#[test]
fn values_deeper_than_anybody_means_are_cut() {
    let mut value = Value::Text("deep".into());
    for _ in 0..100 {
        value = Value::List(vec![value]);
    }
    let mut span = spans(1).remove(0);
    span.attributes = "{}".into();
    let request = otlp::Request {
        resource_spans: vec![otlp::ResourceSpans {
            scope_spans: vec![otlp::ScopeSpans {
                spans: vec![otlp::Span {
                    trace_id: Bytes::from(vec![1; 16]),
                    span_id: Bytes::from(vec![1; 8]),
                    attributes: vec![otlp::KeyValue {
                        key: Bytes::from_static(b"deep"),
                        value: Some(otlp::value_of(value)),
                    }],
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        }],
    };
    let mut counts = ReadCounts::default();
    let read = spans_of_protobuf(request.encode_to_vec().into(), RECEIVED, &mut counts);
    assert_eq!(counts.cut_values, 1);
    let read = read.expect("it is one");
    let text = read[0].attributes.as_str();
    assert!(Attributes::from_json(text).is_ok(), "{text}");
}

#[test]
fn a_trace_is_found_among_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::at(folder.path().to_str().expect("UTF-8")).expect("a store");
    // More than one row group's pages.
    let spans = spans(600);
    for (number, part) in spans.chunks(5000).enumerate() {
        store
            .add(part.to_vec(), "test", number as u64, LATER)
            .expect("added");
    }
    let mut by_trace: BTreeMap<TraceId, Vec<StoredSpan>> = BTreeMap::new();
    for span in spans {
        by_trace.entry(span.trace_id).or_default().push(span);
    }
    assert!(by_trace.len() > 100, "{}", by_trace.len());
    for (id, spans) in by_trace.iter().step_by(37) {
        let found = store.trace(*id).expect("read");
        assert_eq!(sorted(found), sorted(spans.clone()), "{id}");
    }
    let unknown = TraceId::from_bytes([9; 16]).expect("not zero");
    assert_eq!(store.trace(unknown).expect("read"), []);
}

#[test]
fn no_more_of_a_trace_is_read_than_wanted() {
    let mut spans = spans(600);
    let id = spans[0].trace_id;
    for (number, span) in spans.iter_mut().enumerate() {
        span.trace_id = id;
        span.span_id = SpanId::from_bytes((number as u64 + 1).to_be_bytes()).expect("not zero");
    }
    assert!(spans.len() > 5000, "{}", spans.len());
    let file = parquet_of(spans.clone()).expect("memory");
    let reader = crate::read::SpanReader::open(crate::place::source_of(file)).expect("ours");
    for (most, expected) in [(usize::MAX, spans.len()), (1, 1024), (1025, 2048)] {
        let found = reader.trace(id, most, &mut ReadCounts::default());
        assert_eq!(found.expect("read").len(), expected, "{most}");
    }
}

/// A journal in this folder that holds these requests, in some segments, and its positions' end.
async fn journal_of(dir: &Path, requests: &[Bytes]) -> Journal {
    let config = JournalConfig {
        durability: Durability::ProcessCrash,
        segment_bytes: 8_000,
        until_released: true,
        keep: Duration::ZERO,
        ..JournalConfig::default()
    };
    let (journal, _) = Journal::open(dir, config).expect("opens");
    for (number, payload) in requests.iter().enumerate() {
        let entry = Entry {
            // Over the end of an hour, so that a segment has two files.
            received_at: START.plus(Duration::from_secs(2800 + number as u64 * 100)),
            protocol: Protocol::Grpc,
            payload: payload.clone(),
        };
        journal.append(entry).await.expect("appends");
    }
    journal
}

fn everything(store: &Store) -> BTreeMap<(TraceId, SpanId), usize> {
    let mut found = BTreeMap::new();
    store
        .scan::<StoreError>(UnixNanos(0), UnixNanos(u64::MAX), |spans| {
            for span in spans {
                *found.entry((span.trace_id, span.span_id)).or_default() += 1;
            }
            Ok(())
        })
        .expect("scanned");
    found
}

fn drain(compactor: &mut Compactor, now: UnixNanos) -> Result<(), StoreError> {
    while compactor.step(now)? != Step::Idle {}
    Ok(())
}

/// Whether all spans of the sealed segments are in the store, and each once.
fn check(store: &Store, sent: &[Bytes], context: &str) {
    let mut counts = ReadCounts::default();
    let of = |request: &Bytes| {
        let spans = spans_of_protobuf(request.clone(), RECEIVED, &mut counts).expect("it is one");
        spans.into_iter().map(|it| (it.trace_id, it.span_id))
    };
    let sent: BTreeMap<(TraceId, SpanId), usize> =
        sent.iter().flat_map(of).map(|it| (it, 1)).collect();
    let found = everything(store);
    assert_eq!(found.len(), sent.len(), "{context}");
    assert!(found == sent, "{context}: not each once");
}

/// The engine is killed at each step of compacting and merging, and begins anew each time.
#[tokio::test]
async fn wherever_it_is_killed_each_span_is_there_once() {
    let mut requests = requests(5, 3);
    // What an exporter wasn't sure of, it sends again: at once, and some segments later.
    requests.insert(1, requests[0].clone());
    requests.insert(5, requests[2].clone());
    // Long after the last hour is over, so that all of it is merged.
    let now = START.plus(Duration::from_secs(24 * 3600));
    let mut kills = 0;
    for kill_at in 0.. {
        let folder = tempfile::tempdir().expect("a folder");
        let (dir, place) = (folder.path().join("journal"), folder.path().join("spans"));
        let journal = journal_of(&dir, &requests).await;
        let last = rekindle_ingest::journal::last_segment(&dir).expect("listed");
        let sealed = rekindle_ingest::journal::sealed_segments(&dir).expect("listed");
        assert!(sealed.len() > 1, "{} segments", sealed.len());
        let end = sealed.last().map_or(0, |it| it.end) as usize;
        let at = || Arc::new(Store::at(place.to_str().expect("UTF-8")).expect("a store"));
        let passed = Arc::new(AtomicUsize::new(0));
        let killed = {
            let start = Compactor::start(at(), journal.clone(), &dir, Retention::default());
            let mut compactor = start.expect("starts");
            let counter = Arc::clone(&passed);
            compactor.hook(Box::new(move |step| {
                match counter.fetch_add(1, Ordering::SeqCst) == kill_at {
                    true => Err(StoreError::Killed(step.to_owned())),
                    false => Ok(()),
                }
            }));
            drain(&mut compactor, now).err().map(|it| it.to_string())
        };
        let context = format!("{kill_at}: {killed:?}");
        let start = Compactor::start(at(), journal.clone(), &dir, Retention::default());
        let mut compactor = start.expect("starts");
        drain(&mut compactor, now).expect("nothing is in the way");
        assert_eq!(compactor.behind().expect("listed"), 0);
        check(&at(), &requests[..end], &context);
        // The journal may let go of it then, and does with the next request.
        let entry = Entry {
            received_at: now,
            protocol: Protocol::Grpc,
            payload: requests[0].clone(),
        };
        // It removes what is old when it has answered: the second answer comes after that.
        journal.append(entry.clone()).await.expect("appends");
        journal.append(entry).await.expect("appends");
        let kept = rekindle_ingest::journal::sealed_segments(&dir).expect("listed");
        let of_last = last.expect("there is one");
        assert!(
            kept.iter().all(|it| it.path == of_last),
            "{context}: {kept:?}"
        );
        if killed.is_none() {
            break;
        }
        kills += 1;
    }
    // Two hours' files of each segment take a dozen steps.
    assert!(kills > 20, "{kills}");
}

#[tokio::test]
async fn a_journal_that_began_anew_is_stored() {
    let folder = tempfile::tempdir().expect("a folder");
    let (dir, place) = (folder.path().join("journal"), folder.path().join("spans"));
    let store = Arc::new(Store::at(place.to_str().expect("UTF-8")).expect("a store"));
    // The second time there is less in it than was stored before.
    for (number, of) in [(12, requests(12, 3)), (6, requests(6, 4))] {
        let journal = journal_of(&dir, &of).await;
        let start = Compactor::start(
            Arc::clone(&store),
            journal.clone(),
            &dir,
            Retention::default(),
        );
        let mut compactor = start.expect("starts");
        assert!(compactor.behind().expect("listed") > 1, "{number}");
        drain(&mut compactor, START).expect("compacts");
        assert!(compactor.counts().spans > 0);
        drop((compactor, journal));
        while std::fs::read_dir(&dir).expect("listed").any(|it| {
            let path = it.expect("listed").path();
            let is_note = path.file_name().is_some_and(|it| it == "compacted");
            !is_note && std::fs::remove_file(path).is_ok()
        }) {}
    }
}

#[tokio::test]
async fn nothing_leaves_the_journal_before_it_is_stored() {
    let folder = tempfile::tempdir().expect("a folder");
    let requests = requests(30, 5);
    let journal = journal_of(folder.path(), &requests).await;
    let mut kept = Vec::new();
    rekindle_ingest::journal::replay(folder.path(), UnixNanos(0), |record| {
        kept.push(record.entry.payload);
    })
    .expect("replays");
    // They are older than is kept, each of them but the last.
    assert_eq!(kept, requests);
    drop(journal);
}

#[tokio::test]
async fn a_full_journal_refuses_until_it_is_stored() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("journal");
    let requests = requests(200, 7);
    let config = JournalConfig {
        durability: Durability::ProcessCrash,
        max_bytes: 100_000,
        until_released: true,
        ..JournalConfig::default()
    };
    let (journal, _) = Journal::open(&dir, config).expect("opens");
    let entry = |payload: &Bytes| Entry {
        received_at: START,
        protocol: Protocol::Grpc,
        payload: payload.clone(),
    };
    let mut taken = 0;
    while let Ok(_position) = journal.append(entry(&requests[taken])).await {
        taken += 1;
    }
    assert!((2..requests.len()).contains(&taken), "{taken}");
    let place = folder.path().join("spans");
    let store = Arc::new(Store::at(place.to_str().expect("UTF-8")).expect("a store"));
    let start = Compactor::start(
        Arc::clone(&store),
        journal.clone(),
        &dir,
        Retention::default(),
    );
    let mut compactor = start.expect("starts");
    drain(&mut compactor, START).expect("compacts");
    journal
        .append(entry(&requests[taken]))
        .await
        .expect("there is room again");
    let other = Compactor::start(store, journal, &dir, Retention::default());
    assert!(matches!(other, Err(StoreError::InUse { .. })), "{other:?}");
}

#[test]
fn an_hour_of_many_files_is_merged_whole() {
    for files in [2, 16, 17, 31, 32, 40] {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::at(folder.path().to_str().expect("UTF-8")).expect("a store");
        let all = spans(files);
        for (number, part) in all.chunks(all.len().div_ceil(files)).enumerate() {
            store
                .add(part.to_vec(), "test", number as u64, LATER)
                .expect("added");
        }
        assert_eq!(store.files().expect("listed").len(), files);
        let sent = everything(&store);
        assert_eq!(sent.len(), all.len());
        let later = START.plus(Duration::from_secs(24 * 3600));
        assert_eq!(store.tidy(later).expect("merged"), Some(0));
        assert_eq!(store.files().expect("listed").len(), 1, "{files} files");
        assert!(
            everything(&store) == sent,
            "of {files} files spans are gone"
        );
    }
}

/// A file of so many bytes as are left alone: there is nothing between its last column and its footer, and much of it.
fn large_file(spans: &[StoredSpan]) -> Vec<u8> {
    let file = parquet_of(spans.to_vec()).expect("memory");
    let (rest, end) = file.split_at(file.len() - 8);
    let footer = u32::from_le_bytes(end[..4].try_into().expect("four bytes")) as usize;
    let (columns, footer) = rest.split_at(rest.len() - footer);
    [columns, &vec![0; 64 << 20], footer, end].concat()
}

#[test]
fn what_a_large_file_has_is_in_no_other_once_the_hour_is_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::at(folder.path().to_str().expect("UTF-8")).expect("a store");
    let all = spans(12);
    let (some, rest) = all.split_at(all.len() / 2);
    store.add(some.to_vec(), "small", 0, LATER).expect("added");
    let hour = store.files().expect("listed")[0].path.clone();
    let hour = hour.rsplit_once('/').expect("it has folders").0.to_owned();
    let large = format!("{hour}/merged-00000000000000000001-0.parquet");
    std::fs::write(folder.path().join(&large), large_file(some)).expect("written");
    let over = START.plus(Duration::from_secs(24 * 3600));

    // One small file with nothing of its own: all of it goes.
    assert_eq!(store.tidy(over).expect("merged"), Some(some.len() as u64));
    assert_eq!(everything(&store).len(), some.len());
    // One that has more comes late, and keeps that; and then there is nothing to do.
    store.add(all.clone(), "late", 0, LATER).expect("added");
    assert_eq!(store.tidy(over).expect("merged"), Some(some.len() as u64));
    assert_eq!(everything(&store).len(), all.len());
    let files = store.files().expect("listed");
    assert_eq!(files.len(), 2, "{files:?}");
    assert!(files.iter().any(|it| it.path == large), "it stays as it is");
    assert_eq!(store.tidy(over).expect("nothing"), Some(0));
    assert_eq!(store.files().expect("listed"), files);
    assert_eq!(rest.len() + some.len(), all.len());
}

#[test]
fn what_is_added_twice_while_its_hour_lasts_is_there_once_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::at(folder.path().to_str().expect("UTF-8")).expect("a store");
    let all = spans(12);
    let now = all.iter().map(|span| span.received_at).max();
    let now = now.expect("there are some");
    for (import, already) in [("a", 0), ("b", all.len() as u64), ("c", all.len() as u64)] {
        store.add(all.clone(), import, 0, now).expect("added");
        assert_eq!(store.tidy(now).expect("merged"), Some(already), "{import}");
        assert_eq!(everything(&store).len(), all.len(), "{import}");
    }
    // A daemon has it: nothing is touched beside it.
    let owned = store.own().expect("nobody has it");
    store.add(all.clone(), "d", 0, now).expect("added");
    assert_eq!(store.tidy(now).expect("looked at"), None);
    drop(owned);
    assert_eq!(store.tidy(now).expect("merged"), Some(all.len() as u64));
}

/// The same file, in which the names of spans can't be read any more.
fn without_names(file: &[u8]) -> Vec<u8> {
    let metadata = parquet::file::metadata::ParquetMetaDataReader::new()
        .parse_and_finish(&Bytes::copy_from_slice(file))
        .expect("a footer");
    let mut damaged = file.to_vec();
    for column in metadata.row_group(0).columns() {
        if column.column_path().string() == "name" {
            let (from, length) = column.byte_range();
            damaged[from as usize..(from + length) as usize].fill(0x55);
        }
    }
    assert_ne!(damaged, file);
    damaged
}

#[test]
fn nothing_goes_for_a_copy_that_cannot_be_read_or_says_something_else() {
    let renamed = |span: &StoredSpan| StoredSpan {
        name: "another".into(),
        ..span.clone()
    };
    let all = spans(3);
    let received_again = |span: &StoredSpan| StoredSpan {
        received_at: span.received_at.plus(Duration::from_secs(1)),
        position: span.position + 1,
        ..span.clone()
    };
    for (context, large, gone) in [
        ("a sound copy", large_file(&all), all.len() as u64),
        (
            "one that was received later",
            large_file(&all.iter().map(received_again).collect::<Vec<_>>()),
            all.len() as u64,
        ),
        ("a damaged one", without_names(&large_file(&all)), 0),
        (
            "one with other names",
            large_file(&all.iter().map(renamed).collect::<Vec<_>>()),
            0,
        ),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::at(folder.path().to_str().expect("UTF-8")).expect("a store");
        store.add(all.clone(), "small", 0, LATER).expect("added");
        let hour = store.files().expect("listed")[0].path.clone();
        let hour = hour.rsplit_once('/').expect("it has folders").0.to_owned();
        let beside = folder
            .path()
            .join(hour)
            .join("merged-00000000000000000001-0.parquet");
        std::fs::write(&beside, large).expect("written");
        let over = START.plus(Duration::from_secs(24 * 3600));
        assert_eq!(store.tidy(over).expect("merged"), Some(gone), "{context}");
        // The small file's spans are there in any case.
        let mut kept = 0;
        for file in store.files().expect("listed") {
            let mut count = |found: &mut Vec<StoredSpan>| {
                kept += found.len();
                Ok::<(), StoreError>(())
            };
            // One of them is damaged.
            let _ = crate::read_file(&folder.path().join(&file.path), &mut count);
        }
        assert!(kept >= all.len(), "{context}: {kept} of {}", all.len());
    }
}

#[test]
fn nothing_was_received_in_the_future() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::at(folder.path().to_str().expect("UTF-8")).expect("a store");
    let mut spans = spans(1);
    spans[0].received_at = UnixNanos(u64::MAX);
    store.add(spans.clone(), "test", 0, START).expect("added");
    assert_eq!(store.size().expect("listed").hours, 1);
    assert_eq!(everything(&store).len(), spans.len());
}

#[test]
fn what_a_file_was_before_is_forgotten() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::at(folder.path().to_str().expect("UTF-8")).expect("a store");
    let all = spans(10);
    let (some, rest) = all.split_at(all.len() / 3);
    for part in [some, rest] {
        store.add(part.to_vec(), "same", 0, LATER).expect("added");
        assert_eq!(everything(&store).len(), part.len());
    }
}

#[test]
fn what_is_too_old_or_too_much_goes_first() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::at(folder.path().to_str().expect("UTF-8")).expect("a store");
    let hours = 5;
    for hour in 0..hours {
        let mut spans = spans(3);
        for span in &mut spans {
            span.received_at = START.plus(Duration::from_secs(hour * 3600));
        }
        store.add(spans, "test", hour, LATER).expect("added");
    }
    let now = START.plus(Duration::from_secs((hours - 1) * 3600));
    let size = |store: &Store| store.size().expect("listed");
    assert_eq!(size(&store).hours, hours);
    let mut retention = Retention {
        keep_for: Some(Duration::from_secs(3 * 3600)),
        keep_bytes: None,
    };
    let removed = store.retain(retention, now).expect("removed");
    assert_eq!((removed.files, removed.hours), (1, 1));
    assert_eq!(size(&store).hours, hours - 1);
    retention.keep_bytes = Some(size(&store).bytes - 1);
    assert_eq!(store.retain(retention, now).expect("removed").files, 1);
    let first = &store.files().expect("listed")[0].path;
    // What began at half past ten is gone with its hour, and with the next one.
    assert!(first.contains("hour=12"), "{first}");
}

#[test]
fn a_damaged_file_keeps_nothing_else_from_being_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::at(folder.path().to_str().expect("UTF-8")).expect("a store");
    let spans = spans(9);
    for (number, part) in spans.chunks(spans.len().div_ceil(3)).enumerate() {
        let number = number as u64;
        store
            .add(part.to_vec(), "test", number, LATER)
            .expect("added");
    }
    let files = store.files().expect("listed");
    std::fs::write(folder.path().join(&files[0].path), "PAR1 no more").expect("written");
    let last = spans.last().expect("there are some").trace_id;
    assert!(!store.trace(last).expect("read").is_empty());
    assert_eq!(store.unreadable_files(), 1);
    let later = START.plus(Duration::from_secs(24 * 3600));
    store.tidy(later).expect("merged");
    assert_eq!(store.files().expect("listed").len(), 2);
}

#[test]
fn what_is_somebody_elses_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::at(folder.path().to_str().expect("UTF-8")).expect("a store");
    store.add(spans(1), "test", 0, LATER).expect("added");
    let own = store.files().expect("listed");
    let hour = own[0].path.rsplit_once('/').expect("it has folders").0;
    let foreign = [
        "backup/old/a.parquet".to_owned(),
        format!("{hour}/import-a.partial"),
    ];
    let left = format!("{hour}/segment-1.partial");
    for name in foreign.iter().chain([&left]) {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("it has one")).expect("made");
        std::fs::write(path, "PAR1").expect("written");
    }
    assert_eq!(store.files().expect("listed"), own);
    // Long before anything could be abandoned.
    let removed = store.place.remove_partial(UnixNanos(0));
    removed.expect("removed");
    assert!(!folder.path().join(&left).exists());
    let nothing = Retention {
        keep_for: None,
        keep_bytes: Some(0),
    };
    assert_eq!(store.retain(nothing, START).expect("removed").files, 1);
    for name in &foreign {
        assert!(folder.path().join(name).exists(), "{name}");
    }
}

#[test]
fn addresses_are_looked_at() {
    for (url, fine) in [
        ("spans", true),
        ("/var/lib/spans", true),
        ("file:///var/lib/spans", true),
        ("", false),
        ("file://spans", false),
        ("ftp://host/spans", false),
    ] {
        assert_eq!(Store::at(url).is_ok(), fine, "{url}");
    }
}

#[test]
fn the_schema_of_people_names_every_column() {
    let text = include_str!("../SCHEMA.md");
    let named = Cell::new(0);
    for column in &schema::COLUMNS {
        let cell = format!("| `{}` |", column.name);
        assert!(
            text.contains(&cell),
            "SCHEMA.md says nothing of {}",
            column.name
        );
        named.set(named.get() + 1);
    }
    let rows = text.lines().filter(|it| it.starts_with("| `")).count();
    assert_eq!(rows, named.get(), "SCHEMA.md names others");
}

#[cfg(feature = "s3")]
#[test]
fn a_bucket_holds_what_a_folder_holds() {
    let memory = Arc::new(object_store::memory::InMemory::new());
    let bucket = crate::bucket::Bucket::on(memory, "spans".into()).expect("a bucket");
    let store = Store::of(crate::place::Place::Bucket(bucket));
    let spans = spans(40);
    let (some, rest) = spans.split_at(spans.len() / 2);
    // Two small files of one hour, some spans in both.
    let both = [rest, &some[..10]].concat();
    assert_eq!(store.add(some.to_vec(), "a", 0, LATER).expect("added"), 0);
    assert_eq!(store.add(both, "a", 1, LATER).expect("added"), 0);
    assert_eq!(store.size().expect("sized").files, 2);
    let later = UnixNanos(START.0 + Duration::from_secs(7200).as_nanos() as u64);
    assert_eq!(store.tidy(later).expect("merged"), Some(10));
    assert_eq!(store.size().expect("sized").files, 1);

    let mut found = Vec::new();
    let mut each = |spans: &mut Vec<StoredSpan>| -> Result<(), StoreError> {
        found.append(spans);
        Ok(())
    };
    store
        .scan(UnixNanos(0), UnixNanos(u64::MAX), &mut each)
        .expect("scanned");
    assert_eq!(sorted(found), sorted(spans.clone()));
    let id = spans[0].trace_id;
    let expected = spans.iter().filter(|it| it.trace_id == id).count();
    assert_eq!(store.trace(id).expect("found").len(), expected);
}
