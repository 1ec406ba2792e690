//! What a restart must never be, by the account of whoever carries it out. It shares no code with the
//! guards: it knows only what was told, what people said, and what it was called for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rekindle_recovery::executor::{ActionId, Permit};
use rekindle_recovery::service::ActionView;
use rekindle_recovery::{Evidence, Mode, Policy, RestartTree, UnitName};

use super::super::reserve::Reserve;
use super::troubles::PAIRS;

/// An order takes a moment from the guards to the executor, and parts wait for each other.
const MOMENT: f64 = 60.0;

/// An incident that somebody has told of, by true time.
#[derive(Debug)]
struct Told {
    /// Since when this engine has known of it.
    since: f64,
    /// Who was accused by anybody.
    named: BTreeSet<UnitName>,
    /// When two last accused whom.
    blamed: BTreeMap<UnitName, f64>,
}

/// One call of an executor that was a restart.
#[derive(Debug)]
struct Call {
    action: ActionId,
    unit: UnitName,
    at: f64,
    /// Whom two had accused, of what it was for; `None` where a person had approved it.
    blamed: Option<BTreeSet<UnitName>>,
}

/// The account. All times are true seconds, whatever the wall's clock says.
#[derive(Debug)]
pub(super) struct Account {
    tree: Arc<RestartTree>,
    policy: Arc<Policy>,
    calls: Vec<Call>,
    in_flight: Vec<UnitName>,
    generations: BTreeMap<UnitName, u64>,
    actions: BTreeSet<ActionId>,
    approved: BTreeMap<UnitName, f64>,
    paused: Option<(f64, f64)>,
    /// When somebody else last renewed each unit.
    renewed: BTreeMap<UnitName, f64>,
    /// Incidents that are not over, as far as was told.
    open: BTreeMap<u64, Told>,
    /// Those of them that a person said to leave.
    left: BTreeSet<u64>,
    times_left: u64,
    /// Incidents of troubles that were told with a reserve.
    reserved: BTreeMap<u64, Reserve>,
    /// Of these, restarts that a person approved.
    approved_all_the_same: BTreeMap<Reserve, u64>,
    /// Restarts by which one of a pair went down while a stand-in was up.
    covered: u64,
    violations: Vec<String>,
}

impl Account {
    pub(super) fn new(tree: Arc<RestartTree>, policy: Arc<Policy>) -> Self {
        Self {
            tree,
            policy,
            calls: Vec::new(),
            in_flight: Vec::new(),
            generations: BTreeMap::new(),
            actions: BTreeSet::new(),
            approved: BTreeMap::new(),
            paused: None,
            renewed: BTreeMap::new(),
            open: BTreeMap::new(),
            left: BTreeSet::new(),
            times_left: 0,
            reserved: BTreeMap::new(),
            approved_all_the_same: BTreeMap::new(),
            covered: 0,
            violations: Vec::new(),
        }
    }

    /// Notes what was told, of a time so many seconds ago.
    pub(super) fn told(&mut self, evidence: &Evidence, age: f64, now: f64) {
        if evidence.closed {
            self.open.remove(&evidence.incident);
            self.left.remove(&evidence.incident);
            return;
        }
        let told = self.open.entry(evidence.incident).or_insert_with(|| Told {
            since: now,
            named: BTreeSet::new(),
            blamed: BTreeMap::new(),
        });
        for suspect in &evidence.suspects {
            told.named.insert(suspect.unit.clone());
            if suspect.two_sided {
                let at = told.blamed.entry(suspect.unit.clone());
                let at = at.or_insert(f64::MIN);
                *at = at.max(now - age);
            }
        }
    }

    pub(super) fn reserve(&mut self, incident: u64, reserve: Reserve) {
        self.reserved.insert(incident, reserve);
    }

    pub(super) fn approve(&mut self, unit: &UnitName, now: f64) {
        self.approved.insert(unit.clone(), now);
    }

    /// A person said that nothing is to be done about it.
    pub(super) fn leave(&mut self, incident: u64) {
        self.times_left += 1;
        self.left.insert(incident);
    }

    pub(super) fn pause(&mut self, now: f64, duration: Option<Duration>) {
        self.paused = duration.map(|duration| (now, now + duration.as_secs_f64()));
    }

    pub(super) fn roll_out(&mut self, unit: &UnitName, now: f64) {
        self.renewed.insert(unit.clone(), now);
    }

    pub(super) fn renewed(&self) -> &BTreeMap<UnitName, f64> {
        &self.renewed
    }

    /// The engine begins anew, and has to be told again of what isn't in its ledger.
    pub(super) fn engine_began(&mut self, now: f64) {
        for told in self.open.values_mut() {
            told.since = now;
        }
    }

    pub(super) fn is_any_in_flight(&self) -> bool {
        !self.in_flight.is_empty()
    }

    pub(super) fn took_off(&mut self, unit: &UnitName) {
        self.in_flight.push(unit.clone());
    }

    pub(super) fn landed(&mut self, unit: &UnitName) {
        let place = self.in_flight.iter().position(|it| it == unit);
        if let Some(place) = place {
            self.in_flight.swap_remove(place);
        }
    }

    pub(super) fn restarts(&self) -> u64 {
        self.calls.len() as u64
    }

    pub(super) fn times_left(&self) -> u64 {
        self.times_left
    }

    pub(super) fn covered(&self) -> u64 {
        self.covered
    }

    /// Incidents that were told with each reserve, and restarts for them that a person approved.
    pub(super) fn reserves(&self) -> BTreeMap<Reserve, (u64, u64)> {
        let mut counts: BTreeMap<Reserve, (u64, u64)> = BTreeMap::new();
        for reserve in self.reserved.values() {
            counts.entry(*reserve).or_default().0 += 1;
        }
        for (reserve, restarts) in &self.approved_all_the_same {
            counts.entry(*reserve).or_default().1 += restarts;
        }
        counts
    }

    /// The rules that were broken, those included that only the ledger's rows show: what was decided
    /// on has to contain somebody whom two had accused.
    pub(super) fn violations(&self, rows: &[ActionView]) -> Vec<String> {
        let mut all = self.violations.clone();
        let targets: BTreeMap<ActionId, &UnitName> =
            rows.iter().map(|row| (row.action, &row.target)).collect();
        // A ledger gives so much of its history at once, newest first.
        let oldest = targets.keys().next().copied();
        for call in self
            .calls
            .iter()
            .filter(|call| oldest.is_none_or(|it| call.action >= it))
        {
            let Some(target) = targets.get(&call.action) else {
                all.push(format!("the ledger has no row of action {}", call.action));
                continue;
            };
            // A group that is gone by now contains what its members do.
            let is_of = |unit: &UnitName| self.tree.contains(target, unit);
            if call
                .blamed
                .as_ref()
                .is_some_and(|them| !them.iter().any(is_of))
            {
                all.push(format!(
                    "at {:.1} s: {target} was decided on, and nothing in it accused by two",
                    call.at
                ));
            }
        }
        all
    }

    /// Notes that an executor was called, and what was wrong with that. `refuses` is whether it leaves
    /// the unit as it was: that is no restart, begins no life and spends nothing. `ill` are those of
    /// whom a single trouble says at present that they fail. Whether a person had approved it.
    pub(super) fn called(
        &mut self,
        permit: &Permit,
        refuses: bool,
        ill: &BTreeSet<&str>,
        now: f64,
    ) -> bool {
        let unit = permit.unit();
        let mut approved = self.approved.iter();
        let approved =
            approved.any(|(target, at)| self.tree.contains(target, unit) && *at > now - MOMENT);
        let mut broken = Vec::new();
        if !self.actions.insert(permit.action()) {
            broken.push(format!("action {} was carried out twice", permit.action()));
        }
        broken.extend(self.life(permit, refuses));
        broken.extend(self.overlap(unit));
        if !refuses {
            broken.extend(self.budgets(unit, now));
        }
        broken.extend(self.pair(unit, ill, now));
        broken.extend(self.reserved(permit, approved));
        if permit.incident().is_some_and(|it| self.left.contains(&it)) {
            broken.push(format!(
                "{unit} was restarted for what a person said to leave"
            ));
        }
        if !approved {
            broken.extend(self.mode(unit));
            broken.extend(self.pauses(unit, now));
            broken.extend(self.rollout(unit, now));
            broken.extend(self.word(permit, now));
        }
        let broken = broken
            .into_iter()
            .map(|words| format!("at {now:.1} s: {words}"));
        self.violations.extend(broken);
        if !refuses {
            self.calls.push(Call {
                action: permit.action(),
                unit: unit.clone(),
                at: now,
                blamed: (!approved).then(|| self.blamed(permit, now)),
            });
        }
        approved
    }

    fn life(&mut self, permit: &Permit, refuses: bool) -> Option<String> {
        let unit = permit.unit();
        let last = self.generations.get(unit).copied();
        if !refuses {
            self.generations.insert(unit.clone(), permit.generation());
        }
        last.is_some_and(|last| last >= permit.generation())
            .then(|| format!("{unit}'s generation did not rise"))
    }

    fn overlap(&self, unit: &UnitName) -> Vec<String> {
        let others = self.in_flight.iter();
        let others = others.filter(|other| self.tree.overlap(other, unit));
        others
            .map(|other| format!("{unit} was restarted during {other}"))
            .collect()
    }

    fn budgets(&self, unit: &UnitName, now: f64) -> Vec<String> {
        let period = self.policy.budget_period.as_secs_f64();
        let recent = || self.calls.iter().filter(|call| call.at > now - period);
        let of_unit = recent().filter(|call| self.tree.contains(&call.unit, unit));
        let mut broken = Vec::new();
        if of_unit.count() >= self.policy.restarts_per_unit as usize {
            broken.push(format!(
                "{unit} was restarted more often than its budget allows"
            ));
        }
        if recent().count() >= self.policy.restarts_per_tree as usize {
            broken.push(format!("{unit} was restarted beyond the tree's budget"));
        }
        broken
    }

    /// That of a pair nobody is left who serves, though nobody said a word against this one.
    fn pair(&mut self, unit: &UnitName, ill: &BTreeSet<&str>, now: f64) -> Option<String> {
        let (one, other) = PAIRS
            .into_iter()
            .flat_map(|(one, other)| [(one, other), (other, one)])
            .map(|(one, other)| (UnitName::from(one), UnitName::from(other)))
            .find(|(one, _)| self.tree.overlap(one, unit))?;
        let says = |told: &Told, of: &UnitName| {
            let mut named = told.named.iter();
            named.any(|named| self.tree.overlap(named, of))
        };
        let known = self.open.values().filter(|told| told.since < now - MOMENT);
        let is_ill = ill.contains(other.as_str()) && known.clone().any(|told| says(told, &other));
        let is_away = self
            .in_flight
            .iter()
            .any(|it| self.tree.overlap(it, &other));
        if !is_ill && !is_away {
            self.covered += 1;
            return None;
        }
        let is_named = self.open.values().any(|told| says(told, &one));
        (!is_named).then(|| {
            let why = if is_away { "being restarted" } else { "ill" };
            format!("{unit} was restarted, and {other}, which stands in for {one}, was {why}")
        })
    }

    fn mode(&self, unit: &UnitName) -> Option<String> {
        let below = self.tree.subtree(unit);
        let other = below
            .iter()
            .find(|unit| !matches!(self.tree.mode(unit), Mode::Auto))?;
        Some(format!("{unit} was restarted, and nobody approved {other}"))
    }

    fn pauses(&self, unit: &UnitName, now: f64) -> Option<String> {
        // What had begun may end.
        let (from, until) = self
            .paused
            .filter(|(from, until)| from + MOMENT < now && now < *until)?;
        Some(format!(
            "{unit} was restarted during a pause, {:.9} s after it began and {:.9} s before it ends",
            now - from,
            until - now
        ))
    }

    fn expiry(&self) -> f64 {
        self.policy.evidence_expiry.as_secs_f64() + MOMENT
    }

    fn rollout(&self, unit: &UnitName, now: f64) -> Option<String> {
        // All that was told since the rollout began tells of it; what was told before may be acted on for a while.
        let during = self.expiry()..self.policy.rollout_quiet.as_secs_f64();
        let (other, at) = self
            .renewed
            .iter()
            .find(|(other, at)| self.tree.overlap(other, unit) && during.contains(&(now - **at)))?;
        let ago = now - at;
        Some(format!(
            "{unit} was restarted within a rollout of {other} {ago:.1} s ago"
        ))
    }

    fn reserved(&mut self, permit: &Permit, approved: bool) -> Option<String> {
        let incident = permit.incident()?;
        let reserve = self.reserved.get(&incident).copied()?;
        if approved {
            *self.approved_all_the_same.entry(reserve).or_default() += 1;
            return None;
        }
        Some(format!(
            "{} was restarted, and nobody approved, though {}",
            permit.unit(),
            reserve.as_str()
        ))
    }

    fn blamed(&self, permit: &Permit, now: f64) -> BTreeSet<UnitName> {
        let told = permit.incident().and_then(|it| self.open.get(&it));
        let blamed = told.iter().flat_map(|told| &told.blamed);
        blamed
            .filter(|(_, at)| **at > now - self.expiry())
            .map(|(unit, _)| unit.clone())
            .collect()
    }

    fn word(&self, permit: &Permit, now: f64) -> Option<String> {
        self.blamed(permit, now).is_empty().then(|| {
            format!(
                "{} was restarted on one source's word, or on an old one",
                permit.unit()
            )
        })
    }
}
