//! The vocabulary that every room of Rekindle shares: ids, times, spans, traces, outcomes and
//! interventions.
//!
//! Nothing here does I/O or reads a clock. Types are narrow: an id can't be all zeroes, a trace has
//! at least one span and no duplicate, so what follows needn't check again.

mod id;
mod intervention;
mod life;
mod name;
mod outcome;
mod outline;
mod span;
mod time;
mod trace;

pub use id::{ParseIdError, SpanId, TraceId};
pub use intervention::{Intervention, InterventionKind, Selector};
pub use life::{GENERATION, Life};
pub use name::Name;
pub use outcome::{Outcome, OutcomeReport, RequestType};
pub use outline::{Outline, OutlineBuffer, OutlineParts, Step};
pub use span::{Facts, Link, Notice, Resource, Sampling, Shape, Span, SpanKind, Status};
pub use time::UnixNanos;
pub use trace::{EmptyTrace, ReleaseReason, Trace};
