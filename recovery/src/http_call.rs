//! How is a unit restarted by calling its microreboot endpoint, and what does each way in which
//! the call can end say about what was done?
//!
//! | how it ends | what it means |
//! |---|---|
//! | no connection: refused, no such host, no answer to the connect | nothing was done: `Refused` |
//! | an answer of 3xx or 4xx | the endpoint says that it did nothing: `Refused`, in its words |
//! | an answer of 5xx, a proxy's or its own | it is asked what became of the action; what it can't say, the readiness probe may |
//! | a 2xx answer | the old life has ended; the readiness probe says when the new one is there |
//! | the connection breaks, or no answer in time, after the request may have been sent | `Unknown` |
//!
//! Redirects are not followed and no proxy of the environment is used: the call goes where the
//! configuration says or nowhere. Each call has a connection of its own, since one that was opened
//! to an old life says nothing about the new one.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use serde::Deserialize;
use tokio::sync::Semaphore;

use crate::executor::{
    ActionId, BoxFuture, Effect, ExecuteError, Executed, Executor, Life, Permit, Recall,
};
use crate::probe::Probes;
use crate::{HttpSpec, ProbeSpec, UnitName};

/// As much of an answer's body as is read: enough for a sentence, or for a health page to search.
const MAX_BODY_BYTES: u64 = 64 * 1024;
/// As much of an answer's first line as is passed on to people.
const MAX_REASON_CHARS: usize = 300;
/// Calls at one time. Each holds one blocking thread; a hanging endpoint holds it for its time-out.
const CONCURRENT_CALLS: usize = 32;
/// The header with the action's id: an endpoint that has seen it answers without acting again.
pub(crate) const IDEMPOTENCY_HEADER: &str = "idempotency-key";
/// The header with the generation to reach.
pub(crate) const GENERATION_HEADER: &str = "rekindle-generation";

/// What is sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Call {
    pub url: String,
    pub headers: Vec<(&'static str, String)>,
    /// POSTed with this content type if there is one; otherwise it is a GET.
    pub post: Option<(&'static str, Vec<u8>)>,
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub status: u16,
    pub body: String,
}

impl Answer {
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The status and the body's first line, for people.
    pub(crate) fn summary(&self) -> String {
        let line = self
            .body
            .lines()
            .map(str::trim)
            .find(|line| !line.is_empty());
        match line {
            Some(line) => {
                let line: String = line.chars().take(MAX_REASON_CHARS).collect();
                format!("it answered {}: {line}", self.status)
            }
            None => format!("it answered {}", self.status),
        }
    }
}

/// A call without an answer.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct CallFailure {
    /// Whether the other side may have got the request.
    pub maybe_sent: bool,
    pub reason: String,
}

/// Makes HTTP calls, a bounded number at a time, each of a bounded length.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    agent: ureq::Agent,
    slots: Arc<Semaphore>,
}

impl Caller {
    pub(crate) fn new() -> Self {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .max_idle_connections(0)
            .user_agent(concat!("rekindle/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        Self {
            agent,
            slots: Arc::new(Semaphore::new(CONCURRENT_CALLS)),
        }
    }

    /// Makes a call and reads the answer, all within `timeout`, waiting for a free slot included.
    pub(crate) async fn call(&self, call: Call, timeout: Duration) -> Result<Answer, CallFailure> {
        let until = Instant::now() + timeout;
        let not_sent = |reason: String| CallFailure {
            maybe_sent: false,
            reason,
        };
        let slot = tokio::time::timeout(timeout, Arc::clone(&self.slots).acquire_owned())
            .await
            .map_err(|_elapsed| not_sent("too many calls are under way".to_owned()))?
            .map_err(|_closed| not_sent("calls are no longer made".to_owned()))?;
        let agent = self.agent.clone();
        let task = tokio::task::spawn_blocking(move || {
            // Held by the thread, not by the future: a caller that goes away doesn't free it.
            let _slot = slot;
            send(
                &agent,
                &call,
                until.saturating_duration_since(Instant::now()),
            )
        });
        task.await.unwrap_or_else(|error| {
            Err(CallFailure {
                maybe_sent: true,
                reason: format!("the call broke off: {error}"),
            })
        })
    }
}

fn send(agent: &ureq::Agent, call: &Call, timeout: Duration) -> Result<Answer, CallFailure> {
    // The connect limit is set as well as the whole, so that its passing can be told from one after
    // the request.
    let limit = Some(timeout);
    let response = match &call.post {
        None => {
            let mut request = agent.get(&call.url);
            for (name, value) in &call.headers {
                request = request.header(*name, value);
            }
            let request = request.config().timeout_global(limit);
            request.timeout_connect(limit).build().call()
        }
        Some((content_type, body)) => {
            let mut request = agent.post(&call.url).content_type(*content_type);
            for (name, value) in &call.headers {
                request = request.header(*name, value);
            }
            let request = request.config().timeout_global(limit);
            request.timeout_connect(limit).build().send(body.as_slice())
        }
    };
    let mut response = response.map_err(|error| failure(&error, timeout))?;
    let status = response.status().as_u16();
    // What can't be read of a body takes nothing from the status, which is the answer.
    let mut body = Vec::new();
    let read = std::io::Read::read_to_end(
        &mut std::io::Read::take(response.body_mut().as_reader(), MAX_BODY_BYTES),
        &mut body,
    );
    if let Err(error) = read {
        tracing::debug!(url = call.url, %error, "the body of an answer broke off");
    }
    Ok(Answer {
        status,
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}

fn failure(error: &ureq::Error, timeout: Duration) -> CallFailure {
    use ureq::{Error, Timeout};
    let maybe_sent = match error {
        Error::BadUri(_)
        | Error::Http(_)
        | Error::HostNotFound
        | Error::ConnectionFailed
        | Error::TlsRequired
        | Error::RequireHttpsOnly(_)
        | Error::Timeout(Timeout::Resolve | Timeout::Connect) => false,
        Error::Io(error) => error.kind() != std::io::ErrorKind::ConnectionRefused,
        _ => true,
    };
    let reason = match error {
        Error::Timeout(Timeout::Resolve | Timeout::Connect) => {
            format!("no connection within {timeout:?}")
        }
        Error::Timeout(_) => format!("no answer within {timeout:?}"),
        Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            "the connection was refused".to_owned()
        }
        other => other.to_string(),
    };
    CallFailure { maybe_sent, reason }
}

/// Restarts a unit through its microreboot endpoint.
#[derive(Debug)]
pub struct HttpExecutor {
    spec: HttpSpec,
    ready: Option<ProbeSpec>,
    caller: Caller,
    probes: Probes,
}

/// What an endpoint answers to the question after an action.
#[derive(Deserialize)]
struct Inquiry {
    done: bool,
}

impl HttpExecutor {
    /// For one unit: where to call, and how to ask whether it is ready afterwards.
    pub fn new(spec: HttpSpec, ready: Option<ProbeSpec>, probes: Probes) -> Self {
        Self {
            spec,
            ready,
            caller: probes.caller().clone(),
            probes,
        }
    }

    async fn carry_out(&self, permit: Permit) -> Result<Executed, ExecuteError> {
        let unit = permit.unit();
        let began = Instant::now();
        let stopped_at = SystemTime::now();
        let call = Call {
            url: self.spec.url.clone(),
            headers: vec![
                (IDEMPOTENCY_HEADER, permit.action().to_string()),
                (GENERATION_HEADER, permit.generation().to_string()),
            ],
            post: Some(("application/json", b"{}".to_vec())),
        };
        let answer = self
            .caller
            .call(call, self.spec.timeout)
            .await
            .map_err(|failure| {
                let unit = unit.clone();
                let reason = failure.reason;
                if failure.maybe_sent {
                    ExecuteError::Unknown { unit, reason }
                } else {
                    ExecuteError::Refused { unit, reason }
                }
            })?;
        if answer.status >= 500 {
            match self.ask(permit.action()).await {
                Effect::Done => {}
                Effect::NotDone => return Err(refused(unit, &answer)),
                Effect::Unknown => {
                    let until = began + permit.deadline();
                    let ready = self.ready.as_ref();
                    let reason = answer.summary();
                    return Err(self
                        .probes
                        .after_failure(ready, &permit, until, reason)
                        .await);
                }
            }
        } else if !answer.is_success() {
            return Err(refused(unit, &answer));
        }
        let reached = generation_of(&answer);
        if let Some(reached) = reached
            && reached < permit.generation()
        {
            // An answer from a cache, or of an endpoint that counts otherwise: whose life has ended?
            return Err(ExecuteError::Unknown {
                unit: unit.clone(),
                reason: format!(
                    "it says that it is in generation {reached}, and was to reach {} (the number in the header \
                     {GENERATION_HEADER}): that is an answer of an older life, or it counts by itself, and should answer with \
                     the number that it is told, or with none",
                    permit.generation()
                ),
            });
        }
        let answered = began.elapsed();
        let otherwise = match reached {
            Some(reached) if reached > permit.generation() => format!(
                "; it counts otherwise, {reached} instead of {}, so what is stale of its spans can't be told",
                permit.generation()
            ),
            _ => String::new(),
        };
        self.probes
            .until_ready(self.ready.as_ref(), began + permit.deadline())
            .await
            .map_err(|failure| ExecuteError::NotReady {
                unit: unit.clone(),
                deadline: permit.deadline(),
                reason: failure.reason,
            })?;
        Ok(Executed {
            stopped_at,
            ready_at: SystemTime::now(),
            began: Life {
                // One that counts otherwise may tell any number next.
                part: reached.filter(|reached| *reached == permit.generation()),
                ..Life::default()
            },
            note: format!(
                "{} after {answered:.0?}, ready after {:.0?}{otherwise}",
                answer.summary(),
                began.elapsed()
            ),
        })
    }

    async fn ask(&self, action: ActionId) -> Effect {
        let separator = if self.spec.url.contains('?') {
            '&'
        } else {
            '?'
        };
        let call = Call {
            url: format!("{}{separator}action={action}", self.spec.url),
            ..Call::default()
        };
        match self.caller.call(call, self.spec.timeout).await {
            Ok(answer) if answer.is_success() => {
                match serde_json::from_str::<Inquiry>(&answer.body) {
                    Ok(Inquiry { done: true }) => Effect::Done,
                    Ok(Inquiry { done: false }) => Effect::NotDone,
                    Err(_) => Effect::Unknown,
                }
            }
            _ => Effect::Unknown,
        }
    }
}

/// The generation that an answer says was reached; `None` when it says nothing of it.
fn generation_of(answer: &Answer) -> Option<u64> {
    /// What a microreboot endpoint may answer, and more.
    #[derive(Deserialize)]
    struct Reached {
        generation: u64,
    }
    let reached: Reached = serde_json::from_str(&answer.body).ok()?;
    Some(reached.generation)
}

fn refused(unit: &UnitName, answer: &Answer) -> ExecuteError {
    ExecuteError::Refused {
        unit: unit.clone(),
        reason: answer.summary(),
    }
}

impl Executor for HttpExecutor {
    fn restart(&self, permit: Permit) -> BoxFuture<'_, Result<Executed, ExecuteError>> {
        Box::pin(self.carry_out(permit))
    }

    fn inquire<'a>(
        &'a self,
        action: ActionId,
        _unit: &'a UnitName,
        _generation: u64,
    ) -> BoxFuture<'a, Effect> {
        Box::pin(self.ask(action))
    }

    /// By the `Idempotency-Key` that it is sent.
    fn recall(&self) -> Recall {
        Recall::Fenced
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Script, Server};

    fn executor(url: String, timeout: Duration, ready: Option<ProbeSpec>) -> HttpExecutor {
        HttpExecutor::new(HttpSpec { url, timeout }, ready, Probes::new())
    }

    fn permit() -> Permit {
        Permit::new(ActionId(17), "catalog".into(), 3, Duration::from_secs(5))
    }

    const LONG: Duration = Duration::from_secs(10);
    const SHORT: Duration = Duration::from_millis(200);

    #[tokio::test]
    async fn each_end_of_a_call_has_its_meaning() {
        for (script, timeout, expected) in [
            (Script::answer(200, "ok"), LONG, "done"),
            (Script::answer(202, ""), LONG, "done"),
            (Script::answer(200, r#"{"generation":3}"#), LONG, "done"),
            (
                Script::answer(200, r#"{"generation":2,"took_ms":1}"#),
                LONG,
                "whether catalog was restarted is unknown: it says that it is in generation 2, and was to reach 3",
            ),
            (
                Script::answer(409, "\nrestart under way\nmore"),
                LONG,
                "restart of catalog was refused: it answered 409: restart under way",
            ),
            (
                Script::answer(500, ""),
                LONG,
                "whether catalog was restarted is unknown: it answered 500",
            ),
            (
                Script::answer(302, "elsewhere"),
                LONG,
                "restart of catalog was refused: it answered 302: elsewhere",
            ),
            (
                Script::Silent,
                SHORT,
                "whether catalog was restarted is unknown: no answer within",
            ),
            (
                Script::HangUp,
                LONG,
                "whether catalog was restarted is unknown",
            ),
        ] {
            let server = Server::start(vec![script.clone()]).await;
            let result = executor(server.url("/microreboot"), timeout, None)
                .restart(permit())
                .await;
            let said = match result {
                Ok(_) => "done".to_owned(),
                Err(error) => error.to_string(),
            };
            assert!(said.starts_with(expected), "{script:?}: {said}");
        }
    }

    #[tokio::test]
    async fn a_life_is_told_by_the_number_that_was_ordered_and_no_other() {
        for (answer, part) in [
            ("ok", None),
            (r#"{"generation":3}"#, Some(3)),
            (r#"{"generation":9000}"#, None),
        ] {
            let server = Server::start(vec![Script::answer(200, answer)]).await;
            let executor = executor(server.url("/microreboot"), LONG, None);
            let done = executor.restart(permit()).await.expect("done");
            let process = None;
            assert_eq!(done.began, Life { process, part }, "{answer}");
            let counts_otherwise = done.note.contains("it counts otherwise, 9000 instead of 3");
            assert_eq!(counts_otherwise, answer.contains("9000"), "{}", done.note);
        }
    }

    #[tokio::test]
    async fn nobody_there_is_a_refusal() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}/", free.local_addr().expect("bound"));
        drop(free);
        let error = executor(url, LONG, None)
            .restart(permit())
            .await
            .expect_err("nobody listens");
        assert!(matches!(error, ExecuteError::Refused { .. }), "{error}");
    }

    #[tokio::test]
    async fn the_endpoint_is_told_action_and_generation() {
        let server = Server::start(vec![Script::answer(200, "")]).await;
        executor(server.url("/microreboot/search"), LONG, None)
            .restart(permit())
            .await
            .expect("done");
        let request = server.requests().remove(0).to_ascii_lowercase();
        assert!(request.starts_with("post /microreboot/search http/1.1\r\n"));
        assert!(request.contains("\r\nidempotency-key: 17\r\n"), "{request}");
        assert!(
            request.contains("\r\nrekindle-generation: 3\r\n"),
            "{request}"
        );
    }

    #[tokio::test]
    async fn an_answer_that_is_not_followed_by_readiness_is_not_ready() {
        let server =
            Server::start(vec![Script::answer(200, ""), Script::answer(503, "cold")]).await;
        let probe = ProbeSpec::Http {
            url: server.url("/ready"),
            timeout: LONG,
            status: None,
            contains: None,
        };
        let permit = Permit::new(ActionId(1), "catalog".into(), 1, Duration::from_secs(1));
        let error = executor(server.url("/"), LONG, Some(probe))
            .restart(permit)
            .await
            .expect_err("never ready");
        assert!(
            matches!(&error, ExecuteError::NotReady { reason, .. } if reason.contains("503")),
            "{error}"
        );
    }

    #[tokio::test]
    async fn inquiry_trusts_only_a_plain_answer() {
        for (script, expected) in [
            (
                Script::answer(200, r#"{"done":true,"generation":3}"#),
                Effect::Done,
            ),
            (Script::answer(200, r#"{"done":false}"#), Effect::NotDone),
            (Script::answer(200, "yes"), Effect::Unknown),
            (Script::answer(404, r#"{"done":false}"#), Effect::Unknown),
            (Script::HangUp, Effect::Unknown),
        ] {
            let server = Server::start(vec![script.clone()]).await;
            let executor = executor(server.url("/microreboot?token=x"), LONG, None);
            let effect = executor.inquire(ActionId(17), &"catalog".into(), 3).await;
            assert_eq!(effect, expected, "{script:?}");
            assert!(
                server.requests()[0].starts_with("GET /microreboot?token=x&action=17 HTTP/1.1\r\n")
            );
        }
    }
}
