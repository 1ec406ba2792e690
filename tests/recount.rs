//! Does an engine's journal say again what the engine said? To the byte, of one that was killed, and of its successor.

#[path = "support/listening.rs"]
mod listening;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use listening::listens_at;
use rekindle::view::{IncidentView, View};
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle");

/// More than any of this takes; only a failure waits for so long.
const PATIENCE: Duration = Duration::from_secs(240);

fn until<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(done) = done() {
            return done;
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "not within {PATIENCE:?}: {what}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// An engine, which is killed with this.
struct Engine {
    process: Child,
    api: SocketAddr,
    http: SocketAddr,
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Engine {
    fn start(config: &Path, log: &Path) -> Self {
        let output = std::fs::File::create(log).expect("a log");
        let process = Command::new(BINARY)
            .args(["run", "--config"])
            .arg(config)
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a second handle"))
            .stderr(output)
            .spawn()
            .expect("it starts");
        let at = |what| until("it is ready", || listens_at(log, what));
        Self {
            process,
            api: at("api"),
            http: at("http"),
        }
    }

    fn post(&self, url: String, body: &Value) {
        let sent = ureq::post(url)
            .config()
            .timeout_global(Some(PATIENCE))
            .proxy(None)
            .build()
            .send_json(body);
        assert_eq!(sent.expect("an answer").status().as_u16() / 100, 2);
    }

    fn view(&self) -> View {
        let answer = ureq::get(format!("http://{}/api/v1/view", self.api))
            .config()
            .timeout_global(Some(PATIENCE))
            .proxy(None)
            .build()
            .call();
        let mut answer = answer.expect("it answers");
        let body = answer.body_mut().with_config().limit(64 << 20);
        body.read_json().expect("a view")
    }

    /// Sends so many requests that end now, the last of which the catalog fails as often as this.
    fn send(&self, traffic: &mut Traffic, count: u64, one_in: Option<u64>) {
        let requests: Vec<Value> = (0..count).flat_map(|_| traffic.request(one_in)).collect();
        let url = format!("http://{}/v1/traces", self.http);
        self.post(url, &json!({ "resourceSpans": requests }));
    }
}

#[derive(Default)]
struct Traffic {
    requests: u64,
}

impl Traffic {
    /// `web` asks one of two instances of `catalog`, the second of which fails one in so many.
    fn request(&mut self, one_in: Option<u64>) -> Vec<Value> {
        self.requests += 1;
        let number = self.requests;
        let fails =
            number % 2 == 1 && one_in.is_some_and(|one_in| (number / 2).is_multiple_of(one_in));
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let took = 20_000_000 + number % 7 * 1_000_000;
        let start = now.expect("after 1970").as_nanos() as u64 - took;
        let span = |id: u64, parent: u64, kind: u64, inset: u64| {
            let mut span = json!({
                "traceId": format!("{:032x}", u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c)),
                "spanId": format!("{:016x}", number * 4 + id),
                "name": "GET /items",
                "kind": kind,
                "startTimeUnixNano": (start + inset).to_string(),
                "endTimeUnixNano": (start + took - inset).to_string(),
            });
            if parent > 0 {
                span["parentSpanId"] = format!("{:016x}", number * 4 + parent).into();
            }
            if fails {
                span["status"] = json!({"code": 2});
            }
            span
        };
        let resource = |service: &str, instance: String, spans: Vec<Value>| {
            let attribute =
                |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
            let attributes = [
                attribute("service.name", service),
                attribute("service.instance.id", &instance),
            ];
            json!({"resource": {"attributes": attributes}, "scopeSpans": [{"spans": spans}]})
        };
        vec![
            resource(
                "web",
                "web-0".to_owned(),
                vec![span(1, 0, 2, 0), span(2, 1, 3, 1_000_000)],
            ),
            resource(
                "catalog",
                format!("catalog-{}", number % 2),
                vec![span(3, 2, 2, 2_000_000)],
            ),
        ]
    }
}

/// The incident as it was shown last, once its file has a ranking for which the evidence suffices and that is later than
/// this cut.
fn kept(folder: &Path, number: u64, cut: u64) -> Option<IncidentView> {
    let file = folder.join(format!("state/incident/{number}.json"));
    let incident: IncidentView = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
    let ranking = incident.ranking.as_ref()?;
    (!ranking.suspects.is_empty() && ranking.cut > cut).then_some(incident)
}

fn analyze(config: &Path, words: &[&str]) -> (Option<i32>, String, String) {
    let mut analyze = Command::new(BINARY);
    analyze
        .args(["analyze", "--config"])
        .arg(config)
        .args(words);
    let output = analyze.output().expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// What was shown last is what the journal says of it.
fn is_said_again(folder: &Path, config: &Path, number: u64) {
    let incident = kept(folder, number, 0).expect("it was kept");
    let shown = serde_json::to_string_pretty(&incident.ranking).expect("text");
    let (code, again, error) = analyze(config, &["--incident", &number.to_string(), "-o", "json"]);
    assert_eq!(code, Some(0), "{error}");
    assert_eq!(again.trim_end(), shown);
}

#[test]
fn what_an_engine_ranked_is_ranked_again_from_its_journal_to_the_byte() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let config: PathBuf = folder.join("rekindle.yaml");
    let written = |more: &str| {
        format!(
            "state_dir: {:?}\nlisten: {{ grpc: \"127.0.0.1:0\", http: \"127.0.0.1:0\", api: \"127.0.0.1:0\" }}\n{more}",
            folder.join("state")
        )
    };
    std::fs::write(&config, written("")).expect("the configuration is written");
    let mut traffic = Traffic::default();
    let engine = Engine::start(&config, &folder.join("log-1"));
    // Some as they are usually, with a word about one of them and about what was done.
    let mut sent = 0;
    until("it knows what is usual", || {
        engine.send(&mut traffic, 10, None);
        sent += 1;
        if sent == 5 {
            let api = format!("http://{}/api/v1", engine.api);
            let trace = format!("{:032x}", 7u128.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c));
            let wrong = json!({"reporter": "crawler", "outcomes": [{"trace_id": trace, "outcome": "failed"}]});
            engine.post(format!("{api}/outcomes"), &wrong);
            let scaled = json!({"id": "more", "reporter": "hpa", "kind": "scaling", "target": {"service.name": "mail"}});
            engine.post(format!("{api}/interventions"), &scaled);
        }
        (engine.view().status.requests > 400).then_some(())
    });
    let first = until("an incident is ranked", || {
        engine.send(&mut traffic, 10, Some(2));
        let view = engine.view();
        view.open_incidents().map(|it| it.id).next()
    });
    let cut = until("its ranking is kept", || {
        engine.send(&mut traffic, 10, Some(2));
        kept(folder, first, 0)?.ranking.map(|it| it.cut)
    });
    until("a later one is kept", || {
        engine.send(&mut traffic, 10, Some(3));
        kept(folder, first, cut)
    });
    drop(engine);
    is_said_again(folder, &config, first);

    // Its successor, which reads what it left, goes on with it.
    let cut = kept(folder, first, 0)
        .and_then(|it| it.ranking)
        .expect("a ranking")
        .cut;
    // One that ends at once was blind before, and leaves the next one blind again.
    drop(Engine::start(&config, &folder.join("log-2")));
    let engine = Engine::start(&config, &folder.join("log-3"));
    until("the next engine ranks it", || {
        engine.send(&mut traffic, 10, Some(2));
        kept(folder, first, cut)
    });
    drop(engine);
    is_said_again(folder, &config, first);

    // Another method, for people.
    let number = first.to_string();
    let (code, said, error) = analyze(&config, &["--incident", &number, "--method", "ochiai"]);
    assert_eq!(code, Some(0), "{error}");
    assert!(said.contains("catalog"), "{said}");
    // Who counts otherwise is told so, and who asks for what isn't there.
    std::fs::write(&config, written("analysis: { min_failed: 4 }\n")).expect("written");
    let (code, _, error) = analyze(&config, &["--incident", &number]);
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains("counted otherwise"), "{error}");
    let (code, _, error) = analyze(&config, &["--incident", "4711"]);
    assert_eq!(code, Some(2), "{error}");
    // And what the journal has forgotten isn't made up.
    std::fs::write(&config, written("")).expect("written");
    let journal = std::fs::read_dir(folder.join("state/journal")).expect("a journal");
    let mut segments: Vec<PathBuf> = journal.flatten().map(|it| it.path()).collect();
    segments.retain(|it| it.extension().is_some_and(|it| it == "journal"));
    segments.sort();
    std::fs::remove_file(&segments[0]).expect("gone");
    let (code, _, error) = analyze(&config, &["--incident", &number]);
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains("no longer holds"), "{error}");
}
