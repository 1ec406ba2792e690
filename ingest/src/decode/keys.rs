//! Which attribute says what, whatever year its convention is from?
//!
//! Semantic conventions renamed much of what we read, and three generations of them are sent side
//! by side. This table is the only place that knows the old names: each key leads to a [`Fact`]
//! with a rank, and the lowest rank that is there wins, in whatever order they come. It is searched
//! for every attribute of every span, nearly always in vain, so it is sorted by length first.

use rekindle_model::{GENERATION, Name};

use super::url;

/// What a span attribute may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fact {
    HttpMethod,
    HttpRoute,
    HttpStatus,
    GrpcStatus,
    ErrorType,
    PeerService,
    ServerAddress,
    ServerPort,
    DbSystem,
    DbNamespace,
    MessagingSystem,
    MessagingDestination,
    CodeNamespace,
    CodeFunction,
    Generation,
    SamplerType,
    SamplerParameter,
    SampleRate,
}

/// How many facts there are.
pub(crate) const FACTS: usize = Fact::SampleRate as usize + 1;

/// The number of a server's kind in OTLP.
pub(crate) const SERVER: u64 = 2;

/// The key of an exception's type, on a span and on its `exception` events.
pub(crate) const EXCEPTION_TYPE: &str = "exception.type";

/// The rank of an `exception` event: it speaks only when no attribute does.
pub(crate) const RANK_OF_EVENTS: u8 = 2;

/// Key, fact, rank. `net.peer.*` and `server.*` name the callee of a client span; on a server span
/// they name somebody else, which the builder knows.
const WELL_KNOWN: &[(&str, Fact, u8)] = &[
    ("http.request.method", Fact::HttpMethod, 0),
    ("http.method", Fact::HttpMethod, 1),
    ("http.route", Fact::HttpRoute, 0),
    ("http.response.status_code", Fact::HttpStatus, 0),
    ("http.status_code", Fact::HttpStatus, 1),
    ("rpc.status_code", Fact::GrpcStatus, 0),
    ("rpc.response.status_code", Fact::GrpcStatus, 1),
    ("rpc.grpc.status_code", Fact::GrpcStatus, 2),
    ("error.type", Fact::ErrorType, 0),
    (EXCEPTION_TYPE, Fact::ErrorType, 1),
    ("peer.service", Fact::PeerService, 0),
    ("server.address", Fact::ServerAddress, 0),
    ("net.peer.name", Fact::ServerAddress, 1),
    ("server.port", Fact::ServerPort, 0),
    ("net.peer.port", Fact::ServerPort, 1),
    ("db.system.name", Fact::DbSystem, 0),
    ("db.system", Fact::DbSystem, 1),
    ("db.namespace", Fact::DbNamespace, 0),
    ("db.name", Fact::DbNamespace, 1),
    ("messaging.system", Fact::MessagingSystem, 0),
    ("messaging.destination.name", Fact::MessagingDestination, 0),
    ("messaging.destination", Fact::MessagingDestination, 1),
    ("code.namespace", Fact::CodeNamespace, 0),
    ("code.function.name", Fact::CodeFunction, 0),
    (GENERATION, Fact::Generation, 0),
    ("sampler.type", Fact::SamplerType, 0),
    ("sampler.param", Fact::SamplerParameter, 0),
    ("SampleRate", Fact::SampleRate, 0),
];

/// Keys of paths with ids in them, which say a route only where they are one of a few paths that are known: where
/// nothing was routed, as with many servers' health checks.
const PATHS: &[(&str, Fact, u8)] = &[
    ("url.path", Fact::HttpRoute, 1),
    ("http.target", Fact::HttpRoute, 2),
];

/// Keys of URLs, whose beginning says address and port of the callee where nothing else does. Some agents name it in
/// no other way.
const URLS: &[(&str, Fact, u8)] = &[
    ("url.full", Fact::ServerAddress, 2),
    ("http.url", Fact::ServerAddress, 3),
    ("http.host", Fact::ServerAddress, 4),
];

/// Span attributes that are kept on the span as text, beyond the facts: the keys that restart
/// units match on. And what paths are routes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeepAttributes {
    keys: Vec<Name>,
    routes: Vec<Name>,
}

impl KeepAttributes {
    /// The keys, sorted, none twice.
    pub fn keys(&self) -> &[Name] {
        &self.keys
    }

    /// Takes these paths of server spans for their routes, where they name none: those of health checks. All others
    /// aren't looked at, because they have ids in them.
    #[must_use]
    pub fn with_routes<R: Into<Name>>(mut self, routes: impl IntoIterator<Item = R>) -> Self {
        self.routes.extend(routes.into_iter().map(Into::into));
        self
    }
}

impl<K: Into<Name>> FromIterator<K> for KeepAttributes {
    fn from_iter<I: IntoIterator<Item = K>>(keys: I) -> Self {
        let mut keys: Vec<Name> = keys.into_iter().map(Into::into).collect();
        keys.sort_unstable();
        keys.dedup();
        Self {
            keys,
            routes: Vec::new(),
        }
    }
}

/// What to do with an attribute.
#[derive(Clone, Debug)]
pub(crate) struct Use {
    key: Name,
    /// The fact it states, and the rank of this spelling.
    pub(crate) fact: Option<(Fact, u8)>,
    /// Whether it is kept as text, under its key.
    pub(crate) keep: Option<Name>,
    /// What of its text states the fact.
    pub(crate) part: Part,
}

/// What of an attribute's text means something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it.
    Whole,
    /// It is a path, and means something only where it is a known route.
    Route,
    /// It is a URL, of which scheme, address and port mean something.
    Server,
}

impl Use {
    fn is(&self, key: &[u8]) -> bool {
        self.key.as_bytes() == key
    }
}

/// A key that may be the one that is looked for.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    parts: Parts,
    number: u16,
}

/// The last, first and middle bytes of a key, in this order because the last ones tell nearly all
/// keys of one length apart. They overlap, so that with the length they are all of a key of up to
/// [`Parts::WHOLE`] bytes, and comparing keys is comparing four numbers.
#[derive(Clone, Copy, Debug)]
struct Parts([u64; 4]);

impl Parts {
    /// Longer keys have bytes in no part.
    const WHOLE: usize = 32;

    #[inline]
    fn of(key: &[u8]) -> Self {
        let number = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes);
        let (Some(first), Some(last)) = (key.first_chunk(), key.last_chunk()) else {
            let short = key.iter().fold(0, |all, byte| all << 8 | u64::from(*byte));
            return Self([short, 0, 0, 0]);
        };
        let (Some(front), Some(back)) = (key.first_chunk::<16>(), key.last_chunk::<16>()) else {
            return Self([number(last), number(first), 0, 0]);
        };
        let second = front.last_chunk().map_or(0, number);
        let third = back.first_chunk().map_or(0, number);
        Self([number(last), number(first), second, third])
    }
}

/// All keys that mean something.
pub(crate) struct KeyTable {
    uses: Vec<Use>,
    by_length: Vec<Vec<Candidate>>,
    routes: Vec<Name>,
}

impl KeyTable {
    pub(crate) fn new(keep: &KeepAttributes) -> Self {
        let paths = match keep.routes.is_empty() {
            true => &[],
            false => PATHS,
        };
        let known = |part| {
            move |(key, fact, rank): &(&str, Fact, u8)| Use {
                key: (*key).into(),
                fact: Some((*fact, *rank)),
                keep: None,
                part,
            }
        };
        let well_known = WELL_KNOWN.iter().map(known(Part::Whole));
        let urls = URLS.iter().map(known(Part::Server));
        let paths = paths.iter().map(known(Part::Route));
        let mut uses: Vec<Use> = well_known.chain(urls).chain(paths).collect();
        for key in &keep.keys {
            match uses.iter_mut().find(|known| known.key == *key) {
                Some(known) => known.keep = Some(key.clone()),
                None => uses.push(Use {
                    key: key.clone(),
                    fact: None,
                    keep: Some(key.clone()),
                    part: Part::Whole,
                }),
            }
        }
        // The last numbers are none of a key; a configuration has a few dozen at most.
        uses.truncate(usize::from(SAMPLING));
        let longest = uses.iter().map(|known| known.key.len()).max().unwrap_or(0);
        let mut by_length = vec![Vec::new(); longest + 1];
        for (known, number) in uses.iter().zip(0..) {
            by_length[known.key.len()].push(Candidate {
                parts: Parts::of(known.key.as_bytes()),
                number,
            });
        }
        Self {
            uses,
            by_length,
            // What is behind a question mark belongs to no path.
            routes: keep
                .routes
                .iter()
                .filter(|it| !it.contains('?'))
                .cloned()
                .collect(),
        }
    }

    /// What of the text of this key's attribute means something: of a path only a known route, of a URL its beginning.
    #[inline]
    pub(crate) fn telling<'a>(&self, number: u16, text: &'a [u8]) -> Option<&'a [u8]> {
        let known = self.get(number).filter(|known| known.keep.is_none());
        match known.map_or(Part::Whole, |known| known.part) {
            Part::Whole => Some(text),
            Part::Route => self.route_of(text),
            Part::Server => url::up_to_path(text),
        }
    }

    /// The known route that a path is, whatever is asked with it.
    pub(crate) fn route_of<'a>(&self, path: &'a [u8]) -> Option<&'a [u8]> {
        // Where it would have to end first: that tells nearly all paths from a route, and none is looked through.
        let is_it = |route: &&[u8]| {
            matches!(path.get(route.len()), None | Some(b'?')) && path.starts_with(route)
        };
        let route = self.routes.iter().map(|it| it.as_bytes()).find(is_it)?;
        path.get(..route.len())
    }

    /// The number of this key, if it means something.
    #[inline]
    pub(crate) fn find(&self, key: &[u8]) -> Option<u16> {
        let of_length = self.by_length.get(key.len())?;
        if of_length.is_empty() {
            return None;
        }
        // Number by number: comparing the parts as one value would wait until all of them are
        // written to memory, which took a tenth of the receiver's time.
        let Parts([last, first, second, third]) = Parts::of(key);
        for known in of_length {
            let Parts(parts) = &known.parts;
            if parts[0] != last {
                continue;
            }
            let other = (parts[1] ^ first) | (parts[2] ^ second) | (parts[3] ^ third);
            let whole = key.len() <= Parts::WHOLE;
            if other == 0 && (whole || self.uses[usize::from(known.number)].is(key)) {
                return Some(known.number);
            }
        }
        None
    }

    /// Whether this key's attribute says nothing on a span of this kind, known so far. On a server's it says how the caller
    /// names us, or from which of its ports it asks: another one with each connection, or whatever a stranger makes up.
    #[inline]
    pub(crate) fn is_silent(&self, number: u16, kind: u64) -> bool {
        let names_callee = |known: &Use| {
            let fact = known.fact.map(|(fact, _)| fact);
            known.keep.is_none() && matches!(fact, Some(Fact::ServerAddress | Fact::ServerPort))
        };
        kind == SERVER && self.get(number).is_some_and(names_callee)
    }

    /// What the key of this number means.
    pub(crate) fn get(&self, number: u16) -> Option<&Use> {
        self.uses.get(usize::from(number))
    }
}

/// The number of no key.
pub(crate) const NO_KEY: u16 = u16::MAX;

/// The number of what the trace state and the scope say of samplers, which has no key either.
pub(crate) const SAMPLING: u16 = NO_KEY - 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_found_and_kept_ones_keep_their_fact() {
        let keep: KeepAttributes = ["code.namespace", "shard", "shard", ""]
            .into_iter()
            .collect();
        assert_eq!(keep.keys().len(), 3);
        let table = KeyTable::new(&keep);
        let found = |key: &str| table.get(table.find(key.as_bytes())?);
        for (key, fact, rank) in WELL_KNOWN.iter().chain(URLS) {
            let found = found(key).expect(key);
            assert_eq!(found.fact, Some((*fact, *rank)), "{key}");
        }
        assert!(found("code.namespace").is_some_and(|it| it.keep.is_some()));
        assert!(found("shard").is_some_and(|it| it.fact.is_none()));
        assert!(table.get(NO_KEY).is_none());
        // One byte changed anywhere makes another key, whatever its length.
        let long: String = ('a'..='z').chain('a'..='z').collect();
        for length in 1..=long.len() {
            let table = KeyTable::new(&[&long[..length]].into_iter().collect());
            assert!(table.find(&long.as_bytes()[..length]).is_some());
            for at in 0..length {
                let mut other = long.as_bytes()[..length].to_vec();
                other[at] ^= 1;
                assert!(table.find(&other).is_none(), "{length} {at}");
            }
        }
        for unknown in [
            "http.rout",
            "http.routf",
            "a.key.longer.than.any.that.is.well.known.here",
        ] {
            assert!(table.find(unknown.as_bytes()).is_none(), "{unknown}");
        }
    }
}
