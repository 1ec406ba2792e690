//! Is somebody rolling out a new version?
//!
//! Not everybody tells of deployments. A version that appears in a service that was known with another one is one: its first
//! request meets a cold start, and what failed before it says nothing of the new version. Only that request's time is its
//! shadow. A longer one would hide the failures that deployments bring, which are what people want to know first.
//!
//! Instances that come are none, because one that crashes again and again shows a new one each time, and those that go aren't
//! either: by traces alone nobody can tell an instance that was taken away from one that died.

use std::collections::BTreeMap;
use std::time::Duration;

use rekindle_model::{Intervention, InterventionKind, Life, Name, Selector, UnixNanos};

use crate::{Component, Level};

/// A service must have been known for so long before its next version counts as new: when a system comes up, and when we
/// do, everything is. And versions that come within that time are one rollout.
const KNOWN_FOR: Duration = Duration::from_secs(60);

/// Services whose versions are known.
#[derive(Debug, Default)]
pub(crate) struct Rollouts {
    /// When the last version of each appeared.
    services: BTreeMap<Name, UnixNanos>,
}

impl Rollouts {
    /// A component appears in a request of this time. What that shows, if it is a version's rollout.
    pub(crate) fn appears(
        &mut self,
        component: &Component,
        start: UnixNanos,
        end: UnixNanos,
    ) -> Option<Intervention> {
        if component.level != Level::Version {
            return None;
        }
        let last = self.services.insert(component.service.clone(), start)?;
        (start.since(last) >= KNOWN_FOR).then(|| Intervention {
            kind: InterventionKind::Deployment,
            target: Selector(vec![
                ("service.name".into(), component.service.clone()),
                ("service.version".into(), component.name.clone()),
            ]),
            from: start,
            until: Some(end),
            began: Life::default(),
            reference: format!(
                "version {} of {} appeared",
                component.name, component.service
            )
            .into(),
        })
    }

    /// Forgets services that nothing speaks of any more.
    pub(crate) fn keep(&mut self, is_known: impl Fn(&Name) -> bool) {
        self.services.retain(|service, _| is_known(service));
    }
}
