//! From counts to the input of a ranking, in canonical order.
//!
//! The window is what came since the failures began, the baseline what came before. Numbers given
//! in order of arrival are replaced by the order of names, so that the order of arrival is
//! forgotten.

use std::collections::{BTreeMap, BTreeSet};

use rekindle_model::{RequestType, UnixNanos};
use rekindle_stats::LogHistogram;

use crate::analyzer::reporter_name;
use crate::examples::ExampleStore;
use crate::profile::{Profile, Profiles, Segment};
use crate::rank::{Case, Input, InputRow, InputTouch, Shaped, ShownTrace, Span, Subject, Timed};
use crate::records::Records;
use crate::registry::Registry;
use crate::spectrum::{Cell, Spectrum};
use crate::types::Types;
use crate::{AnalysisConfig, Counts, Incident};

/// Everything that an input is made of.
pub(crate) struct Sources<'a> {
    pub(crate) spectrum: &'a Spectrum,
    pub(crate) profiles: &'a Profiles,
    pub(crate) registry: &'a Registry,
    pub(crate) types: &'a Types,
    pub(crate) records: &'a Records,
    pub(crate) examples: &'a ExampleStore,
    pub(crate) counts: &'a Counts,
    pub(crate) config: &'a AnalysisConfig,
}

/// Own times and shapes in canonical order.
struct Measured {
    request_types: Vec<RequestType>,
    timed: Vec<Timed>,
    shaped: Vec<Shaped>,
}

impl Sources<'_> {
    /// The input for one incident, with the evidence up to `until`.
    pub(crate) fn input(&self, incident: &Incident, until: UnixNanos, cut: u64) -> Input {
        let slice_nanos = (self.config.slice.as_nanos() as u64).max(1);
        let slice = |time: UnixNanos| time.0 / slice_nanos;
        let (begin, end) = (slice(incident.since), slice(until).saturating_add(1));
        let window = self.spectrum.between(begin, end);
        let baseline = self.spectrum.between(0, begin);
        let failing: BTreeSet<u32> = self
            .types
            .iter()
            .filter(|(_, state)| incident.request_types.contains(&state.request_type))
            .map(|(id, _)| id)
            .collect();

        let used_rows: BTreeSet<u32> = window
            .keys()
            .chain(baseline.keys())
            .map(|c| c.row)
            .collect();
        let middle = self.profiles.middle(begin);
        let profiles = [
            self.profiles.between(0, middle),
            self.profiles.between(middle, begin),
            self.profiles.between(begin, end),
        ];
        let timed = profiles.iter().flat_map(|profile| profile.times.keys());
        let used: BTreeSet<u32> = used_rows
            .iter()
            .flat_map(|row| &self.spectrum.row(*row).touches)
            .map(|touch| touch.component)
            .chain(timed.filter_map(|(_, segment)| match segment {
                Segment::Whole(id) => Some(*id),
                Segment::Own(_) | Segment::Gap(..) | Segment::There(..) => None,
            }))
            .collect();
        let mut subjects: Vec<u32> = used.into_iter().collect();
        subjects.sort_by(|a, b| {
            let component = |id: &u32| &self.registry.info(*id).component;
            component(a).cmp(component(b))
        });
        let mut place = vec![usize::MAX; self.registry.len()];
        for (at, id) in subjects.iter().enumerate() {
            place[*id as usize] = at;
        }
        let mut rows: Vec<(InputRow, u32)> = used_rows
            .into_iter()
            .map(|id| (self.row(id, &place), id))
            .collect();
        rows.sort();
        let row_at: BTreeMap<u32, usize> = rows
            .iter()
            .enumerate()
            .map(|(at, (_, id))| (*id, at))
            .collect();
        let cases = |cells: BTreeMap<Cell, u64>| {
            // Types are told apart only as failing or not; their cells add up.
            let mut sum: BTreeMap<Case, u64> = BTreeMap::new();
            for (cell, count) in cells {
                let case = Case {
                    row: row_at[&cell.row],
                    of_incident: failing.contains(&cell.request_type),
                    outcome: cell.outcome,
                    judged: cell.judged,
                    count: 0,
                };
                *sum.entry(case).or_default() += count;
            }
            sum.into_iter()
                .map(|(case, count)| Case { count, ..case })
                .collect()
        };
        let measured = self.measured(&profiles, &place);
        let (shown, reports) = self.shown(incident, until, &failing, &row_at);
        Input {
            incident: incident.id,
            at: until,
            cut,
            subjects: subjects
                .iter()
                .map(|id| {
                    let info = self.registry.info(*id);
                    Subject {
                        component: info.component.clone(),
                        attributes: info.attributes.clone(),
                    }
                })
                .collect(),
            window: cases(window),
            baseline: cases(baseline),
            rows: rows.into_iter().map(|(row, _)| row).collect(),
            request_types: measured.request_types,
            timed: measured.timed,
            shaped: measured.shaped,
            shown,
            reports: reports.into_iter().collect(),
            left_out: self.counts.clone(),
            min_failed: self.config.min_failed,
            max_suspects: self.config.max_suspects,
        }
    }

    /// What was measured in both halves of the baseline and in the window. Components that no row speaks of are left out.
    fn measured(&self, profiles: &[Profile; 3], place: &[usize]) -> Measured {
        let mut types: Vec<(u32, RequestType)> = self
            .types
            .iter()
            .map(|(id, state)| (id, state.request_type.clone()))
            .collect();
        types.sort_by(|a, b| a.1.cmp(&b.1));
        let type_at: BTreeMap<u32, usize> = types
            .iter()
            .enumerate()
            .map(|(at, (id, _))| (*id, at))
            .collect();
        let placed = |id: u32| Some(place[id as usize]).filter(|at| *at != usize::MAX);
        let span = |segment: Segment| {
            Some(match segment {
                Segment::Whole(id) => Span::Whole(placed(id)?),
                Segment::Own(id) => Span::Own(placed(id)?),
                Segment::Gap(from, to) => Span::Gap(placed(from)?, placed(to)?),
                Segment::There(from, to) => Span::There(placed(from)?, placed(to)?),
            })
        };
        let mut timed: BTreeMap<(Span, usize), [LogHistogram; 3]> = BTreeMap::new();
        let mut shaped: BTreeMap<Shaped, [u64; 3]> = BTreeMap::new();
        for (part, profile) in profiles.iter().enumerate() {
            for ((of, segment), times) in &profile.times {
                let Some(span) = span(*segment) else { continue };
                timed.entry((span, type_at[of])).or_default()[part].merge(times);
            }
            for ((of, shape), count) in &profile.shapes {
                let shape = self.profiles.shape(*shape);
                let asked: Option<Vec<usize>> = shape.asked.iter().map(|id| placed(*id)).collect();
                let (Some(subject), Some(mut asked)) = (placed(shape.component), asked) else {
                    continue;
                };
                asked.sort_unstable();
                let key = Shaped {
                    subject,
                    request_type: type_at[of],
                    asked,
                    last: shape.last.and_then(placed),
                    baseline: [0; 2],
                    window: 0,
                };
                shaped.entry(key).or_default()[part] += count;
            }
        }
        Measured {
            request_types: types.into_iter().map(|(_, name)| name).collect(),
            timed: timed
                .into_iter()
                .map(|((span, request_type), [earlier, later, window])| Timed {
                    span,
                    request_type,
                    baseline: [earlier, later],
                    window,
                })
                .collect(),
            shaped: shaped
                .into_iter()
                .map(|(shape, [earlier, later, window])| Shaped {
                    baseline: [earlier, later],
                    window,
                    ..shape
                })
                .collect(),
        }
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
        until: UnixNanos,
        failing: &BTreeSet<u32>,
        row_at: &BTreeMap<u32, usize>,
    ) -> (Vec<ShownTrace>, BTreeSet<(usize, rekindle_model::Name)>) {
        let mut reports = BTreeSet::new();
        for (_, record) in self.records.iter() {
            let in_window = record.start >= incident.since && record.start <= until;
            if let Some((outcome, reporter)) = &record.reported
                && in_window
                && outcome.is_bad()
                && failing.contains(&record.request_type)
                && !record.fenced
                && let Some(row) = record.row.and_then(|row| row_at.get(&row))
            {
                reports.insert((*row, reporter_name(reporter)));
            }
        }
        let shown = self
            .examples
            .ids()
            .filter_map(|trace_id| {
                let record = self.records.get(trace_id)?;
                let row = *row_at.get(&record.row?)?;
                let bad = record.outcome().is_bad();
                let of_incident = failing.contains(&record.request_type);
                let fits =
                    !record.fenced && (!bad || (of_incident && record.start >= incident.since));
                fits.then_some(ShownTrace { trace_id, row, bad })
            })
            .collect();
        (shown, reports)
    }
}
