//! Whoever is told to stop leaves nothing behind, at whatever moment: the daemon while the processes
//! that it supervises are still starting, and the demonstration half-way.

#[path = "support/listening.rs"]
mod listening;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use listening::listens_at;
use rustix::process::{Pid, Signal, kill_process};

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle");

/// More than any of this takes; only a failure waits for so long.
const PATIENCE: Duration = Duration::from_secs(120);

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(
            begun.elapsed() < PATIENCE,
            "not within {PATIENCE:?}: {what}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn ended(child: &mut Child, what: &str) -> ExitStatus {
    let mut status = None;
    until(what, || {
        status = child.try_wait().expect("it can be asked");
        status.is_some()
    });
    status.expect("it has ended")
}

/// The processes, other than `but`, whose command line names this.
fn naming(text: &str, but: u32) -> Vec<i32> {
    let entries = std::fs::read_dir("/proc").expect("proc");
    let ids = entries.flatten().filter_map(|entry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        let is_it = String::from_utf8_lossy(&line).contains(text);
        (is_it && u32::try_from(pid) != Ok(but)).then_some(pid)
    });
    ids.collect()
}

/// Kills what a failed test would leave.
struct Sweeper(String);

impl Drop for Sweeper {
    fn drop(&mut self) {
        for pid in naming(&self.0, std::process::id()) {
            if let Some(pid) = Pid::from_raw(pid) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}

fn tell(child: &Child) {
    kill_process(Pid::from_child(child), Signal::TERM).expect("it is told");
}

#[test]
fn a_daemon_that_is_stopped_while_its_children_start_stops_them() {
    let folder = tempfile::tempdir().expect("a folder");
    // Takes connections and says nothing: the child is never ready.
    let mute = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let mute = mute.local_addr().expect("an address");
    // An argument that nobody else has, to find the child by.
    let mark = format!("mark-of-{}", folder.path().display());
    let _sweeper = Sweeper(mark.clone());
    let config = folder.path().join("rekindle.yaml");
    let yaml = format!(
        "state_dir: {:?}\nlisten: {{ grpc: \"127.0.0.1:0\", http: \"127.0.0.1:0\", api: \"127.0.0.1:0\" }}\n\
         restart:\n  tree:\n    - unit: slow\n      match: {{ service.name: slow }}\n      \
         process: {{ command: [sh, -c, \"while :; do sleep 1; done\", {mark:?}] }}\n      \
         ready: {{ http: \"http://{mute}/\" }}\n      start_deadline: 10m\n",
        folder.path().join("state"),
    );
    std::fs::write(&config, yaml).expect("the configuration is written");
    let log = std::fs::File::create(folder.path().join("log")).expect("a log");
    let mut daemon = Command::new(BINARY)
        .args(["run", "--stop-children", "--config"])
        .arg(&config)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a second handle"))
        .stderr(log)
        .spawn()
        .expect("it starts");
    until("the child runs", || {
        assert!(daemon.try_wait().expect("asked").is_none(), "it runs on");
        !naming(&mark, daemon.id()).is_empty()
    });
    tell(&daemon);
    let status = ended(&mut daemon, "the daemon ends");
    let said = std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
    assert!(status.success(), "{status}: {said}");
    assert_eq!(naming(&mark, daemon.id()), [], "{said}");
}

/// What this prints with the answer of a daemon that listens there, once it is what is waited for.
fn asked(api: &str, words: &[&str], is_it: impl Fn(&str) -> bool) -> String {
    let mut said = String::new();
    until(&format!("{words:?}"), || {
        let asking = Command::new(BINARY)
            .args(words)
            .args(["--api", api])
            .output();
        let output = asking.expect("it can be asked");
        said = String::from_utf8_lossy(&output.stdout).into_owned();
        is_it(&said)
    });
    said
}

#[test]
fn what_others_said_of_a_unit_is_known_after_a_kill() {
    let folder = tempfile::tempdir().expect("a folder");
    let _sweeper = Sweeper(folder.path().display().to_string());
    let config = folder.path().join("rekindle.yaml");
    let yaml = format!(
        "state_dir: {:?}\nlisten: {{ grpc: \"127.0.0.1:0\", http: \"127.0.0.1:0\", api: \"127.0.0.1:0\" }}\n\
         restart:\n  tree:\n    - unit: shop\n      match: {{ service.name: shop }}\n      \
         command: {{ run: [\"true\"] }}\n",
        folder.path().join("state"),
    );
    std::fs::write(&config, yaml).expect("the configuration is written");
    let start = |name: &str| {
        let log = folder.path().join(name);
        let output = std::fs::File::create(&log).expect("a log");
        let mut daemon = Command::new(BINARY);
        daemon.args(["run", "--config"]).arg(&config);
        let daemon = daemon.stdin(Stdio::null()).stdout(Stdio::null());
        let daemon = daemon.stderr(output).spawn().expect("it starts");
        let mut api = None;
        until("it listens", || {
            api = listens_at(&log, "api");
            api.is_some()
        });
        (daemon, api.expect("said").to_string())
    };
    let is_said = |said: &str| said.contains("crawler says: the price is missing");
    let (mut daemon, api) = start("first.log");
    let body = r#"{"unit": "shop", "reporter": "crawler", "verdict": "sick", "detail": "the price is missing"}"#;
    let answer = post(&api, "/api/v1/reports", body);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    daemon.kill().expect("it can be killed");
    daemon.wait().expect("it ends");
    let (mut daemon, api) = start("second.log");
    asked(&format!("http://{api}"), &["suspects"], is_said);
    daemon.kill().expect("it can be killed");
    daemon.wait().expect("it ends");
}

/// Sends this, and gives the answer.
fn post(to: &str, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(to).expect("it listens");
    let length = body.len();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nhost: {to}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n{body}"
    )
    .expect("it is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder)
        .expect("it can be read")
        .next()
        .is_none()
}

#[test]
fn a_demonstration_that_is_interrupted_takes_everything_with_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let name = folder.path().display().to_string();
    let _sweeper = Sweeper(name.clone());
    let mut demo = Command::new(BINARY)
        .args(["demo", "--fast"])
        .env("TMPDIR", folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    // The engine and the five processes of the site.
    until("the site runs", || naming(&name, demo.id()).len() >= 6);
    tell(&demo);
    let status = ended(&mut demo, "the demonstration ends");
    assert_eq!(status.code(), Some(1), "{status}");
    assert_eq!(naming(&name, demo.id()), []);
    assert!(is_empty(folder.path()), "its folders are gone");
    let output = demo.wait_with_output().expect("what it said");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("interrupted"), "{said}");
}
