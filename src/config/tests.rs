//! Files as people write them, and what they are told.

use std::collections::BTreeMap;
use std::time::Duration;

use rekindle_recovery::{ExecutorSpec, Mode, ProbeSpec, UnitName};

use super::*;

fn environment(name: &str) -> Option<String> {
    (name == "HOME").then(|| "/home/ada".to_owned())
}

fn parse(text: &str) -> Result<Config, String> {
    Config::parse("r.yaml", text, &Overrides::default(), &environment).map_err(|e| e.to_string())
}

#[test]
fn the_demo_s_trees_can_be_read() {
    use rekindle_datasets::deployment::{Deployment, Granularity, Ports};
    let folder = tempfile::tempdir().expect("a folder");
    let site = Deployment::plan(
        folder.path(),
        "http://[::1]:4317",
        None,
        1,
        Ports::From(20_000),
    );
    let site = site.expect("a plan").with_checks();
    for granularity in [
        Granularity::Component,
        Granularity::ProcessOnly,
        Granularity::ProcessAndParts,
    ] {
        let yaml =
            site.to_yaml(granularity, Mode::Auto) + &site.probes_yaml(Duration::from_secs(1));
        assert_eq!(parse(&yaml).err(), None, "{yaml}");
    }
}

/// The default file with its examples turned on.
fn with_examples() -> String {
    let lines = DEFAULT_FILE
        .lines()
        .map(|line| match line.split_once("#:") {
            Some((indent, example)) if indent.trim().is_empty() => format!("{indent}{example}"),
            _ => line.to_owned(),
        });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_default_file_says_the_defaults() {
    assert_eq!(parse(DEFAULT_FILE), Ok(Config::default()));
    assert_eq!(parse(""), Ok(Config::default()));
}

#[test]
fn the_default_file_leaves_no_key_out() {
    let text = with_examples();
    let document = document::parse(&text).expect("YAML");
    let reader = Reader::new(&environment);
    Config::read(&reader, &document, &Overrides::default());
    assert_eq!(reader.never_seen(), Vec::<String>::new());
    let complaints = reader.into_complaints();
    assert_eq!(complaints, [], "{text}");
}

#[test]
fn the_examples_mean_what_they_say() {
    let config = parse(&with_examples()).expect("the examples are right");
    let names: Vec<(&str, Option<&str>)> = config
        .restart
        .tree
        .iter()
        .map(|unit| {
            (
                unit.name.as_str(),
                unit.parent.as_ref().map(UnitName::as_str),
            )
        })
        .collect();
    assert_eq!(
        names,
        [
            ("shop", None),
            ("catalog", Some("shop")),
            ("catalog.search", Some("catalog")),
            ("payments", Some("shop")),
            ("web", Some("shop")),
            ("orders", Some("shop")),
            ("orders.pod", Some("orders")),
            ("orders.container", Some("orders.pod")),
            ("stock", Some("shop")),
            ("search", Some("shop")),
            ("offers", Some("shop")),
            ("jobs", Some("shop")),
            ("resize", Some("shop")),
            ("resize.worker@1", Some("resize")),
            ("resize.worker@2", Some("resize")),
            ("resize.worker@3", Some("resize")),
            ("mail", Some("shop")),
        ]
    );
    let catalog = &config.restart.tree[1];
    assert_eq!(catalog.mode, Some(Mode::Auto));
    assert_eq!(catalog.start_deadline, Duration::from_secs(20));
    assert_eq!(catalog.around.drain, Duration::from_millis(500));
    assert_eq!(catalog.around.longest(), Duration::from_secs(2));
    let Some(ExecutorSpec::Process(process)) = &catalog.executor else {
        panic!("{catalog:?}");
    };
    assert_eq!(
        process.command,
        ["/usr/local/bin/catalog", "--port", "8081"]
    );
    assert_eq!(
        process.environment,
        BTreeMap::from([("CATALOG_DB".to_owned(), "/home/ada/catalog.db".to_owned())])
    );
    assert_eq!(
        catalog.ready,
        Some(ProbeSpec::Http {
            url: "http://127.0.0.1:8081/ready".to_owned(),
            timeout: Duration::from_secs(1),
            status: Some(200),
            contains: Some("ready".to_owned()),
        })
    );
    assert_eq!(
        config.restart.webhook.as_deref(),
        Some("http://127.0.0.1:9000/rekindle")
    );
    let templates = &config.restart.templates;
    let grows = |at: usize| -> (&str, Option<&str>, &str, usize) {
        let template = &templates[at];
        let parent = template.unit.parent.as_ref().map(UnitName::as_str);
        let name = template.unit.name.as_str();
        (name, parent, template.source.kind(), template.most)
    };
    assert_eq!(templates.len(), 3);
    assert_eq!(
        grows(0),
        ("search.replica", Some("search"), "containers", 20)
    );
    assert_eq!(grows(1), ("offers.pod", Some("offers"), "pods", 50));
    assert_eq!(grows(2), ("jobs.worker", Some("jobs"), "services", 50));
    assert_eq!(templates[0].gone_after, Duration::from_secs(120));
    assert_eq!(config.probes.len(), 4);
    assert_eq!(config.analysis.slow[0].after, Duration::from_secs(2));
    assert_eq!(
        config.matched_attributes().into_iter().collect::<Vec<_>>(),
        [
            "code.namespace",
            "k8s.pod.name",
            "service.instance.id",
            "service.name"
        ]
    );
}

#[test]
fn mistakes_are_told_with_their_place_and_what_is_right() {
    let cases: &[(&str, &str)] = &[
        (
            "restrat:\n  mode: auto\n",
            "r.yaml: unknown key `restrat` at line 1, column 1; did you mean `restart`?",
        ),
        (
            "restart:\n  modus: auto\n",
            "r.yaml: unknown key `modus` at line 2, column 3; did you mean `mode`?",
        ),
        (
            "listen:\n  quux: 1\n",
            "r.yaml: unknown key `quux` at line 2, column 3; known in `listen`: grpc, http, api, \
             beyond_loopback, names, speakers",
        ),
        (
            "restart:\n  mode: automatic\n",
            "r.yaml: `restart.mode` at line 2, column 9: \"automatic\" is not known; it must be \
             one of `observe`, `propose`, `auto`; did you mean `auto`?",
        ),
        (
            "analysis:\n  slice: 5\n",
            "r.yaml: `analysis.slice` at line 2, column 10: `5` has no unit; write a duration as \
             in 200ms, 5s or 10m",
        ),
        (
            "analysis:\n  slice: 5 parsecs\n",
            "r.yaml: `analysis.slice` at line 2, column 10: \"5 parsecs\" is no duration; write a \
             number with a unit, as in 200ms, 5s, 10m, 2h or 7d",
        ),
        (
            "analysis:\n  slice: 2m\n",
            "r.yaml: `analysis.slice` at line 2, column 10: it is out of range; it must be from \
             100ms to 1m",
        ),
        (
            "analysis:\n  tolerated_failure_share: 150%\n",
            "r.yaml: `analysis.tolerated_failure_share` at line 2, column 28: \"150%\" is out of \
             range; a share is from 0% to 100%",
        ),
        (
            "ingest:\n  queue: many\n",
            "r.yaml: `ingest.queue` at line 2, column 10: \"many\" is no whole number",
        ),
        (
            "ingest:\n  queue: 0\n",
            "r.yaml: `ingest.queue` at line 2, column 10: `0` is out of range; it must be from 1 \
             to 65536",
        ),
        (
            "ingest:\n  max_request_bytes: 64M\n",
            "r.yaml: `ingest.max_request_bytes` at line 2, column 22: \"64M\" is no size; write a \
             number with a unit, as in 512B, 64MiB or 10GB",
        ),
        (
            "ingest: [1]\n",
            "r.yaml: `ingest` at line 1, column 9: expected a section of `key: value` lines, \
             found a list",
        ),
        (
            "- 1\n",
            "r.yaml: the file at line 1, column 1: expected a section of `key: value` lines, \
             found a list",
        ),
        (
            "state_dir: ${env:NOWHERE}\n",
            "r.yaml: `state_dir` at line 1, column 12: the environment variable NOWHERE is not \
             set; set it, or write `${env:NOWHERE:-DEFAULT}`",
        ),
        (
            "state_dir: 7\n",
            "r.yaml: `state_dir` at line 1, column 12: `7` is no text; put it in quotes",
        ),
        (
            "listen:\n  grpc: localhost\n",
            "r.yaml: `listen.grpc` at line 2, column 9: \"localhost\" is no address; write an IP \
             address and a port, as in 127.0.0.1:4317 or [::1]:4317",
        ),
        (
            "listen:\n  api: 0.0.0.0:4320\n",
            "r.yaml: `listen.api` at line 2, column 8: 0.0.0.0:4320 can be reached from other \
             machines, and there is no login; use a loopback address such as 127.0.0.1, or say \
             `beyond_loopback: \"anyone who can reach these ports may send traces and order \
             restarts\"`",
        ),
        (
            "listen:\n  beyond_loopback: true\n",
            "r.yaml: `listen.beyond_loopback` at line 2, column 20: it must be `refuse`, or in \
             these words \"anyone who can reach these ports may send traces and order restarts\"",
        ),
        (
            "probes:\n  - http: 127.0.0.1/x\n",
            "r.yaml: `probes[0]` at line 2, column 5: lacks `name`: the name under which it is \
             reported\n\
             r.yaml: `probes[0].http` at line 2, column 11: \"127.0.0.1/x\" is no URL; write it \
             as in http://127.0.0.1:8080/health",
        ),
        (
            "restart:\n  tree:\n    - unit: a\n      command: { run: [a] }\n      drain: 2h\n      prepare: { timeout: 1s }\n",
            "r.yaml: `restart.tree[0].drain` at line 5, column 14: it delays restarts that users wait \
             for; it must be at most 5 minutes\nr.yaml: `restart.tree[0].prepare` at line 6, column 16: \
             needs exactly one of `post` and `run`",
        ),
        (
            "probes:\n  - name: a\n    tcp: there:1\n    command: [x]\n",
            "r.yaml: `probes[0]` at line 2, column 5: needs exactly one of `http`, `tcp`, \
             `grpc` and `command`",
        ),
        (
            "restart:\n  tree:\n    - unit: a\n      command:\n        run: systemctl restart a\n",
            "r.yaml: `restart.tree[0].command.run` at line 5, column 14: expected a list, as in \
             [program, argument], found \"systemctl restart a\"; no shell reads it",
        ),
        (
            "restart:\n  tree:\n    - unit: a\n      match: {service.version: 1.10}\n",
            "r.yaml: `restart.tree[0].match.service.version` at line 4, column 32: `1.1` is no \
             text; put it in quotes",
        ),
        (
            "restart:\n  tree:\n    - unit: a\n      units:\n        - unit: b c\n          procces: {}\n",
            "r.yaml: `restart.tree[0].units[0].unit` at line 5, column 17: \"b c\" is no unit \
             name; use up to 100 letters, digits and . _ - : @\n\
             r.yaml: unknown key `procces` at line 6, column 11; did you mean `process`?",
        ),
        (
            "restart:\n  tree:\n    - unit: a\n    - unit: b\n",
            "r.yaml: `restart.tree` at line 4, column 7: a, b are all at the top; only one unit \
             may be, so put them below one that contains them all (`- unit: everything` with \
             `units:`)",
        ),
        (
            "restart:\n  tree:\n    - unit: a\n      units:\n        - unit: b\n        - {unit: b, command: {run: [x]}}\n",
            "r.yaml: `restart.tree` at line 6, column 11: 2 units are called b; every unit needs \
             a name of its own",
        ),
        (
            "restart:\n  tree:\n    - unit: a\n      units:\n        - {unit: b, match: {k: v}, command: {run: [x]}}\n        - {unit: c, match: {k: v}, command: {run: [x]}}\n        - {unit: d, mode: propose}\n",
            "r.yaml: `restart.tree` at line 6, column 11: b and c both match a component with \
             k=v; put one below the other, or let them differ in the value of a key\n\
             r.yaml: `restart.tree` at line 7, column 11: d can't be restarted: it has no \
             executor and no units below it; give it an executor, or units that have one, or leave \
             it in mode observe",
        ),
        (
            "restart:\n  tree:\n    - unit: a\n      units:\n        - {unit: b, process: {command: [x], ports: [80, 81]}}\n        - {unit: c, process: {command: [y], ports: [81]}}\n",
            "r.yaml: `restart.tree` at line 6, column 11: b and c both have port 81 among their `ports`, \
             so `ports` can't tell them apart",
        ),
        // What is sure is told at once, whatever else couldn't be read; what may come of that isn't.
        (
            "restart:\n  tree:\n    - unit: a\n      units:\n        - {unit: b, process: {command: [x], ports: [81]}, drain: 2h}\n        - {unit: c, process: {command: [y], ports: [81]}}\n        - {unit: d, procces: {command: [z]}}\n        - {unit: e, match: {k: v}, command: {run: [x]}}\n        - {unit: f, match: {k: v}, command: {run: [x]}, before: [g]}\n",
            "r.yaml: `restart.tree[0].units[0].drain` at line 5, column 66: it delays restarts that users wait for; \
             it must be at most 5 minutes\n\
             r.yaml: `restart.tree` at line 6, column 11: b and c both have port 81 among their `ports`, so `ports` \
             can't tell them apart\n\
             r.yaml: unknown key `procces` at line 7, column 21; did you mean `process`?\n\
             r.yaml: `restart.tree` at line 9, column 11: e and f both match a component with k=v; put one below \
             the other, or let them differ in the value of a key\n\
             r.yaml: `restart.tree` at line 9, column 11: f is to be restarted before g, which is no unit; name one \
             of this tree",
        ),
        (
            "restart:\n  tree:\n    - {unit: a, process: {command: [x], ports: [4317, 80]}}\n",
            "r.yaml: `listen.grpc`: port 4317 is also among the `ports` of a, which would never be seen to have stopped",
        ),
        (
            "restart:\n  tree:\n    - unit: a\n      docker: {container: x, sokcet: /x}\n      command: {run: [x]}\n",
            "r.yaml: `restart.tree[0]` at line 3, column 7: has several of `process`, `http`, \
             `command`, `docker`, `kubernetes` and `systemd`; a unit is restarted in one way\n\
             r.yaml: unknown key `sokcet` at line 4, column 30; did you mean `socket`?",
        ),
        (
            "restart:\n  tree:\n    - unit: a\n      units:\n        - {template: b, containers: {labels: {x: y}}, told_apart_by: {k: v}, process: {}}\n        - {template: c, pods: {rollout: deployment/x}, units: []}\n        - {template: d, containers: {}, pods: {}}\n        - {template: e}\n        - {template: g, services: {pattern: a.service}}\n        - {template: h, services: {pattern: 'h@*'}}\n        - {template: i, services: {pattern: '*.service'}}\n        - {template: j, services: {pattern: '*-j@[0-9].service'}}\n    - {template: f, pods: {evict: {x: y}}}\n",
            "r.yaml: `restart.tree[0].units[0].told_apart_by` at line 5, column 11: \"v\" is not \
             known; it must be one of `name`, `id`, `short_id`\n\
             r.yaml: unknown key `process` at line 5, column 78; known in `restart.tree[0].units[0]`: \
             template, match, start_deadline, ready, check, watch, mode, expected_downtime, budget, minimum_healthy, \
             capacity_group, before, after, together, loses, drain, prepare, post_mortem, containers, services, pods, \
             told_apart_by, most, gone_after, units\n\
             r.yaml: `restart.tree[0].units[1]` at line 6, column 11: is a template, and nothing can be \
             below the units that grow from one\n\
             r.yaml: `restart.tree[0].units[1].pods` at line 6, column 31: needs `evict` or `delete`: pods \
             are restarted one by one\n\
             r.yaml: `restart.tree[0].units[2]` at line 7, column 11: needs exactly one of `processes`, \
             `containers`, `services` and `pods`: who starts or lists its units\n\
             r.yaml: `restart.tree[0].units[2].containers` at line 7, column 37: names no label, so it would be \
             every container\n\
             r.yaml: `restart.tree[0].units[2].pods` at line 7, column 47: needs exactly one of `rollout`, \
             `evict`, `delete` and `recreate`\n\
             r.yaml: `restart.tree[0].units[3]` at line 8, column 11: needs exactly one of `processes`, \
             `containers`, `services` and `pods`: who starts or lists its units\n\
             r.yaml: `restart.tree[0].units[4].services.pattern` at line 9, column 35: \"a.service\" is one unit's \
             name; write one with `*` in it\n\
             r.yaml: `restart.tree[0].units[5].services.pattern` at line 10, column 35: \"h@*\" matches more than services; \
             write one that ends in `.service`\n\
             r.yaml: `restart.tree[0].units[6].services.pattern` at line 11, column 35: \"*.service\" would be every \
             service; write a part of their names\n\
             r.yaml: `restart.tree[1]` at line 13, column 7: is a template, and must stand below a unit that \
             stays",
        ),
        (
            "restart:\n  tree:\n    - unit: a\n      units:\n        - {template: b, containers: {labels: {x: y}}, match: {k: v}}\n        - {unit: b@1, match: {k: w}, command: {run: [x]}}\n",
            "r.yaml: `restart.tree` at line 2, column 3: the unit b@1 is called as if it grew from the template b",
        ),
        (
            "restart:\n  tree:\n    - unit: a\n      units:\n        - {template: b, containers: {labels: {x: '${its:name}'}}, ready: {tcp: '${its:address}:1'}, check: {tcp: '${its:color}:1'}}\n        - {template: c, pods: {evict: {x: y}}, ready: {tcp: 'x:1'}}\n        - {template: d, processes: {replicas: 2, command: ['${its:name}'], prots: []}, most: 3}\n        - {template: e, processes: {command: [x]}}\n        - {template: f, processes: {replicas: 2, command: [x], ports: [80]}, containers: {}}\n        - {unit: f@3, command: {run: ['${its:number}']}}\n",
            "r.yaml: `restart.tree` at line 2, column 3: the unit f@3 is called as if it grew from the template f\n\
             r.yaml: `restart.tree[0].units[0].containers` at line 5, column 37: names no label, so it would be every container\n\
             r.yaml: `restart.tree[0].units[0].containers.labels.x` at line 5, column 50: `${its:name}` is known in a `template` only, where each unit has its own\n\
             r.yaml: `restart.tree[0].units[0].ready.tcp` at line 5, column 80: `${its:address}` may be another after a restart; name it otherwise, as by `${its:name}`\n\
             r.yaml: `restart.tree[0].units[0].check.tcp` at line 5, column 114: `${its:color}` is not known; it must be one of `${its:name}`, `${its:id}`, `${its:short_id}`, `${its:address}`\n\
             r.yaml: `restart.tree[0].units[1].ready` at line 6, column 11: is known of no pod: one that is restarted ends, and the cluster says when the next is ready\n\
             r.yaml: `restart.tree[0].units[2].processes.command` at line 7, column 59: `${its:name}` is not known of processes that Rekindle starts; write `${its:number}`, or `${its:number+8080}` for 8081 and so on\n\
             r.yaml: unknown key `prots` at line 7, column 76; did you mean `ports`?\n\
             r.yaml: unknown key `most` at line 7, column 88; known in `restart.tree[0].units[2]`: template, units, containers, services, pods, processes, match, start_deadline, ready, check, watch, mode, expected_downtime, budget, minimum_healthy, capacity_group, before, after, together, loses, drain, prepare, post_mortem\n\
             r.yaml: `restart.tree[0].units[3].processes` at line 8, column 36: lacks `replicas`: how many of them are to run\n\
             r.yaml: `restart.tree[0].units[4]` at line 9, column 11: needs exactly one of `processes`, `containers`, `services` and `pods`: who starts or lists its units\n\
             r.yaml: `restart.tree` at line 9, column 11: f@1 and f@2 both have port 80 among their `ports`, so `ports` can't tell them apart\n\
             r.yaml: `restart.tree[0].units[5].command.run` at line 10, column 38: `${its:number}` is known in a `template` only, where each unit has its own",
        ),
        (
            "restart:\n  tree:\n    - unit: a\n      kubernetes: {rollout: pod/x}\n",
            "r.yaml: `restart.tree[0].kubernetes.rollout` at line 4, column 29: \"pod/x\" is no \
             workload; write deployment/NAME, statefulset/NAME or daemonset/NAME",
        ),
        (
            "restart:\n  tree:\n    - unit: a\n      kubernetes: {evict: {app: a}, container: x}\n",
            "r.yaml: `restart.tree[0].kubernetes` at line 4, column 19: needs `container`, the \
             container's name, with `recreate`, and only there",
        ),
        (
            "restart:\n  rejuvenate:\n    - {name: m, units: [a], age: {at_most: 1h}}\n",
            "r.yaml: `restart.rejuvenate[0]` at line 3, column 7: there is no unit a",
        ),
        (
            "restart:\n  mode: auto\n  tree: [{unit: a}]\n  rejuvenate:\n    - {name: m, units: [a, b], age: {at_most: 1h}}\n",
            "r.yaml: `restart.tree` at line 3, column 10: a can't be restarted: it has no executor and no \
             units below it; give it an executor, or units that have one, or leave it in mode observe\n\
             r.yaml: `restart.rejuvenate[0]` at line 5, column 7: there is no unit b",
        ),
        (
            "restart:\n  tree: [{unit: a, command: {run: [x]}}]\n  rejuvenate:\n    - {name: m, units: [a], memory: {of: a, alarm: 2MiB, sufficient: 1MiB}}\n    - {name: m, units: [b], age: {at_most: 1h}}\n    - {name: n, units: [a], age: {at_most: 1h}, random: {every: 1h}}\n    - {name: o, units: [a], failures: {alarm: 1%, sufficient: 1%}}\n    - {name: p, units: [a], number: {http: x, alarm: 1}}\n",
            "r.yaml: `restart.rejuvenate[0]` at line 4, column 7: a is no `process` that Rekindle \
             starts, so its memory can't be read; use `number` or `heartbeat`\n\
             r.yaml: `restart.rejuvenate[1].name` at line 5, column 7: there is another rule of \
             the name \"m\"\n\
             r.yaml: `restart.rejuvenate[1]` at line 5, column 7: there is no unit b\n\
             r.yaml: `restart.rejuvenate[2]` at line 6, column 7: needs exactly one of `memory`, \
             `heartbeat`, `number`, `failures`, `age` and `random`\n\
             r.yaml: `restart.rejuvenate[3]` at line 7, column 7: alarm and sufficient are the \
             same, so a roll would have no end or no beginning\n\
             r.yaml: `restart.rejuvenate[4].number` at line 8, column 37: lacks `sufficient`: \
             until where they are\n\
             r.yaml: `restart.rejuvenate[4].number.http` at line 8, column 44: \"x\" is no URL; \
             write it as in http://127.0.0.1:8080/health",
        ),
        (
            "assembly:\n  min_quiet: 20s\n",
            "r.yaml: `assembly.min_quiet` at line 2, column 3: it is longer than `max_quiet`; \
             make it shorter, or `max_quiet` longer",
        ),
    ];
    for (text, told) in cases {
        assert_eq!(parse(text), Err((*told).to_owned()), "{text}");
    }
}

#[test]
fn the_command_line_overrules_the_file() {
    let overrides = Overrides {
        state_dir: Some("/var/lib/rekindle".into()),
        api: Some("127.0.0.1:0".parse().expect("an address")),
        ..Overrides::default()
    };
    let text = "state_dir: elsewhere\nlisten: {grpc: \"127.0.0.1:1\", api: \"127.0.0.1:2\"}\n";
    let config = Config::parse("r.yaml", text, &overrides, &environment).expect("is right");
    assert_eq!(config.state_dir, PathBuf::from("/var/lib/rekindle"));
    assert_eq!(config.listen.grpc.port(), 1);
    assert_eq!(config.listen.api.port(), 0);
}

#[test]
fn beyond_loopback_only_in_these_words() {
    let everywhere = Overrides {
        grpc: Some("0.0.0.0:4317".parse().expect("an address")),
        ..Overrides::default()
    };
    let error = Config::without_file(&everywhere).expect_err("refused");
    assert!(
        error.to_string().starts_with(
            "the command line: `listen.grpc`: 0.0.0.0:4317 can be reached from other machines"
        ),
        "{error}"
    );
    let text = format!("listen:\n  beyond_loopback: {BEYOND_LOOPBACK_WORDS}\n");
    let config = Config::parse("r.yaml", &text, &everywhere, &environment).expect("allowed");
    assert!(config.listen.beyond_loopback);
}

#[test]
fn units_at_the_top_take_the_general_mode() {
    let text = "restart:\n  mode: propose\n  tree:\n    - unit: a\n      units:\n        \
                - {unit: b, http: {post: \"http://127.0.0.1:1/b\"}}\n";
    let config = parse(text).expect("is right");
    let modes: Vec<Option<Mode>> = config.restart.tree.iter().map(|unit| unit.mode).collect();
    assert_eq!(modes, [Some(Mode::Propose), None]);
}

/// What is written once is as if each replica had been written, and so is what is wrong with one of them.
#[test]
fn replicas_are_units_each_with_what_is_its_own() {
    let text = "restart:\n  mode: propose\n  tree:\n    - unit: web\n      match: { service.name: web }\n      minimum_healthy: 2\n      units:\n        - template: web.worker\n          mode: auto\n          processes:\n            replicas: 3\n            command: [web, --port, \"${its:number+8080}\"]\n            env: { NUMBER: \"${its:number}\" }\n            ports: [\"${its:number+8080}\"]\n          ready: { http: \"http://127.0.0.1:${its:number+8080}/\" }\n          check: { tcp: \"127.0.0.1:${its:number+8080}\" }\n          watch: { memory: { above: 1GiB } }\n";
    let config = parse(text).expect("right");
    let tree = crate::daemon::tree_of(&config).expect("a tree");
    for number in 1..=3_u16 {
        let name = UnitName(format!("web.worker@{number}"));
        let unit = tree.spec(&name).expect("a unit");
        let port = 8080 + number;
        let Some(ExecutorSpec::Process(process)) = &unit.executor else {
            panic!("{unit:?}");
        };
        assert_eq!(process.command[2], port.to_string());
        assert_eq!(process.environment["NUMBER"], number.to_string());
        assert_eq!(process.ports, [port]);
        assert_eq!(unit.selector["service.instance.id"], name.as_str());
        let asked = format!("{:?} {:?}", unit.ready, unit.check);
        let (url, address) = (format!(":{port}/\""), format!(":{port}\""));
        assert!(asked.contains(&url) && asked.contains(&address), "{asked}");
        let words = unit.watches[0].bound.what();
        assert_eq!(words, format!("the memory of {name}"));
        assert_eq!(tree.mode(&name), Mode::Auto);
        assert_eq!(*tree.kind(&name), UnitName::from("web.worker"));
    }
    assert_eq!(tree.units().count(), 4);
    // Who says apart what they are in their telemetry is believed.
    let apart = "          match: { worker: \"w${its:number}\" }\n          mode: auto\n";
    let config = parse(&text.replacen("          mode: auto\n", apart, 1)).expect("right");
    let selector: Vec<(&str, &str)> = config.restart.tree[2]
        .selector
        .iter()
        .map(|(attribute, value)| (attribute.as_str(), value.as_str()))
        .collect();
    assert_eq!(selector, [("worker", "w2")]);
    for (from, to, told) in [
        (
            "replicas: 3",
            "replicas: 1",
            "web has 1 units directly below it, of which 2 can't be up",
        ),
        (
            "ports: [\"${its:number+8080}\"]",
            "ports: [8081]",
            "web.worker@1 and web.worker@2 both have port 8081",
        ),
        (
            "+8080}\"]\n          ready",
            "+65533}\"]\n          ready",
            "`65536` is out of range",
        ),
    ] {
        let error = parse(&text.replace(from, to)).expect_err(told);
        assert!(error.contains(told), "{error}");
        assert_eq!(error.matches(told).count(), 1, "{error}");
    }
}

#[test]
fn guards_are_read_and_their_mistakes_told() {
    let shop = "restart:\n  guards:\n    capacity: { front: 1 }\n    hours:\n      utc_offset: \"-03:30\"\n      only: [{ days: [mon, sun], from: \"22:00\", until: \"06:00\" }]\n    overload: 150%\n    immune: { times: 3, within: 1d }\n  tree:\n    - unit: shop\n      minimum_healthy: 1\n      budget: { restarts: 4 }\n      units:\n        - unit: a\n          http: { post: \"http://127.0.0.1:1/a\" }\n          capacity_group: front\n          before: [b]\n          loses: 7\n        - unit: b\n          http: { post: \"http://127.0.0.1:1/b\" }\n";
    let config = parse(shop).expect("right");
    let guards = &config.restart.guards;
    assert_eq!(guards.hours.offset, -210);
    assert_eq!(guards.hours.only[0].to_string(), "mon, sun 22:00 to 06:00");
    assert!((guards.overload - 1.5).abs() < 1e-9);
    assert_eq!(guards.vain, 3);
    let rules = &config.restart.tree[1].rules;
    assert_eq!(
        (rules.before.as_slice(), rules.loses),
        (&["b".into()][..], 7)
    );
    assert_eq!(config.restart.tree[0].rules.budget.restarts, Some(4));
    for (from, to, told) in [
        (
            "{ front: 1 }",
            "{ front: 2 }",
            "the capacity group front has 1 units, of which 2 can't be up",
        ),
        (
            "{ front: 1 }",
            "{ back: 1 }",
            "no unit is in the capacity group back",
        ),
        (
            "{ front: 1 }",
            "{ front: many }",
            "\"many\" is no whole number",
        ),
        (
            "minimum_healthy: 1",
            "minimum_healthy: 3",
            "shop has 2 units directly below it, of which 3 can't",
        ),
        ("-03:30", "03:30", "\"03:30\" is no offset from UTC"),
        ("22:00", "22", "\"22\" is no time of day"),
        (
            "[mon, sun]",
            "[monday]",
            "\"monday\" is no day; write mon, tue",
        ),
        ("150%", "90%", "it must be from 110% to 10000%"),
        (
            "[b]",
            "[x]",
            "a is to be restarted before x, which is no unit",
        ),
        (
            "before: [b]",
            "together: [shop]",
            "but one of them contains the other",
        ),
    ] {
        let error = parse(&shop.replace(from, to)).expect_err(told);
        assert!(error.contains(told), "{error}");
    }
}
