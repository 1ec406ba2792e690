//! Everything a ranking may know.
//!
//! In canonical order: subjects sorted by name, rows by subject, cases by row. So the same requests
//! give the same input, and a method that goes through it in order gives the same bytes, in
//! whatever order the requests came. What hardly changes from one second's ranking to the next is shared with whoever
//! makes the next one.

use std::collections::BTreeMap;
use std::sync::Arc;

use rekindle_model::{Name, Outcome, RequestType, TraceId, UnixNanos};

use super::times::Times;
use crate::observe::State;
use crate::sampling::{StandsFor, Weights};
use crate::{Component, Counts};

/// A component that some request of the input touched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Which one.
    pub component: Component,
    /// What selectors may match on.
    pub attributes: BTreeMap<Name, Name>,
}

/// One component in one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InputTouch {
    /// Its index in [`Input::subjects`].
    pub subject: usize,
    /// What it did.
    pub state: State,
    /// How many visits lie between it and the user.
    pub depth: u8,
}

/// What a request says about components.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InputRow {
    /// By subject, each once.
    pub touches: Vec<InputTouch>,
    /// The errors that began in subjects.
    pub errors: Vec<(usize, Name)>,
    /// Who saw a call to the subject fail.
    pub complaints: Vec<(usize, Name)>,
}

impl InputRow {
    /// What the subject did; `None` when it wasn't touched.
    pub fn state_of(&self, subject: usize) -> Option<State> {
        let at = self
            .touches
            .binary_search_by_key(&subject, |touch| touch.subject)
            .ok()?;
        Some(self.touches[at].state)
    }
}

/// Requests that were alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Case {
    /// The index of their row in [`Input::rows`].
    pub row: usize,
    /// Whether their type is one of the incident's.
    pub of_incident: bool,
    /// How they ended.
    pub outcome: Outcome,
    /// Whether somebody outside said so.
    pub judged: bool,
    /// For how many each stands.
    pub stands_for: StandsFor,
    /// How many.
    pub count: u64,
}

impl Case {
    /// Whether these are the failures to be explained.
    pub const fn is_failure(&self) -> bool {
        self.of_incident && self.outcome.is_bad()
    }

    /// Whether these ended well for their users.
    pub const fn is_ok(&self) -> bool {
        matches!(self.outcome, Outcome::Ok | Outcome::Masked)
    }
}

/// A trace that can be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ShownTrace {
    /// Which one.
    pub trace_id: TraceId,
    /// The index of its row in [`Input::rows`].
    pub row: usize,
    /// Whether its request failed.
    pub bad: bool,
    /// The request type, as an index in [`Input::request_types`].
    pub request_type: usize,
}

/// What is timed; numbers are indexes in [`Input::subjects`], of operations and dependencies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// Own time and the way to it from another process.
    Whole(usize),
    /// Own time alone, of what is called from another process.
    Own(usize),
    /// The way from the first to the second and back.
    Gap(usize, usize),
    /// The way there.
    There(usize, usize),
}

/// How many requests of one type touched an operation or dependency: so many of its calls are
/// independent of one another, however often each asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Touched {
    /// Its index in [`Input::subjects`].
    pub subject: usize,
    /// The request type, as an index in [`Input::request_types`].
    pub request_type: usize,
    /// Before the window.
    pub baseline: u64,
    /// In the window, as far as it is measured.
    pub window: u64,
}

/// Visits of one operation that asked the same callees, in requests of one type.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shaped {
    /// The operation's index in [`Input::subjects`].
    pub subject: usize,
    /// The request type, as an index in [`Input::request_types`].
    pub request_type: usize,
    /// Operations and dependencies that were asked, sorted, each once.
    pub asked: Vec<usize>,
    /// The one that was asked last.
    pub last: Option<usize>,
    /// How many such visits there were before the window, in the earlier and the later half: how
    /// much they differ is how much calm times drift.
    pub baseline: [u64; 2],
    /// How many there were in the window.
    pub window: u64,
}

/// The input of every method.
#[derive(Clone, Debug)]
pub struct Input {
    /// The incident.
    pub incident: u64,
    /// Up to when the evidence reaches.
    pub at: UnixNanos,
    /// The journal position of the last batch that counted.
    pub cut: u64,
    /// Components, sorted.
    pub subjects: Arc<Vec<Subject>>,
    /// Distinct rows, sorted.
    pub rows: Arc<Vec<InputRow>>,
    /// Requests since the failures began, sorted by row.
    pub window: Vec<Case>,
    /// Requests before, sorted by row.
    pub baseline: Vec<Case>,
    /// Requests that should have come in the window and did not, estimated: as those of their types were
    /// before. Sorted by row.
    pub missing: Vec<Case>,
    /// Request types, sorted.
    pub request_types: Vec<RequestType>,
    /// Own times, sorted by subject and request type.
    pub timed: Times,
    /// Requests that touched what is timed, sorted.
    pub touched: Vec<Touched>,
    /// Whom visits asked, sorted.
    pub shaped: Arc<Vec<Shaped>>,
    /// Traces to choose examples from, sorted by id.
    pub shown: Vec<ShownTrace>,
    /// Who said from outside that one of the failures was one: the request's row in
    /// [`Input::rows`], and the name that it reported under. Sorted, each once.
    pub reports: Vec<(usize, Name)>,
    /// Whether the failures are those that users didn't see: they are `Failed` here.
    pub masked: bool,
    /// What shares rest on.
    pub weights: Weights,
    /// What was not used.
    pub left_out: Counts,
    /// The fewest failed requests that make a ranking.
    pub min_failed: u64,
    /// The most suspects to name.
    pub max_suspects: usize,
}
