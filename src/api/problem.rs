//! Errors as `application/problem+json` (RFC 9457), one kind per thing that a program may want to
//! tell apart.

use axum::Json;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

/// The kinds of problems. Each has its HTTP status and its exit code of the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ProblemKind {
    /// What was sent makes no sense: 400.
    #[serde(rename = "urn:rekindle:problem:invalid")]
    Invalid,
    /// A token is needed, and there was none that is known: 401.
    #[serde(rename = "urn:rekindle:problem:unauthorized")]
    Unauthorized,
    /// It came from another origin or under another name: 403.
    #[serde(rename = "urn:rekindle:problem:forbidden")]
    Forbidden,
    /// There is no such thing: 404.
    #[serde(rename = "urn:rekindle:problem:not-found")]
    NotFound,
    /// The path is right, the method isn't: 405.
    #[serde(rename = "urn:rekindle:problem:method-not-allowed")]
    MethodNotAllowed,
    /// A guard or the state of things says no: 409. Nothing was done.
    #[serde(rename = "urn:rekindle:problem:refused")]
    Refused,
    /// The body is too large: 413.
    #[serde(rename = "urn:rekindle:problem:too-large")]
    TooLarge,
    /// The body is no JSON by its content type: 415.
    #[serde(rename = "urn:rekindle:problem:unsupported-media-type")]
    UnsupportedMediaType,
    /// Something broke here: 500.
    #[serde(rename = "urn:rekindle:problem:internal")]
    Internal,
    /// Not now, perhaps in a moment: 503.
    #[serde(rename = "urn:rekindle:problem:busy")]
    Busy,
    /// A part of the daemon that this takes has ended: 503. Waiting doesn't help.
    #[serde(rename = "urn:rekindle:problem:ended")]
    Ended,
    /// The engine didn't answer in time; what came of it isn't known: 504.
    #[serde(rename = "urn:rekindle:problem:no-answer")]
    NoAnswer,
}

impl ProblemKind {
    const fn status(self) -> StatusCode {
        match self {
            Self::Invalid => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Refused => StatusCode::CONFLICT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Busy | Self::Ended => StatusCode::SERVICE_UNAVAILABLE,
            Self::NoAnswer => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// What kind of problem it is, in a few words; the same for every problem of the kind.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Invalid => "the request makes no sense",
            Self::Unauthorized => "who says so?",
            Self::Forbidden => "not from here",
            Self::NotFound => "there is no such thing",
            Self::MethodNotAllowed => "this can't be done with it",
            Self::Refused => "refused",
            Self::TooLarge => "the body is too large",
            Self::UnsupportedMediaType => "the body must be JSON",
            Self::Internal => "something broke",
            Self::Busy => "not now",
            Self::Ended => "a part of the daemon has ended",
            Self::NoAnswer => "no answer in time",
        }
    }
}

/// One error, as it is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{}", words(*.kind, .title, .detail))]
pub struct Problem {
    /// Its kind, as a URN.
    #[serde(rename = "type")]
    pub kind: ProblemKind,
    /// The kind in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened this time, for people.
    pub detail: String,
}

/// What people read: the title only where the detail doesn't say it all.
fn words(kind: ProblemKind, title: &str, detail: &str) -> String {
    match kind {
        ProblemKind::NotFound | ProblemKind::Invalid => detail.to_owned(),
        _ => format!("{title}: {detail}"),
    }
}

impl Problem {
    /// A problem of this kind; `detail` says what happened this time.
    pub fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            title: kind.title().to_owned(),
            status: kind.status().as_u16(),
            detail: detail.into(),
        }
    }

    /// There is no such thing.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(ProblemKind::NotFound, detail)
    }

    /// What was sent makes no sense.
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(ProblemKind::Invalid, detail)
    }

    /// A guard or the state of things says no.
    pub fn refused(detail: impl Into<String>) -> Self {
        Self::new(ProblemKind::Refused, detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.kind.status(), Json(&self)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if self.kind == ProblemKind::Busy {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// A name in a path, as text. One that is no text is a problem like any other, which axum's own
/// extractor answers in words of its own.
pub(crate) struct Segment(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(name)) => Ok(Self(name)),
            Err(rejection) => Err(Problem::invalid(rejection.body_text())),
        }
    }
}

/// The answer where no route leads.
pub(super) async fn no_such_path(uri: Uri) -> Problem {
    Problem::not_found(format!("no path {}", uri.path()))
}

/// The answer where a route leads, but not by this method.
pub(super) async fn method_not_allowed(method: axum::http::Method, uri: Uri) -> Problem {
    Problem::new(
        ProblemKind::MethodNotAllowed,
        format!("{method} is not for {}", uri.path()),
    )
}
