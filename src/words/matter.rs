//! What is the matter? In a few words, for lists and headings.

use super::{ago, count, millis, names};
use crate::view::{IncidentView, Shape, UtcTime, WatchStanding, WatchView};

/// An incident's name: the request types that fail or, where none is known to, the unit and what is the matter with it.
pub(crate) fn matter(incident: &IncidentView) -> String {
    if !incident.request_types.is_empty() {
        let types: Vec<&str> = incident.request_types.iter().map(String::as_str).collect();
        let types = names(&types);
        return match incident.masked {
            true => format!("masked failures of {types}"),
            false => types,
        };
    }
    let suspects = incident.ranking.iter().flat_map(|it| &it.suspects);
    match suspects.into_iter().next() {
        Some(suspect) => format!("{}: {}", suspect.name(), shape(suspect.shape)),
        None => "not known yet".to_owned(),
    }
}

/// `12 requests failed`, or in how many a failure was masked.
pub(crate) fn failed(incident: &IncidentView) -> String {
    let requests = count(incident.failed);
    match incident.masked {
        true => format!("{requests} requests hid a failure from their users"),
        false => format!("{requests} requests failed"),
    }
}

/// What is the matter with a unit in which no request is known to fail.
const fn shape(shape: Shape) -> &'static str {
    match shape {
        Shape::Raised => "fails",
        Shape::Unanswered => "doesn't answer",
        Shape::Slow => "is slower than it used to be",
        Shape::WrongAnswer => "answers its check wrongly",
        Shape::Exited => "its process ended",
        Shape::OutOfBounds => "its figures are out of bounds",
        Shape::Reported => "is said to be sick, or silent",
    }
}

/// How a unit stands to one of its watches: `57 MiB (at most 100 MiB), measured just now`.
pub(crate) fn watch(watch: &WatchView, now: UtcTime) -> String {
    let limit = match watch.lasts_ms {
        0 => watch.limit.clone(),
        lasts => format!("{}; a fault after {}", watch.limit, millis(lasts)),
    };
    let measured = match (&watch.value, watch.measured) {
        (Some(value), Some(at)) if watch.note.is_empty() => {
            let out = match (watch.standing, watch.out_since) {
                (WatchStanding::Beyond | WatchStanding::Leaning, Some(since)) => {
                    format!(", out of bounds for {}", lasted(since, now))
                }
                _ => String::new(),
            };
            format!("{value}{out}, measured {}", ago(at, now))
        }
        (Some(value), Some(at)) => {
            format!(
                "not measured: {}; it was {value} {}",
                watch.note,
                ago(at, now)
            )
        }
        _ if watch.note.is_empty() => "not measured often enough yet".to_owned(),
        _ => format!("not measured: {}", watch.note),
    };
    format!("{measured} ({limit})")
}

fn lasted(since: UtcTime, now: UtcTime) -> String {
    millis(now.since(since).as_secs().max(1) * 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::{ComponentView, RankingView, SuspectView};

    #[test]
    fn every_incident_has_a_name() {
        let mut incident = IncidentView::default();
        assert_eq!(matter(&incident), "not known yet");
        incident.ranking = Some(RankingView {
            suspects: vec![SuspectView {
                components: vec![ComponentView {
                    name: "catalog".to_owned(),
                    ..ComponentView::default()
                }],
                shape: Shape::Exited,
                ..SuspectView::default()
            }],
            ..RankingView::default()
        });
        assert_eq!(matter(&incident), "catalog: its process ended");
        incident.request_types = vec!["web GET /".to_owned()];
        assert_eq!(matter(&incident), "web GET /");
        assert_eq!(failed(&incident), "0 requests failed");
        incident.masked = true;
        assert_eq!(matter(&incident), "masked failures of web GET /");
    }

    #[test]
    fn a_watch_shows_what_is_now_or_why_nothing_is_known() {
        let at = |seconds: u64| UtcTime::from_millis(1000 * (1_000_000 + seconds));
        let mut memory = WatchView {
            what: "the memory of catalog".to_owned(),
            limit: "at most 100 MiB".to_owned(),
            lasts_ms: 3000,
            note: "no process of catalog is running".to_owned(),
            ..WatchView::default()
        };
        let limit = "(at most 100 MiB; a fault after 3s)";
        let told = format!("not measured: no process of catalog is running {limit}");
        assert_eq!(watch(&memory, at(0)), told);
        memory.note.clear();
        let told = format!("not measured often enough yet {limit}");
        assert_eq!(watch(&memory, at(0)), told);
        memory.value = Some("150 MiB".to_owned());
        memory.measured = Some(at(9));
        memory.standing = WatchStanding::Beyond;
        memory.out_since = Some(at(3));
        let told = format!("150 MiB, out of bounds for 6s, measured just now {limit}");
        assert_eq!(watch(&memory, at(9)), told);
        // What was measured once isn't what is.
        memory.note = "no process of catalog is running".to_owned();
        let told = format!(
            "not measured: no process of catalog is running; it was 150 MiB 1m ago {limit}"
        );
        assert_eq!(watch(&memory, at(69)), told);
    }
}
