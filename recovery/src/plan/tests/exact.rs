//! Is no other order cheaper? Plans held against all orders that there are, by a reckoning that shares no code with them; and
//! what is done, plan after plan, where there are more units than a plan has room for.

use super::*;
use crate::belief::Chain;

/// What a ladder comes to, restart by restart, straight from the beliefs: no plan shares this code.
fn comes_to(
    ladder: &[Choice],
    chains: &[Chain<'_>],
    tree: &RestartTree,
    given: &Given,
    evidence: &Evidence,
) -> f64 {
    let ends = |choice: &Choice, level: Option<&UnitName>, is_time: bool| match choice {
        Choice::Restart(unit) => level.is_some_and(|smallest| tree.contains(unit, smallest)),
        Choice::Wait => is_time,
        Choice::Human => false,
    };
    let still = |done: &[Choice]| -> f64 {
        let levels = chains.iter().flat_map(|chain| {
            let units = std::iter::once(None).chain(chain.units.iter().copied().map(Some));
            let units = units.chain(std::iter::once(None));
            let levels = chain.levels.iter().zip(units).enumerate();
            let levels = levels.map(|(at, (weight, unit))| (*weight, unit, at == 0));
            let beside = chain.beside.iter();
            levels.chain(beside.map(|one| (one.weight, Some(&one.unit), false)))
        });
        levels
            .filter(|(_, unit, is_time)| !done.iter().any(|choice| ends(choice, *unit, *is_time)))
            .map(|(weight, _, _)| weight)
            .sum()
    };
    let constraints = given.constraints();
    let policy = &given.policy;
    let failing = evidence.failing_per_second;
    let until_judged = (policy.warm_up + policy.exporter_delay).as_secs_f64();
    let mut total = 0.0;
    for (at, choice) in ladder.iter().enumerate() {
        let (cost, confirming) = match choice {
            Choice::Restart(unit) => (
                price(evidence, tree, unit, &constraints, now())
                    .requests
                    .mean,
                failing * until_judged + FAILURES_TO_CONFIRM,
            ),
            Choice::Wait => {
                let half = failing * policy.wait.as_secs_f64() / 2.0;
                (half, half)
            }
            Choice::Human => (failing * policy.human_response.as_secs_f64(), 0.0),
        };
        total += still(&ladder[..at]) * cost + still(&ladder[..=at]) * confirming;
    }
    total / still(&[])
}

/// All orders of all subsets of these, each with a person at its end.
fn ladders(of: &[Choice]) -> Vec<Vec<Choice>> {
    let mut all = vec![vec![Choice::Human]];
    for (at, first) in of.iter().enumerate() {
        let mut rest = of.to_vec();
        rest.remove(at);
        all.extend(ladders(&rest).into_iter().map(|mut ladder| {
            ladder.insert(0, first.clone());
            ladder
        }));
    }
    all
}

#[test]
fn no_order_over_a_tree_with_groups_and_shared_ancestors_is_cheaper() {
    // Carts and payments go together, and what shows in the cart may sit in the search.
    let mut specs: Vec<crate::UnitSpec> = tree(TREE).units().cloned().collect();
    let cart = specs
        .iter_mut()
        .find(|spec| spec.name.as_str() == "shop.cart");
    let cart = cart.expect("the cart");
    cart.rules.together = vec!["bank.pay".into()];
    let tree = RestartTree::build(specs).expect("a tree");
    let given = Given::default();
    for (suspects, failing) in [
        (&[("shop.cart", 0.6), ("shop.search", 0.3)][..], 3.0),
        (&[("shop.search", 0.5), ("bank.pay", 0.5)], 8.0),
        (&[("shop.cart", 0.9)], 0.5),
    ] {
        let mut evidence = evidence(suspects, failing, 20.0);
        let source = crate::Source {
            unit: "shop.search".into(),
            share: 0.7,
        };
        let sources = &mut evidence.circumstances.sources;
        sources.insert("shop.cart".into(), vec![source]);
        let constraints = given.constraints();
        let planned = plan(&evidence, &tree, &given.beliefs, &constraints, now());
        let chains = given.beliefs.chains(&evidence, &tree, &[], now());
        let choices: Vec<Choice> = planned
            .candidates
            .iter()
            .map(|candidate| candidate.choice.clone())
            .filter(|choice| *choice != Choice::Human)
            .collect();
        let cost = |ladder: &[Choice]| comes_to(ladder, &chains, &tree, &given, &evidence);
        let own = cost(&planned.ladder);
        assert!(
            (own - planned.expected_total).abs() < 1e-6 * own,
            "{own} {planned:#?}"
        );
        for ladder in ladders(&choices) {
            assert!(
                cost(&ladder) >= own * (1.0 - 1e-9),
                "{ladder:?} {planned:#?}"
            );
        }
    }
}

/// What is done while nothing helps, plan after plan.
fn followed(evidence: &Evidence, tree: &RestartTree) -> Vec<Choice> {
    let mut given = Given::default();
    let mut done = Vec::new();
    loop {
        let choice = plan(evidence, tree, &given.beliefs, &given.constraints(), now()).choice;
        done.push(choice.clone());
        match choice {
            Choice::Restart(unit) => given.trials.push(trial(unit.as_str(), 0.0)),
            Choice::Wait => given.waited = true,
            Choice::Human => return done,
        }
    }
}

/// Three more suspects than a plan has room for. As they are alike but for their chances, the best order of all is known but for
/// when it is time to wait, and for all of them together. Plans that see twelve units at a time come near it.
#[test]
fn who_finds_no_room_in_a_plan_is_restarted_in_its_turn() {
    const SUSPECTS: usize = MAX_ACTIONS + 2;
    let names: Vec<String> = (0..SUSPECTS).map(|at| format!("part{at:02}")).collect();
    let lines: Vec<String> = names
        .iter()
        .map(|name| format!("\n  {name} ~500"))
        .collect();
    for whole in [3000, 20_000, 60_000] {
        let tree = tree(&format!("site ~{whole}{}", lines.concat()));
        let suspects: Vec<(&str, f64)> = names
            .iter()
            .zip(1..)
            .map(|(name, at)| (name.as_str(), 0.09 - 0.004 * f64::from(at)))
            .collect();
        let mut evidence = evidence(&suspects, 10.0, 10.0);
        evidence.traffic.clear();
        let done = followed(&evidence, &tree);
        let given = Given::default();
        let chains = given.beliefs.chains(&evidence, &tree, &[], now());
        let cost = |ladder: &[Choice]| comes_to(ladder, &chains, &tree, &given, &evidence);
        let mut least = f64::INFINITY;
        for parts in 0..=SUSPECTS {
            let parts = names[..parts].iter();
            let parts = parts.map(|name| Choice::Restart(name.as_str().into()));
            let whole = Choice::Restart("site".into());
            for end in [vec![Choice::Human], vec![whole, Choice::Human]] {
                let ladder: Vec<Choice> = parts.clone().chain(end).collect();
                least = least.min(cost(&ladder));
                for at in 0..ladder.len() {
                    let mut ladder = ladder.clone();
                    ladder.insert(at, Choice::Wait);
                    least = least.min(cost(&ladder));
                }
            }
        }
        assert!(
            (1.0..1.05).contains(&(cost(&done) / least + 1e-9)),
            "{} {least} {done:?}",
            cost(&done)
        );
        let is_done = |name: &String| done.contains(&Choice::Restart(name.as_str().into()));
        assert!(whole < 60_000 || names.iter().all(is_done), "{done:?}");
    }
}

#[test]
fn who_lies_deeper_than_a_plan_is_restarted_and_what_contains_him_next() {
    const DEPTH: usize = MAX_ACTIONS + 5;
    let levels: Vec<String> = (0..DEPTH)
        .map(|level| {
            let takes = 2000 * (DEPTH - level);
            format!("{}level{level} ~{takes}", "  ".repeat(level))
        })
        .collect();
    let tree = tree(&levels.join("\n"));
    let lowest = format!("level{}", DEPTH - 1);
    let evidence = evidence(&[(&lowest, 0.9)], 10.0, 10.0);
    let done = followed(&evidence, &tree);
    let restarted: Vec<&UnitName> = done
        .iter()
        .filter_map(|choice| match choice {
            Choice::Restart(unit) => Some(unit),
            Choice::Wait | Choice::Human => None,
        })
        .collect();
    assert!(restarted.len() > 1, "{done:?}");
    let climbs = |pair: &[&UnitName]| pair[0] != pair[1] && tree.contains(pair[1], pair[0]);
    assert!(restarted.windows(2).all(climbs), "{done:?}");
    // The way up to the root is weighed from the first.
    let given = Given::default();
    let first = plan(
        &evidence,
        &tree,
        &given.beliefs,
        &given.constraints(),
        now(),
    );
    let weighed = |unit: &str| {
        let mut candidates = first.candidates.iter();
        candidates.any(|it| it.choice == Choice::Restart(unit.into()))
    };
    assert!(weighed(&lowest) && weighed("level0"), "{first:?}");
}
