//! A suspect's evidence in one plain sentence.

use rekindle_model::Name;

use crate::{Level, Shape, Suspect};

/// So many names of a group, or of callers, are spelled out.
const NAMED: usize = 3;

/// The sentence.
pub(crate) fn sentence(
    suspect: &Suspect,
    operation: Option<Name>,
    remark: Option<String>,
) -> String {
    let who = list(suspect.components.iter().map(ToString::to_string));
    let evidence = &suspect.evidence;
    if let (0, Some(change)) = (evidence.originated, &remark) {
        return changed(&who, suspect, change);
    }
    let deed = match suspect.shape {
        Shape::Raised => "raised the failure",
        Shape::Unanswered => "did not answer",
        Shape::Slow => "took the time that was too much",
        Shape::WrongAnswer => "was on the way",
    };
    let many = if suspect.shape == Shape::WrongAnswer {
        evidence.failed_touching
    } else {
        evidence.originated
    };
    let mut text = format!(
        "{who} {deed} in {many} of {} failed requests",
        evidence.failed_total
    );
    if let Some(error) = &suspect.error_type {
        text.push_str(&format!(" ({error})"));
    }
    let is_operation = suspect.components[0].level == Level::Operation;
    if let Some(operation) = operation.filter(|_| !is_operation) {
        text.push_str(&format!(", mostly in {operation}"));
    }
    text.push_str(&format!(
        "; {} of failed and {} of good requests touched it",
        percent(evidence.failed_share.share),
        percent(evidence.ok_share.share),
    ));
    if evidence.baseline_origin_share > 0.0 {
        text.push_str(&format!(
            "; before, failures began in it in {} of its requests",
            percent(evidence.baseline_origin_share)
        ));
    }
    if !suspect.callers.is_empty() {
        let callers = list(suspect.callers.iter().map(ToString::to_string));
        text.push_str(&format!("; reported by {callers}"));
    }
    if let Some(remark) = remark {
        text.push_str(&format!("; {remark}"));
    }
    text.push('.');
    text
}

/// Of a suspect that works differently, and in which no failure began.
fn changed(who: &str, suspect: &Suspect, change: &str) -> String {
    let evidence = &suspect.evidence;
    let mut text = format!("{who} works differently than before: {change}");
    if evidence.failed_total > 0 {
        text.push_str(&format!(
            "; {} of failed and {} of good requests touched it, but none of the failures began in it",
            percent(evidence.failed_share.share),
            percent(evidence.ok_share.share),
        ));
    }
    text.push('.');
    text
}

fn list(names: impl ExactSizeIterator<Item = String>) -> String {
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

fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent > 0.0 && percent < 1.0 {
        format!("{percent:.1} %")
    } else {
        format!("{percent:.0} %")
    }
}
