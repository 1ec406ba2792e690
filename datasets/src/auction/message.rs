//! What components say to each other: a question with arguments, an answer or a reason why not.
//!
//! Messages own their data. They are all that crosses the border of a component, so a life can be
//! ended at any moment without leaving anything half-changed in another one.

use std::collections::BTreeMap;

/// The arguments of a call, by name; from path, query and form when it came over HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Arguments(BTreeMap<String, String>);

impl Arguments {
    pub(crate) fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.0.insert(name.to_owned(), value.to_string());
        self
    }

    pub(crate) fn extend(&mut self, more: impl IntoIterator<Item = (String, String)>) {
        self.0.extend(more);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub(crate) fn find(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(crate) fn text(&self, name: &'static str) -> Result<&str, CallError> {
        self.find(name)
            .ok_or_else(|| CallError::BadRequest(format!("argument {name} is missing")))
    }

    /// The argument as a number of the wanted kind.
    pub(crate) fn number<T: std::str::FromStr>(&self, name: &'static str) -> Result<T, CallError> {
        let text = self.text(name)?;
        text.parse()
            .map_err(|_| CallError::BadRequest(format!("argument {name} is no number: {text:?}")))
    }
}

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CallError {
    /// The question makes no sense.
    #[error("{0}")]
    BadRequest(String),
    /// What was asked for doesn't exist: an answer, not a failure.
    #[error("{0} not found")]
    NotFound(String),
    /// The rules forbid it (a bid too low, a wrong password): an answer, not a failure.
    #[error("refused: {0}")]
    Refused(String),
    /// The component itself failed.
    #[error("{message}")]
    Failed {
        error_type: &'static str,
        message: String,
    },
    /// A callee answered with a failure.
    #[error("{callee} failed: {error_type}")]
    PassedOn { callee: String, error_type: String },
    /// A callee didn't answer.
    #[error("{callee} did not answer: {error_type}")]
    Unanswered {
        callee: String,
        error_type: &'static str,
    },
}

/// The callee took longer than its caller could wait.
pub(crate) const TIMEOUT: &str = "timeout";
/// The callee's life ended while it had the question.
pub(crate) const RESTARTING: &str = "restarting";
/// There is no life of the callee.
pub(crate) const UNAVAILABLE: &str = "unavailable";
/// The callee's queue is full.
pub(crate) const BUSY: &str = "busy";
/// The callee's thread died with the question.
pub(crate) const CRASHED: &str = "crashed";

impl CallError {
    pub(crate) fn corrupt_state(row: usize) -> Self {
        Self::Failed {
            error_type: "corrupt_state",
            message: format!("the index points at row {row}, which is not there"),
        }
    }

    pub(crate) fn store(error: &rusqlite::Error) -> Self {
        Self::Failed {
            error_type: "store_error",
            message: format!("the store failed: {error}"),
        }
    }

    pub(crate) fn no_operation(name: &str) -> Self {
        Self::BadRequest(format!("there is no operation {name}"))
    }

    /// What goes into `error.type`; `None` when it is an answer that just says no.
    pub(crate) fn error_type(&self) -> Option<&str> {
        match self {
            Self::BadRequest(_) | Self::NotFound(_) | Self::Refused(_) => None,
            Self::Failed { error_type, .. } | Self::Unanswered { error_type, .. } => {
                Some(error_type)
            }
            Self::PassedOn { error_type, .. } => Some(error_type),
        }
    }

    /// The HTTP status that says the same.
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::BadRequest(_) => 400,
            Self::NotFound(_) => 404,
            Self::Refused(_) => 409,
            Self::Failed { .. } => 500,
            Self::PassedOn { .. } => 503,
            Self::Unanswered {
                error_type: TIMEOUT,
                ..
            } => 504,
            Self::Unanswered { .. } => 503,
        }
    }

    /// A callee's answer as its caller has it: the callee's own failures, and those that it met, are
    /// passed on from here.
    pub(crate) fn seen_by_caller_of(self, callee: &str) -> Self {
        match self {
            Self::BadRequest(_) | Self::NotFound(_) | Self::Refused(_) => self,
            // Nobody answered: said of `callee` itself, or of one behind it.
            Self::Unanswered {
                callee: ref silent, ..
            } if silent == callee => self,
            Self::Failed { error_type, .. } | Self::Unanswered { error_type, .. } => {
                Self::PassedOn {
                    callee: callee.to_owned(),
                    error_type: error_type.to_owned(),
                }
            }
            Self::PassedOn { error_type, .. } => Self::PassedOn {
                callee: callee.to_owned(),
                error_type,
            },
        }
    }
}
