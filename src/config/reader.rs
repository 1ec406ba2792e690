//! Reads settings out of a document and collects what is wrong with it.
//!
//! A key is known because somebody asked for it: each section remembers the keys that it was asked
//! for, and what is left over when it closes is unknown. So there is no list of keys that could
//! disagree with the code, and one pass finds every mistake.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::Complaint;
use super::document::{Node, Place, Value};
use super::its::Its;
use super::quantity;
use crate::nearest::nearest;

/// Collects complaints, and knows the environment.
pub(super) struct Reader<'e> {
    environment: &'e dyn Fn(&str) -> Option<String>,
    /// What `${its:WORD}` stands for at present.
    its: Cell<Its>,
    complaints: RefCell<Vec<Complaint>>,
    /// For the test of the default file: keys asked for and keys seen, by kind of section.
    asked: RefCell<BTreeSet<(&'static str, &'static str)>>,
    seen: RefCell<BTreeSet<(&'static str, String)>>,
}

/// What a value was read as, or what would have been right.
pub(super) type Read<T> = Result<T, String>;

impl<'e> Reader<'e> {
    pub(super) fn new(environment: &'e dyn Fn(&str) -> Option<String>) -> Self {
        Self {
            environment,
            its: Cell::new(Its::Nobody),
            complaints: RefCell::default(),
            asked: RefCell::default(),
            seen: RefCell::default(),
        }
    }

    /// Notes that something is wrong with the subject.
    pub(super) fn complain(&self, subject: impl Into<String>, at: Option<Place>, wrong: &str) {
        let complaint = Complaint {
            subject: subject.into(),
            at,
            wrong: format!(": {wrong}"),
        };
        self.add(complaint);
    }

    /// What is read once for each of several units is complained of once.
    fn add(&self, complaint: Complaint) {
        let mut complaints = self.complaints.borrow_mut();
        if !complaints.contains(&complaint) {
            complaints.push(complaint);
        }
    }

    /// Reads something in which `${its:WORD}` stands for this.
    pub(super) fn within<T>(&self, its: Its, read: impl FnOnce() -> T) -> T {
        let before = self.its.replace(its);
        let read = read();
        self.its.set(before);
        read
    }

    /// How many complaints there are.
    pub(super) fn complaints(&self) -> usize {
        self.complaints.borrow().len()
    }

    /// All complaints, in the order of the file.
    pub(super) fn into_complaints(self) -> Vec<Complaint> {
        let mut complaints = self.complaints.into_inner();
        complaints.sort_by_key(|complaint| complaint.at);
        complaints
    }

    /// Keys that were asked for but are nowhere in the document.
    #[cfg(test)]
    pub(super) fn never_seen(&self) -> Vec<String> {
        let seen = self.seen.borrow();
        self.asked
            .borrow()
            .iter()
            .filter(|(kind, key)| !seen.contains(&(*kind, (*key).to_owned())))
            .map(|(kind, key)| format!("{kind}: {key}"))
            .collect()
    }

    pub(super) fn text(&self, node: &Node) -> Read<String> {
        match &node.value {
            Value::Text(text) => quantity::expand(text, self.environment, self.its.get()),
            Value::Bool(_) | Value::Integer(_) | Value::Float(_) => Err(format!(
                "{} is no text; put it in quotes",
                node.value.described()
            )),
            other => Err(format!("expected a text, found {}", other.described())),
        }
    }

    pub(super) fn filled_text(&self, node: &Node) -> Read<String> {
        let text = self.text(node)?;
        if text.trim().is_empty() {
            return Err("expected a text, found an empty one".to_owned());
        }
        Ok(text)
    }

    pub(super) fn duration(&self, node: &Node) -> Read<Duration> {
        match &node.value {
            Value::Integer(_) | Value::Float(_) => Err(format!(
                "{} has no unit; write a duration as in 200ms, 5s or 10m",
                node.value.described()
            )),
            _ => quantity::duration(&self.text(node)?),
        }
    }

    /// A duration that isn't zero.
    pub(super) fn some_time(&self, node: &Node) -> Read<Duration> {
        match self.duration(node)? {
            Duration::ZERO => Err("must be longer than 0s".to_owned()),
            duration => Ok(duration),
        }
    }

    pub(super) fn size(&self, node: &Node) -> Read<u64> {
        match &node.value {
            Value::Integer(_) | Value::Float(_) => Err(format!(
                "{} has no unit; write a size as in 512B, 64MiB or 10GB",
                node.value.described()
            )),
            _ => quantity::size(&self.text(node)?),
        }
    }

    /// A share from 0 to 1, or as a percentage.
    pub(super) fn share(&self, node: &Node) -> Read<f64> {
        let share = match &node.value {
            Value::Integer(value) => *value as f64,
            Value::Float(value) => *value,
            _ => quantity::percent(&self.text(node)?)?,
        };
        if !(0.0..=1.0).contains(&share) {
            return Err(format!(
                "{} is out of range; a share is from 0% to 100%",
                node.value.described()
            ));
        }
        Ok(share)
    }

    pub(super) fn integer(&self, node: &Node, range: RangeInclusive<u64>) -> Read<u64> {
        let value = match &node.value {
            Value::Integer(value) => *value,
            Value::Text(_) => self
                .text(node)?
                .trim()
                .parse()
                .map_err(|_| format!("{} is no whole number", node.value.described()))?,
            other => {
                return Err(format!(
                    "expected a whole number, found {}",
                    other.described()
                ));
            }
        };
        u64::try_from(value)
            .ok()
            .filter(|value| range.contains(value))
            .ok_or_else(|| {
                format!(
                    "`{value}` is out of range; it must be from {} to {}",
                    range.start(),
                    range.end()
                )
            })
    }

    pub(super) fn address(&self, node: &Node) -> Read<SocketAddr> {
        let text = self.text(node)?;
        text.parse().map_err(|_| {
            format!("{text:?} is no address; write an IP address and a port, as in 127.0.0.1:4317 or [::1]:4317")
        })
    }

    pub(super) fn url(&self, node: &Node) -> Read<String> {
        let url = self.filled_text(node)?;
        let host = url
            .strip_prefix("http://")
            .or_else(|| url.strip_prefix("https://"))
            .unwrap_or_default();
        if host.is_empty() || host.starts_with(['/', ':']) || url.contains(char::is_whitespace) {
            return Err(format!(
                "{url:?} is no URL; write it as in http://127.0.0.1:8080/health"
            ));
        }
        Ok(url)
    }

    /// `host:port`; the host may be a name, which is looked up when it is needed.
    pub(super) fn host_and_port(&self, node: &Node) -> Read<String> {
        let text = self.filled_text(node)?;
        let fine = text.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
        });
        if !fine {
            return Err(format!(
                "{text:?} is no host and port; write it as in 127.0.0.1:5432"
            ));
        }
        Ok(text)
    }

    /// One of these words.
    pub(super) fn choice<T: Copy>(&self, node: &Node, choices: &[(&str, T)]) -> Read<T> {
        let words = || choices.iter().map(|(word, _)| *word);
        let text = self.text(node)?;
        if let Some((_, value)) = choices.iter().find(|(word, _)| *word == text) {
            return Ok(*value);
        }
        let meant = match nearest(&text, words()) {
            Some(word) => format!("; did you mean `{word}`?"),
            None => String::new(),
        };
        let all: Vec<String> = words().map(|word| format!("`{word}`")).collect();
        Err(format!(
            "{text:?} is not known; it must be one of {}{meant}",
            all.join(", ")
        ))
    }

    /// Program and arguments.
    pub(super) fn command(&self, node: &Node) -> Read<Vec<String>> {
        let Value::List(items) = &node.value else {
            return Err(format!(
                "expected a list, as in [program, argument], found {}; no shell reads it",
                node.value.described()
            ));
        };
        let command = items
            .iter()
            .map(|item| self.text(item))
            .collect::<Read<Vec<String>>>()?;
        match command.first() {
            Some(program) if !program.is_empty() => Ok(command),
            _ => Err("the command is empty; its first item is the program".to_owned()),
        }
    }

    /// TCP ports.
    pub(super) fn ports(&self, node: &Node) -> Read<Vec<u16>> {
        let port = |item| {
            let port = self.integer(item, 1..=65_535)?;
            u16::try_from(port).map_err(|_| format!("`{port}` is no port"))
        };
        match &node.value {
            Value::List(items) => items.iter().map(port).collect(),
            other => Err(format!("expected a list, found {}", other.described())),
        }
    }

    pub(super) fn texts(&self, node: &Node) -> Read<Vec<String>> {
        match &node.value {
            Value::List(items) => items.iter().map(|item| self.filled_text(item)).collect(),
            other => Err(format!("expected a list, found {}", other.described())),
        }
    }
}

/// A mapping that is being read.
pub(super) struct Section<'a> {
    pub(super) reader: &'a Reader<'a>,
    /// Its dotted path, for messages; empty at the top.
    path: String,
    kind: &'static str,
    node: &'a Node,
    asked: RefCell<Vec<&'static str>>,
}

impl<'a> Section<'a> {
    /// Begins to read a mapping; complains and gives `None` if it is something else. `kind` names
    /// what it describes, wherever in the file it is.
    pub(super) fn open(
        reader: &'a Reader<'a>,
        path: &str,
        kind: &'static str,
        node: &'a Node,
    ) -> Option<Self> {
        if let Value::Map(entries) = &node.value {
            let mut seen = reader.seen.borrow_mut();
            seen.extend(entries.iter().map(|(key, _)| (kind, key.name.clone())));
        } else if !matches!(node.value, Value::Null) {
            let subject = match path {
                "" => "the file".to_owned(),
                path => format!("`{path}`"),
            };
            let found = node.value.described();
            reader.complain(
                subject,
                Some(node.at),
                &format!("expected a section of `key: value` lines, found {found}"),
            );
            return None;
        }
        Some(Self {
            reader,
            path: path.to_owned(),
            kind,
            node,
            asked: RefCell::default(),
        })
    }

    pub(super) fn at(&self) -> Place {
        self.node.at
    }

    /// The dotted path of a key in it.
    pub(super) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// The value of the key; `None` when it is absent or null, which is the same here.
    pub(super) fn node(&self, key: &'static str) -> Option<&'a Node> {
        let mut asked = self.asked.borrow_mut();
        if !asked.contains(&key) {
            asked.push(key);
        }
        drop(asked);
        self.reader.asked.borrow_mut().insert((self.kind, key));
        let Value::Map(entries) = &self.node.value else {
            return None;
        };
        entries
            .iter()
            .find(|(entry, _)| entry.name == key)
            .map(|(_, node)| node)
            .filter(|node| !matches!(node.value, Value::Null))
    }

    /// Whether the key is there, before anybody asks what it means.
    pub(super) fn has(&self, key: &str) -> bool {
        matches!(&self.node.value, Value::Map(entries)
            if entries.iter().any(|(entry, _)| entry.name == key))
    }

    /// Reads the key's value; complains if it can't be.
    pub(super) fn read<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&'a Reader<'a>, &'a Node) -> Read<T>,
    ) -> Option<T> {
        let node = self.node(key)?;
        match read(self.reader, node) {
            Ok(value) => Some(value),
            Err(wrong) => {
                self.complain(key, node.at, &wrong);
                None
            }
        }
    }

    /// Sets what the key sets, if it is there.
    pub(super) fn set<T>(
        &self,
        key: &'static str,
        target: &mut T,
        read: impl FnOnce(&'a Reader<'a>, &'a Node) -> Read<T>,
    ) {
        if let Some(value) = self.read(key, read) {
            *target = value;
        }
    }

    /// Sets a number within a range.
    pub(super) fn set_number<T: TryFrom<u64>>(
        &self,
        key: &'static str,
        target: &mut T,
        range: RangeInclusive<u64>,
    ) {
        self.set(key, target, |reader, node| {
            let value = reader.integer(node, range)?;
            T::try_from(value).map_err(|_| format!("`{value}` is too large"))
        });
    }

    /// The section under the key.
    pub(super) fn section(&self, key: &'static str, kind: &'static str) -> Option<Section<'a>> {
        let node = self.node(key)?;
        Section::open(self.reader, &self.path_of(key), kind, node)
    }

    /// The items of the list under the key, each with its path.
    pub(super) fn items(&self, key: &'static str) -> Vec<(String, &'a Node)> {
        let Some(node) = self.node(key) else {
            return Vec::new();
        };
        let Value::List(items) = &node.value else {
            let found = node.value.described();
            self.complain(key, node.at, &format!("expected a list, found {found}"));
            return Vec::new();
        };
        let path = self.path_of(key);
        items
            .iter()
            .enumerate()
            .map(|(index, item)| (format!("{path}[{index}]"), item))
            .collect()
    }

    /// A mapping of texts to texts, as environments and selectors are.
    pub(super) fn pairs(&self, key: &'static str) -> Vec<(String, String)> {
        let Some(node) = self.node(key) else {
            return Vec::new();
        };
        let Value::Map(entries) = &node.value else {
            let found = node.value.described();
            let wrong = format!("expected `key: value` pairs, found {found}");
            self.complain(key, node.at, &wrong);
            return Vec::new();
        };
        let mut pairs = Vec::new();
        for (name, value) in entries {
            match self.reader.text(value) {
                Ok(text) => pairs.push((name.name.clone(), text)),
                Err(wrong) => {
                    let subject = format!("`{}.{}`", self.path_of(key), name.name);
                    self.reader.complain(subject, Some(value.at), &wrong);
                }
            }
        }
        pairs
    }

    /// What the section must have.
    pub(super) fn required<T>(&self, key: &'static str, value: Option<T>, what: &str) -> Option<T> {
        let there = matches!(&self.node.value, Value::Map(entries)
            if entries.iter().any(|(entry, node)| entry.name == key && !matches!(node.value, Value::Null)));
        if value.is_none() && !there {
            let subject = format!("`{}`", self.path);
            let wrong = format!("lacks `{key}`: {what}");
            self.reader.complain(subject, Some(self.at()), &wrong);
        }
        value
    }

    pub(super) fn complain(&self, key: &str, at: Place, wrong: &str) {
        let subject = format!("`{}`", self.path_of(key));
        self.reader.complain(subject, Some(at), wrong);
    }

    /// Complains about the section as a whole.
    pub(super) fn complain_about_itself(&self, wrong: &str) {
        self.reader
            .complain(format!("`{}`", self.path), Some(self.at()), wrong);
    }

    /// Complains about the keys that nobody asked for.
    pub(super) fn close(self) {
        let Value::Map(entries) = &self.node.value else {
            return;
        };
        let asked = self.asked.borrow();
        for (key, _) in entries {
            if asked.contains(&key.name.as_str()) {
                continue;
            }
            let hint = match nearest(&key.name, asked.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => {
                    let place = match self.path.as_str() {
                        "" => "at the top",
                        path => &format!("in `{path}`"),
                    };
                    format!("known {place}: {}", asked.join(", "))
                }
            };
            self.reader.add(Complaint {
                subject: format!("unknown key `{}`", key.name),
                at: Some(key.at),
                wrong: format!("; {hint}"),
            });
        }
    }
}
