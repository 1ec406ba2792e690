//! How careful recovery is: every number that a person may want to change, with the reason for its
//! default.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::guard::calendar::Calendar;
use crate::judge::Strictness;

const fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

/// What follows where requests are too few to tell whether a restart helped. Never the next restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unclear {
    /// A person is asked.
    #[default]
    Ask,
    /// More requests are waited for, up to [`Policy::judge_longest`]; then a person is asked.
    Wait,
    /// The unit's own probes decide, where it has any.
    Probe,
}

/// Limits, waits and prices.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// The period that all budgets are counted over.
    pub budget_period: Duration,
    /// Restarts of one unit in a period; those of its ancestors count, since they restart it too.
    pub restarts_per_unit: u32,
    /// Restarts in the whole tree in a period.
    pub restarts_per_tree: u32,
    /// Users' requests that restarts may have failed in a period.
    pub failed_requests: f64,
    /// As [`Self::failed_requests`], for each unit; no limit where `None`.
    pub failed_requests_per_unit: Option<f64>,
    /// Of each capacity group, how many members must be up.
    pub capacity: BTreeMap<String, u32>,
    /// When unattended restarts may happen.
    pub calendar: Calendar,
    /// The wait after a restart before the same unit may be restarted again; doubles with each one
    /// in the period …
    pub backoff: Duration,
    /// … up to this.
    pub backoff_limit: Duration,
    /// How many cures of one fault on one unit in [`Self::recurring_period`] make it a case for a
    /// person: restarting it once more cures the symptom only.
    pub recurring_cures: u32,
    /// The period that recurring cures are counted over.
    pub recurring_period: Duration,
    /// How many restarts in vain of one fault in one unit, and no cure among them, say that restarts
    /// don't cure it.
    pub immune_after: u32,
    /// The period that restarts in vain are counted over.
    pub immune_period: Duration,
    /// So many times the usual requests look like overload, where they are slow or unanswered.
    pub overload: f64,
    /// How long after somebody else changed a unit a rollout is taken to be under way.
    pub rollout_quiet: Duration,
    /// How many distinct sick units, not below one ancestor other than the root, look like a shared
    /// cause or an overload, which restarts make worse.
    pub storm_units: usize,
    /// How long after an incident was first told of its units are left alone, for others to be told of.
    pub gathering: Duration,
    /// How likely a suspect must be for an unattended restart on its account, in `[0, 1]`; below it
    /// a person is asked.
    pub auto_probability: f64,
    /// How long a proposal waits for a person before it is dropped and made anew from the evidence
    /// of that time.
    pub approval_expiry: Duration,
    /// How old evidence may be for a plan.
    pub evidence_expiry: Duration,
    /// What a lease lasts beyond the start deadlines and the judging that it covers.
    pub lease_slack: Duration,
    /// How late exporters usually are: what happened so shortly before a kill may never be told.
    pub exporter_delay: Duration,
    /// How long after ready a unit is given to warm up before its requests are judged.
    pub warm_up: Duration,
    /// How long a verdict may take, from the end of the warm-up; what is not clear then is judged on
    /// what there is.
    pub judge_deadline: Duration,
    /// How surely `cured` must be true.
    pub strictness: Strictness,
    /// What follows where requests are too few to tell.
    pub unclear: Unclear,
    /// How long [`Unclear::Wait`] waits in all, from the end of the warm-up.
    pub judge_longest: Duration,
    /// How often the judge asks.
    pub judge_interval: Duration,
    /// How many right probes in a row say that a fault which probes know is gone.
    pub probes_in_a_row: u32,
    /// The time between two probes.
    pub probe_interval: Duration,
    /// How long a person takes to come and mend what recovery gave up on: the price of giving up.
    pub human_response: Duration,
    /// What waiting once, to see whether a fault goes by itself, takes.
    pub wait: Duration,
    /// How long a usual request is in flight; with the traffic it says how many a kill fails.
    pub in_flight: Duration,
    /// How many past actions the status shows.
    pub recent_actions: usize,
    /// Half-life of what was learned: software changes.
    pub half_life: Duration,
}

impl Policy {
    /// How long judging may take at most.
    pub fn judging(&self) -> Duration {
        match self.unclear {
            Unclear::Ask => self.judge_deadline,
            Unclear::Wait => self.judge_deadline.max(self.judge_longest),
            Unclear::Probe => self.judge_deadline + minutes(1),
        }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            budget_period: minutes(60),
            // OTP's supervisors give up at 1 in 5 s, systemd at 5 in 10 s; a unit that needs more
            // than 6 restarts an hour is not being cured by them.
            restarts_per_unit: 6,
            restarts_per_tree: 30,
            failed_requests: 10_000.0,
            failed_requests_per_unit: None,
            capacity: BTreeMap::new(),
            calendar: Calendar::default(),
            backoff: Duration::from_secs(10),
            backoff_limit: minutes(10),
            recurring_cures: 4,
            recurring_period: minutes(60),
            // By then a restart that cured even every second such fault would have been seen to with
            // 97 %.
            immune_after: 5,
            // A fault that comes back every night is found out within the week.
            immune_period: minutes(7 * 24 * 60),
            // Traffic doubles within a day everywhere; within the minutes that the usual is taken from
            // it doesn't without a reason.
            overload: 2.0,
            // What a rolling update takes between two instances with usual probes, and some.
            rollout_quiet: minutes(1),
            storm_units: 3,
            // The engine tells what it finds every 50 ms, one incident after the other: two of its rounds. What comes
            // later meets a restart under way, and waits.
            gathering: Duration::from_millis(100),
            // More likely than all others together.
            auto_probability: 0.5,
            approval_expiry: minutes(10),
            // Longer than several ranking rounds, shorter than it takes a rollout to end.
            evidence_expiry: minutes(1),
            lease_slack: Duration::from_secs(30),
            exporter_delay: Duration::from_millis(250),
            warm_up: Duration::from_millis(250),
            judge_deadline: Duration::from_secs(60),
            strictness: Strictness::default(),
            unclear: Unclear::Ask,
            judge_longest: minutes(10),
            judge_interval: Duration::from_millis(100),
            probes_in_a_row: 5,
            probe_interval: Duration::from_millis(200),
            human_response: minutes(15),
            wait: Duration::from_secs(10),
            in_flight: Duration::from_millis(100),
            recent_actions: 50,
            half_life: Duration::from_secs(30 * 24 * 3600),
        }
    }
}
