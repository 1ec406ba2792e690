//! Short restarts that users don't notice.
//!
//! A component that is restarted in 100 ms fails the requests of those 100 ms, unless somebody holds
//! them back. The crash-only design (Candea and Fox, *Crash-Only Software*, HotOS 2003) says what is
//! needed for that, and these two [tower](tower_layer) layers do it over HTTP:
//!
//! - every request carries its **time to live**, which shrinks on its way: [`TTL`], in milliseconds;
//! - every request says whether it is **idempotent**, each sub-request for itself: [`IDEMPOTENT`], or
//!   else its method says so;
//! - who can't be asked now says when: `503` with `Retry-After`, to the millisecond in
//!   [`RETRY_AFTER_MS`].
//!
//! [`RetryLayer`] is for the side that asks: it asks again, but only what is idempotent, and only
//! while time is left. [`DeadlineLayer`] is for the side that is asked: it gives up when the time of
//! the request is over, because nobody waits for the answer any more, and lets handlers know what is
//! left for their own sub-requests.
//!
//! Where Rekindle runs, an [`Engine`] tells both when the unit that was asked comes back, as its
//! restarts took so far: it is when [`RetryLayer`] asks again, and what both name who answer `503`
//! themselves. An engine that is away or slow delays no turn and fails no request: only a failure that
//! would be final waits for its word, at most 50 ms, and after an engine's silence none does for a second.
//!
//! This crate knows nothing of the rest of Rekindle, so that a service can use it without it, and
//! brings no HTTP client: the engine is asked over a service of the caller's.

mod deadline;
mod engine;
mod retry;
mod vocabulary;

pub use deadline::{DeadlineLayer, DeadlineService};
pub use engine::Engine;
pub use retry::{RetryError, RetryLayer, RetryService};
pub use vocabulary::{
    IDEMPOTENT, RETRY_AFTER_MS, TTL, TimeLeft, come_back_in, is_idempotent, time_to_live,
};
