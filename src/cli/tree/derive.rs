//! A first tree from what was observed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;

use rekindle_analysis::AnalysisConfig;
use rekindle_ingest::KeepAttributes;
use rekindle_model::{Span, Trace};
use rekindle_recovery::tree::failure_map::{Edge, FailureMap};
use serde::Serialize;

use crate::cli::Failure;
use crate::cli::recorded::recorded;
use crate::cli::terminal::Terminal;
use crate::client::Client;
use crate::exit::Exit;
use crate::propagation::Pairs;
use crate::view::{ActionResult, ComponentView, Level, UnitView, View};
use crate::words;

/// Services and components that a tree is derived from: telemetry is written by strangers, and a person
/// reviews no more than this.
const MAX_COMPONENTS: usize = 2000;

/// So many instances of a service are counted: beyond that, how many they are changes nothing.
const MAX_INSTANCES: usize = 100;

/// A component as it was seen: its service, and its code component where it has one.
type Seat = (String, Option<String>);

/// What was seen in traces.
#[derive(Default)]
struct Observed {
    /// From what, for people.
    from: String,
    seats: Vec<Seat>,
    /// The instances of each service.
    instances: BTreeMap<String, BTreeSet<String>>,
    /// Traces that touched each, where that was counted.
    touched: Vec<u64>,
    map: FailureMap,
    /// Who fails when another does, of units that there are already.
    known: Vec<String>,
    /// How long a restart of each took, in milliseconds, of those that were restarted as units that there are already.
    downtimes: BTreeMap<Seat, Vec<u64>>,
    left_out: u64,
}

/// Prints a first tree.
pub(in crate::cli) fn derive(
    terminal: &mut Terminal,
    client: &Client,
    inputs: &[PathBuf],
) -> Result<Exit, Failure> {
    let observed = if inputs.is_empty() {
        of_daemon(
            &client.get::<Vec<ComponentView>>("/components")?,
            &client.get("/view")?,
        )
    } else {
        let routes = AnalysisConfig::default().health_routes;
        let keep = KeepAttributes::default().with_routes(routes);
        observe(&recorded(inputs, &keep)?.traces)
    };
    if observed.seats.is_empty() {
        return Err(Failure::Usage(format!(
            "there is nothing to make a tree of: no component is in {}; send traces first, or name files with some",
            observed.from
        )));
    }
    let yaml = yaml(&observed);
    terminal.answer(&Derived::of(&observed, &yaml), |terminal, _| {
        yaml.lines().try_for_each(|line| terminal.line(line))
    })?;
    Ok(Exit::Ok)
}

/// A derived tree for programs.
#[derive(Debug, Serialize)]
struct Derived {
    /// A configuration that can be loaded as it is.
    configuration: serde_json::Value,
    /// What the configuration has no words for.
    notes: Vec<String>,
}

impl Derived {
    fn of(observed: &Observed, yaml: &str) -> Self {
        let fails = observed.map.edges.iter().map(|edge| {
            format!(
                "when {} fails, {}",
                label(&observed.seats[edge.source]),
                observed.follows(edge)
            )
        });
        Self {
            // It was made here, and a test reads it back.
            configuration: serde_saphyr::from_str(yaml).unwrap_or_default(),
            notes: observed.notes().into_iter().chain(fails).collect(),
        }
    }
}

fn seat(span: &Span) -> Seat {
    let component = span.attribute("code.namespace").map(str::to_owned);
    (span.resource.service.to_string(), component)
}

/// What a daemon has seen since it runs.
fn of_daemon(components: &[ComponentView], view: &View) -> Observed {
    let seats: BTreeSet<Seat> = components
        .iter()
        .filter_map(|component| {
            let service = component.service.clone();
            match component.level {
                Level::Service => Some((service, None)),
                Level::CodeComponent => Some((service, Some(component.name.clone()))),
                _ => None,
            }
        })
        .collect();
    let known = view.tree.iter().flat_map(UnitView::why_it_fails);
    let mut instances: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let all = components.iter().take(MAX_COMPONENTS);
    for component in all.filter(|it| it.level == Level::Instance) {
        let of_service = instances.entry(component.service.clone()).or_default();
        of_service.insert(component.name.clone());
    }
    Observed {
        instances,
        downtimes: downtimes(view),
        from: format!("{} requests that the daemon saw", view.status.requests),
        left_out: seats.len().saturating_sub(MAX_COMPONENTS) as u64,
        seats: seats.into_iter().take(MAX_COMPONENTS).collect(),
        known: known.collect(),
        ..Observed::default()
    }
}

/// How long the last restarts took of the services and components that units are made of, each by itself.
fn downtimes(view: &View) -> BTreeMap<Seat, Vec<u64>> {
    let mut all: BTreeMap<Seat, Vec<u64>> = BTreeMap::new();
    for unit in &view.tree {
        let mut selector = unit.selector.clone();
        let Some(service) = selector.remove("service.name") else {
            continue;
        };
        let seat = (service, selector.remove("code.namespace"));
        // What asks for more is one of several.
        if !selector.is_empty() {
            continue;
        }
        let actions = view.recovery.actions.iter();
        let done = actions
            .filter(|it| it.unit == unit.name && it.result == Some(ActionResult::Done))
            .filter_map(|it| it.downtime_ms);
        all.entry(seat).or_default().extend(done);
    }
    all.values_mut().for_each(|took| took.sort_unstable());
    all
}

fn observe(traces: &[Trace]) -> Observed {
    let mut numbers: BTreeMap<Seat, usize> = BTreeMap::new();
    let mut touched: Vec<u64> = Vec::new();
    let mut instances: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut left_out = 0;
    let mut pairs = Pairs::default();
    for trace in traces {
        let spans = trace.spans();
        let of_span: Vec<Option<usize>> = spans
            .iter()
            .map(|span| {
                let seat = seat(span);
                let next = numbers.len();
                if next >= MAX_COMPONENTS && !numbers.contains_key(&seat) {
                    left_out += 1;
                    return None;
                }
                if let Some(instance) = &span.resource.instance {
                    let of_service = instances.entry(seat.0.clone()).or_default();
                    if of_service.len() < MAX_INSTANCES && !of_service.contains(&**instance) {
                        of_service.insert(instance.to_string());
                    }
                }
                let number = *numbers.entry(seat).or_insert(next);
                touched.resize(touched.len().max(number + 1), 0);
                Some(number)
            })
            .collect();
        let here: BTreeSet<usize> = of_span.iter().copied().flatten().collect();
        for number in &here {
            touched[*number] += 1;
        }
        pairs.add(trace, &of_span, 1);
    }
    let mut seats = vec![Seat::default(); numbers.len()];
    for (seat, number) in numbers {
        seats[number] = seat;
    }
    Observed {
        from: format!("{} traces", traces.len()),
        seats,
        instances,
        touched,
        map: pairs.map(&FailureMap::default()),
        left_out,
        ..Observed::default()
    }
}

/// A name that a unit may have. Telemetry's names may be anything.
fn unit_name(text: &str) -> String {
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-');
    let name: String = text
        .chars()
        .take(60)
        .map(|c| if fits(c) { c } else { '-' })
        .collect();
    if name.is_empty() {
        "unnamed".to_owned()
    } else {
        name
    }
}

/// A name for a code component's unit below another.
pub(super) fn part_name(whole: &str, component: &str) -> String {
    let own = unit_name(component);
    match own.starts_with(whole) {
        true => own,
        false => format!("{whole}.{own}"),
    }
}

fn label((service, component): &Seat) -> String {
    match component {
        Some(component) => format!("{}/{}", unit_name(service), unit_name(component)),
        None => unit_name(service),
    }
}

impl Observed {
    /// What is to be known of the whole.
    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.left_out > 0 {
            notes.push(format!(
                "{} more were left out: there are more than {MAX_COMPONENTS} components.",
                self.left_out
            ));
        }
        for sentence in &self.known {
            notes.push(format!("Of the units that there are: {sentence}"));
        }
        for group in &self.map.groups {
            let names: Vec<String> = group.iter().map(|at| label(&self.seats[*at])).collect();
            notes.push(format!(
                "They make each other fail, so restart them together: {}",
                names.join(", ")
            ));
        }
        notes
    }

    /// What a component's restart costs, where that was measured: in the middle of those that were.
    fn expected_downtime(&self, seat: &Seat) -> Option<String> {
        let took = self.downtimes.get(seat)?;
        let before = took.len().checked_sub(1)? / 2;
        let middle = (took[before] + took[took.len() / 2]) / 2;
        let restarts = words::number_of(took.len(), "restart");
        Some(format!(
            "expected_downtime: {middle}ms   # measured: the median of {restarts}"
        ))
    }

    /// Who fails with another.
    fn follows(&self, edge: &Edge) -> String {
        format!(
            "{} fails, too, {:.0} times in a hundred",
            label(&self.seats[edge.target]),
            100.0 * edge.share
        )
    }
}

fn yaml(observed: &Observed) -> String {
    let mut text = String::new();
    // Writing to a String can't fail.
    let mut line = |line: String| {
        let _ = writeln!(text, "{line}");
    };
    for words in [
        format!("# A first restart tree, from {}. It can be loaded as it is, and only observes:", observed.from),
        "# suspects are told with their unit, and nothing can be restarted. Say for each unit how it is restarted".to_owned(),
        "# (process, http, command, docker, kubernetes, systemd), take out what can't be, then raise the mode to propose.".to_owned(),
        "# `rekindle check-config` and `rekindle tree lint` say what is missing.".to_owned(),
    ] {
        line(words);
    }
    for note in observed.notes() {
        line(format!("# {note}"));
    }
    line("restart:\n  mode: observe\n  tree:\n    - unit: everything\n      units:".to_owned());
    let mut services: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, (service, _)) in observed.seats.iter().enumerate() {
        services.entry(service).or_default().push(at);
    }
    let mut taken: BTreeSet<String> = BTreeSet::from(["everything".to_owned()]);
    let mut unique = |wanted: String| {
        let mut name = wanted.clone();
        let mut count = 2;
        while !taken.insert(name.clone()) {
            name = format!("{wanted}-{count}");
            count += 1;
        }
        name
    };
    for (service, seats) in services {
        line(format!("        - unit: {}", unique(unit_name(service))));
        line(format!(
            "          match: {}",
            serde_json::json!({ "service.name": service })
        ));
        line("          # command: { run: [program, argument] }".to_owned());
        if let Some(cost) = observed.expected_downtime(&(service.to_owned(), None)) {
            line(format!("          {cost}"));
        }
        let instances = observed.instances.get(service).map_or(0, BTreeSet::len);
        if instances > 1 {
            line(format!(
                "          # {instances} instances were seen, those before a restart included: replicas are a template's (processes, containers, services or pods)"
            ));
        }
        let parts: Vec<usize> = seats
            .into_iter()
            .filter(|at| observed.seats[*at].1.is_some())
            .collect();
        if !parts.is_empty() {
            line("          units:".to_owned());
        }
        for at in parts {
            let component = observed.seats[at].1.clone().unwrap_or_default();
            let name = part_name(&unit_name(service), &component);
            let touched = observed.touched.get(at);
            let seen = touched.map_or_else(String::new, |count| format!("   # in {count} traces"));
            line(format!("            - unit: {}{seen}", unique(name)));
            line(format!(
                "              match: {}",
                serde_json::json!({ "code.namespace": component })
            ));
            line(
                "              # http: { post: \"http://127.0.0.1:PORT/microreboot\" }".to_owned(),
            );
            if let Some(cost) = observed.expected_downtime(&observed.seats[at]) {
                line(format!("              {cost}"));
            }
            for edge in observed.map.edges.iter().filter(|edge| edge.source == at) {
                line(format!(
                    "              # when it fails, {}",
                    observed.follows(edge)
                ));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::cli::tree::lint::{NO_WAY, findings, unseen};
    use crate::config::Overrides;
    use crate::daemon::tree_of;
    use crate::view::{ActionView, FailsWithView};

    #[test]
    fn a_daemon_is_asked_for_what_it_saw_and_for_who_fails_with_whom() {
        let component = |level, service: &str, name: &str| ComponentView {
            level,
            service: service.to_owned(),
            name: name.to_owned(),
        };
        let shown = [
            component(Level::CodeComponent, "shop", "shop.cart"),
            component(Level::Service, "shop", "shop"),
            component(Level::Instance, "shop", "shop-7f"),
            component(Level::Instance, "shop", "shop-80"),
            component(Level::Instance, "bank", "bank-1"),
            component(Level::Service, "bank", "bank"),
        ];
        let mut view = View::default();
        view.status.requests = 1234;
        view.tree.push(UnitView {
            name: "cart".to_owned(),
            fails_with: vec![FailsWithView {
                unit: "stock".to_owned(),
                share: 0.87,
            }],
            ..UnitView::default()
        });
        // Of three restarts of the cart, one of which was refused, and none of the bank.
        for (name, selector) in [
            (
                "cart",
                json!({"service.name": "shop", "code.namespace": "shop.cart"}),
            ),
            (
                "shop-7f",
                json!({"service.name": "shop", "service.instance.id": "shop-7f"}),
            ),
        ] {
            view.tree.push(UnitView {
                name: name.to_owned(),
                selector: serde_json::from_value(selector).expect("a selector"),
                ..UnitView::default()
            });
        }
        for (unit, result, took) in [
            ("cart", ActionResult::Done, Some(420)),
            ("cart", ActionResult::Refused, Some(9)),
            ("cart", ActionResult::Done, Some(500)),
            ("shop-7f", ActionResult::Done, Some(7000)),
        ] {
            view.recovery.actions.push(ActionView {
                unit: unit.to_owned(),
                result: Some(result),
                downtime_ms: took,
                ..ActionView::default()
            });
        }
        let text = yaml(&of_daemon(&shown, &view));
        for words in [
            "from 1234 requests that the daemon saw",
            "# Of the units that there are: when stock fails, cart fails, too, at least 87 times",
            "            - unit: shop.cart\n",
            "# 2 instances were seen, ",
            "              expected_downtime: 460ms   # measured: the median of 2 restarts\n",
        ] {
            assert!(text.contains(words), "{words}:\n{text}");
        }
        assert!(!text.contains("1 instances"), "{text}");
        assert_eq!(text.matches("expected_downtime").count(), 1, "{text}");
        let read: serde_json::Value = serde_saphyr::from_str(&text).expect("YAML");
        let derived = Derived::of(&of_daemon(&shown, &view), &text);
        assert_eq!(derived.configuration, read);
        assert_eq!(derived.notes.len(), 1, "{derived:?}");
        // What was derived can be loaded as it is, and what is missing is told.
        let config = crate::config::Config::parse("r", &text, &Overrides::default(), &|_| None);
        let tree = tree_of(&config.expect("a configuration")).expect("a tree");
        let cart = tree.spec(&"shop.cart".into()).expect("the cart");
        assert_eq!(cart.expected_downtime, Some(Duration::from_millis(460)));
        assert_eq!(unseen(&tree, 0, &[]), []);
        assert_eq!(unseen(&tree, 1234, &shown), []);
        let without_the_cart = unseen(&tree, 1234, &shown[1..]);
        assert_eq!(without_the_cart.len(), 1, "{without_the_cart:?}");
        assert_eq!(without_the_cart[0].unit, "shop.cart");
        assert!(without_the_cart[0].words.contains("in the 1234 requests"));
        let missing = findings(&tree, None, None);
        let no_way = missing.iter().filter(|finding| finding.words == NO_WAY);
        assert_eq!(no_way.count(), 4, "{missing:?}");
        let units = &read["restart"]["tree"][0]["units"];
        assert_eq!(units[0]["unit"], "bank");
        assert_eq!(units[1]["units"][0]["match"]["code.namespace"], "shop.cart");
    }

    #[test]
    fn strangers_names_become_unit_names_and_yaml_that_reads() {
        let observed = Observed {
            seats: vec![
                ("shop: }\n".to_owned(), None),
                ("shop: }\n".to_owned(), Some("shop.cart\"#".to_owned())),
                (String::new(), None),
            ],
            touched: vec![3, 2, 1],
            ..Observed::default()
        };
        let text = yaml(&observed);
        let read: serde_json::Value = serde_saphyr::from_str(&text).expect("YAML");
        let units = &read["restart"]["tree"][0]["units"];
        assert_eq!(units[1]["match"]["service.name"], "shop: }\n");
        assert_eq!(
            units[1]["units"][0]["match"]["code.namespace"],
            "shop.cart\"#"
        );
        assert_eq!(units[0]["unit"], "unnamed");
    }
}
