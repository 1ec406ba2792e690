//! A stage for end-to-end tests: the real binary as engine, the real site as what it supervises,
//! users on it, and what can be asked of them.
#![allow(dead_code, reason = "each test takes what it needs of it")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rekindle::view::{InterventionView, VerdictView, View};
use rekindle_datasets::auction::world::Scale;
use rekindle_datasets::auction::{Fault, FaultKind, ServiceName};
use rekindle_datasets::deployment::{Deployment, Granularity, Ports};
use rekindle_datasets::load::{LoadConfig, Users, UsersHandle};
use rekindle_recovery::Mode;
use rekindle_recovery::crash::CrashPoint;

/// Longer than anything here takes on a machine that is busy with other tests; only a failure
/// waits for so long.
const PATIENCE: Duration = Duration::from_secs(180);

/// See the module. Everything ends with it, by process id.
pub(crate) struct Stage {
    pub(crate) site: Deployment,
    folder: tempfile::TempDir,
    config: PathBuf,
    granularity: Granularity,
    api: String,
    traces: String,
    engine: Option<Child>,
    users: Option<UsersHandle>,
    seen: BTreeSet<i32>,
    /// How often the engine was started; each start has a log of its own.
    starts: u32,
}

impl Stage {
    pub(crate) fn new(name: &str) -> Self {
        Self::of(name, Granularity::Component)
    }

    /// One whose tree has these units.
    pub(crate) fn of(name: &str, granularity: Granularity) -> Self {
        let folder = tempfile::Builder::new()
            .prefix(&format!("rekindle-{name}-"))
            .tempdir()
            .expect("a temporary folder");
        let ports: Vec<TcpListener> = (0..3)
            .map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port"))
            .collect();
        let at = |index: usize| ports[index].local_addr().expect("an address");
        let (grpc, http, api) = (at(0), at(1), at(2));
        let site = Deployment::plan(
            folder.path(),
            &format!("http://{grpc}"),
            Some(Duration::from_millis(200)),
            11,
            Ports::Free,
        )
        .expect("a plan")
        // Three such sites, unoptimized, start on two cores at a time: the story needs users, not rows.
        .with_scale(Scale::SMALL)
        .with_program(
            PathBuf::from(env!("CARGO_BIN_EXE_rekindle")),
            vec!["auction".to_owned()],
        );
        let config = folder.path().join("rekindle.yaml");
        let yaml = format!(
            "state_dir: {:?}\nanalysis: {{ close_after: 2s }}\nlisten: {{ grpc: \"{grpc}\", http: \"{http}\", api: \"{api}\" }}\n{}{}",
            folder.path().join("state"),
            site.probes_yaml(Duration::from_millis(250)),
            site.to_yaml(granularity, Mode::Auto),
        );
        std::fs::write(&config, yaml).expect("the configuration is written");
        Self {
            site,
            folder,
            config,
            granularity,
            api: format!("http://{api}"),
            traces: format!("http://{http}/v1/traces"),
            engine: None,
            users: None,
            seen: BTreeSet::new(),
            starts: 0,
        }
    }

    /// Starts the engine, with a place to kill it at if one is given, and waits for it and the site.
    pub(crate) fn start_engine(&mut self, crash: Option<CrashPoint>) {
        self.starts += 1;
        let log = self
            .folder
            .path()
            .join(format!("engine-{}.log", self.starts));
        let log = std::fs::File::create(log).expect("a log file");
        let mut command = Command::new(env!("CARGO_BIN_EXE_rekindle"));
        command.arg("run").arg("--config").arg(&self.config);
        if let Some(point) = crash {
            command.env("REKINDLE_CRASH_POINT", point.as_str());
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("the engine starts");
        self.engine = Some(child);
        self.view();
        self.site.wait_ready(PATIENCE).expect("the site is ready");
        if self.users.is_none() {
            let mut load = LoadConfig::new(self.site.world());
            load.users = 40;
            self.users = Some(Users::start(3, self.site.web(), load).expect("users come"));
        }
        for pid in self.process_ids().into_values() {
            self.seen.insert(i32::try_from(pid).expect("a process id"));
        }
    }

    /// Waits until the engine knows the site: requests of some types, and no open incident.
    pub(crate) fn wait_calm(&self) {
        self.until("calm", |stage| {
            stage.try_view().is_some_and(|view| {
                view.open_incidents().next().is_none()
                    && view.status.requests > 100
                    && view.request_types.len() >= 3
            })
        });
    }

    /// Waits until the engine has killed itself.
    pub(crate) fn wait_engine_killed(&mut self, point: CrashPoint) {
        let mut engine = self.engine.take().expect("it was started");
        let begun = Instant::now();
        while engine.try_wait().expect("it can be asked").is_none() {
            assert!(
                begun.elapsed() < PATIENCE,
                "the engine never came to {point}: {}",
                self.logs()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Kills the engine with signal 9.
    pub(crate) fn kill_engine(&mut self) {
        let mut engine = self.engine.take().expect("it was started");
        engine.kill().expect("it is killed");
        engine.wait().expect("it ends");
    }

    /// Tells the engine to stop; the site goes on.
    pub(crate) fn stop_engine(&mut self) {
        let mut engine = self.engine.take().expect("it was started");
        let pid = rustix::process::Pid::from_child(&engine);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it is told");
        let begun = Instant::now();
        while engine.try_wait().expect("it can be asked").is_none() {
            assert!(begun.elapsed() < PATIENCE, "the engine does not stop");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// What the engine shows, as soon as it answers.
    pub(crate) fn view(&self) -> View {
        let found = std::cell::RefCell::new(None);
        self.until("the engine answers", |stage| {
            *found.borrow_mut() = stage.try_view();
            found.borrow().is_some()
        });
        found.into_inner().expect("it answered")
    }

    pub(crate) fn try_view(&self) -> Option<View> {
        let mut response = ureq::get(format!("{}/api/v1/view", self.api))
            .config()
            .timeout_global(Some(Duration::from_secs(2)))
            .proxy(None)
            .build()
            .call()
            .ok()?;
        response
            .body_mut()
            .with_config()
            .limit(64 << 20)
            .read_json()
            .ok()
    }

    /// Waits for an open incident that is on disk, and gives its number.
    pub(crate) fn wait_incident(&self) -> u64 {
        let found = std::cell::Cell::new(0);
        self.until("an incident is open and kept", |stage| {
            let Some(view) = stage.try_view() else {
                return false;
            };
            let open = view.open_incidents().find(|one| one.ranking.is_some());
            found.set(open.map_or(0, |incident| incident.id));
            let file = format!("state/incident/{}.json", found.get());
            found.get() > 0 && stage.folder.path().join(file).exists()
        });
        found.get()
    }

    /// Sends these spans, as an exporter would.
    pub(crate) fn export(&self, request: &serde_json::Value) {
        let sent = ureq::post(&self.traces)
            .config()
            .timeout_global(Some(Duration::from_secs(10)))
            .proxy(None)
            .build()
            .send_json(request);
        assert_eq!(sent.expect("the engine answers").status().as_u16(), 200);
    }

    /// Has a unit restarted, and waits for the verdict.
    pub(crate) fn restart(&self, unit: &str) {
        assert!(self.order(unit).success(), "{}", self.logs());
        self.until("the ordered restart is done", |stage| {
            let view = stage.try_view();
            view.is_some_and(|view| view.recovery.actions.iter().any(|it| it.unit == unit))
        });
        self.wait_settled();
    }

    /// Tells of a deployment, and waits until it is shown.
    pub(crate) fn tell_deployment(&self, id: &str, unit: &str) {
        let told = Command::new(env!("CARGO_BIN_EXE_rekindle"))
            .args(["intervention", "deployment", id, "--unit", unit])
            .args(["--by", "ci", "--api", &self.api])
            .status();
        assert!(told.expect("it runs").success(), "{}", self.logs());
        self.until("what was told is shown", |stage| {
            !stage.told_interventions().is_empty()
        });
    }

    /// What others told that they did.
    pub(crate) fn told_interventions(&self) -> Vec<InterventionView> {
        let view = self.try_view();
        let all = view
            .map(|view| view.status.interventions)
            .unwrap_or_default();
        let told = all.into_iter();
        told.filter(|it| it.reference.contains("told by")).collect()
    }

    /// The life that a supervised process is in, and how many requests were set apart since they went to an older one.
    pub(crate) fn life_of(&self, service: ServiceName) -> (u64, u64) {
        let view = self.view();
        let unit = view.tree.iter().find(|unit| unit.name == service.as_str());
        let old = view.status.dropped.get("old_life").copied();
        let life = unit.expect("a unit").generation;
        (life, old.unwrap_or(0))
    }

    /// Waits until so many requests were set apart since they went to a life that is over.
    pub(crate) fn wait_set_apart(&self, count: u64) {
        self.until("requests to an old life are set apart", |stage| {
            let view = stage.try_view();
            view.is_some_and(|view| view.status.dropped.get("old_life") == Some(&count))
        });
    }

    /// The status of a page or a path of the API.
    pub(crate) fn status_of(&self, path: &str) -> u16 {
        let answer = ureq::get(format!("{}{path}", self.api))
            .config()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(10)))
            .proxy(None)
            .build()
            .call();
        answer.expect("the engine answers").status().as_u16()
    }

    fn until(&self, what: &str, done: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !done(self) {
            assert!(
                begun.elapsed() < PATIENCE,
                "not within {PATIENCE:?}: {what}; {}",
                self.logs()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The processes of the site, by service. One that is between two lives is waited for.
    pub(crate) fn process_ids(&self) -> BTreeMap<String, u32> {
        let found = std::cell::RefCell::new(BTreeMap::new());
        self.until("every process answers", |stage| {
            *found.borrow_mut() = stage.answering();
            found.borrow().len() == ServiceName::ALL.len()
        });
        found.into_inner()
    }

    /// The processes of the site that answer now, by service.
    pub(crate) fn answering(&self) -> BTreeMap<String, u32> {
        let all = ServiceName::ALL.into_iter();
        all.filter_map(|service| Some((service.to_string(), self.site.status(service).ok()?.pid)))
            .collect()
    }

    /// Makes a component fail. One that is between two lives, since a restart of it goes on when the engine
    /// that asked for it is killed, gets its fault in the next.
    pub(crate) fn make_fail(&self, component: &'static str) {
        self.until(&format!("{component} takes a fault"), |stage| {
            stage
                .site
                .inject(&Fault::new(component, FaultKind::Error))
                .is_ok()
        });
    }

    /// Waits until the component works again, whoever's doing it was, and nothing is in flight. Where a starved machine has
    /// made another part fail, and that was restarted instead, what is left may look usual: then a person orders it.
    pub(crate) fn wait_cured(&self, component: &'static str) {
        let (address, question) = self.site.question(component).expect("it has a question");
        let ordered = std::cell::Cell::new(Instant::now());
        self.until(&format!("{component} works"), |stage| {
            let asked = rekindle_datasets::probes::ask(address, &question, Duration::from_secs(2));
            let works = asked.verdict == rekindle_datasets::probes::Verdict::Right;
            if !works
                && ordered.get().elapsed() > PATIENCE / 6
                && stage.has_restarted_others(component)
            {
                stage.order(stage.unit_of(component));
                ordered.set(Instant::now());
            }
            works
        });
        self.wait_settled();
    }

    /// The smallest unit that a restart of the component is one of.
    fn unit_of(&self, component: &'static str) -> &'static str {
        let process = ServiceName::of_component(component).map(ServiceName::as_str);
        match self.granularity {
            Granularity::Component => component,
            Granularity::ProcessOnly | Granularity::ProcessAndParts => {
                process.expect("a process has it")
            }
        }
    }

    /// Whether something was restarted that neither is the component nor contains it.
    fn has_restarted_others(&self, component: &str) -> bool {
        let process = ServiceName::of_component(component);
        let is_its = |unit: &String| {
            unit == component || process.is_some_and(|process| unit == process.as_str())
        };
        !self.restarted_units().iter().all(is_its)
    }

    /// Orders a restart: whether it is to be had now.
    fn order(&self, unit: &str) -> ExitStatus {
        let ordered = Command::new(env!("CARGO_BIN_EXE_rekindle"))
            .args(["restart", unit, "--reason", "a test", "--api", &self.api])
            .status();
        ordered.expect("it runs")
    }

    /// Waits until no action has waited for its verdict for a while: a view is a moment old, and an
    /// action that is about to begin isn't in it.
    pub(crate) fn wait_settled(&self) {
        let settled_since = std::cell::Cell::new(None);
        self.until("every action has its verdict", |stage| {
            let settled = stage
                .try_view()
                .is_some_and(|view| view.recovery.actions.iter().all(|a| a.verdict.is_some()));
            let since = settled.then(|| settled_since.get().unwrap_or_else(Instant::now));
            settled_since.set(since);
            since.is_some_and(|since| since.elapsed() > Duration::from_secs(2))
        });
    }

    /// The units that the ledger has actions on.
    pub(crate) fn restarted_units(&self) -> BTreeSet<String> {
        let view = self.view();
        view.recovery
            .actions
            .iter()
            .map(|action| action.unit.clone())
            .collect()
    }

    /// Waits until the ledger's actions agree with each other and with what the site counted. What is
    /// wrong stays wrong; what is under way, as a restart that a busy machine gave cause for, ends.
    pub(crate) fn check_ledger(&self, when: &str) {
        let begun = Instant::now();
        while let Err(wrong) = self.ledger_agrees() {
            let patient = begun.elapsed() < PATIENCE;
            assert!(patient, "{when}: {wrong}; {}", self.logs());
            std::thread::sleep(Duration::from_millis(250));
        }
    }

    fn ledger_agrees(&self) -> Result<(), String> {
        let view = self.try_view().ok_or("the engine doesn't answer")?;
        let actions = &view.recovery.actions;
        let ids: BTreeSet<u64> = actions.iter().map(|action| action.id).collect();
        if ids.len() != actions.len() {
            return Err("an action stands twice in the ledger".to_owned());
        }
        for action in actions {
            let verdict = action.verdict;
            let verdict = verdict.ok_or_else(|| format!("not judged: {action:?}"))?;
            if action.result.is_none() && verdict != VerdictView::Unknown {
                return Err(format!("judged without a result: {action:?}"));
            }
        }
        for service in ServiceName::ALL {
            let status = self.site.status(service).map_err(|e| e.to_string())?;
            for component in &status.components {
                let (name, reboots) = (&component.name, component.reboots);
                if !component.up {
                    return Err(format!("{name} is down"));
                }
                let known = actions.iter().filter(|a| a.unit == *name).count() as u64;
                if reboots > known {
                    return Err(format!(
                        "{name} was rebooted {reboots} times, the ledger knows {known}"
                    ));
                }
            }
            let unit = view.tree.iter().find(|unit| unit.name == service.as_str());
            let process = unit.and_then(|unit| unit.process.as_ref());
            if process.ok_or("no process")?.pid != Some(status.pid) {
                return Err(format!("{service} is not the one supervised"));
            }
        }
        let own = self.processes_of_this_state();
        if own.len() != ServiceName::ALL.len() {
            return Err(format!("orphans among {own:?}"));
        }
        Ok(())
    }

    /// Processes whose environment names a unit of this stage's state directory.
    fn processes_of_this_state(&self) -> BTreeSet<i32> {
        let data = self.folder.path().display().to_string();
        let mut found = BTreeSet::new();
        for entry in std::fs::read_dir("/proc").expect("proc").flatten() {
            let Some(pid) = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok())
            else {
                continue;
            };
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).into_owned();
            if line.contains("\0auction\0") && line.contains(&data) {
                found.insert(pid);
            }
        }
        found
    }

    fn logs(&self) -> String {
        let last = self
            .folder
            .path()
            .join(format!("engine-{}.log", self.starts));
        let text = std::fs::read_to_string(last).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(25).collect();
        let tail: Vec<&str> = lines.into_iter().rev().collect();
        format!("the engine said:\n{}", tail.join("\n"))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.users.take();
        if let Some(mut engine) = self.engine.take() {
            let _ = engine.kill();
            let _ = engine.wait();
        }
        for pid in self.processes_of_this_state() {
            if let Some(pid) = rustix::process::Pid::from_raw(pid) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }
}

/// A small generator: the same seed gives the same moments.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `limit`, by the SplitMix64 step (Steele, Lea and Flood, OOPSLA 2014).
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}
