//! How is a command run for a restart or a probe, and what does the way it ends mean?
//!
//! An argument vector, never a shell, and nothing in it that came in telemetry. It runs in a
//! process group of its own, so that when its time is up all that it started ends with it. Its
//! output is read and thrown away but for the end, which is where programs say what went wrong.

use std::collections::VecDeque;
use std::fmt;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};

use crate::executor::{
    ActionId, BoxFuture, Effect, ExecuteError, Executed, Executor, Life, Permit,
};
use crate::probe::Probes;
use crate::process::{GENERATION_VARIABLE, STATE_VARIABLE, UNIT_VARIABLE, end_own_group, explain};
use crate::{CommandSpec, ProbeSpec, UnitName};

/// The environment variable with the action's id.
pub(crate) const ACTION_VARIABLE: &str = "REKINDLE_ACTION";
/// The end of its error output that is kept.
const TAIL_BYTES: usize = 2048;
/// The lines of it that people are shown.
const TAIL_LINES: usize = 3;
/// How long a command whose time is up may take to end after TERM before KILL.
const GRACE: Duration = Duration::from_millis(500);
/// How long its output is read on after it has ended: something it left running may hold the pipe
/// open for ever.
const DRAIN: Duration = Duration::from_millis(100);

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CommandEnd {
    /// With 0.
    Success,
    /// With something else; the code if it wasn't a signal, and the end of its error output.
    Failed { how: String, said: String },
    /// It never ran.
    NotStarted(String),
    /// It was ended when its time was up.
    TimedOut(Duration),
    /// Nobody knows.
    Lost(String),
}

impl fmt::Display for CommandEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Success => f.write_str("it succeeded"),
            Self::Failed { how, said } if said.is_empty() => f.write_str(how),
            Self::Failed { how, said } => write!(f, "{how}: {said}"),
            Self::NotStarted(reason) => f.write_str(reason),
            Self::TimedOut(timeout) => write!(f, "it did not end within {timeout:?}"),
            Self::Lost(reason) => write!(f, "it could not be waited for: {reason}"),
        }
    }
}

/// Runs a command to its end, or to `timeout` and not much longer.
pub(crate) async fn run(
    command: &[String],
    environment: &[(&str, String)],
    timeout: Duration,
) -> CommandEnd {
    carry_out(command, environment, timeout, &mut None).await
}

/// What a command printed, from the beginning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Printed {
    pub text: String,
    /// How much of it isn't kept.
    pub cut_bytes: u64,
}

/// As [`run`], and keeps the first `at_most` bytes of what it prints to its output, however it ends.
pub(crate) async fn run_keeping(
    command: &[String],
    environment: &[(&str, String)],
    timeout: Duration,
    at_most: usize,
) -> (CommandEnd, Printed) {
    let mut head = Some(Head {
        kept: Vec::new(),
        at_most,
        cut: 0,
    });
    let end = carry_out(command, environment, timeout, &mut head).await;
    let printed = head.map_or_else(Printed::default, |head| Printed {
        text: String::from_utf8_lossy(&head.kept).into_owned(),
        cut_bytes: head.cut,
    });
    (end, printed)
}

async fn carry_out(
    command: &[String],
    environment: &[(&str, String)],
    timeout: Duration,
    head: &mut Option<Head>,
) -> CommandEnd {
    let Some((program, arguments)) = command.split_first() else {
        return CommandEnd::NotStarted("its command is empty".to_owned());
    };
    let output = match head {
        Some(_) => Stdio::piped(),
        None => Stdio::null(),
    };
    let spawned = Command::new(program)
        .args(arguments)
        // A supervised child's marks must not be found on a command that it isn't.
        .env_remove(STATE_VARIABLE)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn();
    let mut child = match spawned {
        Ok(child) => EndWithGroup(child),
        Err(error) => return CommandEnd::NotStarted(explain(program, &error).to_string()),
    };
    let mut tail = Tail::default();
    let mut stderr = child.0.stderr.take();
    let mut stdout = child.0.stdout.take();
    let waited = tokio::time::timeout(timeout, async {
        tokio::select! {
            ended = child.0.wait() => ended,
            // Ends only with an error or when nobody can write any more; the exit still counts.
            () = listen(head, &mut stdout, &mut tail, &mut stderr) => child.0.wait().await,
        }
    })
    .await;
    let status = match waited {
        Ok(Ok(status)) => status,
        Ok(Err(error)) => return CommandEnd::Lost(error.to_string()),
        Err(_elapsed) => {
            // Not by waiting for the child: once it is waited for, nothing pins its group's number
            // any more, and who ignores TERM in there would be out of reach.
            if let Some(pid) = child.0.id() {
                drop(tokio::task::spawn_blocking(move || end_own_group(pid, GRACE)).await);
            }
            return CommandEnd::TimedOut(timeout);
        }
    };
    if status.success() && head.is_none() {
        return CommandEnd::Success;
    }
    let rest = listen(head, &mut stdout, &mut tail, &mut stderr);
    drop(tokio::time::timeout(DRAIN, rest).await);
    if status.success() {
        return CommandEnd::Success;
    }
    let how = match (
        status.code(),
        std::os::unix::process::ExitStatusExt::signal(&status),
    ) {
        (Some(code), _) => format!("{program} exited with code {code}"),
        (None, Some(signal)) => format!("{program} was killed by signal {signal}"),
        (None, None) => format!("{program} ended with {status}"),
    };
    CommandEnd::Failed {
        how,
        said: tail.last_lines(),
    }
}

/// A child whose group is killed if it is dropped before it was waited for, so that a probe that is
/// given up leaves nothing behind.
struct EndWithGroup(Child);

impl EndWithGroup {
    /// To the whole group, while the child is not waited for and so pins the group's number.
    fn signal(&self, signal: Signal) {
        let number = self
            .0
            .id()
            .and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        if let Some(number) = number {
            let _ = kill_process_group(number, signal);
        }
    }
}

impl Drop for EndWithGroup {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// Reads both streams until neither can be written to any more.
async fn listen(
    head: &mut Option<Head>,
    stdout: &mut Option<impl AsyncRead + Unpin>,
    tail: &mut Tail,
    stderr: &mut Option<impl AsyncRead + Unpin>,
) {
    let printed = async {
        if let Some(head) = head {
            head.read_from(stdout).await;
        }
    };
    tokio::join!(printed, tail.read_from(stderr));
}

/// The beginning of a stream of text.
struct Head {
    kept: Vec<u8>,
    at_most: usize,
    cut: u64,
}

impl Head {
    async fn read_from(&mut self, stream: &mut Option<impl AsyncRead + Unpin>) {
        let Some(stream) = stream else { return };
        let mut buffer = [0_u8; 4096];
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            let fits = count.min(self.at_most - self.kept.len());
            self.kept.extend_from_slice(&buffer[..fits]);
            self.cut += (count - fits) as u64;
        }
    }
}

/// The end of a stream of text.
#[derive(Default)]
struct Tail(VecDeque<u8>);

impl Tail {
    async fn read_from(&mut self, stream: &mut Option<impl AsyncRead + Unpin>) {
        let Some(stream) = stream else { return };
        let mut buffer = [0_u8; 1024];
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            self.0.extend(&buffer[..count]);
            let surplus = self.0.len().saturating_sub(TAIL_BYTES);
            self.0.drain(..surplus);
        }
    }

    fn last_lines(mut self) -> String {
        let text = String::from_utf8_lossy(self.0.make_contiguous()).into_owned();
        let lines: Vec<&str> = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("; ")
    }
}

/// Restarts a unit by running a command.
#[derive(Debug)]
pub struct CommandExecutor {
    spec: CommandSpec,
    ready: Option<ProbeSpec>,
    probes: Probes,
}

impl CommandExecutor {
    /// For one unit: what to run, and how to ask whether it is ready afterwards.
    pub fn new(spec: CommandSpec, ready: Option<ProbeSpec>, probes: Probes) -> Self {
        Self {
            spec,
            ready,
            probes,
        }
    }

    async fn carry_out(&self, permit: Permit) -> Result<Executed, ExecuteError> {
        let began = Instant::now();
        let stopped_at = SystemTime::now();
        let unit = permit.unit().clone();
        let environment = [
            (UNIT_VARIABLE, unit.to_string()),
            (ACTION_VARIABLE, permit.action().to_string()),
            (GENERATION_VARIABLE, permit.generation().to_string()),
        ];
        let end = run(&self.spec.command, &environment, self.spec.timeout).await;
        let reason = end.to_string();
        match end {
            CommandEnd::Success => {}
            CommandEnd::NotStarted(_) => return Err(ExecuteError::Refused { unit, reason }),
            // It ran, and may have ended the old life before it failed.
            CommandEnd::Failed { .. } => {
                let until = began + permit.deadline();
                let ready = self.ready.as_ref();
                return Err(self
                    .probes
                    .after_failure(ready, &permit, until, reason)
                    .await);
            }
            CommandEnd::TimedOut(_) | CommandEnd::Lost(_) => {
                return Err(ExecuteError::Unknown { unit, reason });
            }
        }
        let ended = began.elapsed();
        self.probes
            .until_ready(self.ready.as_ref(), began + permit.deadline())
            .await
            .map_err(|failure| ExecuteError::NotReady {
                unit,
                deadline: permit.deadline(),
                reason: failure.reason,
            })?;
        Ok(Executed {
            stopped_at,
            ready_at: SystemTime::now(),
            began: Life::default(),
            note: format!(
                "the command ended after {ended:.0?}, ready after {:.0?}",
                began.elapsed()
            ),
        })
    }
}

impl Executor for CommandExecutor {
    fn restart(&self, permit: Permit) -> BoxFuture<'_, Result<Executed, ExecuteError>> {
        Box::pin(self.carry_out(permit))
    }

    /// A command can't be asked later.
    fn inquire<'a>(
        &'a self,
        _action: ActionId,
        _unit: &'a UnitName,
        _generation: u64,
    ) -> BoxFuture<'a, Effect> {
        Box::pin(std::future::ready(Effect::Unknown))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(10);
    const SHORT: Duration = Duration::from_millis(200);

    fn executor(command: &[&str], timeout: Duration) -> CommandExecutor {
        let command = command.iter().map(|&part| part.to_owned()).collect();
        CommandExecutor::new(CommandSpec { command, timeout }, None, Probes::new())
    }

    fn permit() -> Permit {
        Permit::new(ActionId(17), "web".into(), 3, Duration::from_secs(5))
    }

    #[tokio::test]
    async fn each_end_of_a_command_has_its_meaning() {
        for (command, timeout, expected) in [
            (&["true"][..], LONG, "done"),
            (
                &[
                    "sh",
                    "-c",
                    "seq 100000 >&2; echo '  no such service ' >&2; exit 5",
                ],
                LONG,
                "whether web was restarted is unknown: sh exited with code 5: 99999; 100000; no such service",
            ),
            (
                &["sh", "-c", "kill -9 $$"],
                LONG,
                "whether web was restarted is unknown: sh was killed by signal 9",
            ),
            (
                &["/no/such/restarter"],
                LONG,
                "restart of web was refused: command /no/such/restarter does not exist",
            ),
            (
                &["/proc/self/status"],
                LONG,
                "restart of web was refused: command /proc/self/status may not be executed",
            ),
            (
                &["sh", "-c", "trap '' TERM; while :; do sleep 0.05; done"],
                SHORT,
                "whether web was restarted is unknown: it did not end within 200ms",
            ),
        ] {
            let said = match executor(command, timeout).restart(permit()).await {
                Ok(_) => "done".to_owned(),
                Err(error) => error.to_string(),
            };
            assert_eq!(said, expected, "{command:?}");
        }
    }

    #[tokio::test]
    async fn what_a_command_prints_is_kept_from_its_beginning_however_it_ends() {
        for (script, timeout, end, text, cut) in [
            ("printf 'ab'; echo no >&2", LONG, "it succeeded", "ab", 0),
            ("printf 'abcdefgh'", LONG, "it succeeded", "abcdef", 2),
            (
                "printf 'ab'; exit 3",
                LONG,
                "sh exited with code 3",
                "ab",
                0,
            ),
            (
                "printf 'ab'; exec sleep 60",
                SHORT,
                "it did not end within 200ms",
                "ab",
                0,
            ),
            // What it leaves running holds the pipe, and nobody waits for that.
            ("sleep 0.3 & printf 'ab'", LONG, "it succeeded", "ab", 0),
        ] {
            let command = ["sh".to_owned(), "-c".to_owned(), script.to_owned()];
            let (ended, printed) = run_keeping(&command, &[], timeout, 6).await;
            assert_eq!(ended.to_string(), end, "{script}");
            assert_eq!(
                (printed.text.as_str(), printed.cut_bytes),
                (text, cut),
                "{script}"
            );
        }
    }

    #[tokio::test]
    async fn a_command_learns_what_it_is_for_and_is_never_a_shell() {
        let script = r#"test "$REKINDLE_UNIT/$REKINDLE_ACTION/$REKINDLE_GENERATION" = web/17/3 -a "$1" = '$(id); x'"#;
        executor(&["sh", "-c", script, "sh", "$(id); x"], LONG)
            .restart(permit())
            .await
            .expect("as it should be");
    }

    #[tokio::test]
    async fn what_a_command_leaves_running_does_not_hold_it_up() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("pid");
        let script = format!("sleep 60 & echo $! > {}; exit 4", file.display());
        let error = executor(&["sh", "-c", &script], LONG)
            .restart(permit())
            .await
            .expect_err("exits with 4");
        assert!(error.to_string().ends_with("code 4"), "{error}");
        let left: i32 = std::fs::read_to_string(file)
            .expect("written")
            .trim()
            .parse()
            .expect("a pid");
        rustix::process::kill_process(Pid::from_raw(left).expect("a pid"), Signal::KILL)
            .expect("it was left running: a command may start what shall stay");
    }

    #[tokio::test]
    async fn a_command_that_is_given_up_leaves_nothing_behind() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("pid");
        let script = format!("sleep 60 & echo $! > {}; wait", file.display());
        let command = ["sh".to_owned(), "-c".to_owned(), script];
        let pid = tokio::select! {
            end = run(&command, &[], LONG) => panic!("{end}"),
            pid = async {
                loop {
                    let text = std::fs::read_to_string(&file).unwrap_or_default();
                    if let Ok(pid) = text.trim().parse::<i32>() { break pid; }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            } => pid,
        };
        // Bounded by the test harness: a survivor would live for a minute.
        let pid = Pid::from_raw(pid).expect("a pid");
        let until = Instant::now() + LONG;
        while rustix::process::test_kill_process(pid).is_ok() && crate::testing::lives(pid) {
            assert!(Instant::now() < until, "it lives on");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
