//! When does a unit that just failed come back?
//!
//! Rekindle's engine knows, while it restarts the unit: `/api/v1/units/NAME/availability` answers 503
//! then, with how long restarts of that unit took. Before a restart it has nothing to say, and a
//! microreboot is over before anybody who asks now and then would hear of it. So it is asked after a
//! failure, while there is a pause anyway.
//!
//! The engine may be away or slow as well, and no request may suffer for that. It gets
//! [a moment](PATIENCE), whoever lets it pass isn't asked again [for a while](SILENCE), and all that
//! isn't an announcement is silence: errors, other services' answers, an engine that has too much to do.
//! One question at a time is under way, and its answer is for all who wait, so that a thousand failing
//! requests are no load.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{Method, Request, Response, StatusCode, Uri};
use tokio::time::{Instant, timeout};
use tower_service::Service;

use crate::vocabulary::precisely_come_back_in;

/// How long an answer may take: no longer than the shortest pause before a request is sent again, so
/// that waiting for it costs nothing there.
const PATIENCE: Duration = Duration::from_millis(50);

/// How long one that didn't answer isn't asked: what it costs is one [`PATIENCE`] in so much time.
const SILENCE: Duration = Duration::from_secs(1);

/// How long an answer serves others who failed: a new restart is heard of before a request that it
/// fails is sent again.
const FRESH: Duration = Duration::from_millis(50);

/// What the engine announces about one unit, asked over a client of the caller's own.
///
/// Clones share what they heard. For a [`RetryLayer`](crate::RetryLayer) before the unit, and a
/// [`DeadlineLayer`](crate::DeadlineLayer) before a service that needs it:
///
/// ```
/// # use http::{Request, Response};
/// # let client = tower::service_fn(|_: Request<String>| async {
/// #     Ok::<_, std::io::Error>(Response::new(()))
/// # });
/// use rekindle_middleware::{Engine, RetryLayer};
///
/// let uri = http::Uri::from_static("http://127.0.0.1:4320/api/v1/units/catalog/availability");
/// // `client` is any tower service that sends requests: hyper's, reqwest's, one's own.
/// let layer = RetryLayer::default().with_engine(Engine::new(client, uri));
/// ```
#[derive(Clone)]
pub struct Engine {
    uri: Uri,
    patience: Duration,
    shared: Arc<Shared>,
}

struct Shared {
    /// Held while a question is under way.
    question: tokio::sync::Mutex<Question>,
    heard: Mutex<Option<Heard>>,
}

type Question = Box<dyn FnMut() -> Pin<Box<dyn Future<Output = Word> + Send>> + Send>;

/// The last that was heard.
#[derive(Clone, Copy)]
struct Heard {
    at: Instant,
    word: Word,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Word {
    /// The unit is away, and comes back in so long.
    Away(Duration),
    /// There is no reason to wait for it.
    Available,
    /// Nothing that says either.
    Silence,
}

impl Engine {
    /// Asks at this URI, over this service. Requests have the method HEAD and no body: all that
    /// matters is in the head, and a connection whose answer has no body can be used again.
    pub fn new<C, B, A>(client: C, uri: Uri) -> Self
    where
        C: Service<Request<B>, Response = Response<A>> + Clone + Send + 'static,
        C::Future: Send,
        B: Default + Send + 'static,
    {
        let at = uri.clone();
        let question: Question = Box::new(move || {
            let mut client = client.clone();
            let mut request = Request::new(B::default());
            *request.method_mut() = Method::HEAD;
            *request.uri_mut() = at.clone();
            Box::pin(async move {
                if poll_fn(|context| client.poll_ready(context)).await.is_err() {
                    return Word::Silence;
                }
                match client.call(request).await {
                    Ok(answer) => read(&answer),
                    Err(_) => Word::Silence,
                }
            })
        });
        Self {
            uri,
            patience: PATIENCE,
            shared: Arc::new(Shared {
                question: tokio::sync::Mutex::new(question),
                heard: Mutex::new(None),
            }),
        }
    }

    /// With this long to answer, instead of 50 ms. A pause that there is anyway never grows by it; a
    /// failure that is final is told so much later when the engine is silent.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Asks when the unit comes back; nothing where it isn't away, or that isn't known within this
    /// time.
    pub(crate) async fn ask(&self, within: Duration) -> Option<Duration> {
        let word = match timeout(self.patience.min(within), self.word()).await {
            Ok(word) => word,
            // Who had less time than the engine may take has learned nothing about it.
            Err(_) if within < self.patience => Word::Silence,
            Err(_) => self.remember(Word::Silence),
        };
        match word {
            Word::Away(time) => Some(time),
            Word::Available | Word::Silence => None,
        }
    }

    /// How long the unit is still away, by what was heard last; nobody is asked.
    pub(crate) fn still_away(&self) -> Option<Duration> {
        let heard = (*self.heard())?;
        let Word::Away(time) = heard.word else {
            return None;
        };
        let left = time.checked_sub(heard.at.elapsed())?;
        (!left.is_zero()).then_some(left)
    }

    async fn word(&self) -> Word {
        if let Some(word) = self.fresh() {
            return word;
        }
        let mut question = self.shared.question.lock().await;
        // Others waited for the same answer.
        if let Some(word) = self.fresh() {
            return word;
        }
        let word = question().await;
        self.remember(word)
    }

    fn fresh(&self) -> Option<Word> {
        let heard = (*self.heard())?;
        let serves = match heard.word {
            Word::Silence => SILENCE,
            Word::Away(_) | Word::Available => FRESH,
        };
        (heard.at.elapsed() < serves).then_some(heard.word)
    }

    fn remember(&self, word: Word) -> Word {
        let at = Instant::now();
        *self.heard() = Some(Heard { at, word });
        word
    }

    fn heard(&self) -> MutexGuard<'_, Option<Heard>> {
        let heard = self.shared.heard.lock();
        heard.unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("uri", &self.uri)
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}

/// Only the engine says it to the millisecond. A 503 with `Retry-After` alone is of a proxy before it,
/// or of an engine that has too much to do, and says nothing about the unit.
fn read<A>(answer: &Response<A>) -> Word {
    match (answer.status(), precisely_come_back_in(answer.headers())) {
        (StatusCode::OK, _) => Word::Available,
        (StatusCode::SERVICE_UNAVAILABLE, Some(time)) => Word::Away(time),
        _ => Word::Silence,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use http::header::RETRY_AFTER;
    use tokio::task::JoinSet;
    use tokio::time::sleep;
    use tower::service_fn;

    use super::*;
    use crate::vocabulary::RETRY_AFTER_MS;

    /// What an engine does when it is asked.
    #[derive(Clone, Copy, Debug, PartialEq)]
    pub(crate) enum Does {
        /// Answers with this status, and this in the header that is exact to the millisecond.
        Says(u16, Option<u64>),
        /// Can't be reached.
        Fails,
        /// Never answers.
        Hangs,
        /// Isn't even ready to be asked.
        NeverReady,
    }

    /// Takes no request, ever.
    #[derive(Clone)]
    struct NeverReady;

    impl Service<Request<()>> for NeverReady {
        type Response = Response<()>;
        type Error = ();
        type Future = std::future::Pending<Result<Self::Response, ()>>;

        fn poll_ready(
            &mut self,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Result<(), ()>> {
            std::task::Poll::Pending
        }

        fn call(&mut self, _: Request<()>) -> Self::Future {
            std::future::pending()
        }
    }

    pub(crate) fn engine(does: Does) -> Engine {
        counted(does, Duration::ZERO).0
    }

    /// An engine that does this after so long, and how often it was asked.
    fn counted(does: Does, after: Duration) -> (Engine, Arc<AtomicU32>) {
        let uri = Uri::from_static("http://127.0.0.1:4320/api/v1/units/catalog/availability");
        let count = Arc::new(AtomicU32::new(0));
        let asked = Arc::clone(&count);
        if does == Does::NeverReady {
            return (Engine::new(NeverReady, uri), count);
        }
        let client = service_fn(move |request: Request<String>| {
            assert_eq!(request.method(), Method::HEAD);
            assert_eq!(request.uri().path(), "/api/v1/units/catalog/availability");
            asked.fetch_add(1, Ordering::SeqCst);
            async move {
                sleep(after).await;
                match does {
                    Does::Says(status, precisely) => {
                        let mut answer = Response::builder().status(status).header(RETRY_AFTER, 7);
                        if let Some(millis) = precisely {
                            answer = answer.header(RETRY_AFTER_MS, millis);
                        }
                        Ok(answer.body(()).expect("an answer"))
                    }
                    Does::Fails => Err("nobody is there"),
                    Does::Hangs | Does::NeverReady => std::future::pending().await,
                }
            }
        });
        (Engine::new(client, uri), count)
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn only_what_the_engine_itself_announces_counts_and_it_has_a_moment_to() {
        for (does, expected, after) in [
            (Does::Says(503, Some(400)), Some(400), 0),
            (Does::Says(200, None), None, 0),
            // Too busy, a proxy, a unit that it doesn't know.
            (Does::Says(503, None), None, 0),
            (Does::Says(502, Some(400)), None, 0),
            (Does::Says(404, None), None, 0),
            (Does::Fails, None, 0),
            (Does::Hangs, None, 50),
            (Does::NeverReady, None, 50),
        ] {
            let began = Instant::now();
            let engine = engine(does);
            let said = engine.ask(LONG).await;
            assert_eq!(said, expected.map(Duration::from_millis), "{does:?}");
            assert_eq!(began.elapsed(), Duration::from_millis(after), "{does:?}");
            assert_eq!(engine.still_away(), said, "{does:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_question_serves_all_who_fail_at_once_and_silence_is_remembered_for_a_second() {
        let away = Does::Says(503, Some(400));
        for (does, takes, said, questions) in [
            // In each round; an answer serves for 50 ms.
            (away, 0, 500, 10),
            (away, 30, 500, 10),
            // At 0 ms and at 1080.
            (Does::Fails, 0, 0, 2),
            // Until 50 ms and, from 1080 on, until 1130.
            (Does::Hangs, 0, 0, 2),
            (away, 51, 0, 2),
        ] {
            let (engine, asked) = counted(does, Duration::from_millis(takes));
            let mut heard = 0;
            let rounds = if said > 0 { 10 } else { 16 };
            let began = Instant::now();
            for round in 0..rounds {
                tokio::time::sleep_until(began + Duration::from_millis(round * 120)).await;
                let mut requests = JoinSet::new();
                for _ in 0..50 {
                    let engine = engine.clone();
                    requests.spawn(async move { engine.ask(LONG).await });
                }
                let answers = requests.join_all().await;
                heard += answers.iter().flatten().count();
            }
            let asked = asked.load(Ordering::SeqCst);
            assert_eq!((heard, asked), (said, questions), "{does:?} {takes}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_early_takes_nothing_from_the_others() {
        let (engine, asked) = counted(Does::Says(503, Some(400)), Duration::from_millis(30));
        let short = Duration::from_millis(10);
        let (hurried, patient) = tokio::join!(engine.ask(short), engine.ask(LONG));
        assert_eq!(hurried, None);
        assert_eq!(patient, Some(Duration::from_millis(400)));
        // The one who was waiting asks himself.
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_announced_runs_out() {
        let engine = engine(Does::Says(503, Some(400)));
        assert_eq!(engine.still_away(), None);
        engine.ask(LONG).await;
        for (pass, expected) in [(0, Some(400)), (300, Some(100)), (100, None), (500, None)] {
            sleep(Duration::from_millis(pass)).await;
            assert_eq!(engine.still_away(), expected.map(Duration::from_millis));
        }
    }
}
