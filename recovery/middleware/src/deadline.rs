//! When does a service stop working on a request?
//!
//! When its time to live is over: whoever asked has gone, and work for nobody keeps others waiting,
//! most of all after a restart, when everybody comes back at once. The handler's future is dropped,
//! and the answer is `503` with a time to come back: when what the service needs is back, where the
//! [engine](Engine) was heard to name it, else a second.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use crate::engine::Engine;
use crate::vocabulary::{TimeLeft, time_to_live, unavailable};

/// Gives up requests whose time is over, and tells handlers what is left, as [`TimeLeft`] in the
/// request's extensions.
#[derive(Clone, Debug)]
pub struct DeadlineLayer {
    longest: Duration,
    engine: Option<Engine>,
}

impl DeadlineLayer {
    /// No request gets more time than `longest`, whatever it says.
    pub fn new(longest: Duration) -> Self {
        Self {
            longest,
            engine: None,
        }
    }

    /// With what this engine announced about the unit that the service needs most, for saying when to
    /// come back. It isn't asked here, where time is over already, but where the unit was found away:
    /// by a [`RetryLayer`](crate::RetryLayer) with a clone of it.
    #[must_use]
    pub fn with_engine(mut self, engine: Engine) -> Self {
        self.engine = Some(engine);
        self
    }

    fn out_of_time<R: Default>(&self) -> Response<R> {
        unavailable(self.engine.as_ref().and_then(Engine::still_away))
    }
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = DeadlineService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        DeadlineService {
            inner,
            layer: self.clone(),
        }
    }
}

/// The service that [`DeadlineLayer`] makes.
#[derive(Clone, Debug)]
pub struct DeadlineService<S> {
    inner: S,
    layer: DeadlineLayer,
}

impl<S, B, R> Service<Request<B>> for DeadlineService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    R: Default + Send + 'static,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let ttl = time_to_live(request.headers()).unwrap_or(self.layer.longest);
        let time = TimeLeft::of(ttl.min(self.layer.longest));
        if time.left().is_zero() {
            return Box::pin(std::future::ready(Ok(self.layer.out_of_time())));
        }
        request.extensions_mut().insert(time);
        let work = self.inner.call(request);
        let layer = self.layer.clone();
        Box::pin(async move {
            match tokio::time::timeout_at(time.until(), work).await {
                Ok(answer) => answer,
                Err(_elapsed) => Ok(layer.out_of_time()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use tower::{ServiceExt as _, service_fn};

    use super::*;
    use crate::RetryLayer;
    use crate::engine::tests::{Does, engine};
    use crate::vocabulary::{RETRY_AFTER_MS, TTL, as_millis, come_back_in};

    #[tokio::test(start_paused = true)]
    async fn work_ends_with_the_time_of_its_request() {
        for (ttl, longest, takes, expected, begun) in [
            (Some(100), 1000, 50, 200, 1),
            (Some(100), 1000, 150, 503, 1),
            (Some(5000), 1000, 1500, 503, 1),
            (None, 1000, 900, 200, 1),
            // Nobody waits any more: it isn't even begun.
            (Some(0), 1000, 0, 503, 0),
        ] {
            let count = Arc::new(AtomicU32::new(0));
            let seen = Arc::clone(&count);
            let service = service_fn(move |request: Request<()>| {
                seen.fetch_add(1, Ordering::SeqCst);
                async move {
                    assert!(request.extensions().get::<TimeLeft>().is_some());
                    tokio::time::sleep(Duration::from_millis(takes)).await;
                    Ok::<_, Infallible>(Response::new(()))
                }
            });
            let mut request = Request::get("/");
            if let Some(ttl) = ttl {
                request = request.header(TTL, ttl);
            }
            let answer = DeadlineLayer::new(Duration::from_millis(longest))
                .layer(service)
                .oneshot(request.body(()).expect("a request"))
                .await
                .expect("it can't fail");
            assert_eq!(answer.status(), expected, "{ttl:?} {longest} {takes}");
            assert_eq!(count.load(Ordering::SeqCst), begun, "{ttl:?}");
            let comes_back = come_back_in(answer.headers());
            assert_eq!(comes_back.is_some(), expected == 503);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_waited_in_vain_for_a_part_that_is_away_comes_back_with_it() {
        for (away_for, expected) in [
            (None, 1000),
            // Of what was announced, 300 ms have passed when the time is over.
            (Some(2300), 2000),
            (Some(200), 1000),
        ] {
            let does = away_for.map_or(Does::Says(200, None), |ms| Does::Says(503, Some(ms)));
            let engine = engine(does);
            let to_part = RetryLayer::default()
                .with_engine(engine.clone())
                .layer(service_fn(|request: Request<()>| async move {
                    match *request.method() {
                        http::Method::POST => Err("nobody is there"),
                        _ => std::future::pending::<Result<Response<()>, _>>().await,
                    }
                }));
            let front = service_fn(move |_: Request<()>| {
                let to_part = to_part.clone();
                async move {
                    for method in [http::Method::POST, http::Method::GET] {
                        let request = Request::builder().method(method).body(());
                        let answer = to_part.clone().oneshot(request.expect("a request")).await;
                        answer.expect_err("nobody answers");
                    }
                    Ok::<_, Infallible>(Response::new(()))
                }
            });
            let answer = DeadlineLayer::new(Duration::from_millis(300))
                .with_engine(engine)
                .layer(front)
                .oneshot(Request::new(()))
                .await
                .expect("it can't fail");
            let comes_back = come_back_in(answer.headers()).map(as_millis);
            assert_eq!(comes_back, Some(expected), "{away_for:?}");
        }
    }

    /// How many of fifty users, one every 10 ms, fail when a part that the front asks is restarted
    /// for 120 ms of theirs.
    async fn failures(layer: Option<RetryLayer>) -> usize {
        let began = tokio::time::Instant::now();
        let mut users = tokio::task::JoinSet::new();
        for number in 0..50_u64 {
            let part = service_fn(move |_: Request<()>| async move {
                if !(200..320).contains(&began.elapsed().as_millis()) {
                    return Ok::<_, Infallible>(Response::new(()));
                }
                let answer = Response::builder().status(503).header(RETRY_AFTER_MS, 120);
                Ok(answer.body(()).expect("an answer"))
            });
            let layer = layer.clone();
            let front = service_fn(move |request: Request<()>| {
                let mut to_part = Request::get("/part").body(()).expect("a request");
                *to_part.extensions_mut() = request.extensions().clone();
                let layer = layer.clone();
                async move {
                    let answer = match layer {
                        Some(layer) => layer.layer(part).oneshot(to_part).await.ok(),
                        None => part.oneshot(to_part).await.ok(),
                    };
                    Ok::<_, Infallible>(answer.expect("an answer"))
                }
            });
            let front = DeadlineLayer::new(Duration::from_secs(2)).layer(front);
            users.spawn(async move {
                tokio::time::sleep_until(began + Duration::from_millis(number * 10)).await;
                let request = Request::get("/").body(()).expect("a request");
                let answer = front.oneshot(request).await.expect("it can't fail");
                answer.status()
            });
        }
        let statuses = users.join_all().await;
        statuses
            .iter()
            .filter(|status| !status.is_success())
            .count()
    }

    #[tokio::test(start_paused = true)]
    async fn a_microreboot_is_hidden_from_users() {
        assert_eq!(failures(None).await, 12);
        assert_eq!(failures(Some(RetryLayer::default())).await, 0);
    }
}
