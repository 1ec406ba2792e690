//! Own times, ways and callee sets, from slices to the input of a ranking, in canonical order.

use std::ops::Range;

use rekindle_model::{RequestType, UnixNanos};

use super::{Sources, Stretch};
use crate::Level;
use crate::profile::{Profile, Segment};
use crate::rank::{Part, Shaped, Timed, Touched};
use crate::spectrum::Cell;

/// Own times and shapes in canonical order.
pub(super) struct Measured {
    pub(super) request_types: Vec<RequestType>,
    /// Where each type's number stands among them.
    pub(super) type_at: Vec<usize>,
    pub(super) timed: Vec<Timed>,
    pub(super) shaped: Vec<Shaped>,
}

impl Sources<'_> {
    /// How many requests of each type touched what is timed, in the baseline and in the window. There are so many
    /// subjects.
    pub(super) fn touched(
        &self,
        parts: [&[(Cell, u64)]; 2],
        place: &[usize],
        type_at: &[usize],
        subjects: usize,
    ) -> Vec<Touched> {
        // Type by type, so that a list of subjects holds the counts of one.
        let mut by_type: Vec<Vec<(usize, Cell, u64)>> = vec![Vec::new(); type_at.len()];
        for (part, cells) in parts.into_iter().enumerate() {
            for (cell, count) in cells {
                by_type[type_at[cell.request_type as usize]].push((part, *cell, *count));
            }
        }
        let is_timed = |id: u32| {
            let level = self.registry.info(id).component.level;
            matches!(level, Level::Operation | Level::Dependency)
        };
        let is_timed: Vec<bool> = (0..self.registry.len() as u32).map(is_timed).collect();
        let mut counts = vec![[0u64; 2]; subjects];
        let mut touched = Vec::new();
        for (request_type, cells) in by_type.into_iter().enumerate() {
            let first = touched.len();
            for (part, cell, count) in cells {
                for touch in &self.spectrum.row(cell.row).touches {
                    if !is_timed[touch.component as usize] {
                        continue;
                    }
                    let subject = place[touch.component as usize];
                    if counts[subject] == [0; 2] {
                        touched.push(Touched {
                            subject,
                            request_type,
                            baseline: 0,
                            window: 0,
                        });
                    }
                    counts[subject][part] += count;
                }
            }
            for one in &mut touched[first..] {
                [one.baseline, one.window] = std::mem::take(&mut counts[one.subject]);
            }
        }
        touched.sort_unstable();
        touched
    }

    /// The earlier and the later half of the baseline, and the window, in slices. A slice that a restart cuts
    /// is left out: what of it was counted before and what after isn't known.
    pub(super) fn stretches(&self, since: UnixNanos, stretch: Stretch) -> [Range<u64>; 3] {
        let begin = self.slice(since);
        let middle = self.profiles.middle(begin);
        let first = self.slice(stretch.from) + u64::from(stretch.cut_before);
        let last = self.slice(UnixNanos(stretch.until.0.saturating_sub(1)));
        let end = last + u64::from(!stretch.cut_after);
        [0..middle, middle..begin, first..end]
    }

    /// What was measured in both halves of the baseline and in the window. Components that
    /// no row speaks of are left out.
    pub(super) fn measured(&self, profile: &Profile<'_>, place: &[usize]) -> Measured {
        let mut types: Vec<(u32, RequestType)> = self
            .types
            .iter()
            .map(|(id, state)| (id, state.request_type.clone()))
            .collect();
        types.sort_by(|a, b| a.1.cmp(&b.1));
        let numbers = types.iter().map(|(id, _)| *id as usize + 1).max();
        let mut type_at = vec![usize::MAX; numbers.unwrap_or(0)];
        for (at, (id, _)) in types.iter().enumerate() {
            type_at[*id as usize] = at;
        }
        let placed = |id: u32| Some(place[id as usize]).filter(|at| *at != usize::MAX);
        let span = |segment: Segment| {
            Some(match segment {
                Segment::Whole(id) => Part::Whole(placed(id)?),
                Segment::Own(id) => Part::Own(placed(id)?),
                Segment::Gap(from, to) => Part::Gap(placed(from)?, placed(to)?),
                Segment::There(from, to) => Part::There(placed(from)?, placed(to)?),
            })
        };
        let timed = profile
            .times()
            .filter_map(|((of, segment), brief, lasted)| {
                Some(Timed {
                    part: span(segment)?,
                    request_type: type_at[of as usize],
                    brief,
                    lasted,
                })
            });
        let mut timed: Vec<Timed> = timed.collect();
        // Most are in order, which takes hardly any time then.
        timed.sort_by_key(|timed| (timed.part, timed.request_type));
        let mut shaped: Vec<Shaped> = profile
            .shapes()
            .filter_map(|((of, shape), [earlier, later, window])| {
                let shape = self.profiles.shape(shape);
                let asked = shape.asked.iter().map(|id| placed(*id));
                let mut asked = asked.collect::<Option<Vec<usize>>>()?;
                asked.sort_unstable();
                Some(Shaped {
                    subject: placed(shape.component)?,
                    request_type: type_at[of as usize],
                    asked,
                    last: shape.last.and_then(placed),
                    baseline: [earlier, later],
                    window,
                })
            })
            .collect();
        shaped.sort();
        // What differed only in components that are forgotten is the same now.
        shaped.dedup_by(|next, kept| {
            let of = |it: &Shaped| (it.subject, it.request_type, it.last);
            let same = of(next) == of(kept) && next.asked == kept.asked;
            if same {
                kept.baseline[0] += next.baseline[0];
                kept.baseline[1] += next.baseline[1];
                kept.window += next.window;
            }
            same
        });
        Measured {
            request_types: types.into_iter().map(|(_, name)| name).collect(),
            type_at,
            timed,
            shaped,
        }
    }
}
