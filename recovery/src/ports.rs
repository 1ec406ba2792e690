//! What recovery asks of the world besides requests' fates and restarts: probes, and a way to call
//! for a person. The daemon implements these; tests and simulations bring their own.

use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::UnitName;
use crate::executor::BoxFuture;
use crate::spec::ProbeSpec;

/// Somebody who can ask a unit how it is.
pub trait Prober: Send + Sync {
    /// Asks once.
    ///
    /// # Errors
    /// What was wrong with the answer, in words for people.
    fn probe<'a>(&'a self, spec: &'a ProbeSpec) -> BoxFuture<'a, Result<(), String>>;

    /// Whether a supervised process of this unit is running; `None` where nobody can tell, which
    /// is never taken for a yes.
    fn running<'a>(&'a self, unit: &'a UnitName) -> BoxFuture<'a, Option<bool>> {
        let _ = unit;
        Box::pin(std::future::ready(None))
    }

    /// Whether the unit's figures keep within their bounds ([`crate::watch`]); `None` where that can't be
    /// told, or not yet. Told once of each look, so that no look counts twice.
    fn within_bounds<'a>(&'a self, unit: &'a UnitName) -> BoxFuture<'a, Option<bool>> {
        let _ = unit;
        Box::pin(std::future::ready(None))
    }
}

/// What a notice is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoticeKind {
    /// A plan waits for approval.
    Proposal,
    /// Recovery has given up: a person must look.
    GivenUp,
    /// Nothing is restarted as long as something lasts that may pass, and may be long: a person should look.
    HeldOff,
    /// Nothing is restarted as long as so much is sick at once.
    Storm,
    /// A fault was cured again that was cured a short while ago.
    Recurring,
    /// Nothing can be done at all: the ledger can't be written.
    Disabled,
    /// Preventive restarts have halted, or were not enough.
    Rejuvenation,
}

/// Something that a person should know at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// What it is about.
    pub kind: NoticeKind,
    /// When it was said.
    pub at: SystemTime,
    /// The incident, where one is meant.
    pub incident: Option<u64>,
    /// The unit, where one is meant.
    pub unit: Option<UnitName>,
    /// What happened, and what is expected of the reader.
    pub text: String,
}

/// Somebody who can reach a person. It must not block: what takes long it does by itself, bounded.
pub trait Notifier: Send + Sync {
    /// Passes the notice on. That it was said is logged anyway, so failures are the notifier's own.
    fn notify(&self, notice: &Notice);
}

/// Says nothing to nobody: for tests and simulations.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Notifier for Silent {
    fn notify(&self, _notice: &Notice) {}
}

/// Where the wall's time comes from: the system's clock in the daemon, virtual time in simulations.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;
