//! A unit below the component: answers that a component keeps, to be emptied without it.
//!
//! A cache that holds nonsense makes its component fail though nothing else of the component is wrong, and
//! emptying it takes no thread and no start-up work. The answers are rows like any state here, so damage to
//! them is real, and stays until the cache is emptied: what is found in it is never asked for again.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use serde_json::Value;

use super::container::StartError;
use super::message::CallError;
use super::table::{Damage, Table};

/// A cache of answers by number. There are as many at most as its owner has numbers.
pub(crate) struct Cache {
    kept: RwLock<Kept>,
}

struct Kept {
    places: HashMap<usize, usize>,
    answers: Table<Value>,
}

impl Kept {
    fn nothing() -> Self {
        Self {
            places: HashMap::new(),
            answers: Table::new([]),
        }
    }
}

impl Cache {
    pub(crate) fn new() -> Self {
        Self {
            kept: RwLock::new(Kept::nothing()),
        }
    }

    /// The answer of this number, where it is kept.
    ///
    /// # Errors
    /// When it should be there and isn't.
    pub(crate) fn get(&self, number: usize) -> Result<Option<Value>, CallError> {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        let place = kept.places.get(&number);
        place.map(|place| kept.answers.get(*place)).transpose()
    }

    /// Keeps an answer; one that is kept already stays.
    pub(crate) fn put(&self, number: usize, answer: Value) {
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        if !kept.places.contains_key(&number) {
            let place = kept.answers.push(answer);
            kept.places.insert(number, place);
        }
    }

    /// Empties it, and looks whether it is what an empty cache should be.
    ///
    /// # Errors
    /// When it isn't: then only a new life of its component helps.
    pub(crate) fn reset(&self) -> Result<(), StartError> {
        *self.kept.write().unwrap_or_else(PoisonError::into_inner) = Kept::nothing();
        // Of no owner: each counts from nought.
        const PROBE: usize = usize::MAX;
        let probe = Value::from("known");
        if self.get(PROBE)?.is_some() {
            return Err("an emptied cache finds what was never put into it".into());
        }
        self.put(PROBE, probe.clone());
        if self.get(PROBE)? != Some(probe) {
            return Err("an emptied cache doesn't find what was put into it".into());
        }
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        kept.places.remove(&PROBE);
        Ok(())
    }

    /// Damages all answers that are kept now.
    pub(crate) fn damage(&self, damage: Damage) {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        kept.answers.damage(damage);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_damaged_stays_so_until_it_is_emptied() {
        let cache = Cache::new();
        assert_eq!(cache.get(3).expect("sound"), None);
        cache.put(3, Value::from("three"));
        cache.put(4, Value::from("four"));
        cache.put(3, Value::from("another"));
        assert_eq!(cache.get(3).expect("sound"), Some(Value::from("three")));
        cache.damage(Damage::Crossed);
        assert_eq!(cache.get(3).expect("wrong"), Some(Value::from("four")));
        cache.damage(Damage::Lost);
        cache.put(3, Value::from("three"));
        assert!(cache.get(3).is_err());
        cache.reset().expect("well again");
        assert_eq!(cache.get(3).expect("sound"), None);
        cache.put(3, Value::from("three"));
        assert_eq!(cache.get(3).expect("sound"), Some(Value::from("three")));
    }
}
