//! What does a post-mortem need that a restart destroys?
//!
//! How the unit's processes stood (memory, processor time, open files, threads), the end of what they
//! printed, requests that failed in it beside ones that didn't, and what a command of the operator's
//! said: a thread dump, a heap histogram, a list of sockets. Bounded in time and in size, each by
//! itself, and what couldn't be had is said. Taken before the restart, written while it goes on.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};

use super::cabinet::Cabinet;
use crate::command::{self, ACTION_VARIABLE};
use crate::executor::Permit;
use crate::process::{
    ChildStatus, GENERATION_VARIABLE, ProcessFigures, Supervisor, UNIT_VARIABLE, group_figures,
    log_end, log_path,
};
use crate::{CommandSpec, UnitName};

/// How long a look at the processes and the traces may take: both are in memory, and it mostly takes
/// milliseconds. On a host that is busy with everything else it takes longer, and on one that takes this
/// long users should not wait for a post-mortem.
pub(super) const LOOK: Duration = Duration::from_secs(2);
/// As much of a command's output as is kept: a thread dump of some hundred threads.
const MAX_OUTPUT_BYTES: usize = 256 * 1024;
/// As much of the end of what a process printed as is kept: some hundred lines.
const MAX_LOG_BYTES: u64 = 32 * 1024;
/// Traces that are kept: a few that failed and a few to compare them with.
const MAX_TRACES: usize = 6;
/// All traces together, as JSON: a trace of a thousand spans is shown elsewhere while it is remembered.
const MAX_TRACE_BYTES: usize = 512 * 1024;

/// Somebody who remembers requests.
pub trait Witness: Send + Sync {
    /// Requests that speak about the unit, worst first, as JSON; of the incident, where one is meant.
    /// Must return at once: what is asked for is in memory.
    fn traces(
        &self,
        unit: &UnitName,
        incident: Option<u64>,
        at_most: usize,
    ) -> Vec<serde_json::Value>;
}

/// Remembers nothing: for tests, and until the daemon has an analysis.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoWitness;

impl Witness for NoWitness {
    fn traces(&self, _: &UnitName, _: Option<u64>, _: usize) -> Vec<serde_json::Value> {
        Vec::new()
    }
}

/// What was saved before one restart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PostMortem {
    /// The action that destroyed the rest.
    pub action: u64,
    /// The incident that it was for.
    pub incident: Option<u64>,
    /// The unit.
    pub unit: UnitName,
    /// The generation of the life that followed.
    pub next_generation: u64,
    /// When it was saved.
    pub at: SystemTime,
    /// How long that took, in milliseconds.
    pub took_ms: u64,
    /// What the configured command said; `None` where none is configured.
    pub command: Option<CommandSaid>,
    /// The unit's processes, or those of the process that it is a part of.
    pub processes: Vec<ProcessFigures>,
    /// The end of what they printed.
    pub log: String,
    /// Requests that speak about it.
    pub traces: Vec<serde_json::Value>,
    /// What could not be had, and why.
    pub missing: Vec<String>,
}

/// What a command said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandSaid {
    /// Program and arguments.
    pub command: Vec<String>,
    /// How it ended.
    pub end: String,
    /// What it printed, from the beginning.
    pub output: String,
    /// How much of it isn't kept, in bytes.
    pub cut_bytes: u64,
}

/// Saves what one unit's restarts would destroy.
#[derive(Clone)]
pub(crate) struct Saver {
    pub(crate) supervisor: Arc<Supervisor>,
    /// The unit whose process it is or is a part of; `None` when nobody supervises it.
    pub(crate) process: Option<UnitName>,
    /// Whether the unit is that process, rather than a part of it.
    pub(crate) is_process: bool,
    pub(crate) logs: PathBuf,
    pub(crate) witness: Arc<OnceLock<Arc<dyn Witness>>>,
    pub(crate) cabinet: Arc<Cabinet>,
}

impl Saver {
    /// Whether the unit is certainly down.
    pub(super) fn is_down(&self) -> bool {
        self.is_process && self.pid().is_none()
    }

    fn pid(&self) -> Option<i32> {
        self.child()?.pid
    }

    /// The life that the supervised process is in, which the unit is or is a part of.
    pub(super) fn life_of_process(&self) -> Option<u64> {
        let child = self.child()?;
        child.pid.map(|_| child.generation)
    }

    fn child(&self) -> Option<ChildStatus> {
        let process = self.process.as_ref()?;
        let children = self.supervisor.children();
        children.into_iter().find(|child| child.unit == *process)
    }

    /// Takes down how things stand. Never takes longer than the command's time-out or [`LOOK`].
    pub(super) async fn look(&self, permit: &Permit, command: Option<&CommandSpec>) -> PostMortem {
        let began = Instant::now();
        let mut found = PostMortem {
            action: permit.action().0,
            incident: permit.incident(),
            unit: permit.unit().clone(),
            next_generation: permit.generation(),
            at: SystemTime::now(),
            took_ms: 0,
            command: None,
            processes: Vec::new(),
            log: String::new(),
            traces: Vec::new(),
            missing: Vec::new(),
        };
        let (said, seen) = tokio::join!(self.run(permit, command), self.see(permit));
        found.command = said;
        match seen {
            Some(seen) => {
                found.processes = seen.processes;
                found.log = seen.log;
                found.traces = seen.traces;
                found.missing = seen.missing;
            }
            None => found.missing.push(format!(
                "processes, log and traces: they could not be looked at within {LOOK:?}"
            )),
        }
        found.took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        found
    }

    async fn run(&self, permit: &Permit, spec: Option<&CommandSpec>) -> Option<CommandSaid> {
        let spec = spec?;
        let mut environment = vec![
            (UNIT_VARIABLE, permit.unit().to_string()),
            (ACTION_VARIABLE, permit.action().to_string()),
            (GENERATION_VARIABLE, permit.generation().to_string()),
        ];
        if let Some(pid) = self.pid() {
            environment.push(("REKINDLE_PID", pid.to_string()));
        }
        if let Some(incident) = permit.incident() {
            environment.push(("REKINDLE_INCIDENT", incident.to_string()));
        }
        let (end, printed) =
            command::run_keeping(&spec.command, &environment, spec.timeout, MAX_OUTPUT_BYTES).await;
        Some(CommandSaid {
            command: spec.command.clone(),
            end: end.to_string(),
            output: printed.text,
            cut_bytes: printed.cut_bytes,
        })
    }

    async fn see(&self, permit: &Permit) -> Option<Seen> {
        let (pid, log) = (self.pid(), self.process.as_ref());
        let log = log.map(|process| log_path(process, &self.logs));
        let (unit, incident) = (permit.unit().clone(), permit.incident());
        let witness = self.witness.get().map(Arc::clone);
        let looking = tokio::task::spawn_blocking(move || {
            let mut seen = Seen::default();
            match pid {
                Some(pid) => seen.processes = group_figures(pid),
                None => seen
                    .missing
                    .push("processes: none is supervised".to_owned()),
            }
            if let Some(log) = log {
                match tail(&log) {
                    Ok(text) => seen.log = text,
                    Err(error) => seen.missing.push(format!("log: {error}")),
                }
            }
            if let Some(witness) = witness {
                seen.take_traces(witness.traces(&unit, incident, MAX_TRACES));
            }
            seen
        });
        tokio::time::timeout(LOOK, looking).await.ok()?.ok()
    }

    /// Keeps it.
    ///
    /// # Errors
    ///
    /// Why it could not be written.
    pub(super) async fn keep(&self, found: PostMortem) -> Result<(), String> {
        let cabinet = Arc::clone(&self.cabinet);
        let kept = tokio::task::spawn_blocking(move || cabinet.keep(&found)).await;
        kept.map_err(|error| error.to_string())?
            .map_err(|error| error.to_string())
    }
}

#[derive(Default)]
struct Seen {
    processes: Vec<ProcessFigures>,
    log: String,
    traces: Vec<serde_json::Value>,
    missing: Vec<String>,
}

impl Seen {
    fn take_traces(&mut self, traces: Vec<serde_json::Value>) {
        let mut left = MAX_TRACE_BYTES;
        let mut too_long = 0_u32;
        for trace in traces.into_iter().take(MAX_TRACES) {
            let size = trace.to_string().len();
            match left.checked_sub(size) {
                Some(rest) => {
                    left = rest;
                    self.traces.push(trace);
                }
                None => too_long += 1,
            }
        }
        if too_long > 0 {
            let wrong = format!("{too_long} traces: they are longer than what is kept");
            self.missing.push(wrong);
        }
    }
}

/// The end of a file, from the beginning of a line.
fn tail(path: &Path) -> std::io::Result<String> {
    let (text, is_cut) = log_end(path, 0, MAX_LOG_BYTES)?;
    Ok(match text.split_once('\n') {
        Some((_cut, rest)) if is_cut => rest.to_owned(),
        _ => text,
    })
}
