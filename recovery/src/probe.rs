//! Does a unit give the right answer to a question whose answer is known?
//!
//! A probe always ends within its time-out, whatever the other side does: refuse, accept and say
//! nothing, or send a byte now and then for ever. What is read is bounded. A probe can carry a
//! `traceparent`, so that what it touched is seen in its trace like any other request.

mod grpc;

use std::time::{Duration, Instant};

use crate::ProbeSpec;
use crate::command::{self, CommandEnd};
use crate::executor::{ExecuteError, Permit};
use crate::http_call::{Call, Caller};

/// The pause between two questions to a unit that is starting. Its start-up is downtime, so it is
/// asked often; a question on loopback takes well below a millisecond.
pub(crate) const READY_PAUSE: Duration = Duration::from_millis(25);

/// A question that wasn't answered rightly.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct ProbeFailure {
    /// What happened instead, for people.
    pub reason: String,
}

impl ProbeFailure {
    fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
        }
    }
}

/// Asks probes' questions, a bounded number at a time.
#[derive(Clone, Debug)]
pub struct Probes {
    caller: Caller,
}

impl Default for Probes {
    fn default() -> Self {
        Self::new()
    }
}

impl Probes {
    /// Ready to ask.
    pub fn new() -> Self {
        Self {
            caller: Caller::new(),
        }
    }

    /// Asks once.
    ///
    /// # Errors
    ///
    /// With what was wrong.
    pub async fn probe(&self, spec: &ProbeSpec) -> Result<(), ProbeFailure> {
        self.probe_traced(spec, None).await
    }

    /// Asks once, with a W3C `traceparent` on an HTTP or gRPC question and in the environment of a command
    /// (`TRACEPARENT`).
    ///
    /// # Errors
    ///
    /// With what was wrong.
    pub async fn probe_traced(
        &self,
        spec: &ProbeSpec,
        traceparent: Option<String>,
    ) -> Result<(), ProbeFailure> {
        self.probe_within(spec, traceparent, Duration::MAX).await
    }

    /// Asks until the answer is right. Without a question it is ready at once.
    ///
    /// # Errors
    ///
    /// With the last failure when the deadline passes.
    pub async fn until_ready(
        &self,
        spec: Option<&ProbeSpec>,
        deadline: Instant,
    ) -> Result<(), ProbeFailure> {
        let Some(spec) = spec else { return Ok(()) };
        let mut last = None;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(last.unwrap_or_else(|| {
                    ProbeFailure::new("there was no time left to ask whether it is ready")
                }));
            }
            match self.probe_within(spec, None, left).await {
                Ok(()) => return Ok(()),
                // A question that the deadline cut short says less than the one before it.
                Err(_) if last.is_some() && Instant::now() >= deadline => {}
                Err(failure) => last = Some(failure),
            }
            let left = deadline.saturating_duration_since(Instant::now());
            tokio::time::sleep(READY_PAUSE.min(left)).await;
        }
    }

    /// What a restart came to whose executor failed halfway: the old life may have ended or not. A
    /// unit that isn't ready by the deadline was left down; of one that is ready nothing can be told.
    pub(crate) async fn after_failure(
        &self,
        spec: Option<&ProbeSpec>,
        permit: &Permit,
        deadline: Instant,
        reason: String,
    ) -> ExecuteError {
        let unit = permit.unit().clone();
        match self.until_ready(spec, deadline).await {
            Ok(()) => ExecuteError::Unknown { unit, reason },
            Err(failure) => ExecuteError::NotReady {
                unit,
                deadline: permit.deadline(),
                reason: format!("{reason}; {}", failure.reason),
            },
        }
    }

    pub(crate) fn caller(&self) -> &Caller {
        &self.caller
    }

    async fn probe_within(
        &self,
        spec: &ProbeSpec,
        traceparent: Option<String>,
        limit: Duration,
    ) -> Result<(), ProbeFailure> {
        match spec {
            ProbeSpec::Http {
                url,
                timeout,
                status,
                contains,
            } => {
                let call = Call {
                    url: url.clone(),
                    headers: traceparent
                        .into_iter()
                        .map(|parent| ("traceparent", parent))
                        .collect(),
                    post: None,
                };
                let answer = self
                    .caller
                    .call(call, limit.min(*timeout))
                    .await
                    .map_err(|failure| ProbeFailure::new(format!("{url}: {failure}")))?;
                let right = match status {
                    Some(status) => answer.status == *status,
                    None => answer.is_success(),
                };
                if !right {
                    return Err(ProbeFailure::new(format!("{url}: {}", answer.summary())));
                }
                match contains {
                    Some(text) if !answer.body.contains(text.as_str()) => {
                        Err(ProbeFailure::new(format!(
                            "{url}: {}, which does not contain {text:?}",
                            answer.summary()
                        )))
                    }
                    _ => Ok(()),
                }
            }
            ProbeSpec::Tcp { address, timeout } => {
                let timeout = limit.min(*timeout);
                let connected =
                    tokio::time::timeout(timeout, tokio::net::TcpStream::connect(address)).await;
                match connected {
                    Ok(Ok(_stream)) => Ok(()),
                    Ok(Err(error)) => Err(ProbeFailure::new(format!("{address}: {error}"))),
                    Err(_elapsed) => Err(ProbeFailure::new(format!(
                        "{address}: no connection within {timeout:?}"
                    ))),
                }
            }
            ProbeSpec::Grpc {
                address,
                service,
                timeout,
            } => {
                let limit = limit.min(*timeout);
                grpc::ask(address, service, traceparent.as_deref(), limit)
                    .await
                    .map_err(|reason| ProbeFailure::new(format!("{address}: {reason}")))
            }
            ProbeSpec::Command { command, timeout } => {
                let environment: Vec<_> = traceparent
                    .into_iter()
                    .map(|parent| ("TRACEPARENT", parent))
                    .collect();
                match command::run(command, &environment, limit.min(*timeout)).await {
                    CommandEnd::Success => Ok(()),
                    end => Err(ProbeFailure::new(end.to_string())),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Script, Server};

    const LONG: Duration = Duration::from_secs(10);
    const SHORT: Duration = Duration::from_millis(200);

    fn http(url: String, timeout: Duration, status: Option<u16>, text: Option<&str>) -> ProbeSpec {
        ProbeSpec::Http {
            url,
            timeout,
            status,
            contains: text.map(str::to_owned),
        }
    }

    #[tokio::test]
    async fn an_http_answer_is_right_or_said_to_be_wrong() {
        let probes = Probes::new();
        for (script, timeout, status, contains, expected) in [
            (Script::answer(204, ""), LONG, None, None, ""),
            (Script::answer(418, ""), LONG, Some(418), None, ""),
            (Script::answer(200, "total: 42"), LONG, None, Some("42"), ""),
            (
                Script::answer(200, "total: 41"),
                LONG,
                None,
                Some("42"),
                "does not contain \"42\"",
            ),
            (Script::answer(301, ""), LONG, None, None, "it answered 301"),
            (
                Script::answer(200, ""),
                LONG,
                Some(204),
                None,
                "it answered 200",
            ),
            (Script::Silent, SHORT, None, None, "no answer within"),
            (Script::HangUp, LONG, None, None, "http://"),
        ] {
            let server = Server::start(vec![script.clone()]).await;
            let said = probes
                .probe(&http(server.url("/"), timeout, status, contains))
                .await
                .err()
                .map(|failure| failure.reason)
                .unwrap_or_default();
            assert_eq!(said.is_empty(), expected.is_empty(), "{script:?}: {said}");
            assert!(said.contains(expected), "{script:?}: {said}");
        }
    }

    /// Both sides of a dripping endpoint: headers that never end, and a body that never ends.
    #[tokio::test]
    async fn a_dripping_endpoint_is_left_in_time() {
        let probes = Probes::new();
        for script in [Script::DripHeaders, Script::DripBody] {
            let server = Server::start(vec![script]).await;
            let asked = Instant::now();
            let result = probes
                .probe(&http(server.url("/"), SHORT, None, Some("never")))
                .await;
            assert!(result.is_err());
            assert!(
                asked.elapsed() < LONG,
                "it is left at its time-out, not at the end"
            );
        }
    }

    #[tokio::test]
    async fn a_probe_can_be_traced() {
        let server = Server::start(vec![Script::answer(200, "")]).await;
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        Probes::new()
            .probe_traced(
                &http(server.url("/"), LONG, None, None),
                Some(parent.to_owned()),
            )
            .await
            .expect("right");
        assert!(server.requests()[0].contains(&format!("\r\ntraceparent: {parent}\r\n")));
    }

    #[tokio::test]
    async fn tcp_and_command_probes() {
        let probes = Probes::new();
        let server = Server::start(vec![Script::Silent]).await;
        let tcp = ProbeSpec::Tcp {
            address: server.address(),
            timeout: LONG,
        };
        probes.probe(&tcp).await.expect("it accepts");
        drop(server);
        // The listener's task is gone once the server is dropped, but not at once.
        while probes.probe(&tcp).await.is_ok() {
            tokio::time::sleep(READY_PAUSE).await;
        }
        for (command, timeout, expected) in [
            (vec!["true"], LONG, None),
            (
                vec!["sh", "-c", "echo broken >&2; exit 3"],
                LONG,
                Some("exited with code 3: broken"),
            ),
            (vec!["sleep", "60"], SHORT, Some("did not end within")),
            (
                vec!["no-such-probe"],
                LONG,
                Some("command no-such-probe does not exist"),
            ),
            (vec![], LONG, Some("its command is empty")),
        ] {
            let spec = ProbeSpec::Command {
                command: command.iter().map(|&part| part.to_owned()).collect(),
                timeout,
            };
            let said = probes
                .probe(&spec)
                .await
                .err()
                .map(|failure| failure.reason);
            match (&said, expected) {
                (None, None) => {}
                (Some(said), Some(expected)) if said.contains(expected) => {}
                _ => panic!("{command:?}: {said:?}"),
            }
        }
    }

    #[tokio::test]
    async fn readiness_is_asked_for_until_it_is_there_or_the_deadline_passes() {
        let probes = Probes::new();
        let server = Server::start(vec![
            Script::answer(503, ""),
            Script::HangUp,
            Script::answer(200, ""),
        ])
        .await;
        let spec = http(server.url("/"), LONG, None, None);
        probes
            .until_ready(Some(&spec), Instant::now() + LONG)
            .await
            .expect("ready at the third question");
        assert_eq!(server.requests().len(), 3);
        probes
            .until_ready(None, Instant::now())
            .await
            .expect("nothing to ask");

        let server = Server::start(vec![Script::Silent]).await;
        let spec = http(server.url("/"), Duration::from_secs(600), None, None);
        let failure = probes
            .until_ready(Some(&spec), Instant::now() + SHORT)
            .await
            .expect_err("the deadline cuts the probe's own time-out short");
        assert!(failure.reason.contains("no answer within"), "{failure}");
    }
}
