//! What does it save to know who leaks?
//!
//! The site of `policies` ages as in the microreboot paper's evaluation (OSDI 2004): two of its
//! components leak at each call ([`aging`]). Recovery's rejuvenation restarts parts of the server before its memory is
//! full, by way of the guards, the ledger and the executors' trait, as in the daemon; beside it the same with the order as
//! written, with an order drawn anew for each roll, with the whole server as the only thing to restart, and with nobody
//! until the server has ended.

mod aging;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rekindle_recovery::ports::Silent;
use rekindle_recovery::rejuvenate::{
    Gauge, Levels, Order, RejuvenationConfig, Rule, RuleState, RuleStatus, Trigger, prepare,
};
use rekindle_recovery::{Policy, UnitName};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{advance, sleep};

use self::aging::{Aging, Day, HEAP, LEAKS, LIVE, SERVER, parts};
use super::parallel::over_seeds;
use super::random::stream;
use super::report::{Mean, Report, Table, number};
use super::service::{Engine, Simulated, in_virtual_time};
use super::world::Site;
use super::{Options, SimulateError};

/// The levels of free memory, as published (recalled).
const ALARM: f64 = 0.35 * HEAP;
const SUFFICIENT: f64 = 0.80 * HEAP;
/// How long is played.
const HOURS: f64 = 24.0;
/// Between two looks, in seconds; after a restart, memory is looked at after this long.
const LOOK: f64 = 10.0;
const SETTLE: f64 = 5.0;
/// A server that ran out of memory is missed after this long, in seconds.
const MISSED_AFTER: f64 = 2.0;
/// How often it is looked what goes on while something does, in seconds.
const TICK: f64 = 1.0;
/// How often a unit doesn't come back, where that is tried.
const STICKS: f64 = 0.1;
/// What the paper measured in half an hour: failed requests with whole restarts, and with parts'.
const PUBLISHED: (f64, f64) = (11_915.0, 1_383.0);

/// Who decides what is restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Learned,
    AsWritten,
    Dice,
    Whole,
    Nobody,
}

const ALL: [(Who, &str); 5] = [
    (Who::Learned, "parts, in the learned order"),
    (Who::AsWritten, "parts, as written"),
    (Who::Dice, "parts, at random"),
    (Who::Whole, "the whole server"),
    (Who::Nobody, "nobody, until memory is full"),
];

/// The rule that is followed from one roll to the next.
fn rule(site: &Site, who: Who, dice: &mut StdRng) -> Option<Rule> {
    let mut units = match who {
        Who::Nobody => return None,
        Who::Whole => Vec::new(),
        Who::Learned | Who::AsWritten | Who::Dice => parts(site),
    };
    if who == Who::Dice {
        units.shuffle(dice);
    }
    units.push(SERVER.into());
    Some(Rule {
        name: "memory".to_owned(),
        units,
        trigger: Trigger::Gauge {
            gauge: Gauge::Heartbeat {
                unit: SERVER.into(),
                name: "free".to_owned(),
            },
            levels: Levels {
                alarm: ALARM,
                sufficient: SUFFICIENT,
            },
        },
        every: Duration::from_secs_f64(LOOK),
        settle: Duration::from_secs_f64(SETTLE),
        rest: Duration::from_secs(600),
        order: match who {
            Who::Learned => Order::Learned,
            _ => Order::AsWritten,
        },
    })
}

/// Recovery's rejuvenation under way.
struct Prevention {
    rules: watch::Receiver<Arc<Vec<RuleStatus>>>,
    task: JoinHandle<()>,
}

impl Prevention {
    fn begin(aging: &Aging, engine: &Engine, folder: &Path, rule: Option<Rule>) -> Self {
        let clocks = aging.scene().clocks.clone();
        let (rules, task) = prepare(RejuvenationConfig {
            rules: Vec::from_iter(rule),
            tree: aging.scene().tree.clone().into(),
            recovery: engine.recovery.clone(),
            gauges: Arc::new(aging.clone()),
            notifier: Arc::new(Silent),
            clock: Arc::new(move || clocks.wall()),
            memory: folder.join("rejuvenation.json"),
        });
        Self {
            rules,
            task: tokio::spawn(task),
        }
    }

    fn is_resting(&self) -> bool {
        let rules = self.rules.borrow();
        rules.iter().all(|rule| rule.state == RuleState::Resting)
    }

    /// Who has to be brought back before anything more is restarted.
    fn waits_for(&self) -> Option<UnitName> {
        let rules = self.rules.borrow();
        let mut halted = rules.iter().filter(|rule| rule.state == RuleState::Halted);
        halted.next()?.unit.clone()
    }

    async fn end(self) -> Result<(), SimulateError> {
        self.task.abort();
        match self.task.await {
            Err(ended) if ended.is_panic() => {
                let words = "rejuvenation's task panicked".to_owned();
                Err(SimulateError::Ended(words))
            }
            _ => Ok(()),
        }
    }
}

/// A day, where a unit doesn't come back from so many of its preventive restarts.
fn day(seed: u64, who: Who, sticks: f64) -> Result<Day, SimulateError> {
    in_virtual_time(async |folder| {
        // Dice of their own, so that everybody meets the same leaks.
        let mut dice = stream(seed, &[1]);
        let aging = Aging::new(seed, sticks);
        let engine = Engine::begin(&aging, folder)?;
        let status = engine.recovery.status();
        let of_rule = |dice: &mut StdRng| rule(&aging.site, who, dice);
        let mut prevention = Prevention::begin(&aging, &engine, folder, of_rule(&mut dice));
        let response = aging.scene().policy.human_response.as_secs_f64();
        let (mut incidents, mut open, mut rolled, mut coming) = (0, None, false, None);
        let end = HOURS * 3600.0;
        while aging.now() < end {
            let full = aging.full_since();
            if let Some(since) = full.filter(|since| aging.now() >= since + MISSED_AFTER) {
                let incident = *open.get_or_insert_with(|| {
                    incidents += 1;
                    (incidents, since)
                });
                engine
                    .told(aging.evidence(incident.0, incident.1, false))
                    .await?;
            } else if let Some((incident, since)) = open.take_if(|_| full.is_none()) {
                engine.told(aging.evidence(incident, since, true)).await?;
            }
            // Whom people are told of a person brings back.
            let halted = prevention.waits_for();
            let comes = match &halted {
                Some(_) => *coming.get_or_insert(aging.now() + response),
                None => {
                    coming = None;
                    end
                }
            };
            if let Some(unit) = halted.clone().filter(|_| aging.now() >= comes) {
                coming = None;
                aging.person_comes();
                engine.order(unit).await?;
            }
            let is_resting = prevention.is_resting();
            if who == Who::Dice && is_resting && rolled {
                prevention.end().await?;
                prevention = Prevention::begin(&aging, &engine, folder, of_rule(&mut dice));
            }
            rolled = !is_resting;
            // Nothing happens before memory is short, or a person comes.
            let acts = who != Who::Nobody && halted.is_none();
            let level = if acts { ALARM } else { 0.0 };
            let is_quiet = full.is_none() && open.is_none() && (is_resting || halted.is_some());
            let is_idle = is_quiet && status.borrow().recoveries.is_empty();
            let jump = aging.until_free(level).min(comes - aging.now()) - LOOK;
            match is_idle && jump > LOOK {
                // Until then every look says the same.
                true => advance(Duration::from_secs_f64(jump)).await,
                false => sleep(Duration::from_secs_f64(TICK)).await,
            }
        }
        prevention.end().await?;
        engine.end().await?;
        Ok(aging.day())
    })
}

fn assumptions(options: &Options) -> Vec<String> {
    let in_flight = Policy::default().in_flight.as_millis();
    vec![
        format!(
            "the site of `policies` for {HOURS:.0} h, {} seeds; a heap of {:.0} MB of which {:.0} % \
             live; two components, drawn per seed, leak {} and {} B per call (published, recalled), \
             times a factor of 0.5 to 2",
            options.seeds,
            HEAP / 1e6,
            100.0 * LIVE / HEAP,
            LEAKS[0],
            LEAKS[1]
        ),
        format!(
            "restarts from {:.0} % free on, until {:.0} % are (published, recalled); a look every \
             {LOOK} s, and {SETTLE} s after a restart; the whole server is the last resort of all",
            100.0 * ALARM / HEAP,
            100.0 * SUFFICIENT / HEAP
        ),
        format!(
            "a restart fails what passes through the unit while it is away and {in_flight} ms of what is in \
             flight; a server without memory ends, is missed after {MISSED_AFTER} s, and recovery restarts it, which \
             takes {:.1} s",
            Site::new().usual(&SERVER.into())
        ),
        "by recovery's rejuvenation and service in virtual time, with all guards at their defaults, through the executors' \
         trait; time jumps over looks that find enough free memory"
            .to_owned(),
        format!(
            "where units don't come back, {:.0} % of the preventive restarts end so, and a person orders the unit's \
             restart after {:.0} min",
            100.0 * STICKS,
            Policy::default().human_response.as_secs_f64() / 60.0
        ),
    ]
}

/// Runs it.
///
/// # Errors
/// When a task of recovery did what it must not, or has nowhere to live.
pub(super) fn run(options: &Options) -> Result<Report, SimulateError> {
    let mut report = Report {
        scenario: "rejuvenation".to_owned(),
        question: "What does it save to know who leaks?".to_owned(),
        assumptions: assumptions(options),
        ..Report::default()
    };
    let mean = |days: &[Day], what: fn(&Day) -> f64| {
        Mean::of(&days.iter().map(what).collect::<Vec<f64>>())
    };
    let mut table = Table::new(
        "Per day",
        &[
            "restarted",
            "failed requests",
            "restarts",
            "out of memory",
            "least free, MB",
        ],
    );
    let mut failed = Vec::new();
    for (who, name) in ALL {
        let days = over_seeds(options, |seed| day(seed, who, 0.0))?;
        failed.push((who, mean(&days, |day| day.failed).mean));
        table.row([
            name.to_owned(),
            mean(&days, |day| day.failed).words(),
            mean(&days, |day| day.restarts).words(),
            mean(&days, |day| day.out_of_memory).words(),
            mean(&days, |day| day.least_free / 1e6).words(),
        ]);
    }
    report.tables.push(table);
    let mut halted = Table::new(
        format!(
            "Per day, where {:.0} % of the units that are restarted don't come back",
            100.0 * STICKS
        ),
        &[
            "restarted",
            "failed requests",
            "didn't come back",
            "preventive restarts before they had",
        ],
    );
    let (mut stuck, mut meanwhile) = (0.0, 0.0);
    for (who, name) in &ALL[..2] {
        let days = over_seeds(options, |seed| day(seed, *who, STICKS))?;
        stuck += days.iter().map(|day| day.stuck).sum::<f64>();
        meanwhile += days.iter().map(|day| day.while_stuck).sum::<f64>();
        halted.row([
            (*name).to_owned(),
            mean(&days, |day| day.failed).words(),
            mean(&days, |day| day.stuck).words(),
            mean(&days, |day| day.while_stuck).words(),
        ]);
    }
    report.tables.push(halted);
    let of = |wanted: Who| {
        let found = failed.iter().find(|(who, _)| *who == wanted);
        found.map_or(f64::NAN, |(_, failed)| *failed)
    };
    let ours = of(Who::Learned);
    for (who, name) in &ALL[1..4] {
        let other = of(*who);
        report.claim(
            format!("the learned order fails fewer requests than {name}"),
            format!("{} and {}", number(ours), number(other)),
            ours < other,
        );
    }
    let (whole, parts) = PUBLISHED;
    report.claim(
        format!(
            "at least the published {:.1} times fewer than whole restarts ({whole} and {parts} in half \
             an hour, recalled)",
            whole / parts
        ),
        format!("{:.1} times", of(Who::Whole) / ours),
        of(Who::Whole) / ours >= whole / parts,
    );
    report.claim(
        "a roll halts: nothing more is restarted before a unit is back that didn't come back",
        format!("{meanwhile:.0} restarts while one of {stuck:.0} was away"),
        meanwhile <= 0.0,
    );
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recovery_brings_back_the_server_that_ran_out_of_memory() {
        let day = day(1, Who::Nobody, 0.0).expect("a day");
        assert!(day.out_of_memory > 0.0, "{day:?}");
        assert!((day.restarts - day.out_of_memory).abs() < 0.5, "{day:?}");
        // Missed after two seconds, told of within one more, and started in nineteen.
        let each = day.failed / day.out_of_memory / 72.0;
        assert!((21.0..24.0).contains(&each), "{each} s away: {day:?}");
    }

    #[test]
    fn a_roll_waits_for_who_does_not_come_back() {
        let day = day(1, Who::AsWritten, 0.2).expect("a day");
        assert!(day.stuck > 0.0, "{day:?}");
        assert!(day.while_stuck < 0.5, "{day:?}");
    }
}
