//! What requests and answers say about time and repetition, and how it is read.
//!
//! What can't be read counts as not said: headers come from strangers, and a wrong one must neither
//! fail a request that would be fine nor make one be repeated that mustn't be.

use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use tokio::time::Instant;

/// The header with a request's time to live, in whole milliseconds.
pub const TTL: HeaderName = HeaderName::from_static("rekindle-ttl");

/// The header that says whether a request may be carried out twice: `true` or `false`.
pub const IDEMPOTENT: HeaderName = HeaderName::from_static("rekindle-idempotent");

/// The header that says when to come back, in whole milliseconds. `Retry-After` has whole seconds,
/// which is longer than most restarts that can be hidden.
pub const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("rekindle-retry-after-ms");

/// When to come back where nobody knows better: what was too slow, or can't be reached, will hardly
/// be otherwise in less.
const COME_BACK: Duration = Duration::from_secs(1);

/// The longest time that is believed, a day. It keeps arithmetic with moments from overflowing.
const LONGEST: Duration = Duration::from_secs(86_400);

/// Until when somebody waits for the answer to a request: in the extensions of requests, both of
/// those that [`DeadlineLayer`](crate::DeadlineLayer) lets in and of those that
/// [`RetryLayer`](crate::RetryLayer) sends. Copy it from the one to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeLeft {
    until: Instant,
}

impl TimeLeft {
    /// From now on for so long.
    pub fn of(duration: Duration) -> Self {
        Self {
            until: Instant::now() + duration.min(LONGEST),
        }
    }

    /// How much is left now; zero when it is over.
    pub fn left(self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// The moment when it is over.
    pub(crate) fn until(self) -> Instant {
        self.until
    }
}

/// The request's time to live as its header says it.
pub fn time_to_live(headers: &HeaderMap) -> Option<Duration> {
    millis(headers, &TTL)
}

/// Whether a request may be carried out twice: as its header says, else as RFC 9110, section 9.2.2
/// says about its method.
pub fn is_idempotent<B>(request: &Request<B>) -> bool {
    match request
        .headers()
        .get(IDEMPOTENT)
        .map(|value| value.as_bytes())
    {
        Some(b"true") => true,
        // Anything else that is said isn't yes.
        Some(_) => false,
        None => matches!(
            *request.method(),
            Method::GET
                | Method::HEAD
                | Method::OPTIONS
                | Method::TRACE
                | Method::PUT
                | Method::DELETE
        ),
    }
}

/// When an answer says to come back. Dates in `Retry-After` aren't read: the clocks of two machines
/// differ by more than what is worth waiting for.
pub fn come_back_in(headers: &HeaderMap) -> Option<Duration> {
    precisely_come_back_in(headers).or_else(|| {
        let seconds: u64 = text(headers, &RETRY_AFTER)?.parse().ok()?;
        Some(Duration::from_secs(seconds).min(LONGEST))
    })
}

/// When an answer says to come back, to the millisecond.
pub(crate) fn precisely_come_back_in(headers: &HeaderMap) -> Option<Duration> {
    millis(headers, &RETRY_AFTER_MS)
}

/// Says when to come back, in both headers.
pub(crate) fn say_come_back_in(headers: &mut HeaderMap, time: Duration) {
    let millis = as_millis(time);
    // The header has whole seconds, and none of them means at once.
    headers.insert(RETRY_AFTER, HeaderValue::from(millis.div_ceil(1000).max(1)));
    headers.insert(RETRY_AFTER_MS, HeaderValue::from(millis));
}

/// The answer of one who can't do it now: `503`, and when to come back.
pub(crate) fn unavailable<R: Default>(come_back: Option<Duration>) -> Response<R> {
    let mut answer = Response::new(R::default());
    *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    say_come_back_in(answer.headers_mut(), come_back.unwrap_or(COME_BACK));
    answer
}

fn millis(headers: &HeaderMap, name: &HeaderName) -> Option<Duration> {
    let millis: u64 = text(headers, name)?.parse().ok()?;
    Some(Duration::from_millis(millis).min(LONGEST))
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    Some(headers.get(name)?.to_str().ok()?.trim())
}

/// Whole milliseconds, for headers.
pub(crate) fn as_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_says_more_than_the_method_and_nonsense_is_no_yes() {
        for (method, header, expected) in [
            (Method::GET, None, true),
            (Method::PUT, None, true),
            (Method::POST, None, false),
            (Method::PATCH, None, false),
            (Method::POST, Some("true"), true),
            (Method::GET, Some("false"), false),
            (Method::GET, Some("TRUE?"), false),
        ] {
            let mut request = Request::builder().method(method.clone());
            if let Some(header) = header {
                request = request.header(IDEMPOTENT, header);
            }
            let request = request.body(()).expect("a request");
            assert_eq!(is_idempotent(&request), expected, "{method} {header:?}");
        }
    }

    #[test]
    fn when_to_come_back_is_read_to_the_millisecond_where_it_is_said() {
        for (precise, plain, expected) in [
            (None, None, None),
            (Some("40"), Some("1"), Some(40)),
            (None, Some("2"), Some(2000)),
            (Some("soon"), Some(" 1 "), Some(1000)),
            (None, Some("Wed, 21 Oct 2015 07:28:00 GMT"), None),
            (Some("-5"), None, None),
            (Some("18446744073709551615"), None, Some(86_400_000)),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in [(RETRY_AFTER_MS, precise), (RETRY_AFTER, plain)] {
                if let Some(value) = value {
                    headers.insert(name, value.parse().expect("a value"));
                }
            }
            let found = come_back_in(&headers).map(as_millis);
            assert_eq!(found, expected, "{precise:?} {plain:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_header_makes_reading_fail(bytes in proptest::collection::vec(32_u8..=255, 0..40)) {
            let Ok(value) = http::HeaderValue::from_bytes(&bytes) else { return Ok(()) };
            let mut headers = HeaderMap::new();
            for name in [TTL, RETRY_AFTER_MS, RETRY_AFTER] {
                headers.insert(name, value.clone());
            }
            let longest = LONGEST;
            proptest::prop_assert!(time_to_live(&headers).is_none_or(|time| time <= longest));
            proptest::prop_assert!(come_back_in(&headers).is_none_or(|time| time <= longest));
            let _ = TimeLeft::of(time_to_live(&headers).unwrap_or(Duration::MAX)).left();
        }
    }
}
