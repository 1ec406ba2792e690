//! Own times, ways and callee sets, from slices to the input of a ranking, in canonical order.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use rekindle_model::{RequestType, UnixNanos};
use rekindle_stats::LogHistogram;

use super::{Sources, Stretch};
use crate::Level;
use crate::profile::{Profile, Segment, Times};
use crate::rank::{Part, Shaped, Timed, Touched};
use crate::spectrum::Cell;

/// Own times and shapes in canonical order.
pub(super) struct Measured {
    pub(super) request_types: Vec<RequestType>,
    /// Where each type's number stands among them.
    pub(super) type_at: BTreeMap<u32, usize>,
    pub(super) timed: Vec<Timed>,
    pub(super) shaped: Vec<Shaped>,
}

impl Sources<'_> {
    /// How many requests of each type touched what is timed, in the baseline and in the window.
    pub(super) fn touched(
        &self,
        parts: [&BTreeMap<Cell, u64>; 2],
        place: &[usize],
        type_at: &BTreeMap<u32, usize>,
    ) -> Vec<Touched> {
        // Put in order below.
        let mut counted: HashMap<(u32, u32), [u64; 2]> = HashMap::new();
        for (part, cells) in parts.into_iter().enumerate() {
            for (cell, count) in cells {
                for touch in &self.spectrum.row(cell.row).touches {
                    let key = (touch.component, cell.request_type);
                    counted.entry(key).or_default()[part] += count;
                }
            }
        }
        let mut touched: Vec<Touched> = counted
            .into_iter()
            .filter(|((component, _), _)| {
                let level = self.registry.info(*component).component.level;
                matches!(level, Level::Operation | Level::Dependency)
            })
            .map(|((component, of), [baseline, window])| Touched {
                subject: place[component as usize],
                request_type: type_at[&of],
                baseline,
                window,
            })
            .collect();
        touched.sort_unstable();
        touched
    }

    /// The earlier and the later half of the baseline, and the window. A slice that a restart cuts
    /// is left out: histograms can't be taken apart again.
    pub(super) fn profiles_around(&self, since: UnixNanos, stretch: Stretch) -> [Profile; 3] {
        let begin = self.slice(since);
        let middle = self.profiles.middle(begin);
        let first = self.slice(stretch.from) + u64::from(stretch.cut_before);
        let last = self.slice(UnixNanos(stretch.until.0.saturating_sub(1)));
        let end = last + u64::from(!stretch.cut_after);
        [
            self.profiles.between(0, middle),
            self.profiles.between(middle, begin),
            self.profiles.between(first, end),
        ]
    }

    /// What was measured in both halves of the baseline and in the window. Components that
    /// no row speaks of are left out.
    pub(super) fn measured(&self, profiles: [Profile; 3], place: &[usize]) -> Measured {
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
                Segment::Whole(id) => Part::Whole(placed(id)?),
                Segment::Own(id) => Part::Own(placed(id)?),
                Segment::Gap(from, to) => Part::Gap(placed(from)?, placed(to)?),
                Segment::There(from, to) => Part::There(placed(from)?, placed(to)?),
            })
        };
        let mut times: Vec<(Part, usize, usize, Times)> = Vec::new();
        let mut shaped: BTreeMap<Shaped, [u64; 3]> = BTreeMap::new();
        for (part, profile) in profiles.into_iter().enumerate() {
            for ((of, segment), counted) in profile.times {
                let Some(span) = span(segment) else { continue };
                times.push((span, type_at[&of], part, counted));
            }
            for ((of, shape), count) in profile.shapes {
                let shape = self.profiles.shape(shape);
                let asked: Option<Vec<usize>> = shape.asked.iter().map(|id| placed(*id)).collect();
                let (Some(subject), Some(mut asked)) = (placed(shape.component), asked) else {
                    continue;
                };
                asked.sort_unstable();
                let key = Shaped {
                    subject,
                    request_type: type_at[&of],
                    asked,
                    last: shape.last.and_then(placed),
                    baseline: [0; 2],
                    window: 0,
                };
                shaped.entry(key).or_default()[part] += count;
            }
        }
        // The same part of the same type, thrice.
        times.sort_unstable_by_key(|(span, request_type, part, _)| (*span, *request_type, *part));
        let mut timed: Vec<Timed> = Vec::new();
        for (span, request_type, part, counted) in times {
            let is_next = timed
                .last()
                .is_none_or(|last| (last.part, last.request_type) != (span, request_type));
            if is_next {
                timed.push(Timed {
                    part: span,
                    request_type,
                    baseline: Default::default(),
                    window: LogHistogram::default(),
                    unmeasured: [0; 3],
                });
            }
            let Some(last) = timed.last_mut() else {
                continue;
            };
            last.unmeasured[part] = counted.unmeasured;
            match part {
                0 | 1 => last.baseline[part] = counted.nanos,
                _ => last.window = counted.nanos,
            }
        }
        Measured {
            request_types: types.into_iter().map(|(_, name)| name).collect(),
            type_at,
            timed,
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
}
