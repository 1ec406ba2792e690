//! When is something an answer, and when only chance? Small systems in which that is known.

use rekindle_model::{Outcome, Trace};

use crate::rank::{Case, Input, InputRow, Method, rank};
use crate::testing::{Call, T};
use crate::{AnalysisConfig, Component, Level, Ranking, Verdict, input_of};

fn input(baseline: Vec<Call>, window: Vec<Call>) -> Input {
    let traces = |calls: Vec<Call>, first: u128| -> Vec<Trace> {
        let numbered = calls.into_iter().enumerate();
        let build = |(n, call): (usize, Call)| {
            let t = T {
                id: first + n as u128,
                ..T::default()
            };
            t.build(call)
        };
        numbered.map(build).collect()
    };
    let (before, now) = (traces(baseline, 1), traces(window, 1_000_000));
    input_of(&AnalysisConfig::default(), &before, &now)
}

fn ranked(baseline: Vec<Call>, window: Vec<Call>) -> Ranking {
    rank(Method::Default, &input(baseline, window))
}

fn first(ranking: &Ranking) -> &str {
    let first = ranking.suspects.first();
    first.map_or("nobody", |first| &first.components[0].service)
}

fn service(input: &Input, name: &str) -> usize {
    let of_name = |component: &Component| {
        component.level == Level::Service && component.service.as_str() == name
    };
    let mut subjects = input.subjects.iter();
    let found = subjects.position(|subject| of_name(&subject.component));
    found.expect("the service")
}

/// A page of a shop with a cart, which fails or not.
fn page(n: u64, fails: bool) -> Call {
    let code = if fails { 500 } else { 200 };
    let cart = Call::server("cart", "GET /cart")
        .takes(4 + n % 3)
        .http(code);
    let shop = Call::server("shop", "GET /").takes(5 + n % 4).http(code);
    shop.with(Call::client("call").http(code).with(cart))
}

#[test]
fn failures_as_frequent_as_before_are_no_answer() {
    // (failing one in, before and now; whether that's an answer)
    for (before, now, answered) in [
        (10, 10, false),
        (10, 9, false),
        (200, 10, true),
        (10, 2, true),
    ] {
        let pages =
            |count: u64, one_in: u64| (0..count).map(|n| page(n, n % one_in == 0)).collect();
        let ranking = ranked(pages(600, before), pages(200, now));
        assert_eq!(
            ranking.verdict == Verdict::Enough,
            answered,
            "1 in {before} before, 1 in {now} now: {ranking:#?}"
        );
        if answered {
            assert_eq!(first(&ranking), "cart");
        }
    }
}

#[test]
fn many_calls_of_two_requests_are_no_answer() {
    let report = |n: u64, millis: u64| {
        let report = Call::server("shop", "GET /report").takes(5);
        (0..40).fold(report, |report, call| {
            let price = Call::server("price", "GET /price").takes(millis + (n + call) % 2);
            report.with(Call::client("call").with(price))
        })
    };
    let pages = |count: u64| (0..count).map(|n| page(n, false));
    // Reports differ by themselves; within one, all calls are alike.
    let before = pages(300).chain([4, 5, 12].map(|millis| report(0, millis)));
    let now = pages(60).chain([12, 13].map(|millis| report(1, millis)));
    let ranking = ranked(before.collect(), now.collect());
    assert!(
        matches!(ranking.verdict, Verdict::NotEnough { .. }),
        "{ranking:#?}"
    );
    // So many requests are an answer.
    let before = pages(300).chain((0..60).map(|n| report(n, 4)));
    let now = pages(60).chain((0..20).map(|n| report(n, 12)));
    let ranking = ranked(before.collect(), now.collect());
    assert_eq!(ranking.verdict, Verdict::Enough, "{ranking:#?}");
    assert_eq!(first(&ranking), "price");
}

#[test]
fn who_waits_for_several_answers_too_long_is_slow_itself() {
    // The shop's processor is busy: answers of two of its four callees wait for it. The other two are asked
    // too seldom to tell.
    let shop = |n: u64, busy: bool| {
        let jitter = n * 7 % 5;
        let late = if busy { 80 } else { 0 };
        let ask = |shop: Call, callee: &str, way: u64| {
            let answer = Call::server(callee, "GET /").takes(6 + jitter);
            shop.with(Call::client("call").takes(2 + way).with(answer))
        };
        let shop = Call::server("shop", "GET /").takes(5 + jitter + late / 4);
        let shop = ask(ask(shop, "cart", late), "price", late);
        if n.is_multiple_of(30) {
            ask(ask(shop, "stock", n % 90), "mail", n % 60)
        } else {
            shop
        }
    };
    let before = (0..300).map(|n| shop(n, false)).collect();
    let now = (0..60).map(|n| shop(n, true)).collect();
    let ranking = ranked(before, now);
    assert_eq!(first(&ranking), "shop", "{ranking:#?}");
}

#[test]
fn visits_whose_caller_is_missing_say_nothing_of_the_way() {
    // The way to the cart takes 400 ms more. Where only its own span came, nobody sees that.
    let strength = |missing: u64| {
        let visit = |n: u64, slow: bool| {
            let cart = Call::server("cart", "GET /cart").takes(4 + n % 3);
            if n % 4 < missing {
                return cart;
            }
            let way = 2 + if slow { 400 } else { 0 };
            let shop = Call::server("shop", "GET /").takes(5 + n % 4);
            shop.with(Call::client("call").takes(way).with(cart))
        };
        let before = (0..400).map(|n| visit(n, false)).collect();
        let now = (0..200).map(|n| visit(n, true)).collect();
        let ranking = ranked(before, now);
        assert_eq!(first(&ranking), "cart", "{ranking:#?}");
        ranking.suspects[0].score
    };
    let (all_known, half_known) = (strength(0), strength(2));
    assert!(
        (half_known / all_known - 1.0).abs() < 0.15,
        "{half_known} of {all_known}"
    );
}

#[test]
fn who_got_slow_while_another_fails_is_named_too() {
    let site = |n: u64, faulty: bool| {
        let fails = faulty && n.is_multiple_of(2);
        let millis = if faulty { 150 } else { 10 };
        let stock = Call::server("stock", "GET /stock").takes(millis + n % 3);
        page(n, fails).with(Call::client("call").with(stock))
    };
    let before = (0..600).map(|n| site(n, false)).collect();
    let now = (0..200).map(|n| site(n, true)).collect();
    let ranking = ranked(before, now);
    let services: Vec<&str> = ranking
        .suspects
        .iter()
        .take(3)
        .map(|suspect| suspect.components[0].service.as_str())
        .collect();
    assert_eq!(services.first(), Some(&"cart"), "{ranking:#?}");
    assert!(services.contains(&"stock"), "{services:?}: {ranking:#?}");
    let sum: f64 = ranking.suspects.iter().map(|s| s.confidence).sum();
    assert!(sum <= 1.0 + 1e-9, "{sum}");
}

#[test]
fn what_is_never_steady_does_not_excuse_what_was() {
    // Halves of the baseline are whole seconds of a thousand requests. Mail takes five milliseconds in one
    // of them, two seconds in the other, and now this and now that; the cart was steady until now.
    let site = |n: u64, mail: u64, cart: u64| {
        let cart = Call::server("cart", "GET /cart").takes(cart + n % 3);
        let shop = Call::server("shop", "GET /").takes(5 + n % 4);
        let shop = shop.with(Call::client("call").with(cart));
        if !n.is_multiple_of(20) {
            return shop;
        }
        let mail = Call::server("mail", "POST /mail").takes(mail);
        shop.with(Call::client("call").with(mail))
    };
    let before = |n: u64| site(n, if n < 1_000 { 5 } else { 2_000 }, 4);
    let mail_now = |n: u64| if n.is_multiple_of(40) { 5 } else { 2_000 };
    for (cart, answered) in [(60, true), (4, false)] {
        let now = (0..300).map(|n| site(n, mail_now(n), cart)).collect();
        let ranking = ranked((0..2_000).map(before).collect(), now);
        assert_eq!(
            ranking.verdict == Verdict::Enough,
            answered,
            "{cart} ms: {ranking:#?}"
        );
        if answered {
            assert_eq!(first(&ranking), "cart");
            let confidence = ranking.suspects[0].confidence;
            assert!(confidence < 0.75, "{confidence}: {ranking:#?}");
        }
    }
}

#[test]
fn a_few_bad_answers_of_many_weigh_as_a_few_failures_of_many() {
    // One in four requests touches mail, and some of these get a wrong answer; the cart takes fifteen times as long.
    let site = |n: u64, cart: u64| {
        let cart = Call::server("cart", "GET /cart").takes(cart + n % 3);
        let shop = Call::server("shop", "GET /").takes(5 + n % 4);
        let shop = shop.with(Call::client("call").with(cart));
        let mail = Call::server("mail", "POST /mail").takes(3);
        match n % 4 {
            0 => shop.with(Call::client("call").with(mail)),
            _ => shop,
        }
    };
    for (wrong, lead) in [(10, "cart"), (90, "mail")] {
        let before = (0..800).map(|n| site(n, 4)).collect();
        let now = (0..400).map(|n| site(n, 60)).collect();
        let mut input = input(before, now);
        let mail = service(&input, "mail");
        let cases = input.window.iter_mut().chain(&mut input.baseline);
        cases.for_each(|case| case.of_incident = true);
        with_wrong_mails(&mut input.window, &input.rows, mail, wrong);
        let ranking = rank(Method::Default, &input);
        assert_eq!(first(&ranking), lead, "{wrong} wrong: {ranking:#?}");
    }
}

/// `wrong` of these requests that touch mail ended badly, though nothing failed inside.
fn with_wrong_mails(cases: &mut Vec<Case>, rows: &[InputRow], mail: usize, wrong: u64) {
    let touching = |case: &&mut Case| rows[case.row].state_of(mail).is_some();
    let good = cases.iter_mut().find(touching).expect("a case");
    good.count -= wrong;
    let bad = Case {
        outcome: Outcome::Failed,
        count: wrong,
        ..*good
    };
    cases.push(bad);
}

#[test]
fn wrong_answers_as_frequent_as_before_are_no_answer() {
    let site = |n: u64| {
        let shop = page(n, false);
        let mail = Call::server("mail", "POST /mail").takes(3);
        match n % 4 {
            0 => shop.with(Call::client("call").with(mail)),
            _ => shop,
        }
    };
    for (before, now, answered) in [(40, 20, false), (0, 20, true), (40, 60, true)] {
        let mut input = input((0..800).map(site).collect(), (0..400).map(site).collect());
        let mail = service(&input, "mail");
        let Input {
            window,
            baseline,
            rows,
            ..
        } = &mut input;
        // Only what touches mail is the incident's.
        for case in window.iter_mut().chain(baseline.iter_mut()) {
            case.of_incident = rows[case.row].state_of(mail).is_some();
        }
        with_wrong_mails(window, rows, mail, now);
        if before > 0 {
            with_wrong_mails(baseline, rows, mail, before);
        }
        let ranking = rank(Method::Default, &input);
        assert_eq!(first(&ranking), "mail");
        let confidence = ranking.suspects[0].confidence;
        assert!(confidence > 0.75, "{confidence}: no test of the ground");
        assert_eq!(
            ranking.verdict == Verdict::Enough,
            answered,
            "{before} wrong before, {now} now: {ranking:#?}"
        );
    }
}

#[test]
fn usual_failures_do_not_answer_for_requests_that_stopped() {
    // The cart fails in one of a hundred pages, and by chance in three of ninety now.
    for (stopped, culprit) in [("mail", Some("mail")), ("cart", None)] {
        let mails = (0..200).map(|n| {
            let mail = Call::server("mail", "POST /mail").takes(3);
            Call::server("shop", "POST /").with(Call::client("call").takes(n % 3).with(mail))
        });
        let pages = |count: u64, one_in: u64| (0..count).map(move |n| page(n, n % one_in == 0));
        let mut input = input(
            pages(600, 100).chain(mails).collect(),
            pages(90, 30).collect(),
        );
        // As many pages go on as stopped, where it is pages that stopped.
        let stopped = service(&input, stopped);
        let touching =
            |case: &&Case| case.is_ok() && input.rows[case.row].state_of(stopped).is_some();
        let missing = *input.baseline.iter().find(touching).expect("a case");
        input.missing = vec![Case {
            count: 90,
            ..missing
        }];
        let ranking = rank(Method::Default, &input);
        assert_eq!(
            ranking.verdict == Verdict::Enough,
            culprit.is_some(),
            "{ranking:#?}"
        );
        if let Some(culprit) = culprit {
            assert_eq!(first(&ranking), culprit);
        }
    }
}

#[test]
fn of_two_that_fail_in_the_same_requests_the_one_below_the_other_is_first() {
    // Zebra is asked by antelope, through one that says that all is well; or beside it, as deep.
    for below in [true, false] {
        let request = |n: u64, fails: bool| {
            let code = if fails { 500 } else { 200 };
            let ask = |callee: Call, code: u16| Call::client("call").http(code).with(callee);
            let deep = Call::server("zebra", "GET /").takes(4 + n % 3).http(code);
            let between = Call::server("middle", "GET /").http(200);
            let between = between.with(ask(deep, code));
            let near = Call::server("antelope", "GET /").takes(3).http(code);
            let page = Call::server("shop", "GET /").takes(5).http(code);
            match below {
                true => page.with(ask(near.with(ask(between, 200)), code)),
                false => page.with(ask(near, code)).with(ask(between, 200)),
            }
        };
        let calm = (0..200).map(|n| request(n, false)).collect();
        let ranking = ranked(calm, (0..12).map(|n| request(n, true)).collect());
        let believed = |name: &str| {
            let mut suspects = ranking.suspects.iter();
            let found = suspects.find(|it| it.components[0].service.as_str() == name);
            found.map_or(0.0, |suspect| suspect.confidence)
        };
        let (zebra, antelope) = (believed("zebra"), believed("antelope"));
        assert!(antelope > 0.0, "{ranking:#?}");
        assert_eq!(zebra > antelope, below, "{zebra} {antelope} {ranking:#?}");
        assert_eq!(first(&ranking) == "zebra", below, "{ranking:#?}");
    }
}

#[test]
fn one_that_fails_and_one_that_is_slow_are_both_named() {
    let page = |n: u64, late: u64, fails: bool| {
        let code = if fails { 500 } else { 200 };
        let cart = Call::server("cart", "GET /cart").takes(4).http(code);
        let price = Call::server("price", "GET /price").takes(6 + n % 5 + late);
        let shop = Call::server("shop", "GET /").takes(5 + n % 4).http(code);
        let shop = shop.with(Call::client("call").http(code).with(cart));
        shop.with(Call::client("call").with(price))
    };
    // (how late the price is; one of so many fails)
    for (late, one_in) in [(40, 3), (4_000, 12), (12, 2)] {
        let calm = (0..300).map(|n| page(n, 0, false)).collect();
        let with = (0..120).map(|n| page(n, late, n % one_in == 0)).collect();
        let ranking = ranked(calm, with);
        let named = ranking
            .suspects
            .iter()
            .take(3)
            .map(|suspect| suspect.components[0].service.as_str());
        let named: Vec<&str> = named.collect();
        for culprit in ["cart", "price"] {
            assert!(
                named.contains(&culprit),
                "{late} {one_in}: {named:?} {ranking:#?}"
            );
        }
        let sum: f64 = ranking
            .suspects
            .iter()
            .map(|suspect| suspect.confidence)
            .sum();
        assert!(sum <= 1.0 + 1e-9, "{sum}");
    }
}
