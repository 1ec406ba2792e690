//! Every component under one small number, with what selectors may match on.
//!
//! Rows of observations are lists of numbers; names are looked up when somebody reads. A component's
//! attributes are those that all the processes it was seen in agree on: an instance keeps all of
//! its resource's, a service keeps its name and whatever else never differs.

use std::collections::BTreeMap;

use hashbrown::HashMap;
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
    max: usize,
}

impl Registry {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            ids: HashMap::new(),
            infos: Vec::new(),
            max,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.infos.len()
    }

    pub(crate) fn info(&self, id: u32) -> &Info {
        &self.infos[id as usize]
    }

    pub(crate) fn find(&self, component: &Component) -> Option<u32> {
        self.ids.get(component).copied()
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
            self.infos[id as usize].agree(resource);
        }
        Some(id)
    }

    /// Keeps only these components; the answer maps old numbers to new ones.
    pub(crate) fn keep(&mut self, used: &[bool]) -> Vec<Option<u32>> {
        let mut mapping = vec![None; self.infos.len()];
        let mut kept = Vec::new();
        self.ids.clear();
        for (old, info) in self.infos.drain(..).enumerate() {
            if used.get(old).copied().unwrap_or(false) {
                let new = kept.len() as u32;
                mapping[old] = Some(new);
                self.ids.insert(info.component.clone(), new);
                kept.push(info);
            }
        }
        self.infos = kept;
        mapping
    }
}

impl Info {
    fn agree(&mut self, resource: &Resource) {
        let key = (
            resource.instance.clone(),
            resource.version.clone(),
            resource.host.clone(),
        );
        if self.agreed.contains(&key) {
            return;
        }
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
    }
}
