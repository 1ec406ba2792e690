//! Asks a running daemon over its HTTP API.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::http::Response;
use ureq::{Agent, Body};

use crate::api::Problem;

/// How long an answer may take: longer than the daemon's own deadline for orders, so that it is the
/// daemon who says that it doesn't know.
const ANSWER_DEADLINE: Duration = Duration::from_secs(15);

/// How long the connection may take to open.
const CONNECT_DEADLINE: Duration = Duration::from_secs(3);

/// The longest answer that is read.
const MAX_ANSWER_BYTES: u64 = 64 * 1024 * 1024;

/// The API of one daemon.
#[derive(Debug)]
pub struct Client {
    agent: Agent,
    api: String,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens there, or nobody answers in time.
    #[error(
        "no Rekindle answers at {api}: is `rekindle run` running? (--api or REKINDLE_API says \
         where to ask; {reason})"
    )]
    Unreachable {
        /// Where it was asked.
        api: String,
        /// What happened instead of an answer.
        reason: String,
    },
    /// The daemon says no.
    #[error("{0}")]
    Problem(Problem),
    /// Somebody else listens there, or another version.
    #[error("what answers at {url} is no Rekindle of this version: {reason}")]
    NotRekindle {
        /// What was asked for.
        url: String,
        /// What was wrong with the answer.
        reason: String,
    },
}

impl Client {
    /// For the API at this base URL, as in `http://127.0.0.1:4320`.
    pub fn new(api: &str) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT_DEADLINE))
            .timeout_global(Some(ANSWER_DEADLINE))
            // The daemon is local: a proxy for the web has no business in between.
            .proxy(None)
            .max_redirects(0)
            .build();
        Self {
            agent: config.new_agent(),
            api: api.trim_end_matches('/').to_owned(),
        }
    }

    /// Where it asks.
    pub fn api(&self) -> &str {
        &self.api
    }

    /// Reads what is under this path of `/api/v1`.
    ///
    /// # Errors
    /// When nobody answers, the daemon says no, or the answer makes no sense.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let url = self.url(path);
        let response = self.agent.get(&url).call();
        self.read(url, response)
    }

    /// Gives an order under this path of `/api/v1`.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.post_as(None, path, body)
    }

    /// The same as who has this token.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn post_as<T: DeserializeOwned>(
        &self,
        token: Option<&str>,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let url = self.url(path);
        let mut request = self.agent.post(&url);
        if let Some(token) = token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let response = request.send_json(body);
        self.read(url, response)
    }

    fn url(&self, path: &str) -> String {
        format!("{}/api/v1{path}", self.api)
    }

    fn read<T: DeserializeOwned>(
        &self,
        url: String,
        response: Result<Response<Body>, ureq::Error>,
    ) -> Result<T, ClientError> {
        let unreachable = |error: ureq::Error| ClientError::Unreachable {
            api: self.api.clone(),
            reason: error.to_string(),
        };
        let mut response = response.map_err(unreachable)?;
        let status = response.status();
        let text = response
            .body_mut()
            .with_config()
            .limit(MAX_ANSWER_BYTES)
            .read_to_string()
            .map_err(unreachable)?;
        if status.is_success() {
            return serde_json::from_str(&text).map_err(|error| ClientError::NotRekindle {
                url,
                reason: error.to_string(),
            });
        }
        match serde_json::from_str::<Problem>(&text) {
            Ok(problem) => Err(ClientError::Problem(problem)),
            Err(_) => Err(ClientError::NotRekindle {
                url,
                reason: format!("it answers {status}"),
            }),
        }
    }
}
