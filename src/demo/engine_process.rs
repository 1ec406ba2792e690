//! The engine as the demonstration runs it: `rekindle run` in a process of its own, with a
//! configuration written for it, and its API over a socket.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::interrupt::Interrupt;
use crate::view::View;

/// How long the engine may take until it answers: it opens a database and three sockets.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// How long it may take to end with all its children.
const STOP_DEADLINE: Duration = Duration::from_secs(15);

/// Three addresses of this machine that nobody listens on now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addresses {
    pub(super) grpc: SocketAddr,
    pub(super) http: SocketAddr,
    pub(super) api: SocketAddr,
}

impl Addresses {
    /// Free ones, but for the page's where that was given.
    pub(super) fn free(api: Option<SocketAddr>) -> anyhow::Result<Self> {
        let sockets: Vec<TcpListener> = (0..3)
            .map(|_| TcpListener::bind("127.0.0.1:0"))
            .collect::<Result<_, _>>()
            .context("no free port on 127.0.0.1")?;
        let address = |index: usize| sockets[index].local_addr();
        Ok(Self {
            grpc: address(0)?,
            http: address(1)?,
            api: api.map_or_else(|| address(2), Ok)?,
        })
    }
}

/// A running engine. It is stopped, with the processes that it supervises, when this is dropped.
#[derive(Debug)]
pub(super) struct EngineProcess {
    child: Child,
    pub(super) api: String,
    agent: ureq::Agent,
}

impl EngineProcess {
    /// Starts it with the configuration file, and waits until it is ready.
    pub(super) fn start(
        config: &Path,
        log: &Path,
        api: SocketAddr,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("where this program is can't be told")?;
        let log_file = File::create(log).with_context(|| format!("creating {}", log.display()))?;
        let child = Command::new(program)
            .arg("run")
            .arg("--config")
            .arg(config)
            .arg("--stop-children")
            .stdin(Stdio::null())
            .stdout(log_file.try_clone()?)
            .stderr(log_file)
            .spawn()
            .context("the engine could not be started")?;
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(2)))
            // A proxy for the web has no business on loopback.
            .proxy(None)
            .build()
            .new_agent();
        let mut engine = Self {
            child,
            api: format!("http://{api}"),
            agent,
        };
        let begun = Instant::now();
        while engine
            .agent
            .get(format!("{}/-/ready", engine.api))
            .call()
            .is_err()
        {
            if let Some(status) = engine.child.try_wait()? {
                let said = std::fs::read_to_string(log).unwrap_or_default();
                bail!("the engine ended with {status}; it said:\n{said}");
            }
            if begun.elapsed() > START_DEADLINE {
                bail!(
                    "the engine did not answer at {} within {START_DEADLINE:?}",
                    engine.api
                );
            }
            interrupt.sleep(Duration::from_millis(20))?;
        }
        Ok(engine)
    }

    /// What the engine knows now.
    pub(super) fn view(&self) -> anyhow::Result<View> {
        self.agent
            .get(format!("{}/api/v1/view", self.api))
            .call()
            .and_then(|mut response| {
                response
                    .body_mut()
                    .with_config()
                    .limit(64 << 20)
                    .read_json()
            })
            .with_context(|| format!("asking the engine at {}", self.api))
    }

    /// Waits until somebody ends the engine, or interrupts us (from a terminal, that is both).
    pub(super) fn wait(&mut self, interrupt: &Interrupt) -> anyhow::Result<()> {
        while self
            .child
            .try_wait()
            .context("waiting for the engine")?
            .is_none()
            && interrupt.sleep(Duration::from_millis(100)).is_ok()
        {}
        Ok(())
    }
}

impl Drop for EngineProcess {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        // It may have ended already, which is what is wanted.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let begun = Instant::now();
        while begun.elapsed() < STOP_DEADLINE {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
