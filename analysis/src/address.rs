//! Who lives at this address?
//!
//! A dead instance names itself only by its address: its callers' spans say where they called, and
//! nothing comes from there. So who answered at an address is learned from answered calls (a client
//! span with the callee's span below it). An address that several instances answer at in turns is a
//! load balancer's: then only the service is known. One that several services answer at is none's
//! name. Where a call carries no address that is one's, what is called under its name is learned
//! the same way.

use std::net::IpAddr;
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
    /// Several instances answer; which of them did so last says nothing.
    taking_turns: bool,
    /// Whoever answered was the caller's own process, each time.
    in_process: bool,
    /// Services that had this address before the present one.
    services_before: Vec<Name>,
    /// Different services (or code components) answer: nothing can be said.
    ambiguous: bool,
    /// How many answers the present one gave in a row, while that is so.
    in_a_row: u32,
    kind: Kind,
}

/// What a page is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// An address with a port, which is given to one service at a time, or is that of something between.
    Port,
    /// An address without a port, where any number of services may be.
    Host,
    /// A call's name.
    Name,
}

impl Place {
    fn kind(&self) -> Kind {
        match self {
            Self::Address(_, Some(_)) => Kind::Port,
            Self::Address(_, None) => Kind::Host,
            Self::Named(..) => Kind::Name,
        }
    }
}

/// What is known of a place.
#[derive(Clone, Debug)]
pub(crate) enum Found {
    Nobody,
    One(Callee),
    /// Several answer there, and which of them is meant can't be said.
    Several,
}

impl Found {
    pub(crate) fn one(self) -> Option<Callee> {
        match self {
            Self::One(callee) => Some(callee),
            Self::Nobody | Self::Several => None,
        }
    }
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
    found: Found,
}

/// What one answered call taught the book.
#[derive(Clone, Debug)]
pub(crate) struct Lesson {
    page: u32,
    resource: Arc<Resource>,
    component: Option<Name>,
    in_process: bool,
}

#[derive(Debug)]
pub(crate) struct AddressBook {
    // Only looked up, never iterated.
    pages: HashMap<Place, u32>,
    /// Pages are never given away; some were only asked for, and are empty.
    entries: Vec<Option<Entry>>,
    known: usize,
    max: usize,
    /// Grows with each lesson that isn't known yet. Without it having grown, who asks is told the same; and the same lessons
    /// again change nothing, but where [`AddressBook::repeat`] says so.
    version: u64,
}

/// So many former tenants of an address are remembered, of instances and of services.
const FORMER_TENANTS: usize = 8;

/// So many answers in a row by one service, and an address that several had is its own: one that a gateway serves once in
/// a hundred requests stays away for so long once in twenty thousand times.
const SETTLED: u32 = 1000;

impl AddressBook {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            pages: HashMap::new(),
            entries: Vec::new(),
            known: 0,
            max,
            version: 0,
        }
    }

    /// Which lessons were known.
    pub(crate) fn version(&self) -> u64 {
        self.version
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
            complete &= self.teach(place, answer, None, false, counts, lessons);
        }
        let place = name_of(call);
        complete & self.teach(place, answer, answer_component, !remote, counts, lessons)
    }

    fn teach(
        &mut self,
        place: Place,
        answer: &Span,
        component: Option<&Name>,
        in_process: bool,
        counts: &mut Counts,
        lessons: &mut Vec<Lesson>,
    ) -> bool {
        let kind = place.kind();
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
            in_process,
        };
        self.put(&lesson, kind, counts);
        lessons.push(lesson);
        true
    }

    fn add_page(&mut self, place: Place) -> u32 {
        let page = self.entries.len() as u32;
        self.entries.push(None);
        self.pages.insert(place, page);
        page
    }

    /// What an answered call taught before is taught again. Whether it needn't be any more while nothing else is learned:
    /// where several answer, it counts how often one does so.
    pub(crate) fn repeat(&mut self, lesson: &Lesson, counts: &mut Counts) -> bool {
        let page = lesson.page as usize;
        // A page that was written on stays one of its kind.
        let kind = self.entries[page].as_ref().map_or(Kind::Name, |it| it.kind);
        self.put(lesson, kind, counts);
        let is_ambiguous = self.entries[page].as_ref().is_some_and(|it| it.ambiguous);
        !is_ambiguous || kind == Kind::Name
    }

    fn put(&mut self, lesson: &Lesson, kind: Kind, counts: &mut Counts) {
        let page = &mut self.entries[lesson.page as usize];
        let is_news = if let Some(entry) = page {
            entry.learn(lesson)
        } else if self.known >= self.max {
            // Counted each time.
            counts.add(LeftOut::AddressOverflow);
            true
        } else {
            self.known += 1;
            *page = Some(Entry::new(lesson, kind));
            true
        };
        self.version += u64::from(is_news);
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
    pub(crate) fn callee(&mut self, call: &Span, asked: &mut Vec<Asked>) -> (Found, bool) {
        let Some(place) = address_of(call) else {
            let found = match call.facts.server_address {
                Some(_) => Found::Several,
                None => Found::Nobody,
            };
            return (found, true);
        };
        self.ask(place, None, asked)
    }

    /// Who answers calls of this name from this caller, if that is always the same one.
    pub(crate) fn usual_callee(&mut self, call: &Span, asked: &mut Vec<Asked>) -> (Found, bool) {
        self.ask(name_of(call), Some(&call.resource), asked)
    }

    fn ask(
        &mut self,
        place: Place,
        caller: Option<&Arc<Resource>>,
        asked: &mut Vec<Asked>,
    ) -> (Found, bool) {
        let Some(page) = self.page(place) else {
            return (Found::Nobody, false);
        };
        let found = self.read(page, caller);
        asked.push(Asked {
            page,
            caller: caller.cloned(),
            found: found.clone(),
        });
        (found, true)
    }

    fn read(&self, page: u32, caller: Option<&Arc<Resource>>) -> Found {
        let Some(entry) = self.entries[page as usize].as_ref() else {
            return Found::Nobody;
        };
        if entry.ambiguous {
            return Found::Several;
        }
        Found::One(match caller {
            None => Callee {
                resource: Arc::clone(&entry.resource),
                instance_known: !entry.taking_turns,
                code_component: None,
            },
            Some(caller) => Callee {
                resource: Arc::clone(match entry.in_process {
                    true => caller,
                    false => &entry.resource,
                }),
                instance_known: entry.in_process,
                code_component: entry.code_component.clone(),
            },
        })
    }

    /// Whether who asked this would be told the same again.
    pub(crate) fn still_says(&self, asked: &Asked) -> bool {
        match (&self.read(asked.page, asked.caller.as_ref()), &asked.found) {
            (Found::Nobody, Found::Nobody) | (Found::Several, Found::Several) => true,
            (Found::One(now), Found::One(then)) => now.means(then),
            _ => false,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.known
    }
}

/// The address, unless it says nothing: every caller has a machine of its own, with any number of processes on it.
fn address_of(call: &Span) -> Option<Place> {
    let address = call.facts.server_address.as_ref()?;
    let port = call.facts.server_port;
    let says_something = port.is_some() || !is_own_machine(address);
    says_something.then(|| Place::Address(address.clone(), port))
}

fn is_own_machine(address: &str) -> bool {
    let is_loopback = |ip: IpAddr| ip.is_loopback();
    address.eq_ignore_ascii_case("localhost") || address.parse().is_ok_and(is_loopback)
}

fn name_of(call: &Span) -> Place {
    Place::Named(call.resource.service.clone(), call.name.clone())
}

impl Entry {
    fn new(lesson: &Lesson, kind: Kind) -> Self {
        Self {
            resource: Arc::clone(&lesson.resource),
            code_component: lesson.component.clone(),
            before: Vec::new(),
            taking_turns: false,
            in_process: lesson.in_process,
            services_before: Vec::new(),
            ambiguous: false,
            in_a_row: 0,
            kind,
        }
    }

    /// Takes a lesson; whether it was news.
    fn learn(&mut self, lesson: &Lesson) -> bool {
        let resource = &lesson.resource;
        if self.resource.service != resource.service || self.code_component != lesson.component {
            return self.learn_another(lesson);
        }
        let was_in_process = self.in_process;
        self.in_process &= lesson.in_process;
        let mut is_news = self.in_process != was_in_process;
        if self.ambiguous && self.kind != Kind::Name {
            self.in_a_row += 1;
            if self.in_a_row >= SETTLED {
                self.ambiguous = false;
                self.services_before = Vec::new();
                is_news = true;
            }
        }
        if self.taking_turns || self.resource.instance == resource.instance {
            return is_news;
        }
        if self.before.contains(&resource.instance) {
            self.taking_turns = true;
            self.before = Vec::new();
        } else {
            remember(&mut self.before, self.resource.instance.clone());
        }
        self.resource = Arc::clone(resource);
        // Who is told that several answer isn't told of one of them.
        is_news || !self.ambiguous
    }
}

// === several answer ===

impl Entry {
    /// Takes a lesson of another service or code component than the present one's; whether it was news. A name that
    /// means several things keeps meaning several things. An address may be given to another service; but where
    /// the one before answers again, something stands between, until one has answered for long enough. Without a port it
    /// is a machine's, or a gateway's.
    fn learn_another(&mut self, lesson: &Lesson) -> bool {
        let service = &lesson.resource.service;
        let is_given = self.kind == Kind::Port && !self.services_before.contains(service);
        if self.ambiguous || !is_given {
            let is_news = !self.ambiguous;
            if self.kind != Kind::Name {
                *self = Self::new(lesson, self.kind);
            }
            self.ambiguous = true;
            return is_news;
        }
        let mut before = std::mem::take(&mut self.services_before);
        remember(&mut before, self.resource.service.clone());
        *self = Self::new(lesson, self.kind);
        self.services_before = before;
        true
    }
}

/// Adds a former tenant; the oldest is forgotten where there are too many.
fn remember<T>(before: &mut Vec<T>, tenant: T) {
    if before.len() >= FORMER_TENANTS {
        before.remove(0);
    }
    before.push(tenant);
}

/// Whether two resources are one process. Without instance ids the service stands in for it.
pub(crate) fn same_process(a: &Arc<Resource>, b: &Arc<Resource>) -> bool {
    Arc::ptr_eq(a, b) || (a.service == b.service && a.instance == b.instance)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Call, T};

    /// Who is found at an address of the shop's callees, after these services answered there.
    fn found(address: &str, port: Option<u16>, answered: &[&str]) -> String {
        let mut book = AddressBook::new(10);
        let mut found = Found::Nobody;
        for service in answered {
            let call = Call::client("GET");
            let call = match port {
                Some(port) => call.address((address, port)),
                None => call.host_alone(address),
            };
            let call = call.with(Call::server(service, "GET /"));
            let trace = T::default().build(Call::server("shop", "GET /").with(call));
            let (call, answer) = (&trace.spans()[1], &trace.spans()[2]);
            let (counts, lessons) = (&mut Counts::default(), &mut Vec::new());
            assert!(book.learn(call, answer, None, counts, lessons));
            found = book.callee(call, &mut Vec::new()).0;
        }
        match found {
            Found::Nobody => "nobody".to_owned(),
            Found::One(callee) => callee.resource.service.to_string(),
            Found::Several => "several".to_owned(),
        }
    }

    #[test]
    fn an_address_is_somebodys_own_again_when_nobody_else_has_answered_for_long() {
        let after = |answers| {
            let mut answered = vec!["cart", "stock", "cart"];
            answered.extend(vec!["stock"; answers]);
            [Some(80), None].map(|port| found("10.0.0.9", port, &answered))
        };
        assert_eq!(after(SETTLED as usize - 1), ["several", "several"]);
        assert_eq!(after(SETTLED as usize + 1), ["stock", "stock"]);
    }

    #[test]
    fn an_address_that_several_services_answer_at_names_none_of_them() {
        for (address, port, answered, expected) in [
            ("10.0.0.9", Some(80), &["cart", "cart"][..], "cart"),
            // It was given to another one.
            ("10.0.0.9", Some(80), &["cart", "stock", "stock"], "stock"),
            // Both are behind it, and stay so.
            ("10.0.0.9", Some(80), &["cart", "stock", "cart"], "several"),
            (
                "10.0.0.9",
                Some(80),
                &["cart", "stock", "cart", "cart"],
                "several",
            ),
            ("cart.shop", None, &["cart", "cart"], "cart"),
            ("10.0.0.9", None, &["cart", "stock"], "several"),
            ("127.0.0.1", Some(80), &["cart"], "cart"),
            ("127.0.0.1", None, &["cart"], "several"),
            ("::1", None, &["cart"], "several"),
            ("localhost", None, &["cart"], "several"),
        ] {
            let context = format!("{address} {port:?} {answered:?}");
            assert_eq!(found(address, port, answered), expected, "{context}");
        }
    }
}
