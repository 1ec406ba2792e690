//! What do policies cost users beside each other, and beside one that knows what cures?
//!
//! Every policy meets the same faults with the same luck; the difference to the clairvoyant is its
//! regret. Learners meet the first half knowing nothing (or what is wrong), and the second half is
//! shown by itself.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use rekindle_recovery::Policy;

use super::parallel::over_seeds;
use super::play::{Bill, Decider, Mind, play};
use super::report::{Mean, Report, Table, number};
use super::ward::{BETWEEN, learner};
use super::world::{Mix, Site};
use super::{Options, SimulateError};

/// Wrong priors: so many recoveries on a site where everything is cured at another level.
const LEARNED_WRONG: u64 = 100;
/// After how many recoveries a learner should know the site.
const LEARNED: usize = 200;
/// The whole service may cost so many per cent more or less than what decides in it: evidence comes to it once a second, so
/// each climb waits half a second longer.
const APART: f64 = 5.0;
/// What "learned" must come to, beside the clairvoyant.
const NEAR: f64 = 1.10;
/// What no learner may exceed, beside the ladder.
const NEVER_ABOVE: f64 = 1.05;

const NAMES: [&str; 11] = [
    "always root",
    "process, then root",
    "fixed ladder",
    "p/c order",
    "ours, not learning",
    "ours, wrong priors",
    "ours, learning",
    "ours, without the map",
    "ours, asking",
    "informed",
    "clairvoyant",
];
const LADDER: usize = 2;
const WRONG: usize = 5;
const OURS: usize = 6;
const WITHOUT_MAP: usize = 7;
const INFORMED: usize = 9;
const CLAIRVOYANT: usize = 10;

/// Of so many seeds the whole service plays our part, too: it takes twenty times as long.
const WHOLE_SEEDS: u32 = 8;

/// The bills of one seed, by policy and recovery.
type Bills = Vec<Vec<Bill>>;

fn one_seed(seed: u64, recoveries: u64) -> Result<Bills, SimulateError> {
    let site = Site::new();
    let policy = Policy::default();
    let mix = Mix::of(seed);
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let time = |number: u64| start + BETWEEN * u32::try_from(number).unwrap_or(u32::MAX);

    let mut wrong = Decider::Ours {
        mind: Mind::empty(&policy),
        learns: true,
        asks: false,
    };
    let elsewhere = mix.inverted();
    for number in 0..LEARNED_WRONG {
        let fault = elsewhere.fault(&site, number, time(number));
        play(&site, &fault, &mut wrong, &policy, (seed, number))?;
    }
    let mind = || Mind::empty(&policy);
    let deciders = [
        Decider::Root,
        Decider::Process,
        Decider::Ladder,
        Decider::ChancePerCost(mind()),
        Decider::Ours {
            mind: mind(),
            learns: false,
            asks: false,
        },
        wrong,
        Decider::Ours {
            mind: mind(),
            learns: true,
            asks: false,
        },
        Decider::Ours {
            mind: mind(),
            learns: true,
            asks: false,
        },
        Decider::Ours {
            mind: mind(),
            learns: true,
            asks: true,
        },
        Decider::Informed(mix.clone()),
        Decider::Clairvoyant,
    ];
    let mut bills = Vec::new();
    for (which, mut decider) in deciders.into_iter().enumerate() {
        let mut row = Vec::new();
        for number in 0..recoveries {
            let mut fault = mix.fault(&site, number, time(LEARNED_WRONG + number));
            if which == WITHOUT_MAP {
                fault.evidence.circumstances.sources.clear();
            }
            row.push(play(&site, &fault, &mut decider, &policy, (seed, number))?);
        }
        bills.push(row);
    }
    Ok(bills)
}

fn failed(bills: &[Bill], only_curable: bool) -> f64 {
    bills
        .iter()
        .filter(|bill| bill.is_curable || !only_curable)
        .map(|bill| bill.failed)
        .sum()
}

/// The largest that the policy's cumulative cost ever is beside the ladder's, after each recovery of
/// the mean over all seeds.
fn worst_beside_ladder(seeds: &[Bills], which: usize) -> (f64, usize) {
    let count = seeds.first().map_or(0, |bills| bills[which].len());
    let (mut ours, mut ladder, mut worst) = (0.0, 0.0, (0.0, 0));
    for number in 0..count {
        for bills in seeds {
            ours += bills[which][number].failed;
            ladder += bills[LADDER][number].failed;
        }
        let ratio = ours / ladder;
        if ratio > worst.0 {
            worst = (ratio, number + 1);
        }
    }
    worst
}

fn table(title: &str, seeds: &[Bills], from: usize, only_curable: bool) -> Table {
    let mut table = Table::new(
        title,
        &[
            "policy",
            "failed requests per recovery",
            "regret per recovery",
            "beside the clairvoyant",
            "restarts",
            "asked first",
            "to a person",
        ],
    );
    for (which, name) in NAMES.iter().enumerate() {
        let per_recovery = |total: f64, bills: &[Bill]| {
            let count = bills
                .iter()
                .filter(|bill| bill.is_curable || !only_curable)
                .count();
            total / count.max(1) as f64
        };
        let mut costs = Vec::new();
        let mut regrets = Vec::new();
        let (mut all, mut least) = (0.0, 0.0);
        let (mut restarts, mut asked, mut people, mut count) = (0.0, 0.0, 0.0, 0.0);
        for bills in seeds {
            let (mine, best) = (&bills[which][from..], &bills[CLAIRVOYANT][from..]);
            let (cost, known) = (failed(mine, only_curable), failed(best, only_curable));
            costs.push(per_recovery(cost, mine));
            regrets.push(per_recovery(cost - known, mine));
            all += cost;
            least += known;
            for bill in mine.iter().filter(|bill| bill.is_curable || !only_curable) {
                restarts += f64::from(bill.restarts);
                asked += f64::from(u8::from(bill.asked > 0));
                people += f64::from(u8::from(bill.by_person));
                count += 1.0;
            }
        }
        table.row([
            (*name).to_owned(),
            Mean::of(&costs).words(),
            Mean::of(&regrets).words(),
            format!("{:.2}×", all / least),
            format!("{:.2}", restarts / count),
            format!("{:.1} %", 100.0 * asked / count),
            format!("{:.1} %", 100.0 * people / count),
        ]);
    }
    table
}

/// What each kind of fault costs a learner, beside the clairvoyant.
fn by_kind(title: &str, seeds: &[Bills], from: usize) -> Table {
    let mut table = Table::new(
        title,
        &[
            "fault",
            "recoveries",
            "clairvoyant",
            "informed",
            "ours, learned",
            "regret's share",
            "restarts",
            "to a person",
            "verdict unknown",
            "wrongly cured",
        ],
    );
    #[derive(Default)]
    struct Sum {
        count: f64,
        best: f64,
        informed: f64,
        ours: f64,
        restarts: f64,
        people: f64,
        unknown: f64,
        wrong: f64,
    }
    let mut kinds: BTreeMap<&str, Sum> = BTreeMap::new();
    for bills in seeds {
        let all = bills[CLAIRVOYANT].iter().zip(&bills[INFORMED]);
        for ((best, informed), ours) in all.zip(&bills[OURS]).skip(from) {
            let sum = kinds.entry(ours.kind).or_default();
            sum.count += 1.0;
            sum.best += best.failed;
            sum.informed += informed.failed;
            sum.ours += ours.failed;
            sum.restarts += f64::from(ours.restarts);
            sum.people += f64::from(u8::from(ours.by_person));
            sum.unknown += f64::from(u8::from(ours.by_unknown));
            sum.wrong += f64::from(ours.wrongly_cured);
        }
    }
    let regret: f64 = kinds.values().map(|sum| sum.ours - sum.best).sum();
    for (kind, sum) in kinds {
        table.row([
            kind.to_owned(),
            format!("{:.0}", sum.count),
            number(sum.best / sum.count),
            number(sum.informed / sum.count),
            number(sum.ours / sum.count),
            format!("{:.0} %", 100.0 * (sum.ours - sum.best) / regret),
            format!("{:.2}", sum.restarts / sum.count),
            format!("{:.0} %", 100.0 * sum.people / sum.count),
            format!("{:.0} %", 100.0 * sum.unknown / sum.count),
            format!("{:.2}", sum.wrong / sum.count),
        ]);
    }
    table
}

/// Our part as the whole service plays it, beside that of its deciding parts alone.
fn compare_whole(report: &mut Report, seeds: &[Bills], whole: &[Vec<Bill>], from: usize) {
    let of = |which: usize| -> Vec<&[Bill]> {
        let seeds = seeds.iter().take(whole.len());
        seeds.map(|bills| &bills[which][from..]).collect()
    };
    let whole: Vec<&[Bill]> = whole.iter().map(|bills| &bills[from..]).collect();
    let per_recovery = |bills: &[&[Bill]]| -> Vec<f64> {
        let costs = bills.iter();
        costs
            .map(|bills| failed(bills, false) / bills.len().max(1) as f64)
            .collect()
    };
    let mut table = Table::new(
        format!(
            "By the whole service, over {} seeds, after {from} recoveries, all faults",
            whole.len()
        ),
        &[
            "policy",
            "failed requests per recovery",
            "beside the clairvoyant",
            "restarts",
            "to a person",
        ],
    );
    let best = per_recovery(&of(CLAIRVOYANT));
    let beside = |costs: &[f64]| costs.iter().sum::<f64>() / best.iter().sum::<f64>();
    for (name, bills) in [
        ("ours, learned, whole service", whole.clone()),
        ("ours, learned, its deciding parts", of(OURS)),
        ("clairvoyant", of(CLAIRVOYANT)),
    ] {
        let costs = per_recovery(&bills);
        let all: Vec<&Bill> = bills.iter().flat_map(|bills| bills.iter()).collect();
        let count = all.len().max(1) as f64;
        let restarts: f64 = all.iter().map(|bill| f64::from(bill.restarts)).sum();
        let people = all.iter().filter(|bill| bill.by_person).count() as f64;
        table.row([
            name.to_owned(),
            Mean::of(&costs).words(),
            format!("{:.2}×", beside(&costs)),
            format!("{:.2}", restarts / count),
            format!("{:.1} %", 100.0 * people / count),
        ]);
    }
    report.tables.push(table);
    let (costs, parts) = (per_recovery(&whole), per_recovery(&of(OURS)));
    let apart: Vec<f64> = costs
        .iter()
        .zip(&parts)
        .map(|(cost, part)| 100.0 * (cost / part - 1.0))
        .collect();
    let apart = Mean::of(&apart);
    report.claim(
        format!("ours, learned: the whole service costs at most {APART} % more or less than its deciding parts alone, seed by seed"),
        format!("{} %", apart.words()),
        apart.mean.abs() <= APART,
    );
    let whole = beside(&costs);
    report.claim(
        format!("ours, learned, whole service: within 10 % of the clairvoyant after {from} recoveries, all faults"),
        format!("{:.1} % above", 100.0 * (whole - 1.0)),
        whole <= NEAR,
    );
}

/// How many times as much a learner pays as another policy does.
fn beside(seeds: &[Bills], other: usize, from: usize, only_curable: bool) -> f64 {
    let sum = |which: usize| -> f64 {
        seeds
            .iter()
            .map(|bills| failed(&bills[which][from..], only_curable))
            .sum()
    };
    sum(OURS) / sum(other)
}

/// Runs it.
///
/// # Errors
/// When a policy did what no recovery may.
pub(super) fn run(options: &Options) -> Result<Report, SimulateError> {
    let recoveries = options.recoveries.max(2);
    let seeds = over_seeds(options, |seed| one_seed(seed, recoveries))?;
    let few = Options {
        seeds: options.seeds.min(WHOLE_SEEDS),
        ..*options
    };
    let whole = over_seeds(&few, |seed| learner(seed, recoveries))?;
    let learned_after = LEARNED.min(recoveries as usize / 2);
    let mut report = Report {
        scenario: "policies".to_owned(),
        question: "What do recovery policies cost users beside one that knows what cures?"
            .to_owned(),
        assumptions: vec![
            "site: 20 units; restart times are the microreboot paper's (beans 0.41-0.60 s, entity \
             group 0.83 s, web tier 1.03 s, application 7.7 s, server 19.1 s), ±20 %; node 60 s \
             assumed; 72 requests/s"
                .to_owned(),
            "faults: the paper's 16 kinds and their smallest cures; frequencies of kinds and of \
             components are drawn anew per seed, uniformly; 30-100 % of the requests through the \
             component fail"
                .to_owned(),
            "three kinds end by a person only (two wrong values, database), two by themselves in \
             2-8 s; kinds that look alike can't be told apart"
                .to_owned(),
            "ranking: the first suspect is right as often as it says (95, 80, 60 or 45 %), the \
             second or neither otherwise; one component fault in ten is only eased by the \
             component's restart and ended by the application's"
                .to_owned(),
            "failure map: that beans fail with the web tier and with the entities is known from the \
             first recovery on, and is right, for p/c and for all of ours but \"without the map\", \
             which learns without it; what it is worth is the difference"
                .to_owned(),
            "informed: knows how often each kind and each component fails and how ranking errs, but \
             not what is the matter; the least that any learner can come to"
                .to_owned(),
            "a person takes 15 min; all policies use Rekindle's judge; guards are off, since the \
             others have none, but for \"asking\": what evidence is too thin for is restarted when a \
             person has approved of it, as in the daemon; what that costs is the difference"
                .to_owned(),
            format!(
                "wrong priors: {LEARNED_WRONG} recoveries learned on a site where component faults \
                 take the server and server faults a component"
            ),
            format!(
                "ours by the whole service: its task, ledger, guards and executors' trait in virtual time, with the \
                 same faults, over {} seeds; it is told once a second what is wrong; guards that the others lack are out of \
                 the way",
                few.seeds
            ),
            format!(
                "{} seeds, {recoveries} recoveries each; ± is the 95 % interval over seeds",
                options.seeds
            ),
        ],
        ..Report::default()
    };
    report
        .tables
        .push(table("All recoveries, all faults", &seeds, 0, false));
    report.tables.push(table(
        &format!("After {learned_after} recoveries, all faults"),
        &seeds,
        learned_after,
        false,
    ));
    report.tables.push(table(
        &format!("After {learned_after} recoveries, only faults that a restart or time ends"),
        &seeds,
        learned_after,
        true,
    ));
    report.tables.push(by_kind(
        &format!("Failed requests per recovery after {learned_after} recoveries, by fault"),
        &seeds,
        learned_after,
    ));
    compare_whole(&mut report, &seeds, &whole, learned_after);
    let all = beside(&seeds, CLAIRVOYANT, learned_after, false);
    report.claim(
        format!(
            "ours, learned: within 10 % of the clairvoyant after {learned_after} recoveries, all \
             faults"
        ),
        format!("{:.1} % above", 100.0 * (all - 1.0)),
        all <= NEAR,
    );
    let knowable = beside(&seeds, INFORMED, learned_after, true);
    let known = beside(&seeds, CLAIRVOYANT, learned_after, true);
    report.claim(
        "ours, learned: within 10 % of who knows all that can be learned, only faults that a \
         restart or time ends"
            .to_owned(),
        format!(
            "{:.1} % above; {:.1} % above the clairvoyant",
            100.0 * (knowable - 1.0),
            100.0 * (known - 1.0)
        ),
        knowable <= NEAR,
    );
    for (which, name) in [(OURS, "ours, learning"), (WRONG, "ours, wrong priors")] {
        let (worst, at) = worst_beside_ladder(&seeds, which);
        report.claim(
            format!("{name}: cumulative cost never more than 5 % above the fixed ladder's"),
            format!(
                "at most {} % of it, after {at} recoveries",
                number(100.0 * worst)
            ),
            worst <= NEVER_ABOVE,
        );
    }
    Ok(report)
}
