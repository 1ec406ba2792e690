//! What is done right before a restart, because afterwards it is too late?
//!
//! Callers are told that the unit is about to be away, and get a moment to hold back (the *drain*; the
//! announcement itself is the recovery's state, which is published when the intent is on disk). The
//! unit is asked to save what it would lose (*prepare*: crash-only software needs no such call, and most
//! software isn't crash-only). And what people need to find the cause is kept, since a restart destroys
//! it: the process's figures, what recovery saw of it, the output of a command of theirs.
//!
//! All of it together takes as long as the longest of it, and no longer than its own limit, whatever
//! comes of it: a unit that is too sick to answer is restarted all the same. It happens under the
//! intent and its lease, so a crash in the middle is settled by asking the executor, as ever.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::command::{self, CommandEnd};
use crate::executor::{
    ActionId, BoxFuture, Effect, ExecuteError, Executed, Executor, Permit, Recall,
};
use crate::http_call::{Call, Caller};
use crate::process::{GENERATION_VARIABLE, Supervisor, UNIT_VARIABLE, figures};
use crate::spec::Preparation;
use crate::{CommandSpec, HttpSpec, UnitName};

/// The folder in the state directory.
const FOLDER: &str = "post-mortem";
/// Of a command's output so much is kept, from its beginning: a thread dump of a large process.
const MOST_OUTPUT: usize = 1 << 20;
/// Of what recovery saw, so much: some tens of spans in each of some traces.
const MOST_SEEN: usize = 256 << 10;
/// Files that are kept; the oldest go first. At most 250 MiB.
const MOST_FILES: usize = 200;
/// The environment variable with the action's id.
const ACTION_VARIABLE: &str = "REKINDLE_ACTION";
/// The environment variable with the incident's number; not set where there is none.
const INCIDENT_VARIABLE: &str = "REKINDLE_INCIDENT";

/// Whoever can tell what was seen of a unit in an incident: its ranking, example traces.
pub type Witness = Arc<dyn Fn(&UnitName, Option<u64>) -> String + Send + Sync>;

/// A unit's executor, with what comes before it.
pub struct Prepared {
    inner: Arc<dyn Executor>,
    preparation: Preparation,
    folder: PathBuf,
    supervisor: Arc<Supervisor>,
    witness: Witness,
    caller: Caller,
}

impl Prepared {
    /// Files go to a folder in the state directory.
    pub fn new(
        inner: Arc<dyn Executor>,
        preparation: Preparation,
        state_directory: &Path,
        supervisor: Arc<Supervisor>,
        witness: Witness,
    ) -> Self {
        Self {
            inner,
            preparation,
            folder: state_directory.join(FOLDER),
            supervisor,
            witness,
            caller: Caller::new(),
        }
    }

    async fn carry_out(&self, permit: Permit) -> Result<Executed, ExecuteError> {
        let environment = environment(&permit);
        let seen = self.seen(&permit);
        let said = tokio::join!(
            tokio::time::sleep(self.preparation.drain),
            self.ask(&environment),
            self.save(&environment),
        );
        let ((), asked, saved) = said;
        let path = self.folder.join(file_name(&permit));
        let text = format!("{seen}{asked}{saved}");
        // The disk keeps nobody waiting.
        let write = tokio::task::spawn_blocking(move || keep(&path, text.as_bytes()));
        let (result, written) = tokio::join!(self.inner.restart(permit), write);
        match written {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "what a post-mortem needs could not be kept"),
            Err(error) => tracing::error!(%error, "keeping what a post-mortem needs ended badly"),
        }
        result
    }

    /// What is known without asking anybody.
    fn seen(&self, permit: &Permit) -> String {
        let unit = permit.unit();
        let mut text = format!(
            "unit {unit}, action {}, generation {} to come, incident {}\n",
            permit.action(),
            permit.generation(),
            permit
                .incident()
                .map_or("none".to_owned(), |number| number.to_string()),
        );
        let children = self.supervisor.children();
        let child = children.iter().find(|child| child.unit == *unit);
        if let Some(pid) = child.and_then(|child| child.pid) {
            let _ = write!(text, "\n# The process {pid}\n{}", figures(pid));
        }
        let mut seen = (self.witness)(unit, permit.incident());
        let mut end = seen.len().min(MOST_SEEN);
        while !seen.is_char_boundary(end) {
            end -= 1;
        }
        seen.truncate(end);
        if !seen.is_empty() {
            let _ = write!(text, "\n# What was seen\n{seen}");
        }
        text
    }

    /// Lets the unit save what it would lose.
    async fn ask(&self, environment: &[(&'static str, String)]) -> String {
        let mut text = String::new();
        if let Some(HttpSpec { url, timeout }) = &self.preparation.ask {
            let headers = environment
                .iter()
                .filter(|(name, _)| *name == ACTION_VARIABLE)
                .map(|(_, action)| ("Idempotency-Key", action.clone()))
                .collect();
            let call = Call {
                url: url.clone(),
                headers,
                post: Some(("text/plain", Vec::new())),
            };
            let said = match self.caller.call(call, *timeout).await {
                Ok(answer) => answer.summary(),
                Err(failure) => failure.to_string(),
            };
            let _ = write!(text, "\n# Asked to prepare by {url}\n{said}\n");
        }
        text
    }

    /// Runs the command whose output people want.
    async fn save(&self, environment: &[(&'static str, String)]) -> String {
        let Some(CommandSpec { command, timeout }) = &self.preparation.save else {
            return String::new();
        };
        let (end, output) = command::capture(command, environment, *timeout, MOST_OUTPUT).await;
        let ended = match end {
            CommandEnd::Success => String::new(),
            end => format!("\n({end})\n"),
        };
        let output = String::from_utf8_lossy(&output);
        format!("\n# The output of {}\n{output}{ended}", command.join(" "))
    }
}

fn environment(permit: &Permit) -> Vec<(&'static str, String)> {
    let mut environment = vec![
        (UNIT_VARIABLE, permit.unit().to_string()),
        (ACTION_VARIABLE, permit.action().to_string()),
        (GENERATION_VARIABLE, permit.generation().to_string()),
    ];
    if let Some(incident) = permit.incident() {
        environment.push((INCIDENT_VARIABLE, incident.to_string()));
    }
    environment
}

/// `incident-12-action-7-catalog.txt`. What is no letter or digit of a name can't lead elsewhere.
fn file_name(permit: &Permit) -> String {
    let unit: String = permit
        .unit()
        .as_str()
        .chars()
        .map(|c| {
            if c.is_alphanumeric() || "._-".contains(c) {
                c
            } else {
                '_'
            }
        })
        .take(100)
        .collect();
    let incident = match permit.incident() {
        Some(number) => format!("incident-{number}"),
        None => "ordered".to_owned(),
    };
    format!("{incident}-action-{}-{unit}.txt", permit.action())
}

/// Writes a file for its owner only, and removes the oldest of too many.
fn keep(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    let mut files: Vec<(SystemTime, PathBuf)> = std::fs::read_dir(folder)?
        .flatten()
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    files.sort();
    let surplus = (files.len() + 1).saturating_sub(MOST_FILES);
    for (_, old) in files.iter().take(surplus) {
        std::fs::remove_file(old)?;
    }
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)
}

impl Executor for Prepared {
    fn restart(&self, permit: Permit) -> BoxFuture<'_, Result<Executed, ExecuteError>> {
        Box::pin(self.carry_out(permit))
    }

    fn inquire<'a>(
        &'a self,
        action: ActionId,
        unit: &'a UnitName,
        generation: u64,
    ) -> BoxFuture<'a, Effect> {
        self.inner.inquire(action, unit, generation)
    }

    fn recall(&self) -> Recall {
        self.inner.recall()
    }
}

impl Preparation {
    /// How long it may take.
    pub fn longest(&self) -> Duration {
        let ask = self.ask.as_ref().map_or(Duration::ZERO, |ask| ask.timeout);
        let save = self
            .save
            .as_ref()
            .map_or(Duration::ZERO, |save| save.timeout);
        // A command whose time is up is told to end, and may take a moment.
        self.drain
            .max(ask)
            .max(save + command::GRACE * u32::from(self.save.is_some()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Instant;

    use super::*;
    use crate::probe::Probes;
    use crate::testing::{Script, Server};

    /// Remembers when it was called.
    #[derive(Default)]
    struct Inner(Mutex<Vec<Instant>>);

    impl Executor for Inner {
        fn restart(&self, _: Permit) -> BoxFuture<'_, Result<Executed, ExecuteError>> {
            self.0.lock().expect("no panic").push(Instant::now());
            let at = SystemTime::now();
            let executed = Executed {
                stopped_at: at,
                ready_at: at,
                note: String::new(),
            };
            Box::pin(std::future::ready(Ok(executed)))
        }

        fn inquire<'a>(&'a self, _: ActionId, _: &'a UnitName, _: u64) -> BoxFuture<'a, Effect> {
            Box::pin(std::future::ready(Effect::NotDone))
        }

        fn recall(&self) -> Recall {
            Recall::Fenced
        }
    }

    fn permit(action: u64) -> Permit {
        let longest = Duration::from_secs(5);
        Permit::new(ActionId(action), "shop/cart".into(), 3, longest).for_incident(Some(12))
    }

    async fn play(preparation: Preparation, folder: &Path) -> Duration {
        let supervisor = Supervisor::open(folder, Vec::new(), Probes::new())
            .await
            .expect("opened");
        let inner = Arc::new(Inner::default());
        let witness: Witness =
            Arc::new(|unit, incident| format!("{unit} raised it in {incident:?}"));
        let executor: Arc<dyn Executor> = Arc::<Inner>::clone(&inner);
        let prepared = Prepared::new(executor, preparation, folder, Arc::new(supervisor), witness);
        assert_eq!(prepared.recall(), Recall::Fenced);
        let began = Instant::now();
        prepared.restart(permit(7)).await.expect("restarted");
        let called = inner.0.lock().expect("no panic").clone();
        assert_eq!(called.len(), 1);
        called[0] - began
    }

    fn kept(folder: &Path) -> String {
        let path = folder
            .join(FOLDER)
            .join("incident-12-action-7-shop_cart.txt");
        std::fs::read_to_string(path).expect("it was kept")
    }

    #[tokio::test]
    async fn what_would_be_lost_is_kept_first() {
        let folder = tempfile::tempdir().expect("a folder");
        let server = Server::start(vec![Script::answer(200, "saved")]).await;
        let script = "echo \"$REKINDLE_UNIT in $REKINDLE_INCIDENT\"; seq 1000000; exit 3";
        let preparation = Preparation {
            drain: Duration::from_millis(50),
            ask: Some(HttpSpec {
                url: server.url("/prepare"),
                timeout: Duration::from_secs(5),
            }),
            save: Some(CommandSpec {
                command: ["sh", "-c", script].map(str::to_owned).to_vec(),
                timeout: Duration::from_secs(20),
            }),
        };
        let took = play(preparation, folder.path()).await;
        assert!(took >= Duration::from_millis(50), "{took:?}");
        let text = kept(folder.path());
        assert!(text.starts_with("unit shop/cart, action 7, generation 3 to come, incident 12\n"));
        for part in [
            "shop/cart raised it in Some(12)",
            "shop/cart in 12\n1\n2\n",
            "exited with code 3",
        ] {
            assert!(text.contains(part), "{part}: {}", &text[..500]);
        }
        assert!(text.len() < MOST_OUTPUT + MOST_SEEN, "{}", text.len());
        let requests = server.requests();
        assert!(requests[0].starts_with("POST /prepare "), "{requests:?}");
        assert!(
            requests[0].to_lowercase().contains("idempotency-key: 7"),
            "{requests:?}"
        );
    }

    #[tokio::test]
    async fn what_does_not_answer_is_restarted_all_the_same() {
        let folder = tempfile::tempdir().expect("a folder");
        let server = Server::start(vec![Script::Silent]).await;
        let preparation = Preparation {
            drain: Duration::ZERO,
            ask: Some(HttpSpec {
                url: server.url("/"),
                timeout: Duration::from_millis(100),
            }),
            save: Some(CommandSpec {
                command: ["sh", "-c", "echo begun; sleep 60"]
                    .map(str::to_owned)
                    .to_vec(),
                timeout: Duration::from_millis(200),
            }),
        };
        assert_eq!(
            preparation.longest(),
            Duration::from_millis(200) + command::GRACE
        );
        play(preparation, folder.path()).await;
        let text = kept(folder.path());
        assert!(
            text.contains("begun") && text.contains("did not end within"),
            "{text}"
        );
    }

    #[test]
    fn the_oldest_go_first() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path().join(FOLDER);
        for number in 0..MOST_FILES + 3 {
            keep(&folder.join(format!("{number}.txt")), b"x").expect("kept");
        }
        let left = std::fs::read_dir(&folder).expect("a folder").count();
        assert_eq!(left, MOST_FILES);
        assert!(folder.join(format!("{}.txt", MOST_FILES + 2)).exists());
    }
}
