//! What time does to an analysis: interventions are learned of, slices are settled, what is old is forgotten, and
//! incidents open and close.

use std::collections::BTreeSet;
use std::time::Duration;

use rekindle_model::{Intervention, InterventionKind, Life, UnixNanos};

use super::{Analyzer, COUNTED_PER_ROW, FOLLOWED, SHOWN_RATE, TIDY_AT, TIDY_RESTS};
use crate::causes::Causes;
use crate::detect::OPEN_SECONDS;
use crate::fence::{Touched, row_touches};
use crate::sources::AskedNext;
use crate::{Change, Incident, LeftOut};

impl Analyzer {
    /// Takes an intervention; one of the same reference replaces what was known of it. Requests
    /// that were counted before are fenced, or freed, as it says now. How long these took and whom they asked stays
    /// counted: that isn't remembered of each.
    pub fn intervene(&mut self, intervention: Intervention) {
        let reference = intervention.reference.clone();
        let everything = intervention.kind == InterventionKind::Blind;
        let rows: Vec<bool> = (0..self.spectrum.rows() as u32)
            .map(|row| {
                everything
                    || row_touches(
                        self.spectrum.row(row),
                        &intervention.target,
                        &self.observer.registry,
                    )
            })
            .collect();
        let mut types = BTreeSet::new();
        for record in self.records.values_mut() {
            let Some(row) = record.row else { continue };
            let known = record.is_touched_by(&reference);
            if rows[row as usize] && !known {
                // Its spans are gone, and what isn't known to be of an old life isn't.
                record.touch(Touched {
                    intervention: reference.clone(),
                    oldest: Life::default(),
                });
            }
            if rows[row as usize] || known {
                types.insert(record.request_type);
            }
        }
        self.fences.put(intervention, types, &mut self.counts);
        let slice_nanos = self.slice_nanos();
        let mut raised = BTreeSet::new();
        for record in self.records.values_mut() {
            if !record.is_touched_by(&reference) {
                continue;
            }
            let (before, was_cell, was_apart) = (record.fenced, record.cell(), record.apart());
            if !record.fence(&self.fences) {
                continue;
            }
            let fenced = record.fenced;
            let slice = record.start.0 / slice_nanos;
            let of_slice = self.fenced.entry(slice).or_default();
            if before == Some(LeftOut::Fenced) {
                *of_slice = of_slice.saturating_sub(1);
            }
            if fenced == Some(LeftOut::Fenced) {
                *of_slice += 1;
            }
            if let Some(why) = fenced.filter(|_| fenced != before) {
                self.counts.add(why);
            }
            if let Some(cell) = was_cell {
                self.spectrum.remove(slice, cell);
            }
            self.hidden.recount(record, slice);
            let state = self.types.get_mut(record.request_type);
            state.set_apart(record.start, was_apart, record.apart());
            if record.not_by_restart
                && let Some(bad) = record.detected.take()
            {
                state.detector.take_back(slice, bad);
                if !bad {
                    raised.insert(record.request_type);
                }
            }
            if let Some(cell) = record.cell() {
                self.spectrum.add(slice, cell);
            }
        }
        // Without what ended well the share of the others is greater.
        for id in raised {
            self.look(id, self.now);
        }
    }

    /// Lets time pass, and says what became of the incidents since the last call.
    pub fn tick(&mut self, now: UnixNanos) -> Vec<Change> {
        self.now = self.now.max(now);
        let now = self.now;
        let begin = now.minus(self.config.window);
        let settled = now.minus(Duration::from_secs(OPEN_SECONDS));
        let settle_before = self.slice(settled);
        for (id, state) in self.types.iter_mut() {
            let shadowed = self.fences.may_cover(id, settled, settled);
            let exemplary = state.incident.is_none() && !shadowed;
            state
                .detector
                .settle(settle_before, exemplary, &self.config);
        }
        self.types.forget_before(begin);
        self.hidden.settle(
            &self.types,
            &self.fences,
            (settled, settle_before),
            &self.config,
        );
        self.hidden.forget_before(begin);
        self.spectrum.forget_before(self.slice(begin));
        self.profiles.forget_before(self.slice(begin));
        self.spectrum.settle(self.slice(now));
        self.profiles.settle(self.slice(now));
        self.records.forget_before(begin);
        self.fenced = self.fenced.split_off(&self.slice(begin));
        self.fences.forget_before(begin);
        self.forget_reports(begin);
        let shown = self.newest.min(now).minus(SHOWN_RATE);
        self.samplings.forget_before(shown, begin);
        self.tidy();
        let causes = Causes {
            spectrum: &self.spectrum,
            registry: &self.observer.registry,
            config: &self.config,
            masked: false,
        };
        let (types, fences) = (&mut self.types, &self.fences);
        let mut changes = self.watch.tick(types, now, self.newest, fences, causes);
        let causes = Causes {
            masked: true,
            ..causes
        };
        let (users, newest) = ((&self.types, &mut self.watch), self.newest);
        changes.extend(self.hidden.tick(users, (now, newest), fences, causes));
        let remembered = self.watch.incidents.iter().chain(self.hidden.incidents());
        let remembered = remembered.map(|incident| incident.id);
        self.examples.unpin(&remembered.collect());
        self.follow();
        changes
    }

    /// Keeps what open incidents ask added up. Once a slice is often enough: who asks in between adds what is missing,
    /// and what is still counted is put into the sums anew each time.
    fn follow(&mut self) {
        let slice = self.slice(self.now);
        if slice <= self.followed {
            return;
        }
        self.followed = slice;
        let all = self.watch.incidents.iter().chain(self.hidden.incidents());
        let open = all.filter(|incident| incident.is_open());
        let mut open: Vec<&Incident> = open.rev().collect();
        // Who asks for a ranking mostly asks why something fails now, for users.
        open.sort_by_key(|incident| (incident.masked, incident.well_since.is_some()));
        let asked = open.into_iter().take(FOLLOWED);
        let asked = asked.map(|it| self.sources().asked_next(it, self.now));
        let asked: Vec<AskedNext> = asked.collect();
        let counted = asked.iter().map(|it| (it.incident, it.counted.clone()));
        self.spectrum.follow(counted);
        let measured = asked.iter().map(|it| (it.incident, &it.measured));
        self.profiles.follow(measured);
        let mut known = std::mem::take(&mut self.laid);
        if asked.is_empty() {
            return;
        }
        self.observer.registry.put_in_order();
        let (registry, types) = (&self.observer.registry, &self.types);
        self.profiles.put_in_order(|| {
            let mut places = vec![0; registry.len()];
            for (place, id) in (0..).zip(registry.ordered()) {
                places[id as usize] = place;
            }
            [places, types.places()]
        });
        for AskedNext { incident: id, .. } in asked {
            if let Some(incident) = self.incident(id) {
                let laid = self
                    .sources()
                    .lay_out(incident, self.now, known.remove(&id));
                self.laid.insert(id, laid);
            }
        }
    }

    fn forget_reports(&mut self, before: UnixNanos) {
        let waiting = self.waiting_reports.len();
        self.waiting_reports.retain(|_, report| report.at >= before);
        let gone = waiting - self.waiting_reports.len();
        self.counts
            .add_many(LeftOut::ReportWithoutTrace, gone as u64);
    }

    /// Forgets names and rows that nothing speaks of any more, once there are many.
    fn tidy(&mut self) {
        let full = |n: usize, max: usize| n * TIDY_AT.1 > max * TIDY_AT.0;
        let components = self.observer.registry.len();
        if !full(components, self.config.max_components)
            && !full(self.spectrum.rows(), self.config.max_rows)
            && !full(
                self.spectrum.cells(),
                self.config.max_rows * COUNTED_PER_ROW,
            )
            && !full(self.profiles.shapes(), self.config.max_rows)
            && !full(
                self.profiles.counted(),
                self.config.max_rows * COUNTED_PER_ROW,
            )
        {
            return;
        }
        if self.now < self.tidied.plus(TIDY_RESTS) {
            return;
        }
        self.tidied = self.now;
        self.laid.clear();
        self.profiles.forget_courses();
        // Fenced requests are in no slice, but may be freed yet.
        let remembered = self.records.iter().filter_map(|(_, record)| record.row);
        let (rows, mut used) = self.spectrum.in_use(components, remembered);
        self.profiles.mark_used(&mut used);
        let components = self.observer.keep(&used);
        let rows = self.spectrum.keep(&rows, &components);
        self.profiles.keep(&components);
        self.paths.clear();
        for record in self.records.values_mut() {
            record.row = record.row.and_then(|row| rows[row as usize]);
        }
    }
}
