//! One process of the site in a container, where there is an engine for it: podman and runc, as root.
//!
//! The engine is one of the demonstration's own, with its storage in the case's folder, so that nobody's
//! containers are touched and nothing is left. Its image is empty: program, libraries and data are
//! mounted from this machine, which makes it ready in a second and needs no registry.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rekindle_datasets::auction::ServiceName;
use rekindle_datasets::deployment::Deployment;

use super::interrupt::Interrupt;

/// How long the service may take to start in its container; the first start makes its data.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// How long the engine may take to open its socket.
const SOCKET_DEADLINE: Duration = Duration::from_secs(20);

/// The image's name; it is no registry's.
const IMAGE: &str = "localhost/rekindle-demo";

/// What programs of this machine are linked with.
const LIBRARIES: [&str; 4] = ["/lib", "/lib64", "/usr/lib", "/usr/lib64"];

/// Why there can't be containers here; `None` where there can.
pub(super) fn missing() -> Option<String> {
    let mut missing: Vec<&str> = Vec::new();
    for program in ["podman", "runc"] {
        let there = Command::new(program)
            .arg("--version")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if !there.is_ok_and(|status| status.success()) {
            missing.push(program);
        }
    }
    if !rustix::process::geteuid().is_root() {
        missing.push("root");
    }
    (!missing.is_empty()).then(|| format!("no container engine (it takes {})", missing.join(", ")))
}

/// A running engine with a container in it. Both end when this is dropped.
#[derive(Debug)]
pub(super) struct Containers {
    folder: PathBuf,
    service: Child,
}

/// Where the engine of a case listens.
pub(super) fn socket(folder: &Path) -> PathBuf {
    folder.join("podman.sock")
}

impl Containers {
    /// Starts an engine, and the service of the site in a container of its name.
    pub(super) fn start(
        folder: &Path,
        site: &Deployment,
        service: ServiceName,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Self> {
        let empty = folder.join("image");
        for name in ["tmp", "proc", "sys", "dev", "etc", "run"] {
            std::fs::create_dir_all(empty.join(name)).context("making an empty image")?;
        }
        // runc can't raise the limits that podman asks for where its parent's are lower.
        std::fs::write(
            folder.join("containers.conf"),
            "[containers]\ndefault_ulimits = [\"nofile=1000:1000\", \"nproc=1000:1000\"]\n",
        )
        .context("writing containers.conf")?;
        let packed = folder.join("image.tar");
        let tar = Command::new("tar")
            .arg("-C")
            .arg(&empty)
            .arg("-cf")
            .arg(&packed)
            .arg(".")
            .status()
            .context("packing an empty image with tar")?;
        if !tar.success() {
            bail!("packing an empty image with tar ended with {tar}");
        }
        let socket = socket(folder);
        let mut engine = engine(folder);
        engine.args(["system", "service", "--time", "0"]);
        engine.arg(format!("unix://{}", socket.display()));
        let service_process = engine
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("starting podman")?;
        let containers = Self {
            folder: folder.to_owned(),
            service: service_process,
        };
        let packed = packed.display().to_string();
        containers.tell(&["import", "--quiet", &packed, IMAGE])?;
        let begun = Instant::now();
        while !socket.exists() {
            if begun.elapsed() > SOCKET_DEADLINE {
                bail!("podman did not open {} in time", socket.display());
            }
            interrupt.sleep(Duration::from_millis(20))?;
        }
        let mut run: Vec<String> = ["run", "--detach", "--network", "host", "--pid", "host"]
            .map(str::to_owned)
            .to_vec();
        let mut option = |name: &str, value: String| run.extend([format!("--{name}"), value]);
        option("name", service.to_string());
        let command = site.command(service);
        let program = command.first().cloned().unwrap_or_default();
        option("volume", format!("{program}:{program}:ro"));
        for library in LIBRARIES.iter().filter(|path| Path::new(path).exists()) {
            option("volume", format!("{library}:{library}:ro"));
        }
        let data = folder.display();
        option("volume", format!("{data}:{data}"));
        run.push(IMAGE.to_owned());
        run.extend(command);
        let run: Vec<&str> = run.iter().map(String::as_str).collect();
        containers.tell(&run)?;
        // The engine must find it well: it doesn't know that somebody else is just starting it.
        let is_up = || {
            let status = site.status(service);
            status.is_ok_and(|status| status.components.iter().all(|component| component.up))
        };
        while !is_up() {
            if begun.elapsed() > START_DEADLINE {
                bail!("{service} did not come up in its container in time");
            }
            interrupt.sleep(Duration::from_millis(50))?;
        }
        Ok(containers)
    }

    fn tell(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        let said = engine(&self.folder)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .context("asking podman")?;
        if !said.status.success() {
            bail!(
                "podman {} ended with {}: {}",
                arguments.first().unwrap_or(&""),
                said.status,
                String::from_utf8_lossy(&said.stderr).trim()
            );
        }
        Ok(said)
    }
}

/// podman with storage of our own.
fn engine(folder: &Path) -> Command {
    let mut engine = Command::new("podman");
    engine
        .env("CONTAINERS_CONF", folder.join("containers.conf"))
        .arg("--root")
        .arg(folder.join("storage"))
        .arg("--runroot")
        .arg(folder.join("run"))
        .args(["--storage-driver", "vfs", "--runtime", "runc"])
        .args(["--cgroup-manager", "cgroupfs"]);
    engine
}

impl Drop for Containers {
    fn drop(&mut self) {
        // Whatever of this fails, the rest is still worth trying.
        let _ = self.tell(&["rm", "--all", "--force", "--time", "0"]);
        let _ = self.tell(&["umount", "--all"]);
        let _ = self.service.kill();
        let _ = self.service.wait();
    }
}
