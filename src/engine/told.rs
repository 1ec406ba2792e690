//! What is known of an intervention that somebody told of, once it is held against the tree and the clock.

use std::time::Duration;

use rekindle_ingest::{DecodeContext, PackedSpans, Record, decode_payload};
use rekindle_model::{Intervention, Life, Name, Selector, TraceId, UnixNanos};
use rekindle_recovery::{RestartTree, UnitName};
use serde::{Deserialize, Serialize};

use super::probing::Judgement;
use super::said::Said;
use crate::api::{Problem, ToldIntervention, Whom};
use crate::view::{UtcTime, reference_anew, reference_of, told_as};

/// What is kept in the journal beside spans, since it was told to us and counts for rankings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Note {
    /// An engine began to live, and read what follows.
    Began {
        /// What it knew then.
        began: Beginning,
    },
    /// What we restarted ourselves, at once. The ledger knows that, too, and what became of it.
    Restarted {
        /// As the analysis takes it.
        restarted: Vec<Intervention>,
    },
    /// Which traces a ranking of ours showed: they are kept for the next ones.
    Shown {
        /// The traces.
        shown: Vec<TraceId>,
        /// The number that its incident has in the analysis.
        of: u64,
    },
    /// What was done to the system.
    Intervention(Intervention),
    /// What somebody outside said of requests: others, and our own probes.
    Reports(Vec<Judgement>),
    /// What somebody said of a unit, or that nothing holds any more that was said of it. Heartbeats that promise the next
    /// one come again by themselves, and aren't kept.
    Said(Said),
}

/// What an engine knows at its beginning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Beginning {
    /// When it had read that, and began to look.
    pub(crate) at: UnixNanos,
    /// The time before, as far back as something is there: nobody looked.
    pub(crate) blind: Option<Intervention>,
    /// From when on it reads what is in the journal before this.
    pub(crate) since: UnixNanos,
    /// The position of the first of it, if there is any.
    pub(crate) first: Option<u64>,
    /// What former engines restarted in that time.
    pub(crate) restarted: Vec<Intervention>,
    /// How it counts, as far as a configuration says: another one counts otherwise.
    pub(crate) settings: String,
}

/// What an entry of the journal says.
pub(crate) enum Told {
    /// What an exporter sent.
    Spans(PackedSpans),
    /// What was told beside it.
    Note(Box<Note>),
}

impl Note {
    /// Whether it says nothing to the engines after the one that wrote it: what was restarted, and what became of it, the
    /// ledger tells them.
    pub(crate) const fn is_of_one_life(&self) -> bool {
        matches!(self, Self::Restarted { .. } | Self::Shown { .. })
    }
}

impl Told {
    /// Whether the analysis hears of it, and with it of the time when it came; of words about units it doesn't.
    pub(crate) fn concerns_requests(&self) -> bool {
        !matches!(self, Self::Note(note) if matches!(**note, Note::Said(_)))
    }

    /// Whether time passes for the analysis until it comes. Before an engine began, none did.
    pub(crate) fn brings_time(&self) -> bool {
        !matches!(self, Self::Note(note) if matches!(**note, Note::Began { .. }))
    }
}

/// Reads an entry of the journal; `None` where it can't be read.
pub(crate) fn read(record: &Record, context: &mut DecodeContext) -> Option<Told> {
    let entry = &record.entry;
    if let Some(note) = entry.as_note() {
        return serde_json::from_slice(note).ok().map(Told::Note);
    }
    let content_type = entry.protocol.content_type();
    let decoded = decode_payload(content_type, &entry.payload, context).ok()?;
    Some(Told::Spans(decoded.spans))
}

/// So long after it was told an intervention counts as over, unless it is told again: a pipeline that broke half-way must
/// not hide failures for ever. As long as nearly all rollouts of one service take.
const LAPSES_AFTER: Duration = Duration::from_secs(10 * 60);

/// Which of those that are known are of this id and target, whoever told of them.
fn same<'a>(
    told: &ToldIntervention,
    target: &Selector,
    known: &[&'a Intervention],
) -> impl Iterator<Item = &'a Intervention> {
    known.iter().copied().filter(|it| {
        let id = told_as(&it.reference).map(|(id, _)| id);
        id == Some(told.id.as_str()) && it.target == *target
    })
}

/// Which of those that are known goes on, and is told of again.
pub(super) fn goes_on<'a>(
    told: &ToldIntervention,
    target: &Selector,
    known: &[&'a Intervention],
    now: UnixNanos,
) -> Option<&'a Intervention> {
    same(told, target, known).find(|it| it.until.is_none_or(|until| until > now))
}

/// The last one that is over, where nothing more is said than that it is: it was ended, or wasn't told again in time.
pub(super) fn was_over<'a>(
    told: &ToldIntervention,
    target: &Selector,
    known: &[&'a Intervention],
) -> Option<&'a Intervention> {
    let says_no_more = told.is_over && told.from.is_none();
    let mut over: Vec<_> = same(told, target, known).filter(|_| says_no_more).collect();
    over.sort_by_key(|it| it.until);
    over.pop()
}

/// Who says that it is over, unless that is who told of it.
pub(super) fn ended_by(told: &ToldIntervention, same: &Intervention) -> Option<Name> {
    let first = told_as(&same.reference).map(|(_, by)| by);
    let is_another = told.is_over && first != Some(told.by.as_str());
    is_another.then(|| told.by.as_str().into())
}

/// By what name it is known beside those: one that is told anew after it was over may not replace the former one.
pub(super) fn name_beside(it: &Intervention, known: &[&Intervention]) -> Name {
    match known.iter().any(|other| other.reference == it.reference) {
        true => reference_anew(&it.reference, UtcTime::from(it.from)).into(),
        false => it.reference.clone(),
    }
}

/// What it is done to, as the tree and its maker say.
pub(super) fn target(told: &ToldIntervention, tree: &RestartTree) -> Result<Selector, Problem> {
    let pairs = match &told.whom {
        Whom::Attributes(pairs) => pairs,
        Whom::Unit(unit) => tree
            .selector(&UnitName(unit.clone()))
            .filter(|pairs| !pairs.is_empty())
            .ok_or_else(|| {
                Problem::invalid(format!(
                    "nothing in telemetry is {unit}'s own (it has no `match`): say a target instead"
                ))
            })?,
    };
    let pairs = pairs.iter();
    Ok(Selector(
        pairs
            .map(|(key, value)| (Name::from(key.as_str()), Name::from(value.as_str())))
            .collect(),
    ))
}

/// The intervention that was told at this time; `first` is since when it was told to go on before, and `window` how far back
/// the analysis remembers.
pub(super) fn intervention(
    told: &ToldIntervention,
    target: Selector,
    first: Option<UnixNanos>,
    window: Duration,
    now: UnixNanos,
) -> Result<Intervention, Problem> {
    let nanos = |time: UtcTime| UnixNanos::from(std::time::SystemTime::from(time));
    // As a restarted engine reads no more of the journal than this, nothing may be told for longer.
    let latest = now.plus(LAPSES_AFTER.min(window));
    let earliest = now.minus(window);
    let mut from = told.from.map(nanos).or(first).unwrap_or(now);
    let mut until = told.until.map_or(latest, nanos);
    if told.is_over && first.is_none() && told.from.is_none() {
        return Err(Problem::invalid(format!(
            "nothing of the id {} was told of this unit or target within the last {} min, so it can't be over: name what it was told of, or say since \
             when it went on (`from`)",
            told.id,
            window.as_secs().div_ceil(60),
        )));
    }
    if told.is_over {
        // By our clock, as its maker's may be another.
        (from, until) = (from.min(now), now);
    }
    let within = earliest..=latest;
    if !within.contains(&until) || !(within.contains(&from) || Some(from) == first) || until < from
    {
        return Err(Problem::invalid(format!(
            "it would be from {} until {}; it must end after it begins, both between {} (what is older is forgotten) and {} \
             (tell it again while it goes on)",
            UtcTime::from(from),
            UtcTime::from(until),
            UtcTime::from(earliest),
            UtcTime::from(latest),
        )));
    }
    Ok(Intervention {
        reference: reference_of(&told.id, &told.by, &target).into(),
        kind: told.kind.into(),
        target,
        from,
        until: Some(until),
        began: Life::default(),
        ended_by: None,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::api::DeedWord;
    use crate::engine::mapping::tests::tree;
    use crate::engine::probing::Asking;

    /// Notes that an earlier version wrote are plain interventions.
    #[test]
    fn notes_are_read_back() {
        let intervention = Intervention {
            kind: rekindle_model::InterventionKind::Scaling,
            target: Selector(vec![("service.name".into(), "shop".into())]),
            from: UnixNanos(7),
            until: None,
            began: Life::default(),
            ended_by: None,
            reference: "hpa".into(),
        };
        let report = rekindle_model::OutcomeReport {
            trace_id: rekindle_model::TraceId::from_bytes([7; 16]).expect("not zero"),
            outcome: rekindle_model::Outcome::Failed,
            reporter: "crawler".into(),
            at: UnixNanos(8),
            detail: None,
        };
        let said = |by, wrong: Option<&str>| {
            Note::Said(Said {
                unit: "shop".into(),
                by,
                wrong: wrong.map(str::to_owned),
                next_within: None,
            })
        };
        use crate::engine::said::Speaker::{Forget, Itself, Reporter};
        let asking = Asking {
            question: "front door".into(),
            span_id: rekindle_model::SpanId::from_bytes([7; 8]).expect("not zero"),
            start: UnixNanos(5),
            end: UnixNanos(8),
        };
        let judgement = |asking| Judgement {
            report: report.clone(),
            asking,
        };
        let began = Beginning {
            at: UnixNanos(9),
            blind: Some(intervention.clone()),
            since: UnixNanos(3),
            first: Some(4),
            restarted: vec![intervention.clone()],
            settings: "of a window".to_owned(),
        };
        for note in [
            Note::Intervention(intervention.clone()),
            Note::Restarted {
                restarted: vec![intervention.clone(), intervention.clone()],
            },
            Note::Began { began },
            Note::Shown {
                shown: vec![report.trace_id],
                of: 3,
            },
            Note::Reports(vec![judgement(None), judgement(Some(asking))]),
            said(Reporter("crawler".to_owned()), Some("no price")),
            said(Itself, Some("no room")),
            said(Forget, None),
        ] {
            let text = serde_json::to_vec(&note).expect("written");
            let read: Note = serde_json::from_slice(&text).expect("read");
            assert_eq!(read, note);
        }
        let old = serde_json::to_vec(&intervention).expect("written");
        let read: Note = serde_json::from_slice(&old).expect("read");
        assert_eq!(read, Note::Intervention(intervention));
        let old = serde_json::to_vec(&[&report]).expect("written");
        let read: Note = serde_json::from_slice(&old).expect("read");
        assert_eq!(read, Note::Reports(vec![judgement(None)]));
    }

    const NOW: u64 = 1_000_000_000;
    const WINDOW: Duration = Duration::from_secs(900);

    fn told(whom: Whom, from: Option<i64>, until: Option<i64>) -> ToldIntervention {
        let time = |seconds: i64| UtcTime::from_millis((NOW as i64 + seconds) as u64 * 1_000);
        ToldIntervention {
            id: "rollout 7".to_owned(),
            by: "ci".to_owned(),
            kind: DeedWord::Deployment,
            whom,
            from: from.map(time),
            until: until.map(time),
            is_over: false,
        }
    }

    fn made(
        told: &ToldIntervention,
        first: Option<UnixNanos>,
        now: UnixNanos,
    ) -> Result<Intervention, Problem> {
        intervention(told, target(told, &tree())?, first, WINDOW, now)
    }

    fn again<'a>(
        told: &ToldIntervention,
        known: &[&'a Intervention],
        now: UnixNanos,
    ) -> Option<&'a Intervention> {
        goes_on(told, &target(told, &tree()).expect("known"), known, now)
    }

    #[test]
    fn one_id_of_two_targets_is_two_and_whoever_knows_both_may_end_it() {
        let at = |seconds: i64| UnixNanos::from_secs((NOW as i64 + seconds) as u64);
        let of = |service: &str| {
            let pairs = BTreeMap::from([("service.name".to_owned(), service.to_owned())]);
            told(Whom::Attributes(pairs), None, None)
        };
        let catalog = made(&of("catalog"), None, at(0)).expect("taken");
        // Neither knew of the other when it was told.
        let stock = made(&of("stock"), None, at(1)).expect("taken");
        assert_eq!(again(&of("stock"), &[&catalog], at(1)), None);
        let both = "rollout 7, told by ci, of service.name=stock";
        assert_eq!(stock.reference.as_str(), both);
        let known = [&catalog, &stock];
        for (it, by, ended_by) in [(&catalog, "ann", Some("ann")), (&stock, "ci", None)] {
            let service = it.target.0[0].1.as_str();
            let over = ToldIntervention {
                by: by.to_owned(),
                is_over: true,
                ..of(service)
            };
            let found = again(&over, &known, at(60)).expect("it goes on");
            assert_eq!(found.reference, it.reference);
            let ended = super::ended_by(&over, found);
            assert_eq!(ended.as_deref(), ended_by, "{by}");
            let view = crate::view::InterventionView::from(found);
            let told = (view.id.as_deref(), view.by.as_deref());
            assert_eq!(told, (Some("rollout 7"), Some("ci")));
        }
        // What nobody told of can't be over.
        let over = ToldIntervention {
            is_over: true,
            ..of("web")
        };
        let refused = made(&over, None, at(60)).expect_err("refused");
        assert!(
            refused.detail.contains("nothing of the id rollout 7"),
            "{refused:?}"
        );
    }

    #[test]
    fn a_name_that_is_used_again_is_another_intervention() {
        let at = |seconds: i64| UnixNanos::from_secs((NOW as i64 + seconds) as u64);
        let catalog = || told(Whom::Unit("catalog".to_owned()), None, None);
        let over = ToldIntervention {
            is_over: true,
            ..catalog()
        };
        let first = made(&catalog(), None, at(-300)).expect("taken");
        assert!(again(&over, &[&first], at(-200)).is_some());
        let ended = made(&over, Some(first.from), at(-200));
        let ended = ended.expect("taken");
        assert_eq!((ended.from, ended.until), (at(-300), Some(at(-200))));
        // Told again after it was over.
        assert_eq!(again(&catalog(), &[&ended], at(0)), None);
        // That it is over is said again, or after it lapsed: whoever didn't get the answer is told the same.
        let said_again = |it: &Intervention| {
            let target = target(&over, &tree()).expect("known");
            was_over(&over, &target, &[it]).and_then(|it| it.until)
        };
        assert_eq!(said_again(&ended), Some(at(-200)));
        assert_eq!(said_again(&first), Some(at(300)));
        let another = made(
            &told(
                Whom::Attributes([("service.name".to_owned(), "web".to_owned())].into()),
                None,
                None,
            ),
            None,
            at(-300),
        );
        assert_eq!(said_again(&another.expect("taken")), None);
        let mut second = made(&catalog(), None, at(0)).expect("taken");
        second.reference = name_beside(&second, &[&ended]);
        assert_ne!(second.reference, ended.reference);
        let found = again(&over, &[&ended, &second], at(60));
        assert_eq!(found.map(|it| it.from), Some(at(0)));
        // Whoever's clock is ahead may end it, too.
        let mut ahead = over;
        ahead.from = Some(UtcTime::from(at(90)));
        let ended = made(&ahead, None, at(60)).expect("taken");
        assert_eq!((ended.from, ended.until), (at(60), Some(at(60))));
    }

    #[test]
    fn what_is_told_has_bounds_whatever_is_said() {
        let catalog = || Whom::Unit("catalog".to_owned());
        let service = BTreeMap::from([("service.name".to_owned(), "catalog".to_owned())]);
        let service = || Whom::Attributes(service.clone());
        // Seconds from now: what is said, since when it was told to go on before, and what it comes to.
        for (whom, from, until, first, expected) in [
            (service(), None, None, None, Some((0, 600))),
            (catalog(), None, None, None, Some((0, 600))),
            (service(), None, None, Some(-30), Some((-30, 600))),
            (service(), None, Some(0), Some(-30), Some((-30, 0))),
            // It may go on for longer than is remembered, as long as it is told again.
            (service(), None, None, Some(-5_000), Some((-5_000, 600))),
            (service(), Some(-900), Some(-800), None, Some((-900, -800))),
            (service(), Some(30), Some(600), None, Some((30, 600))),
            (service(), Some(-901), None, None, None),
            (service(), None, Some(601), None, None),
            (service(), Some(10), Some(9), None, None),
            (Whom::Unit("nobody".to_owned()), None, None, None, None),
        ] {
            let told = told(whom, from, until);
            let at = |seconds: i64| UnixNanos::from_secs((NOW as i64 + seconds) as u64);
            let found = made(&told, first.map(at), at(0)).ok();
            let span = found.as_ref().map(|it| (it.from, it.until));
            let expected = expected.map(|(from, until)| (at(from), Some(at(until))));
            assert_eq!(span, expected, "{told:?} {first:?}");
            if let Some(found) = found {
                let name = "rollout 7, told by ci, of service.name=catalog";
                assert_eq!(found.reference.as_str(), name);
                let target = [("service.name".into(), "catalog".into())];
                assert_eq!(found.target.0, target, "{told:?}");
            }
        }
    }
}
