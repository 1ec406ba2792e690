//! A suspect's evidence as a table: what was looked at, and what was found.

use super::sentence::{
    ALL_MASKED, SHARES_UNKNOWN, failed, failed_before, latency, list, masked, percent, structure,
    support, told_from, who_touched,
};
use crate::{Alternative, Counted, Doubt, Relation, ShareInterval, Suspect};

/// One row of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// What was looked at.
    pub what: String,
    /// What was found.
    pub found: String,
}

/// Everything that is known about a suspect, row by row, the most important first.
pub fn facts(suspect: &Suspect) -> Vec<Fact> {
    let explanation = &suspect.explanation;
    let mut rows: Vec<(&str, String)> = Vec::new();
    let compared = &explanation.compared;
    rows.push((
        "compared",
        format!(
            "{} {} requests with {} good ones of the same time and {} from before",
            compared.window.failed,
            failed(suspect),
            compared.window.ok,
            compared.baseline.ok
        ),
    ));
    let evidence = &suspect.evidence;
    let share = |hits: u64, total: u64, interval: ShareInterval| {
        counted(&Counted {
            hits,
            total,
            interval,
        })
    };
    rows.push((
        "touched it",
        match explanation.against.contains(&Doubt::SharesUnknown) {
            true => who_touched(suspect),
            false => format!(
                "{} of {} and {} of good requests; {} to {} points more",
                share(
                    evidence.failed_touching,
                    evidence.failed_total,
                    evidence.failed_share
                ),
                failed(suspect),
                share(evidence.ok_touching, evidence.ok_total, evidence.ok_share),
                points(compared.difference.low),
                points(compared.difference.high),
            ),
        },
    ));
    let origin = &explanation.origin;
    if origin.of_failed.total > 0 {
        rows.push(("failures began in it", counted(&origin.of_failed)));
    }
    if compared.masked {
        rows.push(("masked", ALL_MASKED.to_owned()));
    } else if origin.masked > 0 {
        rows.push(("masked", masked(origin.masked)));
    }
    let ranked = |list: &[(rekindle_model::Name, u64)]| {
        let each = list.iter().map(|(name, n)| format!("{name} ({n})"));
        each.collect::<Vec<_>>().join(", ")
    };
    if !origin.errors.is_empty() {
        rows.push(("errors", ranked(&origin.errors)));
    }
    if !origin.operations.is_empty() {
        rows.push(("operations", ranked(&origin.operations)));
    }
    if let Some(shift) = &explanation.latency {
        let mut text = latency(shift);
        text.push_str(&format!(
            "; {} of the calls {}, {:.1} doublings on average",
            percent(shift.affected),
            if shift.doublings < 0.0 {
                "shorter"
            } else {
                "longer"
            },
            shift.doublings,
        ));
        if let Some(request_type) = &shift.request_type {
            text.push_str(&format!("; in requests {request_type}"));
        }
        rows.push(("time", text));
    }
    if let Some(change) = &explanation.structure {
        let text = format!("{}; in requests {}", structure(change), change.request_type);
        rows.push(("calls", text));
    }
    if !suspect.callers.is_empty() {
        let callers = suspect.callers.iter().map(ToString::to_string);
        rows.push(("reported by", callers.collect::<Vec<_>>().join(", ")));
    }
    for reason in &explanation.support {
        rows.push(("for it", support(*reason)));
    }
    for reason in &explanation.against {
        rows.push(("against it", doubt(reason)));
    }
    for other in &explanation.preferred_to {
        rows.push(("preferred to", alternative(other)));
    }
    for pair in &explanation.pairs {
        let text = format!(
            "{} (failed) with {} (good): {} of what they touched is the same",
            pair.failed,
            pair.ok,
            percent(pair.alike)
        );
        rows.push(("compare", text));
    }
    let fact = |(what, found): (&str, String)| Fact {
        what: what.to_owned(),
        found,
    };
    rows.into_iter().map(fact).collect()
}

/// `3 of 4 (75 %, between 30 % and 95 %)`.
fn counted(counted: &Counted) -> String {
    format!(
        "{} of {} ({}, between {} and {})",
        counted.hits,
        counted.total,
        percent(counted.interval.share),
        percent(counted.interval.low),
        percent(counted.interval.high)
    )
}

fn points(share: f64) -> String {
    format!("{:.0}", share * 100.0)
}

fn doubt(doubt: &Doubt) -> String {
    match doubt {
        Doubt::SharesUnknown => SHARES_UNKNOWN.to_owned(),
        Doubt::NoFailureBeganInIt => "no failure began in it".to_owned(),
        Doubt::FailuresElsewhere(share) => format!(
            "of {} failed requests, the failure of {} did not begin in it",
            share.total, share.hits
        ),
        Doubt::ServedWell(share) => format!(
            "of {} requests that touched it since then, {} did not fail in it",
            share.total, share.hits
        ),
        Doubt::FailedBefore(share) => failed_before(share),
        Doubt::OneWitness => "nobody else complains about it".to_owned(),
        Doubt::LoneComponent { service } => format!(
            "no request since then used another component of {service}, so nothing tells them apart"
        ),
        Doubt::Confounded { with } => told_from(with),
        Doubt::NotToldApart { components } => {
            format!("no request tells its {components} components apart")
        }
        Doubt::CalmTimesChange { calm, now } => format!(
            "calm times change by themselves, by {calm:.2}; now it is {now:.2} (share of calls, times \
             doublings)"
        ),
        Doubt::MayBeChance { chance } => format!(
            "with so many comparisons, chance alone shows such a change with a probability of up to {}",
            percent(*chance)
        ),
    }
}

fn alternative(other: &Alternative) -> String {
    let who = list(other.components.iter().map(ToString::to_string));
    let relation = match other.relation {
        Relation::Whole => ", which it is a part of",
        Relation::Part => ", a part of it",
        Relation::SamePath => ", which failed requests touched, too",
        Relation::Apart => ", which no failed request touched with it",
    };
    let likelier = match other.times_likelier {
        Some(times) if times < 10.0 => format!("{times:.1} times as likely"),
        Some(times) => format!("{times:.0} times as likely"),
        None => "the other one is impossible".to_owned(),
    };
    let (here, there) = other.originated;
    let began = if here + there > 0 {
        format!("; failures began here in {here} requests, there in {there}")
    } else {
        String::new()
    };
    format!("{who}{relation}: {likelier}{began}")
}
