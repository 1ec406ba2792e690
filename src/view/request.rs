//! How users fare, per request type and over time.

use serde::{Deserialize, Serialize};

use super::{ShareView, UtcTime};

/// One request type.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RequestTypeView {
    /// Entry service and operation, as in `web GET /item/{id}`.
    pub name: String,
    /// Whether it fails significantly more than its baseline now.
    pub failing: bool,
    /// Requests per second over the last seconds.
    pub rate_per_s: f64,
    /// The share that fails now, over the last `now_ms`; `None` when none came to say.
    pub failure_share: Option<ShareView>,
    /// What samplers make of the counts; `None` where none spoke up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampled: Option<SampledView>,
    /// How far back "now" reaches: a few seconds, or further where few requests come.
    #[serde(default)]
    pub now_ms: u64,
    /// The share that failures are compared with, which includes a guess as long as few requests are
    /// known; `None` before it is learned.
    pub baseline: Option<f64>,
    /// The share that failed before "now", incidents left out, as it was counted; `None` when nothing
    /// was.
    #[serde(default)]
    pub usual: Option<ShareView>,
    /// Failures that its users don't see; `None` where there were none lately.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub masked: Option<MaskedView>,
    /// Set where its service isn't heard of any more: since when. How many requests come, and how many of them
    /// fail, is unknown then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unheard_since: Option<UtcTime>,
    /// How long each point of `series` covers.
    pub slice_ms: u64,
    /// Requests over time, oldest first; a slice without requests may be absent.
    pub series: Vec<RatePointView>,
}

/// What failed inside requests, over the last half minute, of those whose traces are known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MaskedView {
    /// Requests in which something failed and which ended well: a retry or a fallback hid it.
    pub share: ShareView,
    /// The share of these that is usual, in `[0, 1]`; `None` before it is known.
    #[serde(default)]
    pub usual: Option<f64>,
    /// Of the requests in which something failed, those that ended well all the same. It falls when a retry budget is spent.
    #[serde(default)]
    pub still_hidden: Option<ShareView>,
    /// Failed calls that were made again, per request: what retry budgets bound. Where the bound lies, no trace says.
    #[serde(default)]
    pub again_per_request: f64,
    /// Whether there are so many more than usual that an incident is open for it.
    #[serde(default)]
    pub rising: bool,
}

/// Requests were thrown away before they were told. What was counted is counted; of all that there were,
/// this much is known, and a figure that is missing is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SampledView {
    /// Requests per second, as far as the samplers say.
    pub rate_per_s: Option<f64>,
    /// The share of them that fails, over the last half minute, in `[0, 1]`.
    pub failure_share: Option<f64>,
}

/// The requests of one slice of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RatePointView {
    /// When the slice began.
    pub at: UtcTime,
    /// Requests that ended well.
    pub ok: u64,
    /// Requests that failed, or were as slow as failed.
    pub bad: u64,
}

impl RatePointView {
    /// The share that failed; `None` without requests.
    pub fn failure_share(&self) -> Option<f64> {
        let total = self.ok.saturating_add(self.bad);
        (total > 0).then(|| self.bad as f64 / total as f64)
    }
}
