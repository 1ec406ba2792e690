//! A suspect's evidence in one plain sentence.

use crate::{
    Component, Counted, Doubt, LatencyShift, Level, Measured, Shape, StructureChange, Support,
    Suspect, Times,
};

/// What is said where no share is known.
pub(super) const SHARES_UNKNOWN: &str =
    "a sampler doesn't say how many requests it threw away, so shares and confidence are unknown";

/// What is said of failures that are all hidden.
pub(super) const ALL_MASKED: &str =
    "all of these requests ended well: a retry or a fallback hid the failure from the user";

/// So many names of a group, or of callers, are spelled out.
const NAMED: usize = 3;

/// The sentence.
pub(crate) fn sentence(suspect: &Suspect) -> String {
    let who = list(suspect.components.iter().map(ToString::to_string));
    let (evidence, explanation) = (&suspect.evidence, &suspect.explanation);
    let mut remarks: Vec<String> = Vec::new();
    remarks.extend(explanation.support.iter().map(|it| support(*it)));
    remarks.extend(explanation.against.iter().filter_map(confounded));
    let changes: Vec<String> = [
        explanation.latency.as_ref().map(latency),
        explanation.structure.as_ref().map(structure),
    ]
    .into_iter()
    .flatten()
    .collect();
    if let Some(stopped) = explanation.stopped() {
        return format!("{who} may hang: {}.", support(stopped));
    }
    if evidence.originated == 0 && !changes.is_empty() {
        return changed(&who, suspect, &changes.join("; "));
    }
    let deed = match suspect.shape {
        Shape::Raised => "raised the failure",
        Shape::Unanswered => "did not answer",
        Shape::Slow => "took the time that was too much",
        Shape::WrongAnswer => "was on the way",
    };
    // Where nothing began inside, being on the way is all that is known.
    let many = if suspect.shape == Shape::WrongAnswer || evidence.originated == 0 {
        evidence.failed_touching
    } else {
        evidence.originated
    };
    let mut text = format!(
        "{who} {deed} in {many} of {} {} requests",
        evidence.failed_total,
        failed(suspect),
    );
    if let Some(error) = &suspect.error_type {
        text.push_str(&format!(" ({error})"));
    }
    let is_operation = suspect.components[0].level == Level::Operation;
    if let Some((operation, _)) = explanation.origin.operations.first()
        && !is_operation
    {
        text.push_str(&format!(", mostly in {operation}"));
    }
    text.push_str(&format!("; {} touched it", who_touched(suspect)));
    if explanation.origin.masked > 0 && !explanation.compared.masked {
        text.push_str(&format!("; {}", masked(explanation.origin.masked)));
    }
    if explanation.origin.before.hits > 0 {
        text.push_str(&format!("; {}", failed_before(&explanation.origin.before)));
    }
    if !suspect.callers.is_empty() {
        let callers = list(
            suspect
                .callers
                .iter()
                .map(|caller| caller.name().to_string()),
        );
        text.push_str(&format!("; reported by {callers}"));
    }
    for remark in remarks.into_iter().chain(changes) {
        text.push_str(&format!("; {remark}"));
    }
    text.push('.');
    text
}

/// How the requests ended that are to be explained.
pub(super) const fn failed(suspect: &Suspect) -> &'static str {
    match suspect.explanation.compared.masked {
        true => "masked",
        false => "failed",
    }
}

pub(super) fn masked(requests: u64) -> String {
    format!("failures in it were masked in {requests} more, whose users saw none")
}

/// Shares, where these are known; else what was kept.
pub(super) fn who_touched(suspect: &Suspect) -> String {
    let evidence = &suspect.evidence;
    if suspect.explanation.against.contains(&Doubt::SharesUnknown) {
        return format!(
            "{} of {} {} and {} of {} good requests that were kept",
            evidence.failed_touching,
            evidence.failed_total,
            failed(suspect),
            evidence.ok_touching,
            evidence.ok_total
        );
    }
    format!(
        "{} of {} and {} of good requests",
        percent(evidence.failed_share.share),
        failed(suspect),
        percent(evidence.ok_share.share),
    )
}

/// Of a suspect that works differently, and in which no failure began.
fn changed(who: &str, suspect: &Suspect, change: &str) -> String {
    let evidence = &suspect.evidence;
    let mut text = format!("{who} works differently than before: {change}");
    if evidence.failed_total > 0 {
        text.push_str(&format!(
            "; {} touched it, but none of the failures began in it",
            who_touched(suspect)
        ));
    }
    text.push('.');
    text
}

pub(super) fn failed_before(before: &Counted) -> String {
    format!(
        "in the time before, {} of the {} requests that touched it failed in it, too",
        before.hits, before.total
    )
}

pub(super) fn support(support: Support) -> String {
    match support {
        Support::SeveralServicesFailOnlyHere => {
            "several services fail on it that are fine elsewhere".to_owned()
        }
        Support::RequestsStopped {
            missing,
            touching,
            going_on,
            going_on_touching,
        } => format!(
            "some {missing} requests did not come that should have; {touching} of them would have touched \
             it, and {going_on_touching} of the {going_on} that came meanwhile did"
        ),
    }
}

/// Doubts that belong into the sentence: without them it would promise too much.
fn confounded(doubt: &Doubt) -> Option<String> {
    match doubt {
        Doubt::SharesUnknown => Some(SHARES_UNKNOWN.to_owned()),
        Doubt::LoneComponent { service } => Some(format!(
            "no request since then used another component of {service}, so nothing tells them apart"
        )),
        Doubt::Confounded { with } => {
            // What is asked of it, and where, is for whoever reads more.
            let mut placed = with.clone();
            placed.retain(|other| other.level != Level::Operation);
            (!placed.is_empty()).then(|| told_from(&placed))
        }
        _ => None,
    }
}

pub(super) fn told_from(others: &[Component]) -> String {
    format!(
        "no request tells it from {}, which may be to blame instead",
        list(others.iter().map(ToString::to_string))
    )
}

pub(super) fn latency(shift: &LatencyShift) -> String {
    let what = match &shift.what {
        Measured::Visit(component) => format!("{component} took"),
        Measured::OwnWork(component) => format!("the own work of {component} took"),
        Measured::Way { from, to } => format!("the way from {from} to {to} took"),
    };
    let said = |nanos: Option<u64>| nanos.map_or_else(|| "unknown".to_owned(), spoken);
    // Where only some were measured, the figures are theirs.
    let measured = |times: &Times| match times.unmeasured {
        0 => String::new(),
        _ => format!(" ({} of them measured)", times.measured()),
    };
    format!(
        "{what} {} in the middle and {} at the 90th percentile of {} calls{}, before {} and {} of {}{}",
        said(shift.now.median_nanos),
        said(shift.now.p90_nanos),
        shift.now.calls,
        measured(&shift.now),
        said(shift.before.median_nanos),
        said(shift.before.p90_nanos),
        shift.before.calls,
        measured(&shift.before),
    )
}

pub(super) fn structure(change: &StructureChange) -> String {
    let place = match &change.after {
        None => "before any call".to_owned(),
        Some(last) => format!("right after asking {last}"),
    };
    format!(
        "{} now stops {place} in {} of the {} visits that get there, before in {} of {}",
        change.operation,
        change.now.hits,
        change.now.total,
        change.before.hits,
        change.before.total
    )
}

pub(super) fn list(names: impl ExactSizeIterator<Item = String>) -> String {
    let more = names.len().saturating_sub(NAMED);
    let mut named: Vec<String> = names.take(NAMED).collect();
    if more > 0 {
        named.push(format!("{more} more"));
    }
    match named.as_slice() {
        [all @ .., last] if !all.is_empty() => format!("{} and {last}", all.join(", ")),
        _ => named.concat(),
    }
}

pub(super) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent > 0.0 && percent < 1.0 {
        format!("{percent:.1} %")
    } else {
        format!("{percent:.0} %")
    }
}

/// A duration as people say it.
fn spoken(nanos: u64) -> String {
    let millis = nanos as f64 / 1e6;
    if millis < 10.0 {
        format!("{millis:.1} ms")
    } else if millis < 10_000.0 {
        format!("{millis:.0} ms")
    } else {
        format!("{:.0} s", millis / 1e3)
    }
}
