//! What Rekindle knows, in the form in which it is shown: one snapshot that the HTTP API emits, the
//! command line reads back and the pages render.
//!
//! One value feeds all three, so that they can't disagree. It is a copy, made by the engine a few
//! times a second: readers never hold up the engine, and the engine's own types stay free to
//! change. Numbers keep their units in their names (`_ms`, `_per_s`), shares are in `[0, 1]`, and
//! what isn't known is absent rather than zero.

mod incident;
mod intervention;
pub(crate) mod learned;
mod post_mortem;
mod recovery;
mod rejuvenation;
mod request;
mod status;
mod time;
mod trace;

use serde::{Deserialize, Serialize};

pub use incident::{
    ComponentView, FactView, IncidentState, IncidentView, Level, RankingVerdict, RankingView,
    Shape, ShareView, SuspectView,
};
pub use intervention::InterventionView;
pub(crate) use intervention::{is_no_id, reference_anew, reference_of, told_as};
pub use learned::{About, BeliefRecord, CostRecord, FigureRecord, LearnedView, SeenRecord};
pub use post_mortem::{KeptView, PostMortemView};
pub use recovery::{
    ActionResult, ActionView, AlternativeView, BudgetView, ExecutorKind, FailsWithView,
    HealthState, PlanState, PlanView, ProcessPhase, ProcessView, RecoveryView, ReliefView,
    StepView, SuspicionView, UnitState, UnitView, VerdictView, WatchStanding, WatchView,
};
pub use rejuvenation::{RejuvenationView, TurnView};
pub use request::{MaskedView, RatePointView, RequestTypeView, SampledView};
pub use status::{
    GrowingView, HealthView, HeardView, ListeningView, PausedView, RefusedView, SilentView,
    StatusView,
};
pub use time::{ParseTimeError, UtcTime};
pub use trace::{SpanView, TraceView};

/// Everything that is shown, as of one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct View {
    /// When it was made.
    pub now: UtcTime,
    /// How Rekindle itself is.
    pub status: StatusView,
    /// Open incidents first, then closed ones; each group newest first.
    pub incidents: Vec<IncidentView>,
    /// Request types, failing ones first, then by rate.
    pub request_types: Vec<RequestTypeView>,
    /// The restart tree, each unit before those below it, in the configuration's order.
    pub tree: Vec<UnitView>,
    /// Plans, actions and budgets.
    pub recovery: RecoveryView,
    /// What is restarted before it fails.
    #[serde(default)]
    pub rejuvenation: Vec<RejuvenationView>,
}

impl View {
    /// The incident of this number.
    pub fn incident(&self, id: u64) -> Option<&IncidentView> {
        self.incidents.iter().find(|incident| incident.id == id)
    }

    /// The incidents that are still open, newest first.
    pub fn open_incidents(&self) -> impl Iterator<Item = &IncidentView> {
        self.incidents
            .iter()
            .filter(|incident| incident.state == IncidentState::Open)
    }

    /// The incident that people mean when they name none: the newest open one, else the newest.
    pub fn current_incident(&self) -> Option<&IncidentView> {
        self.open_incidents().next().or(self.incidents.first())
    }

    /// The unit of this name.
    pub fn unit(&self, name: &str) -> Option<&UnitView> {
        self.tree.iter().find(|unit| unit.name == name)
    }

    /// The plan of this number.
    pub fn plan(&self, id: u64) -> Option<&PlanView> {
        self.recovery.plans.iter().find(|plan| plan.id == id)
    }

    /// The action of this number.
    pub fn action(&self, id: u64) -> Option<&ActionView> {
        self.recovery.actions.iter().find(|action| action.id == id)
    }

    /// Plans that wait for a person.
    pub fn waiting_plans(&self) -> impl Iterator<Item = &PlanView> {
        self.recovery
            .plans
            .iter()
            .filter(|plan| plan.state == PlanState::Proposed)
    }

    /// The suspect that `text` names: its rank in the current incident's ranking (`1`), its key or
    /// the name of one of its components.
    pub fn suspect(&self, text: &str) -> Option<(&IncidentView, &SuspectView)> {
        let incidents = self.open_incidents().chain(
            self.incidents
                .iter()
                .filter(|i| i.state != IncidentState::Open),
        );
        for incident in incidents {
            let Some(ranking) = &incident.ranking else {
                continue;
            };
            if let Some(suspect) = ranking
                .suspects
                .iter()
                .find(|suspect| suspect.answers_to(text))
            {
                return Some((incident, suspect));
            }
        }
        None
    }
}
