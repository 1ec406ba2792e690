//! Every component under one small number, with what selectors may match on.
//!
//! Rows of observations are lists of numbers; names are looked up when somebody reads. A component's
//! attributes are those that all the processes it was seen in agree on: an instance keeps all of
//! its resource's, a service keeps its name and whatever else never differs.

use std::collections::BTreeMap;

use hashbrown::{HashMap, HashSet};
use rekindle_model::{Name, Resource};

use crate::{Component, Counts, LeftOut, Level};

/// So many processes of a component are remembered as already agreed with; further ones are
/// compared each time, which is merely slower.
const REMEMBERED_RESOURCES: usize = 32;

#[derive(Debug)]
pub(crate) struct Info {
    pub(crate) component: Component,
    pub(crate) attributes: BTreeMap<Name, Name>,
    agreed: Vec<(Option<Name>, Option<Name>, Option<Name>)>,
}

#[derive(Debug)]
pub(crate) struct Registry {
    // Only looked up, never iterated: its order is not the same twice.
    ids: HashMap<Component, u32>,
    infos: Vec<Info>,
    /// Numbers by component, as far as they were put in order.
    order: Vec<u32>,
    /// Components that were asked for in vain.
    missed: HashSet<Component>,
    /// Grows when a component that was asked for in vain is met, and when numbers change.
    version: u64,
    /// Grows when an attribute of a known component changes.
    attributes_version: u64,
    max: usize,
}

/// So many components that were asked for in vain are remembered, before what depended on that is
/// asked anew.
const MAX_MISSED: usize = 10_000;

impl Registry {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            ids: HashMap::new(),
            infos: Vec::new(),
            order: Vec::new(),
            missed: HashSet::new(),
            version: 0,
            attributes_version: 0,
            max,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.infos.len()
    }

    /// Puts those that are new in order: who ranks needn't do it each time.
    pub(crate) fn put_in_order(&mut self) {
        let known = self.order.len();
        if known < self.infos.len() {
            self.order.extend(known as u32..self.infos.len() as u32);
            let component = |id: &u32| &self.infos[*id as usize].component;
            self.order.sort_by(|a, b| component(a).cmp(component(b)));
        }
    }

    /// All numbers, most of them in the order of their components.
    pub(crate) fn ordered(&self) -> impl Iterator<Item = u32> {
        let rest = self.order.len() as u32..self.infos.len() as u32;
        self.order.iter().copied().chain(rest)
    }

    /// Those that are met since there were so many.
    pub(crate) fn met_since(&self, count: usize) -> impl Iterator<Item = &Component> {
        self.infos[count..].iter().map(|info| &info.component)
    }

    pub(crate) fn info(&self, id: u32) -> &Info {
        &self.infos[id as usize]
    }

    pub(crate) fn find(&self, component: &Component) -> Option<u32> {
        self.ids.get(component).copied()
    }

    /// The same; an answer of `None` is good until [`Self::version`] changes.
    pub(crate) fn look_for(&mut self, component: Component) -> Option<u32> {
        let found = self.find(&component);
        if found.is_none() {
            if self.missed.len() >= MAX_MISSED {
                self.missed.clear();
                self.version += 1;
            }
            self.missed.insert(component);
        }
        found
    }

    /// Which answers of [`Self::look_for`] still hold.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Which answers about attributes still hold.
    pub(crate) fn attributes_version(&self) -> u64 {
        self.attributes_version
    }

    /// The component's number; a new one if need be, `None` (counted) when there are too many.
    pub(crate) fn intern(
        &mut self,
        component: Component,
        resource: Option<&Resource>,
        counts: &mut Counts,
    ) -> Option<u32> {
        let id = match self.ids.get(&component) {
            Some(id) => *id,
            None if self.infos.len() >= self.max => {
                counts.add(LeftOut::ComponentOverflow);
                return None;
            }
            None => {
                let id = self.infos.len() as u32;
                if self.missed.remove(&component) {
                    self.version += 1;
                }
                self.ids.insert(component.clone(), id);
                self.infos.push(Info {
                    component,
                    attributes: BTreeMap::new(),
                    agreed: Vec::new(),
                });
                id
            }
        };
        if let Some(resource) = resource {
            let changed = self.infos[id as usize].agree(resource);
            self.attributes_version += u64::from(changed);
        }
        Some(id)
    }

    /// Keeps only these components; the answer maps old numbers to new ones.
    pub(crate) fn keep(&mut self, used: &[bool]) -> Vec<Option<u32>> {
        let mut mapping = vec![None; self.infos.len()];
        let mut kept = Vec::new();
        self.ids.clear();
        self.missed.clear();
        self.version += 1;
        self.attributes_version += 1;
        for (old, info) in self.infos.drain(..).enumerate() {
            if used.get(old).copied().unwrap_or(false) {
                let new = kept.len() as u32;
                mapping[old] = Some(new);
                self.ids.insert(info.component.clone(), new);
                kept.push(info);
            }
        }
        self.infos = kept;
        self.order.clear();
        mapping
    }
}

impl Info {
    /// Takes in what this process says of itself. Whether an attribute that was known is no more.
    fn agree(&mut self, resource: &Resource) -> bool {
        let key = (
            resource.instance.clone(),
            resource.version.clone(),
            resource.host.clone(),
        );
        if self.agreed.contains(&key) {
            return false;
        }
        let before = self.attributes.len();
        let first = self.attributes.is_empty();
        if first {
            self.attributes = resource.attributes.iter().cloned().collect();
        } else {
            self.attributes
                .retain(|name, value| resource.attribute(name) == Some(value));
        }
        let component = &self.component;
        if component.level != Level::Host {
            self.attributes
                .insert("service.name".into(), resource.service.clone());
        }
        if component.level == Level::Instance
            && let Some(host) = &resource.host
        {
            self.attributes.insert("host.name".into(), host.clone());
        }
        let own = match component.level {
            Level::Instance => Some("service.instance.id"),
            Level::Version => Some("service.version"),
            Level::Host => Some("host.name"),
            Level::CodeComponent => Some("code.namespace"),
            Level::Service | Level::Operation | Level::Dependency => None,
        };
        if let Some(own) = own {
            self.attributes.insert(own.into(), component.name.clone());
        }
        if self.agreed.len() < REMEMBERED_RESOURCES {
            self.agreed.push(key);
        }
        !first && self.attributes.len() != before
    }
}
