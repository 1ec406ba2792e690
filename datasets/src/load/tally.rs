//! Counts requests and actions, second by second.

use std::collections::{BTreeMap, VecDeque};
use std::ops::AddAssign;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::Operation;

/// Seconds that are kept one by one: two hours. Later ones are in the totals only.
const MAX_SECONDS: usize = 7_200;

/// Failed requests that are kept with their trace, the newest.
const MAX_EXAMPLES: usize = 64;

/// How a request failed its user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// The server said so.
    Status(u16),
    /// It took longer than users wait.
    Late,
    /// The answer was wrong.
    Wrong,
    /// There was no answer.
    Unanswered(String),
}

/// A request that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedRequest {
    /// Since the users came, in milliseconds, when it was made.
    pub at_ms: u64,
    /// What was asked.
    pub operation: Operation,
    /// How it failed.
    pub failure: Failure,
    /// The trace, if the server said it.
    pub trace_id: Option<String>,
}

/// Requests and actions of a second, or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Requests that were answered as they should be.
    pub ok_requests: u64,
    /// Requests that failed; late and wrong ones are among them.
    pub failed_requests: u64,
    /// Of these, the late ones.
    pub late_requests: u64,
    /// Of these, the wrong ones.
    pub wrong_requests: u64,
    /// Requests of actions that succeeded or were abandoned before anything failed. (Good Taw.)
    pub good_operations: u64,
    /// Requests of actions that failed, those before the failure included. (Bad Taw.)
    pub bad_operations: u64,
    /// Actions that reached their commit point; counted in the second of their end.
    pub ok_actions: u64,
    /// Actions that failed; counted in the second of their end.
    pub failed_actions: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.ok_requests += other.ok_requests;
        self.failed_requests += other.failed_requests;
        self.late_requests += other.late_requests;
        self.wrong_requests += other.wrong_requests;
        self.good_operations += other.good_operations;
        self.bad_operations += other.bad_operations;
        self.ok_actions += other.ok_actions;
        self.failed_actions += other.failed_actions;
    }
}

/// How one operation fared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationCounts {
    /// Requests that were answered as they should be.
    pub ok: u64,
    /// Requests that failed.
    pub failed: u64,
    /// How long all of them took together, in microseconds.
    pub total_us: u64,
    /// The longest of them, in microseconds.
    pub longest_us: u64,
}

/// What the users saw.
#[derive(Clone, Debug)]
pub struct Tally {
    /// When they came: second 0 begins here.
    pub started: Instant,
    /// All together.
    pub total: Counts,
    /// Second by second.
    pub seconds: Vec<Counts>,
    /// By what was asked.
    pub operations: BTreeMap<Operation, OperationCounts>,
    /// The newest failures.
    pub failures: VecDeque<FailedRequest>,
}

/// A request that was made: the account of it, and of what it belongs to.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) at: Instant,
    pub(crate) took: Duration,
    pub(crate) operation: Operation,
    pub(crate) failure: Option<Failure>,
    pub(crate) trace_id: Option<String>,
}

/// The requests of an action so far, by the instant when each was made.
#[derive(Clone, Debug, Default)]
pub(crate) struct Action {
    made: Vec<Instant>,
}

impl Tally {
    pub(crate) fn new(started: Instant) -> Self {
        Self {
            started,
            total: Counts::default(),
            seconds: Vec::new(),
            operations: BTreeMap::new(),
            failures: VecDeque::new(),
        }
    }

    /// The counts of the seconds `[from, until)` since the users came.
    pub fn between(&self, from: Instant, until: Instant) -> Counts {
        let from = self.second(from);
        let until = self.second(until).min(self.seconds.len());
        let mut sum = Counts::default();
        for counts in self.seconds.iter().take(until).skip(from) {
            sum += *counts;
        }
        sum
    }

    /// Counts a request, and its action if it ends with it: at a commit point or a failure.
    pub(crate) fn request(&mut self, made: Made, action: &mut Action) {
        let failed = made.failure.is_some();
        self.add(made.at, |counts| match &made.failure {
            None => counts.ok_requests += 1,
            Some(failure) => {
                counts.failed_requests += 1;
                match failure {
                    Failure::Late => counts.late_requests += 1,
                    Failure::Wrong => counts.wrong_requests += 1,
                    Failure::Status(_) | Failure::Unanswered(_) => {}
                }
            }
        });
        let took = made.took.as_micros() as u64;
        let operation = self.operations.entry(made.operation).or_default();
        operation.ok += u64::from(!failed);
        operation.failed += u64::from(failed);
        operation.total_us += took;
        operation.longest_us = operation.longest_us.max(took);
        action.made.push(made.at);
        let ended = made.at + made.took;
        if failed {
            self.end_action(action, |counts| counts.bad_operations += 1);
            self.add(ended, |counts| counts.failed_actions += 1);
        } else if made.operation.commits() {
            self.end_action(action, |counts| counts.good_operations += 1);
            self.add(ended, |counts| counts.ok_actions += 1);
        }
        if let Some(failure) = made.failure {
            if self.failures.len() == MAX_EXAMPLES {
                self.failures.pop_front();
            }
            let since = made.at.saturating_duration_since(self.started);
            self.failures.push_back(FailedRequest {
                at_ms: since.as_millis() as u64,
                operation: made.operation,
                failure,
                trace_id: made.trace_id,
            });
        }
    }

    /// The user goes away: nothing failed, nothing was reached.
    pub(crate) fn abandon(&mut self, action: &mut Action) {
        self.end_action(action, |counts| counts.good_operations += 1);
    }

    fn end_action(&mut self, action: &mut Action, count: impl Fn(&mut Counts)) {
        for at in action.made.drain(..) {
            self.add(at, &count);
        }
    }

    fn add(&mut self, at: Instant, count: impl Fn(&mut Counts)) {
        count(&mut self.total);
        let second = self.second(at);
        if second >= MAX_SECONDS {
            return;
        }
        if self.seconds.len() <= second {
            self.seconds.resize(second + 1, Counts::default());
        }
        count(&mut self.seconds[second]);
    }

    fn second(&self, at: Instant) -> usize {
        at.saturating_duration_since(self.started).as_secs() as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(started: Instant, second: u64, operation: Operation, failure: Option<Failure>) -> Made {
        Made {
            at: started + Duration::from_secs(second),
            took: Duration::from_millis(5),
            operation,
            failure,
            trace_id: None,
        }
    }

    #[test]
    fn a_failure_makes_the_whole_action_bad_in_its_own_seconds() {
        let started = Instant::now();
        let mut tally = Tally::new(started);
        let mut action = Action::default();
        tally.request(made(started, 0, Operation::Home, None), &mut action);
        tally.request(made(started, 1, Operation::Search, None), &mut action);
        let failure = Some(Failure::Status(503));
        tally.request(made(started, 2, Operation::Item, failure), &mut action);
        assert_eq!(tally.total.ok_requests, 2);
        assert_eq!(tally.total.failed_requests, 1);
        assert_eq!(tally.total.failed_actions, 1);
        let bad: Vec<u64> = tally
            .seconds
            .iter()
            .map(|second| second.bad_operations)
            .collect();
        assert_eq!(bad, [1, 1, 1]);
        assert_eq!(tally.total.good_operations, 0);
        assert_eq!(tally.failures.len(), 1);
    }

    #[test]
    fn a_commit_point_makes_it_good_and_the_next_action_is_another() {
        let started = Instant::now();
        let mut tally = Tally::new(started);
        let mut action = Action::default();
        tally.request(made(started, 0, Operation::Search, None), &mut action);
        tally.request(made(started, 0, Operation::Item, None), &mut action);
        tally.request(made(started, 0, Operation::Quote, None), &mut action);
        tally.request(
            made(started, 1, Operation::Bid, Some(Failure::Late)),
            &mut action,
        );
        assert_eq!(
            (tally.total.good_operations, tally.total.bad_operations),
            (2, 2)
        );
        assert_eq!((tally.total.ok_actions, tally.total.failed_actions), (1, 1));
        assert_eq!(tally.total.late_requests, 1);
    }

    #[test]
    fn an_abandoned_action_is_no_failure() {
        let started = Instant::now();
        let mut tally = Tally::new(started);
        let mut action = Action::default();
        tally.request(made(started, 0, Operation::Category, None), &mut action);
        tally.abandon(&mut action);
        assert_eq!(tally.total.good_operations, 1);
        assert_eq!(tally.total.ok_actions + tally.total.failed_actions, 0);
        let between = tally.between(started, started + Duration::from_secs(1));
        assert_eq!(between.ok_requests, 1);
    }
}
