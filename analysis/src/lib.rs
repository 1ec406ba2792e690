//! Which component is failing the users' requests? Asked of traces, answered by pure functions.
//!
//! [`Analyzer`] is the whole room behind one door: spans, traces, outcome reports and interventions
//! go in, [`Incident`]s and [`Ranking`]s come out. It reads no clock, file, socket or global
//! generator: the same calls in the same order give the same bytes.
//!
//! Inside, in the order in which a request passes: `request` finds its entry and type,
//! `outcome` says how it ended, `observe` says what each component did in it, `spectrum`
//! counts that per time slice, `detect` notices that a type fails more than it used to, and
//! `rank` compares failed requests with successful ones.

mod address;
mod analyzer;
mod callee;
mod caller;
mod causes;
mod component;
mod config;
mod counts;
mod detect;
mod examples;
mod explanation;
mod fence;
mod hidden;
mod hops;
mod incident;
mod missed;
mod normalize;
mod observe;
mod offline;
mod outcome;
mod paths;
mod profile;
pub mod rank;
mod ranking;
mod rates;
mod records;
mod registry;
mod request;
mod rollouts;
mod sampling;
mod sources;
mod spectrum;
#[cfg(test)]
mod stories;
mod tally;
#[cfg(test)]
mod testing;
mod troubled;
mod types;
mod usual;
mod watch;
mod young_old;

pub use analyzer::{Analyzer, RatePoint, RequestTypeSummary};
pub use caller::Caller;
pub use component::{Component, Level};
pub use config::{AnalysisConfig, SlowLimit};
pub use counts::{Counts, LeftOut};
pub use detect::TypeDetector;
pub use explanation::{
    Alternative, Compared, Counted, Doubt, Explanation, LatencyShift, Measured, Origin, Pair,
    Relation, Requests, StructureChange, Support, Times,
};
pub use hidden::Masked;
pub use incident::{Change, Closing, ClosingReason, Incident};
pub use missed::Told;
pub use observe::State;
pub use offline::{Heap, MaskedOf, Offline, Outage, input_around, input_of};
pub use ranking::{Evidence, Examples, Ranking, Shape, ShareInterval, Suspect, Verdict};
pub use rollouts::Rollout;
pub use sampling::{Standing, StandsFor, Weights};
pub use spectrum::{MergeError, PORTABLE_VERSION, PortableCell, PortableSpectrum};
