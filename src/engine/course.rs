//! When does time pass for the analysis, and what comes before it?
//!
//! What a ranking says depends on what was heard before which moment. So that the journal tells it again, to the byte, time
//! passes in beats of a fixed grid, and the journal alone says where they lie: a beat is before the first entry that was
//! received then or later. Who reads the journal knows that at once; who lives waits until nothing that was received
//! before is under way any more ([`rekindle_ingest::Journal::received_until`]).

use std::time::Duration;

use rekindle_analysis::{Analyzer, Change};
use rekindle_ingest::PackedSpans;
use rekindle_ingest::assembly::Assembler;
use rekindle_model::{Outline, UnixNanos};

use super::told::{Beginning, Note};

/// How often time passes. A person can't tell a tenth of a second, and an incident is noticed by entry spans, which don't
/// wait for a beat to be counted.
pub(super) const BEAT: Duration = Duration::from_millis(50);

/// A pause in which nothing at all came is lived through again from so long before its end: the rest of it changes nothing
/// that is asked for, and a clock that is set forward by years must not hold anybody up.
const LONGEST_PAUSE: Duration = Duration::from_secs(3_600);

/// Requests may be received in another order than they are written in, by less than this; whoever is further back has a
/// clock that was set back.
const OUT_OF_ORDER: Duration = Duration::from_secs(60);

const fn beats(time: Duration) -> u64 {
    (time.as_nanos() / BEAT.as_nanos()) as u64
}

/// Brings spans to the analysis, one by one and as traces.
#[derive(Debug)]
pub(crate) struct Course {
    pub(crate) assembler: Assembler,
    /// The number of the last beat.
    last: Option<u64>,
}

impl Course {
    /// Nothing came yet.
    pub(crate) const fn new(assembler: Assembler) -> Self {
        Self {
            assembler,
            last: None,
        }
    }

    /// The beats up to this time that weren't yet, each of which is to be passed.
    pub(crate) fn due(&mut self, until: UnixNanos) -> impl Iterator<Item = UnixNanos> + use<> {
        let until = until.0 / beats_nanos();
        let next = match self.last {
            Some(last) if until + beats(OUT_OF_ORDER) >= last => {
                (last + 1).max(until.saturating_sub(beats(LONGEST_PAUSE)))
            }
            _ => until,
        };
        if next <= until {
            self.last = Some(until);
        }
        (next..=until).map(|beat| UnixNanos(beat * beats_nanos()))
    }

    /// An engine begins to look. In the time before, no time passed: nobody would have seen it.
    pub(crate) fn begin(&mut self, analyzer: &mut Analyzer, began: &Beginning, position: u64) {
        if let Some(blind) = &began.blind {
            analyzer.intervene(blind.clone());
        }
        self.last = Some((began.at.0 / beats_nanos()).saturating_sub(1));
        analyzer.cut_at(position);
    }

    /// A beat: hands on the traces that are whole by now, each several after they were shown to `look`. What it makes of
    /// the incidents.
    pub(crate) fn pass(
        &mut self,
        analyzer: &mut Analyzer,
        beat: UnixNanos,
        mut look: impl FnMut(&[Outline<'_>]),
    ) -> Vec<Change> {
        self.assembler.poll_outlines(beat, |outlines| {
            look(outlines);
            analyzer.outlines(outlines, beat);
        });
        analyzer.tick(beat)
    }

    /// Takes the spans of the journal's entry at this position. Beats up to when it was received have passed.
    pub(crate) fn take(
        &mut self,
        analyzer: &mut Analyzer,
        position: u64,
        received_at: UnixNanos,
        spans: &PackedSpans,
    ) {
        self.assembler.push_all(spans, received_at);
        let telling: Vec<_> = spans.telling().collect();
        analyzer.notices(&telling, received_at);
        analyzer.cut_at(position);
    }

    /// Takes what was told in the journal's entry at this position, as far as it concerns requests.
    pub(crate) fn take_note(
        &mut self,
        analyzer: &mut Analyzer,
        position: u64,
        received_at: UnixNanos,
        note: Note,
    ) {
        match note {
            Note::Began { began } => self.begin(analyzer, &began, position),
            Note::Said(_) => {}
            Note::Shown { shown, of } => analyzer.keep_examples(of, shown),
            Note::Restarted { restarted } => {
                for told in restarted {
                    analyzer.intervene(told);
                }
            }
            Note::Intervention(told) => analyzer.intervene(told),
            Note::Reports(judgements) => {
                for judgement in judgements {
                    if let Some(root) = judgement.root() {
                        analyzer.span(&root, received_at);
                        self.assembler.push(root, received_at);
                    }
                    analyzer.report(judgement.report, received_at);
                }
            }
        }
        analyzer.cut_at(position);
    }
}

const fn beats_nanos() -> u64 {
    BEAT.as_nanos() as u64
}

#[cfg(test)]
mod tests {
    use rekindle_ingest::assembly::AssemblerConfig;

    use super::*;

    fn course() -> Course {
        Course::new(Assembler::new(AssemblerConfig::default()))
    }

    /// What happens, in order: a beat's time in milliseconds, or the number of an entry.
    #[derive(Clone, Debug, PartialEq)]
    enum Heard {
        Beat(u64),
        Entry(usize),
    }

    fn beat(at: UnixNanos) -> Heard {
        Heard::Beat(at.as_millis())
    }

    /// Of entries that were received at these times (in milliseconds), in the journal's order.
    fn read_again(entries: &[u64], until: u64) -> Vec<Heard> {
        let mut course = course();
        let mut heard = Vec::new();
        for (number, received) in entries.iter().enumerate() {
            heard.extend(course.due(UnixNanos::from_millis(*received)).map(beat));
            heard.push(Heard::Entry(number));
        }
        heard.extend(course.due(UnixNanos::from_millis(until)).map(beat));
        heard
    }

    #[test]
    fn who_lives_hears_it_in_the_order_in_which_it_is_read_again() {
        // (received, handed on), in the journal's order; each time is looked at what is there.
        let cases: [&[(u64, u64)]; 4] = [
            &[(1_000, 1_001), (1_020, 1_200), (1_260, 1_261)],
            &[(1_000, 1_500), (1_010, 1_500), (1_490, 1_501)],
            &[
                (1_000, 1_001),
                (1_400, 1_420),
                (1_100, 1_430),
                (1_450, 1_900),
            ],
            &[(1_000, 1_001), (9_000, 9_001)],
        ];
        for entries in cases {
            let mut course = course();
            let mut heard = Vec::new();
            let mut handed_on = 0;
            let last = entries.iter().map(|it| it.1).max().expect("some");
            for now in (900..=last + 100).step_by(7) {
                let under_way = entries.iter().skip(handed_on);
                let coming = under_way.take_while(|it| it.1 <= now).count();
                for (received, _) in &entries[handed_on..handed_on + coming] {
                    heard.extend(course.due(UnixNanos::from_millis(*received)).map(beat));
                    heard.push(Heard::Entry(handed_on));
                    handed_on += 1;
                }
                let under_way = entries[handed_on..].iter().map(|it| it.0);
                let oldest = under_way.filter(|received| *received <= now).min();
                let until = oldest.unwrap_or(now);
                // Nothing is waited for that nobody sends yet.
                if handed_on > 0 {
                    heard.extend(course.due(UnixNanos::from_millis(until)).map(beat));
                }
            }
            assert_eq!(handed_on, entries.len());
            let times: Vec<u64> = entries.iter().map(|it| it.0).collect();
            let mut again = read_again(&times, last + 100);
            again.truncate(heard.len());
            assert_eq!(heard, again, "{entries:?}");
        }
    }

    /// Whoever was down learned nothing of how long all was well.
    #[test]
    fn while_nobody_looks_no_time_passes() {
        let mut course = course();
        let mut analyzer = Analyzer::new(rekindle_analysis::AnalysisConfig::default());
        assert_eq!(course.due(UnixNanos::from_secs(1)).count(), 1);
        let began = Beginning {
            at: UnixNanos::from_secs(3_000),
            blind: None,
            since: UnixNanos::default(),
            first: None,
            restarted: Vec::new(),
            settings: String::new(),
        };
        course.begin(&mut analyzer, &began, 7);
        let due: Vec<_> = course.due(UnixNanos::from_millis(3_000_120)).collect();
        let expected = [3_000_000, 3_000_050, 3_000_100].map(UnixNanos::from_millis);
        assert_eq!(due, expected);
    }

    #[test]
    fn beats_of_a_long_pause_are_few() {
        let mut course = course();
        assert_eq!(course.due(UnixNanos::from_secs(1)).count(), 1);
        assert_eq!(course.due(UnixNanos::from_secs(2)).count(), 20);
        let years = UnixNanos::from_secs(1 << 30);
        assert_eq!(course.due(years).count() as u64, beats(LONGEST_PAUSE) + 1);
        // And a clock that is set back is followed.
        assert_eq!(course.due(UnixNanos::from_secs(3)).count(), 1);
        assert_eq!(course.due(UnixNanos::from_secs(4)).count(), 20);
    }
}
