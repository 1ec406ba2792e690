//! The engine as the API sees it: snapshots, example traces, and orders to recovery.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rekindle_analysis::Analyzer;
use rekindle_ingest::receive::Batch;
use rekindle_model::{Intervention, Name, Outcome, OutcomeReport, TraceId, UnixNanos};
use rekindle_recovery::around::Cabinet;
use rekindle_recovery::belief::Origin;
use rekindle_recovery::executor::Recall;
use rekindle_recovery::guard::{Guard, Pause, Refusal};
use rekindle_recovery::plan::PlanId;
use rekindle_recovery::rejuvenate::Board;
use rekindle_recovery::service::{
    self, Command, CommandError, Recovery, Reply as RecoveryReply, UnitExplained,
};
use rekindle_recovery::{LiveTree, UnitName};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};

use super::mapping;
use super::probing::Judgement;
use super::publish;
use super::said::{Said, Speaker};
use super::shared::Shared;
use super::stored::StoredTraces;
use super::teller::{TellError, Teller};
use super::told::{self, Note};
use crate::api::{
    ApiCommand, Backend, BoxFuture, DryRun, Explanation, OutcomeWord, Problem, ProblemKind, Reply,
    ReportedOutcome, ToldIntervention,
};
use crate::view::{
    ComponentView, InterventionView, KeptView, LearnedView, PostMortemView, TraceView, UtcTime,
    View,
};
use crate::words;

/// How old the newest snapshot may be. One is made four times a second; the engine that has missed
/// forty is stuck, or its machine is.
const SILENT_AFTER: Duration = Duration::from_secs(10);

/// How long an order waits at most until the snapshot shows it, so that whoever gave it and looks at
/// once sees it. A few times as long as between two snapshots.
const SEEN_WITHIN: Duration = Duration::from_secs(1);

/// How long recovery may take to say that something has changed; an order that changes nothing (to
/// resume what isn't paused) is never followed by that.
const TOLD_WITHIN: Duration = Duration::from_millis(100);

/// How long a place among spans is waited for.
const PLACE_WITHIN: Duration = Duration::from_secs(1);

/// What stands behind the API in the daemon.
pub(crate) struct EngineBackend {
    pub(crate) view: watch::Receiver<Arc<View>>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) recovery: Recovery,
    pub(crate) tree: LiveTree,
    pub(crate) said: mpsc::Sender<Said>,
    /// Who keeps what was told, so that a replay knows it.
    pub(crate) teller: Teller,
    /// Where traces are that the engine doesn't remember.
    pub(crate) stored: Option<StoredTraces>,
    pub(crate) cabinet: Arc<Cabinet>,
    pub(crate) board: Arc<Board>,
}

impl Backend for EngineBackend {
    fn view(&self) -> Arc<View> {
        self.view.borrow().clone()
    }

    fn trace(&self, id: TraceId) -> BoxFuture<'_, Result<Option<TraceView>, Problem>> {
        let found = self.find_trace(id);
        Box::pin(async move {
            match (found, &self.stored) {
                (None, Some(stored)) => stored.find(id).await,
                (found, _) => Ok(found),
            }
        })
    }

    fn components(&self) -> Vec<ComponentView> {
        let analyzer = self.shared.analyzer();
        analyzer.components().map(publish::component).collect()
    }

    fn command(&self, command: ApiCommand) -> BoxFuture<'_, Result<Reply, Problem>> {
        Box::pin(self.carry_out(command))
    }

    fn post_mortems(&self) -> BoxFuture<'_, Vec<KeptView>> {
        let cabinet = Arc::clone(&self.cabinet);
        Box::pin(async move {
            let kept = tokio::task::spawn_blocking(move || cabinet.all()).await;
            let kept = kept.unwrap_or_default();
            kept.into_iter().map(KeptView::from).collect()
        })
    }

    fn post_mortem(&self, action: u64) -> BoxFuture<'_, Result<Option<PostMortemView>, Problem>> {
        let cabinet = Arc::clone(&self.cabinet);
        Box::pin(async move {
            let found = tokio::task::spawn_blocking(move || cabinet.read(action)).await;
            match found.map_err(std::io::Error::other).flatten() {
                Ok(found) => Ok(found.map(PostMortemView::from)),
                Err(error) => Err(Problem::new(
                    ProblemKind::Internal,
                    format!("what was saved before action {action} can't be read: {error}"),
                )),
            }
        })
    }

    fn ready(&self) -> Result<(), String> {
        readiness(&self.view.borrow(), SystemTime::now().into())
    }
}

/// An example trace as it is shown; `None` where it isn't kept.
pub(super) fn example(analyzer: &Analyzer, id: TraceId) -> Option<TraceView> {
    let trace = analyzer.example(id)?;
    // An example may be kept for longer than what is remembered of its request.
    let outcome = analyzer.outcome(id).unwrap_or(Outcome::Unknown);
    let request_type = analyzer.request_type_of(id).map_or_else(
        || {
            let entry = &trace.spans()[trace.root().unwrap_or(0)];
            format!("{} {}", entry.resource.service, entry.name)
        },
        ToString::to_string,
    );
    Some(publish::trace(trace, request_type, outcome))
}

/// An example of the other kind, of the first suspect that this trace is an example of.
fn counterpart(view: &View, trace: &str) -> Option<String> {
    let rankings = view.incidents.iter().filter_map(|i| i.ranking.as_ref());
    let mut suspects = rankings.flat_map(|ranking| &ranking.suspects);
    suspects.find_map(|suspect| {
        let place = |examples: &[String]| examples.iter().position(|id| id == trace);
        let (at, others) = if let Some(at) = place(&suspect.examples_failed) {
            (at, &suspect.examples_ok)
        } else {
            (place(&suspect.examples_ok)?, &suspect.examples_failed)
        };
        // Failed ones and the good ones that they are most like are in the same order.
        others.get(at).or(others.first()).cloned()
    })
}

/// A place for what is told, so that what was kept is never without one.
fn place<T>(queue: &mpsc::Sender<T>, what: &str) -> Result<mpsc::OwnedPermit<T>, Problem> {
    let reserved = queue.clone().try_reserve_owned();
    reserved.map_err(|error| match error {
        TrySendError::Full(_) => full(what),
        TrySendError::Closed(_) => ended(what),
    })
}

fn full(what: &str) -> Problem {
    Problem::new(
        ProblemKind::Busy,
        format!("too many {what} are waiting, so this was not taken; tell it again in a second"),
    )
}

fn ended(what: &str) -> Problem {
    Problem::new(
        ProblemKind::Ended,
        format!("the engine has ended, so none of the {what} is taken"),
    )
}

/// What is answered where what was told couldn't be kept.
fn not_kept(error: &TellError, otherwise: &str) -> Problem {
    let kind = match error {
        TellError::Text(_) => ProblemKind::Internal,
        TellError::Journal(_) => ProblemKind::Busy,
    };
    Problem::new(kind, format!("{error}, and {otherwise}"))
}

/// What is answered to whoever says of what is over that it is.
fn over_already(over: &Intervention) -> String {
    let shown = words::interventions(&[InterventionView::from(over)]).join("");
    format!("it was over already, as it was ended or not told again in time: {shown}")
}

/// Whether telemetry is taken and something can be done about what it says, or why not.
fn readiness(view: &View, now: UtcTime) -> Result<(), String> {
    if view.now == UtcTime::default() {
        return Err(String::from("the engine is starting"));
    }
    let silent = now.since(view.now);
    if silent > SILENT_AFTER {
        return Err(format!(
            "the engine has said nothing for {} s",
            silent.as_secs()
        ));
    }
    let status = &view.status;
    for (part, health) in [("journal", &status.journal), ("ledger", &status.ledger)] {
        if !health.ok {
            return Err(format!("the {part} can't be written: {}", health.note));
        }
    }
    Ok(())
}

impl EngineBackend {
    fn find_trace(&self, id: TraceId) -> Option<TraceView> {
        let mut shown = example(&self.shared.analyzer(), id)?;
        let compare = counterpart(&self.view(), &id.to_string());
        shown.compare = compare;
        Some(shown)
    }

    async fn carry_out(&self, command: ApiCommand) -> Result<Reply, Problem> {
        let order = match command {
            ApiCommand::Outcomes(reports) => return self.report(reports).await,
            ApiCommand::Intervention(told) => return self.intervention(&told).await,
            ApiCommand::Gauges {
                unit,
                generation,
                gauges,
            } => return self.told(UnitName(unit), generation, &gauges),
            ApiCommand::Said {
                unit,
                reporter,
                wrong,
                next_within,
            } => {
                let said = Said {
                    unit: UnitName(unit),
                    by: reporter.map_or(Speaker::Itself, Speaker::Reporter),
                    wrong,
                    next_within,
                };
                return self.say(said).await;
            }
            ApiCommand::Forget { unit, by } => {
                self.say(Said {
                    unit: UnitName(unit.clone()),
                    by: Speaker::Forget,
                    wrong: None,
                    next_within: None,
                })
                .await?;
                tracing::info!(unit, by, "what was said of a unit is forgotten");
                return Ok(Reply::done(format!(
                    "what was said of {unit} is forgotten, and nothing is expected of it until it speaks again"
                )));
            }
            ApiCommand::Approve { plan, by } => Command::Approve {
                plan: PlanId(plan),
                by,
            },
            ApiCommand::Reject { plan, by, reason } => Command::Reject {
                plan: PlanId(plan),
                by,
                reason,
            },
            ApiCommand::Restart {
                unit,
                dry_run,
                by,
                reason,
            } => Command::Restart {
                unit: UnitName(unit),
                dry_run,
                by,
                reason,
            },
            ApiCommand::Pause {
                by,
                reason,
                duration,
            } => Command::Pause {
                by,
                reason,
                duration,
            },
            ApiCommand::Resume { .. } => Command::Resume,
            ApiCommand::ExplainUnit(unit) => Command::ExplainUnit(UnitName(unit)),
            ApiCommand::Learned => Command::Learned,
            ApiCommand::History { limit } => Command::History { limit },
        };
        let plan = match &order {
            Command::Approve { plan, .. } | Command::Reject { plan, .. } => Some(*plan),
            _ => None,
        };
        let mut status = self.recovery.status();
        status.mark_unchanged();
        let reply = self.recovery.command(order).await;
        let reply = reply.map_err(|error| match (plan, &error) {
            (Some(plan), CommandError::NoSuchPlan { .. }) => no_such_plan(plan.0, &self.view()),
            _ => problem(error),
        })?;
        if matches!(
            reply,
            RecoveryReply::Started { .. }
                | RecoveryReply::Rejected
                | RecoveryReply::Paused { .. }
                | RecoveryReply::Resumed
        ) {
            let mut view = self.view.clone();
            // The order is carried out in any case; at worst, the next look is a moment behind it.
            let _ = tokio::time::timeout(SEEN_WITHIN, async {
                let _ = tokio::time::timeout(TOLD_WITHIN, status.changed()).await;
                let told = UtcTime::from(SystemTime::now());
                let _ = view.wait_for(|view| view.now > told).await;
            })
            .await;
        }
        Ok(match reply {
            RecoveryReply::Proposed { recovery } => Reply::Done {
                message: "it waits for approval: `rekindle plan`".to_owned(),
                recovery: Some(recovery.0),
            },
            RecoveryReply::Started {
                recovery,
                instead_of,
                overrules,
            } => Reply::Done {
                message: format!(
                    "under way as recovery {recovery}; `rekindle history` tells how it ends{}{}",
                    match instead_of {
                        Some(plan) => format!("; plan {plan} is dropped for it"),
                        None => String::new(),
                    },
                    overruled(&overrules)
                ),
                recovery: Some(recovery.0),
            },
            RecoveryReply::Rejected => Reply::done("the plan was dropped"),
            RecoveryReply::Paused { pause, instead_of } => {
                Reply::done(paused(&pause, instead_of.as_ref()))
            }
            RecoveryReply::Resumed => Reply::done("recovery goes on"),
            RecoveryReply::DryRun(dry_run) => Reply::DryRun(Box::new(self.dry_run(&dry_run))),
            RecoveryReply::History(actions) => Reply::History {
                actions: actions.iter().map(publish::action).collect(),
            },
            RecoveryReply::Learned(learned) => {
                Reply::Learned(Box::new(LearnedView::from(&*learned)))
            }
            RecoveryReply::Unit(unit) => Reply::Explanation(Box::new(self.explanation(&unit))),
        })
    }

    /// A place among spans: they come and go, so where they fill the queue a moment is waited.
    async fn place(&self, what: &str) -> Result<mpsc::OwnedPermit<Batch>, Problem> {
        let reserve = self.teller.engine().clone().reserve_owned();
        match tokio::time::timeout(PLACE_WITHIN, reserve).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) => Err(ended(what)),
            Err(_) => Err(full(what)),
        }
    }

    /// Keeps what was told before it counts, and before it is answered.
    async fn intervention(&self, told: &ToldIntervention) -> Result<Reply, Problem> {
        let now = UnixNanos::from(SystemTime::now());
        let is_known;
        let target = told::target(told, &self.tree.now())?;
        let intervention = {
            let analyzer = self.shared.analyzer();
            let known = analyzer.interventions();
            let known: Vec<&Intervention> = known.into_iter().collect();
            let same = told::goes_on(told, &target, &known, now);
            if same.is_none()
                && let Some(over) = told::was_over(told, &target, &known)
            {
                return Ok(Reply::done(over_already(over)));
            }
            let (first, window) = (same.map(|it| it.from), analyzer.config().window);
            let mut it = told::intervention(told, target, first, window, now)?;
            if let Some(same) = same {
                it.ended_by = told::ended_by(told, same);
                it.reference = same.reference.clone();
            } else {
                it.reference = told::name_beside(&it, &known);
            }
            is_known = analyzer.knows(&it.target);
            it
        };
        let place = self.place("interventions").await?;
        let as_shown = InterventionView::from(&intervention);
        let shown = words::interventions(std::slice::from_ref(&as_shown)).join("");
        let note = Note::Intervention(intervention);
        let kept = self.teller.keep(&note, place).await;
        kept.map_err(|error| not_kept(&error, "nothing is set apart"))?;
        // Whoever is answered and looks at once sees it.
        let mut view = self.view.clone();
        let is_shown = |view: &Arc<View>| view.status.interventions.contains(&as_shown);
        let _ = tokio::time::timeout(SEEN_WITHIN, view.wait_for(is_shown)).await;
        Ok(Reply::done(if is_known {
            format!("set apart: {shown}")
        } else {
            format!(
                "set apart: {shown}; nothing that is known has these attributes yet, so look whether they are right"
            )
        }))
    }

    /// Keeps what was told before it counts, and before it is answered; all or nothing: whoever is told to come again sends
    /// the whole list again.
    async fn report(&self, reports: Vec<ReportedOutcome>) -> Result<Reply, Problem> {
        let count = reports.len();
        let now = UnixNanos::from(SystemTime::now());
        let place = self.place("lists of reports").await?;
        let judgements = reports.into_iter().map(|report| Judgement {
            report: OutcomeReport {
                trace_id: report.trace_id,
                outcome: match report.outcome {
                    OutcomeWord::Ok => Outcome::Ok,
                    OutcomeWord::Failed => Outcome::Failed,
                    OutcomeWord::Slow => Outcome::Slow,
                },
                reporter: Name::from(report.reporter),
                at: now,
                detail: report.detail.map(Name::from),
            },
            asking: None,
        });
        let note = Note::Reports(judgements.collect());
        let kept = self.teller.keep(&note, place).await;
        kept.map_err(|error| not_kept(&error, "none of the reports was taken"))?;
        Ok(Reply::done(format!("{count} reports were taken")))
    }

    fn dry_run(&self, dry_run: &service::DryRun) -> DryRun {
        let traffic = mapping::traffic(&self.shared.analyzer(), &self.tree.now());
        dry_run_view(dry_run, traffic.get(&dry_run.unit).copied())
    }

    fn told(
        &self,
        unit: UnitName,
        generation: Option<u64>,
        gauges: &[(String, f64)],
    ) -> Result<Reply, Problem> {
        let now = SystemTime::now();
        let untold = gauges
            .iter()
            .find(|(name, value)| !self.board.tell(&unit, name, *value, generation, now));
        match untold {
            None => Ok(Reply::done(format!(
                "heard {} gauges of {unit}",
                gauges.len()
            ))),
            Some((name, _)) => Err(Problem::new(
                ProblemKind::Busy,
                format!("too many gauges are told, so {name} of {unit} was not taken"),
            )),
        }
    }

    /// Takes what is said of a unit, and keeps it before that is answered, unless it comes again by itself.
    async fn say(&self, said: Said) -> Result<Reply, Problem> {
        let done = Reply::done(format!("heard about {}", said.unit));
        let place = place(&self.said, "words about units")?;
        if said.by == Speaker::Itself && said.next_within.is_some() {
            place.send(said);
            return Ok(done);
        }
        let note = Note::Said(said.clone());
        let kept = self.teller.write(&note, |_, _, _| {
            place.send(said);
        });
        let kept = kept.await;
        kept.map_err(|error| not_kept(&error, "it doesn't count"))?;
        Ok(done)
    }

    fn explanation(&self, unit: &UnitExplained) -> Explanation {
        let view = self.view();
        let name = unit.unit.as_str();
        let mut sentences = vec![format!(
            "{name} is {} and restarting it calls {}.",
            if unit.ancestors.is_empty() {
                String::from("the root of the tree")
            } else {
                format!("part of {}", join(&unit.ancestors))
            },
            join(&unit.restarts),
        )];
        sentences.push(format!(
            "Recovery may go as far as `{}` with it.",
            mode_word(unit.mode)
        ));
        sentences.push(format!(
            "Should Rekindle die meanwhile, {}.",
            match unit.recall {
                Recall::Nothing => "nobody can tell what became of the restart: a person is asked",
                Recall::Effect => "it can be told afterwards whether the restart was carried out",
                Recall::Fenced => {
                    "it can be told afterwards whether the restart was carried out, and the same \
                     order twice acts once"
                }
            }
        ));
        sentences.push(duration_words(unit));
        for belief in &unit.beliefs {
            let fault = belief.signature.as_ref().map_or_else(
                || String::from("a fault never seen here"),
                |signature| {
                    let error = match signature.error_type.as_str() {
                        "" => String::new(),
                        error => format!(" ({error})"),
                    };
                    let within = match signature.request_types.as_slice() {
                        [] => String::new(),
                        types => format!(" in {}", types.join(", ")),
                    };
                    format!("`{}`{error}{within}", signature.shape)
                },
            );
            let levels: Vec<String> = belief
                .levels
                .iter()
                .map(|(level, share)| format!("{level} {:.0} %", share * 100.0))
                .collect();
            sentences.push(format!(
                "Smallest cure of {fault}: {}{}.",
                levels.join(", "),
                origin_words(belief)
            ));
        }
        let suspected = view.incidents.iter().find_map(|incident| {
            let ranking = incident.ranking.as_ref()?;
            let suspect = ranking
                .suspects
                .iter()
                .find(|suspect| suspect.unit.as_deref() == Some(name))?;
            Some((incident.clone(), suspect.clone()))
        });
        let (incident, suspect) = suspected.unzip();
        let is_concerned = suspect.is_some() || unit.state.is_some();
        sentences.extend(objection_words(&unit.refusals, is_concerned));
        Explanation {
            at: view.now,
            what: name.to_owned(),
            sentences,
            suspect,
            incident,
            unit: view.unit(name).cloned(),
            plans: view
                .recovery
                .plans
                .iter()
                .filter(|plan| plan.steps.iter().any(|step| step.unit == name))
                .cloned()
                .collect(),
            actions: unit.history.iter().map(publish::action).collect(),
        }
    }
}

/// Where a belief comes from: what happened here, what was seeded, what is known of such faults elsewhere.
fn origin_words(belief: &service::BeliefView) -> String {
    if belief.signature.is_none() {
        return String::from(", as is usual");
    }
    let Origin {
        fault,
        unit,
        error,
        anywhere,
    } = belief.origin;
    let scopes = [
        (fault, "of this very fault here"),
        (unit, "of this shape here"),
        (error, "of this shape and error anywhere"),
        (anywhere, "of this shape anywhere"),
    ];
    let mut said = Vec::new();
    for (counted, what) in scopes {
        let mut from = Vec::new();
        if counted.learned >= 0.05 {
            from.push(format!("{:.1} learned", counted.learned));
        }
        if counted.seeded >= 0.05 {
            from.push(format!("{:.1} seeded", counted.seeded));
        }
        if !from.is_empty() {
            said.push(format!("{} {what}", from.join(" and ")));
        }
    }
    match said.is_empty() {
        true => String::from(", as is usual"),
        false => format!(" (from recoveries: {})", said.join(", ")),
    }
}

/// How long a restart takes, and how that is known.
fn duration_words(unit: &UnitExplained) -> String {
    let expected = unit.cost.downtime.as_millis();
    let own = unit
        .history
        .iter()
        .filter(|action| action.unit == unit.unit);
    let took: Vec<u128> = own
        .filter_map(|action| action.ready_at?.duration_since(action.stopped_at?).ok())
        .map(|took| took.as_millis())
        .collect();
    let (low, high) = unit.cost.downtime_usually;
    let between = format!(
        "between {} and {} ms nine times of ten",
        low.as_millis(),
        high.as_millis()
    );
    let takes = match took.as_slice() {
        [] if unit.cost.weight > 0.0 => format!(
            "A restart is expected to take {expected} ms ({between}), from what its parts and earlier restarts took."
        ),
        [] => format!(
            "A restart is expected to take {expected} ms ({between}); it was not measured yet{}.",
            match unit.cost.pooled > 0.0 {
                true => ", others that are restarted in this way were",
                false => "",
            }
        ),
        [once] => format!(
            "A restart took {once} ms the one time that it was measured; together with what is usual, \
             {expected} ms are expected, {between}."
        ),
        [last, ..] => format!(
            "A restart took {last} ms last time, and was measured {} times; together with what is \
             usual, {expected} ms are expected, {between}.",
            took.len()
        ),
    };
    match (unit.cost.failing - 1.0).abs() < 0.005 {
        true => takes,
        false => format!(
            "{takes} Of the requests that would come meanwhile {:.0} % are expected to fail.",
            100.0 * unit.cost.failing
        ),
    }
}

/// Why it would not be restarted unattended, without saying that nothing speaks against what is
/// suspected or at work already.
fn objection_words(refusals: &[Refusal], is_concerned: bool) -> Vec<String> {
    let (thin, others): (Vec<&Refusal>, Vec<&Refusal>) = refusals
        .iter()
        .partition(|refusal| refusal.guard == Guard::ThinEvidence);
    let mut sentences = Vec::new();
    if !is_concerned && !thin.is_empty() {
        sentences.push(String::from(
            "Nothing speaks against it now, so there is no reason to restart it.",
        ));
    }
    let thin = thin.into_iter().filter(|_| is_concerned);
    let words: Vec<String> = thin
        .filter(|refusal| !refusal.words.starts_with("nothing speaks against"))
        .chain(others)
        .map(ToString::to_string)
        .collect();
    if !words.is_empty() {
        sentences.push(format!(
            "Unattended it would not be restarted{}: {}.",
            if is_concerned { " now" } else { " in any case" },
            words.join("; ")
        ));
    }
    sentences
}

fn mode_word(mode: rekindle_recovery::Mode) -> &'static str {
    match mode {
        rekindle_recovery::Mode::Observe => "observe",
        rekindle_recovery::Mode::Propose => "propose",
        rekindle_recovery::Mode::Auto => "auto",
    }
}

fn join(units: &[UnitName]) -> String {
    if units.is_empty() {
        return String::from("nothing");
    }
    units
        .iter()
        .map(UnitName::as_str)
        .collect::<Vec<_>>()
        .join(", ")
}

fn dry_run_view(dry_run: &service::DryRun, traffic: Option<f64>) -> DryRun {
    // Recovery is told the traffic only while an incident is open; the analysis knows it always.
    let lost = traffic.map_or(0.0, |rate| rate * dry_run.expected_downtime.as_secs_f64());
    let names = |units: &[UnitName]| units.iter().map(ToString::to_string).collect();
    let words = |refusals: &[Refusal]| refusals.iter().map(ToString::to_string).collect();
    DryRun {
        unit: dry_run.unit.to_string(),
        restarts: names(&dry_run.restarts),
        affected: names(&dry_run.affected),
        expected_downtime_ms: u64::try_from(dry_run.expected_downtime.as_millis())
            .unwrap_or(u64::MAX),
        expected_cost: publish::tenths(dry_run.expected_cost.max(lost)),
        // Of what it was reckoned from.
        usual_cost: (dry_run.expected_cost >= lost).then(|| {
            let (low, high) = dry_run.expected_cost_usually;
            (publish::tenths(low), publish::tenths(high))
        }),
        refusals: words(&dry_run.refusals),
        unattended_refusals: words(&dry_run.unattended_refusals),
    }
}

/// What an order does all the same, so that nobody does it unknowingly.
fn overruled(refusals: &[Refusal]) -> String {
    let words: Vec<String> = refusals.iter().map(ToString::to_string).collect();
    match words.is_empty() {
        true => String::new(),
        false => format!("; your order overrules {}", words.join("; ")),
    }
}

/// What a pause means, and which one it takes the place of: that may have been longer.
fn paused(pause: &Pause, instead_of: Option<&Pause>) -> String {
    let until = |pause: &Pause| match pause.until {
        Some(until) => format!("until {}", publish::utc(until)),
        None => "until `rekindle resume`".to_owned(),
    };
    let words = format!(
        "nothing happens unattended {}: {}",
        until(pause),
        pause.reason
    );
    match instead_of {
        Some(before) => format!(
            "{words}; this takes the place of the pause {} by {}: {}",
            until(before),
            match before.by.as_str() {
                "" => "somebody",
                by => by,
            },
            before.reason
        ),
        None => words,
    }
}

/// Why a plan can't be decided on: it was, or nobody remembers it.
fn no_such_plan(number: u64, view: &View) -> Problem {
    let Some(plan) = view.plan(number).filter(|_| number > 0) else {
        return Problem::not_found(format!(
            "there is no plan {number}; a plan that nobody answers is replaced by a newer one, with a \
             number of its own: see `rekindle plan`"
        ));
    };
    // Those of the recovery's earlier plans are none of its own.
    let mut actions = plan.actions.iter().filter_map(|id| view.action(*id));
    let since = actions.find(|action| action.plan == Some(number));
    let words = match (&plan.decided, since) {
        (Some(decided), Some(action)) => {
            format!("{decided}, and begun at {}", action.intent_at)
        }
        (Some(decided), None) => decided.clone(),
        (None, _) => String::from("not decided on"),
    };
    Problem::new(
        ProblemKind::Refused,
        format!(
            "plan {number} waits for nobody any more: it was {words}; now it is {}",
            plan.state
        ),
    )
}

fn problem(error: CommandError) -> Problem {
    let kind = match &error {
        CommandError::NoSuchUnit { .. } | CommandError::NoSuchPlan { .. } => ProblemKind::NotFound,
        CommandError::Refused { .. } => ProblemKind::Refused,
        CommandError::Ledger { .. } => ProblemKind::Busy,
        CommandError::Unavailable { .. } => ProblemKind::Ended,
    };
    let words = match &error {
        // The kind says already that it was refused.
        CommandError::Refused { refusals } => {
            let words: Vec<String> = refusals.iter().map(ToString::to_string).collect();
            words.join("; ")
        }
        _ => error.to_string(),
    };
    Problem::new(kind, words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::HealthView;

    #[test]
    fn a_plan_that_was_decided_on_is_told_from_one_that_never_was() {
        let mut view = View::default();
        view.recovery.plans.push(crate::view::PlanView {
            id: 3,
            state: crate::view::PlanState::Judging,
            decided: Some(String::from("approved by ada")),
            ..Default::default()
        });
        // It followed another plan of its recovery, which was begun.
        view.recovery.plans.push(crate::view::PlanView {
            id: 5,
            state: crate::view::PlanState::Rejected,
            decided: Some(String::from("rejected by ada: later")),
            actions: vec![1],
            ..Default::default()
        });
        view.recovery.actions.push(crate::view::ActionView {
            id: 1,
            plan: Some(4),
            ..Default::default()
        });
        for (number, kind, words) in [
            (
                3,
                ProblemKind::Refused,
                "it was approved by ada; now it is judging",
            ),
            (
                5,
                ProblemKind::Refused,
                "it was rejected by ada: later; now it is rejected",
            ),
            (77, ProblemKind::NotFound, "there is no plan 77"),
            (0, ProblemKind::NotFound, "there is no plan 0"),
        ] {
            let problem = no_such_plan(number, &view);
            assert_eq!(problem.kind, kind, "{number}");
            assert!(problem.detail.contains(words), "{}", problem.detail);
        }
    }

    #[test]
    fn a_pause_says_which_one_it_takes_the_place_of() {
        let pause = |minute: Option<u64>, by: &str, reason: &str| Pause {
            reason: reason.to_owned(),
            by: by.to_owned(),
            since: SystemTime::UNIX_EPOCH,
            until: minute.map(|it| SystemTime::UNIX_EPOCH + Duration::from_secs(60 * it)),
        };
        let long = pause(None, "ann", "audit");
        let short = pause(Some(5), "bob", "lunch");
        assert_eq!(
            paused(&long, None),
            "nothing happens unattended until `rekindle resume`: audit"
        );
        let words = paused(&short, Some(&long));
        let end = "lunch; this takes the place of the pause until `rekindle resume` by ann: audit";
        assert!(words.ends_with(end), "{words}");
    }

    #[test]
    fn objections_do_not_contradict_each_other() {
        let refusal = |guard, words: &str| Refusal {
            guard,
            consequence: rekindle_recovery::guard::Consequence::Ask,
            words: words.to_owned(),
            until: None,
        };
        let nothing = refusal(Guard::ThinEvidence, "nothing speaks against cart");
        let thin = refusal(Guard::ThinEvidence, "the fault lies in cart with 40 % only");
        let mode = refusal(Guard::Mode, "cart is in mode propose");
        let no_reason = "Nothing speaks against it now, so there is no reason to restart it.";
        for (refusals, is_concerned, expected) in [
            (vec![], true, vec![]),
            (vec![nothing.clone()], false, vec![no_reason]),
            // It is at work, or suspected: then something does speak against it.
            (vec![nothing.clone()], true, vec![]),
            (
                vec![mode.clone(), nothing],
                false,
                vec![
                    no_reason,
                    "Unattended it would not be restarted in any case: cart is in mode propose.",
                ],
            ),
            (
                vec![mode, thin],
                true,
                vec![
                    "Unattended it would not be restarted now: the fault lies in cart with 40 % only; \
                     cart is in mode propose.",
                ],
            ),
        ] {
            assert_eq!(objection_words(&refusals, is_concerned), expected);
        }
    }

    #[test]
    fn ready_is_who_takes_telemetry_and_can_act() {
        let now = UtcTime::from_millis(1_000_000);
        let well = |at: UtcTime| {
            let mut view = View {
                now: at,
                ..View::default()
            };
            view.status.journal.ok = true;
            view.status.ledger.ok = true;
            view
        };
        let sick = HealthView {
            ok: false,
            note: String::from("no space left on device"),
        };
        let mut no_journal = well(now);
        no_journal.status.journal = sick.clone();
        let mut no_ledger = well(now);
        no_ledger.status.ledger = sick;
        let cases = [
            (well(now), Ok(())),
            (well(UtcTime::from_millis(990_000)), Ok(())),
            (well(UtcTime::from_millis(1_500_000)), Ok(())),
            (View::default(), Err("the engine is starting")),
            (
                well(UtcTime::from_millis(985_000)),
                Err("the engine has said nothing for 15 s"),
            ),
            (
                no_journal,
                Err("the journal can't be written: no space left on device"),
            ),
            (
                no_ledger,
                Err("the ledger can't be written: no space left on device"),
            ),
        ];
        for (view, expected) in cases {
            let found = readiness(&view, now);
            assert_eq!(found, expected.map_err(str::to_owned), "{:?}", view.now);
        }
    }
}
