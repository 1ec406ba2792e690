//! What stands behind the API: whoever has a snapshot, finds traces and takes orders.
//!
//! A trait, because there are two: the engine, and the fixture that tests of API, pages and command
//! line run against.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use rekindle_model::TraceId;
use serde::{Deserialize, Serialize};

use super::{Problem, ToldIntervention};
use crate::view::{
    ActionView, ComponentView, IncidentView, KeptView, LearnedView, PlanView, PostMortemView,
    SuspectView, TraceView, UnitView, UtcTime, View,
};

/// A boxed future, so that backends can be trait objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Whoever answers for the system.
pub trait Backend: Send + Sync {
    /// The latest snapshot. Cheap, and never waits.
    fn view(&self) -> Arc<View>;

    /// The trace of this id, where it is still kept; a problem where that can't be found out.
    fn trace(&self, id: TraceId) -> BoxFuture<'_, Result<Option<TraceView>, Problem>>;

    /// Gives an order, or asks what a snapshot doesn't hold.
    fn command(&self, command: ApiCommand) -> BoxFuture<'_, Result<Reply, Problem>>;

    /// All that telemetry shows: services, their parts, their instances, whom they call.
    fn components(&self) -> Vec<ComponentView> {
        Vec::new()
    }

    /// What was saved before restarts and is still kept, newest first.
    fn post_mortems(&self) -> BoxFuture<'_, Vec<KeptView>> {
        Box::pin(std::future::ready(Vec::new()))
    }

    /// What was saved before this action, where it is still kept.
    fn post_mortem(&self, action: u64) -> BoxFuture<'_, Result<Option<PostMortemView>, Problem>> {
        let _ = action;
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Whether it is ready for traffic, or why not. By default it is.
    fn ready(&self) -> Result<(), String> {
        Ok(())
    }
}

/// An order, or a question that a snapshot can't answer.
#[derive(Clone, Debug, PartialEq)]
pub enum ApiCommand {
    /// Carry out a plan that waits. Answered by [`Reply::Done`].
    Approve {
        /// The plan.
        plan: u64,
        /// Who says so.
        by: String,
    },
    /// Drop a plan that waits, or is held off. Answered by [`Reply::Done`].
    Reject {
        /// The plan.
        plan: u64,
        /// Who says so.
        by: String,
        /// Why.
        reason: String,
    },
    /// Restart a unit because a person wants it. Answered by [`Reply::Done`], a dry run by
    /// [`Reply::DryRun`].
    Restart {
        /// The unit.
        unit: String,
        /// Only say what would be done.
        dry_run: bool,
        /// Who wants it.
        by: String,
        /// Why.
        reason: String,
    },
    /// Restart nothing until further notice. Answered by [`Reply::Done`].
    Pause {
        /// Who says so.
        by: String,
        /// Why.
        reason: String,
        /// For how long; `None` until someone resumes.
        duration: Option<Duration>,
    },
    /// End the pause. Answered by [`Reply::Done`].
    Resume {
        /// Who says so.
        by: String,
    },
    /// Everything that is known about a unit of the tree. Answered by [`Reply::Explanation`].
    ExplainUnit(
        /// The unit.
        String,
    ),
    /// All that was learned. Answered by [`Reply::Learned`].
    Learned,
    /// The last actions from the ledger, newest first. Answered by [`Reply::History`].
    History {
        /// At most this many.
        limit: usize,
    },
    /// How requests ended in the eyes of somebody outside. Answered by [`Reply::Done`].
    Outcomes(
        /// The reports.
        Vec<ReportedOutcome>,
    ),
    /// What others did to the system. Answered by [`Reply::Done`].
    Intervention(
        /// As it was told.
        ToldIntervention,
    ),
    /// Numbers that a unit tells about itself. Answered by [`Reply::Done`].
    Gauges {
        /// The unit.
        unit: String,
        /// The number of the life that tells them, if it was said.
        generation: Option<u64>,
        /// Names and values.
        gauges: Vec<(String, f64)>,
    },
    /// Forget what was said of a unit, by itself and others, and what it promised to say. Answered by
    /// [`Reply::Done`].
    Forget {
        /// The unit.
        unit: String,
        /// Who says so.
        by: String,
    },
    /// How a unit is in the words of somebody who wasn't asked. Answered by [`Reply::Done`].
    Said {
        /// The unit.
        unit: String,
        /// Who says so; `None` for the unit itself.
        reporter: Option<String>,
        /// What is wrong; `None` when all is well.
        wrong: Option<String>,
        /// In which time the speaker will be heard of again.
        next_within: Option<Duration>,
    },
}

/// What somebody outside says about one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportedOutcome {
    /// The request.
    pub trace_id: TraceId,
    /// How it ended.
    pub outcome: OutcomeWord,
    /// Who says so.
    pub reporter: String,
    /// What was wrong.
    pub detail: Option<String>,
}

/// How a request can have ended in the eyes of somebody outside; `masked` and `unknown` are for
/// those to say who see inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeWord {
    /// As it should.
    Ok,
    /// Not as it should.
    Failed,
    /// As it should, too late.
    Slow,
}

/// The answer to an [`ApiCommand`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// It was done, or has begun.
    Done {
        /// What was done, in a sentence.
        message: String,
        /// The recovery that was begun by it, if one was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        recovery: Option<u64>,
    },
    /// What a restart would do.
    DryRun(Box<DryRun>),
    /// Past actions, newest first.
    History {
        /// The actions.
        actions: Vec<ActionView>,
    },
    /// All that was learned.
    Learned(Box<LearnedView>),
    /// What is known about something.
    Explanation(Box<Explanation>),
}

impl Reply {
    /// The answer to an order that was carried out.
    pub fn done(message: impl Into<String>) -> Self {
        Self::Done {
            message: message.into(),
            recovery: None,
        }
    }
}

/// What a restart would do, what it would cost, and who would object.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DryRun {
    /// The unit.
    pub unit: String,
    /// The units whose executors would be called, in this order.
    pub restarts: Vec<String>,
    /// All units that would lose their state.
    pub affected: Vec<String>,
    /// How long it is expected to take.
    pub expected_downtime_ms: u64,
    /// What it is expected to cost, in failed requests.
    pub expected_cost: f64,
    /// Between what that lies nine times of ten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usual_cost: Option<(f64, f64)>,
    /// The guards that would refuse a person, in their words.
    pub refusals: Vec<String>,
    /// The guards that would refuse an unattended restart.
    pub unattended_refusals: Vec<String>,
}

/// What is known about a suspect or a unit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// As of when.
    #[serde(default)]
    pub at: UtcTime,
    /// What was asked about.
    pub what: String,
    /// The story, a sentence each.
    pub sentences: Vec<String>,
    /// The suspect, when one was asked about, or when one belongs to the unit.
    pub suspect: Option<SuspectView>,
    /// The incident in which it is suspected.
    pub incident: Option<IncidentView>,
    /// The restart unit.
    pub unit: Option<UnitView>,
    /// Plans that include the unit.
    pub plans: Vec<PlanView>,
    /// What was done to the unit, newest first.
    pub actions: Vec<ActionView>,
}
