//! How long did everything take that is compared? In the order in which comparisons go through it.
//!
//! An input is made every second, of which a ranking looks at all rows and at the durations of a few. So both are
//! shared with what is counted on, and change in place once the ranking is done with them.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use super::input::Part;
use super::lasted::{Brief, Counted, Lasted};

/// How long a span of the work took in requests of one type.
#[derive(Clone, Copy, Debug)]
pub struct Timed {
    /// Of what.
    pub part: Part,
    /// The request type, as an index in [`super::Input::request_types`].
    pub request_type: usize,
    /// What all comparisons ask of it.
    pub brief: Brief,
    /// Where its durations are counted.
    pub(crate) number: u32,
}

/// Own times and ways, sorted by part and request type.
#[derive(Clone, Default)]
pub struct Times {
    rows: Arc<Vec<Timed>>,
    counted: Arc<Counted>,
}

impl Times {
    /// The numbers of these rows are of what was counted.
    pub(crate) const fn new(rows: Arc<Vec<Timed>>, counted: Arc<Counted>) -> Self {
        Self { rows, counted }
    }

    /// The durations of one of these, before the window and in it.
    pub fn lasted(&self, timed: &Timed) -> &Lasted {
        &self.counted[timed.number as usize]
    }
}

impl Deref for Times {
    type Target = [Timed];

    fn deref(&self) -> &[Timed] {
        &self.rows
    }
}

/// Numbers are given in the order of arrival, so they are told apart by nobody.
impl fmt::Debug for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = |it: &Timed| (it.part, it.request_type, it.brief, self.lasted(it).clone());
        f.debug_list().entries(self.rows.iter().map(told)).finish()
    }
}
