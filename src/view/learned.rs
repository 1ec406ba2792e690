//! What was learned, as it is written into files and read from them ([`crate::config`]).

use std::time::SystemTime;

use rekindle_recovery::belief::{Interval, Key, Learned, Level, Seed};
use rekindle_recovery::cost::{CostKey, Measured, Moments};
use rekindle_recovery::{FaultSignature, UnitName};
use serde::{Deserialize, Serialize};

use super::UtcTime;

/// How the level is called that needs no restart. Units' names have no space.
pub(crate) const BY_ITSELF: &str = "by itself";
/// How the level is called that no restart is.
pub(crate) const NO_RESTART: &str = "no restart";
/// What a step's number stands after.
pub(crate) const STEP: &str = "step ";

/// All that was learned.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LearnedView {
    /// What was seen of cures.
    pub beliefs: Vec<BeliefRecord>,
    /// What restarts took and failed.
    pub costs: Vec<CostRecord>,
    /// Rows that were left out, since the tree has no such units.
    #[serde(default)]
    pub left_out: usize,
}

/// What was seen of one kind of fault.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BeliefRecord {
    /// Of which faults.
    pub about: About,
    /// The kind of unit, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The evidence's shape.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<String>,
    /// The error's type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The request types that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<Vec<String>>,
    /// As of when; what a person knows has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<UtcTime>,
    /// What was seen.
    pub seen: Vec<SeenRecord>,
}

/// Of which faults something was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum About {
    /// This very fault in this unit.
    #[default]
    Fault,
    /// Faults of this shape in this unit.
    Shape,
    /// Faults of this shape in any unit.
    AnyUnit,
    /// Faults of this shape and error in any unit.
    AnyUnitError,
    /// Faults that no suspect had.
    Elsewhere,
    /// The same, of this shape and error.
    ElsewhereError,
    /// Whether faults of this shape and error that show in others sit in this unit.
    Beside,
}

/// The words for [`About`].
pub(crate) const ABOUT: [(&str, About); 7] = [
    ("fault", About::Fault),
    ("shape", About::Shape),
    ("any_unit", About::AnyUnit),
    ("any_unit_error", About::AnyUnitError),
    ("elsewhere", About::Elsewhere),
    ("elsewhere_error", About::ElsewhereError),
    ("beside", About::Beside),
];

/// The smallest level that cures lay above one and at or below another.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SeenRecord {
    /// The largest that failed.
    pub above: String,
    /// The one that cured.
    pub until: String,
    /// How many recoveries.
    pub recoveries: f64,
    /// Whether time was given to go by itself.
    pub waited: bool,
    /// How likely it went by itself just then, if it is one that does.
    pub coincidence: f64,
}

/// What restarts of one unit, or of all that are restarted in one way, took and failed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CostRecord {
    /// The kind of unit …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// … or the way in which units are restarted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub way: Option<String>,
    /// How long they took, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub downtime: Option<FigureRecord>,
    /// The share of the requests that would have come meanwhile which failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing: Option<FigureRecord>,
}

/// What was measured of a figure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FigureRecord {
    /// The mean.
    pub mean: f64,
    /// Of how many restarts.
    pub restarts: f64,
    /// Their variance, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variance: Option<f64>,
    /// As of when; what a person knows has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<UtcTime>,
}

fn level(level: &Level) -> String {
    match level {
        Level::ByItself => BY_ITSELF.to_owned(),
        Level::Unit(unit) => unit.to_string(),
        Level::Step(at) => format!("{STEP}{at}"),
        Level::None => NO_RESTART.to_owned(),
    }
}

/// The level that is called so; `None` for what is no name of one.
pub(crate) fn level_called(text: &str) -> Option<Level> {
    match text {
        BY_ITSELF => Some(Level::ByItself),
        NO_RESTART => Some(Level::None),
        _ => match text.strip_prefix(STEP) {
            Some(at) => at.parse().ok().map(Level::Step),
            None => Some(Level::Unit(UnitName::from(text))),
        },
    }
}

fn belief((key, seed): &(Key, Seed)) -> BeliefRecord {
    let mut record = BeliefRecord {
        at: seed.at.map(UtcTime::from),
        seen: seed.seen.iter().map(seen).collect(),
        ..BeliefRecord::default()
    };
    let some = |text: &String| Some(text.clone());
    record.unit = key.unit().map(ToString::to_string);
    (record.about, record.shape, record.error) = match key {
        Key::Exact(signature, _) => {
            let FaultSignature {
                request_types,
                error_type,
                shape,
            } = signature;
            record.requests = Some(request_types.clone());
            (About::Fault, some(shape), some(error_type))
        }
        Key::Shape(shape, _) => (About::Shape, some(shape), None),
        Key::Anywhere(shape) => (About::AnyUnit, some(shape), None),
        Key::Error(shape, error) => (About::AnyUnitError, some(shape), some(error)),
        Key::Elsewhere => (About::Elsewhere, None, None),
        Key::ElsewhereOf(shape, error) => (About::ElsewhereError, some(shape), some(error)),
        Key::Beside(shape, error, _) => (About::Beside, some(shape), some(error)),
    };
    record
}

fn seen(seen: &Interval) -> SeenRecord {
    SeenRecord {
        above: level(&seen.above),
        until: level(&seen.until),
        recoveries: seen.weight,
        waited: !seen.or_by_itself,
        coincidence: seen.coincidence,
    }
}

fn cost((key, measured): &(CostKey, Measured)) -> CostRecord {
    let (unit, way) = match key {
        CostKey::Unit(unit) => (Some(unit.to_string()), None),
        CostKey::Way(way) => (None, Some(way.clone())),
    };
    CostRecord {
        unit,
        way,
        downtime: measured.downtime.as_ref().map(figure),
        failing: measured.failing.as_ref().map(figure),
    }
}

fn figure(moments: &Moments) -> FigureRecord {
    FigureRecord {
        mean: moments.mean(),
        restarts: moments.weight(),
        variance: moments.variance(),
        at: moments.is_dated().then(|| UtcTime::from(moments.at())),
    }
}

impl From<&Learned> for LearnedView {
    fn from(learned: &Learned) -> Self {
        Self {
            beliefs: learned.beliefs.iter().map(belief).collect(),
            costs: learned.costs.iter().map(cost).collect(),
            left_out: learned.left_out,
        }
    }
}

impl FigureRecord {
    /// What it says, in recovery's words.
    pub(crate) fn moments(&self) -> Moments {
        let at = self.at.map(SystemTime::from);
        Moments::seeded(self.mean, self.restarts, self.variance, at)
    }
}
