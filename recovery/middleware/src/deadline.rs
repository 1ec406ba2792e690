//! When does a service stop working on a request?
//!
//! When its time to live is over: whoever asked has gone, and work for nobody keeps others waiting,
//! most of all after a restart, when everybody comes back at once. The handler's future is dropped,
//! and the answer is `503` with a time to come back.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderValue, Request, Response, StatusCode};
use tower_layer::Layer;
use tower_service::Service;

use crate::vocabulary::{RETRY_AFTER_MS, TimeLeft, as_millis, time_to_live};

/// When to come back with a request that was out of time: the work was too slow, so a moment later is
/// no better than a second later.
const COME_BACK: Duration = Duration::from_secs(1);

/// Gives up requests whose time is over, and tells handlers what is left, as [`TimeLeft`] in the
/// request's extensions.
#[derive(Clone, Copy, Debug)]
pub struct DeadlineLayer {
    longest: Duration,
}

impl DeadlineLayer {
    /// No request gets more time than `longest`, whatever it says.
    pub fn new(longest: Duration) -> Self {
        Self { longest }
    }
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = DeadlineService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        DeadlineService {
            inner,
            longest: self.longest,
        }
    }
}

/// The service that [`DeadlineLayer`] makes.
#[derive(Clone, Debug)]
pub struct DeadlineService<S> {
    inner: S,
    longest: Duration,
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
        let ttl = time_to_live(request.headers()).unwrap_or(self.longest);
        let time = TimeLeft::of(ttl.min(self.longest));
        if time.left().is_zero() {
            return Box::pin(std::future::ready(Ok(out_of_time())));
        }
        request.extensions_mut().insert(time);
        let work = self.inner.call(request);
        Box::pin(async move {
            match tokio::time::timeout_at(time.until(), work).await {
                Ok(answer) => answer,
                Err(_elapsed) => Ok(out_of_time()),
            }
        })
    }
}

fn out_of_time<R: Default>() -> Response<R> {
    let mut answer = Response::new(R::default());
    *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let headers = answer.headers_mut();
    headers.insert(RETRY_AFTER, HeaderValue::from(COME_BACK.as_secs()));
    headers.insert(RETRY_AFTER_MS, HeaderValue::from(as_millis(COME_BACK)));
    answer
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use tower::{ServiceExt as _, service_fn};

    use super::*;
    use crate::RetryLayer;
    use crate::vocabulary::{TTL, come_back_in};

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
            let front = service_fn(move |request: Request<()>| async move {
                let mut to_part = Request::get("/part").body(()).expect("a request");
                *to_part.extensions_mut() = request.extensions().clone();
                let answer = match layer {
                    Some(layer) => layer.layer(part).oneshot(to_part).await.ok(),
                    None => part.oneshot(to_part).await.ok(),
                };
                Ok::<_, Infallible>(answer.expect("an answer"))
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
