//! Which process do these spans come from, and how is it told once instead of in every request?
//!
//! An exporter repeats its resource word for word in every request. So the bytes of a resource are
//! remembered with the [`Resource`] they became, and the same bytes give the same allocation at the
//! cost of one look-up; what is encoded differently but says the same is found by its value.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use rekindle_model::{Name, Resource};

use super::ContentType;
use super::intern::Interner;
use super::value::Value;

/// Resources remembered: processes in sight, with room for those that restarts left behind.
const MAX_RESOURCES: usize = 8192;

/// Bytes of a resource worth remembering; a longer one is built anew each time.
const MAX_REMEMBERED_BYTES: usize = 16 << 10;

/// Attributes kept of one resource; SDKs send ten to forty.
const MAX_ATTRIBUTES: usize = 256;

/// `service.name` of a resource that has none.
const UNKNOWN_SERVICE: &str = "unknown_service";

/// A resource, and by what it is told from others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) resource: Arc<Resource>,
    /// Equal only for equal origins.
    pub(crate) number: u64,
}

/// Resources that were seen lately.
#[derive(Default)]
pub(crate) struct ResourceCache {
    /// Apart for each encoding: the same bytes may mean something else in the other.
    protobuf: HashMap<Box<[u8]>, Origin>,
    json: HashMap<Box<[u8]>, Origin>,
    by_value: HashSet<Arc<Resource>>,
    /// The number given last.
    last: u64,
}

impl ResourceCache {
    /// The resource that these bytes became before.
    pub(crate) fn find(&self, encoding: ContentType, bytes: &[u8]) -> Option<Origin> {
        let known = match encoding {
            ContentType::Protobuf => &self.protobuf,
            ContentType::Json => &self.json,
        };
        known.get(bytes).cloned()
    }

    /// Remembers what these bytes became.
    pub(crate) fn remember(&mut self, encoding: ContentType, bytes: &[u8], origin: &Origin) {
        if bytes.len() > MAX_REMEMBERED_BYTES {
            return;
        }
        let known = match encoding {
            ContentType::Protobuf => &mut self.protobuf,
            ContentType::Json => &mut self.json,
        };
        if known.len() >= MAX_RESOURCES {
            // A process alive sends again at once, so what is forgotten in vain comes back.
            known.clear();
        }
        known.insert(bytes.into(), origin.clone());
    }

    /// The one allocation of this resource.
    fn share(&mut self, resource: Resource) -> Arc<Resource> {
        if let Some(known) = self.by_value.get(&resource) {
            return known.clone();
        }
        if self.by_value.len() >= MAX_RESOURCES {
            self.protobuf.clear();
            self.json.clear();
            self.by_value.retain(|known| Arc::strong_count(known) > 1);
            if self.by_value.len() >= MAX_RESOURCES {
                self.by_value.clear();
            }
        }
        let resource = Arc::new(resource);
        self.by_value.insert(resource.clone());
        resource
    }
}

/// Collects the attributes of one resource.
#[derive(Default)]
pub(crate) struct ResourceBuilder {
    attributes: Vec<(Name, Name)>,
    scratch: String,
    /// Attributes past [`MAX_ATTRIBUTES`].
    pub(crate) dropped: u64,
}

impl ResourceBuilder {
    pub(crate) fn attribute(&mut self, names: &mut Interner, key: &[u8], value: Value<'_>) {
        if key.is_empty() {
            return;
        }
        let Some(text) = value.text(&mut self.scratch) else {
            return;
        };
        if self.attributes.len() >= MAX_ATTRIBUTES {
            self.dropped += 1;
            return;
        }
        self.attributes.push((names.name(key), names.name(text)));
    }

    pub(crate) fn finish(self, names: &mut Interner, cache: &mut ResourceCache) -> Origin {
        let attributes = sorted(self.attributes);
        let mut resource = Resource {
            service: UNKNOWN_SERVICE.into(),
            instance: None,
            version: None,
            host: None,
            attributes,
        };
        let get = |key| {
            resource
                .attribute(key)
                .filter(|text| !text.is_empty())
                .cloned()
        };
        let service = get("service.name");
        let version = get("service.version");
        let host = get("host.name").or_else(|| get("k8s.node.name"));
        let process = || {
            let (host, process) = (get("host.name")?, get("process.pid")?);
            Some(names.name(format!("{host}:{process}").as_bytes()))
        };
        let instance = get("service.instance.id")
            .or_else(|| get("k8s.pod.name"))
            .or_else(process)
            .or_else(|| get("container.id"));
        if let Some(service) = service {
            resource.service = service;
        }
        (resource.version, resource.host, resource.instance) = (version, host, instance);
        cache.last += 1;
        Origin {
            resource: cache.share(resource),
            number: cache.last,
        }
    }
}

/// Sorted by key; of a key that comes twice, the last counts.
pub(crate) fn sorted(mut attributes: Vec<(Name, Name)>) -> Vec<(Name, Name)> {
    attributes.reverse();
    attributes.sort_by(|(a, _), (b, _)| a.cmp(b));
    attributes.dedup_by(|(later, _), (first, _)| later == first);
    attributes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(cache: &mut ResourceCache, attributes: &[(&str, &str)]) -> Origin {
        let mut names = Interner::new();
        let mut builder = ResourceBuilder::default();
        for (key, value) in attributes {
            builder.attribute(&mut names, key.as_bytes(), Value::Text(value.as_bytes()));
        }
        builder.finish(&mut names, cache)
    }

    #[test]
    fn the_instance_is_named_by_the_best_that_is_there() {
        let mut cache = ResourceCache::default();
        let id = ("service.instance.id", "id");
        let pod = ("k8s.pod.name", "pod");
        let host = ("host.name", "host");
        let pid = ("process.pid", "7");
        let node = ("k8s.node.name", "node");
        let container = ("container.id", "c");
        type Case<'a> = (&'a [(&'a str, &'a str)], Option<&'a str>, Option<&'a str>);
        let cases: [Case<'_>; 7] = [
            (&[], None, None),
            (&[container, node], Some("c"), Some("node")),
            (&[pid, container], Some("c"), None),
            (&[pid, host, container], Some("host:7"), Some("host")),
            (&[pod, pid, host], Some("pod"), Some("host")),
            (&[node, id, pod, host], Some("id"), Some("host")),
            (&[("service.instance.id", ""), pod], Some("pod"), None),
        ];
        for (attributes, instance, host) in cases {
            let resource = origin(&mut cache, attributes).resource;
            assert_eq!(resource.instance.as_deref(), instance, "{attributes:?}");
            assert_eq!(resource.host.as_deref(), host, "{attributes:?}");
            assert_eq!(&*resource.service, UNKNOWN_SERVICE);
        }
    }

    #[test]
    fn the_same_resource_is_one_allocation_and_the_last_of_a_key_counts() {
        let mut cache = ResourceCache::default();
        let one = origin(&mut cache, &[("b", "2"), ("a", "0"), ("a", "1")]);
        let two = origin(&mut cache, &[("a", "1"), ("b", "2")]);
        assert!(Arc::ptr_eq(&one.resource, &two.resource));
        assert_eq!(one.resource.attribute("a").map(|text| &**text), Some("1"));
        cache.remember(ContentType::Json, b"bytes", &one);
        assert_eq!(cache.find(ContentType::Protobuf, b"bytes"), None);
        assert_eq!(cache.find(ContentType::Json, b"bytes"), Some(one));
    }

    #[test]
    fn resources_without_end_do_not_fill_the_memory() {
        let mut cache = ResourceCache::default();
        for number in 0..2 * MAX_RESOURCES {
            let name = number.to_string();
            let origin = origin(&mut cache, &[("service.name", &name)]);
            cache.remember(ContentType::Json, name.as_bytes(), &origin);
            assert!(cache.by_value.len() <= MAX_RESOURCES && cache.json.len() <= MAX_RESOURCES);
        }
        let builder = {
            let (mut names, mut builder) = (Interner::new(), ResourceBuilder::default());
            for number in 0..MAX_ATTRIBUTES + 3 {
                builder.attribute(&mut names, number.to_string().as_bytes(), Value::Int(1));
            }
            builder
        };
        assert_eq!(builder.dropped, 3);
    }
}
