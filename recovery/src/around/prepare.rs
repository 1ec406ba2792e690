//! How is a unit told to put its state in safety before it is restarted?
//!
//! Asked once, not again: a unit that doesn't answer is restarted all the same. Its answer is told to
//! people with the restart's result, and nothing depends on it.

use std::time::Duration;

use super::PrepareSpec;
use crate::command::{self, ACTION_VARIABLE, CommandEnd};
use crate::executor::Permit;
use crate::http_call::{Call, Caller, GENERATION_HEADER, IDEMPOTENCY_HEADER};
use crate::process::{GENERATION_VARIABLE, UNIT_VARIABLE};

/// The header with the time that is left until the restart.
const LEFT_HEADER: &str = "rekindle-restart-in-ms";
/// The environment variable with the same.
const LEFT_VARIABLE: &str = "REKINDLE_RESTART_IN_MS";

/// Asks, and says in a few words for people how that went. Dropping it gives the asking up.
pub(super) async fn ask(
    spec: &PrepareSpec,
    permit: &Permit,
    left: Duration,
    caller: &Caller,
) -> String {
    let action = permit.action().to_string();
    let generation = permit.generation().to_string();
    let left = left.as_millis().to_string();
    match spec {
        PrepareSpec::Http(spec) => {
            let call = Call {
                url: spec.url.clone(),
                headers: vec![
                    (IDEMPOTENCY_HEADER, action),
                    (GENERATION_HEADER, generation),
                    (LEFT_HEADER, left),
                ],
                post: Some(("application/json", b"{}".to_vec())),
            };
            match caller.call(call, spec.timeout).await {
                Ok(answer) if answer.is_success() => "prepared".to_owned(),
                Ok(answer) => format!("not prepared: {}", answer.summary()),
                Err(failure) => format!("not prepared: {failure}"),
            }
        }
        PrepareSpec::Command(spec) => {
            let environment = [
                (UNIT_VARIABLE, permit.unit().to_string()),
                (ACTION_VARIABLE, action),
                (GENERATION_VARIABLE, generation),
                (LEFT_VARIABLE, left),
            ];
            match command::run(&spec.command, &environment, spec.timeout).await {
                CommandEnd::Success => "prepared".to_owned(),
                end => format!("not prepared: {end}"),
            }
        }
    }
}
