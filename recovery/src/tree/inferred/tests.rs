use std::time::SystemTime;

use super::*;
use crate::Mode;
use crate::tree::propose::Attempt;
use crate::tree::tests::tree;

const SITE: &str = "
site - auto @min=2
  shop process
    shop.cart
    shop.search
  bank process @loses=5
    bank.pay propose
  mail process @together=log
  log process
";

fn group(members: &[&str]) -> Group {
    Group {
        members: members.iter().map(|it| UnitName::from(*it)).collect(),
        share: 0.5,
        is_proven: true,
        why: String::new(),
    }
}

fn inferred(groups: &[&[&str]], orders: &[(&str, &str)]) -> Inferred {
    let orders = orders.iter();
    Inferred {
        groups: groups.iter().map(|members| group(members)).collect(),
        orders: orders.map(|(a, b)| ((*a).into(), (*b).into())).collect(),
    }
}

fn names(units: Vec<&UnitName>) -> String {
    let names: Vec<&str> = units.into_iter().map(UnitName::as_str).collect();
    names.join(" ")
}

#[test]
fn a_group_is_a_unit_that_restarts_its_members_and_nothing_else() {
    let tree = tree(SITE).with_inferred(&inferred(&[&["bank.pay", "shop.cart"]], &[]));
    let pair = UnitName::from("bank.pay+shop.cart");
    let cart = UnitName::from("shop.cart");
    assert_eq!(names(tree.restarts(&pair)), "bank.pay shop.cart");
    // The strictest mode of its members, and no minimum counts it as one more that is up.
    assert_eq!(tree.mode(&pair), Mode::Propose);
    assert_eq!(tree.parent(&pair), Some(&"site".into()));
    assert_eq!(names(tree.children(&"site".into())), "shop bank mail log");
    // One way: a member alone is restarted as before, and can't be while the group is.
    assert_eq!(names(tree.restarts(&cart)), "shop.cart");
    assert!(tree.contains(&pair, &cart) && !tree.contains(&cart, &pair));
    assert!(tree.overlap(&pair, &cart) && tree.overlap(&pair, &"shop".into()));
    assert!(!tree.overlap(&pair, &"shop.search".into()));
    assert!(tree.contains(&"site".into(), &pair) && !tree.contains(&"shop".into(), &pair));
    assert_eq!(tree.groups_of(&cart).count(), 1);
    assert_eq!(tree.groups_of(&"shop".into()).count(), 0);
    // What is told of next takes its place, and nothing is left of it without anything.
    let other = tree.with_inferred(&inferred(&[&["mail", "shop"]], &[]));
    assert!(other.spec(&pair).is_none());
    assert_eq!(names(other.restarts(&"mail+shop".into())), "mail log shop");
    let none = other.with_inferred(&Inferred::default());
    assert_eq!(none.len(), super::super::tests::tree(SITE).len());
}

#[test]
fn what_no_tree_can_have_or_has_already_is_left_out() {
    let tree = tree(SITE);
    for members in [
        &["shop.cart", "stranger"][..],
        &["shop.cart"],
        &["shop.cart", "bank.pay"],
        // One contains the other, they go together anyway, or the whole is the same restart.
        &["shop", "shop.cart"],
        &["log", "mail"],
        &["bank", "log", "shop"],
    ] {
        let grown = tree.with_inferred(&inferred(&[members], &[]));
        assert_eq!(grown.len(), tree.len(), "{members:?}");
    }
    // Twice the same is one, and no more than so many are taken.
    let same = inferred(&[&["bank", "shop"], &["bank", "shop"]], &[]);
    assert_eq!(tree.with_inferred(&same).len(), tree.len() + 1);
    let lines: Vec<String> = (0..MOST + 5)
        .map(|at| format!("  part{at:02} process service.name=part{at:02}"))
        .collect();
    let wide = super::super::tests::tree(&format!("site -\n{}", lines.join("\n")));
    let pairs: Vec<Group> = (1..MOST + 5)
        .map(|at| group(&["part00", &format!("part{at:02}")]))
        .collect();
    let told = Inferred {
        groups: pairs,
        orders: Vec::new(),
    };
    assert_eq!(wide.with_inferred(&told).len(), wide.len() + MOST);
}

#[test]
fn inferred_orders_hold_unless_written_ones_say_otherwise() {
    let text = SITE.replace("bank process", "bank process @before=shop");
    let tree = tree(&text);
    let site = UnitName::from("site");
    assert_eq!(names(tree.restarts(&site)), "bank shop mail log");
    let orders = [("shop", "bank"), ("log", "bank"), ("mail", "stranger")];
    let ordered = tree.with_inferred(&inferred(&[&["bank", "log"]], &orders));
    assert_eq!(names(ordered.restarts(&site)), "mail log bank shop");
    // The group, too, and with it what goes with its members.
    assert_eq!(names(ordered.restarts(&"bank+log".into())), "log bank mail");
}

/// `a! b! site`: what was tried, the last cured.
fn episode(text: &str) -> Episode {
    let attempts = text.split_whitespace().map(|word| {
        let (unit, cured) = match word.strip_suffix('!') {
            Some(unit) => (unit, false),
            None => (word, true),
        };
        Attempt {
            unit: unit.into(),
            began: None,
            at: SystemTime::UNIX_EPOCH,
            cured: Some(cured),
            downtime: None,
            failed_requests: None,
        }
    });
    Episode {
        attempts: attempts.collect(),
        suspect: None,
    }
}

#[test]
fn what_only_more_than_both_cured_goes_together() {
    let pair = "shop.cart! bank.pay! site";
    let grown = "bank.pay+shop.cart";
    let tried = "shop.cart! bank.pay! bank.pay+shop.cart";
    for (texts, expected) in [
        (&[pair, pair][..], None),
        (&[pair, "bank.pay! shop.cart! site", pair], Some((3, 0.43))),
        // The larger of two that were in vain, and one alone is none.
        (&["shop.cart! shop! site"; 4], None),
        // What the site cured otherwise speaks against it.
        (
            &[pair, pair, pair, "mail! site", "mail! site", "mail! site"],
            Some((3, 0.18)),
        ),
        // The group counts where each of it was in vain before, and says nothing where they weren't tried.
        (&[pair, tried, tried, tried], Some((4, 0.51))),
        (&[pair, grown, grown, grown], None),
        (
            &[pair, pair, pair, "bank.pay! bank.pay+shop.cart"],
            Some((3, 0.43)),
        ),
        (&["shop.cart", "bank.pay", "shop.cart", "bank.pay"], None),
    ] {
        let tree = tree(SITE).with_inferred(&inferred(&[&["bank.pay", "shop.cart"]], &[]));
        let episodes: Vec<Episode> = texts.iter().map(|text| episode(text)).collect();
        let found = cured_together(&tree, &episodes);
        let told = found.first().map(|group| {
            let times = group.why.split(' ').next().expect("a number");
            (
                times.parse().expect("a number"),
                (100.0 * group.share).floor() / 100.0,
            )
        });
        assert_eq!(told, expected, "{texts:?} {found:?}");
        assert!(
            found.iter().all(|it| it.name() == grown.into()),
            "{found:?}"
        );
    }
    assert_eq!(
        Group::named(&grown.into()).expect("a group").members,
        group(&["bank.pay", "shop.cart"]).members
    );
    assert_eq!(Group::named(&"shop".into()), None);
}
