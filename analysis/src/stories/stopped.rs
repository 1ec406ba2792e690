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
            self.passes_one(Fault::None, comes);
        }
        self
    }

    /// One request, or none, and the time until the next.
    fn passes_one(&mut self, fault: Fault, comes: Comes) {
        let trace = self.make(fault);
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
            let until = site.now.plus(Duration::from_secs(1));
            let restart = restart_of_catalog(site.now, Some(until));
            site.analyzer.intervene(restart);
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
fn what_is_missing_can_be_asked_of_any_stretch() {
    let mut site = Site::new();
    let search = [of_web("GET /search")];
    let ago = |site: &Site, from: u64, until: u64| {
        let at = |seconds| site.now.minus(Duration::from_secs(seconds));
        let told = site.analyzer.told(&search, at(from), at(until), at(until));
        ((told.ok, told.failed), told.missing())
    };
    site.passes(600, Comes::All);
    assert_eq!(ago(&site, 60, 0).1, 0);
    // A third of ten a second.
    site.passes(60, Comes::AllBut("GET /search"));
    let ((ok, bad), missed) = ago(&site, 50, 0);
    assert_eq!((ok, bad), (0, 0));
    assert!((150..=180).contains(&missed), "{missed}");
    let all_missing = |site: &Site, types: &[RequestType]| {
        let told = site.analyzer.told(types, UnixNanos(0), site.now, site.now);
        told.missing()
    };
    assert_eq!(all_missing(&site, &[of_web("POST /bid")]), 0);
    assert_eq!(ago(&site, 600, 70).1, 0, "before it stopped");
    // The restart cures it. What would come while it lasts, and right after it, is not missed.
    let until = site.now.plus(Duration::from_secs(1));
    let restart = restart_of_catalog(site.now, Some(until));
    site.analyzer.intervene(restart);
    site.passes(11, Comes::AllBut("GET /search"));
    assert_eq!(ago(&site, 11, 0), ((0, 0), 0));
    site.passes(20, Comes::All);
    let ((ok, bad), missed) = ago(&site, 20, 0);
    assert!(ok >= 60 && bad == 0 && missed <= 3, "{ok} {bad} {missed}");
    // Where all is silent, nobody knows.
    site.passes(60, Comes::Nothing);
    assert_eq!(ago(&site, 60, 0).1, 0);
    site.passes(1, Comes::All);
    assert_eq!(ago(&site, 55, 1).1, 0);
    // When it is over, what was missing is remembered, and nothing more is expected.
    site.passes(90, Comes::All);
    assert_eq!(site.open(), 0);
    let all = all_missing(&site, &[]);
    assert!((160..=260).contains(&all), "{all}");
    site.passes(1_000, Comes::All);
    assert_eq!(all_missing(&site, &[]), 0);
}

#[test]
fn what_fails_first_and_then_hangs_is_missed() {
    let mut site = Site::new();
    site.passes(600, Comes::All);
    for _ in 0..300 {
        site.passes_one(Fault::SearchRaises, Comes::All);
    }
    assert_eq!(site.open(), 1, "it fails");
    let from = site.now;
    site.passes(60, Comes::AllBut("GET /search"));
    assert_eq!(site.open(), 1);
    let search = [of_web("GET /search")];
    let told = site.analyzer.told(&search, from, site.now, site.now);
    assert!((180..=220).contains(&told.missing()), "{told:?}");
    let incident = site.analyzer.incidents().last().expect("one");
    assert!(incident.missing > 100.0, "{incident:?}");
}

#[test]
fn a_pause_that_a_restart_made_is_no_habit() {
    let mut site = Site::new();
    site.passes(600, Comes::All);
    let until = site.now.plus(Duration::from_secs(30));
    let restart = restart_of_catalog(site.now, Some(until));
    site.analyzer.intervene(restart);
    site.passes(30, Comes::AllBut("GET /search"))
        .passes(60, Comes::All);
    assert_eq!(site.open(), 0);
    site.passes(20, Comes::AllBut("GET /search"));
    assert_eq!(site.open(), 1);
}

fn of_web(operation: &str) -> RequestType {
    RequestType {
        service: "web".into(),
        operation: operation.into(),
    }
}

fn restart_of_catalog(from: UnixNanos, until: Option<UnixNanos>) -> Intervention {
    Intervention {
        kind: InterventionKind::Restart,
        target: Selector(vec![("service.name".into(), "catalog".into())]),
        from,
        until,
        began: Life::default(),
        ended_by: None,
        reference: "action-1".into(),
    }
}

#[test]
fn what_is_being_restarted_is_not_missed() {
    let mut site = Site::new();
    site.passes(600, Comes::All);
    let restart = restart_of_catalog(site.now, None);
    site.analyzer.intervene(restart);
    site.passes(20, Comes::AllBut("GET /search"));
    assert_eq!(site.open(), 0);
}

#[test]
fn what_hangs_after_a_restart_or_a_blind_time_is_missed_from_its_end_on() {
    for kind in [InterventionKind::Restart, InterventionKind::Blind] {
        let mut site = Site::new();
        site.passes(600, Comes::All);
        let from = site.now;
        let shadow = |until: Option<UnixNanos>| Intervention {
            kind,
            ..restart_of_catalog(from, until)
        };
        let seconds = 20;
        let until = from.plus(Duration::from_secs(seconds));
        if kind == InterventionKind::Restart {
            site.analyzer.intervene(shadow(None));
            site.passes(seconds, Comes::AllBut("GET /search"));
        } else {
            site.now = until;
        }
        site.analyzer.intervene(shadow(Some(until)));
        site.passes(10, Comes::AllBut("GET /search"));
        assert_eq!(site.open(), 0, "{kind:?}: it may be warming up");
        site.passes(15, Comes::AllBut("GET /search"));
        assert_eq!(site.open(), 1, "{kind:?}");
        let incident = site.analyzer.incidents().last().expect("noticed");
        assert!(incident.missing < 90.0, "{kind:?}: {incident:?}");
    }
}

#[test]
fn requests_that_fail_now_and_then_have_come_back_all_the_same() {
    // One in thirty searches fails, always.
    let mut site = Site::new();
    let passes = |site: &mut Site, seconds: u64, comes: Comes| {
        for _ in 0..seconds * 10 {
            let fails = (site.n + 1).is_multiple_of(90);
            let fault = if fails {
                Fault::SearchRaises
            } else {
                Fault::None
            };
            site.passes_one(fault, comes);
        }
    };
    passes(&mut site, 600, Comes::All);
    assert_eq!(site.open(), 0, "{:?}", site.analyzer.incidents());
    // One that fails is among the first that come back.
    passes(&mut site, 29, Comes::AllBut("GET /search"));
    assert_eq!(site.open(), 1);
    passes(&mut site, 90, Comes::All);
    assert_eq!(site.open(), 0, "{:?}", site.analyzer.incidents());
}
