//! From counts to the input of a ranking, in canonical order.
//!
//! The window is what came since the failures began, the baseline what came before. A window never
//! spans a restart: what was restarted is not what it was, and the comparison would find the old
//! instance guilty of not being the new one. Numbers given in order of arrival are replaced by the
//! order of names, so that the order of arrival is forgotten.

mod cells;
mod laid;
mod measured;
mod table;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use rekindle_model::{Outcome, UnixNanos};

use crate::examples::ExampleStore;
use crate::fence::Fences;
use crate::profile::Profiles;
use crate::rank::{Case, Input, InputRow, InputTouch, ShownTrace, Times};
use crate::records::Records;
use crate::registry::Registry;
use crate::sampling::{Samplings, StandsFor, Weights};
use crate::spectrum::{Cell, Spectrum};
use crate::troubled::{Asked, Troubled};
use crate::types::Types;
use crate::{AnalysisConfig, Counts, Incident, LeftOut};
use cells::add_case;
pub(crate) use laid::Laid;

/// Everything that an input is made of.
pub(crate) struct Sources<'a> {
    pub(crate) spectrum: &'a Spectrum,
    pub(crate) profiles: &'a Profiles,
    pub(crate) registry: &'a Registry,
    pub(crate) types: &'a Types,
    /// The same types, by what their users don't see.
    pub(crate) hidden: &'a Types,
    pub(crate) records: &'a Records,
    pub(crate) samplings: &'a Samplings,
    pub(crate) fences: &'a Fences,
    /// How many requests of the window are fenced.
    pub(crate) fenced: u64,
    pub(crate) examples: &'a ExampleStore,
    pub(crate) counts: &'a Counts,
    pub(crate) config: &'a AnalysisConfig,
}

/// A time in which nothing was restarted: `[from, until)`.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    from: UnixNanos,
    until: UnixNanos,
    /// Whether a restart ended shortly before.
    cut_before: bool,
    /// Whether a restart began at its end.
    cut_after: bool,
}

impl Stretch {
    fn holds(&self, time: UnixNanos) -> bool {
        time >= self.from && time < self.until
    }
}

/// The slices that a ranking asks for.
pub(crate) struct AskedNext {
    pub(crate) incident: u64,
    /// Of what was counted: the baseline and the window.
    pub(crate) counted: Asked<2>,
    /// Of what was measured: both halves of the baseline and the window.
    pub(crate) measured: Asked<3>,
}

impl Sources<'_> {
    /// The input for one incident, with the evidence up to `until`; from what was laid out for it before.
    pub(crate) fn input(
        &self,
        incident: &Incident,
        until: UnixNanos,
        cut: u64,
        known: Option<&Laid>,
    ) -> Input {
        let failing = self.failing(incident);
        let (stretch, asked) = self.asked(incident, until, &failing);
        let (counted, measured) = (asked.counted, asked.measured);
        let in_incident = self.in_incident(&counted.troubled);
        let [_, counted_window] = counted.stretches.clone();
        let [baseline, mut window] = self.spectrum.around(incident.id, counted);
        let measured_window = self.of_measured(&window, counted_window, &measured.stretches[2]);
        self.take_out_cut(stretch, &mut window);
        let counted = [&*baseline, &*window];
        let profile = self.profiles.around(incident.id, &measured);
        let laid = self.laid(known.cloned(), counted, &profile, &failing);
        let cases = |counted: &[u64]| {
            let cases = self.cases(&laid.cells, counted, &laid.rows, &failing);
            match incident.masked {
                true => unmasked(cases),
                false => cases,
            }
        };
        let (shown, reports) = self.shown(incident, stretch, &failing, &laid);
        let (in_window, before) = (cases(&window), cases(&baseline));
        Input {
            incident: incident.id,
            at: until,
            cut,
            weights: self.weights(&failing, in_window.iter().chain(&before)),
            window: in_window,
            baseline: before,
            missing: match incident.masked {
                true => Vec::new(),
                false => self.missing(&baseline, &failing, &laid),
            },
            masked: incident.masked,
            touched: laid.cells.touched([&baseline, &measured_window]),
            shown,
            reports: reports.into_iter().collect(),
            left_out: self
                .counts
                .clone()
                .with(LeftOut::Fenced, self.fenced)
                .with(LeftOut::InIncident, in_incident),
            min_failed: self.config.min_failed,
            max_suspects: self.config.max_suspects,
            timed: Times::new(
                Arc::clone(laid.timed.rows()),
                Arc::clone(profile.durations()),
            ),
            rows: Arc::clone(laid.rows.rows()),
            shaped: Arc::clone(laid.shaped.rows()),
            request_types: laid.request_types.to_vec(),
            subjects: laid.subjects,
        }
    }

    /// Lays out what the next ranking will ask for.
    pub(crate) fn lay_out(
        &self,
        incident: &Incident,
        until: UnixNanos,
        known: Option<Laid>,
    ) -> Laid {
        let failing = self.failing(incident);
        let (stretch, asked) = self.asked(incident, until, &failing);
        let [baseline, mut window] = self.spectrum.around(incident.id, asked.counted);
        self.take_out_cut(stretch, &mut window);
        let profile = self.profiles.around(incident.id, &asked.measured);
        self.laid(known, [&baseline, &window], &profile, &failing)
    }

    /// What shares rest on, where these types fail and these requests are compared.
    fn weights<'c>(
        &self,
        failing: &BTreeSet<u32>,
        mut cases: impl Iterator<Item = &'c Case>,
    ) -> Weights {
        let is_hidden = |id: &u32| self.samplings.is_hidden(*id);
        if self.config.failures_first || failing.iter().any(is_hidden) {
            Weights::Hidden
        } else if cases.any(|case| case.stands_for != StandsFor::default()) {
            Weights::Declared
        } else {
            Weights::Alike
        }
    }

    fn failing(&self, incident: &Incident) -> BTreeSet<u32> {
        self.types
            .iter()
            .filter(|(_, state)| incident.request_types.contains(&state.request_type))
            .map(|(id, _)| id)
            .collect()
    }

    /// Which slices the next ranking will ask for.
    pub(crate) fn asked_next(&self, incident: &Incident, until: UnixNanos) -> AskedNext {
        self.asked(incident, until, &self.failing(incident)).1
    }

    /// The stretch that is ranked, and the slices that this asks for.
    fn asked(
        &self,
        incident: &Incident,
        until: UnixNanos,
        failing: &BTreeSet<u32>,
    ) -> (Stretch, AskedNext) {
        let stretch = self.stretch(incident, until, failing);
        let troubled = Arc::new(self.troubled_before(incident));
        let asked = AskedNext {
            incident: incident.id,
            measured: self.measured_stretches(incident, stretch, failing, &troubled),
            counted: Asked {
                stretches: self.counted_stretches(incident.since, stretch),
                troubled,
            },
        };
        (stretch, asked)
    }

    /// When request types were in incidents before this one began: in masked ones, too, where it is one.
    fn troubled_before(&self, incident: &Incident) -> Troubled {
        let end = self.slice(incident.since);
        let mut troubled = Troubled::default();
        let hidden = self.hidden.iter().filter(|_| incident.masked);
        for (id, state) in self.types.iter().chain(hidden) {
            for (from, over) in state.troubles() {
                troubled.add(
                    id,
                    self.slice(from)..self.slice(over).saturating_add(1).min(end),
                );
            }
        }
        troubled
    }

    /// How many requests are no example of what is usual, because their types were in incidents.
    fn in_incident(&self, troubled: &Troubled) -> u64 {
        let nanos = (self.config.slice.as_nanos() as u64).max(1);
        let begin = |slice: u64| UnixNanos(slice.saturating_mul(nanos));
        let stretches = troubled.stretches().map(|(id, slices)| {
            let state = self.types.get(id);
            let (ok, bad) = state.ends(begin(slices.start), begin(slices.end));
            ok + bad
        });
        stretches.sum()
    }

    /// The last stretch between restarts in which enough requests that are evidence failed to tell why; the first one
    /// when there is none.
    fn stretch(&self, incident: &Incident, until: UnixNanos, failing: &BTreeSet<u32>) -> Stretch {
        let types = match incident.masked {
            true => self.hidden,
            false => self.types,
        };
        let mut stretches = vec![Stretch {
            from: incident.since,
            until: until.plus(Duration::from_nanos(1)),
            cut_before: false,
            cut_after: false,
        }];
        for (from, end) in self.fences.changes(failing) {
            let last = stretches.len() - 1;
            if from <= stretches[last].from || from >= until {
                continue;
            }
            let rest = stretches[last].until;
            stretches[last].until = from;
            stretches[last].cut_after = true;
            stretches.push(Stretch {
                from: end.map_or(rest, |end| end.min(rest)),
                until: rest,
                cut_before: true,
                cut_after: false,
            });
        }
        let enough = |stretch: &&Stretch| {
            let (from, until) = (stretch.from, stretch.until);
            let failed = failing.iter();
            let failed = failed.map(|id| types.get(*id).failed(from, until));
            failed.sum::<u64>() >= self.config.min_failed
        };
        *stretches.iter().rev().find(enough).unwrap_or(&stretches[0])
    }

    /// What the requests that should have come and didn't would have looked like: as the good ones of their
    /// types before, in their proportions.
    fn missing(&self, baseline: &[u64], failing: &BTreeSet<u32>, laid: &Laid) -> Vec<Case> {
        let mut missing = Vec::new();
        for id in failing {
            let expected = self.types.get(*id).missing;
            if expected < 1.0 {
                continue;
            }
            let counted = baseline.iter().enumerate().filter(|(_, count)| **count > 0);
            let cells = counted.map(|(number, count)| (*self.spectrum.cell(number), *count));
            let of_type = cells.filter(|(cell, _)| cell.request_type == *id);
            let mut good: Vec<(Cell, u64)> = of_type
                .filter(|(cell, _)| matches!(cell.outcome, Outcome::Ok | Outcome::Masked))
                .collect();
            good.sort_unstable();
            let total: u64 = good.iter().map(|(_, count)| count).sum();
            let mut so_far = 0;
            for (cell, count) in good {
                // Each gets its share of the whole, rounded so that they add up.
                let upto = |count: u64| (count as f64 / total as f64 * expected) as u64;
                let share = upto(so_far + count) - upto(so_far);
                so_far += count;
                if share > 0 {
                    missing.extend(Self::case(&cell, share, &laid.rows, failing));
                }
            }
        }
        missing.sort_unstable();
        let mut cases = Vec::new();
        missing
            .into_iter()
            .for_each(|case| add_case(&mut cases, case));
        cases
    }

    /// The slices of the baseline, and those that a stretch lies in.
    fn counted_stretches(&self, since: UnixNanos, stretch: Stretch) -> [Range<u64>; 2] {
        let until = self.last_slice(stretch).saturating_add(1);
        [0..self.slice(since), self.slice(stretch.from)..until]
    }

    fn last_slice(&self, stretch: Stretch) -> u64 {
        self.slice(UnixNanos(stretch.until.0.saturating_sub(1)))
    }

    /// Slices are whole seconds; what lies beyond a restart in the first and last of a stretch is taken out again,
    /// request by request.
    fn take_out_cut(&self, stretch: Stretch, counted: &mut Cow<'_, [u64]>) {
        if !stretch.cut_before && !stretch.cut_after {
            return;
        }
        let last = self.last_slice(stretch);
        for (_, record) in self.records.iter() {
            let slice = self.slice(record.start);
            let before = stretch.cut_before
                && record.start < stretch.from
                && slice == self.slice(stretch.from);
            let after = stretch.cut_after && record.start >= stretch.until && slice == last;
            if !before && !after {
                continue;
            }
            if let Some(cell) = record.cell()
                && let Some(number) = self.spectrum.find(&cell)
                && let Some(count) = counted.to_mut().get_mut(number)
            {
                *count = count.saturating_sub(1);
            }
        }
    }

    fn slice(&self, time: UnixNanos) -> u64 {
        time.0 / (self.config.slice.as_nanos() as u64).max(1)
    }

    fn row(&self, id: u32, place: &[usize]) -> InputRow {
        let row = self.spectrum.row(id);
        let mut touches: Vec<InputTouch> = row
            .touches
            .iter()
            .map(|touch| InputTouch {
                subject: place[touch.component as usize],
                state: touch.state,
                depth: touch.depth,
            })
            .collect();
        touches.sort();
        let placed = |list: &[(u32, rekindle_model::Name)]| {
            let mut list: Vec<_> = list
                .iter()
                .map(|(id, name)| (place[*id as usize], name.clone()))
                .collect();
            list.sort();
            list
        };
        InputRow {
            touches,
            errors: placed(&row.errors),
            complaints: placed(&row.complaints),
        }
    }

    /// Traces that can be shown, and who reported failures of the incident.
    fn shown(
        &self,
        incident: &Incident,
        stretch: Stretch,
        failing: &BTreeSet<u32>,
        laid: &Laid,
    ) -> (Vec<ShownTrace>, BTreeSet<(usize, rekindle_model::Name)>) {
        let placed = |row: u32| laid.rows.place_of(row);
        let mut reports = BTreeSet::new();
        for record in self.records.reported() {
            if let Some((outcome, reporter)) = record.reported()
                && stretch.holds(record.start)
                && outcome.is_bad()
                && failing.contains(&record.request_type)
                && record.fenced.is_none()
                && let Some(row) = record.row.and_then(placed)
            {
                reports.insert((row, reporter.clone()));
            }
        }
        let shown = self
            .examples
            .ids()
            .filter_map(|trace_id| {
                let record = self.records.get(trace_id)?;
                let row = placed(record.row?)?;
                let outcome = record.outcome();
                let bad = outcome.is_bad() || incident.masked && outcome == Outcome::Masked;
                let of_incident = failing.contains(&record.request_type);
                let fits = record.fenced.is_none()
                    && (!bad || (of_incident && stretch.holds(record.start)));
                fits.then(|| ShownTrace {
                    trace_id,
                    row,
                    bad,
                    request_type: laid.type_at[record.request_type as usize],
                })
            })
            .collect();
        (shown, reports)
    }
}

/// The cases with those as failed whose failures their users didn't see.
fn unmasked(cases: Vec<Case>) -> Vec<Case> {
    let mut cases: Vec<Case> = cases
        .into_iter()
        .map(|case| match case.outcome {
            Outcome::Masked if case.of_incident => Case {
                outcome: Outcome::Failed,
                ..case
            },
            _ => case,
        })
        .collect();
    cases.sort_unstable();
    let mut merged = Vec::new();
    cases
        .into_iter()
        .for_each(|case| add_case(&mut merged, case));
    merged
}
