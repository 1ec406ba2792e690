//! Questions with known answers, asked over and over.
//!
//! Two kinds. A unit's *check* is about that unit, and its answers go to the engine as they are. An
//! end-to-end *question* goes in at the front door as a user's request does, with a trace id of ours:
//! whether the answer was right becomes an outcome report about that trace, so that a component that
//! answers wrongly with status OK is found by the requests that it spoilt.
//!
//! A question that was wrong when something was restarted for it is asked often until the verdict
//! ([`Pace`]): a verdict takes so and so many requests, and where users send few, these are the ones that
//! can be had. And one that is wrong while all was well is asked again soon: one wrong answer may be chance,
//! and the next would come only when it is due.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use rekindle_model::{
    Name, Outcome, OutcomeReport, Resource, Shape, Span, SpanId, SpanKind, TraceId, UnixNanos,
};
use rekindle_recovery::lifecycle::State;
use rekindle_recovery::probe::Probes;
use rekindle_recovery::service::RecoveryStatus;
use rekindle_recovery::watch::Watcher;
use rekindle_recovery::{LiveTree, ProbeSpec, RestartTree, UnitName};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use super::told::Note;
use super::{Asked, CheckResult, Teller};

/// What somebody outside says about a request, and the span of their asking where we know it: our
/// own probes are the root of the traces that they begin, and export to nobody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Judgement {
    #[serde(flatten)]
    pub(crate) report: OutcomeReport,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) asking: Option<Asking>,
}

/// One asking of a question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Asking {
    /// The question's name.
    pub(crate) question: Name,
    /// What the span of it is called.
    pub(crate) span_id: SpanId,
    /// When it was asked.
    pub(crate) start: UnixNanos,
    /// When it was answered.
    pub(crate) end: UnixNanos,
}

impl Judgement {
    /// The span of our asking.
    pub(crate) fn root(&self) -> Option<Span> {
        let asking = self.asking.as_ref()?;
        Some(Span {
            trace_id: self.report.trace_id,
            span_id: asking.span_id,
            parent_id: None,
            parent_is_remote: None,
            start: asking.start,
            end: asking.end,
            // Whether the answer was right is in the report; the spans below say what they know.
            shape: Arc::new(Shape {
                kind: SpanKind::Client,
                name: asking.question.clone(),
                resource: Arc::clone(&PROBERS),
                ..Shape::default()
            }),
            links: Box::default(),
        })
    }
}

/// The service that our probes' root spans come from. It serves nobody, so it is a user to the
/// analysis.
const PROBER: &str = "rekindle-probe";

static PROBERS: LazyLock<Arc<Resource>> = LazyLock::new(|| {
    Arc::new(Resource {
        service: PROBER.into(),
        instance: None,
        version: None,
        host: None,
        attributes: vec![(Name::from("service.name"), Name::from(PROBER))],
    })
});

/// The pause between two askings while a verdict waits for them; never more than one is under way.
const HURRIED: Duration = Duration::from_millis(25);

/// So many hurried askings for one verdict at most: 92 right ones exclude a residual failure of 5 % with an
/// error of 1 %, and who is asked for more than that by the configuration has the usual pause's patience.
const MOST_HURRIED: u32 = 100;

/// The pause while a wrong answer is doubted: the next askings must not all fall into one hiccup of a network
/// or of a collection of garbage.
const DOUBTING: Duration = Duration::from_millis(100);

/// So many askings for one doubt: an incident opens after a handful of failures of what usually doesn't fail.
const MOST_DOUBTED: u32 = 8;

/// One end-to-end question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    /// Its name: who says that an answer was wrong.
    pub(crate) name: String,
    /// What is asked, and what is right.
    pub(crate) spec: ProbeSpec,
    /// The time between two askings.
    pub(crate) every: Duration,
}

/// How often one question is asked: as written, or in a hurry.
///
/// Only one that was wrong *before* the restart tells of its cure. While a restart lies on the system, every
/// question that passes there is wrong, whatever it was before.
#[derive(Debug, Default)]
struct Pace {
    was_wrong: bool,
    hurried: u32,
    doubted: u32,
}

/// What recovery is at, as far as questions are concerned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Phase {
    /// Something is being restarted, or warms up.
    restarts: bool,
    /// A verdict is waited for.
    judges: bool,
}

impl Phase {
    fn of(status: &RecoveryStatus) -> Self {
        let mut phase = Self::default();
        for recovery in &status.recoveries {
            match recovery.state {
                State::Leased | State::Committed | State::Acting | State::Settling => {
                    phase.restarts = true;
                }
                State::Judging => phase.judges = true,
                _ => {}
            }
        }
        phase
    }
}

impl Pace {
    fn is_hurried(&self, phase: Phase) -> bool {
        phase.judges && self.was_wrong && self.hurried < MOST_HURRIED
    }

    /// Whether the last answers were wrong for no reason that is known, and are hardly confirmed yet.
    fn is_doubted(&self, phase: Phase) -> bool {
        phase == Phase::default() && self.was_wrong && self.doubted < MOST_DOUBTED
    }

    fn pause(&self, phase: Phase, usual: Duration) -> Duration {
        if self.is_hurried(phase) {
            HURRIED.min(usual)
        } else if self.is_doubted(phase) {
            DOUBTING.min(usual)
        } else {
            usual.max(SHORTEST)
        }
    }

    /// An answer came to a question that was asked in this phase.
    fn answered(&mut self, is_right: bool, phase: Phase) {
        if phase.judges {
            self.hurried = self.hurried.saturating_add(1);
        } else {
            self.hurried = 0;
        }
        match is_right {
            true if phase == Phase::default() => self.doubted = 0,
            true => {}
            false => self.doubted = self.doubted.saturating_add(1),
        }
        if is_right {
            // The verdict is about what was wrong before it.
            self.was_wrong &= phase.judges || phase.restarts;
        } else {
            self.was_wrong |= !phase.restarts;
        }
    }
}

/// Asks the questions until the daemon stops.
pub(crate) fn spawn_questions(
    tasks: &mut JoinSet<()>,
    questions: Vec<Question>,
    probes: &Probes,
    teller: &Teller,
    recovery: &watch::Receiver<Arc<RecoveryStatus>>,
    shutdown: &watch::Receiver<bool>,
) {
    for question in questions {
        let (probes, teller) = (probes.clone(), teller.clone());
        let (mut recovery, mut shutdown) = (recovery.clone(), shutdown.clone());
        tasks.spawn(async move {
            let mut pace = Pace::default();
            let mut asked: Option<Instant> = None;
            loop {
                let phase = Phase::of(&recovery.borrow_and_update());
                let pause = pace.pause(phase, question.every);
                let due = asked.map_or_else(Instant::now, |asked| asked + pause);
                tokio::select! {
                    _ = shutdown.wait_for(|stop| *stop) => return,
                    () = tokio::time::sleep_until(due) => {}
                    changed = recovery.changed() => match changed {
                        Ok(()) => continue,
                        // Recovery is gone, and with it the daemon.
                        Err(_) => return,
                    },
                }
                asked = Some(Instant::now());
                let judgement = ask(&question, &probes).await;
                pace.answered(judgement.report.outcome == Outcome::Ok, phase);
                if !teller.tell(&Note::Reports(vec![judgement])).await {
                    return;
                }
            }
        });
    }
}

/// Asks a question once.
async fn ask(question: &Question, probes: &Probes) -> Judgement {
    let (trace_id, span_id) = fresh_ids();
    let start: UnixNanos = SystemTime::now().into();
    let traceparent = format!("00-{trace_id}-{span_id}-01");
    let answer = probes.probe_traced(&question.spec, Some(traceparent)).await;
    let end: UnixNanos = SystemTime::now().into();
    let outcome = if answer.is_ok() {
        Outcome::Ok
    } else {
        Outcome::Failed
    };
    Judgement {
        report: OutcomeReport {
            trace_id,
            outcome,
            reporter: Name::from(format!("probe {}", question.name)),
            at: end,
            detail: answer.err().map(|failure| Name::from(failure.to_string())),
        },
        asking: Some(Asking {
            question: Name::from(question.name.as_str()),
            span_id,
            start,
            end,
        }),
    }
}

/// Asks the checks of whoever is a unit, until the daemon stops.
pub(crate) fn spawn_checks(
    tasks: &mut JoinSet<()>,
    tree: &LiveTree,
    every: Duration,
    probes: &Probes,
    results: &mpsc::Sender<CheckResult>,
    shutdown: &watch::Receiver<bool>,
) {
    let checks = |tree: &RestartTree| -> BTreeMap<UnitName, ProbeSpec> {
        let units = tree.units();
        units
            .filter_map(|unit| Some((unit.name.clone(), unit.check.clone()?)))
            .collect()
    };
    let (probes, results) = (probes.clone(), results.clone());
    let ask = move |unit: UnitName, spec: ProbeSpec| {
        let (probes, results) = (probes.clone(), results.clone());
        async move {
            let mut ticks = steady(every);
            loop {
                ticks.tick().await;
                let answer = probes.probe_traced(&spec, None).await;
                let answer = answer.map_err(|failure| failure.to_string());
                let result = CheckResult {
                    unit: unit.clone(),
                    asked: Asked::Question,
                    answer,
                };
                if results.send(result).await.is_err() {
                    return;
                }
            }
        }
    };
    let tree = tree.clone();
    tasks.spawn(each(
        move || tree.now(),
        every,
        shutdown.clone(),
        checks,
        ask,
    ));
}

/// Looks at the figures that whoever is a unit must keep to, until the daemon stops.
pub(crate) fn spawn_watches(
    tasks: &mut JoinSet<()>,
    tree: &LiveTree,
    watcher: &Arc<Watcher>,
    every: Duration,
    results: &mpsc::Sender<CheckResult>,
    shutdown: &watch::Receiver<bool>,
) {
    let watched = |tree: &RestartTree| -> BTreeMap<UnitName, ()> {
        let units = tree.units().filter(|unit| !unit.watches.is_empty());
        units.map(|unit| (unit.name.clone(), ())).collect()
    };
    let (watcher, results) = (Arc::clone(watcher), results.clone());
    let look = move |unit: UnitName, (): ()| {
        let (watcher, results) = (Arc::clone(&watcher), results.clone());
        async move {
            let mut ticks = steady(every);
            loop {
                ticks.tick().await;
                // It may have gone, and come again by the next tick.
                let Some(seen) = watcher.look(&unit).await else {
                    continue;
                };
                let bounds = Asked::Bounds {
                    is_proof: seen.is_proof,
                    since: seen.since,
                };
                let (asked, answer) = match (seen.beyond, seen.unclear) {
                    (Some(words), _) => (bounds, Err(words)),
                    (None, Some(why)) => (Asked::UnclearBounds, Err(why)),
                    (None, None) => (bounds, Ok(())),
                };
                let unit = unit.clone();
                let result = CheckResult {
                    unit,
                    asked,
                    answer,
                };
                if results.send(result).await.is_err() {
                    return;
                }
            }
        }
    };
    let tree = tree.clone();
    tasks.spawn(each(
        move || tree.now(),
        every,
        shutdown.clone(),
        watched,
        look,
    ));
}

/// Has the work done for each unit of the present tree for which it is wanted, as long as it is wanted as it is. Units
/// come and go, and what is asked of one changes with its address.
async fn each<S, W>(
    tree: impl Fn() -> Arc<RestartTree>,
    every: Duration,
    mut shutdown: watch::Receiver<bool>,
    wanted: impl Fn(&RestartTree) -> BTreeMap<UnitName, S>,
    work: impl Fn(UnitName, S) -> W,
) where
    S: PartialEq + Clone,
    W: Future<Output = ()> + Send + 'static,
{
    // They end with this.
    let mut tasks = JoinSet::new();
    let mut running: BTreeMap<UnitName, (S, AbortHandle)> = BTreeMap::new();
    let mut last: Option<Arc<RestartTree>> = None;
    let mut ticks = steady(every);
    while is_due(&mut ticks, &mut shutdown).await {
        while let Some(ended) = tasks.try_join_next() {
            // They go on for as long as they are wanted: that nobody is asked any more is news, and the daemon's.
            if ended.is_err_and(|error| error.is_panic()) {
                return;
            }
        }
        let now = tree();
        if last.as_ref().is_some_and(|last| Arc::ptr_eq(last, &now)) {
            continue;
        }
        let wanted = wanted(&now);
        running.retain(|unit, (how, task)| {
            let goes_on = wanted.get(unit) == Some(how);
            if !goes_on {
                task.abort();
            }
            goes_on
        });
        for (unit, how) in wanted {
            if let Entry::Vacant(vacant) = running.entry(unit) {
                let task = tasks.spawn(work(vacant.key().clone(), how.clone()));
                vacant.insert((how, task));
            }
        }
        last = Some(now);
    }
}

/// No pause is shorter than this, whatever is written.
const SHORTEST: Duration = Duration::from_millis(10);

/// Ticks that don't bunch up after a slow answer.
fn steady(every: Duration) -> tokio::time::Interval {
    let mut ticks = tokio::time::interval(every.max(SHORTEST));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks
}

/// Waits for the next tick; `false` when the daemon stops before.
async fn is_due(ticks: &mut tokio::time::Interval, shutdown: &mut watch::Receiver<bool>) -> bool {
    tokio::select! {
        _ = shutdown.wait_for(|stop| *stop) => false,
        _ = ticks.tick() => true,
    }
}

/// Ids that nobody else has. Zero is no id, and comes up once in 2⁶⁴ draws.
fn fresh_ids() -> (TraceId, SpanId) {
    loop {
        if let (Some(trace), Some(span)) = (
            TraceId::from_bytes(rand::random()),
            SpanId::from_bytes(rand::random()),
        ) {
            return (trace, span);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What happens to one question: in which phase it was answered, and rightly or not.
    #[test]
    fn only_what_was_wrong_before_the_restart_is_hurried_and_not_for_ever() {
        const CALM: Phase = Phase {
            restarts: false,
            judges: false,
        };
        const RESTARTS: Phase = Phase {
            restarts: true,
            judges: false,
        };
        const JUDGES: Phase = Phase {
            restarts: false,
            judges: true,
        };
        const BOTH: Phase = Phase {
            restarts: true,
            judges: true,
        };
        let long = [(true, JUDGES); MOST_HURRIED as usize];
        let with = |begin: &[(bool, Phase)], rest: &[(bool, Phase)]| [begin, rest].concat();
        for (answers, then, expected) in [
            (vec![], JUDGES, false),
            (vec![(false, CALM)], CALM, false),
            (vec![(false, CALM)], RESTARTS, false),
            (vec![(false, CALM)], JUDGES, true),
            (vec![(false, CALM), (false, RESTARTS)], JUDGES, true),
            // Right while another unit is restarted is no reason to stop.
            (
                vec![(false, CALM), (true, JUDGES), (true, BOTH)],
                BOTH,
                true,
            ),
            // The restart itself, or something that was over before it.
            (vec![(true, CALM), (false, RESTARTS)], JUDGES, false),
            (vec![(false, CALM), (true, CALM)], JUDGES, false),
            // Wrong since is as telling as wrong before.
            (vec![(true, CALM), (false, JUDGES)], JUDGES, true),
            (with(&[(false, CALM)], &long[1..]), JUDGES, true),
            (with(&[(false, CALM)], &long), JUDGES, false),
            // The next verdict has its own.
            (
                with(&with(&[(false, CALM)], &long), &[(false, CALM)]),
                JUDGES,
                true,
            ),
        ] {
            let mut pace = Pace::default();
            for (is_right, phase) in &answers {
                pace.answered(*is_right, *phase);
            }
            assert_eq!(pace.is_hurried(then), expected, "{answers:?} {then:?}");
        }
    }

    #[test]
    fn a_wrong_answer_is_doubted_and_not_for_ever() {
        let usual = Duration::from_secs(1);
        let restarts = Phase {
            restarts: true,
            judges: false,
        };
        let calm = Phase::default();
        let wrong = [(false, calm); MOST_DOUBTED as usize];
        for (answers, then, expected) in [
            (&[][..], calm, usual),
            (&[(true, calm)], calm, usual),
            (&wrong[..1], calm, DOUBTING),
            (&wrong[1..], calm, DOUBTING),
            (&wrong, calm, usual),
            // What is restarted answers nobody.
            (&wrong[..1], restarts, usual),
            // The next wrong one after a right one is news.
            (&[(false, calm), (true, calm)], calm, usual),
            (
                &[(false, calm), (true, calm), (false, calm)],
                calm,
                DOUBTING,
            ),
        ] {
            let mut pace = Pace::default();
            for (is_right, phase) in answers {
                pace.answered(*is_right, *phase);
            }
            assert_eq!(pace.pause(then, usual), expected, "{answers:?} {then:?}");
        }
    }

    /// Units come, change and go, and each is at work as long as it is one, as it is.
    #[tokio::test(start_paused = true)]
    async fn who_is_a_unit_now_is_asked_and_nobody_else() {
        let every = Duration::from_millis(500);
        let tree = |units: &[(&str, &str)]| {
            let unit = crate::engine::mapping::tests::unit;
            let below = units
                .iter()
                .map(|(name, value)| unit(name, Some("site"), &[("k", value)]));
            let units = std::iter::once(unit("site", None, &[])).chain(below);
            Arc::new(RestartTree::build(units.collect()).expect("a tree"))
        };
        let living = Arc::new(std::sync::Mutex::new(tree(&[("a", "1"), ("b", "2")])));
        let living_tree = Arc::clone(&living);
        let now = move || Arc::clone(&living_tree.lock().expect("whole"));
        let (sender, mut asked) = mpsc::channel(100);
        let (stop, stopped) = watch::channel(false);
        let wanted = |tree: &RestartTree| -> BTreeMap<UnitName, String> {
            let units = tree.units().filter(|unit| unit.parent.is_some());
            let how = units.map(|unit| (unit.name.clone(), unit.selector["k"].clone()));
            how.collect()
        };
        let work = move |unit: UnitName, how: String| {
            let sender = sender.clone();
            async move {
                let mut ticks = steady(every);
                loop {
                    ticks.tick().await;
                    if sender.send(format!("{unit}{how}")).await.is_err() {
                        return;
                    }
                }
            }
        };
        let follows = tokio::spawn(each(now, every, stopped, wanted, work));
        let mut heard = async || {
            tokio::time::sleep(every * 2).await;
            while asked.try_recv().is_ok() {}
            tokio::time::sleep(every * 2).await;
            let mut heard = std::collections::BTreeSet::new();
            while let Ok(one) = asked.try_recv() {
                heard.insert(one);
            }
            heard.into_iter().collect::<Vec<_>>()
        };
        assert_eq!(heard().await, ["a1", "b2"]);
        *living.lock().expect("whole") = tree(&[("b", "3"), ("c", "4")]);
        assert_eq!(heard().await, ["b3", "c4"]);
        stop.send_replace(true);
        follows.await.expect("it ended");
        assert!(heard().await.is_empty());
    }
}
