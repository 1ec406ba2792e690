//! Where the five processes of the auction site run, and how Rekindle is told of them.
//!
//! A plan fixes ports, folders and seed before anything runs, because a process that is restarted
//! must come back where its peers and its users look for it. From the plan come the commands, the
//! restart tree for a configuration, and a handle to make things ill and ask how they are.

mod tree;

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::auction::world::{Scale, World};
use crate::auction::{Fault, Leak, Peer, ServiceName, ServiceStatus};
use crate::probes::{self, KnownAnswer};

pub use rekindle_recovery::Mode;
pub use tree::Granularity;

/// Ports are looked for from here to [`LAST_PORT`]: below what Linux gives to outgoing connections
/// (from 32768), so that no connection takes a port while its process is being restarted.
const FIRST_PORT: u16 = 20_000;
const LAST_PORT: u16 = 32_000;

/// Each service has a public and a control port.
const PORTS: u16 = 2 * ServiceName::ALL.len() as u16;

/// How long the control port may take to answer.
const CONTROL_TIMEOUT: Duration = Duration::from_secs(2);

/// How often [`Deployment::wait_ready`] asks.
const READY_PAUSE: Duration = Duration::from_millis(20);

/// What can go wrong with a deployment.
#[derive(Debug, thiserror::Error)]
pub enum DeploymentError {
    /// No ports in a row are free.
    #[error("find {PORTS} free ports in a row between {FIRST_PORT} and {LAST_PORT}")]
    NoPorts,
    /// The folder has no absolute path.
    #[error("resolve folder {path}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The running program's own path is not to be had.
    #[error("find the path of this program")]
    Program(#[source] std::io::Error),
    /// There is no such component.
    #[error("there is no component {0}")]
    NoComponent(String),
    /// A process isn't ready in time.
    #[error("{service} is not ready after {waited:?}")]
    NotReady {
        /// Which.
        service: ServiceName,
        /// How long was waited.
        waited: Duration,
    },
    /// A control port refused, or didn't answer.
    #[error("ask the control port of {service}: {reason}")]
    Control {
        /// Whose.
        service: ServiceName,
        /// In words.
        reason: String,
    },
}

/// Which ports to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ports {
    /// Ten in a row that are free now.
    Free,
    /// Ten in a row, from this one.
    From(u16),
}

/// Where one service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which service.
    pub service: ServiceName,
    /// Where it answers requests.
    pub public: SocketAddr,
    /// Where it is controlled.
    pub control: SocketAddr,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Deployment {
    program: PathBuf,
    leading_arguments: Vec<String>,
    data: PathBuf,
    otlp: String,
    export_delay: Option<Duration>,
    world: World,
    places: Vec<Place>,
    with_checks: bool,
    /// The service that runs in a container, and its engine's socket.
    container: Option<(ServiceName, PathBuf)>,
}

impl Deployment {
    /// Plans a site whose data are in `base_dir/auction`. Spans go to `otlp_endpoint` (OTLP/gRPC, as
    /// `http://127.0.0.1:4317`) every `export_delay`; `None` is what the SDK does on its own (5 s).
    /// Nothing is started. The processes are run as `THIS_PROGRAM auction SERVICE …`.
    ///
    /// # Errors
    /// When no ports are free, or folder or program have no path.
    pub fn plan(
        base_dir: &Path,
        otlp_endpoint: &str,
        export_delay: Option<Duration>,
        seed: u64,
        ports: Ports,
    ) -> Result<Self, DeploymentError> {
        let base = std::path::absolute(base_dir).map_err(|source| DeploymentError::Folder {
            path: base_dir.to_owned(),
            source,
        })?;
        let first = match ports {
            Ports::From(first) => first,
            Ports::Free => free_ports().ok_or(DeploymentError::NoPorts)?,
        };
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let places = ServiceName::ALL
            .into_iter()
            .zip((first..).step_by(2))
            .map(|(service, port)| Place {
                service,
                public: at(port),
                control: at(port + 1),
            })
            .collect();
        Ok(Self {
            program: std::env::current_exe().map_err(DeploymentError::Program)?,
            leading_arguments: vec!["auction".to_owned()],
            data: base.join("auction"),
            otlp: otlp_endpoint.to_owned(),
            export_delay,
            world: World {
                seed,
                scale: Scale::default(),
            },
            places,
            with_checks: false,
            container: None,
        })
    }

    /// The same with other amounts of data.
    #[must_use]
    pub fn with_scale(mut self, scale: Scale) -> Self {
        self.world.scale = scale;
        self
    }

    /// The same with another program, and what comes before the service in its arguments.
    #[must_use]
    pub fn with_program(mut self, program: PathBuf, leading_arguments: Vec<String>) -> Self {
        self.program = program;
        self.leading_arguments = leading_arguments;
        self
    }

    /// The same with a question of known answer for each component in the restart tree. What a
    /// component says depends on those it asks, so a sick one can make its askers' checks fail too.
    #[must_use]
    pub fn with_checks(mut self) -> Self {
        self.with_checks = true;
        self
    }

    /// The same with a service in a container of its name, which somebody else starts, in an engine that
    /// speaks Docker's API on this socket.
    #[must_use]
    pub fn with_container(mut self, service: ServiceName, socket: PathBuf) -> Self {
        self.container = Some((service, socket));
        self
    }

    /// What is for sale.
    pub fn world(&self) -> World {
        self.world
    }

    /// Where every service is.
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// Where a service is.
    pub fn place(&self, service: ServiceName) -> Place {
        let unplanned = Place {
            service,
            public: SocketAddr::from(([127, 0, 0, 1], 0)),
            control: SocketAddr::from(([127, 0, 0, 1], 0)),
        };
        let found = self.places.iter().find(|place| place.service == service);
        found.copied().unwrap_or(unplanned)
    }

    /// What users talk to.
    pub fn web(&self) -> SocketAddr {
        self.place(ServiceName::Web).public
    }

    /// The program and arguments of a service's process.
    pub fn command(&self, service: ServiceName) -> Vec<String> {
        let place = self.place(service);
        let mut command = vec![self.program.display().to_string()];
        command.extend(self.leading_arguments.iter().cloned());
        let scale = self.world.scale;
        let mut option = |name: &str, value: String| {
            command.push(format!("--{name}"));
            command.push(value);
        };
        option("listen", place.public.to_string());
        option("control", place.control.to_string());
        option("data", self.data.display().to_string());
        option("otlp", self.otlp.clone());
        option("seed", self.world.seed.to_string());
        option("items", scale.items.to_string());
        option("bids", scale.bids.to_string());
        option("users", scale.users.to_string());
        if let Some(delay) = self.export_delay {
            option("export-delay-ms", delay.as_millis().to_string());
        }
        let peers = service.peers().iter().map(|&peer| Peer {
            service: peer,
            address: self.place(peer).public,
        });
        let peers: Vec<String> = peers.map(|peer| peer.to_string()).collect();
        if !peers.is_empty() {
            option("peers", peers.join(","));
        }
        command.insert(1 + self.leading_arguments.len(), service.to_string());
        command
    }

    /// The restart tree for a configuration: the key `restart` with all below it.
    pub fn to_yaml(&self, granularity: Granularity, mode: Mode) -> String {
        tree::to_yaml(self, granularity, mode)
    }

    /// Known answers through the front, to be asked every so often: the key `probes` of a
    /// configuration with all below it.
    pub fn probes_yaml(&self, every: Duration) -> String {
        tree::probes_yaml(self, every)
    }

    /// Waits until every process says that all its components have started.
    ///
    /// # Errors
    /// When one doesn't within `deadline`.
    pub fn wait_ready(&self, deadline: Duration) -> Result<(), DeploymentError> {
        let begun = Instant::now();
        for place in &self.places {
            while !is_ready(place.control) {
                if begun.elapsed() > deadline {
                    return Err(DeploymentError::NotReady {
                        service: place.service,
                        waited: begun.elapsed(),
                    });
                }
                std::thread::sleep(READY_PAUSE);
            }
        }
        Ok(())
    }

    /// Makes a component ill. The process crash (`crash` in the process's scope) has no answer, which
    /// counts as done.
    ///
    /// # Errors
    /// When there is no such component, or the control port refuses.
    pub fn inject(&self, fault: &Fault) -> Result<(), DeploymentError> {
        use crate::auction::{FaultKind, FaultScope};
        let service = ServiceName::of_component(&fault.component)
            .ok_or_else(|| DeploymentError::NoComponent(fault.component.clone()))?;
        let answer = agent()
            .post(self.control_url(service, "fault"))
            .send_json(fault);
        let kills = fault.scope == FaultScope::Process && fault.kind == FaultKind::Crash;
        let refusal = match answer {
            Ok(response) if response.status().is_success() => return Ok(()),
            Err(_) if kills => return Ok(()),
            answer => in_words(answer),
        };
        Err(DeploymentError::Control {
            service,
            reason: refusal,
        })
    }

    /// Lets a component leak from now until its next life.
    ///
    /// # Errors
    /// When there is no such component, or the control port refuses.
    pub fn leak(&self, leak: &Leak) -> Result<(), DeploymentError> {
        let service = ServiceName::of_component(&leak.component)
            .ok_or_else(|| DeploymentError::NoComponent(leak.component.clone()))?;
        let answer = agent()
            .post(self.control_url(service, "leak"))
            .send_json(leak);
        match answer {
            Ok(response) if response.status().is_success() => Ok(()),
            answer => Err(DeploymentError::Control {
                service,
                reason: in_words(answer),
            }),
        }
    }

    /// Undoes all faults of a service as far as that can be without a restart.
    ///
    /// # Errors
    /// When the control port doesn't answer.
    pub fn lift_faults(&self, service: ServiceName) -> Result<(), DeploymentError> {
        match agent().delete(self.control_url(service, "fault")).call() {
            Ok(response) if response.status().is_success() => Ok(()),
            answer => Err(DeploymentError::Control {
                service,
                reason: in_words(answer),
            }),
        }
    }

    /// What a process says of itself; its process id is there, for who wants to kill it.
    ///
    /// # Errors
    /// When it doesn't answer.
    pub fn status(&self, service: ServiceName) -> Result<ServiceStatus, DeploymentError> {
        let failed = |error: ureq::Error| DeploymentError::Control {
            service,
            reason: error.to_string(),
        };
        let mut response = agent()
            .get(self.control_url(service, "status"))
            .call()
            .map_err(failed)?;
        response.body_mut().read_json().map_err(failed)
    }

    /// A question whose answer shows whether this component works, and whom to ask.
    ///
    /// # Errors
    /// When there is no such component.
    pub fn question(&self, component: &str) -> Result<(SocketAddr, KnownAnswer), DeploymentError> {
        let unknown = || DeploymentError::NoComponent(component.to_owned());
        let service = ServiceName::of_component(component).ok_or_else(unknown)?;
        let question = probes::of_component(&self.world, component).ok_or_else(unknown)?;
        Ok((self.place(service).public, question))
    }

    fn control_url(&self, service: ServiceName, path: &str) -> String {
        format!("http://{}/{path}", self.place(service).control)
    }
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .timeout_global(Some(CONTROL_TIMEOUT))
        .http_status_as_error(false)
        // A proxy for the web has no business between the processes of one machine.
        .proxy(None)
        .build()
        .into()
}

fn in_words(answer: Result<http::Response<ureq::Body>, ureq::Error>) -> String {
    match answer {
        Ok(mut response) => {
            let said = response.body_mut().read_to_string().unwrap_or_default();
            format!("{} {said}", response.status())
        }
        Err(error) => error.to_string(),
    }
}

fn is_ready(control: SocketAddr) -> bool {
    let answer = agent().get(format!("http://{control}/ready")).call();
    answer.is_ok_and(|response| response.status().is_success())
}

/// The first of [`PORTS`] ports in a row that are free now. The search begins anywhere, so that two
/// plans made at once seldom meet.
fn free_ports() -> Option<u16> {
    let blocks = (LAST_PORT - FIRST_PORT) / PORTS;
    let offset = rand::random_range(0..blocks);
    (0..blocks)
        .map(|block| FIRST_PORT + PORTS * ((block + offset) % blocks))
        .find(|&first| {
            let ports = first..first + PORTS;
            let taken: Option<Vec<_>> = ports
                .map(|port| TcpListener::bind(("127.0.0.1", port)).ok())
                .collect();
            taken.is_some()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_names_ten_different_ports_and_whole_commands() {
        let folder = tempfile::tempdir().expect("a folder");
        let endpoint = "http://127.0.0.1:4317";
        let delay = Some(Duration::from_millis(200));
        let plan = Deployment::plan(folder.path(), endpoint, delay, 9, Ports::Free)
            .expect("a plan")
            .with_program("/bin/site".into(), vec!["auction".to_owned()]);
        let ports: std::collections::BTreeSet<_> = plan
            .places()
            .iter()
            .flat_map(|place| [place.public.port(), place.control.port()])
            .collect();
        assert_eq!(ports.len(), usize::from(PORTS));
        let command = plan.command(ServiceName::Bidding);
        assert_eq!(&command[..3], ["/bin/site", "auction", "bidding"]);
        let catalog = plan.place(ServiceName::Catalog).public;
        assert!(
            command.contains(&format!("catalog={catalog}")),
            "{command:?}"
        );
        assert!(
            command
                .windows(2)
                .any(|pair| pair == ["--export-delay-ms", "200"])
        );
        let error = plan
            .inject(&Fault::new(
                "catalog.nothing",
                crate::auction::FaultKind::Hang,
            ))
            .expect_err("no such component");
        assert_eq!(error.to_string(), "there is no component catalog.nothing");
    }
}
