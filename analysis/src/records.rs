//! Recent requests one by one, because what is known of them still changes.
//!
//! A report from outside may come after the trace, an intervention may be told late or end, a trace
//! may come twice. Counts alone can't take that back; so each request is remembered until it leaves
//! the window, or until there are too many (counted): then what is counted stays as it is.
//!
//! There are hundreds of thousands under load, and each is looked for twice: they lie in the order
//! of their arrival, which is the order in which they are forgotten, beside a table of their places.

use std::collections::VecDeque;
use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashSet, HashTable};
use rekindle_model::{Name, Outcome, TraceId, UnixNanos};

use crate::fence::{Fences, Touched};
use crate::sampling::StandsFor;
use crate::spectrum::Cell;
use crate::{Counts, LeftOut};

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) request_type: u32,
    /// Its row, once its trace came.
    pub(crate) row: Option<u32>,
    pub(crate) start: UnixNanos,
    pub(crate) end: UnixNanos,
    /// What the entry span says.
    pub(crate) seen: Outcome,
    /// For how many it stands.
    pub(crate) stands_for: StandsFor,
    /// Whether something failed inside.
    pub(crate) failed_inside: bool,
    /// Whether it was given to the type's detector, and as what.
    pub(crate) detected: Option<bool>,
    /// As what it is counted among the requests whose insides are known, if it is.
    pub(crate) counted_inside: Option<Outcome>,
    /// Why it is set apart, if it is.
    pub(crate) fenced: Option<LeftOut>,
    /// Whether something else than a restart sets it apart: a deployment, a scaling, our own blindness.
    pub(crate) not_by_restart: bool,
    rare: Option<Box<Rare>>,
}

/// What few requests have.
#[derive(Clone, Debug, Default)]
struct Rare {
    reported: Option<(Outcome, Name)>,
    touched: Vec<Touched>,
}

/// A request that is no evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Apart {
    /// Whether it ended badly.
    pub(crate) bad: bool,
    /// Whether nothing but restarts sets it apart: what fails in these fails users, and is a restart's price.
    pub(crate) by_restart: bool,
}

impl Record {
    /// A request whose entry span came.
    pub(crate) fn new(request_type: u32, start: UnixNanos, end: UnixNanos, seen: Outcome) -> Self {
        Self {
            request_type,
            row: None,
            start,
            end,
            seen,
            stands_for: StandsFor::default(),
            failed_inside: false,
            detected: None,
            counted_inside: None,
            fenced: None,
            not_by_restart: false,
            rare: None,
        }
    }

    /// What somebody outside says, and who.
    pub(crate) fn reported(&self) -> Option<&(Outcome, Name)> {
        self.rare.as_ref()?.reported.as_ref()
    }

    pub(crate) fn report(&mut self, outcome: Outcome, reporter: Name) {
        self.rare.get_or_insert_default().reported = Some((outcome, reporter));
    }

    /// The interventions whose target it touched.
    pub(crate) fn touched(&self) -> &[Touched] {
        self.rare.as_ref().map_or(&[], |rare| &rare.touched)
    }

    /// Whether it touched the target of this one.
    pub(crate) fn is_touched_by(&self, intervention: &str) -> bool {
        let mut touched = self.touched().iter();
        touched.any(|it| *it.intervention == *intervention)
    }

    pub(crate) fn touch(&mut self, intervention: Touched) {
        self.rare.get_or_insert_default().touched.push(intervention);
    }

    /// How the request ended, everything considered.
    pub(crate) fn outcome(&self) -> Outcome {
        match self.reported() {
            Some((outcome, _)) => *outcome,
            None => outcome_of(self.seen, self.failed_inside),
        }
    }

    /// As what it is set apart, if it is and it is known how it ended.
    pub(crate) fn apart(&self) -> Option<Apart> {
        let outcome = self.outcome();
        (self.fenced.is_some() && outcome.is_known()).then(|| Apart {
            bad: outcome.is_bad(),
            by_restart: !self.not_by_restart,
        })
    }

    /// Sets it apart, or frees it, as these say; whether that is news.
    pub(crate) fn fence(&mut self, fences: &Fences) -> bool {
        let (touched, start, end) = (self.touched(), self.start, self.end);
        let now = (
            fences.sets_apart(touched, start, end),
            fences.does_more_than_restart(touched, start, end),
        );
        let was = (self.fenced, self.not_by_restart);
        (self.fenced, self.not_by_restart) = now;
        now != was
    }

    /// Where it is counted in the spectrum; `None` when it isn't.
    pub(crate) fn cell(&self) -> Option<Cell> {
        let row = self.row?;
        self.fenced.is_none().then(|| Cell {
            request_type: self.request_type,
            row,
            outcome: self.outcome(),
            judged: self.reported().is_some(),
            stands_for: self.stands_for,
        })
    }
}

/// How a request ended by what its spans say.
pub(crate) fn outcome_of(seen: Outcome, failed_inside: bool) -> Outcome {
    match seen {
        Outcome::Ok if failed_inside => Outcome::Masked,
        seen => seen,
    }
}

/// Which request in the order of arrival, modulo 2³².
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecordNumber(u32);

#[derive(Debug)]
pub(crate) struct Records {
    /// In order of arrival.
    records: VecDeque<(TraceId, Record)>,
    /// How many were forgotten before the first one, modulo 2³².
    forgotten: u32,
    /// The number of each: how many came before it, modulo 2³².
    numbers: HashTable<u32>,
    hasher: DefaultHashBuilder,
    /// Those that somebody outside reported on: few, and each ranking asks for them. In no order.
    reported: HashSet<TraceId>,
    max: usize,
}

impl Records {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            records: VecDeque::new(),
            forgotten: 0,
            numbers: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            reported: HashSet::new(),
            max,
        }
    }

    /// The number of a request that is remembered, until one is added or forgotten.
    #[inline]
    pub(crate) fn find(&self, trace_id: TraceId) -> Option<RecordNumber> {
        let hash = self.hasher.hash_one(trace_id);
        let place = |number: &u32| number.wrapping_sub(self.forgotten) as usize;
        let found = self
            .numbers
            .find(hash, |number| self.records[place(number)].0 == trace_id)?;
        Some(RecordNumber(*found))
    }

    /// Waits for what is needed to find this request: who asks for several before looking for the first waits for them
    /// at the same time.
    #[inline]
    pub(crate) fn look_ahead(&self, trace_id: TraceId) {
        let number = self.find(trace_id);
        std::hint::black_box(number.map(|RecordNumber(number)| number));
    }

    /// The same for forgetting the oldest ones, as far as so many more find no room.
    pub(crate) fn look_ahead_to_forget(&self, more: usize) {
        let too_many = (self.records.len() + more).saturating_sub(self.max);
        for (trace_id, _) in self.records.iter().take(too_many) {
            self.look_ahead(*trace_id);
        }
    }

    /// The request of a number that [`Self::find`] or [`Self::add`] gave.
    #[inline]
    pub(crate) fn at(&mut self, RecordNumber(number): RecordNumber) -> &mut Record {
        &mut self.records[number.wrapping_sub(self.forgotten) as usize].1
    }

    pub(crate) fn get(&self, trace_id: TraceId) -> Option<&Record> {
        let RecordNumber(number) = self.find(trace_id)?;
        Some(&self.records[number.wrapping_sub(self.forgotten) as usize].1)
    }

    pub(crate) fn get_mut(&mut self, trace_id: TraceId) -> Option<&mut Record> {
        let number = self.find(trace_id)?;
        Some(self.at(number))
    }

    /// Adds a request that isn't remembered. The oldest gives way (counted) when there are too many, of those that
    /// needn't stay.
    pub(crate) fn add(
        &mut self,
        trace_id: TraceId,
        record: Record,
        stays: impl Fn(TraceId) -> bool,
        counts: &mut Counts,
    ) -> RecordNumber {
        for _ in 0..self.records.len() {
            if self.records.len() < self.max {
                break;
            }
            match self.forget_oldest() {
                Some((id, oldest)) if stays(id) => {
                    self.push(id, oldest);
                }
                _ => counts.add(LeftOut::RecordOverflow),
            }
        }
        self.push(trace_id, record)
    }

    fn push(&mut self, trace_id: TraceId, record: Record) -> RecordNumber {
        let number = self.forgotten.wrapping_add(self.records.len() as u32);
        if record.reported().is_some() {
            self.reported.insert(trace_id);
        }
        self.records.push_back((trace_id, record));
        let (hasher, records, forgotten) = (&self.hasher, &self.records, self.forgotten);
        let hash =
            |number: &u32| hasher.hash_one(records[number.wrapping_sub(forgotten) as usize].0);
        self.numbers
            .insert_unique(hasher.hash_one(trace_id), number, hash);
        RecordNumber(number)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (TraceId, &Record)> {
        self.records.iter().map(|(id, record)| (*id, record))
    }

    /// Remembers that somebody reported on this request.
    pub(crate) fn note_report(&mut self, trace_id: TraceId) {
        self.reported.insert(trace_id);
    }

    /// Those that somebody reported on, in no order.
    pub(crate) fn reported(&self) -> impl Iterator<Item = &Record> {
        self.reported.iter().filter_map(|id| self.get(*id))
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut Record> {
        self.records.iter_mut().map(|(_, record)| record)
    }

    /// Forgets those that began before this time, as far as they arrived first.
    pub(crate) fn forget_before(&mut self, time: UnixNanos) {
        while let Some((_, oldest)) = self.records.front()
            && oldest.start < time
        {
            self.forget_oldest();
        }
        // After a burst, the room for it is given back.
        if self.records.capacity() > 4 * self.records.len().max(1024) {
            self.records.shrink_to(2 * self.records.len());
            let (hasher, records, forgotten) = (&self.hasher, &self.records, self.forgotten);
            self.numbers.shrink_to(2 * records.len(), |number| {
                hasher.hash_one(records[number.wrapping_sub(forgotten) as usize].0)
            });
        }
    }

    fn forget_oldest(&mut self) -> Option<(TraceId, Record)> {
        let (trace_id, _) = self.records.front()?;
        let hash = self.hasher.hash_one(trace_id);
        self.reported.remove(trace_id);
        let oldest = self.forgotten;
        if let Ok(entry) = self.numbers.find_entry(hash, |number| *number == oldest) {
            entry.remove();
        }
        self.forgotten = self.forgotten.wrapping_add(1);
        self.records.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_remembered_in_a_bounded_table() {
        let id = |number: u64| {
            TraceId::from_bytes(u128::from(number + 1).to_be_bytes()).expect("not zero")
        };
        let mut records = Records::new(10);
        let mut counts = Counts::default();
        for number in 0..100 {
            let at = UnixNanos(number);
            records.add(
                id(number),
                Record::new(number as u32, at, at, Outcome::Ok),
                |stays| stays == id(3),
                &mut counts,
            );
            let oldest = number.saturating_sub(if number > 12 { 8 } else { 9 });
            for other in 0..=number {
                let found = records.get(id(other)).map(|record| record.request_type);
                let is_there = other >= oldest || other == 3;
                assert_eq!(
                    found,
                    is_there.then_some(other as u32),
                    "{other} at {number}"
                );
            }
        }
        assert_eq!(counts.get(LeftOut::RecordOverflow), 90);
        records.forget_before(UnixNanos(95));
        assert!(records.get(id(94)).is_none());
        assert!(records.get_mut(id(95)).is_some());
        // Who stayed is forgotten when it is the first again.
        assert_eq!(records.iter().count(), records.numbers.len());
        records.forget_before(UnixNanos(100));
        assert_eq!(records.iter().count(), 0);
        let reported = |records: &Records| records.reported().count();
        let mut record = Record::new(1, UnixNanos(1), UnixNanos(1), Outcome::Ok);
        record.report(Outcome::Failed, "a probe".into());
        records.add(id(1), record, |_| false, &mut counts);
        assert_eq!(reported(&records), 1);
        records.forget_before(UnixNanos(2));
        assert_eq!(reported(&records), 0);
    }
}
