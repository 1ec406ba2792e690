//! Which part of a service explains the service's failures?
//!
//! A part is preferred to its service when the failures concentrate in it *and* its siblings are
//! fine: an instance beside instances that serve well, a version beside another version, a code
//! component beside components of the same process. Ten sick parts of a process point to the
//! process. Where a service has one instance only, nothing tells them apart, and the service is
//! named; a lone code component is preferred to its service all the same, since it is the smaller
//! thing to restart, and the service remains the alternative.

use rekindle_stats::{Probability, Share, difference_interval};

use super::Shares;
use crate::rank::evidence::{Charge, Notes, Tally};
use crate::rank::input::Input;
use crate::{Doubt, Level, Support};

/// A part explains its service when it explains at least four of five of its failures, counted with
/// one success and one failure more (Laplace), so that three clear ones are the fewest that do.
const CONCENTRATED: f64 = 0.8;

/// A part that may take the charge.
struct Part {
    subject: usize,
    /// The share of the service's failures that it explains, after Laplace.
    coverage: f64,
    /// By how much it is worse than its siblings, in `[0, 1]`.
    contrast: f64,
    doubt: Option<Doubt>,
}

/// The charges against a service or dependency that explains `news` failed requests out of `all`.
pub(super) fn charges(
    input: &Input,
    tally: &Tally,
    shares: &Shares,
    family: usize,
    news: f64,
    all: f64,
) -> Vec<Charge> {
    let whole = |confidence: f64| Charge {
        subjects: vec![family],
        score: news,
        confidence,
        shape: None,
        notes: Notes::default(),
    };
    if input.subjects[family].component.level == Level::Dependency {
        return vec![whole(news / all)];
    }
    let mut best: Option<Part> = None;
    // In order of preference where two are as good: the smallest thing to restart first.
    for level in [Level::CodeComponent, Level::Instance, Level::Version] {
        if let Some(part) = best_part(input, tally, shares, family, level)
            && best
                .as_ref()
                .is_none_or(|best| part.contrast > best.contrast + 1e-9)
        {
            best = Some(part);
        }
    }
    let Some(part) = best else {
        return vec![whole(news / all)];
    };
    vec![
        Charge {
            subjects: vec![part.subject],
            score: news * part.coverage,
            confidence: news / all * part.coverage,
            shape: None,
            notes: Notes {
                doubts: part.doubt.into_iter().collect(),
                ..Notes::default()
            },
        },
        whole(news / all * (1.0 - part.coverage)),
    ]
}

fn best_part(
    input: &Input,
    tally: &Tally,
    shares: &Shares,
    family: usize,
    level: Level,
) -> Option<Part> {
    let service = &input.subjects[family].component.service;
    let members: Vec<usize> = (0..input.subjects.len())
        .filter(|index| {
            let component = &input.subjects[*index].component;
            component.level == level && component.service == *service && tally.window[*index].0 > 0
        })
        .collect();
    let total = shares.explained.get(&family).copied().unwrap_or(0.0);
    let (subject, explained) = members
        .iter()
        .map(|member| {
            (
                *member,
                explained_by((input, tally), shares, family, *member),
            )
        })
        .max_by(|a, b| a.1.total_cmp(&b.1).then_with(|| b.0.cmp(&a.0)))?;
    let coverage = (explained + 1.0) / (total + 2.0);
    if coverage < CONCENTRATED - 1e-9 {
        return None;
    }
    let (touched, origin) = tally.window[subject];
    let own = Share::of(origin, touched - origin);
    let siblings =
        members
            .iter()
            .filter(|member| **member != subject)
            .fold((0, 0), |sum, member| {
                let (touched, origin) = tally.window[*member];
                (sum.0 + touched, sum.1 + origin)
            });
    if siblings.0 == 0 {
        return (level == Level::CodeComponent).then(|| Part {
            subject,
            coverage,
            contrast: own.value().unwrap_or(0.0),
            doubt: Some(Doubt::LoneComponent {
                service: service.clone(),
            }),
        });
    }
    let fine = Share::of(siblings.1, siblings.0 - siblings.1);
    let difference = difference_interval(own, fine, Probability::P95);
    (difference.low > 0.0).then_some(Part {
        subject,
        coverage,
        contrast: difference.difference,
        doubt: None,
    })
}

/// The failed requests that the service explains and that began in this part of it.
fn explained_by(
    (input, tally): (&Input, &Tally),
    shares: &Shares,
    family: usize,
    member: usize,
) -> f64 {
    let mut sum = 0.0;
    for (index, parts) in &shares.by_case {
        let case = &input.window[*index];
        let began_here = input.rows[case.row]
            .state_of(member)
            .is_some_and(|state| state.is_origin());
        if began_here {
            let part = parts.iter().find(|(f, _)| *f == family);
            sum += part.map_or(0.0, |(_, part)| {
                part * case.count as f64 * tally.weight_of(case)
            });
        }
    }
    sum
}

/// A host to blame instead of the services on it: at least two of them fail there and are fine
/// elsewhere. Its score is the number of failed requests that it explains. Two services that fail
/// and run nowhere else are two faults as likely as one.
pub(super) fn common_host(input: &Input, tally: &Tally, shares: &Shares) -> Option<Charge> {
    let total: f64 = shares.explained.values().sum();
    let hosts = (0..input.subjects.len())
        .filter(|index| input.subjects[*index].component.level == Level::Host);
    let (host, most) = hosts
        .filter(|host| {
            let failing_here = shares
                .explained
                .keys()
                .filter(|family| fails_only_on(input, tally, **family, *host));
            failing_here.count() >= 2
        })
        .map(|host| {
            let families = shares.explained.keys();
            let explained: f64 = families
                .map(|family| explained_by((input, tally), shares, *family, host))
                .sum();
            (host, explained)
        })
        .max_by(|a, b| a.1.total_cmp(&b.1).then_with(|| b.0.cmp(&a.0)))?;
    let coverage = (most + 1.0) / (total + 2.0);
    (coverage >= CONCENTRATED - 1e-9).then(|| Charge {
        subjects: vec![host],
        score: most * coverage,
        confidence: 0.0,
        shape: None,
        notes: Notes {
            support: vec![Support::SeveralServicesFailOnlyHere],
            ..Notes::default()
        },
    })
}

/// Whether the service's instances on this host are worse than its instances elsewhere.
fn fails_only_on(input: &Input, tally: &Tally, family: usize, host: usize) -> bool {
    let service = &input.subjects[family].component.service;
    let host = &input.subjects[host].component.name;
    let (mut here, mut elsewhere) = ((0, 0), (0, 0));
    for (index, subject) in input.subjects.iter().enumerate() {
        if subject.component.level != Level::Instance || subject.component.service != *service {
            continue;
        }
        let side = if subject.attributes.get("host.name") == Some(host) {
            &mut here
        } else {
            &mut elsewhere
        };
        let (touched, origin) = tally.window[index];
        *side = (side.0 + touched, side.1 + origin);
    }
    let share = |(touched, origin): (u64, u64)| Share::of(origin, touched - origin);
    elsewhere.0 > 0
        && difference_interval(share(here), share(elsewhere), Probability::P95).low > 0.0
}
