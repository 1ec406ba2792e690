//! One process of the site: its store, its components, its two ports, its end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use super::container::{Container, Factory, Limits};
use super::control::{self, Control};
use super::peers::Peers;
use super::public::{self, Route};
use super::store::{Store, StoreError};
use super::telemetry::Tracing;
use super::{ServiceName, ServiceOptions, accounts, bidding, catalog, sessions, web};
use crate::wire::HttpPool;

/// Threads that move bytes for the public port; the components' work is on threads of their own.
const PUBLIC_THREADS: usize = 2;

/// Why a process of the site can't run.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// Its data can't be used.
    #[error("prepare the store of {service}")]
    Store {
        /// Which service.
        service: ServiceName,
        /// Why not.
        source: StoreError,
    },
    /// A port is not to be had.
    #[error("listen on {address} for {service}")]
    Bind {
        /// Which service.
        service: ServiceName,
        /// Which address.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// Its spans can't be sent to the endpoint given.
    #[error("export the spans of {service}")]
    Export {
        /// Which service.
        service: ServiceName,
        /// Why not.
        source: opentelemetry_otlp::ExporterBuildError,
    },
    /// A thread or a signal handler is not to be had.
    #[error("start a runtime for {service}")]
    Runtime {
        /// Which service.
        service: ServiceName,
        /// Why not.
        source: std::io::Error,
    },
}

/// A running service. It ends when it is dropped; threads that are stuck stay until the process
/// ends.
pub struct Service {
    name: ServiceName,
    address: SocketAddr,
    control_address: SocketAddr,
    container: Arc<Container>,
    tracing: Tracing,
    stop: watch::Sender<bool>,
    public: Option<Runtime>,
    control: Option<JoinHandle<()>>,
}

impl Service {
    /// Starts and waits until every component has started or failed to.
    ///
    /// # Errors
    /// When store, ports, threads or exporter aren't to be had. A component that fails to start is
    /// no error: it is down, and can be microrebooted.
    pub fn start(options: &ServiceOptions) -> Result<Self, ServiceError> {
        Self::start_with(options, |options| {
            Tracing::start(options).map_err(|source| ServiceError::Export {
                service: options.service,
                source,
            })
        })
    }

    pub(super) fn start_with(
        options: &ServiceOptions,
        tracing: impl FnOnce(&ServiceOptions) -> Result<Tracing, ServiceError>,
    ) -> Result<Self, ServiceError> {
        let service = options.service;
        let runtime_failed = |source| ServiceError::Runtime { service, source };
        let public = Builder::new_multi_thread()
            .worker_threads(PUBLIC_THREADS)
            .thread_name(format!("{service}-public"))
            .enable_all()
            .build()
            .map_err(runtime_failed)?;
        let listener = public.block_on(bind(service, options.listen))?;
        let control_runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(runtime_failed)?;
        let control_listener = control_runtime.block_on(bind(service, options.control))?;
        let address = local_address(service, &listener, options.listen)?;
        let control_address = local_address(service, &control_listener, options.control)?;

        let tracing = {
            let _entered = public.enter();
            tracing(options)?
        };
        let store = Store::prepare(&options.data, service, &options.world())
            .map_err(|source| ServiceError::Store { service, source })?;
        let (routes, components) = parts(service, &store);
        let addresses = options
            .peers
            .iter()
            .map(|peer| (peer.service, peer.address))
            .collect();
        let container = Container::new(
            tracing.clone(),
            Peers::new(addresses, HttpPool::new(public.handle().clone())),
            Limits {
                abandoned: options.max_abandoned,
                start: Duration::from_millis(options.start_limit_ms),
            },
            components,
        );

        let (stop, stopped) = watch::channel(false);
        let budget = Duration::from_millis(options.budget_ms);
        let router = public::router(Arc::clone(&container), routes, budget);
        public.spawn(serve(listener, router, stopped.clone()));
        let router = control::router(Control {
            container: Arc::clone(&container),
            service,
            generation: options.generation,
            tracing: tracing.clone(),
        });
        let control = std::thread::Builder::new()
            .name(format!("{service}-control"))
            .spawn(move || {
                control_runtime.block_on(serve(control_listener, router, stopped));
                control_runtime.shutdown_background();
            })
            .map_err(runtime_failed)?;
        public.block_on(container.start_all());
        tracing::info!(%service, %address, control = %control_address, "ready");
        Ok(Self {
            name: service,
            address,
            control_address,
            container,
            tracing,
            stop,
            public: Some(public),
            control: Some(control),
        })
    }

    /// Which service it is.
    pub fn name(&self) -> ServiceName {
        self.name
    }

    /// Where it answers requests.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it is controlled.
    pub fn control_address(&self) -> SocketAddr {
        self.control_address
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        self.container.end_all();
        self.tracing.flush();
        if let Some(control) = self.control.take() {
            let _ = control.join();
        }
        if let Some(public) = self.public.take() {
            public.shutdown_background();
        }
    }
}

/// Runs a process of the site until it is told to end (TERM or INT). The generation is taken from
/// `REKINDLE_GENERATION`.
///
/// # Errors
/// As [`Service::start`].
pub fn main(options: &ServiceOptions) -> Result<(), ServiceError> {
    let service = options.service;
    let running = Service::start(options)?;
    if let Some(public) = &running.public {
        public
            .block_on(told_to_end())
            .map_err(|source| ServiceError::Runtime { service, source })?;
    }
    Ok(())
}

async fn told_to_end() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

async fn bind(service: ServiceName, address: SocketAddr) -> Result<TcpListener, ServiceError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| ServiceError::Bind {
            service,
            address,
            source,
        })
}

fn local_address(
    service: ServiceName,
    listener: &TcpListener,
    address: SocketAddr,
) -> Result<SocketAddr, ServiceError> {
    listener.local_addr().map_err(|source| ServiceError::Bind {
        service,
        address,
        source,
    })
}

async fn serve(listener: TcpListener, router: axum::Router, mut stopped: watch::Receiver<bool>) {
    tokio::select! {
        served = axum::serve(listener, router) => {
            if let Err(error) = served {
                tracing::error!(%error, "a port is no longer served");
            }
        }
        _ = stopped.wait_for(|stopped| *stopped) => {}
    }
}

/// What a service consists of.
fn parts(service: ServiceName, store: &Store) -> (&'static [Route], Vec<(&'static str, Factory)>) {
    match service {
        ServiceName::Web => (web::ROUTES, web::components(store)),
        ServiceName::Catalog => (catalog::ROUTES, catalog::components(store)),
        ServiceName::Bidding => (bidding::ROUTES, bidding::components(store)),
        ServiceName::Accounts => (accounts::ROUTES, accounts::components(store)),
        ServiceName::Sessions => (sessions::ROUTES, sessions::components(store)),
    }
}
