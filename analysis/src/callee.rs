//! Whom was a call meant for that nobody answered?
//!
//! In order of trust: a database or broker is named by its system; who has answered at this address
//! before, if that was always the same one; a code component of the caller's process with the peer's
//! name; a service with that name; whoever always answers calls of this name; and at last the name or address itself, as a
//! dependency that nobody knows more about.

use rekindle_model::{Name, Span};

use crate::address::{Callee, Found, same_process};
use crate::hops::is_call;
use crate::observe::{Observer, Reading};
use crate::{Component, Counts, Level};

/// Whom a call was meant for.
pub(crate) struct Meant {
    pub(crate) components: Vec<u32>,
    /// Whether caller and callee are one process.
    pub(crate) in_process: bool,
}

impl Observer {
    /// Whom an unanswered call was meant for.
    pub(crate) fn callee(
        &mut self,
        reading: &mut Reading<'_>,
        index: usize,
        counts: &mut Counts,
    ) -> Option<Meant> {
        let span = naming_span(reading, index);
        let facts = &span.facts;
        if let Some(name) = dependency_by_system(span) {
            return self.dependency(name, counts);
        }
        let at_address = self.ask_address(reading, span);
        let is_shared = facts.peer_service.is_none() && matches!(at_address, Found::Several);
        if let Some(callee) = at_address.one() {
            let code = facts.peer_service.clone().filter(|peer| {
                let service = &callee.resource.service;
                let code = Component::new(Level::CodeComponent, service, peer);
                self.look_for(reading, code).is_some()
            });
            return Some(self.meant(span, &callee, code, counts));
        }
        if let Some(peer) = &facts.peer_service {
            let own = &span.resource.service;
            let code = Component::new(Level::CodeComponent, own, peer);
            if self.look_for(reading, code).is_some() {
                let callee = Callee {
                    resource: span.resource.clone(),
                    instance_known: true,
                    code_component: None,
                };
                return Some(self.meant(span, &callee, Some(peer.clone()), counts));
            }
            if let Some(id) = self.look_for(reading, Component::service(peer)) {
                return Some(Meant {
                    components: vec![id],
                    in_process: false,
                });
            }
        }
        let named = facts.peer_service.clone().or_else(|| {
            let address = facts.server_address.as_ref()?;
            Some(match facts.server_port {
                Some(port) => format!("{address}:{port}").into(),
                None => address.clone(),
            })
        });
        // A name that was met as a dependency before is one; else it may be a new address of the
        // one who always answers such calls, or one that he has in common with others.
        let known = !is_shared
            && named.as_ref().is_some_and(|name| {
                let dependency = Component::new(Level::Dependency, &Name::from(""), name);
                self.look_for(reading, dependency).is_some()
            });
        if !known && let Some(callee) = self.ask_name(reading, span) {
            let code = callee.code_component.clone();
            return Some(self.meant(span, &callee, code, counts));
        }
        self.dependency(named?, counts)
    }

    fn meant(
        &mut self,
        call: &Span,
        callee: &Callee,
        code: Option<Name>,
        counts: &mut Counts,
    ) -> Meant {
        let resource = callee.resource.as_ref();
        let mut components = self.process(resource, callee.instance_known, counts);
        if let Some(code) = code {
            let component = Component::new(Level::CodeComponent, &resource.service, &code);
            components.extend(self.registry.intern(component, Some(resource), counts));
        }
        Meant {
            components,
            in_process: same_process(&call.resource, &callee.resource),
        }
    }

    fn dependency(&mut self, name: Name, counts: &mut Counts) -> Option<Meant> {
        let component = Component::new(Level::Dependency, &Name::from(""), &name);
        let id = self.registry.intern(component, None, counts)?;
        Some(Meant {
            components: vec![id],
            in_process: false,
        })
    }
}

/// The span that says where the call went: the span itself, or the one that it wraps.
fn naming_span<'a>(reading: &Reading<'a>, index: usize) -> &'a Span {
    let spans = reading.trace.spans();
    let names = |span: &Span| {
        let facts = &span.facts;
        facts.peer_service.is_some()
            || facts.server_address.is_some()
            || facts.db_system.is_some()
            || facts.messaging_system.is_some()
    };
    let mut at = index;
    while !names(&spans[at]) {
        let inner = reading.trace.children(at).iter().find(|child| {
            reading.hops.visit_of[**child] == reading.hops.visit_of[index]
                && is_call(&spans[**child])
        });
        match inner {
            Some(inner) => at = *inner,
            None => return &spans[index],
        }
    }
    &spans[at]
}

fn dependency_by_system(span: &Span) -> Option<Name> {
    let facts = &span.facts;
    let (system, part) = match (&facts.db_system, &facts.messaging_system) {
        (Some(system), _) => (system, &facts.db_namespace),
        (None, Some(system)) => (system, &facts.messaging_destination),
        (None, None) => return None,
    };
    Some(match part {
        Some(part) => Name::from(crate::normalize::without_ids(&format!("{system}/{part}"))),
        None => system.clone(),
    })
}
