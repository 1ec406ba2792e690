//! A disk that is really full: a file system of its own, in a name space where everybody may mount one.
//! What comes goes on being kept, at the cost of what is oldest; and whoever is killed then starts again.

use std::fs::File;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rekindle::view::View;

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle");

/// More than any of this takes; only a failure waits for so long.
const PATIENCE: Duration = Duration::from_secs(240);

/// Of the disk. The journal leaves a sixteenth to others.
const DISK_MIB: u64 = 24;

/// What is started here ends with the test.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A disk of its own, which lives as long as the process that mounted it.
struct Disk {
    holder: Ends,
    folder: PathBuf,
}

impl Disk {
    /// `None` where nobody may mount one.
    fn mount(folder: &Path) -> Option<Self> {
        let sign = folder.join("mounted");
        let script = "mount -t tmpfs -o size=\"$1\"m none \"$2\" && : > \"$3\" && exec sleep 3600";
        let folder = folder.join("disk");
        std::fs::create_dir(&folder).expect("a folder");
        let child = Command::new("unshare")
            .args([
                "--user",
                "--map-root-user",
                "--mount",
                "sh",
                "-c",
                script,
                "sh",
            ])
            .arg(DISK_MIB.to_string())
            .args([&folder, &sign])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut holder = Ends(child);
        while !sign.exists() {
            if holder.0.try_wait().expect("asked").is_some() {
                return None;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(Self { holder, folder })
    }

    /// The disk's folder as it is seen from here.
    fn seen(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.0.id()));
        root.join(self.folder.strip_prefix("/").expect("absolute"))
    }

    fn available(&self) -> u64 {
        let disk = rustix::fs::statvfs(self.seen()).expect("it can be asked");
        disk.f_bavail * disk.f_frsize
    }

    /// Somebody else takes all that is left.
    fn fill(&self) {
        let mut file = File::options()
            .create(true)
            .append(true)
            .open(self.seen().join("somebody-elses.log"))
            .expect("it is made");
        while file.write_all(&[1; 4096]).is_ok() {}
        // What the engine gave back meanwhile.
        assert!(self.available() < 128 << 10, "{}", self.available());
    }

    fn run(&self, config: &Path, log: &Path) -> Ends {
        let log = File::create(log).expect("a log");
        let child = Command::new("nsenter")
            .args(["--user", "--mount", "--preserve-credentials", "--target"])
            .arg(self.holder.0.id().to_string())
            .args([BINARY, "run", "--config"])
            .arg(config)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("it starts");
        Ends(child)
    }
}

fn view(api: &str) -> Option<View> {
    let asked = ureq::get(format!("http://{api}/api/v1/view")).config();
    let asked = asked
        .timeout_global(Some(Duration::from_secs(20)))
        .proxy(None);
    let mut answer = asked.build().call().ok()?;
    answer.body_mut().read_json().ok()
}

/// Sends made-up traces for some seconds.
fn load(http: &str) {
    let sent = Command::new(BINARY)
        .args(["load", "--to", http, "--rate", "20000", "--for", "3s"])
        .output()
        .expect("it runs");
    assert!(sent.status.success(), "{sent:?}");
}

#[test]
fn a_full_disk_costs_what_is_oldest_and_no_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(disk) = Disk::mount(folder.path()) else {
        println!("skipped: no file system can be mounted here (unshare --user --mount)");
        return;
    };
    let ports: Vec<TcpListener> = (0..3)
        .map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port"))
        .collect();
    let at = |index: usize| {
        let address: std::net::SocketAddr = ports[index].local_addr().expect("an address");
        address.to_string()
    };
    let (grpc, http, api) = (at(0), at(1), at(2));
    drop(ports);
    let config = folder.path().join("rekindle.yaml");
    let yaml = format!(
        "state_dir: {:?}\nlisten: {{ grpc: \"{grpc}\", http: \"{http}\", api: \"{api}\" }}\n",
        disk.folder.join("state"),
    );
    std::fs::write(&config, yaml).expect("the configuration is written");

    let (first, second) = (
        folder.path().join("first.log"),
        folder.path().join("second.log"),
    );
    let answers = |engine: &mut Ends, log: &Path| -> View {
        let begun = Instant::now();
        loop {
            // One of before its first look at itself says nothing.
            if let Some(view) = view(&api).filter(|it| !it.status.version.is_empty()) {
                return view;
            }
            let said = || std::fs::read_to_string(log).unwrap_or_default();
            let ended = engine.0.try_wait().expect("asked");
            assert!(ended.is_none(), "{ended:?}: {}", said());
            assert!(begun.elapsed() < PATIENCE, "no answer: {}", said());
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    let mut engine = disk.run(&config, &first);
    answers(&mut engine, &first);

    // More than the disk holds.
    let begun = Instant::now();
    let full = loop {
        load(&http);
        let view = answers(&mut engine, &first);
        if view.status.journal.note.contains("the disk has room for") {
            break view;
        }
        assert!(begun.elapsed() < PATIENCE, "{:?}", view.status);
    };
    assert!(full.status.journal.ok, "{:?}", full.status);
    for _ in 0..3 {
        load(&http);
        assert!(disk.available() > 1 << 20, "{}", disk.available());
    }
    let nothing_refused = |view: &View| {
        let refused = view.status.dropped.get("requests_not_kept");
        assert_eq!(refused, None, "{:?}", view.status);
    };
    nothing_refused(&answers(&mut engine, &first));

    disk.fill();
    load(&http);
    nothing_refused(&answers(&mut engine, &first));
    disk.fill();
    drop(engine);
    let mut engine = disk.run(&config, &second);
    let view = answers(&mut engine, &second);
    assert!(
        view.status.ledger.ok && view.status.journal.ok,
        "{:?}",
        view.status
    );
    load(&http);
    let view = answers(&mut engine, &second);
    assert!(view.status.spans > 0, "{:?}", view.status);
}
