//! The guards' settings: what bounds restarts beside budgets, hours of the week, and a unit's own rules.

use std::collections::BTreeMap;
use std::time::Duration;

use rekindle_recovery::guard::calendar::{Calendar, DAYS, Window};
use rekindle_recovery::template::Template;
use rekindle_recovery::{SubtreeBudget, UnitName, UnitRules, UnitSpec};

use super::document::{Node, Value};
use super::quantity;
use super::reader::{Read, Reader, Section};

/// What vetoes restarts, beside budgets.
#[derive(Clone, Debug, PartialEq)]
pub struct GuardSettings {
    /// Of each capacity group, how many members must be up.
    pub capacity: BTreeMap<String, u32>,
    /// When unattended restarts may happen.
    pub hours: Calendar,
    /// So many times the usual requests look like overload.
    pub overload: f64,
    /// How long after somebody else changed a unit a rollout is taken to be under way.
    pub rollout: Duration,
    /// How often the same fault may be cured …
    pub cures: u32,
    /// … in this period, until a person has to look for its cause.
    pub cures_within: Duration,
    /// How many restarts in vain show that restarts don't cure a fault …
    pub vain: u32,
    /// … in this period.
    pub vain_within: Duration,
}

impl Default for GuardSettings {
    fn default() -> Self {
        Self {
            capacity: BTreeMap::new(),
            hours: Calendar::default(),
            overload: 2.0,
            rollout: Duration::from_secs(60),
            cures: 4,
            cures_within: Duration::from_secs(3600),
            vain: 5,
            vain_within: Duration::from_secs(7 * 86_400),
        }
    }
}

impl GuardSettings {
    pub(super) fn take(&mut self, section: &Section<'_>) {
        if let Some(groups) = section.node("capacity") {
            self.capacity = capacity(section, groups);
        }
        if let Some(hours) = section.section("hours", "hours") {
            self.hours = calendar(&hours);
            hours.close();
        }
        section.set("overload", &mut self.overload, |reader, node| {
            let share = quantity::percent(&reader.text(node)?)?;
            if !(1.1..=100.0).contains(&share) {
                return Err("it must be from 110% to 10000% of what is usual".to_owned());
            }
            Ok(share)
        });
        section.set("rollout", &mut self.rollout, Reader::duration);
        let takes = |key, count: &mut u32, within: &mut Duration| {
            if let Some(inner) = section.section(key, "times") {
                inner.set_number("times", count, 1..=100_000);
                inner.set("within", within, Reader::some_time);
                inner.close();
            }
        };
        takes("recurring", &mut self.cures, &mut self.cures_within);
        takes("immune", &mut self.vain, &mut self.vain_within);
    }
}

/// How many of each group must be up.
fn capacity(section: &Section<'_>, node: &Node) -> BTreeMap<String, u32> {
    let mut groups = BTreeMap::new();
    let Value::Map(entries) = &node.value else {
        let wrong = format!(
            "expected `group: number` pairs, found {}",
            node.value.described()
        );
        section.complain("capacity", node.at, &wrong);
        return groups;
    };
    for (name, value) in entries {
        match section.reader.integer(value, 0..=100_000) {
            Ok(minimum) => {
                groups.insert(
                    name.name.clone(),
                    u32::try_from(minimum).unwrap_or(u32::MAX),
                );
            }
            Err(wrong) => section.complain(&format!("capacity.{}", name.name), value.at, &wrong),
        }
    }
    groups
}

fn calendar(section: &Section<'_>) -> Calendar {
    let mut calendar = Calendar::default();
    section.set("utc_offset", &mut calendar.offset, utc_offset);
    let windows = |key| {
        let items = section.items(key).into_iter();
        items
            .filter_map(|(path, node)| window(section.reader, &path, node))
            .collect()
    };
    calendar.only = windows("only");
    calendar.never = windows("never");
    calendar
}

fn window(reader: &Reader<'_>, path: &str, node: &Node) -> Option<Window> {
    let section = Section::open(reader, path, "window", node)?;
    let mut window = Window {
        days: [true; 7],
        from: 0,
        until: 0,
    };
    section.set("days", &mut window.days, days);
    section.set("from", &mut window.from, time_of_day);
    section.set("until", &mut window.until, time_of_day);
    section.close();
    Some(window)
}

fn days(reader: &Reader<'_>, node: &Node) -> Read<[bool; 7]> {
    let names = reader.texts(node)?;
    if names.is_empty() {
        return Err("names no day; leave it out for every day".to_owned());
    }
    let mut days = [false; 7];
    for name in names {
        let place = DAYS
            .iter()
            .position(|day| *day == name)
            .ok_or_else(|| format!("{name:?} is no day; write {}", DAYS.join(", ")))?;
        days[place] = true;
    }
    Ok(days)
}

/// Minutes since midnight, of `09:30`.
fn time_of_day(reader: &Reader<'_>, node: &Node) -> Read<u32> {
    let text = reader.text(node)?;
    clock(&text)
        .filter(|(hours, _)| *hours < 24)
        .map(|(hours, minutes)| hours * 60 + minutes)
        .ok_or_else(|| format!("{text:?} is no time of day; write it as in \"09:30\""))
}

/// Minutes ahead of UTC, of `+05:30`.
fn utc_offset(reader: &Reader<'_>, node: &Node) -> Read<i32> {
    let text = reader.text(node)?;
    let wrong =
        || format!("{text:?} is no offset from UTC; write it as in \"+01:00\" or \"-03:30\"");
    let (sign, rest) = match (text.strip_prefix('+'), text.strip_prefix('-')) {
        (Some(rest), _) => (1, rest),
        (_, Some(rest)) => (-1, rest),
        _ => return Err(wrong()),
    };
    let (hours, minutes) = clock(rest)
        .filter(|(hours, _)| *hours <= 14)
        .ok_or_else(wrong)?;
    i32::try_from(hours * 60 + minutes)
        .map(|minutes| sign * minutes)
        .map_err(|_| wrong())
}

/// Hours and minutes, of `09:30`.
fn clock(text: &str) -> Option<(u32, u32)> {
    let (hours, minutes) = text.split_once(':')?;
    let digits = |text: &str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(hours) || !digits(minutes) {
        return None;
    }
    let minutes = minutes.parse().ok().filter(|minutes| *minutes < 60)?;
    Some((hours.parse().ok()?, minutes))
}

/// What limits one unit's restarts, and what goes with them.
pub(super) fn rules(unit: &Section<'_>) -> UnitRules {
    let number = |section: &Section<'_>, key| {
        let read = section.read(key, |r, n| r.integer(n, 0..=1_000_000_000));
        read.and_then(|number| u32::try_from(number).ok())
    };
    let names = |key| {
        let names = unit.read(key, Reader::texts).unwrap_or_default();
        names.into_iter().map(UnitName).collect::<Vec<_>>()
    };
    let mut budget = SubtreeBudget::default();
    if let Some(section) = unit.section("budget", "unit.budget") {
        budget.restarts = number(&section, "restarts");
        budget.failed_requests = number(&section, "failed_requests");
        section.close();
    }
    UnitRules {
        minimum_healthy: number(unit, "minimum_healthy"),
        capacity_group: unit.read("capacity_group", Reader::filled_text),
        before: names("before"),
        after: names("after"),
        together: names("together"),
        budget,
        loses: number(unit, "loses").unwrap_or(0),
    }
}

/// Groups of which nobody says how many must be up, or which have fewer members than must be.
pub(super) fn groups(
    restart: &Section<'_>,
    guards: &GuardSettings,
    tree: &[UnitSpec],
    templates: &[Template],
) {
    let mut members: BTreeMap<&str, usize> = BTreeMap::new();
    for template in templates {
        if let Some(group) = &template.unit.rules.capacity_group {
            *members.entry(group).or_default() += template.most;
        }
    }
    for spec in tree {
        if let Some(group) = &spec.rules.capacity_group {
            *members.entry(group).or_default() += 1;
        }
        let below = tree
            .iter()
            .filter(|other| other.parent.as_ref() == Some(&spec.name));
        let grown = templates
            .iter()
            .filter(|template| template.unit.parent.as_ref() == Some(&spec.name))
            .map(|template| template.most);
        let count = below.count() + grown.sum::<usize>();
        if let Some(minimum) = spec.rules.minimum_healthy
            && minimum as usize > count
        {
            let wrong = format!(
                "{} has {count} units directly below it, of which {minimum} can't be up; lower \
                 its `minimum_healthy`",
                spec.name
            );
            restart.complain("tree", restart.at(), &wrong);
        }
    }
    for (group, count) in &members {
        let wrong = match guards.capacity.get(*group) {
            None => format!(
                "units are in the capacity group {group}, of which `guards.capacity` doesn't say how \
                 many must be up"
            ),
            Some(minimum) if *minimum as usize > *count => {
                format!(
                    "the capacity group {group} has {count} units, of which {minimum} can't be up"
                )
            }
            Some(_) => continue,
        };
        restart.complain("tree", restart.at(), &wrong);
    }
    for group in guards.capacity.keys() {
        if !members.contains_key(group.as_str()) && !tree.is_empty() {
            let wrong = format!("no unit is in the capacity group {group}");
            restart.complain("guards.capacity", restart.at(), &wrong);
        }
    }
}
