//! Who lives at this address?
//!
//! A dead instance names itself only by its address: its callers' spans say where they called, and
//! nothing comes from there. So who answered at an address is learned from answered calls (a client
//! span with the callee's span below it). An address that several instances answer at in turns is a
//! load balancer's: then only the service is known. Where a call carries no address, what is called
//! under its name is learned the same way.

use std::sync::Arc;

use hashbrown::HashMap;
use rekindle_model::{Name, Resource, Span};

use crate::{Counts, LeftOut};

/// What a call can be recognized by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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
    /// Processes that take turns, and that nothing more can be learned from: merely which of them
    /// answered last. Most calls go to such places, so they are told by their pointers.
    regulars: Vec<Arc<Resource>>,
    /// Whether the present one is among the former ones already.
    noted: bool,
    /// Different services (or code components) answered: nothing can be said.
    ambiguous: bool,
    /// Whether it is for an address, and not for a call's name.
    is_address: bool,
}

/// Who is expected to answer.
#[derive(Clone, Debug)]
pub(crate) struct Callee {
    pub(crate) resource: Arc<Resource>,
    /// Whether `resource` is the very process, and not one of several.
    pub(crate) instance_known: bool,
    pub(crate) code_component: Option<Name>,
}

impl Callee {
    /// Whether both say the same of whom a call is meant for. Of several instances that take turns,
    /// which one answered last says nothing.
    fn means(&self, other: &Self) -> bool {
        let (a, b) = (&self.resource, &other.resource);
        let same = match self.instance_known {
            true => Arc::ptr_eq(a, b) || a == b,
            false => a.service == b.service,
        };
        same && self.instance_known == other.instance_known
            && self.code_component == other.code_component
    }
}

/// What was looked up in the book, and found: good as long as it would be found again.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    page: u32,
    /// The caller, where its call was looked up by name.
    caller: Option<Arc<Resource>>,
    found: Option<Callee>,
}

/// What one answered call taught the book.
#[derive(Clone, Debug)]
pub(crate) struct Lesson {
    page: u32,
    resource: Arc<Resource>,
    component: Option<Name>,
}

#[derive(Debug)]
pub(crate) struct AddressBook {
    // Only looked up, never iterated.
    pages: HashMap<Place, u32>,
    /// Pages are never given away; some were only asked for, and are empty.
    entries: Vec<Option<Entry>>,
    known: usize,
    max: usize,
}

/// So many former tenants of an address are remembered.
const FORMER_TENANTS: usize = 8;

impl AddressBook {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            pages: HashMap::new(),
            entries: Vec::new(),
            known: 0,
            max,
        }
    }

    /// An answered call: `call` is the caller's span, `answer` the callee's. What there is to learn
    /// from it is added to the lessons; `false` when there was no page for it.
    pub(crate) fn learn(
        &mut self,
        call: &Span,
        answer: &Span,
        answer_component: Option<&Name>,
        counts: &mut Counts,
        lessons: &mut Vec<Lesson>,
    ) -> bool {
        let mut complete = true;
        let remote = !same_process(&call.resource, &answer.resource);
        if remote && let Some(place) = address_of(call) {
            complete &= self.teach(place, answer, None, counts, lessons);
        }
        let place = name_of(call);
        complete & self.teach(place, answer, answer_component, counts, lessons)
    }

    fn teach(
        &mut self,
        place: Place,
        answer: &Span,
        component: Option<&Name>,
        counts: &mut Counts,
        lessons: &mut Vec<Lesson>,
    ) -> bool {
        let is_address = matches!(place, Place::Address(..));
        let page = match self.pages.get(&place) {
            Some(page) => *page,
            None if self.known >= self.max => {
                counts.add(LeftOut::AddressOverflow);
                return false;
            }
            None => self.add_page(place),
        };
        let lesson = Lesson {
            page,
            resource: Arc::clone(&answer.resource),
            component: component.cloned(),
        };
        self.put(&lesson, is_address, counts);
        lessons.push(lesson);
        true
    }

    fn add_page(&mut self, place: Place) -> u32 {
        let page = self.entries.len() as u32;
        self.entries.push(None);
        self.pages.insert(place, page);
        page
    }

    /// What an answered call taught before is taught again.
    #[inline]
    pub(crate) fn repeat(&mut self, lesson: &Lesson, counts: &mut Counts) {
        if let Some(entry) = &mut self.entries[lesson.page as usize]
            && entry.code_component == lesson.component
        {
            if Arc::ptr_eq(&entry.resource, &lesson.resource) {
                return;
            }
            if entry.noted && entry.is_regular(&lesson.resource) {
                entry.resource = Arc::clone(&lesson.resource);
                return;
            }
        }
        let entry = &self.entries[lesson.page as usize];
        // A page that was written on stays one of its kind.
        let is_address = entry.as_ref().is_some_and(|entry| entry.is_address);
        self.put(lesson, is_address, counts);
    }

    fn put(&mut self, lesson: &Lesson, is_address: bool, counts: &mut Counts) {
        let (resource, component) = (&lesson.resource, lesson.component.as_ref());
        let page = &mut self.entries[lesson.page as usize];
        if let Some(entry) = page {
            if entry.resource.service != resource.service
                || entry.code_component.as_ref() != component
            {
                // An address may be given to another service; a name that means several things
                // keeps meaning several things.
                if is_address {
                    *entry = Entry::new(resource, component, is_address);
                } else {
                    entry.ambiguous = true;
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
                        entry.regulars.clear();
                    }
                    entry.before.push(former);
                }
                entry.resource = Arc::clone(resource);
                // Whoever is among the former ones, and was noted as such, changes nothing any more.
                entry.noted = entry.before.contains(&resource.instance);
                let room = entry.regulars.len() < FORMER_TENANTS;
                if entry.taking_turns && entry.noted && room && !entry.is_regular(resource) {
                    entry.regulars.push(Arc::clone(resource));
                }
            }
        } else if self.known >= self.max {
            counts.add(LeftOut::AddressOverflow);
        } else {
            self.known += 1;
            *page = Some(Entry::new(resource, component, is_address));
        }
    }

    /// The page for this place, also when nothing is on it; `None` when there are too many such.
    fn page(&mut self, place: Place) -> Option<u32> {
        match self.pages.get(&place) {
            Some(page) => Some(*page),
            None if self.entries.len() - self.known >= self.max => None,
            None => Some(self.add_page(place)),
        }
    }

    /// Who should have answered this call. What was asked is added to the questions; `false` beside
    /// it when it can't be.
    pub(crate) fn callee(&mut self, call: &Span, asked: &mut Vec<Asked>) -> (Option<Callee>, bool) {
        let Some(place) = address_of(call) else {
            return (None, true);
        };
        self.ask(place, None, asked)
    }

    /// Who answers calls of this name from this caller, if that is always the same one.
    pub(crate) fn usual_callee(
        &mut self,
        call: &Span,
        asked: &mut Vec<Asked>,
    ) -> (Option<Callee>, bool) {
        self.ask(name_of(call), Some(&call.resource), asked)
    }

    fn ask(
        &mut self,
        place: Place,
        caller: Option<&Arc<Resource>>,
        asked: &mut Vec<Asked>,
    ) -> (Option<Callee>, bool) {
        let Some(page) = self.page(place) else {
            return (None, false);
        };
        let found = self.read(page, caller);
        asked.push(Asked {
            page,
            caller: caller.cloned(),
            found: found.clone(),
        });
        (found, true)
    }

    fn read(&self, page: u32, caller: Option<&Arc<Resource>>) -> Option<Callee> {
        let entry = self.entries[page as usize].as_ref()?;
        match caller {
            None => Some(Callee {
                resource: Arc::clone(&entry.resource),
                instance_known: !entry.taking_turns,
                code_component: None,
            }),
            Some(_) if entry.ambiguous => None,
            Some(caller) => Some(Callee {
                resource: Arc::clone(&entry.resource),
                instance_known: same_process(&entry.resource, caller),
                code_component: entry.code_component.clone(),
            }),
        }
    }

    /// Whether who asked this would be told the same again.
    pub(crate) fn still_says(&self, asked: &Asked) -> bool {
        match (&self.read(asked.page, asked.caller.as_ref()), &asked.found) {
            (None, None) => true,
            (Some(now), Some(then)) => now.means(then),
            _ => false,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.known
    }
}

fn address_of(call: &Span) -> Option<Place> {
    let address = call.facts.server_address.as_ref()?;
    Some(Place::Address(address.clone(), call.facts.server_port))
}

fn name_of(call: &Span) -> Place {
    Place::Named(call.resource.service.clone(), call.name.clone())
}

impl Entry {
    fn is_regular(&self, resource: &Arc<Resource>) -> bool {
        let mut regulars = self.regulars.iter();
        regulars.any(|regular| Arc::ptr_eq(regular, resource))
    }

    fn new(resource: &Arc<Resource>, component: Option<&Name>, is_address: bool) -> Self {
        Self {
            resource: Arc::clone(resource),
            code_component: component.cloned(),
            before: Vec::new(),
            taking_turns: false,
            regulars: Vec::new(),
            noted: false,
            ambiguous: false,
            is_address,
        }
    }
}

/// Whether two resources are one process. Without instance ids the service stands in for it.
pub(crate) fn same_process(a: &Arc<Resource>, b: &Arc<Resource>) -> bool {
    Arc::ptr_eq(a, b) || (a.service == b.service && a.instance == b.instance)
}
