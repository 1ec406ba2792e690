//! Who lives at this address?
//!
//! A dead instance names itself only by its address: its callers' spans say where they called, and
//! nothing comes from there. So who answered at an address is learned from answered calls (a client
//! span with the callee's span below it). An address that several instances answer at in turns is a
//! load balancer's: then only the service is known. Where a call carries no address, what is called
//! under its name is learned the same way.

use std::collections::BTreeMap;
use std::sync::Arc;

use rekindle_model::{Name, Resource, Span};

use crate::{Counts, LeftOut};

/// What a call can be recognized by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Address(Name, Option<u16>),
    /// The caller's service and the call's name.
    Named(Name, Name),
}

#[derive(Debug)]
struct Entry {
    resource: Arc<Resource>,
    code_component: Option<Name>,
    /// Instances that answered before the present one. Seeing one of them again means that they
    /// take turns; after a restart the old one never answers again.
    before: Vec<Option<Name>>,
    taking_turns: bool,
    /// Different services (or code components) answered: nothing can be said.
    ambiguous: bool,
}

/// Who is expected to answer.
#[derive(Clone, Debug)]
pub(crate) struct Callee {
    pub(crate) resource: Arc<Resource>,
    /// Whether `resource` is the very process, and not one of several.
    pub(crate) instance_known: bool,
    pub(crate) code_component: Option<Name>,
}

#[derive(Debug)]
pub(crate) struct AddressBook {
    entries: BTreeMap<Place, Entry>,
    max: usize,
}

/// So many former tenants of an address are remembered.
const FORMER_TENANTS: usize = 8;

impl AddressBook {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            entries: BTreeMap::new(),
            max,
        }
    }

    /// An answered call: `call` is the caller's span, `answer` the callee's.
    pub(crate) fn learn(
        &mut self,
        call: &Span,
        answer: &Span,
        answer_component: Option<&Name>,
        counts: &mut Counts,
    ) {
        let remote = !same_process(&call.resource, &answer.resource);
        if remote && let Some(address) = &call.facts.server_address {
            let place = Place::Address(address.clone(), call.facts.server_port);
            self.put(place, answer, None, counts);
        }
        let place = Place::Named(call.resource.service.clone(), call.name.clone());
        self.put(place, answer, answer_component, counts);
    }

    fn put(&mut self, place: Place, answer: &Span, component: Option<&Name>, counts: &mut Counts) {
        let resource = &answer.resource;
        if let Some(entry) = self.entries.get_mut(&place) {
            if entry.resource.service != resource.service
                || entry.code_component.as_ref() != component
            {
                // An address may be given to another service; a name that means several things
                // keeps meaning several things.
                match place {
                    Place::Address(..) => *entry = Entry::new(resource, component),
                    Place::Named(..) => entry.ambiguous = true,
                }
                return;
            }
            if entry.resource.instance != resource.instance {
                if entry.before.contains(&resource.instance) {
                    entry.taking_turns = true;
                }
                let former = entry.resource.instance.clone();
                if !entry.before.contains(&former) {
                    if entry.before.len() >= FORMER_TENANTS {
                        entry.before.remove(0);
                    }
                    entry.before.push(former);
                }
                entry.resource = Arc::clone(resource);
            }
        } else if self.entries.len() >= self.max {
            counts.add(LeftOut::AddressOverflow);
        } else {
            self.entries.insert(place, Entry::new(resource, component));
        }
    }

    /// Who should have answered this call.
    pub(crate) fn callee(&self, call: &Span) -> Option<Callee> {
        if let Some(address) = &call.facts.server_address {
            let place = Place::Address(address.clone(), call.facts.server_port);
            if let Some(entry) = self.entries.get(&place) {
                return Some(Callee {
                    resource: Arc::clone(&entry.resource),
                    instance_known: !entry.taking_turns,
                    code_component: None,
                });
            }
        }
        None
    }

    /// Who answers calls of this name from this caller, if that is always the same one.
    pub(crate) fn usual_callee(&self, call: &Span) -> Option<Callee> {
        let place = Place::Named(call.resource.service.clone(), call.name.clone());
        let entry = self.entries.get(&place).filter(|entry| !entry.ambiguous)?;
        Some(Callee {
            resource: Arc::clone(&entry.resource),
            instance_known: same_process(&entry.resource, &call.resource),
            code_component: entry.code_component.clone(),
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

impl Entry {
    fn new(resource: &Arc<Resource>, component: Option<&Name>) -> Self {
        Self {
            resource: Arc::clone(resource),
            code_component: component.cloned(),
            before: Vec::new(),
            taking_turns: false,
            ambiguous: false,
        }
    }
}

/// Whether two resources are one process. Without instance ids the service stands in for it.
pub(crate) fn same_process(a: &Arc<Resource>, b: &Arc<Resource>) -> bool {
    Arc::ptr_eq(a, b) || (a.service == b.service && a.instance == b.instance)
}
