//! A story: a text says what the units are and what happens to them when; recovery itself (its task,
//! its ledger on disk, its guards, through the executors' own trait) plays it in virtual time, and what
//! comes of it is told line by line. The same text gives the same lines.

mod script;
mod stage;
mod teller;
mod words;

use std::path::Path;
use std::time::Duration;

use rekindle_recovery::ledger::audit;
use rekindle_recovery::lifecycle::State;
use rekindle_recovery::plan::PlanId;
use rekindle_recovery::service::{Command, Recovery, RecoveryView};
use rekindle_recovery::tree::Inferred;
use serde::Serialize;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use self::script::Event;
pub use self::script::{Script, ScriptError};
use self::stage::Stage;
use super::SimulateError;
use super::service::{Engine, PERSON, in_virtual_time};

/// How often recovery is told what is wrong.
const TICK: Duration = Duration::from_secs(1);

/// What came of a story.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Told {
    /// What happened, in order.
    pub lines: Vec<Line>,
    /// Executors' calls that were restarts.
    pub restarts: u64,
    /// Requests that failed for whatever reason.
    pub failed_requests: f64,
    /// Those of them that would have gone well without the restarts.
    pub failed_by_restarts: f64,
    /// What the ledger says that can't have been, and never should say.
    pub crimes: Vec<String>,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// When, in seconds since the beginning.
    pub at: f64,
    /// What, in words.
    pub what: String,
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:>9.1} s  {}", self.at, self.what)
    }
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for line in &self.lines {
            writeln!(f, "{line}")?;
        }
        for crime in &self.crimes {
            writeln!(f, "the ledger: {crime}")?;
        }
        let restarts = if self.restarts == 1 {
            "restart"
        } else {
            "restarts"
        };
        writeln!(
            f,
            "{} {restarts}; {:.0} requests failed, {:.0} of them only because of restarts",
            self.restarts, self.failed_requests, self.failed_by_restarts
        )
    }
}

/// Recovery, and who tells what it does.
struct Watched {
    engine: Engine,
    teller: JoinHandle<()>,
}

impl Watched {
    fn begin(stage: &Stage, folder: &Path) -> Result<Self, SimulateError> {
        let engine = Engine::begin(stage, folder)?;
        let teller = tokio::spawn(teller::tell(stage.clone(), engine.recovery.status()));
        Ok(Self { engine, teller })
    }

    async fn kill(self) -> Result<(), SimulateError> {
        self.engine.kill().await?;
        self.teller.abort();
        // It was broken off, which is no news.
        drop(self.teller.await);
        Ok(())
    }
}

impl Script {
    /// Plays it.
    ///
    /// # Errors
    /// When the simulated service has nowhere to live or ends by itself.
    pub fn play(&self) -> Result<Told, SimulateError> {
        in_virtual_time(async |folder| self.act(folder).await)
    }

    async fn act(&self, folder: &Path) -> Result<Told, SimulateError> {
        let stage = Stage::new(self);
        let start = Instant::now();
        let mut watched = Watched::begin(&stage, folder)?;
        let mut events = self.events.iter().peekable();
        let mut inferred = Inferred::default();
        let mut tick = start + TICK;
        let end = start + self.end;
        loop {
            let event = events.peek().map(|(at, _)| start + *at);
            let next = event.map_or(tick, |at| at.min(tick)).min(end);
            sleep_until(next).await;
            if next == end && event.is_none_or(|at| at > end) {
                break;
            }
            while let Some((_, event)) = events.next_if(|(at, _)| start + *at <= next) {
                stage.say(event.words());
                match event {
                    Event::Kill => {
                        watched.kill().await?;
                        watched = Watched::begin(&stage, folder)?;
                    }
                    Event::Infer(group) => {
                        inferred.groups.push(group.clone());
                        let told = watched.engine.recovery.infer(inferred.clone()).await;
                        told.map_err(|error| SimulateError::Ended(error.to_string()))?;
                    }
                    event => happen(event, &stage, &watched.engine.recovery).await,
                }
            }
            if next == tick {
                tick += TICK;
                for evidence in stage.evidence() {
                    watched.engine.told(evidence).await?;
                }
            }
        }
        // What was told in this moment may be heard.
        sleep(Duration::from_millis(1)).await;
        watched.kill().await?;
        let crimes = audit(folder.join("ledger.db"))?;
        let crimes = crimes.iter().map(ToString::to_string).collect();
        Ok(stage.told(crimes))
    }
}

async fn happen(event: &Event, stage: &Stage, recovery: &Recovery) {
    let undecided = || {
        let status = recovery.status().borrow().clone();
        let held = |it: &&RecoveryView| it.state == State::HeldOff;
        let held = status.recoveries.iter().find(held);
        let first = status.proposals.first().map(|proposal| proposal.plan);
        first.or_else(|| held?.plan.as_ref().map(|plan| plan.id))
    };
    let command = match event {
        Event::Fails(fault) => return stage.begin(fault),
        Event::Executor(unit, manner) => return stage.behave(unit, *manner),
        Event::Rollout(unit) => return stage.renew(unit),
        Event::Clock(seconds) => return stage.jump(*seconds),
        // By who holds the engine.
        Event::Kill | Event::Infer(_) => return,
        Event::Approve(plan) => plan
            .map(PlanId)
            .or_else(undecided)
            .map(|plan| Command::Approve {
                plan,
                by: PERSON.to_owned(),
            }),
        Event::Reject(plan) => plan
            .map(PlanId)
            .or_else(undecided)
            .map(|plan| Command::Reject {
                plan,
                by: PERSON.to_owned(),
                reason: "leave it".to_owned(),
            }),
        Event::Pause(duration) => Some(Command::Pause {
            by: PERSON.to_owned(),
            reason: "to look".to_owned(),
            duration: Some(*duration),
        }),
        Event::Resume => Some(Command::Resume),
        Event::Restart(unit) => Some(Command::Restart {
            unit: unit.clone(),
            dry_run: false,
            by: PERSON.to_owned(),
            reason: "to see".to_owned(),
        }),
    };
    let Some(command) = command else {
        return stage.say("and nothing waits for a person".to_owned());
    };
    if let Err(error) = recovery.command(command).await {
        stage.say(format!("and is told: {error}"));
    }
}
