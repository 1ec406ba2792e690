//! Stories of requests that stop coming, because what they wait for never answers.

use super::*;

/// What of the traffic comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comes {
    All,
    /// Requests of this operation hang.
    AllBut(&'static str),
    Nothing,
}

impl Site {
    /// Lets time pass; what doesn't come has neither failed nor ended.
    fn passes(&mut self, seconds: u64, comes: Comes) -> &mut Self {
        for _ in 0..seconds * 10 {
            let trace = self.make(Fault::None);
            let entry = trace.spans()[0].name.clone();
            match comes {
                Comes::Nothing => {
                    let now = self.now;
                    self.changes.extend(self.analyzer.tick(now));
                }
                Comes::AllBut(name) if entry.as_str() == name => {}
                Comes::All | Comes::AllBut(_) => self.take(&trace),
            }
        }
        self
    }

    fn open(&self) -> usize {
        let incidents = self.analyzer.incidents().iter();
        incidents.filter(|incident| incident.is_open()).count()
    }
}

#[test]
fn who_makes_requests_stop_is_named() {
    for (stopped, culprits) in [
        ("GET /search", &["search"][..]),
        ("GET /item/17", &["item"]),
        // Nobody else asks any of the three.
        ("POST /bid", &["accounts", "bidding", "place"]),
    ] {
        let mut site = Site::new();
        site.passes(600, Comes::All);
        site.passes(30, Comes::AllBut(stopped));
        let incident = site.analyzer.incidents().last().expect("noticed").clone();
        assert_eq!(site.open(), 1, "{stopped}");
        assert_eq!(incident.request_types.len(), 1, "{incident:?}");
        assert!(incident.bad == 0 && incident.ok <= 1, "{incident:?}");
        // A third of ten a second, for half a minute.
        assert!((70.0..=100.0).contains(&incident.missing), "{incident:?}");
        assert!(
            (2.5..=3.4).contains(&incident.failing_per_second),
            "{incident:?}"
        );
        let ranking = site.ranking();
        assert_eq!(ranking.verdict, Verdict::Enough, "{ranking:#?}");
        let suspect = first(&ranking);
        assert_eq!(suspect.shape, Shape::Unanswered);
        let names: Vec<&str> = ranking
            .suspects
            .iter()
            .flat_map(|suspect| &suspect.components)
            .map(|component| component.name.as_str())
            .collect();
        assert!(culprits.contains(&names[0]), "{stopped}: {names:?}");
        assert!(
            culprits.iter().all(|name| names.contains(name)),
            "{stopped}: {names:?}"
        );
        assert!(!names.contains(&"web"), "{stopped}: {names:?}");
        assert!(
            suspect.sentence.contains("did not come"),
            "{}",
            suspect.sentence
        );
    }
}

#[test]
fn when_all_is_silent_we_may_be_deaf() {
    let mut site = Site::new();
    site.passes(600, Comes::All).passes(120, Comes::Nothing);
    assert!(site.analyzer.incidents().is_empty());
    // Nor is it a pause to get used to.
    site.passes(60, Comes::All)
        .passes(20, Comes::AllBut("GET /search"));
    assert_eq!(site.open(), 1);
}

#[test]
fn a_silence_that_ended_by_itself_becomes_a_habit_and_one_that_was_cured_does_not() {
    for cured in [false, true] {
        let mut site = Site::new();
        site.passes(600, Comes::All)
            .passes(20, Comes::AllBut("GET /search"));
        assert_eq!(site.open(), 1);
        if cured {
            site.analyzer.intervene(Intervention {
                kind: InterventionKind::Restart,
                target: Selector(vec![("service.name".into(), "catalog".into())]),
                from: site.now,
                until: Some(site.now.plus(Duration::from_secs(1))),
                reference: "action-1".into(),
            });
        }
        site.passes(90, Comes::All);
        assert_eq!(site.open(), 0, "{:?}", site.analyzer.incidents());
        site.passes(300, Comes::All)
            .passes(20, Comes::AllBut("GET /search"));
        assert_eq!(site.open(), usize::from(cured), "cured: {cured}");
    }
}

#[test]
fn a_type_that_is_gone_for_good_is_let_go() {
    let mut site = Site::new();
    site.passes(600, Comes::All);
    site.passes(2_000, Comes::AllBut("GET /search"));
    let incidents = site.analyzer.incidents();
    assert_eq!(incidents.len(), 1, "{incidents:?}");
    let closing = incidents[0].closed.expect("closed");
    assert_eq!(closing.reason, crate::ClosingReason::Silent);
}

#[test]
fn what_is_being_restarted_is_not_missed() {
    let mut site = Site::new();
    site.passes(600, Comes::All);
    site.analyzer.intervene(Intervention {
        kind: InterventionKind::Restart,
        target: Selector(vec![("service.name".into(), "catalog".into())]),
        from: site.now,
        until: None,
        reference: "action-1".into(),
    });
    site.passes(20, Comes::AllBut("GET /search"));
    assert_eq!(site.open(), 0);
}
