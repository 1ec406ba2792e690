//! What recovery does, from one status to the next, in words.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rekindle_recovery::guard::Guard;
use rekindle_recovery::lifecycle::State;
use rekindle_recovery::plan::{Choice, Plan};
use rekindle_recovery::service::{RecoveryId, RecoveryStatus, RecoveryView};
use tokio::sync::watch;

use super::stage::Stage;

/// What was last told of a recovery.
#[derive(Default)]
struct Known {
    tried: usize,
    state: Option<State>,
    plan: String,
    against: BTreeSet<Guard>,
}

/// Tells of every change, for as long as recovery lives.
pub(super) async fn tell(stage: Stage, mut status: watch::Receiver<Arc<RecoveryStatus>>) {
    let mut all: BTreeMap<RecoveryId, Known> = BTreeMap::new();
    let mut is_first = true;
    loop {
        let now = status.borrow_and_update().clone();
        for recovery in now.finished.iter().rev().chain(&now.recoveries) {
            let known = all.entry(recovery.recovery).or_default();
            let news = known.news(recovery);
            // What was over before this engine began was told then.
            let is_old = is_first && recovery.state.is_over();
            for words in news.into_iter().filter(|_| !is_old) {
                stage.say(format!("recovery {}: {words}", recovery.recovery));
            }
        }
        is_first = false;
        if status.changed().await.is_err() {
            return;
        }
    }
}

impl Known {
    /// What is new since it was last asked.
    fn news(&mut self, recovery: &RecoveryView) -> Vec<String> {
        let mut news = Vec::new();
        for one in recovery.tried.iter().skip(self.tried) {
            news.push(format!("{}: {}", one.unit, one.verdict.as_str()));
        }
        self.tried = recovery.tried.len();
        let refusals = &recovery.refusals;
        let against: BTreeSet<Guard> = refusals.iter().map(|refusal| refusal.guard).collect();
        // For a moment that is so each time.
        let is_new = recovery.state == State::Watching && against == [Guard::Untold].into();
        let plan = recovery.plan.as_ref().map(words).unwrap_or_default();
        let is_undecided = matches!(
            recovery.state,
            State::Watching | State::HeldOff | State::Proposed
        );
        let waits = recovery
            .plan
            .as_ref()
            .is_some_and(|plan| plan.choice == Choice::Wait);
        // What is carried out in this very moment is told by who carries it out.
        if is_undecided && !plan.is_empty() && (waits || !against.is_empty() || is_new) {
            if self.plan != plan {
                news.push(plan.clone());
                self.plan = plan;
            }
            if is_new {
                return news;
            }
            if self.against != against || self.state != Some(recovery.state) {
                let state = match recovery.state {
                    State::Watching => "not now",
                    state => state.as_str(),
                };
                let why: Vec<&str> = refusals.iter().map(|it| it.words.as_str()).collect();
                if !why.is_empty() {
                    news.push(format!("{state}: {}", why.join("; ")));
                }
            }
        }
        if recovery.state.is_over() && self.state != Some(recovery.state) {
            news.push(recovery.state.to_string());
        }
        (self.against, self.state) = (against, Some(recovery.state));
        news
    }
}

/// The plan, with the chance of its first step.
fn words(plan: &Plan) -> String {
    let steps: Vec<String> = plan.ladder.iter().map(ToString::to_string).collect();
    let chance = plan.candidates.first().map_or(0.0, |it| it.probability);
    format!(
        "plans to {} ({:.0} % for the first)",
        steps.join(", then "),
        100.0 * chance
    )
}
