//! Why is this one suspected, and what speaks against it? As values, for programs to check.
//!
//! A sentence can't be checked, so it is only one rendering (`rank/explain.rs`) of what stands here; a
//! table of facts is another, JSON the third. Counts are requests unless a field says calls or
//! visits; every claim can be recounted in the traces of the same time.

use rekindle_model::{Name, TraceId};
use serde::{Deserialize, Serialize};

use rekindle_stats::{Interval, Probability, Share};

use crate::{Component, ShareInterval};

/// `hits` of `total`, the share, and its 95 % interval (Wilson). Where samplers say for how many requests each stands, the
/// share is of those.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Counted {
    /// So many did.
    pub hits: u64,
    /// Of so many.
    pub total: u64,
    /// The share and its interval.
    #[serde(flatten)]
    pub interval: ShareInterval,
}

impl Counted {
    /// `hits` of `total`; more hits than there are in total count as all.
    pub fn of(hits: u64, total: u64) -> Self {
        let share = Share::of(hits.min(total), total.saturating_sub(hits));
        Self::weighed(hits, total, share.value().unwrap_or(0.0), share)
    }

    /// The same where each stands for several: the share of those, which is as sure as this share of counts is.
    pub(crate) fn weighed(hits: u64, total: u64, share: f64, as_seen: Share) -> Self {
        let interval = as_seen.wilson(Probability::P95);
        Self {
            hits: hits.min(total),
            total,
            interval: ShareInterval {
                share,
                low: interval.low,
                high: interval.high,
            },
        }
    }
}

impl Default for Counted {
    /// Of nothing, of which nothing is known.
    fn default() -> Self {
        Self::of(0, 0)
    }
}

/// A number of requests by how they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requests {
    /// Failed requests of the incident's types.
    pub failed: u64,
    /// Good requests, of all types.
    pub ok: u64,
}

/// What was compared with what.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// The time under suspicion.
    pub window: Requests,
    /// The reference time before it.
    pub baseline: Requests,
    /// The share of failed requests that touched the suspect less that of good ones (both times): the
    /// 95 % interval by Newcombe, in `[−1, 1]`.
    pub difference: Interval,
    /// Whether "failed" is masked throughout: something failed, and the request ended well.
    #[serde(default, skip_serializing_if = "is_no")]
    pub masked: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_no(it: &bool) -> bool {
    !*it
}

impl Default for Compared {
    /// Nothing with nothing.
    fn default() -> Self {
        Self {
            window: Requests::default(),
            baseline: Requests::default(),
            difference: Interval {
                low: -1.0,
                high: 1.0,
            },
            masked: false,
        }
    }
}

/// Where failures began.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// Of the incident's failed requests, those whose failure began in the suspect.
    pub of_failed: Counted,
    /// Of all requests of the window that touched it, those in which a failure began in it, masked
    /// ones included.
    pub now: Counted,
    /// Of the hits of `now`, those that were masked: a retry or a fallback hid the failure from the user.
    #[serde(default, skip_serializing_if = "is_none_at_all")]
    pub masked: u64,
    /// The same as `now`, before.
    pub before: Counted,
    /// The types of the errors that began in it, by requests, the most frequent first.
    pub errors: Vec<(Name, u64)>,
    /// The operations of its service in which they began, by requests, the most frequent first.
    pub operations: Vec<(Name, u64)>,
}

/// What is timed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measured {
    /// Own time and the way to it from another process.
    Visit(Component),
    /// Own time alone.
    OwnWork(Component),
    /// The way from one to the other and back.
    Way {
        /// The caller's operation.
        from: Component,
        /// The callee's.
        to: Component,
    },
}

/// Durations of one heap of calls, in nanoseconds, known to within 3 % (the width of a bucket).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// How many calls.
    pub calls: u64,
    /// Of these, how many weren't measured: others of the same requests' type and second stand for them.
    #[serde(default, skip_serializing_if = "is_none_at_all")]
    pub unmeasured: u64,
    /// The middle; `None` without calls.
    pub median_nanos: Option<u64>,
    /// Nine of ten took at most this.
    pub p90_nanos: Option<u64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_none_at_all(count: &u64) -> bool {
    *count == 0
}

impl Times {
    /// How many calls were measured.
    pub const fn measured(&self) -> u64 {
        self.calls.saturating_sub(self.unmeasured)
    }
}

/// Something takes another time than before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LatencyShift {
    /// What was measured.
    pub what: Measured,
    /// In requests of this type; `None`: of all types.
    pub request_type: Option<Name>,
    /// Before the window.
    pub before: Times,
    /// In the window.
    pub now: Times,
    /// How many times the typical duration doubled; negative when it got shorter.
    pub doublings: f64,
    /// The share of calls that take longer (or shorter) than before, in `[0, 1]`.
    pub affected: f64,
    /// How probable at least such a shift is where nothing changed.
    pub chance: f64,
}

/// Visits of an operation stop where they used to go on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StructureChange {
    /// The operation that is cut short.
    pub operation: Component,
    /// In requests of this type.
    pub request_type: Name,
    /// Whom it asked last; `None`: nobody.
    pub after: Option<Component>,
    /// Visits that got so far before the window, and those of them that stopped there.
    pub before: Counted,
    /// The same in the window.
    pub now: Counted,
    /// By how much the share rose at least.
    pub at_least: f64,
}

/// What speaks for a suspect beside its counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Support {
    /// A host: several services fail on it that are fine elsewhere.
    SeveralServicesFailOnlyHere,
    /// Requests stopped coming, neither failing nor ending; counts of these are estimates from before.
    RequestsStopped {
        /// How many should have come.
        missing: u64,
        /// How many of these would have touched it.
        touching: u64,
        /// How many came meanwhile and ended well.
        going_on: u64,
        /// How many of these touched it.
        going_on_touching: u64,
    },
}

/// What speaks against a suspect, or weakens what speaks for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Doubt {
    /// A sampler doesn't say how many requests it threw away, so no share of requests is known.
    SharesUnknown,
    /// No failure began in it; it merely works differently, or was on the way.
    NoFailureBeganInIt,
    /// Failed requests whose failure began elsewhere.
    FailuresElsewhere(Counted),
    /// Requests that touched it in the window and in which nothing began in it.
    ServedWell(Counted),
    /// Failures began in it before, too.
    FailedBefore(Counted),
    /// Nobody but the suspect's own process says so.
    OneWitness,
    /// No request used another component of its service, so nothing tells it from the rest.
    LoneComponent {
        /// Its service.
        service: Name,
    },
    /// No request tells it from these of other levels, such as the only host of a version: they may be to blame
    /// instead.
    Confounded {
        /// Which ones, sorted.
        with: Vec<Component>,
    },
    /// No request tells these apart.
    NotToldApart {
        /// How many components the suspect stands for.
        components: usize,
    },
    /// Calm times change by themselves; both in shares of calls affected, times doublings.
    CalmTimesChange {
        /// The largest change between the two halves of the baseline.
        calm: f64,
        /// The suspect's.
        now: f64,
    },
    /// The change may be chance, as often as was looked.
    MayBeChance {
        /// The probability of such a change where nothing changed.
        chance: f64,
    },
}

/// How an alternative is related to the suspect that was preferred to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Relation {
    /// It is the service that the suspect is a part of.
    Whole,
    /// It is a part of the suspect.
    Part,
    /// It calls the suspect, or is called by it, in failed requests.
    SamePath,
    /// No failed request touched both.
    Apart,
}

/// Another suspect that this one was preferred to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alternative {
    /// The other one.
    pub components: Vec<Component>,
    /// How they are related.
    pub relation: Relation,
    /// The other one's confidence.
    pub confidence: f64,
    /// How many times likelier this one is; `None` when the other one is impossible.
    pub times_likelier: Option<f64>,
    /// Failed requests that began in this one, and in the other one.
    pub originated: (u64, u64),
}

/// A failed request, and the good one that it is most like.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    /// The failed one.
    pub failed: TraceId,
    /// The good one.
    pub ok: TraceId,
    /// The share of what either touched that both touched, in `[0, 1]` (Jaccard).
    pub alike: f64,
}

/// Everything behind one suspect; its counts of touched requests are in
/// [`Evidence`](crate::Evidence). The default says that nothing was compared.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// What was compared.
    pub compared: Compared,
    /// Where failures began.
    pub origin: Origin,
    /// What takes another time than before.
    pub latency: Option<LatencyShift>,
    /// What stops where it used to go on.
    pub structure: Option<StructureChange>,
    /// What else speaks for it.
    pub support: Vec<Support>,
    /// What speaks against it.
    pub against: Vec<Doubt>,
    /// Whom it was preferred to: the next ones of the ranking.
    pub preferred_to: Vec<Alternative>,
    /// Requests to compare by hand.
    pub pairs: Vec<Pair>,
}

impl Explanation {
    /// That requests stopped coming because of it, where that is what speaks for it.
    pub(crate) fn stopped(&self) -> Option<Support> {
        let stopped = |it: &&Support| matches!(it, Support::RequestsStopped { .. });
        self.support.iter().find(stopped).copied()
    }

    /// Whether it works differently than before.
    pub(crate) fn has_changed(&self) -> bool {
        self.latency.is_some() || self.structure.is_some()
    }
}
