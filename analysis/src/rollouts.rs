//! Is somebody rolling out a new version?
//!
//! Not everybody tells of deployments. A version that appears in a service that was known with another one is one: its first
//! request meets a cold start. Only that request's time is its shadow, and no more of it than [`SHADOW_AT_MOST`]: a longer one
//! would hide the failures that deployments bring, which are what people want to know first.
//!
//! Instances that come are none, because one that crashes again and again shows a new one each time, and those that go aren't
//! either: by traces alone nobody can tell an instance that was taken away from one that died.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use rekindle_model::{Intervention, InterventionKind, Life, Name, Selector, UnixNanos};

use crate::{Component, Level};

/// A service must have been known for so long before its next version counts as new: when a system comes up, and when we
/// do, everything is. And versions that come within that time are one rollout.
const KNOWN_FOR: Duration = Duration::from_secs(60);

/// So much of a new version's first request is its shadow at most. The request is in it whole, and others that overlap it
/// are few: one that hangs must not hide a minute of failures.
const SHADOW_AT_MOST: Duration = Duration::from_secs(1);

/// So many services are remembered; the one whose last version is the oldest gives way.
const MAX_SERVICES: usize = 1_000;

/// So many versions of a service are remembered, the last ones: more than are rolled out while anybody remembers the first.
const MAX_VERSIONS: usize = 100;

/// Services whose versions are known: for longer than their components are, so that one that comes back is none that appears.
#[derive(Debug, Default)]
pub(crate) struct Rollouts {
    services: BTreeMap<Name, Known>,
}

#[derive(Debug)]
struct Known {
    /// When the last version appeared.
    last: UnixNanos,
    /// In the order in which they appeared.
    versions: VecDeque<Name>,
    /// The last one that was rolled out, and when it was seen first.
    rollout: Option<(Name, UnixNanos)>,
}

/// A version of a service that was rolled out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollout {
    /// The version.
    pub version: Component,
    /// When it was seen first.
    pub at: UnixNanos,
}

impl Rollout {
    /// In words: `version 2 of catalog appeared`.
    pub fn in_words(&self) -> String {
        let Component { service, name, .. } = &self.version;
        format!("version {name} of {service} appeared")
    }
}

impl Rollouts {
    /// A component appears in a request of this time, as far as that is over. What that shows, if it is a version's
    /// rollout.
    pub(crate) fn appears(
        &mut self,
        component: &Component,
        start: UnixNanos,
        end: UnixNanos,
        now: UnixNanos,
    ) -> Option<Intervention> {
        if component.level != Level::Version {
            return None;
        }
        let start = start.min(now);
        let until = end.min(now).min(start.plus(SHADOW_AT_MOST));
        let is_first = self.learn(&component.service, &component.name, start)?;
        let rollout = Rollout {
            version: component.clone(),
            at: start,
        };
        is_first.then(|| Intervention {
            kind: InterventionKind::Deployment,
            target: Selector(vec![
                ("service.name".into(), component.service.clone()),
                ("service.version".into(), component.name.clone()),
            ]),
            from: start,
            until: Some(until),
            began: Life::default(),
            ended_by: None,
            reference: rollout.in_words().into(),
        })
    }

    /// The last version of each service that was rolled out, as far as it is remembered.
    pub(crate) fn last(&self) -> impl Iterator<Item = Rollout> {
        self.services.iter().filter_map(|(service, known)| {
            let (name, at) = known.rollout.as_ref()?;
            Some(Rollout {
                version: Component::new(Level::Version, service, name),
                at: *at,
            })
        })
    }

    /// Whether this version is the first one of a rollout; `None` where it is of none, or known.
    fn learn(&mut self, service: &Name, version: &Name, at: UnixNanos) -> Option<bool> {
        if let Some(known) = self.services.get_mut(service) {
            if known.versions.contains(version) {
                return None;
            }
            if known.versions.len() >= MAX_VERSIONS {
                known.versions.pop_front();
            }
            known.versions.push_back(version.clone());
            let last = std::mem::replace(&mut known.last, at);
            let is_first = at.since(last) >= KNOWN_FOR;
            let goes_on = known
                .rollout
                .as_ref()
                .is_some_and(|(_, begun)| *begun == last);
            if !is_first && !goes_on {
                return None;
            }
            known.rollout = Some((version.clone(), at));
            return Some(is_first);
        }
        if self.services.len() >= MAX_SERVICES {
            let oldest = self.services.iter().min_by_key(|(_, known)| known.last);
            if let Some(oldest) = oldest.map(|(service, _)| service.clone()) {
                self.services.remove(&oldest);
            }
        }
        let known = Known {
            last: at,
            versions: VecDeque::from([version.clone()]),
            rollout: None,
        };
        self.services.insert(service.clone(), known);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn appears(rollouts: &mut Rollouts, version: &str, at: [u64; 3]) -> Option<(u64, u64)> {
        let component = Component::new(Level::Version, &"catalog".into(), &version.into());
        let [start, end, now] = at.map(UnixNanos::from_secs);
        let seen = rollouts.appears(&component, start, end, now)?;
        let seconds = |time: UnixNanos| time.0 / 1_000_000_000;
        Some((seconds(seen.from), seconds(seen.until?)))
    }

    #[test]
    fn a_shadow_is_short_and_never_in_the_future() {
        for (at, expected) in [
            ([1_000, 1_000, 1_000], (1_000, 1_000)),
            // It hung.
            ([1_000, 1_060, 1_070], (1_000, 1_001)),
            // Its clock is ahead.
            ([1_900, 1_960, 1_000], (1_000, 1_000)),
        ] {
            let mut rollouts = Rollouts::default();
            assert_eq!(appears(&mut rollouts, "1", [1, 1, 1]), None);
            assert_eq!(appears(&mut rollouts, "2", at), Some(expected), "{at:?}");
        }
    }

    #[test]
    fn a_version_that_comes_back_is_none_that_appears() {
        let mut rollouts = Rollouts::default();
        for (version, at, is_rollout) in [
            ("1", 1, false),
            ("2", 100, true),
            ("1", 200, false),
            ("2", 300, false),
            ("3", 400, true),
        ] {
            let seen = appears(&mut rollouts, version, [at; 3]);
            assert_eq!(seen.is_some(), is_rollout, "{version} at {at}");
        }
    }

    #[test]
    fn versions_that_follow_one_another_are_one_rollout_that_goes_on() {
        let mut rollouts = Rollouts::default();
        for (version, at, begins, last) in [
            // All comes up.
            ("1", 1, false, None),
            ("2", 30, false, None),
            ("3", 100, true, Some(("3", 100))),
            ("4", 130, false, Some(("4", 130))),
            ("4", 140, false, Some(("4", 130))),
        ] {
            let seen = appears(&mut rollouts, version, [at; 3]);
            assert_eq!(seen.is_some(), begins, "{version} at {at}");
            let found = rollouts.last().next();
            let found = found.map(|it| (it.version.name.to_string(), it.at));
            let expected = last.map(|(name, at)| (name.to_owned(), UnixNanos::from_secs(at)));
            assert_eq!(found, expected, "{version} at {at}");
        }
    }

    #[test]
    fn what_is_remembered_has_bounds() {
        let mut rollouts = Rollouts::default();
        let versions = 0..MAX_VERSIONS as u64 + 100;
        let seen = versions.filter(|n| {
            let at = [100 * (n + 1); 3];
            appears(&mut rollouts, &n.to_string(), at).is_some()
        });
        assert_eq!(seen.count(), MAX_VERSIONS + 99, "each but the first");
        for known in rollouts.services.values() {
            assert_eq!(known.versions.len(), MAX_VERSIONS);
        }
        for n in 0..MAX_SERVICES as u64 + 100 {
            let service = Name::from(format!("made-up-{n}"));
            rollouts.learn(&service, &"1".into(), UnixNanos::from_secs(n));
        }
        assert_eq!(rollouts.services.len(), MAX_SERVICES);
    }
}
