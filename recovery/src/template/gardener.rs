//! Who looks at the lists, and makes a tree of what is on them?
//!
//! One task. It asks every platform every few seconds, hands the lists to [`Growth`], and where that says that
//! something came or went, builds a whole new tree and offers it to recovery's service, which takes it as soon as
//! nothing that it lacks is being restarted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::{Growth, Template, listing};
use crate::executor::Executor;
use crate::executors::Executors;
use crate::ports::Clock;
use crate::service::{Recovery, RecoveryStatus};
use crate::tree::Kinds;
use crate::{LiveTree, RestartTree, UnitName, UnitSpec};

/// How often lists are looked at. A new replica takes as long until it serves, and the platform has others to answer.
const EVERY: Duration = Duration::from_secs(5);

/// A tree that grew, and who restarts its units.
#[derive(Clone)]
pub struct Grown {
    /// The tree.
    pub tree: Arc<RestartTree>,
    /// The executors of all units that have one.
    pub executors: BTreeMap<UnitName, Arc<dyn Executor>>,
    /// Those of its units that are no longer on their list.
    pub missing: BTreeSet<UnitName>,
    /// Those on their list that don't run, or aren't ready.
    pub down: BTreeSet<UnitName>,
}

/// How it stands with one template.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Growing {
    /// The template.
    pub kind: String,
    /// What it lists: `containers`, `services` or `pods`.
    pub source: &'static str,
    /// How many units grew from it.
    pub units: usize,
    /// How many instances on the list are no units: beyond the bound, or with a name that no unit can have.
    pub left_out: usize,
    /// How many could not be put into the tree …
    pub unfit: usize,
    /// … and why.
    pub misfit: Option<String>,
    /// Why the list can't be had.
    pub trouble: Option<String>,
}

/// The task, and what it knows.
pub struct Gardener {
    /// What was written.
    written: Vec<UnitSpec>,
    kinds: Kinds,
    growth: Growth,
    /// What grew before the last look, until the service has taken what that found.
    before: Growth,
    executors: Executors,
    clock: Clock,
    /// Something grew or went that the service hasn't taken.
    is_due: bool,
    growing: watch::Sender<Arc<Vec<Growing>>>,
}

impl Gardener {
    /// Of a tree that was written with these templates, which are among its kinds. Whoever holds the receiver sees how it stands with each.
    pub fn new(
        written: Vec<UnitSpec>,
        kinds: Kinds,
        templates: Vec<Template>,
        executors: Executors,
        clock: Clock,
    ) -> (Self, watch::Receiver<Arc<Vec<Growing>>>) {
        let standing = templates.iter().map(|template| Growing {
            kind: template.unit.name.to_string(),
            source: template.source.kind(),
            ..Growing::default()
        });
        let (growing, receiver) = watch::channel(Arc::new(standing.collect()));
        let gardener = Self {
            written,
            kinds,
            before: Growth::new(templates.clone()),
            growth: Growth::new(templates),
            executors,
            clock,
            is_due: false,
            growing,
        };
        (gardener, receiver)
    }

    /// These are units until somebody says otherwise, on a list or not: what was being done to them goes on.
    pub fn expect(&mut self, units: &BTreeSet<UnitName>) {
        let now = (self.clock)();
        for unit in units {
            self.is_due |= self.growth.expect(unit, now);
        }
    }

    /// Looks at all lists. What grew, where that is something else than was taken last. Units in `held` are still
    /// needed, whatever the lists say.
    pub async fn look(&mut self, held: &BTreeSet<UnitName>) -> Option<Grown> {
        self.before = self.growth.clone();
        let mut troubles = Vec::new();
        for at in 0..self.growth.templates().len() {
            let listed = listing::list(&self.growth.templates()[at]).await;
            let now = (self.clock)();
            troubles.push(match listed {
                Ok(listed) => {
                    self.is_due |= self.growth.take(at, &listed, held, now);
                    None
                }
                Err(reason) => Some(reason),
            });
        }
        let grown = self.is_due.then(|| self.grow());
        let unfit = grown.as_ref().map(|(_, unfit)| unfit);
        self.tell(troubles, unfit);
        grown.map(|(grown, _)| grown)
    }

    /// The service has taken what [`Self::look`] found.
    pub fn taken(&mut self) {
        self.is_due = false;
    }

    /// The service needs what went. It stays a unit, or every offer would lack it until the service is done with it.
    pub fn refused(&mut self) {
        self.growth = self.before.clone();
    }

    /// The whole tree, and what could not be put into it.
    fn grow(&self) -> (Grown, BTreeMap<UnitName, String>) {
        let (tree, units, unfit) = plant(&self.written, self.growth.units(), &self.kinds);
        let mut executors = self.executors.by_unit().clone();
        executors.extend(self.executors.grown(&units));
        let tree = Arc::new(tree);
        let grown = Grown {
            tree,
            executors,
            missing: self.growth.missing(),
            down: self.growth.down(),
        };
        (grown, unfit)
    }

    /// Says how it stands, where that is news.
    fn tell(&self, troubles: Vec<Option<String>>, unfit: Option<&BTreeMap<UnitName, String>>) {
        let mut standing = self.growing.borrow().as_ref().clone();
        let units = self.growth.units();
        for (at, (one, trouble)) in standing.iter_mut().zip(troubles).enumerate() {
            let kind = UnitName(one.kind.clone());
            let is_of = |unit: &UnitName| self.kinds.kind_of(unit) == Some(&kind);
            if let Some(unfit) = unfit {
                let mut words = unfit.iter().filter(|(unit, _)| is_of(unit));
                one.unfit = words.clone().count();
                one.misfit = words.next().map(|(_, words)| words.clone());
            }
            one.trouble = trouble;
            let all = units.iter().filter(|unit| is_of(&unit.name)).count();
            one.units = all.saturating_sub(one.unfit);
            one.left_out = self.growth.left_out(at);
        }
        self.growing.send_if_modified(|before| {
            let is_news = **before != standing;
            for (before, now) in before.iter().zip(&standing) {
                if before == now {
                    continue;
                }
                let Growing {
                    kind,
                    units,
                    left_out,
                    unfit,
                    misfit,
                    trouble,
                    source,
                } = now;
                match trouble.as_ref().or(misfit.as_ref()) {
                    Some(why) => tracing::warn!(kind, units, unfit, "{source} don't grow: {why}"),
                    None if left_out > &0 => {
                        tracing::warn!(
                            kind,
                            units,
                            left_out,
                            "{source} are left out: there are more than the template may grow, or their names can be no unit's"
                        );
                    }
                    None => tracing::info!(kind, units, "{source} grow"),
                }
            }
            if is_news {
                *before = Arc::new(standing);
            }
            is_news
        });
    }

    /// Follows the lists until the service ends. `tree` is what it took last.
    pub async fn run(mut self, recovery: Recovery, tree: LiveTree) {
        let status = recovery.status();
        loop {
            tokio::time::sleep(EVERY).await;
            let held = held(&status.borrow(), &tree.now());
            let Some(grown) = self.look(&held).await else {
                continue;
            };
            match recovery.grow(grown).await {
                Ok(true) => self.taken(),
                // Something began meanwhile with a unit that is gone; the next look knows it as held.
                Ok(false) => self.refused(),
                Err(_ended) => return,
            }
        }
    }
}

/// The units that somebody is at work on, or on what contains them.
fn held(status: &RecoveryStatus, tree: &RestartTree) -> BTreeSet<UnitName> {
    let busy = status.recoveries.iter().filter(|it| it.state.holds_lease());
    let targets = busy.filter_map(|recovery| recovery.target.as_ref());
    targets
        .flat_map(|target| tree.subtree(target))
        .cloned()
        .collect()
}

/// The tree of what was written and of what grew; the units of it that grew; and what would have made it no tree.
pub(super) fn plant(
    written: &[UnitSpec],
    grown: Vec<UnitSpec>,
    kinds: &Kinds,
) -> (RestartTree, Vec<UnitSpec>, BTreeMap<UnitName, String>) {
    let with = |units: &[UnitSpec]| {
        let specs = written.iter().chain(units).cloned().collect();
        RestartTree::growing(specs, kinds.clone())
    };
    if let Ok(tree) = with(&grown) {
        return (tree, grown, BTreeMap::new());
    }
    // One by one, so that what is wrong with one keeps nobody else out. What was written is a tree: that was checked
    // when it was read.
    let mut tree = with(&[]).unwrap_or_default();
    let (mut fit, mut unfit) = (Vec::new(), BTreeMap::new());
    for unit in grown {
        let name = unit.name.clone();
        fit.push(unit);
        match with(&fit) {
            Ok(wider) => tree = wider,
            Err(errors) => {
                fit.pop();
                let words: Vec<String> = errors.iter().map(ToString::to_string).collect();
                unfit.insert(name, words.join("; "));
            }
        }
    }
    (tree, fit, unfit)
}
