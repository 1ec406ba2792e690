//! What a snapshot shows besides what the engine knows itself: sockets, processes, memory, disk.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rekindle_ingest::journal::Allowance;
use rekindle_ingest::receive::{IngestCounts, IngestStats, TurnedAway};
use rekindle_recovery::process::{ChildStatus, Supervisor};
use rekindle_recovery::rejuvenate::RuleStatus;
use rekindle_recovery::template::Growing;
use rekindle_recovery::watch::{Look, Standing, Watcher};
use rekindle_recovery::{LiveTree, Mode, RestartTree, UnitName};
use tokio::sync::watch;

use super::store::StoreHealth;
use crate::api::Unheard;
use crate::engine::Surroundings;
use crate::view::{
    GrowingView, HealthView, ListeningView, RefusedView, RejuvenationView, StatusView,
    WatchStanding, WatchView,
};
use crate::words;

/// How long after the last request that the journal could not keep it is said to fail: exporters
/// come again every few seconds.
const STILL_FAILING: Duration = Duration::from_secs(15);

/// The daemon around the engine.
pub(super) struct Daemon {
    started: SystemTime,
    state_dir: PathBuf,
    tree: LiveTree,
    listening: ListeningView,
    parts: Watched,
    /// How many requests the journal had not kept when that was last news, and when.
    not_kept: Mutex<(u64, Option<SystemTime>)>,
}

/// The daemon's parts whose state is shown.
pub(super) struct Watched {
    /// What the journal may have at present, and its quota.
    pub(super) journal: (Allowance, u64),
    /// What came in.
    pub(super) stats: Arc<IngestStats>,
    /// Who runs the processes.
    pub(super) supervisor: Arc<Supervisor>,
    /// Who looks at units' figures.
    pub(super) watcher: Arc<Watcher>,
    /// The span store, where there is one.
    pub(super) store: Option<StoreHealth>,
    /// What the rules of rejuvenation are at.
    pub(super) rejuvenation: watch::Receiver<Arc<Vec<RuleStatus>>>,
    /// How it stands with what grows.
    pub(super) growing: watch::Receiver<Arc<Vec<Growing>>>,
    /// Who spoke without being allowed to.
    pub(super) unheard: Arc<Unheard>,
}

impl Daemon {
    pub(super) fn new(
        tree: LiveTree,
        state_dir: PathBuf,
        [grpc, http, api]: [SocketAddr; 3],
        parts: Watched,
    ) -> Self {
        Self {
            started: SystemTime::now(),
            state_dir,
            tree,
            listening: ListeningView {
                grpc: grpc.to_string(),
                http: http.to_string(),
                api: api.to_string(),
            },
            parts,
            not_kept: Mutex::new((0, None)),
        }
    }

    /// Everything that came in and was not used as it came, by the counter's name.
    fn not_used(&self, counts: &IngestCounts) -> BTreeMap<String, u64> {
        let mut dropped = not_used(counts);
        let events = ("child_events", self.parts.supervisor.events_dropped());
        for (reason, count) in self.parts.unheard.counts().into_iter().chain([events]) {
            if count > 0 {
                dropped.insert(reason.to_owned(), count);
            }
        }
        let growing = self.parts.growing.borrow();
        let left_out: usize = growing.iter().map(|it| it.left_out + it.unfit).sum();
        if left_out > 0 {
            dropped.insert("instances that are no units".to_owned(), left_out as u64);
        }
        dropped
    }

    /// Whose telemetry is refused at present.
    fn refused(&self) -> Vec<RefusedView> {
        let turned_away = self.parts.stats.turned_away_now();
        let view = |one: TurnedAway| {
            let (why, to_do) = words::refusal(one.why);
            RefusedView {
                who: one.who,
                why: why.to_owned(),
                to_do: to_do.to_owned(),
                requests: one.requests,
                since: one.since.into(),
                last: one.last.into(),
            }
        };
        turned_away.into_iter().map(view).collect()
    }

    /// What there is to say of the journal, if anything.
    fn journal_note(&self, not_kept: u64) -> String {
        let (allowance, quota) = &self.parts.journal;
        let short = allowance.short_of_quota().map(|bytes| {
            format!(
                "the disk has room for {} of its {}, so the oldest goes sooner",
                words::bytes(bytes),
                words::bytes(*quota)
            )
        });
        let refused = (not_kept > 0).then(|| {
            format!("{not_kept} requests were told to come again because the journal could not keep them")
        });
        short
            .into_iter()
            .chain(refused)
            .collect::<Vec<_>>()
            .join("; ")
    }

    /// Whether the journal could not keep a request within the last moments.
    fn journal_fails(&self, not_kept: u64) -> bool {
        let now = SystemTime::now();
        let mut known = self.not_kept.lock().unwrap_or_else(PoisonError::into_inner);
        if not_kept > known.0 {
            *known = (not_kept, Some(now));
        }
        known
            .1
            .is_some_and(|at| now.duration_since(at).unwrap_or_default() < STILL_FAILING)
    }
}

impl Surroundings for Daemon {
    fn status(&self) -> StatusView {
        let uptime = SystemTime::now()
            .duration_since(self.started)
            .unwrap_or_default();
        let counts = self.parts.stats.snapshot();
        let failing = self.journal_fails(counts.requests_not_kept);
        StatusView {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: self.started.into(),
            uptime_ms: u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX),
            state_dir: self.state_dir.display().to_string(),
            mode: furthest(&self.tree.now()),
            listening: self.listening.clone(),
            dropped: self.not_used(&counts),
            refused: self.refused(),
            memory_bytes: resident_bytes(),
            journal: HealthView {
                ok: !failing,
                note: self.journal_note(counts.requests_not_kept),
            },
            growing: self
                .parts
                .growing
                .borrow()
                .iter()
                .map(growing_view)
                .collect(),
            store: self.parts.store.as_ref().map(StoreHealth::view),
            ledger: HealthView {
                ok: true,
                note: String::new(),
            },
            ..StatusView::default()
        }
    }

    fn watches(&self, unit: &UnitName) -> Vec<WatchView> {
        let looks = self.parts.watcher.looks(unit);
        looks.into_iter().map(watch_view).collect()
    }

    fn rejuvenation(&self) -> Vec<RejuvenationView> {
        self.parts
            .rejuvenation
            .borrow()
            .iter()
            .map(RejuvenationView::from)
            .collect()
    }

    fn events_missed(&self) -> u64 {
        self.parts.supervisor.events_dropped()
    }

    fn children(&self) -> Vec<ChildStatus> {
        self.parts.supervisor.children()
    }
}

fn watch_view(look: Look) -> WatchView {
    let (value, measured) = look.measured.unzip();
    WatchView {
        what: look.what,
        limit: look.limit,
        lasts_ms: u64::try_from(look.lasts.as_millis()).unwrap_or(u64::MAX),
        standing: match look.standing {
            Standing::Unknown => WatchStanding::Unknown,
            Standing::Within => WatchStanding::Within,
            Standing::Leaning => WatchStanding::Leaning,
            Standing::Beyond(_) => WatchStanding::Beyond,
        },
        value,
        measured: measured.map(Into::into),
        out_since: look.out_since.map(Into::into),
        note: look.unread.unwrap_or_default(),
    }
}

fn growing_view(growing: &Growing) -> GrowingView {
    GrowingView {
        template: growing.kind.clone(),
        of: growing.source.to_owned(),
        units: growing.units,
        left_out: growing.left_out + growing.unfit,
        trouble: growing.trouble.clone().or(growing.misfit.clone()),
    }
}

/// How far any part of the tree may go; without one, nothing is done.
fn furthest(tree: &RestartTree) -> Mode {
    tree.units()
        .map(|unit| tree.mode(&unit.name))
        .max()
        .unwrap_or_default()
}

/// The memory that this process holds, as the kernel counts it.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// What the receivers took and didn't use, by the counter's name.
fn not_used(counts: &IngestCounts) -> BTreeMap<String, u64> {
    const USED: [&str; 7] = [
        "spans_grpc",
        "spans_http_protobuf",
        "spans_http_json",
        "requests_ok",
        "bytes_received",
        "bytes_decoded",
        "connections",
    ];
    let Ok(serde_json::Value::Object(counters)) = serde_json::to_value(counts) else {
        return BTreeMap::new();
    };
    counters
        .into_iter()
        .filter_map(|(name, count)| Some((name, count.as_u64().filter(|count| *count > 0)?)))
        .filter(|(name, _)| !USED.contains(&name.as_str()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Overrides};
    use crate::daemon::tree_of;

    #[test]
    fn the_furthest_mode_is_that_of_the_boldest_part() {
        let cases = [
            ("restart: { mode: auto }", Mode::Observe),
            (
                "restart: { mode: observe, tree: [{ unit: a, command: { run: [a] } }] }",
                Mode::Observe,
            ),
            (
                "restart: { tree: [{ unit: a, command: { run: [a] }, units: [{ unit: b, mode: auto, command: { run: [b] } }] }] }",
                Mode::Auto,
            ),
            (
                "restart: { mode: auto, tree: [{ unit: a, mode: propose, command: { run: [a] } }] }",
                Mode::Propose,
            ),
        ];
        for (yaml, expected) in cases {
            let config =
                Config::parse("r.yaml", yaml, &Overrides::default(), &|_| None).expect(yaml);
            assert_eq!(furthest(&tree_of(&config).expect(yaml)), expected, "{yaml}");
        }
    }
}
