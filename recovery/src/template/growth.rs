//! Which instances are units now?
//!
//! Pure: lists go in, and units come out. One instance's life is [`Stage`], and [`next`] is all that can happen to it.
//! That a list can't be had says nothing of anybody: whoever was there stays.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use super::{Listed, Template, instance_of};
use crate::{UnitName, UnitSpec};

/// Names that units can have are no longer: they stand in paths, environments and tables.
const MAX_NAME: usize = 200;

/// Where an instance is in its life as a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It is on the list.
    There,
    /// It isn't, since then.
    Missing(SystemTime),
}

/// What a list says of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    /// It is on it.
    Listed,
    /// It isn't. Whether somebody is at work on the unit, who needs it to the end.
    Unlisted { is_held: bool },
}

/// What becomes of an instance; `None` for one that is no unit.
fn next(
    stage: Option<Stage>,
    event: Event,
    now: SystemTime,
    gone_after: Duration,
) -> Option<Stage> {
    match (stage, event) {
        (_, Event::Listed) => Some(Stage::There),
        (None, Event::Unlisted { .. }) => None,
        (Some(Stage::There), Event::Unlisted { .. }) => Some(Stage::Missing(now)),
        (Some(Stage::Missing(since)), Event::Unlisted { is_held }) => {
            let missing = now.duration_since(since).unwrap_or_default();
            (is_held || missing < gone_after).then_some(Stage::Missing(since))
        }
    }
}

/// An instance that is a unit.
#[derive(Clone, Debug)]
struct Instance {
    template: usize,
    listed: Listed,
    stage: Stage,
    /// Whether it ever ran and was ready: until then it is starting, and whoever asks it how it is learns nothing.
    was_up: bool,
}

impl Instance {
    fn new(template: usize, listed: Listed, stage: Stage) -> Self {
        Self {
            template,
            stage,
            was_up: listed.is_up,
            listed,
        }
    }

    /// Another look at who it is.
    fn follow(&mut self, listed: &Listed) {
        let is_same_life = self.listed.id == listed.id;
        self.was_up = listed.is_up || (is_same_life && self.was_up);
        let address = self.listed.address.filter(|_| is_same_life);
        self.listed.clone_from(listed);
        // Who was up and fell has none on some lists, and is asked all the same: that nobody answers there is the news.
        self.listed.address = listed.address.or(address);
    }

    /// The unit that it is, as if it had been written. What isn't on its list isn't where it was, either: who answers
    /// there is somebody else.
    fn unit(&self, template: &Template) -> UnitSpec {
        let mut unit = template.grow(&self.listed);
        if self.stage != Stage::There || !self.was_up {
            unit.check = None;
            unit.watches.clear();
        }
        unit
    }
}

/// All that grew.
#[derive(Clone, Debug)]
pub struct Growth {
    templates: Vec<Template>,
    instances: BTreeMap<UnitName, Instance>,
    /// Of each template, how many on its last list are no units: beyond its bound, or with a name that no unit can have.
    left_out: Vec<usize>,
}

impl Growth {
    /// Nothing grew yet.
    pub fn new(templates: Vec<Template>) -> Self {
        Self {
            left_out: vec![0; templates.len()],
            templates,
            instances: BTreeMap::new(),
        }
    }

    /// What grows.
    pub fn templates(&self) -> &[Template] {
        &self.templates
    }

    /// Takes a template's list. Whether any unit came, went, is another life of the same name, or is now up or down.
    pub fn take(
        &mut self,
        template: usize,
        list: &[Listed],
        held: &BTreeSet<UnitName>,
        now: SystemTime,
    ) -> bool {
        let Some(Template {
            unit,
            most,
            gone_after,
            ..
        }) = self.templates.get(template)
        else {
            return false;
        };
        let mut listed: BTreeMap<UnitName, &Listed> = BTreeMap::new();
        for one in list {
            listed.insert(instance_of(&unit.name, &one.name), one);
        }
        let mut is_changed = false;
        self.instances.retain(|name, instance| {
            if instance.template != template {
                return true;
            }
            let event = match listed.get(name) {
                Some(_) => Event::Listed,
                None => Event::Unlisted {
                    is_held: held.contains(name),
                },
            };
            let stage = next(Some(instance.stage), event, now, *gone_after);
            is_changed |= stage != Some(instance.stage);
            instance.stage = stage.unwrap_or(instance.stage);
            stage.is_some()
        });
        let there = self.count(template, |stage| stage == Stage::There);
        // What is missing takes no room of those that are there; but it may come back, and a list that is another one
        // each time must not fill the tree.
        let room_for_all = most
            .saturating_mul(2)
            .saturating_sub(self.count(template, |_| true));
        let mut room = most.saturating_sub(there).min(room_for_all);
        let mut left_out = 0;
        for (name, listed) in listed {
            if let Some(known) = self.instances.get_mut(&name) {
                let before = known.listed.clone();
                known.follow(listed);
                is_changed |= known.listed != before;
                continue;
            }
            let stage = next(None, Event::Listed, now, *gone_after);
            match stage.filter(|_| room > 0 && name.is_plain(MAX_NAME)) {
                Some(stage) => {
                    room -= 1;
                    is_changed = true;
                    let instance = Instance::new(template, listed.clone(), stage);
                    self.instances.insert(name, instance);
                }
                None => left_out += 1,
            }
        }
        if let Some(count) = self.left_out.get_mut(template) {
            *count = left_out;
        }
        is_changed
    }

    /// Takes for a unit, and for missing, what was one before anybody could list it. Whether it wasn't one, and is of a
    /// kind that grows here.
    pub fn expect(&mut self, unit: &UnitName, now: SystemTime) -> bool {
        let Some((kind, instance)) = unit.kind_and_instance() else {
            return false;
        };
        let mut templates = self.templates.iter();
        let Some(template) = templates.position(|it| it.unit.name.as_str() == kind) else {
            return false;
        };
        if self.instances.contains_key(unit) || !unit.is_plain(MAX_NAME) {
            return false;
        }
        // Nobody says which life it is; by its name it is nobody else's, and who is asked goes by that.
        let listed = Listed {
            id: instance.to_owned(),
            name: instance.to_owned(),
            is_up: false,
            address: None,
        };
        let instance = Instance::new(template, listed, Stage::Missing(now));
        self.instances.insert(unit.clone(), instance);
        true
    }

    fn count(&self, template: usize, is_counted: impl Fn(Stage) -> bool) -> usize {
        let all = self.instances.values();
        all.filter(|it| it.template == template && is_counted(it.stage))
            .count()
    }

    /// The units that are no longer on their list.
    pub fn missing(&self) -> BTreeSet<UnitName> {
        self.names(|it| it.stage != Stage::There)
    }

    /// The units on their list that don't run, or aren't ready.
    pub fn down(&self) -> BTreeSet<UnitName> {
        self.names(|it| it.stage == Stage::There && !it.listed.is_up)
    }

    fn names(&self, are: impl Fn(&Instance) -> bool) -> BTreeSet<UnitName> {
        let all = self.instances.iter().filter(|(_, it)| are(it));
        all.map(|(name, _)| name.clone()).collect()
    }

    /// How many instances on a template's last list are no units.
    pub fn left_out(&self, template: usize) -> usize {
        self.left_out.get(template).copied().unwrap_or(0)
    }

    /// All units that grew, as if they had been written.
    pub fn units(&self) -> Vec<UnitSpec> {
        let unit = |instance: &Instance| {
            let template = self.templates.get(instance.template)?;
            Some(instance.unit(template))
        };
        self.instances.values().filter_map(unit).collect()
    }
}

#[cfg(test)]
mod tests;
