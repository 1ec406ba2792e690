//! Which attribute says what, whatever year its convention is from?
//!
//! Semantic conventions renamed much of what we read, and three generations of them are sent side
//! by side. This table is the only place that knows the old names: each key leads to a [`Fact`]
//! with a rank, and the lowest rank that is there wins, in whatever order they come. It is searched
//! for every attribute of every span, nearly always in vain, so it is sorted by length first.

use rekindle_model::Name;

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
}

/// How many facts there are.
pub(crate) const FACTS: usize = Fact::Generation as usize + 1;

/// `rekindle.generation`, which a resource may carry too.
pub(crate) const GENERATION: &str = "rekindle.generation";

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
];

/// Span attributes that are kept on the span as text, beyond the facts: the keys that restart
/// units match on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeepAttributes(Vec<Name>);

impl KeepAttributes {
    /// The keys, sorted, none twice.
    pub fn keys(&self) -> &[Name] {
        &self.0
    }
}

impl<K: Into<Name>> FromIterator<K> for KeepAttributes {
    fn from_iter<I: IntoIterator<Item = K>>(keys: I) -> Self {
        let mut keys: Vec<Name> = keys.into_iter().map(Into::into).collect();
        keys.sort_unstable();
        keys.dedup();
        Self(keys)
    }
}

/// What to do with an attribute.
#[derive(Clone, Debug)]
pub(crate) struct Use {
    key: Name,
    /// The key's last bytes: they tell nearly all keys of one length apart without a look at the
    /// key itself.
    tail: u64,
    /// The fact it states, and the rank of this spelling.
    pub(crate) fact: Option<(Fact, u8)>,
    /// Whether it is kept as text, under its key.
    pub(crate) keep: Option<Name>,
}

/// All keys that mean something, by length.
pub(crate) struct KeyTable {
    by_length: Vec<Vec<Use>>,
}

impl KeyTable {
    pub(crate) fn new(keep: &KeepAttributes) -> Self {
        let mut uses: Vec<Use> = WELL_KNOWN
            .iter()
            .map(|(key, fact, rank)| Use {
                key: (*key).into(),
                tail: tail(key.as_bytes()),
                fact: Some((*fact, *rank)),
                keep: None,
            })
            .collect();
        for key in keep.keys() {
            match uses.iter_mut().find(|known| known.key == *key) {
                Some(known) => known.keep = Some(key.clone()),
                None => uses.push(Use {
                    key: key.clone(),
                    tail: tail(key.as_bytes()),
                    fact: None,
                    keep: Some(key.clone()),
                }),
            }
        }
        let longest = uses.iter().map(|known| known.key.len()).max().unwrap_or(0);
        let mut by_length = vec![Vec::new(); longest + 1];
        for known in uses {
            by_length[known.key.len()].push(known);
        }
        Self { by_length }
    }

    /// What this key means, if anything.
    #[inline]
    pub(crate) fn find(&self, key: &[u8]) -> Option<&Use> {
        let of_length = self.by_length.get(key.len())?;
        let tail = tail(key);
        of_length
            .iter()
            .find(|known| known.tail == tail && known.key.as_bytes() == key)
    }
}

/// The last eight bytes; of a shorter key nothing, so that the whole is compared.
#[inline]
fn tail(key: &[u8]) -> u64 {
    key.last_chunk().map_or(0, |tail| u64::from_le_bytes(*tail))
}

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
        for (key, fact, rank) in WELL_KNOWN {
            let found = table.find(key.as_bytes()).expect(key);
            assert_eq!(found.fact, Some((*fact, *rank)), "{key}");
        }
        assert!(
            table
                .find(b"code.namespace")
                .is_some_and(|it| it.keep.is_some())
        );
        assert!(table.find(b"shard").is_some_and(|it| it.fact.is_none()));
        for unknown in [
            "http.rout",
            "http.routf",
            "a.key.longer.than.any.that.is.well.known.here",
        ] {
            assert!(table.find(unknown.as_bytes()).is_none(), "{unknown}");
        }
    }
}
