//! Is all as usual, or does it only look so because nothing comes?
//!
//! The page and the command line say it with the same words: who isn't heard of any more, who is refused, and what would
//! change that.

use rekindle_ingest::receive::Class;
use rekindle_model::InterventionKind;

use super::{ago, count, names, when};
use crate::view::{RefusedView, SilentView, UtcTime, View};

/// What stands above everything else while no incident is open and nobody is asked, and whether that is good news.
pub(crate) fn calm(view: &View) -> (String, bool) {
    let status = &view.status;
    let refused: Vec<&str> = distinct(&status.refused);
    let silent = status.heard.silent.iter().filter(|one| !one.seldom);
    let silent: Vec<&str> = silent.map(SilentView::name).collect();
    let heading = if status.requests == 0 && !refused.is_empty() {
        format!(
            "No requests yet, and what {} sends is refused",
            names(&refused)
        )
    } else if status.requests == 0 {
        "No requests yet; what isn't seen isn't known to be healthy".to_owned()
    } else if let Some(since) = status.heard.nothing_since {
        let since = moment(since, view.now);
        let why = match refused.is_empty() {
            true => "whether all is well is unknown".to_owned(),
            false => format!("what {} sends is refused", names(&refused)),
        };
        format!("Nothing has come since {since}: {why}")
    } else if let Some(heading) = as_usual_but(view, &refused, &silent) {
        heading
    } else {
        return ("All is as usual".to_owned(), true);
    };
    (heading, false)
}

/// What is as usual, where that isn't all: what is set apart may fail, and nobody knows of what doesn't come.
fn as_usual_but(view: &View, refused: &[&str], silent: &[&str]) -> Option<String> {
    let apart = set_apart(view);
    let what = match apart.is_empty() {
        true => "comes",
        false => "is judged",
    };
    let mut but = Vec::new();
    if let [first, others @ ..] = &apart[..] {
        let more = match others.len() {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        but.push(format!("set apart is a {first}{more}"));
    }
    if !refused.is_empty() {
        but.push(format!("what {} sends is refused", names(refused)));
    } else if !silent.is_empty() {
        but.push(format!("nothing comes from {}", names(silent)));
    }
    (!but.is_empty()).then(|| format!("Of what {what}, all is as usual; {}", but.join("; ")))
}

/// What goes on whose requests count for nobody, and until when that is so: `deployment of service.name=catalog until 10:01:30`.
fn set_apart(view: &View) -> Vec<String> {
    let all = view.status.interventions.iter();
    let goes_on = all.filter(|it| {
        let is_over = it.until.is_some_and(|until| until <= view.now);
        it.kind != InterventionKind::Blind && it.from <= view.now && !is_over
    });
    goes_on.map(super::done::to_what).collect()
}

/// What isn't seen and why, a sentence each, whatever else is the matter.
pub(crate) fn unheard(view: &View) -> Vec<String> {
    let heard = &view.status.heard;
    let mut sentences = Vec::new();
    let silent: Vec<&str> = heard.silent.iter().map(SilentView::name).collect();
    match heard.nothing_since {
        Some(since) if view.status.refused.is_empty() => {
            let listening = &view.status.listening;
            sentences.push(format!(
                "Heard of until {}: {}. Are they up, and do their exporters reach {} (gRPC) or {} (HTTP)? Until something comes, \
                 rates and failures are unknown.",
                moment(since, view.now),
                names(&silent),
                listening.grpc,
                listening.http
            ));
        }
        Some(since) => {
            let since = moment(since, view.now);
            sentences.push(format!("Heard of until {since}: {}.", names(&silent)));
        }
        None => {
            let each = heard.silent.iter().take(super::NAMED).map(|one| {
                let since = moment(one.since, view.now);
                format!("Nothing has come from {} since {since}.", one.service)
            });
            sentences.extend(each);
            if let Some(more @ 1..) = heard.silent.len().checked_sub(super::NAMED) {
                sentences.push(format!("Nor from {more} more."));
            }
        }
    }
    let apart = set_apart(view);
    sentences.extend(apart.iter().take(super::NAMED).map(|what| {
        format!(
            "Not judged: a {what}. What touches it meanwhile counts for nobody, however it ends."
        )
    }));
    if let Some(more @ 1..) = apart.len().checked_sub(super::NAMED) {
        sentences.push(format!("Nor is what touches {more} more."));
    }
    if heard.given_way > 0 {
        sentences.push(format!(
            "More services came than are remembered: {} are forgotten, and nobody would notice that they are silent.",
            count(heard.given_way)
        ));
    }
    sentences.extend(view.status.refused.iter().map(|one| {
        let times = match one.requests {
            1 => format!("one request, {}", ago(one.last, view.now)),
            many => format!(
                "{} requests since {}, the last {}",
                count(many),
                moment(one.since, view.now),
                ago(one.last, view.now)
            ),
        };
        format!("Refused: {}: {} ({times}). {}", one.who, one.why, one.to_do)
    }));
    sentences
}

/// Why a request was refused, and what would have the next one taken.
pub(crate) const fn refusal(why: Class) -> (&'static str, &'static str) {
    match why {
        Class::OverRate => (
            "it sends more spans than `ingest.limits` allows one sender",
            "Raise `ingest.limits.spans_per_second` or `burst`, or let it sample.",
        ),
        Class::OverNames => (
            "it brings more new names within an hour than `ingest.limits` allows one sender",
            "Raise `ingest.limits.new_names_per_hour`, or take what differs from request to request (ids) out of its span names.",
        ),
        Class::Unauthorized => (
            "it sends no token that is known here",
            "Give it one of the tokens of `ingest.access`.",
        ),
        Class::TooLarge => (
            "its requests are larger than one may be",
            "Raise `ingest.max_request_bytes`, or let its exporter send smaller batches.",
        ),
        Class::Malformed => (
            "its requests can't be read",
            "It must send OTLP traces, protobuf or JSON; what is wrong is in the answer that it got.",
        ),
        Class::Unsupported => (
            "it asks for something that isn't served here",
            "OTLP traces are taken at POST /v1/traces, and over gRPC; metrics and logs are not.",
        ),
        Class::Stalled => (
            "its requests' bodies don't come in time",
            "Look at the network between it and here.",
        ),
        Class::Busy => (
            "Rekindle is behind",
            "It is told to come again; if this lasts, give Rekindle more processor time, or let senders sample.",
        ),
        Class::NotKept => (
            "the journal couldn't keep what it sent",
            "It is told to come again; look at the disk under `state_dir`.",
        ),
    }
}

/// Senders, each once; one request that went wrong isn't what a sender sends.
fn distinct(refused: &[RefusedView]) -> Vec<&str> {
    let mut who: Vec<&str> = Vec::new();
    for one in refused.iter().filter(|one| one.requests > 1) {
        if !who.contains(&one.who.as_str()) {
            who.push(&one.who);
        }
    }
    who
}

/// `2026-08-01 09:30:00 UTC (12s ago)`.
fn moment(time: UtcTime, now: UtcTime) -> String {
    format!("{} UTC ({})", when(time), ago(time, now))
}

impl SilentView {
    fn name(&self) -> &str {
        &self.service
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::{HeardView, StatusView};

    fn view(requests: u64, nothing: bool, silent: &[&str], refused: &[&str]) -> View {
        let since = UtcTime::from_millis(1_000_000);
        let silent = silent.iter().map(|service| SilentView {
            service: (*service).to_owned(),
            since,
            seldom: service.starts_with("once"),
        });
        let refused = refused.iter().map(|who| RefusedView {
            who: (*who).to_owned(),
            why: "it sends too much".to_owned(),
            to_do: "Raise the limit.".to_owned(),
            requests: 3,
            since,
            last: since,
        });
        View {
            now: UtcTime::from_millis(1_060_000),
            status: StatusView {
                requests,
                heard: HeardView {
                    last: Some(since),
                    nothing_since: nothing.then_some(since),
                    silent: silent.collect(),
                    given_way: 0,
                },
                refused: refused.collect(),
                ..StatusView::default()
            },
            ..View::default()
        }
    }

    #[test]
    fn what_is_set_apart_is_not_said_to_be_as_usual() {
        let at = |seconds: u64| UtcTime::from_millis(1_060_000 + 1_000 * seconds);
        let deployment = |from, until| crate::view::InterventionView {
            kind: InterventionKind::Deployment,
            target: [("service.name".to_owned(), "catalog".to_owned())].into(),
            from,
            until: Some(until),
            began: rekindle_model::Life::default(),
            id: None,
            by: None,
            ended_by: None,
            reference: "rollout 7, told by ci".to_owned(),
        };
        let (before, now) = (UtcTime::from_millis(1_000_000), at(0));
        for (from, until, goes_on) in [
            (before, at(90), true),
            (before, now, false),
            (at(1), at(90), false),
        ] {
            let mut view = view(9, false, &[], &[]);
            view.status.interventions = vec![deployment(from, until)];
            let (said, is_well) = calm(&view);
            assert_eq!(is_well, !goes_on);
            let what = "a deployment of service.name=catalog until 00:19:10";
            assert_eq!(
                said.ends_with(&format!("; set apart is {what}")),
                goes_on,
                "{said}"
            );
            let told = format!(
                "Not judged: {what}. What touches it meanwhile counts for nobody, however it ends."
            );
            let expected: &[String] = if goes_on { &[told] } else { &[] };
            assert_eq!(unheard(&view), expected);
        }
    }

    /// What is refused, or silent, hides nothing of what is set apart; and of many, a few are named.
    #[test]
    fn all_that_is_not_as_usual_is_said_together() {
        let deployment = |service: usize| crate::view::InterventionView {
            kind: InterventionKind::Deployment,
            target: [("service.name".to_owned(), format!("s{service}"))].into(),
            from: UtcTime::from_millis(1_000_000),
            until: None,
            began: rekindle_model::Life::default(),
            id: None,
            by: None,
            ended_by: None,
            reference: format!("rollout {service}, told by ci"),
        };
        for (silent, refused, end) in [
            (vec![], vec!["10.0.0.1"], "what 10.0.0.1 sends is refused"),
            (vec!["web"], vec![], "nothing comes from web"),
        ] {
            let mut view = view(9, false, &silent, &refused);
            view.status.interventions = (0..60).map(deployment).collect();
            let begin = "Of what is judged, all is as usual; set apart is a deployment of service.name=s0, and 59 more";
            assert_eq!(calm(&view), (format!("{begin}; {end}"), false));
            let said = unheard(&view);
            let apart = said.iter().filter(|it| it.starts_with("Not judged: "));
            assert_eq!(apart.count(), super::super::NAMED);
            assert!(said.contains(&"Nor is what touches 57 more.".to_owned()));
        }
    }

    #[test]
    fn not_seen_is_never_as_usual() {
        let since = "1970-01-01 00:16:40 UTC (1m ago)";
        let cases: [(View, String, usize); 8] = [
            (
                view(0, false, &[], &[]),
                "No requests yet; what isn't seen isn't known to be healthy".to_owned(),
                0,
            ),
            (
                view(0, false, &[], &["10.0.0.1"]),
                "No requests yet, and what 10.0.0.1 sends is refused".to_owned(),
                1,
            ),
            (view(9, false, &[], &[]), "All is as usual".to_owned(), 0),
            (
                view(9, false, &["once"], &[]),
                "All is as usual".to_owned(),
                1,
            ),
            (
                view(9, false, &["web"], &[]),
                "Of what comes, all is as usual; nothing comes from web".to_owned(),
                1,
            ),
            (
                view(9, false, &["a", "b", "c", "d"], &["10.0.0.1", "10.0.0.1"]),
                "Of what comes, all is as usual; what 10.0.0.1 sends is refused".to_owned(),
                6,
            ),
            (
                view(9, true, &["web"], &[]),
                format!("Nothing has come since {since}: whether all is well is unknown"),
                1,
            ),
            (
                view(9, true, &["web"], &["10.0.0.1"]),
                format!("Nothing has come since {since}: what 10.0.0.1 sends is refused"),
                2,
            ),
        ];
        for (view, heading, sentences) in cases {
            let (said, is_well) = calm(&view);
            assert_eq!(said, heading);
            assert_eq!(is_well, heading == "All is as usual");
            assert_eq!(unheard(&view).len(), sentences, "{:?}", unheard(&view));
        }
        let mut once = view(9, false, &[], &["10.0.0.1"]);
        once.status.refused[0].requests = 1;
        assert_eq!(calm(&once), ("All is as usual".to_owned(), true));
        assert!(unheard(&once)[0].contains("(one request, 1m ago)"));
        let refused = unheard(&view(9, true, &["web"], &["10.0.0.1"]));
        let told = format!(
            "Refused: 10.0.0.1: it sends too much (3 requests since {since}, the last 1m ago). Raise the limit."
        );
        assert_eq!(refused[1], told);
    }
}
