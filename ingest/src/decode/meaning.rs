//! What does a span say, by the words of its conventions?
//!
//! The one place that knows what attributes mean. It reads signatures and not requests, so it is
//! asked once for all spans that say the same, in either encoding.

use rekindle_model::{Facts, Name, Sampling, Shape, SpanKind, Status};

use super::grpc_code::grpc_code;
use super::intern::Interner;
use super::keys::{FACTS, Fact, KeyTable, NO_KEY, Part, RANK_OF_EVENTS, SAMPLING, SERVER};
use super::resource::{Origin, sorted};
use super::sampling::{of_jaeger, one_in};
use super::shapes::Scope;
use super::signature::{self, Head};
use super::url;
use super::value::Value;

/// No attribute has stated the fact yet.
const UNSTATED: u8 = u8::MAX;

/// What the spans with these attributes and this head say.
pub(crate) fn shape(
    names: &mut Interner,
    keys: &KeyTable,
    attributes: &[u8],
    head: &Head<'_>,
    origin: &Origin,
    scope: &Scope,
) -> Shape {
    let mut said = Said::default();
    let mut kept = Vec::new();
    let mut scratch = String::new();
    for (number, value) in signature::attributes(attributes) {
        if number == NO_KEY {
            said.state(names, Fact::ErrorType, RANK_OF_EVENTS, value);
            continue;
        }
        if number == SAMPLING {
            said.facts.sampling = Some(match value {
                Value::Int(threshold) => Sampling::Threshold(threshold.cast_unsigned()),
                _ => Sampling::Undeclared,
            });
            continue;
        }
        let Some(known) = keys.get(number) else {
            continue;
        };
        if let Some(key) = &known.keep
            && let Some(text) = value.text(&mut said.scratch)
        {
            kept.push((key.clone(), names.name(text)));
        }
        let value = match (known.part, value) {
            (Part::Whole, value) => Some(value),
            // A client's path is its callee's.
            (Part::Route, Value::Text(path)) if head.kind == SERVER => {
                keys.route_of(path).map(Value::Text)
            }
            // Of a server's span it is how it was called itself, by whatever name the caller chose.
            (Part::Server, value) if head.kind != SERVER => {
                let rank = known.fact.map_or(0, |(_, rank)| rank);
                if let Some(url) = value.text(&mut scratch) {
                    said.state_server(names, rank, url);
                }
                None
            }
            (Part::Route | Part::Server, _) => None,
        };
        if let Some(value) = value
            && let Some((fact, rank)) = known.fact
        {
            said.state(names, fact, rank, value);
        }
    }
    let kind = match head.kind {
        SERVER => SpanKind::Server,
        3 => SpanKind::Client,
        4 => SpanKind::Producer,
        5 => SpanKind::Consumer,
        _ => SpanKind::Internal,
    };
    let by_attributes = said.sampling();
    said.take_port_of_url();
    let mut facts = said.facts;
    // The trace state is the standard; and who writes into both writes the same.
    facts.sampling = facts.sampling.or(by_attributes);
    if kind == SpanKind::Server {
        // Here `server.*` is the address that the caller used, and `net.peer.*` the caller's.
        facts.server_address = None;
        facts.server_port = None;
    }
    facts.code_component = facts.code_component.or(said.code_function);
    Shape {
        kind,
        name: names.name(head.name),
        scope: scope.name.clone(),
        status: match head.status {
            1 => Status::Ok,
            2 => Status::Error,
            _ => Status::Unset,
        },
        status_message: (!head.message.is_empty()).then(|| names.message(head.message)),
        resource: origin.resource.clone(),
        facts,
        attributes: sorted(kept),
    }
}

/// What the attributes so far said.
struct Said {
    facts: Facts,
    /// For each fact, the rank of the attribute that stated it.
    ranks: [u8; FACTS],
    /// What the best-ranked URL said, and its rank: the port goes with this address only.
    url: Option<(u8, Name, u16)>,
    /// `code.function.name` without its last part, should there be no `code.namespace`.
    code_function: Option<Name>,
    /// Jaeger's sampler by name, and its parameter.
    sampler: (Option<Name>, Option<f64>),
    /// One of so many was kept.
    sample_rate: Option<u64>,
    scratch: String,
}

impl Default for Said {
    fn default() -> Self {
        Self {
            facts: Facts::default(),
            ranks: [UNSTATED; FACTS],
            url: None,
            code_function: None,
            sampler: (None, None),
            sample_rate: None,
            scratch: String::new(),
        }
    }
}

impl Said {
    /// Sets the fact unless a better-ranked attribute did. A value that makes no sense states
    /// nothing, so that a worse-ranked one can.
    fn state(&mut self, names: &mut Interner, fact: Fact, rank: u8, value: Value<'_>) {
        if rank > self.ranks[fact as usize] {
            return;
        }
        let facts = &mut self.facts;
        let scratch = &mut self.scratch;
        let mut name = || {
            let text = value.text(scratch).filter(|text| !text.is_empty())?;
            Some(names.name(text))
        };
        let stated = match fact {
            Fact::HttpMethod => set(&mut facts.http_method, name()),
            Fact::HttpRoute => set(&mut facts.http_route, name()),
            Fact::HttpStatus => set(&mut facts.http_status, small(value)),
            Fact::GrpcStatus => set(&mut facts.grpc_status, grpc_status(value)),
            Fact::ErrorType => set(&mut facts.error_type, name()),
            Fact::PeerService => set(&mut facts.peer_service, name()),
            Fact::ServerAddress => set(&mut facts.server_address, name()),
            Fact::ServerPort => set(&mut facts.server_port, small(value)),
            Fact::DbSystem => set(&mut facts.db_system, name()),
            Fact::DbNamespace => set(&mut facts.db_namespace, name()),
            Fact::MessagingSystem => set(&mut facts.messaging_system, name()),
            Fact::MessagingDestination => set(&mut facts.messaging_destination, name()),
            Fact::CodeNamespace => set(&mut facts.code_component, name()),
            Fact::CodeFunction => {
                let namespace = value.text(scratch).and_then(without_last_part);
                set(&mut self.code_function, namespace.map(|it| names.name(it)))
            }
            Fact::Generation => {
                let number = value.integer().and_then(|it| u64::try_from(it).ok());
                set(&mut facts.generation, number)
            }
            Fact::SamplerType => set(&mut self.sampler.0, name()),
            Fact::SamplerParameter => set(&mut self.sampler.1, value.number()),
            Fact::SampleRate => {
                let number = value.integer().and_then(|it| u64::try_from(it).ok());
                set(&mut self.sample_rate, number)
            }
        };
        if stated {
            self.ranks[fact as usize] = rank;
        }
    }
}

impl Said {
    /// What a URL of this rank says of the callee.
    fn state_server(&mut self, names: &mut Interner, rank: u8, url: &[u8]) {
        let Some(server) = url::server(url) else {
            return;
        };
        let address = Value::Text(server.address);
        self.state(names, Fact::ServerAddress, rank, address);
        if let Some(port) = server.port
            && self.url.as_ref().is_none_or(|(other, ..)| rank <= *other)
        {
            self.url = Some((rank, names.name(server.address), port));
        }
    }

    /// Where nothing else states a port. A proxy's address has none of whom it is asked for.
    fn take_port_of_url(&mut self) {
        if let (None, Some((_, address, port))) = (self.facts.server_port, &self.url)
            && self.facts.server_address.as_ref() == Some(address)
        {
            self.facts.server_port = Some(*port);
        }
    }

    /// What attributes say of samplers.
    fn sampling(&self) -> Option<Sampling> {
        if let Some(number) = self.sample_rate {
            return Some(one_in(number));
        }
        let (kind, parameter) = &self.sampler;
        Some(of_jaeger(kind.as_ref()?.as_bytes(), *parameter))
    }
}

fn set<T>(place: &mut Option<T>, value: Option<T>) -> bool {
    let stated = value.is_some();
    if stated {
        *place = value;
    }
    stated
}

fn small(value: Value<'_>) -> Option<u16> {
    u16::try_from(value.integer()?).ok()
}

fn grpc_status(value: Value<'_>) -> Option<u16> {
    match value {
        Value::Text(text) => grpc_code(text),
        other => small(other),
    }
}

/// `catalog::search::run` is in `catalog::search`. A name without parts is in nothing.
fn without_last_part(function: &[u8]) -> Option<&[u8]> {
    let end = memchr::memrchr3(b':', b'.', b'/', function)?;
    let namespace = &function[..end];
    let namespace = namespace.strip_suffix(b":").unwrap_or(namespace);
    (!namespace.is_empty()).then_some(namespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_in_its_namespace() {
        for (function, namespace) in [
            ("catalog::search::run", Some("catalog::search")),
            ("com.example.Cart.add", Some("com.example.Cart")),
            ("github.com/shop/cart.Add", Some("github.com/shop/cart")),
            ("shop/cart", Some("shop")),
            ("main", None),
            ("::main", None),
            (".x", None),
            ("", None),
        ] {
            let found = without_last_part(function.as_bytes());
            assert_eq!(found, namespace.map(str::as_bytes), "{function}");
        }
    }
}
