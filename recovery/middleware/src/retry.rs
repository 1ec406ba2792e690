//! When is a request sent again?
//!
//! After an answer of `503` that says when to come back, or a failure to reach anybody, if the
//! request is idempotent and enough of its time is left. Any other answer is an answer. A request
//! that isn't idempotent is sent once: that it failed doesn't say that it wasn't carried out.
//!
//! When the next turn comes, the [engine](Engine) knows best, if there is one: it restarts what failed
//! and has seen how long that takes. Then whoever answered `503`. Who knows neither tries after pauses
//! that double. What the engine names and would outlast the request is no reason to give up: it is
//! what nine of ten restarts take, and this one may have begun long ago.
//!
//! Who comes back at the moment that was named comes with all others who were told the same, so each
//! waits up to a quarter longer, by chance.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderValue, Request, Response, StatusCode};
use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;

use crate::engine::Engine;
use crate::vocabulary::{
    TTL, TimeLeft, as_millis, come_back_in, is_idempotent, say_come_back_in, time_to_live,
    unavailable,
};

/// The time to live of a request that names none: longer than most restarts of a process, shorter than
/// a person waits.
const DEFAULT_TTL: Duration = Duration::from_secs(10);

/// The pause after the first failure to reach anybody; it doubles each time. A process that is started
/// anew opens its port after some 50 ms at the earliest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// No pause is longer, unless an answer names one.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The share of a pause that is added by chance, at most.
const SPREAD: f64 = 0.25;

/// A request that is sent as often as this and still gets no answer is better failed: five doubling
/// pauses are 1.5 s, and time to live bounds it in any case.
const MAX_SENT: u32 = 6;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum RetryError<E> {
    /// The time to live was over.
    #[error("no answer within the request's time to live of {ttl:?}, sent {sent} times")]
    OutOfTime {
        /// How long it had.
        ttl: Duration,
        /// How often it was sent.
        sent: u32,
        /// When to come back, where the engine was heard to name it.
        come_back: Option<Duration>,
    },
    /// The service below failed, and the request couldn't be sent again.
    #[error("sent {sent} times: {source}")]
    Failed {
        /// How often it was sent.
        sent: u32,
        /// How it failed the last time.
        source: E,
        /// When to come back, where the engine names it.
        come_back: Option<Duration>,
    },
}

impl<E> RetryError<E> {
    /// What a service says that needed the answer and has nothing to say without it: `503` with
    /// `Retry-After`, as the engine names it, else a second.
    pub fn answer<R: Default>(&self) -> Response<R> {
        match self {
            Self::OutOfTime { come_back, .. } | Self::Failed { come_back, .. } => {
                unavailable(*come_back)
            }
        }
    }
}

/// Sends idempotent requests again while time is left.
#[derive(Clone, Debug)]
pub struct RetryLayer {
    ttl: Duration,
    chance: fn() -> f64,
    engine: Option<Engine>,
}

impl Default for RetryLayer {
    /// With a time to live of 10 s for requests that name none.
    fn default() -> Self {
        Self::new(DEFAULT_TTL)
    }
}

impl RetryLayer {
    /// With this time to live for requests that name none, neither as [`TimeLeft`] nor in the header.
    pub fn new(ttl: Duration) -> Self {
        Self {
            ttl,
            chance: rand::random,
            engine: None,
        }
    }

    /// Asks this engine, after a failure, when the unit that these requests go to comes back.
    ///
    /// Then a `503` that names no time is no answer any more while the unit is away, but sent again
    /// like others; and where a failure is final, it names the time: the answer's headers, or
    /// [`RetryError`].
    #[must_use]
    pub fn with_engine(mut self, engine: Engine) -> Self {
        self.engine = Some(engine);
        self
    }

    /// With a source of chance of one's own, between 0 and 1: for tests and simulations.
    #[must_use]
    pub fn with_chance(mut self, chance: fn() -> f64) -> Self {
        self.chance = chance;
        self
    }
}

impl<S> Layer<S> for RetryLayer {
    type Service = RetryService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RetryService {
            inner,
            layer: self.clone(),
        }
    }
}

/// The service that [`RetryLayer`] makes.
#[derive(Clone, Debug)]
pub struct RetryService<S> {
    inner: S,
    layer: RetryLayer,
}

impl<S, B, R> Service<Request<B>> for RetryService<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    B: Clone + Send + 'static,
    R: Send + 'static,
{
    type Response = Response<R>;
    type Error = RetryError<S::Error>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    /// Always: each sending waits for the service below by itself, within the request's time.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        Box::pin(send(self.inner.clone(), request, self.layer.clone()))
    }
}

async fn send<S, B, R>(
    mut inner: S,
    request: Request<B>,
    layer: RetryLayer,
) -> Result<Response<R>, RetryError<S::Error>>
where
    S: Service<Request<B>, Response = Response<R>>,
    B: Clone,
{
    let time = request.extensions().get::<TimeLeft>().copied();
    let time =
        time.unwrap_or_else(|| TimeLeft::of(time_to_live(request.headers()).unwrap_or(layer.ttl)));
    let ttl = time.left();
    let may_repeat = is_idempotent(&request);
    let mut sent = 0;
    loop {
        let mut turn = request.clone();
        turn.headers_mut()
            .insert(TTL, HeaderValue::from(as_millis(time.left())));
        let once = async {
            poll_fn(|context| inner.poll_ready(context)).await?;
            sent += 1;
            inner.call(turn).await
        };
        let Ok(outcome) = tokio::time::timeout_at(time.until(), once).await else {
            let come_back = layer.engine.as_ref().and_then(Engine::still_away);
            return Err(RetryError::OutOfTime {
                ttl,
                sent,
                come_back,
            });
        };
        let outcome = match outcome {
            Ok(answer) if answer.status() != StatusCode::SERVICE_UNAVAILABLE => return Ok(answer),
            failure => failure,
        };
        let failure = Failure::of(&outcome, sent, may_repeat);
        let announced = failure.announced(layer.engine.as_ref(), time).await;
        match failure.next_turn(announced, (layer.chance)(), time) {
            Some(turn) => tokio::time::sleep_until(turn).await,
            None => return failure.told(outcome, announced, sent),
        }
    }
}

/// A turn that failed, and what can be said about the next one.
struct Failure {
    at: Instant,
    /// When to come back, as the answer names it.
    named: Option<Duration>,
    /// The pause of one who knows nothing.
    doubled: Duration,
    /// Whether somebody answered, with a 503.
    answered: bool,
    /// Whether the request may be sent again at all.
    again: bool,
}

impl Failure {
    /// Just now, in the last of so many turns.
    fn of<R, E>(outcome: &Result<Response<R>, E>, sent: u32, may_repeat: bool) -> Self {
        let answer = outcome.as_ref().ok();
        Self {
            at: Instant::now(),
            named: answer.and_then(|answer| come_back_in(answer.headers())),
            doubled: doubled(sent),
            answered: answer.is_some(),
            again: may_repeat && sent < MAX_SENT,
        }
    }

    /// The pause that the engine isn't needed for.
    fn own_pause(&self) -> Option<Duration> {
        self.named.or((!self.answered).then_some(self.doubled))
    }

    /// What the engine says: no later than the pause ends that there is anyway, nor than the request's
    /// time. An answer that names its time and is final needs no engine.
    async fn announced(&self, engine: Option<&Engine>, time: TimeLeft) -> Option<Duration> {
        let within = match self.own_pause() {
            Some(pause) if self.again => pause.min(time.left()),
            _ if self.named.is_none() => time.left(),
            _ => return None,
        };
        engine?.ask(within).await
    }

    /// The first of the known moments that is early enough.
    fn next_turn(
        &self,
        announced: Option<Duration>,
        chance: f64,
        time: TimeLeft,
    ) -> Option<Instant> {
        if !self.again {
            return None;
        }
        let spread = 1.0 + SPREAD * chance.clamp(0.0, 1.0);
        let after = |from: Instant, pause: Duration| from + pause.mul_f64(spread);
        let turns = [
            announced.map(|pause| after(Instant::now(), pause)),
            self.own_pause().map(|pause| after(self.at, pause)),
            announced.map(|_| after(self.at, self.doubled)),
        ];
        turns
            .into_iter()
            .flatten()
            .find(|turn| *turn < time.until())
    }

    /// The failure as the caller is told of it.
    fn told<R, E>(
        &self,
        outcome: Result<Response<R>, E>,
        announced: Option<Duration>,
        sent: u32,
    ) -> Result<Response<R>, RetryError<E>> {
        let mut answer = outcome.map_err(|source| failed(sent, source, announced))?;
        if let (None, Some(announced)) = (self.named, announced) {
            say_come_back_in(answer.headers_mut(), announced);
        }
        Ok(answer)
    }
}

fn failed<E>(sent: u32, source: E, come_back: Option<Duration>) -> RetryError<E> {
    RetryError::Failed {
        sent,
        source,
        come_back,
    }
}

/// The pause after so many turns.
fn doubled(sent: u32) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1 << sent.clamp(1, 16).saturating_sub(1));
    doubled.min(LONGEST_PAUSE)
}

/// For services that can't fail themselves.
impl RetryError<Infallible> {
    /// How often the request was sent.
    pub fn sent(&self) -> u32 {
        match self {
            Self::OutOfTime { sent, .. } | Self::Failed { sent, .. } => *sent,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use http::Method;
    use tokio::time::Instant;
    use tower::{ServiceExt as _, service_fn};

    use super::*;
    use crate::engine::tests::{Does, engine};
    use crate::vocabulary::{IDEMPOTENT, RETRY_AFTER_MS};

    /// What a service does while it is away for so many milliseconds.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Away {
        /// Says 503, and when to come back.
        Says(u64),
        /// Says 503 and nothing more.
        Silent503,
        /// Can't be reached.
        Gone,
        /// Takes the request and never answers.
        Hangs,
    }

    #[derive(Debug, PartialEq)]
    struct Seen {
        said: String,
        comes_back: Option<u64>,
        ttls: Vec<u64>,
        after: u64,
    }

    async fn ask(
        engine: Option<Does>,
        method: Method,
        ttl: u64,
        away: Away,
        away_for: u64,
    ) -> Seen {
        let began = Instant::now();
        let ttls = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&ttls);
        let service = service_fn(move |request: Request<String>| {
            let ttl = time_to_live(request.headers()).expect("each sending says it");
            seen.lock().expect("not poisoned").push(as_millis(ttl));
            async move {
                if began.elapsed() >= Duration::from_millis(away_for) {
                    return Ok(Response::new(request.into_body()));
                }
                let unavailable = Response::builder().status(503);
                match away {
                    Away::Says(millis) => {
                        let answer = unavailable.header(RETRY_AFTER_MS, millis);
                        Ok(answer.body(String::new()).expect("an answer"))
                    }
                    Away::Silent503 => Ok(unavailable.body(String::new()).expect("an answer")),
                    Away::Gone => Err("nobody is there"),
                    Away::Hangs => std::future::pending().await,
                }
            }
        });
        let mut layer = RetryLayer::default().with_chance(|| 0.0);
        layer.engine = engine.map(self::engine);
        let request = Request::builder()
            .method(method)
            .header(TTL, ttl)
            .body("body".to_owned())
            .expect("a request");
        let (said, comes_back) = match layer.layer(service).oneshot(request).await {
            Ok(answer) => {
                let said = format!("{} {}", answer.status().as_u16(), answer.body());
                (said, come_back_in(answer.headers()))
            }
            Err(error) => {
                let answer = error.answer::<()>();
                assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
                (error.to_string(), come_back_in(answer.headers()))
            }
        };
        let ttls = ttls.lock().expect("not poisoned").clone();
        Seen {
            said,
            comes_back: comes_back.map(as_millis),
            ttls,
            after: as_millis(began.elapsed()),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_idempotent_is_sent_again_while_time_is_left() {
        let get = || Method::GET;
        for (method, ttl, away, away_for, expected, after) in [
            (get(), 1000, Away::Says(100), 0, "200 body", 0),
            // A restart that is over when it was said to be is hidden.
            (get(), 1000, Away::Says(100), 100, "200 body", 100),
            (get(), 1000, Away::Gone, 300, "200 body", 350),
            // It isn't over, and no time is left for another turn.
            (get(), 1000, Away::Says(400), 5000, "503 ", 800),
            (get(), 300, Away::Says(400), 100, "503 ", 0),
            (
                get(),
                120,
                Away::Gone,
                5000,
                "sent 2 times: nobody is there",
                50,
            ),
            (
                get(),
                1000,
                Away::Hangs,
                5000,
                "no answer within the request's time to live of 1s, sent 1 times",
                1000,
            ),
            // Without a time to come back, 503 is an answer like others.
            (get(), 1000, Away::Silent503, 100, "503 ", 0),
            // What may not be repeated is sent once.
            (Method::POST, 1000, Away::Says(100), 100, "503 ", 0),
            (
                Method::POST,
                1000,
                Away::Gone,
                100,
                "sent 1 times: nobody is there",
                0,
            ),
            // However much time there is, there is an end.
            (get(), 60_000, Away::Says(10), 5000, "503 ", 50),
        ] {
            let seen = ask(None, method.clone(), ttl, away, away_for).await;
            let context = format!("{method} {ttl} {away:?} {away_for}");
            assert_eq!(seen.said, expected, "{context}");
            assert_eq!(seen.after, after, "{context}");
            assert!(seen.after <= ttl, "{context}");
            assert!(
                seen.ttls.is_sorted_by(|before, after| before > after),
                "{:?}",
                seen.ttls
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_engine_says_when_the_next_turn_comes_and_what_those_are_told_who_have_none() {
        let get = || Method::GET;
        let gone = "sent 1 times: nobody is there";
        for (method, ttl, away, away_for, expected, after, turns, comes_back) in [
            // Without it, the first would take five turns and 750 ms, the second would fail at once,
            // and the third would take five turns.
            (get(), 1000, Away::Gone, 400, "200 body", 400, 2, None),
            (get(), 1000, Away::Silent503, 400, "200 body", 400, 2, None),
            (get(), 1000, Away::Says(100), 400, "200 body", 400, 2, None),
            // It took longer than nine of ten times.
            (get(), 1000, Away::Gone, 401, "200 body", 800, 3, None),
            // There is no time for what was announced, but the restart may be over before.
            (get(), 300, Away::Gone, 150, "200 body", 150, 3, None),
            (get(), 300, Away::Silent503, 150, "200 body", 150, 3, None),
            (get(), 300, Away::Silent503, 5000, "503 ", 150, 3, Some(400)),
            // What may not be repeated is told when to come back, by whoever was asked if he said.
            (
                Method::POST,
                1000,
                Away::Silent503,
                400,
                "503 ",
                0,
                1,
                Some(400),
            ),
            (Method::POST, 1000, Away::Gone, 400, gone, 0, 1, Some(400)),
            (
                Method::POST,
                1000,
                Away::Says(100),
                400,
                "503 ",
                0,
                1,
                Some(100),
            ),
        ] {
            let context = format!("{method} {ttl} {away:?} {away_for}");
            let announces = Some(Does::Says(503, Some(400)));
            let seen = ask(announces, method, ttl, away, away_for).await;
            assert_eq!(seen.said, expected, "{context}");
            assert_eq!((seen.after, seen.ttls.len()), (after, turns), "{context}");
            assert_eq!(seen.comes_back, comes_back, "{context}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_engine_with_nothing_to_say_changes_nothing_and_delays_no_turn() {
        let (busy, unknown) = (Does::Says(503, None), Does::Says(404, None));
        let well = Does::Says(200, None);
        for silent in [
            well,
            busy,
            unknown,
            Does::Fails,
            Does::Hangs,
            Does::NeverReady,
        ] {
            for (method, away, away_for) in [
                (Method::GET, Away::Gone, 0),
                (Method::GET, Away::Gone, 300),
                (Method::GET, Away::Gone, 5000),
                (Method::GET, Away::Says(100), 100),
                // Shorter than the engine may take.
                (Method::GET, Away::Says(10), 40),
                (Method::GET, Away::Hangs, 5000),
                (Method::GET, Away::Silent503, 5000),
                (Method::POST, Away::Gone, 5000),
                (Method::POST, Away::Silent503, 5000),
                // The answer says it already.
                (Method::POST, Away::Says(100), 5000),
            ] {
                let context = format!("{silent:?} {method} {away:?} {away_for}");
                let without = ask(None, method.clone(), 1000, away, away_for).await;
                let mut with = ask(Some(silent), method.clone(), 1000, away, away_for).await;
                // Only a failure that is final, with nothing known about it, waits for the engine.
                let last =
                    away == Away::Silent503 || (method == Method::POST && away == Away::Gone);
                if last && matches!(silent, Does::Hangs | Does::NeverReady) {
                    assert_eq!(with.after, 50, "{context}");
                    with.after = without.after;
                }
                assert_eq!(with, without, "{context}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_flag_of_a_sub_request_and_the_time_of_its_request_count() {
        let service = service_fn(|request: Request<()>| async move {
            let ttl = time_to_live(request.headers()).map(as_millis);
            assert!(ttl.is_some_and(|ttl| ttl <= 70), "{ttl:?}");
            Err::<Response<()>, _>("nobody is there")
        });
        let mut request = Request::post("/")
            .header(IDEMPOTENT, "true")
            .header(TTL, 5000);
        request
            .extensions_mut()
            .expect("no error yet")
            .insert(TimeLeft::of(Duration::from_millis(70)));
        let error = RetryLayer::default()
            .with_chance(|| 0.0)
            .layer(service)
            .oneshot(request.body(()).expect("a request"))
            .await
            .expect_err("nobody is there");
        assert_eq!(error.to_string(), "sent 2 times: nobody is there");
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_were_told_the_same_moment_come_at_different_ones() {
        let mut moments = std::collections::BTreeSet::new();
        for _ in 0..20 {
            let began = Instant::now();
            let service = service_fn(move |_: Request<()>| async move {
                if began.elapsed() > Duration::ZERO {
                    return Ok::<_, Infallible>(Response::new(()));
                }
                let answer = Response::builder().status(503).header(RETRY_AFTER_MS, 400);
                Ok(answer.body(()).expect("an answer"))
            });
            let request = Request::get("/").body(()).expect("a request");
            let answer = RetryLayer::default().layer(service).oneshot(request).await;
            assert_eq!(answer.expect("an answer").status(), StatusCode::OK);
            let after = began.elapsed();
            // Tokio's clock has whole milliseconds.
            assert!((400..=501).contains(&after.as_millis()), "{after:?}");
            moments.insert(after);
        }
        assert!(moments.len() > 5, "{moments:?}");
    }
}
