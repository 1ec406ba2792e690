//! What comes from outside is wrong in every way: each gets its right answer, and the engine goes on.

#[path = "support/listening.rs"]
mod listening;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use listening::listens_at;

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle");
const PATIENCE: Duration = Duration::from_secs(60);

/// A proxy for the web has no business on loopback.
fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder().proxy(None);
    config.build().new_agent()
}

/// A running daemon without a restart tree of its own, killed at the end.
struct Daemon {
    child: Child,
    http: SocketAddr,
    api: SocketAddr,
    log: PathBuf,
}

impl Daemon {
    fn start(folder: &Path, state: &Path, more: &str) -> Self {
        Self::start_by(Command::new(BINARY), folder, state, more)
    }

    /// As [`Self::start`], by a command that becomes the daemon.
    fn start_by(mut command: Command, folder: &Path, state: &Path, more: &str) -> Self {
        let config = folder.join("rekindle.yaml");
        let yaml = format!(
            "state_dir: {state:?}\n\
             listen: {{ grpc: \"127.0.0.1:0\", http: \"127.0.0.1:0\", api: \"127.0.0.1:0\" }}\n{more}"
        );
        std::fs::write(&config, yaml).expect("the configuration is written");
        let log = folder.join("log");
        let output = std::fs::File::create(&log).expect("a log");
        let child = command
            .arg("run")
            .arg("--config")
            .arg(&config)
            .arg("--stop-children")
            .stdout(output.try_clone().expect("a second handle"))
            .stderr(output)
            .spawn()
            .expect("it starts");
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut daemon = Self {
            child,
            http: nowhere,
            api: nowhere,
            log,
        };
        daemon.until("it listens", |daemon| {
            listens_at(&daemon.log, "api").is_some()
        });
        daemon.http = listens_at(&daemon.log, "http").expect("said beside it");
        daemon.api = listens_at(&daemon.log, "api").expect("said");
        daemon.until("it is ready", |daemon| daemon.get("/-/ready").is_ok());
        daemon
    }

    fn until(&self, what: &str, done: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !done(self) {
            let said = std::fs::read_to_string(&self.log).unwrap_or_default();
            assert!(
                begun.elapsed() < PATIENCE,
                "not within {PATIENCE:?}: {what}; it said:\n{said}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn get(&self, path: &str) -> Result<serde_json::Value, ureq::Error> {
        let mut answer = agent().get(format!("http://{}{path}", self.api)).call()?;
        let text = answer
            .body_mut()
            .with_config()
            .limit(64 << 20)
            .read_to_string()?;
        Ok(serde_json::from_str(&text).unwrap_or(serde_json::Value::Null))
    }

    /// The status of a POST to the OTLP/HTTP port.
    fn post(&self, content_type: &str, encoding: Option<&str>, body: &[u8]) -> u16 {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .build()
            .new_agent();
        let mut request = agent
            .post(format!("http://{}/v1/traces", self.http))
            .header("Content-Type", content_type);
        if let Some(encoding) = encoding {
            request = request.header("Content-Encoding", encoding);
        }
        request.send(body).expect("an answer").status().as_u16()
    }

    /// A good request is taken and seen: whatever came before did no harm.
    fn serves(&self, service: &str) {
        let body = good_request(service);
        assert_eq!(self.post("application/json", None, body.as_bytes()), 200);
        self.until("the request is counted", |daemon| {
            let view = daemon.get("/api/v1/view").expect("a view");
            let types = view["request_types"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            types
                .iter()
                .any(|one| one["name"] == format!("{service} GET /"))
        });
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn good_request(service: &str) -> String {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970")
        .as_nanos();
    format!(
        r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"{service}"}}}}]}},
        "scopeSpans":[{{"spans":[{{"traceId":"{now:032x}","spanId":"{now:016x}",
        "name":"GET /","kind":2,"startTimeUnixNano":"{now}","endTimeUnixNano":"{now}",
        "attributes":[{{"key":"http.request.method","value":{{"stringValue":"GET"}}}},
        {{"key":"http.route","value":{{"stringValue":"/"}}}}]}}]}}]}}]}}"#
    )
}

#[test]
fn malformed_and_oversized_requests_get_their_status_and_harm_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let daemon = Daemon::start(folder.path(), &folder.path().join("state"), "");
    let cases: [(&str, Option<&str>, &[u8], u16); 7] = [
        ("application/x-protobuf", None, b"\xff\xff\xff\xff", 400),
        ("application/json", None, b"{\"resourceSpans\": 7}", 400),
        ("application/json", None, b"\xff\xfe", 400),
        (
            "application/x-protobuf",
            Some("gzip"),
            b"no gzip at all",
            400,
        ),
        ("application/x-protobuf", Some("br"), b"", 415),
        ("text/plain", None, b"hello", 415),
        ("application/x-protobuf", None, b"", 200),
    ];
    for (content_type, encoding, body, status) in cases {
        assert_eq!(
            daemon.post(content_type, encoding, body),
            status,
            "{content_type} {encoding:?}"
        );
    }
    daemon.serves("after-malformed");

    // 100 MiB: refused by what the head says, without being read.
    let mut socket = TcpStream::connect(daemon.http).expect("connected");
    let head = format!(
        "POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\nContent-Length: {}\r\n\r\n",
        100 << 20
    );
    socket.write_all(head.as_bytes()).expect("sent");
    socket.set_read_timeout(Some(PATIENCE)).expect("set");
    let mut answer = [0; 12];
    socket.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 413");

    // A bomb: 100 MiB of zeroes in 100 KiB.
    let bomb = gzip_of_zeroes(100 << 20);
    assert!(bomb.len() < 1 << 20);
    assert_eq!(
        daemon.post("application/x-protobuf", Some("gzip"), &bomb),
        413
    );
    daemon.serves("after-bomb");
}

/// A gzip file of this many zeroes, made of stored facts about the format (RFC 1951, 1952): a fixed
/// Huffman block with one literal zero and matches of length 258 at distance 1.
fn gzip_of_zeroes(size: usize) -> Vec<u8> {
    let mut bits = Vec::new();
    let mut push = |value: u32, count: u32| {
        for index in 0..count {
            bits.push(value >> index & 1 == 1);
        }
    };
    let reversed = |code: u32, count: u32| code.reverse_bits() >> (32 - count);
    push(1, 1);
    push(1, 2);
    push(reversed(0x30, 8), 8);
    for _ in 0..size / 258 {
        push(reversed(0b1100_0101, 8), 8);
        push(0, 5);
    }
    push(0, 7);
    let mut bytes = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    for chunk in bits.chunks(8) {
        let byte = chunk
            .iter()
            .enumerate()
            .fold(0, |sum, (index, bit)| sum | u8::from(*bit) << index);
        bytes.push(byte);
    }
    // Checksum and size are wrong, which nobody may come to see.
    bytes.extend([0; 8]);
    bytes
}

fn check_config(folder: &Path, yaml: &str) -> Output {
    let path = folder.join("checked.yaml");
    std::fs::write(&path, yaml).expect("written");
    Command::new(BINARY)
        .arg("check-config")
        .arg(&path)
        .stdin(Stdio::null())
        .output()
        .expect("it runs")
}

#[test]
fn wrong_trees_are_refused_with_the_names_of_what_is_wrong() {
    let folder = tempfile::tempdir().expect("a folder");
    let cases = [
        (
            "two units that match the same component",
            "restart:\n  tree:\n    - unit: shop\n      units:\n        \
             - unit: one\n          match: { service.name: catalog }\n          command: { run: [\"true\"] }\n        \
             - unit: two\n          match: { service.name: catalog }\n          command: { run: [\"true\"] }\n",
            ["one", "two"],
        ),
        (
            "the same name above and below itself, which would be a cycle",
            "restart:\n  tree:\n    - unit: shop\n      command: { run: [\"true\"] }\n      units:\n        \
             - unit: shop\n          command: { run: [\"true\"] }\n",
            ["shop", "name"],
        ),
        (
            "a unit that nothing restarts",
            "restart:\n  mode: propose\n  tree:\n    - unit: shop\n      units:\n        - unit: idle\n          match: { service.name: idle }\n",
            ["idle", "restart"],
        ),
    ];
    for (what, yaml, words) in cases {
        let output = check_config(folder.path(), yaml);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(64), "{what}: {said}");
        for word in words {
            assert!(said.contains(word), "{what}: {word:?} is not in: {said}");
        }
    }
}

#[test]
fn a_command_that_does_not_exist_and_a_probe_that_never_answers_are_told() {
    let folder = tempfile::tempdir().expect("a folder");
    // Takes connections and says nothing, for ever.
    let mute = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let mute_address = mute.local_addr().expect("an address");
    let more = format!(
        "restart:\n  mode: auto\n  tree:\n    - unit: shop\n      units:\n        \
         - unit: gone\n          match: {{ service.name: gone }}\n          command: {{ run: [/no/such/program] }}\n        \
         - unit: mute\n          match: {{ service.name: mute }}\n          command: {{ run: [\"true\"] }}\n          \
         ready: {{ http: \"http://{mute_address}/\" , timeout: 200ms }}\n          start_deadline: 1s\n"
    );
    let daemon = Daemon::start(folder.path(), &folder.path().join("state"), &more);
    for (unit, words) in [("gone", "/no/such/program"), ("mute", "not")] {
        let answer = agent()
            .post(format!("http://{}/api/v1/units/{unit}/restart", daemon.api))
            .send_json(serde_json::json!({ "by": "test", "reason": "test", "dry_run": false }))
            .expect("it is begun");
        assert!(answer.status().is_success());
        daemon.until(&format!("{unit} has its result"), |daemon| {
            let view = daemon.get("/api/v1/view").expect("a view");
            let actions = view["recovery"]["actions"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            actions.iter().any(|action| {
                action["unit"] == unit
                    && action["note"]
                        .as_str()
                        .is_some_and(|note| note.contains(words))
            })
        });
    }
    daemon.serves("after-restarts");
    drop(mute);
}

/// A file system of a few megabytes, unmounted at the end.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where this user may not mount.
    fn mount(at: PathBuf) -> Option<Self> {
        std::fs::create_dir(&at).expect("a folder");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=6m", "none"])
            .arg(&at)
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        mounted.then_some(Self(at))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Needs no rights, so it runs everywhere: what the disk does when it is full, the limit on a file's
/// size does to the journal.
#[test]
fn a_journal_that_may_not_grow_is_a_retryable_answer_and_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new("sh");
    // 2 MiB in blocks of 512 bytes. The signal that comes with the refusal would end the process.
    let limited = "trap '' XFSZ; ulimit -f 4096; exec \"$0\" \"$@\"";
    command.args(["-c", limited, BINARY]);
    let daemon = Daemon::start_by(command, folder.path(), &folder.path().join("state"), "");
    daemon.serves("before-full");
    // Spans that are kept in the journal and not worth much more.
    let padding = "x".repeat(200 << 10);
    let body = good_request("padded").replace("\"GET /\"", &format!("\"GET /{padding}\""));
    daemon.until("the exporter is told to come again", |daemon| {
        daemon.post("application/json", None, body.as_bytes()) == 503
    });
    daemon.until("it is not ready, and says why", |daemon| {
        let ready = format!("http://{}/-/ready", daemon.api);
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None);
        let mut answer = agent
            .build()
            .new_agent()
            .get(ready)
            .call()
            .expect("it answers");
        let said = answer.body_mut().read_to_string().expect("text");
        answer.status() == 503 && said.contains("the journal can't be written")
    });
    let view = daemon.get("/api/v1/view").expect("it still answers");
    assert!(view["status"]["version"].is_string());
}

#[test]
fn a_full_disk_is_a_retryable_answer_and_is_recovered_from() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(disk) = SmallDisk::mount(folder.path().join("disk")) else {
        // Not by `eprintln!`, which the test's harness swallows when all is well.
        let said = "skipped: a full disk can't be had, since nothing can be mounted here (it takes \
                    root); a file that may not grow was tested instead\n";
        let _ = std::io::stderr().lock().write_all(said.as_bytes());
        return;
    };
    let daemon = Daemon::start(folder.path(), &disk.0.join("state"), "");
    daemon.serves("before-full");
    let ballast = disk.0.join("ballast");
    let mut file = std::fs::File::create(&ballast).expect("a file");
    while file.write_all(&[0; 4096]).is_ok() {}
    let body = good_request("while-full");
    daemon.until("the exporter is told to come again", |daemon| {
        daemon.post("application/json", None, body.as_bytes()) == 503
    });
    let view = daemon.get("/api/v1/view").expect("it still answers");
    assert!(view["status"]["version"].is_string());
    drop(file);
    std::fs::remove_file(&ballast).expect("room again");
    daemon.until("it takes requests again", |daemon| {
        daemon.post("application/json", None, body.as_bytes()) == 200
    });
    daemon.serves("after-full");
}
