//! What a snapshot shows besides what the engine knows itself: sockets, processes, memory, disk.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use rekindle_ingest::receive::IngestStats;
use rekindle_recovery::Mode;
use rekindle_recovery::process::{ChildStatus, Supervisor};

use crate::config::Config;
use crate::engine::Surroundings;
use crate::view::{HealthView, ListeningView, StatusView};

/// The daemon around the engine.
pub(super) struct Daemon {
    started: SystemTime,
    state_dir: PathBuf,
    mode: Mode,
    listening: ListeningView,
    stats: Arc<IngestStats>,
    supervisor: Arc<Supervisor>,
}

impl Daemon {
    pub(super) fn new(
        config: &Config,
        state_dir: PathBuf,
        [grpc, http, api]: [SocketAddr; 3],
        stats: Arc<IngestStats>,
        supervisor: Arc<Supervisor>,
    ) -> Self {
        Self {
            started: SystemTime::now(),
            state_dir,
            mode: config.restart.mode,
            listening: ListeningView {
                grpc: grpc.to_string(),
                http: http.to_string(),
                api: api.to_string(),
            },
            stats,
            supervisor,
        }
    }
}

impl Surroundings for Daemon {
    fn status(&self) -> StatusView {
        let uptime = SystemTime::now().duration_since(self.started).unwrap_or_default();
        let counts = self.stats.snapshot();
        let journal_errors = counts.journal_errors;
        StatusView {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: self.started.into(),
            uptime_ms: u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX),
            state_dir: self.state_dir.display().to_string(),
            mode: self.mode,
            listening: self.listening.clone(),
            dropped: counts.rejected(),
            memory_bytes: resident_bytes(),
            journal: HealthView {
                ok: counts.journal_writes,
                note: if journal_errors == 0 {
                    String::new()
                } else {
                    format!("{journal_errors} requests were answered `try again`: the journal could not be written")
                },
            },
            ledger: HealthView { ok: true, note: String::new() },
            ..StatusView::default()
        }
    }

    fn children(&self) -> Vec<ChildStatus> {
        self.supervisor.children()
    }
}

/// The memory that this process holds, as the kernel counts it.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
