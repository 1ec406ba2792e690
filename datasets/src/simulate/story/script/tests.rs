use super::*;

const TREE: &str = "tree\n  site\n    shop 4s 30/s\n      shop.cart 400ms 10/s\n";

#[test]
fn a_text_is_a_story() {
    let text = format!(
        "{TREE}policy restarts per unit 2\n\
         at 10s every 1m 3 times shop.cart fails 80% until shop is restarted, told as shop 50% shop.cart 40% by one\n\
         at 20s executor of shop.cart hangs # for good\nat 1h end\n"
    );
    let script: Script = text.parse().expect("a story");
    assert_eq!(script.units.len(), 3);
    assert_eq!(script.traffic, [30.0, 30.0, 10.0]);
    assert_eq!(script.units[2].parent, Some("shop".into()));
    assert_eq!(script.policy.restarts_per_unit, 2);
    assert_eq!(script.end, Duration::from_secs(3600));
    let at: Vec<u64> = script.events.iter().map(|it| it.0.as_secs()).collect();
    assert_eq!(at, [10, 20, 70, 130]);
    let fault = Fault {
        unit: "shop.cart".into(),
        share: 0.8,
        ends: Ends::Restart(vec!["shop".into()]),
        told: vec![
            ("shop".into(), 0.5, false),
            ("shop.cart".into(), 0.4, false),
        ],
        reserve: None,
    };
    assert_eq!(script.events[0].1, Event::Fails(fault));
    assert_eq!(
        script.events[1].1,
        Event::Executor("shop.cart".into(), Manner::Hangs)
    );
}

#[test]
fn who_is_suspected_is_so_by_one_where_nobody_is_named() {
    let text = format!("{TREE}at 10s shop fails 80% for 1m by one\n");
    let script: Script = text.parse().expect("a story");
    let Event::Fails(fault) = &script.events[0].1 else {
        panic!("{:?}", script.events);
    };
    assert_eq!(fault.told, [("shop".into(), 0.9, false)]);
}

#[test]
fn what_is_no_story_says_why() {
    for (line, reason) in [
        ("nonsense", "a line begins with"),
        ("at noon approve", "noon is no time"),
        ("at 10s bank fails 80% for 1m", "has no unit bank"),
        ("at 10s aprove", "nothing else happens but approve"),
        ("at 10s approve plan two", "two is not a plan's number"),
        (
            "at 10s shop fails 80% for 1m, told as shop 60% shop.cart 50%",
            "not to 110 %",
        ),
        ("at 10s infer shop 90%", "it takes two units"),
        ("at 10s shop fails much for 1m", "much is no share"),
        ("at 10s shop fails 80% forever", "for a time, or until"),
        ("at 10s approve twice", "nothing may follow"),
        ("at 10s approve\nat 5s end", "the story ends at 5 s"),
        ("tree\n  shop 2s", "in the tree already"),
        ("tree\n  bank 2s", "bank stands beside site"),
        ("at 10s executor of shop sings", "sings is none of works"),
        ("at 10s shop fails 80% for 1m with luck", "luck is none of"),
        ("at 1s every 1h 4000000000 times approve", "too many"),
        ("at 10s clock -500ms", "no whole number of seconds"),
        ("at 9000000h approve", "is no time"),
        ("policy be kind", "of the policy there is"),
    ] {
        let error = format!("{TREE}{line}\n").parse::<Script>().expect_err(line);
        let is_tree = line.starts_with("tree");
        assert_eq!(error.line, if is_tree { 6 } else { 5 }, "{error}");
        assert!(error.to_string().contains(reason), "{error}");
    }
}

#[test]
fn units_that_are_no_tree_are_named_with_their_line() {
    for (text, line, reason) in [
        (
            "tree\n  site\n    shop 4s\n    bank\nat 1s kill\n",
            4,
            "bank can't be restarted",
        ),
        ("at 1s kill\n", 1, "a story has a tree"),
    ] {
        let error = text.parse::<Script>().expect_err("no tree");
        assert_eq!(error.line, line, "{error}");
        assert!(error.to_string().contains(reason), "{error}");
    }
}

#[test]
fn what_a_person_and_time_weigh_is_the_story_s_to_say() {
    let text = format!(
        "{TREE}policy person comes after 2m\npolicy wait 5s\npolicy in flight 1s\nat 1s approve plan 7\n"
    );
    let script: Script = text.parse().expect("a story");
    let policy = &script.policy;
    let weighed = [policy.human_response, policy.wait, policy.in_flight];
    assert_eq!(weighed.map(|it| it.as_secs()), [120, 5, 1]);
    assert_eq!(script.events[0].1, Event::Approve(Some(7)));
}
