//! Numbers as people read them, alike on pages and in tables.

mod done;
mod growing;
mod heard;
mod matter;

use std::collections::BTreeSet;
use std::time::Duration;

use rekindle_recovery::Mode;
use rekindle_recovery::rejuvenate::RuleState;

use crate::config::show_duration;
use crate::view::{
    ActionView, PlanState, PlanView, ReliefView, RequestTypeView, ShareView, UnitState, UnitView,
    UtcTime, VerdictView, View,
};

pub(crate) use done::interventions;
pub(crate) use growing::growing;
pub(crate) use heard::{calm, refusal, unheard};
pub(crate) use matter::{failed, matter, watch};

/// Names that are spelled out in a list; of more, how many there are.
const NAMED: usize = 3;

/// How sure one may be of a suspect.
pub(crate) fn confidence(known: Option<f64>) -> String {
    known.map_or_else(|| "unknown".to_owned(), percent)
}

/// `12.3%`; `<0.1%` rather than a zero that isn't one.
pub(crate) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent == 0.0 {
        "0%".to_owned()
    } else if percent.abs() < 0.1 {
        "<0.1%".to_owned()
    } else if percent.abs() < 10.0 {
        format!("{percent:.1}%")
    } else {
        format!("{percent:.0}%")
    }
}

/// `48 of 50 (96%)`.
pub(crate) fn of(share: &ShareView) -> String {
    if share.total == 0 {
        return "none".to_owned();
    }
    format!(
        "{} of {} ({})",
        count(share.count),
        count(share.total),
        percent(share.share)
    )
}

/// `12`, `some 400 (50 were kept)`, `unknown (50 were kept)`, or `unknown` where nothing comes any more: how many requests come in a second.
pub(crate) fn per_second(request_type: &RequestTypeView) -> String {
    if request_type.unheard_since.is_some() {
        return "unknown".to_owned();
    }
    let kept = about(request_type.rate_per_s);
    match request_type.sampled {
        None => kept,
        Some(sampled) => match sampled.rate_per_s {
            Some(rate) => format!("some {} ({kept} were kept)", about(rate)),
            None => format!("unknown ({kept} were kept)"),
        },
    }
}

/// `48 of 50 (96%) in 5s`: what fails now, and how far back that reaches. Of those that samplers kept,
/// if any were at work: then with the share of all, if that is known. Where nothing comes any more, since when.
pub(crate) fn fails_now(request_type: &RequestTypeView) -> String {
    if let Some(since) = request_type.unheard_since {
        return format!("unknown: nothing came since {}", when(since));
    }
    let counted = fails_of_counted(request_type);
    match request_type.sampled {
        None => counted,
        Some(sampled) => match sampled.failure_share {
            Some(share) => format!("some {} of all; {counted} of those kept", percent(share)),
            None => format!("unknown; {counted} of those kept"),
        },
    }
}

fn fails_of_counted(request_type: &RequestTypeView) -> String {
    match &request_type.failure_share {
        Some(share) if request_type.now_ms > 0 => {
            let seconds = request_type.now_ms.div_ceil(1000);
            format!("{} in {}", of(share), millis(seconds * 1000))
        }
        Some(share) => of(share),
        None => "no request now".to_owned(),
    }
}

/// `0.2%`, `none of 1,200`: what was counted, and no guess.
pub(crate) fn usually(request_type: &RequestTypeView) -> String {
    match &request_type.usual {
        Some(usual) if usual.count == 0 => format!("none of {}", count(usual.total)),
        Some(usual) => percent(usual.share),
        None => "not known yet".to_owned(),
    }
}

/// `12 of 40 (30%), usually 0%; hides 12 of 12 (100%); 0.3 calls made again per request`: what users don't see; nothing where
/// nothing was hidden.
pub(crate) fn masked(request_type: &RequestTypeView) -> Option<String> {
    let masked = request_type.masked.as_ref()?;
    let mut said = of(&masked.share);
    if let Some(usual) = masked.usual {
        said.push_str(&format!(", usually {}", percent(usual)));
    }
    if let Some(hidden) = &masked.still_hidden {
        said.push_str(&format!("; still hides {}", of(hidden)));
    }
    if masked.again_per_request > 0.0 {
        let again = masked.again_per_request;
        said.push_str(&format!("; {again:.2} calls made again per request"));
    }
    Some(said)
}

/// `auto for prices, propose elsewhere`: how far Rekindle may go, and where.
pub(crate) fn modes(tree: &[UnitView]) -> String {
    let of = |unit: &UnitView| {
        let parent = unit.parent.as_deref();
        let above = tree
            .iter()
            .find(|other| Some(other.name.as_str()) == parent);
        above.map(|above| above.mode)
    };
    let units: Vec<UnitMode<'_>> = tree
        .iter()
        .map(|unit| (unit.name.as_str(), unit.mode, of(unit)))
        .collect();
    modes_of(&units)
}

/// How many units there are, and how they are: `14: 12 up, 2 unknown`.
pub(crate) fn units(tree: &[UnitView]) -> String {
    let of = |state: UnitState| tree.iter().filter(|unit| unit.state == state).count();
    // What asks for a look comes first.
    let states = UnitState::ALL.iter().rev().map(|state| (of(*state), state));
    let states = states.filter(|(number, _)| *number > 0);
    let states: Vec<String> = states
        .map(|(number, state)| format!("{number} {state}"))
        .collect();
    match states.is_empty() {
        true => "none".to_owned(),
        false => format!("{}: {}", tree.len(), states.join(", ")),
    }
}

/// A unit's name, its mode, and the mode of what contains it.
pub(crate) type UnitMode<'a> = (&'a str, Mode, Option<Mode>);

/// As [`modes`], of units with their mode and that of what contains them.
pub(crate) fn modes_of(units: &[UnitMode<'_>]) -> String {
    let Some((_, elsewhere, _)) = units.first() else {
        return "observes only".to_owned();
    };
    if units.iter().all(|(_, mode, _)| mode == elsewhere) {
        return furthest_mode(*elsewhere).to_owned();
    }
    let mut parts = Vec::new();
    for mode in [Mode::Auto, Mode::Propose, Mode::Observe] {
        if mode == *elsewhere {
            continue;
        }
        let tops: Vec<&str> = units
            .iter()
            .filter(|(_, own, above)| *own == mode && *above != Some(mode))
            .map(|(name, _, _)| *name)
            .collect();
        if !tops.is_empty() {
            parts.push(format!("{} for {}", mode_name(mode), names(&tops)));
        }
    }
    parts.push(format!("{} elsewhere", mode_name(*elsewhere)));
    parts.join(", ")
}

/// The mode as it is configured.
pub(crate) fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Observe => "observe",
        Mode::Propose => "propose",
        Mode::Auto => "auto",
    }
}

/// `a, b, c and 2 more`.
pub(crate) fn names(names: &[&str]) -> String {
    let shown = names
        .iter()
        .take(NAMED)
        .copied()
        .collect::<Vec<_>>()
        .join(", ");
    match names.len().saturating_sub(NAMED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// `1 open incident`, `2 open incidents`.
pub(crate) fn number_of(number: usize, one: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {one}{plural}", count(number as u64))
}

/// What is said where users suffer from nothing, and more than usual is hidden from them.
pub(crate) fn masked_only(view: &View) -> Option<String> {
    let mut open = view.open_incidents().peekable();
    let first = open.peek()?.id;
    open.all(|incident| incident.masked).then(|| {
        format!("No more requests fail than usual, but more failures are masked: incident {first}")
    })
}

/// What is said of open incidents whose requests are all well again; `None` while any isn't.
pub(crate) fn well_again(view: &View) -> Option<String> {
    let suffered = view.open_incidents().filter(|it| !it.masked);
    let since: Option<Vec<UtcTime>> = suffered.map(|it| it.well_since).collect();
    let since = since?.into_iter().max()?;
    let lasted = millis(view.now.since(since).as_secs().max(1) * 1000);
    Some(format!(
        "Requests have been well again for {lasted}; the incident is over if that lasts"
    ))
}

/// A plan in this state of an incident that is open, and whose requests are not well again.
fn pressing(view: &View, state: PlanState) -> Option<&PlanView> {
    let mut plans = view.recovery.plans.iter();
    plans.find(|plan| plan.state == state && presses(view, plan))
}

/// Whether what it is for goes on.
fn presses(view: &View, plan: &PlanView) -> bool {
    view.open_incidents()
        .any(|incident| incident.id == plan.incident && incident.well_since.is_none())
}

/// What people are needed for, in a line for each incident; where that is a single one, as the heading alone.
pub(crate) fn person_needed(view: &View) -> Option<(String, Vec<String>)> {
    let given_up = given_up(view);
    match given_up.as_slice() {
        [] => None,
        [(plan, why)] => Some((
            format!("A person is needed: {why} (incident {})", plan.incident),
            Vec::new(),
        )),
        more => Some((
            format!("A person is needed for {} incidents", more.len()),
            more.iter()
                .map(|(plan, why)| format!("incident {}: {why}", plan.incident))
                .collect(),
        )),
    }
}

/// What an open incident's restart is held off for.
pub(crate) fn held_off(view: &View) -> Option<String> {
    let plan = pressing(view, PlanState::HeldOff)?;
    Some(match plan.guards.first() {
        Some(guard) => format!("A restart is held off: {guard}"),
        None => "A restart is held off".to_owned(),
    })
}

/// Who took an open incident over by rejecting its plan, and in which words.
pub(crate) fn taken_over(view: &View) -> Option<String> {
    let plan = pressing(view, PlanState::Rejected)?;
    let decided = plan.decided.as_deref().unwrap_or("its plan was rejected");
    Some(format!("Left to people: {decided}"))
}

/// The plans of open incidents that ended with a person, newest first, and why: restarts that didn't cure it, or a guard that
/// let none happen.
fn given_up(view: &View) -> Vec<(&PlanView, String)> {
    let mut incidents = BTreeSet::new();
    let plans = view.recovery.plans.iter();
    plans
        .filter(|plan| plan.state == PlanState::GivenUp && presses(view, plan))
        .filter(|plan| incidents.insert(plan.incident))
        .map(|plan| (plan, why_given_up(view, plan)))
        .collect()
}

fn why_given_up(view: &View, plan: &PlanView) -> String {
    // What was refused did not happen, what was restarted along was one restart, and what is under way came later.
    let mut verdicts: Vec<(&str, Option<VerdictView>)> = Vec::new();
    let mut last = None;
    let own = |action: &&ActionView| {
        let is_over = action.result.is_some() || action.verdict.is_some();
        is_over && action.incident == Some(plan.incident) && action.recovery == plan.recovery
    };
    let mut actions: Vec<&ActionView> = view.recovery.actions.iter().filter(own).collect();
    actions.sort_by_key(|action| action.id);
    for action in actions {
        last = action
            .result_words
            .as_ref()
            .map(|words| (&action.unit, words));
        if !action.is_refused() {
            verdicts.retain(|(target, _)| *target != action.target);
            verdicts.push((&action.target, action.verdict));
        }
    }
    let targets = |of: fn(Option<VerdictView>) -> bool| {
        let those = verdicts.iter().filter(|(_, verdict)| of(*verdict));
        let names: Vec<&str> = those.map(|(target, _)| *target).collect();
        (!names.is_empty()).then(|| names.join(", then "))
    };
    use VerdictView::{Helped, NotCured, Unknown};
    let vain = targets(|verdict| matches!(verdict, Some(NotCured | Helped)));
    // Unknown is neither cured nor not cured.
    let unknown = targets(|verdict| matches!(verdict, Some(Unknown) | None));
    let tried = match (vain, unknown) {
        (Some(vain), None) => Some(format!("restarting {vain} did not cure it")),
        (Some(vain), Some(unknown)) => Some(format!(
            "restarting {vain} did not cure it, and whether restarting {unknown} did can't be told"
        )),
        (None, Some(unknown)) => Some(format!(
            "whether restarting {unknown} cured it can't be told"
        )),
        (None, None) => None,
    };
    // Whatever was tried, a guard may be what keeps the next from being done.
    let is_refused = !plan.guards.is_empty() || tried.is_none();
    let refused = plan.given_up.clone().filter(|_| is_refused);
    let why = match (tried, refused) {
        (Some(tried), Some(refused)) => format!("{tried}; {refused}"),
        (Some(why), None) | (None, Some(why)) => why,
        (None, None) => match plan.guards.first() {
            Some(guard) => format!("nothing was restarted, because {guard}"),
            None if plan.reason.is_empty() => "nothing was restarted".to_owned(),
            None => format!("nothing was restarted: {}", plan.reason),
        },
    };
    match last {
        Some((unit, words)) if !why.contains(words.as_str()) => format!("{why}; {unit}: {words}"),
        _ => why.trim_end_matches('.').to_owned(),
    }
}

/// So much of a text as has room, and a sign that there is more.
pub(crate) fn cut(text: &str, room: usize) -> String {
    if text.chars().count() <= room {
        return text.to_owned();
    }
    let kept: String = text.chars().take(room.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

/// `12,345`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A rate or an expected number: one digit after the point while it is small.
pub(crate) fn about(number: f64) -> String {
    if number.abs() < 10.0 {
        format!("{number:.1}")
    } else {
        count(number.round().max(0.0) as u64)
    }
}

/// As [`about`], with what it lies between nine times of ten, where that is known.
pub(crate) fn about_usually(number: f64, usually: Option<(f64, f64)>) -> String {
    match usually {
        Some((low, high)) => format!("{} ({} to {})", about(number), about(low), about(high)),
        None => about(number),
    }
}

/// `250ms`, `1m5s`.
pub(crate) fn millis(millis: u64) -> String {
    show_duration(Duration::from_millis(millis))
}

/// `850µs`, `12.3ms`, `2.5s`.
pub(crate) fn micros(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros}µs"),
        1_000..1_000_000 => format!("{:.1}ms", micros as f64 / 1e3),
        _ => format!("{:.1}s", micros as f64 / 1e6),
    }
}

/// `12s ago`.
pub(crate) fn ago(time: UtcTime, now: UtcTime) -> String {
    let seconds = now.since(time).as_secs();
    if seconds == 0 {
        return "just now".to_owned();
    }
    format!("{} ago", show_duration(Duration::from_secs(seconds)))
}

/// `2026-08-01 09:30:00`, in UTC, which the header says.
pub(crate) fn when(time: UtcTime) -> String {
    let text = time.to_string();
    match text.split_once('T') {
        Some((day, _)) => format!("{day} {}", time.clock()),
        None => text,
    }
}

/// What the furthest mode of a tree means, rather than its name alone.
fn furthest_mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Observe => "observes only",
        Mode::Propose => "asks before restarting",
        Mode::Auto => "restarts by itself",
    }
}

/// `1.5 MiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    const STEPS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut amount = bytes as f64;
    let mut step = 0;
    while amount >= 1024.0 && step + 1 < STEPS.len() {
        amount /= 1024.0;
        step += 1;
    }
    if step == 0 {
        format!("{bytes} B")
    } else {
        format!("{amount:.1} {}", STEPS[step])
    }
}

/// `−94 points (−97 to −90)`: what a restart changed in the failure share.
pub(crate) fn relief(relief: &ReliefView) -> String {
    let points = |drop: f64| format!("{:+.1}", -100.0 * drop).replace('-', "\u{2212}");
    format!(
        "{} points ({} to {})",
        points(relief.drop),
        points(relief.high),
        points(relief.low)
    )
}

/// As [`relief`], without the interval.
pub(crate) fn relief_alone(relief: &ReliefView) -> String {
    let points = format!("{:+.1} points", -100.0 * relief.drop);
    points.replace('-', "\u{2212}")
}

/// A name as one segment of a path: whatever isn't plain is escaped.
pub(crate) fn path_segment(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

/// A rule of preventive restarts, in a word.
pub(crate) const fn rule_state(state: RuleState) -> &'static str {
    match state {
        RuleState::Resting => "resting",
        RuleState::Rolling => "rolling",
        RuleState::Restarting => "restarting",
        RuleState::Settling => "settling",
        RuleState::Halted => "halted",
    }
}

/// What a unit's preventive restarts gave back.
pub(crate) fn gave_back(gave: &str) -> String {
    match gave {
        "" => "not tried".to_owned(),
        gave => gave.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::{IncidentView, SampledView};

    #[test]
    fn modes_say_where() {
        use Mode::{Auto, Observe, Propose};
        let cases: [(&[UnitMode<'_>], &str); 5] = [
            (&[], "observes only"),
            (
                &[("site", Propose, None), ("a", Propose, Some(Propose))],
                "asks before restarting",
            ),
            (
                &[
                    ("site", Propose, None),
                    ("prices", Auto, Some(Propose)),
                    ("prices.list", Auto, Some(Auto)),
                ],
                "auto for prices, propose elsewhere",
            ),
            (
                &[
                    ("site", Auto, None),
                    ("a", Observe, Some(Auto)),
                    ("b", Propose, Some(Auto)),
                ],
                "propose for b, observe for a, auto elsewhere",
            ),
            (
                &[
                    ("site", Observe, None),
                    ("a", Auto, Some(Observe)),
                    ("b", Auto, Some(Observe)),
                    ("c", Auto, Some(Observe)),
                    ("d", Auto, Some(Observe)),
                ],
                "auto for a, b, c and 1 more, observe elsewhere",
            ),
        ];
        for (units, expected) in cases {
            assert_eq!(modes_of(units), expected);
        }
    }

    #[test]
    fn what_is_shown_was_counted() {
        let share = |count, total| ShareView {
            count,
            total,
            share: count as f64 / total as f64,
            ..ShareView::default()
        };
        let mut request_type = RequestTypeView {
            baseline: Some(0.01),
            ..RequestTypeView::default()
        };
        assert_eq!(usually(&request_type), "not known yet");
        assert_eq!(fails_now(&request_type), "no request now");
        request_type.usual = Some(share(0, 1200));
        request_type.failure_share = Some(share(48, 50));
        request_type.now_ms = 4750;
        assert_eq!(usually(&request_type), "none of 1,200");
        assert_eq!(fails_now(&request_type), "48 of 50 (96%) in 5s");
        request_type.usual = Some(share(3, 1200));
        assert_eq!(usually(&request_type), "0.2%");
        request_type.rate_per_s = 10.0;
        assert_eq!(per_second(&request_type), about(10.0));
        request_type.sampled = Some(SampledView {
            rate_per_s: Some(1000.0),
            failure_share: Some(0.02),
        });
        assert_eq!(
            fails_now(&request_type),
            "some 2.0% of all; 48 of 50 (96%) in 5s of those kept"
        );
        let kept = about(10.0);
        assert_eq!(
            per_second(&request_type),
            format!("some {} ({kept} were kept)", about(1000.0))
        );
        request_type.sampled = Some(SampledView::default());
        assert_eq!(
            fails_now(&request_type),
            "unknown; 48 of 50 (96%) in 5s of those kept"
        );
        assert_eq!(
            per_second(&request_type),
            format!("unknown ({kept} were kept)")
        );
    }

    #[test]
    fn what_is_hidden_is_said_where_anything_is() {
        use crate::view::MaskedView;
        let share = |count, total| ShareView {
            count,
            total,
            share: count as f64 / total as f64,
            ..ShareView::default()
        };
        let mut request_type = RequestTypeView::default();
        assert_eq!(masked(&request_type), None);
        request_type.masked = Some(MaskedView {
            share: share(12, 40),
            usual: Some(0.0),
            still_hidden: Some(share(12, 16)),
            again_per_request: 0.3,
            rising: true,
        });
        let said = "12 of 40 (30%), usually 0%; still hides 12 of 16 (75%); 0.30 calls made again per request";
        assert_eq!(masked(&request_type).as_deref(), Some(said));
        let mut view = View::default();
        assert_eq!(masked_only(&view), None);
        for (id, masked) in [(7, true), (3, false)] {
            view.incidents.push(IncidentView {
                id,
                masked,
                ..IncidentView::default()
            });
            let said = masked_only(&view);
            // What users suffer from comes first.
            assert_eq!(said.is_some(), masked, "{said:?}");
        }
    }

    #[test]
    fn what_restarts_did_not_do_is_said_of_those_of_which_it_is_known() {
        use crate::view::ActionResult;
        use VerdictView::{Cured, Helped, NotCured, Unknown};
        let refused = (None, Some("the port 8080 is held by process 7"));
        for (done, expected) in [
            (&[][..], "stock would have been restarted, but it is no use"),
            (
                &[(Some(Cured), None)],
                "stock would have been restarted, but it is no use",
            ),
            (
                &[(Some(NotCured), None)],
                "restarting unit-1 did not cure it",
            ),
            (
                &[(Some(Unknown), None)],
                "whether restarting unit-1 cured it can't be told",
            ),
            (
                &[(Some(NotCured), None), (Some(Helped), None)],
                "restarting unit-1, then unit-2 did not cure it",
            ),
            (
                &[(Some(NotCured), None), (Some(Unknown), None)],
                "restarting unit-1 did not cure it, and whether restarting unit-2 did can't be told",
            ),
            (
                &[refused],
                "stock would have been restarted, but it is no use; web: the port 8080 is held by process 7",
            ),
        ] {
            let mut view = View::default();
            // Left to people earlier, and since.
            for id in [1, 2] {
                view.incidents.push(IncidentView {
                    id,
                    ..IncidentView::default()
                });
            }
            view.recovery.plans.push(PlanView {
                incident: 1,
                state: PlanState::GivenUp,
                given_up: Some("stock would have been restarted, but it is no use".to_owned()),
                ..PlanView::default()
            });
            for (attempt, (verdict, words)) in (1..).zip(done) {
                let part = |unit: &str| ActionView {
                    id: attempt,
                    unit: unit.to_owned(),
                    target: format!("unit-{attempt}"),
                    incident: Some(1),
                    plan: Some(attempt),
                    verdict: *verdict,
                    result: Some(match words {
                        Some(_) => ActionResult::Refused,
                        None => ActionResult::Done,
                    }),
                    result_words: words.map(str::to_owned),
                    ..ActionView::default()
                };
                view.recovery.actions.extend(["stock", "web"].map(part));
            }
            // What a person ordered since is under way.
            view.recovery.actions.push(ActionView {
                id: 99,
                target: "web".to_owned(),
                incident: Some(1),
                ..ActionView::default()
            });
            let (heading, lines) = person_needed(&view).expect("given up");
            assert_eq!(
                heading,
                format!("A person is needed: {expected} (incident 1)")
            );
            assert!(lines.is_empty());
            view.recovery.plans.push(PlanView {
                incident: 2,
                state: PlanState::GivenUp,
                ..PlanView::default()
            });
            let (heading, lines) = person_needed(&view).expect("given up");
            assert_eq!(heading, "A person is needed for 2 incidents");
            let all = [
                format!("incident 1: {expected}"),
                "incident 2: nothing was restarted".to_owned(),
            ];
            assert_eq!(lines, all);
        }
    }

    #[test]
    fn units_are_counted_the_worst_first() {
        let unit = |state| UnitView {
            state,
            ..UnitView::default()
        };
        assert_eq!(units(&[]), "none");
        let tree = [UnitState::Up, UnitState::GivenUp, UnitState::Up].map(unit);
        assert_eq!(units(&tree), "3: 1 given up, 2 up");
    }

    #[test]
    fn what_is_cut_says_so() {
        for (text, cut_to) in [
            ("short", "short"),
            ("long words", "long w…"),
            ("ein Höhles", "ein Hö…"),
        ] {
            assert_eq!(cut(text, 7), cut_to);
        }
    }

    #[test]
    fn numbers_for_people() {
        assert_eq!(percent(0.0), "0%");
        assert_eq!(percent(0.0004), "<0.1%");
        assert_eq!(percent(0.0123), "1.2%");
        assert_eq!(percent(0.964), "96%");
        assert_eq!(confidence(Some(0.964)), "96%");
        assert_eq!(confidence(None), "unknown");
        assert_eq!(count(7), "7");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(about(0.25), "0.2");
        assert_eq!(about(1234.4), "1,234");
        assert_eq!(micros(850), "850µs");
        assert_eq!(micros(12_300), "12.3ms");
        assert_eq!(path_segment("a/b c.d"), "a%2Fb%20c.d");
        assert_eq!(bytes(512), "512 B");
        assert_eq!(bytes(3 << 20), "3.0 MiB");
        let relief_of = ReliefView {
            drop: 0.94,
            low: 0.9,
            high: 0.97,
        };
        assert_eq!(relief(&relief_of), "−94.0 points (−97.0 to −90.0)");
        assert_eq!(
            ago(UtcTime::from_millis(1_000), UtcTime::from_millis(66_500)),
            "1m5s ago"
        );
    }
}
