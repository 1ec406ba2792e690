//! Each case changes one thing in a world in which everything is allowed.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::SuspectUnit;
use crate::executor::Veto;
use crate::tree::tests::tree;

const TREE: &str = "
site - auto
  shop process
    shop.cart
    shop.search
  bank process
    bank.pay propose
  mail process observe
  web process
";

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000)
}

const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn evidence(unit: &str) -> Evidence {
    Evidence {
        incident: 1,
        at: now(),
        since: now() - secs(10),
        signature: FaultSignature {
            request_types: Vec::new(),
            error_type: String::new(),
            shape: "raised".to_owned(),
        },
        suspects: vec![SuspectUnit {
            unit: unit.into(),
            probability: 0.9,
            two_sided: true,
            reason: String::new(),
        }],
        baseline_failure_share: 0.0,
        failing_per_second: 1.0,
        traffic: BTreeMap::new(),
        closed: false,
        joined_into: None,
        circumstances: crate::Circumstances::default(),
    }
}

#[test]
fn what_prevents_waits_while_anything_is_given_up_on() {
    let given = Given::new("shop.cart");
    let down = surely(&[UnitName::from("bank")].into());
    let deed = Deed {
        recovery: None,
        target: &given.target,
        authority: Authority::Preventive,
        evidence: None,
        told_at: None,
        expected_cost: 1.0,
    };
    let world = World {
        tree: &given.tree,
        policy: &given.policy,
        pause: None,
        leases: &[],
        past: &[],
        sick: &BTreeSet::new(),
        storm_since: None,
        down: &down,
        comings: &Comings::default(),
        standing: &BTreeMap::new(),
        ledger_failure: None,
        executors: &given.executors,
    };
    let refused: Vec<Guard> = check(&deed, &world, now())
        .iter()
        .map(|refusal| refusal.guard)
        .collect();
    assert_eq!(refused, [Guard::Unrest]);
}

/// They are seen not to serve.
fn surely(units: &BTreeSet<UnitName>) -> Vec<Down> {
    let down = |unit: &UnitName| Down {
        unit: unit.clone(),
        probability: 1.0,
        since: SystemTime::UNIX_EPOCH,
        is_seen: true,
    };
    units.iter().map(down).collect()
}

struct Given {
    tree: RestartTree,
    target: UnitName,
    authority: Authority,
    evidence: Option<Evidence>,
    told_at: Option<SystemTime>,
    standing: BTreeMap<UnitName, Standing>,
    cost: f64,
    policy: Policy,
    pause: Option<Pause>,
    leases: Vec<Lease>,
    past: Vec<Past>,
    sick: BTreeSet<UnitName>,
    storm_since: Option<SystemTime>,
    /// Besides those that are sick.
    down: Vec<Down>,
    ledger: Option<&'static str>,
    comings: Comings,
    executors: BTreeSet<UnitName>,
}

impl Given {
    fn new(target: &str) -> Self {
        let executors = tree(TREE)
            .units()
            .filter(|unit| unit.executor.is_some())
            .map(|unit| unit.name.clone())
            .collect();
        Self {
            tree: tree(TREE),
            target: target.into(),
            authority: Authority::Unattended,
            evidence: Some(evidence(target)),
            told_at: None,
            standing: BTreeMap::new(),
            cost: 1.0,
            policy: Policy::default(),
            pause: None,
            leases: Vec::new(),
            past: Vec::new(),
            sick: BTreeSet::from([target.into()]),
            storm_since: None,
            down: Vec::new(),
            ledger: None,
            comings: Comings::default(),
            executors,
        }
    }

    fn check(&self) -> Vec<Refusal> {
        let mut down = surely(&self.sick);
        down.extend(self.down.clone());
        let deed = Deed {
            recovery: Some(RecoveryId(1)),
            target: &self.target,
            authority: self.authority,
            evidence: self.evidence.as_ref(),
            told_at: self.told_at,
            expected_cost: self.cost,
        };
        let world = World {
            tree: &self.tree,
            policy: &self.policy,
            pause: self.pause.as_ref(),
            leases: &self.leases,
            past: &self.past,
            sick: &self.sick,
            storm_since: self.storm_since,
            down: &down,
            comings: &self.comings,
            standing: &self.standing,
            ledger_failure: self.ledger,
            executors: &self.executors,
        };
        check(&deed, &world, now())
    }

    fn said(&self) -> Vec<Guard> {
        self.check().iter().map(|refusal| refusal.guard).collect()
    }
}

fn past(target: &str, ago: u64, verdict: Option<Verdict>) -> Past {
    Past {
        recovery: RecoveryId(9),
        target: target.into(),
        restarts: 1,
        by_person: false,
        at: now() - secs(ago),
        ready_at: Some(now() - secs(ago)),
        due_at: None,
        failed_requests: 10.0,
        signature: Some(evidence(target).signature),
        verdict,
    }
}

fn lease(target: &str) -> Lease {
    Lease {
        recovery: RecoveryId(2),
        target: target.into(),
        until: now() + secs(5),
    }
}

/// A restart that cured nothing, in a recovery of its own.
fn in_vain(target: &str, ago: u64, recovery: u64) -> Past {
    Past {
        recovery: RecoveryId(100 + recovery),
        ..past(target, ago, Some(Verdict::NotCured))
    }
}

impl Given {
    fn circumstances(&mut self) -> &mut crate::Circumstances {
        &mut self.evidence.as_mut().expect("some").circumstances
    }
}

fn changed(given: &mut Given, unit: &str, ago: u64) {
    let change = crate::Changed {
        at: now() - secs(ago),
        what: "version 2 appeared".to_owned(),
        is_version: true,
        renewals: 0,
        goes_on: false,
    };
    given.circumstances().changes.insert(unit.into(), change);
}

/// What is renewed without end is not waited for without end, and who approves isn't held up.
#[test]
fn a_rollout_is_waited_for_within_bounds() {
    for (renewals, authority, expected) in [
        (0, Authority::Unattended, Some(Consequence::Wait)),
        (2, Authority::Unattended, Some(Consequence::Wait)),
        (3, Authority::Unattended, Some(Consequence::Ask)),
        (0, Authority::Approved, None),
        (3, Authority::Approved, None),
    ] {
        let mut given = Given::new("shop.cart");
        given.authority = authority;
        changed(&mut given, "shop", 1);
        for change in given.circumstances().changes.values_mut() {
            change.renewals = renewals;
        }
        let found = given.check();
        let found = found.iter().find(|no| no.guard == Guard::Rollout);
        let found = found.map(|no| no.consequence);
        assert_eq!(found, expected, "{renewals} {authority:?}");
    }
}

/// What goes on vetoes however short the quiet after it is, and where it is may be unknown.
#[test]
fn what_is_told_vetoes_while_it_goes_on_wherever_it_is() {
    for (goes_on, is_placed, ago, quiet, expected) in [
        (true, true, 0, 0, true),
        (true, false, 0, 0, true),
        (true, false, 0, 60, true),
        (false, true, 0, 0, false),
        (false, false, 59, 60, true),
        (false, false, 61, 60, false),
    ] {
        let mut given = Given::new("shop.cart");
        given.policy.rollout_quiet = secs(quiet);
        changed(&mut given, "shop", ago);
        let around = given.circumstances();
        let change = around.changes.values_mut().next().expect("one");
        change.goes_on = goes_on;
        if !is_placed {
            around.unplaced = around.changes.pop_first().map(|(_, change)| change);
        }
        let found = given.check();
        let found = found.iter().any(|no| no.guard == Guard::Rollout);
        assert_eq!(found, expected, "{goes_on} {is_placed} {ago} {quiet}");
        given.authority = Authority::Approved;
        assert!(given.check().iter().all(|no| no.guard != Guard::Rollout));
    }
}

/// What the target's platform said so many seconds ago.
fn standing(given: &mut Given, ago: u64, vetoes: &[Veto]) {
    let told = Some((now() - secs(ago), vetoes.to_vec()));
    let standing = Standing {
        is_asked: false,
        told,
    };
    given.standing.insert(given.target.clone(), standing);
}

fn load(given: &mut Given, shape: &str, now: f64, usual: f64) {
    given.evidence.as_mut().expect("some").signature.shape = shape.to_owned();
    given.circumstances().load = Some(crate::Load { now, usual });
}

fn outside(given: &mut Given, inside: f64, outside: f64) {
    given.evidence.as_mut().expect("some").suspects[0].probability = inside;
    given.policy.auto_probability = 0.4;
    given.circumstances().outside = Some(crate::Outside {
        name: "the database".to_owned(),
        probability: outside,
    });
}

type Change = fn(&mut Given);

#[test]
fn one_thing_at_a_time() {
    let cases: Vec<(&str, Change, &[Guard])> = vec![
        ("nothing", |_| {}, &[]),
        (
            "paused",
            |given| {
                given.pause = Some(Pause {
                    reason: "sale".to_owned(),
                    by: "ada".to_owned(),
                    since: now(),
                    until: None,
                });
            },
            &[Guard::Pause],
        ),
        (
            "a pause that is over",
            |given| {
                let until = Some(now());
                given.pause = Some(Pause {
                    reason: "sale".to_owned(),
                    by: "ada".to_owned(),
                    since: now(),
                    until,
                });
            },
            &[],
        ),
        (
            "a lease on the same",
            |given| given.leases.push(lease("shop.cart")),
            &[Guard::Overlap],
        ),
        (
            "a lease above",
            |given| given.leases.push(lease("site")),
            &[Guard::Overlap],
        ),
        (
            "a lease beside",
            |given| given.leases.push(lease("shop.search")),
            &[],
        ),
        (
            "a lease that is over",
            |given| {
                given.leases.push(Lease {
                    until: now(),
                    ..lease("shop")
                });
            },
            &[],
        ),
        (
            "our own lease",
            |given| {
                given.leases.push(Lease {
                    recovery: RecoveryId(1),
                    ..lease("shop")
                });
            },
            &[],
        ),
        (
            "six restarts",
            |given| {
                given.past = (0..6).map(|_| past("shop.cart", 3000, None)).collect();
            },
            &[Guard::UnitBudget],
        ),
        (
            "six decided on long ago and done since",
            |given| {
                let done = Past {
                    at: now() - secs(3700),
                    ..past("shop.cart", 3500, None)
                };
                given.past = vec![done; 6];
            },
            &[Guard::UnitBudget],
        ),
        (
            "six that were refused",
            |given| {
                let refused = Past {
                    restarts: 0,
                    ..past("shop.cart", 3000, None)
                };
                given.past = vec![refused; 6];
            },
            &[],
        ),
        (
            "six restarts of its process",
            |given| {
                given.past = (0..6).map(|_| past("shop", 3000, None)).collect();
            },
            &[Guard::UnitBudget],
        ),
        (
            "six restarts of its sibling",
            |given| {
                given.past = (0..6).map(|_| past("shop.search", 3000, None)).collect();
            },
            &[],
        ),
        (
            "six restarts long ago",
            |given| {
                given.past = (0..6).map(|_| past("shop.cart", 3600, None)).collect();
            },
            &[],
        ),
        (
            "thirty restarts elsewhere",
            |given| {
                given.past = (0..30).map(|_| past("web", 3000, None)).collect();
            },
            &[Guard::TreeBudget],
        ),
        (
            "a costly past",
            |given| {
                given.past = vec![Past {
                    failed_requests: 9_999.5,
                    ..past("web", 3000, None)
                }];
            },
            &[Guard::RequestBudget],
        ),
        (
            "a cost that is no number",
            |given| given.cost = f64::NAN,
            &[Guard::RequestBudget],
        ),
        (
            "just restarted",
            |given| {
                given.past = vec![past("shop.cart", 9, Some(Verdict::NotCured))];
            },
            &[Guard::Backoff],
        ),
        (
            "its process just restarted by others",
            |given| {
                given.past = vec![past("shop", 9, Some(Verdict::NotCured))];
            },
            &[Guard::Backoff],
        ),
        (
            "a part just restarted by ourselves",
            |given| {
                given.target = "shop".into();
                given.past = vec![Past {
                    recovery: RecoveryId(1),
                    ..past("shop.cart", 9, None)
                }];
            },
            &[],
        ),
        (
            "restarted long enough ago",
            |given| {
                given.past = vec![past("shop.cart", 13, Some(Verdict::NotCured))];
            },
            &[],
        ),
        (
            "restarted twice in vain",
            |given| {
                given.past = (1..3)
                    .map(|turn| past("shop.cart", 12 * turn, None))
                    .collect();
            },
            &[Guard::Backoff],
        ),
        (
            "restarted twice to prevent",
            |given| {
                given.past = (1..3)
                    .map(|turn| Past {
                        signature: None,
                        ..past("shop.cart", 13 * turn, None)
                    })
                    .collect();
            },
            &[],
        ),
        (
            "restarted twice and cured",
            |given| {
                let cured = Some(Verdict::Cured);
                given.past = (1..3)
                    .map(|turn| past("shop.cart", 13 * turn, cured))
                    .collect();
            },
            &[],
        ),
        (
            "old evidence",
            |given| {
                given.evidence.as_mut().expect("some").at = now() - secs(61);
            },
            &[Guard::StaleEvidence],
        ),
        (
            "evidence from before a restart",
            |given| {
                given.evidence.as_mut().expect("some").at = now() - secs(20);
                given.past = vec![past("shop.cart", 20, None)];
            },
            &[Guard::StaleEvidence],
        ),
        (
            "one source",
            |given| {
                given.evidence.as_mut().expect("some").suspects[0].two_sided = false;
            },
            &[Guard::OneSided],
        ),
        (
            "an unlikely suspect",
            |given| {
                given.evidence.as_mut().expect("some").suspects[0].probability = 0.4;
            },
            &[Guard::ThinEvidence],
        ),
        (
            "a probability that is no number",
            |given| {
                given.evidence.as_mut().expect("some").suspects[0].probability = f64::NAN;
            },
            &[Guard::ThinEvidence],
        ),
        (
            "no evidence",
            |given| given.evidence = None,
            &[Guard::ThinEvidence],
        ),
        (
            "two unlikely parts of one process",
            |given| {
                let suspects = &mut given.evidence.as_mut().expect("some").suspects;
                suspects[0].probability = 0.4;
                let other = SuspectUnit {
                    unit: "shop.search".into(),
                    ..suspects[0].clone()
                };
                suspects.push(other);
                given.target = "shop".into();
            },
            &[],
        ),
        (
            "three sick processes",
            |given| {
                given.sick = ["shop.cart", "bank", "web"].map(UnitName::from).into();
            },
            &[Guard::Storm],
        ),
        (
            "three sick parts of two processes",
            |given| {
                given.sick = ["shop.cart", "shop.search", "web"]
                    .map(UnitName::from)
                    .into();
            },
            &[],
        ),
        (
            "a process and its parts",
            |given| {
                given.sick = ["shop.cart", "shop.search", "shop"]
                    .map(UnitName::from)
                    .into();
            },
            &[],
        ),
        (
            "cured four times",
            |given| {
                let cured = Some(Verdict::Cured);
                given.past = (1..5)
                    .map(|turn| past("shop.cart", 500 * turn, cured))
                    .collect();
            },
            &[Guard::Recurring],
        ),
        (
            "four other faults cured",
            |given| {
                let cured = Some(Verdict::Cured);
                given.past = (1..5)
                    .map(|turn| past("shop.cart", 500 * turn, cured))
                    .collect();
                given.evidence.as_mut().expect("some").signature.shape = "slow".to_owned();
            },
            &[],
        ),
        (
            "five restarts in vain",
            |given| {
                given.past = (1..6)
                    .map(|turn| in_vain("shop.cart", 20_000 * turn, turn))
                    .collect();
            },
            &[Guard::Immune],
        ),
        (
            "five restarts in vain, of what contains it",
            |given| {
                given.past = (1..6)
                    .map(|turn| in_vain("shop", 20_000 * turn, turn))
                    .collect();
            },
            &[Guard::Immune],
        ),
        (
            "five restarts of a part in vain",
            |given| {
                given.past = (1..6)
                    .map(|turn| in_vain("shop.cart", 20_000 * turn, turn))
                    .collect();
                given.target = "shop".into();
            },
            &[],
        ),
        (
            "one of six restarts helped",
            |given| {
                given.past = (1..6)
                    .map(|turn| in_vain("shop.cart", 20_000 * turn, turn))
                    .collect();
                given.past.push(Past {
                    verdict: Some(Verdict::Helped),
                    ..in_vain("shop.cart", 130_000, 6)
                });
            },
            &[],
        ),
        (
            "five wrong suspects, and the right one cured",
            |given| {
                given.past = (1..6)
                    .flat_map(|turn| {
                        let cure = Past {
                            verdict: Some(Verdict::Cured),
                            ..in_vain("web", 20_000 * turn - 10, turn)
                        };
                        [in_vain("shop.cart", 20_000 * turn, turn), cure]
                    })
                    .collect();
            },
            &[],
        ),
        (
            "five restarts in vain of another version",
            |given| {
                given.past = (1..6)
                    .map(|turn| in_vain("shop.cart", 20_000 * turn, turn))
                    .collect();
                changed(given, "shop", 10_000);
            },
            &[],
        ),
        (
            "five restarts in vain long ago",
            |given| {
                given.past = (1..6)
                    .map(|turn| in_vain("shop.cart", 700_000 * turn, turn))
                    .collect();
            },
            &[],
        ),
        (
            "a rollout of its process",
            |given| changed(given, "shop", 59),
            &[Guard::Rollout],
        ),
        (
            "a rollout that is over",
            |given| changed(given, "shop", 60),
            &[],
        ),
        ("a rollout beside", |given| changed(given, "bank", 1), &[]),
        (
            "overload",
            |given| load(given, "slow", 21.0, 10.0),
            &[Guard::Overload],
        ),
        (
            "errors under load",
            |given| load(given, "raised", 100.0, 10.0),
            &[],
        ),
        (
            "a little more than usual",
            |given| load(given, "unanswered", 20.0, 10.0),
            &[],
        ),
        (
            "somebody came to a quiet place",
            |given| load(given, "slow", 0.9, 0.1),
            &[],
        ),
        (
            "a database is as likely",
            |given| outside(given, 0.5, 0.5),
            &[Guard::Downstream],
        ),
        (
            "a database is less likely",
            |given| outside(given, 0.51, 0.49),
            &[],
        ),
        (
            "sampled",
            |given| given.circumstances().sampled = true,
            &[Guard::Sampled],
        ),
        (
            "sampled, but seen directly",
            |given| {
                given.circumstances().sampled = true;
                given.evidence.as_mut().expect("some").signature.shape = "exited".to_owned();
            },
            &[],
        ),
        (
            "told this moment",
            |given| given.told_at = Some(now()),
            &[Guard::Untold],
        ),
        (
            "told a moment ago",
            |given| given.told_at = Some(now() - given.policy.gathering),
            &[],
        ),
        (
            "told this moment, and a person approves",
            |given| {
                given.told_at = Some(now());
                given.authority = Authority::Approved;
            },
            &[],
        ),
        (
            "its platform is being asked",
            |given| standing(given, 6, &[]),
            &[Guard::Unasked],
        ),
        (
            "a person approves what nobody has told lately",
            |given| {
                standing(given, 61, &[]);
                given.authority = Authority::Approved;
            },
            &[Guard::Unasked],
        ),
        (
            "its platform has nothing",
            |given| standing(given, 5, &[]),
            &[],
        ),
        (
            "a disruption budget",
            |given| standing(given, 0, &[Veto::Budget("no".to_owned())]),
            &[Guard::Capacity],
        ),
        (
            "a scaling, and a rollout that halted",
            |given| {
                let halted = Veto::Halted("no".to_owned());
                standing(given, 0, &[Veto::Rollout("no".to_owned()), halted]);
            },
            &[Guard::Rollout, Guard::Rollout],
        ),
        (
            "a person sees the rollout, and approves beyond no budget",
            |given| {
                let budget = Veto::Budget("no".to_owned());
                standing(given, 30, &[Veto::Rollout("no".to_owned()), budget]);
                given.authority = Authority::Approved;
            },
            &[Guard::Capacity],
        ),
        (
            "a person's order",
            |given| {
                standing(given, 0, &[Veto::Budget("no".to_owned())]);
                given.authority = Authority::Ordered;
            },
            &[],
        ),
        (
            "a day of rest",
            |given| {
                given.policy.calendar.never = vec![calendar::Window {
                    days: [true; 7],
                    from: 0,
                    until: 0,
                }];
            },
            &[Guard::Window],
        ),
        (
            "its own budget of requests",
            |given| {
                given.policy.failed_requests_per_unit = Some(30.0);
                given.past = (1..4)
                    .map(|turn| past("shop.cart", 900 * turn, None))
                    .collect();
            },
            &[Guard::RequestBudget],
        ),
        (
            "another unit's requests",
            |given| {
                given.policy.failed_requests_per_unit = Some(30.0);
                given.past = (1..4).map(|turn| past("web", 900 * turn, None)).collect();
            },
            &[],
        ),
        (
            "a full disk",
            |given| given.ledger = Some("disk full"),
            &[Guard::Ledger],
        ),
        (
            "no executor",
            |given| {
                given.executors.remove(&UnitName::from("shop.cart"));
            },
            &[Guard::NoExecutor],
        ),
        (
            "no executor for a part",
            |given| {
                given.executors.remove(&UnitName::from("web"));
                given.target = "site".into();
                let evidence = given.evidence.as_mut().expect("evidence");
                evidence.signature.request_types = vec!["GET /".to_owned()];
            },
            &[Guard::NoExecutor, Guard::Mode],
        ),
        (
            "others along with a unit that is sick and fails nobody",
            |given| given.target = "site".into(),
            &[Guard::Mode, Guard::ThinEvidence],
        ),
        (
            "the process of a unit that is sick and fails nobody",
            |given| given.target = "shop".into(),
            &[],
        ),
        (
            "a unit that isn't",
            |given| given.target = "nobody".into(),
            &[Guard::NoExecutor, Guard::Mode, Guard::ThinEvidence],
        ),
        (
            "mode propose below",
            |given| {
                given.target = "bank".into();
                given.evidence = Some(evidence("bank"));
            },
            &[Guard::Mode],
        ),
        (
            "mode observe",
            |given| {
                given.target = "mail".into();
                given.evidence = Some(evidence("mail"));
            },
            &[Guard::Mode],
        ),
    ];
    for (name, change, expected) in cases {
        let mut given = Given::new("shop.cart");
        change(&mut given);
        assert_eq!(given.said(), expected, "{name}: {:?}", given.check());
        // A refusal has words, and a person's order is refused by safety alone.
        assert!(
            given
                .check()
                .iter()
                .all(|refusal| !refusal.words.is_empty()),
            "{name}"
        );
        given.authority = Authority::Ordered;
        let safety = [Guard::Overlap, Guard::Ledger, Guard::NoExecutor];
        assert!(
            given.said().iter().all(|guard| safety.contains(guard)),
            "{name}"
        );
        given.authority = Authority::Approved;
        let certainty = [
            Guard::Mode,
            Guard::Pause,
            Guard::OneSided,
            Guard::ThinEvidence,
            Guard::Window,
            Guard::Overload,
            Guard::Downstream,
            Guard::Sampled,
        ];
        assert!(
            given.said().iter().all(|guard| !certainty.contains(guard)),
            "{name}"
        );
    }
}

#[test]
fn what_observes_waits_and_what_proposes_asks() {
    for (unit, consequence) in [("mail", Consequence::Wait), ("bank.pay", Consequence::Ask)] {
        let refusals = Given::new(unit).check();
        assert_eq!(refusals[0].consequence, consequence, "{unit}");
    }
}

#[test]
fn a_group_spends_what_its_parts_have() {
    let spent = |target: &str, of: &str| {
        let mut given = Given::new(target);
        // Who can't be touched unattended is another guard's matter.
        given.authority = Authority::Approved;
        given.sick.clear();
        for ago in [3000, 2500, 2000, 1500, 1000, 900] {
            given.past.push(past(of, ago, Some(Verdict::NotCured)));
        }
        given.said().contains(&Guard::UnitBudget)
    };
    // The site has no executor of its own: its restart is theirs.
    assert!(spent("site", "mail"));
    // A process has: that its component was tried often is why it is restarted.
    assert!(!spent("shop", "shop.cart"));
    assert!(spent("shop.cart", "shop"));
}

#[test]
fn evidence_from_the_future_is_of_no_known_age() {
    let mut given = Given::new("shop");
    if let Some(evidence) = &mut given.evidence {
        evidence.at = now() + given.policy.evidence_expiry + secs(1);
    }
    assert_eq!(given.said(), [Guard::StaleEvidence]);
}

/// Each case: who is sick, who is leased, what is to be restarted, and what becomes of it.
#[test]
fn enough_stay_up() {
    let shop = "
site - auto @min=1
  web - @min=2
    web.a process @group=front
      web.a.cart
    web.b process @group=front
    web.c process @group=front
  cache - @min=1
    cache.a process
    cache.b process
  mail process @group=back
  post process @group=back
";
    let wait = Some(Consequence::Wait);
    let never = Some(Consequence::GiveUp);
    for (target, sick, leased, expected) in [
        ("web.a", "", "", None),
        // What is sick is no loss.
        ("web.a", "web.a", "", None),
        ("web.a", "web.a", "web.b", None),
        ("web.a", "web.b", "", wait),
        ("web.a", "", "web.b", wait),
        ("web.a.cart", "", "web.b", wait),
        // Its own sick part means that it isn't up.
        ("web.a", "web.a.cart web.b", "", None),
        ("cache.a", "", "", None),
        ("cache.a", "", "cache.b", wait),
        ("cache.a", "cache.b", "", wait),
        ("cache", "", "", never),
        ("cache", "cache.a cache.b", "", None),
        ("web", "", "", never),
        // Of a group without a number all must be up, so none may be restarted that is.
        ("mail", "", "", never),
        ("mail", "mail", "", None),
        ("site", "", "", never),
    ] {
        let mut given = Given::new(target);
        given.tree = tree(shop);
        given.executors = given
            .tree
            .units()
            .filter(|unit| unit.executor.is_some())
            .map(|unit| unit.name.clone())
            .collect();
        given.authority = Authority::Approved;
        given.policy.capacity.insert("front".to_owned(), 1);
        given.policy.storm_units = 100;
        given.sick = sick.split_whitespace().map(UnitName::from).collect();
        given.leases = leased.split_whitespace().map(lease).collect();
        let refusals = given.check();
        let found = refusals
            .iter()
            .filter(|refusal| refusal.guard == Guard::Capacity);
        let worst = found.map(|refusal| refusal.consequence).max();
        assert_eq!(
            worst, expected,
            "{target}, sick: {sick}, leased: {leased}: {refusals:?}"
        );
    }
}

/// The first failures of one member are the group's, too. Each case: how likely it is the group, for how long, whether
/// another incident has just begun to suspect the group as well, and what is said.
#[test]
fn a_group_is_sick_as_a_whole_only_if_that_is_likelier_than_all_else() {
    let (wait, never) = (Some(Consequence::Wait), Some(Consequence::GiveUp));
    for (probability, lasted, another, expected) in [
        (0.55, 60, None, None),
        (0.55, 1, None, wait),
        (0.45, 1, None, wait),
        // It was given the time to become clear.
        (0.45, 60, None, never),
        // What another knows less surely doesn't make it less sure, and the other way round.
        (0.55, 60, Some((0.35, 1)), None),
        (0.45, 60, Some((0.9, 60)), None),
        (0.45, 60, Some((0.45, 60)), never),
    ] {
        let mut given = Given::new("cache");
        given.tree = tree(
            "
site - auto
  cache - @min=1
    cache.a process
    cache.b process
",
        );
        let restarts = given.tree.restarts(&"cache".into());
        given.executors = restarts.into_iter().cloned().collect();
        given.sick.clear();
        let down = |(probability, lasted)| Down {
            unit: "cache".into(),
            probability,
            since: now() - secs(lasted),
            is_seen: false,
        };
        let incidents = another.into_iter().chain([(probability, lasted)]);
        given.down = incidents.map(down).collect();
        let refusals = given.check();
        let mut found = refusals.iter().filter(|it| it.guard == Guard::Capacity);
        let found = found.next().map(|refusal| refusal.consequence);
        assert_eq!(found, expected, "{probability} for {lasted} s, {another:?}");
        // Exporters that are later than that have not told all.
        given.policy.exporter_delay = secs(100);
        let refusals = given.check();
        let mut found = refusals.iter().filter(|it| it.guard == Guard::Capacity);
        let found = found.next().map(|refusal| refusal.consequence);
        assert_eq!(found, wait, "{probability} for {lasted} s, {another:?}");
    }
}

#[test]
fn units_have_budgets_of_their_own() {
    let shop = "
site - auto @budget=4
  shop process @budget=2 @costs=25
    shop.cart
    shop.search
  bank process
";
    for (target, done, expected) in [
        ("shop.cart", "", ""),
        ("shop.cart", "shop.cart shop.search", "shop"),
        ("shop.cart", "shop.search shop", "shop"),
        ("bank", "shop.search shop", ""),
        ("bank", "shop bank bank bank", "site"),
        // Two executors are called for the site.
        ("site", "bank bank bank", "site"),
        ("site", "bank bank", ""),
    ] {
        let mut given = Given::new(target);
        given.tree = tree(shop);
        given.authority = Authority::Approved;
        let done = done.split_whitespace().zip(1..);
        given.past = done
            .map(|(unit, turn)| past(unit, 600 * turn, None))
            .collect();
        let refusals = given.check();
        let said: Vec<&str> = refusals
            .iter()
            .filter(|refusal| refusal.guard == Guard::SubtreeBudget)
            .map(|refusal| refusal.words.as_str())
            .collect();
        let expected: Vec<&str> = expected.split_whitespace().collect();
        assert_eq!(said.len(), expected.len(), "{target}: {said:?}");
        for (said, unit) in said.iter().zip(expected) {
            assert!(said.contains(&format!("in {unit} ")), "{said}");
        }
    }
    let mut given = Given::new("shop.cart");
    given.tree = tree(shop);
    given.past = vec![past("shop.search", 600, None)];
    given.cost = 16.0;
    assert_eq!(given.said(), [Guard::SubtreeBudget], "{:?}", given.check());
}

/// What waits for a storm's end may be what it is made of: after a while people are asked. Each case: who wants it, since
/// when it storms, and what is said.
#[test]
fn a_storm_that_does_not_pass_is_a_persons() {
    use Authority::{Approved, Ordered, Unattended};
    let expiry = Policy::default().approval_expiry;
    for (authority, is_at_work, lasted, expected) in [
        (Unattended, false, None, Some(Consequence::HoldOff)),
        (Unattended, true, None, Some(Consequence::Wait)),
        (Unattended, true, Some(expiry / 2), Some(Consequence::Wait)),
        (Unattended, true, Some(expiry), Some(Consequence::Ask)),
        (Approved, true, Some(expiry / 2), Some(Consequence::Wait)),
        (Approved, true, Some(expiry), None),
        (Ordered, false, None, None),
    ] {
        let mut given = Given::new("shop.cart");
        given.authority = authority;
        given.sick = ["shop.cart", "bank", "web"].map(UnitName::from).into();
        given.storm_since = lasted.map(|lasted| now() - lasted);
        if is_at_work {
            given.leases = vec![lease("bank")];
        }
        let refusals = given.check();
        let storm = refusals.iter().find(|it| it.guard == Guard::Storm);
        let found = storm.map(|refusal| refusal.consequence);
        assert_eq!(found, expected, "{authority:?}, {lasted:?}");
    }
}

mod growing;
mod property;

#[test]
fn a_spent_budget_says_who_spent_it() {
    let ours = || past("shop.cart", 3000, None);
    let ordered = || Past {
        by_person: true,
        ..ours()
    };
    let whole = || past("shop", 2000, None);
    for (done, expected) in [
        (vec![ours(); 6], "6 times in 60 min, and"),
        (
            vec![ours(), ours(), ours(), ordered(), ordered(), whole()],
            "6 times in 60 min (1 with shop, 2 by people), and",
        ),
        // Each in one part, so that they add up.
        (
            vec![
                ours(),
                ours(),
                ours(),
                ours(),
                whole(),
                Past {
                    by_person: true,
                    ..whole()
                },
            ],
            "6 times in 60 min (1 with shop, 1 by people), and",
        ),
    ] {
        let mut given = Given::new("shop.cart");
        given.past = done;
        let refusals = given.check();
        let spent = refusals.iter().find(|it| it.guard == Guard::UnitBudget);
        let words = &spent.expect("it is spent").words;
        assert!(words.contains(expected), "{words}");
    }
}
