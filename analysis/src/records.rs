//! Recent requests one by one, because what is known of them still changes.
//!
//! A report from outside may come after the trace, an intervention may be told late or end, a trace
//! may come twice. Counts alone can't take that back; so each request is remembered until it leaves
//! the window, or until there are too many (counted): then what is counted stays as it is.

use std::collections::{BTreeMap, VecDeque};

use rekindle_model::{Name, Outcome, TraceId, UnixNanos};

use crate::spectrum::Cell;
use crate::{Counts, LeftOut};

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) request_type: u32,
    pub(crate) start: UnixNanos,
    pub(crate) end: UnixNanos,
    /// What the entry span says.
    pub(crate) seen: Outcome,
    /// Whether something failed inside.
    pub(crate) failed_inside: bool,
    /// What somebody outside says, and who.
    pub(crate) reported: Option<(Outcome, Name)>,
    /// Whether it was given to the type's detector, and as what.
    pub(crate) detected: Option<bool>,
    /// Its row, once its trace came.
    pub(crate) row: Option<u32>,
    /// The interventions whose target it touched.
    pub(crate) touched: Vec<Name>,
    /// Whether it lies in a shadow.
    pub(crate) fenced: bool,
}

impl Record {
    /// How the request ended, everything considered.
    pub(crate) fn outcome(&self) -> Outcome {
        match &self.reported {
            Some((outcome, _)) => *outcome,
            None if self.failed_inside && self.seen == Outcome::Ok => Outcome::Masked,
            None => self.seen,
        }
    }

    /// Where it is counted in the spectrum; `None` when it isn't.
    pub(crate) fn cell(&self) -> Option<Cell> {
        let row = self.row?;
        (!self.fenced).then(|| Cell {
            request_type: self.request_type,
            row,
            outcome: self.outcome(),
            judged: self.reported.is_some(),
        })
    }
}

#[derive(Debug)]
pub(crate) struct Records {
    records: BTreeMap<TraceId, Record>,
    arrived: VecDeque<TraceId>,
    max: usize,
}

impl Records {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            records: BTreeMap::new(),
            arrived: VecDeque::new(),
            max,
        }
    }

    pub(crate) fn get(&self, trace_id: TraceId) -> Option<&Record> {
        self.records.get(&trace_id)
    }

    pub(crate) fn get_mut(&mut self, trace_id: TraceId) -> Option<&mut Record> {
        self.records.get_mut(&trace_id)
    }

    pub(crate) fn insert(&mut self, trace_id: TraceId, record: Record, counts: &mut Counts) {
        if self.records.insert(trace_id, record).is_none() {
            self.arrived.push_back(trace_id);
        }
        while self.arrived.len() > self.max {
            if let Some(oldest) = self.arrived.pop_front() {
                self.records.remove(&oldest);
                counts.add(LeftOut::RecordOverflow);
            }
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (TraceId, &Record)> {
        self.records.iter().map(|(id, record)| (*id, record))
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut Record> {
        self.records.values_mut()
    }

    /// Forgets those that began before this time, as far as they arrived first.
    pub(crate) fn forget_before(&mut self, time: UnixNanos) {
        while let Some(oldest) = self.arrived.front().copied() {
            match self.records.get(&oldest) {
                Some(record) if record.start >= time => break,
                _ => {
                    self.records.remove(&oldest);
                    self.arrived.pop_front();
                }
            }
        }
    }
}
