//! Has enough been restarted already?
//!
//! Budgets bound what recovery can do to users when everything else about it is wrong: in restarts and
//! in failed requests, for a unit, a subtree, and the whole, over one sliding period. What is spent
//! counts from the intent on until a period after the unit was ready again, or may have been at the latest, and a request
//! budget is charged what was expected until it is measured.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use super::{Consequence, Deed, Guard, Past, Refusal, World, no};
use crate::UnitName;
use crate::judge::Verdict;

impl World<'_> {
    pub(super) fn in_period(
        &self,
        period: Duration,
        now: SystemTime,
    ) -> impl Iterator<Item = &Past> {
        self.past.iter().filter(move |past| {
            // An executor may be called long after the intent: after the units before it, announcing and preparing. When
            // nobody knows when it was done, it may have been done as late as it could.
            let last = Some(past.at).max(past.ready_at).max(past.due_at);
            let last = last.unwrap_or(past.at);
            last.checked_add(period).is_none_or(|until| until > now)
        })
    }

    /// Attempts in the period that restarted the unit: its own, those of what it stands for now, and those of what
    /// contains it.
    pub fn spent_on_unit(&self, unit: &UnitName, now: SystemTime) -> u32 {
        u32::try_from(self.attempts_on(unit, now).count()).unwrap_or(u32::MAX)
    }

    fn attempts_on(&self, unit: &UnitName, now: SystemTime) -> impl Iterator<Item = &Past> {
        self.in_period(self.policy.budget_period, now)
            .filter(move |past| past.restarts > 0)
            .filter(move |past| {
                self.tree.contains(&past.target, unit) || self.is_past_of(past, unit)
            })
    }

    /// Of the attempts on a unit, whose they were, where they weren't all its own and ours.
    fn whose(&self, unit: &UnitName, now: SystemTime) -> String {
        let mut with: BTreeMap<(&str, &UnitName), u32> = BTreeMap::new();
        let mut by_people = 0;
        for past in self.attempts_on(unit, now) {
            let how = match self.succeeds(unit, past) {
                true => "as",
                false => "with",
            };
            // Each in one part, so that they add up.
            if past.by_person {
                by_people += 1;
            } else if past.target != *unit {
                *with.entry((how, &past.target)).or_default() += 1;
            }
        }
        let with = with
            .into_iter()
            .map(|((how, target), n)| format!("{n} {how} {target}"));
        let by_people = (by_people > 0).then(|| format!("{by_people} by people"));
        let parts: Vec<String> = with.chain(by_people).collect();
        match parts.is_empty() {
            true => String::new(),
            false => format!(" ({})", parts.join(", ")),
        }
    }

    /// Restarts in the period that touched the unit, or anything in it.
    pub fn spent_in_subtree(&self, unit: &UnitName, now: SystemTime) -> u32 {
        let period = self.policy.budget_period;
        self.in_period(period, now)
            .filter(|past| self.tree.touches(&past.target, unit))
            .fold(0, |sum: u32, past| sum.saturating_add(past.restarts))
    }

    /// Restarts in the period.
    pub fn spent_in_tree(&self, now: SystemTime) -> u32 {
        let period = self.policy.budget_period;
        self.in_period(period, now)
            .fold(0, |sum: u32, past| sum.saturating_add(past.restarts))
    }

    /// Users' requests that restarts failed in the period.
    pub fn spent_requests(&self, now: SystemTime) -> f64 {
        let period = self.policy.budget_period;
        self.in_period(period, now)
            .map(|past| past.failed_requests)
            .sum()
    }

    /// Users' requests that restarts of the unit, of anything in it, or of what contains it failed in
    /// the period.
    pub fn spent_requests_in(&self, unit: &UnitName, now: SystemTime) -> f64 {
        let period = self.policy.budget_period;
        self.in_period(period, now)
            .filter(|past| self.tree.touches(&past.target, unit))
            .map(|past| past.failed_requests)
            .sum()
    }

    /// When the unit may be restarted again after what was done to it, and why not before.
    fn rest(&self, deed: &Deed<'_>, now: SystemTime) -> Option<(SystemTime, String)> {
        let policy = self.policy;
        let period = policy.budget_period.max(policy.backoff_limit);
        // Each one that didn't cure doubles the wait; after a cure the first wait is enough, and
        // what is cured again and again is another guard's. What was of no fault could cure none: a
        // restart that only prevented says nothing against the next.
        let in_vain = self
            .in_period(period, now)
            .filter(|past| self.is_past_of(past, deed.target) && past.signature.is_some())
            .filter(|past| past.verdict != Some(Verdict::Cured))
            .count();
        let doublings = u32::try_from(in_vain.saturating_sub(1).min(16)).unwrap_or(16);
        let wait = policy
            .backoff
            .saturating_mul(2u32.pow(doublings))
            .min(policy.backoff_limit);
        let wait = wait.mul_f64(1.0 + jitter(deed.target, in_vain));
        // Our own restart of a part must not delay the climb to the whole; somebody else's must.
        let last = self
            .in_period(period, now)
            .filter(|past| {
                let others = Some(past.recovery) != deed.recovery;
                self.is_past_of(past, deed.target)
                    || (others && self.tree.overlap(&past.target, deed.target))
            })
            .max_by_key(|past| past.ready_at.or(past.due_at).unwrap_or(past.at))?;
        let done_at = last.ready_at.or(last.due_at).unwrap_or(last.at);
        let until = done_at.checked_add(wait)?;
        (until > now).then(|| {
            let ago = now.duration_since(last.at).unwrap_or_default().as_secs();
            let words = match last.restarts {
                0 => format!("a restart of {} was refused {ago} s ago", last.target),
                _ => format!("{} was restarted {ago} s ago", last.target),
            };
            (until, words)
        })
    }
}

/// A wait is up to this much longer, so that units that failed together aren't restarted together.
const MOST_JITTER: f64 = 0.25;

/// How much longer this wait is, in `[0, MOST_JITTER)`. By the name and the number of restarts, since a
/// guard that threw dice could not be asked twice.
fn jitter(unit: &UnitName, restarts: usize) -> f64 {
    let bytes = unit.as_str().bytes().chain(restarts.to_le_bytes());
    MOST_JITTER * crate::steady::share_of(bytes)
}

/// Whether requests can be spent; false for what is no number, so that it refuses.
fn is_affordable(spent: f64, more: f64, limit: f64) -> bool {
    spent + more <= limit
}

/// Refusals of budgets and of the wait after a restart.
pub(super) fn check(deed: &Deed<'_>, world: &World<'_>, now: SystemTime) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    let (target, policy) = (deed.target, world.policy);
    let minutes = policy.budget_period.as_secs() / 60;
    let restarts = world.tree.restarts(target);
    let wanted = u32::try_from(restarts.len()).unwrap_or(u32::MAX);
    let hold_off = |guard, words| no(guard, Consequence::HoldOff, None, words);

    // What only groups others is restarted by their executors, so their budgets count as well. (That a
    // part's budget is spent doesn't keep its process from being restarted by its own: that is the climb.)
    let parts = restarts.into_iter().chain([target]);
    let spent = parts
        .map(|unit| (world.spent_on_unit(unit, now), unit))
        .max_by_key(|(spent, _)| *spent);
    if let Some((spent, unit)) = spent.filter(|(spent, _)| *spent >= policy.restarts_per_unit) {
        let words = format!(
            "{unit} was restarted {spent} times in {minutes} min{}, and its budget is {}",
            world.whose(unit, now),
            policy.restarts_per_unit
        );
        refusals.push(hold_off(Guard::UnitBudget, words));
    }
    let spent = world.spent_in_tree(now);
    if spent.saturating_add(wanted) > policy.restarts_per_tree {
        let words = format!(
            "{spent} restarts were done in {minutes} min, {wanted} more are wanted, and the budget \
             is {}",
            policy.restarts_per_tree
        );
        refusals.push(hold_off(Guard::TreeBudget, words));
    }
    let (spent, more) = (world.spent_requests(now), deed.expected_cost);
    if !is_affordable(spent, more, policy.failed_requests) {
        let words = format!(
            "restarts failed {spent:.0} requests in {minutes} min, this one would fail {more:.0} more, \
             and the budget is {:.0}",
            policy.failed_requests
        );
        refusals.push(hold_off(Guard::RequestBudget, words));
    }
    if let Some(limit) = policy.failed_requests_per_unit {
        let spent = world.spent_requests_in(target, now);
        if !is_affordable(spent, more, limit) {
            let words = format!(
                "restarts of {target} failed {spent:.0} requests in {minutes} min, this one would fail \
                 {more:.0} more, and the budget of each unit is {limit:.0}"
            );
            refusals.push(hold_off(Guard::RequestBudget, words));
        }
    }
    refusals.extend(subtrees(deed, world, wanted, now));
    if let Some((until, words)) = world.rest(deed, now) {
        refusals.push(no(Guard::Backoff, Consequence::Wait, Some(until), words));
    }
    refusals
}

/// Refusals of the budgets that units have for themselves and all below them: those that contain the
/// target, and those that its restart takes with it.
fn subtrees(deed: &Deed<'_>, world: &World<'_>, wanted: u32, now: SystemTime) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    let minutes = world.policy.budget_period.as_secs() / 60;
    let more = deed.expected_cost;
    for spec in world.tree.units() {
        let (unit, budget) = (&spec.name, spec.rules.budget);
        if budget == Default::default() || !world.tree.touches(deed.target, unit) {
            continue;
        }
        if let Some(limit) = budget.restarts {
            let spent = world.spent_in_subtree(unit, now);
            if spent.saturating_add(wanted) > limit {
                let words = format!(
                    "{spent} restarts were done in {unit} in {minutes} min, {wanted} more are wanted, \
                     and its own budget is {limit}"
                );
                refusals.push(no(Guard::SubtreeBudget, Consequence::HoldOff, None, words));
            }
        }
        if let Some(limit) = budget.failed_requests {
            let spent = world.spent_requests_in(unit, now);
            if !is_affordable(spent, more, f64::from(limit)) {
                let words = format!(
                    "restarts in {unit} failed {spent:.0} requests in {minutes} min, this one would \
                     fail {more:.0} more, and its own budget is {limit}"
                );
                refusals.push(no(Guard::SubtreeBudget, Consequence::HoldOff, None, words));
            }
        }
    }
    refusals
}
