//! Which operation do calls of this name usually reach?
//!
//! A call whose answer did not come is counted as one of the operation that such calls reached
//! before. What was asked can be asked again by its page, which costs a look into a list.

use hashbrown::HashMap;
use rekindle_model::Name;

/// So many calls by name are remembered with whom they reach, and as many of whom nothing is known;
/// names with ids in them must not fill the memory.
const MAX_CALLS: usize = 10_000;

/// Calls by the caller's service and their name.
#[derive(Debug, Default)]
pub(crate) struct UsualOperations {
    // Only looked up, never iterated.
    pages: HashMap<(Name, Name), u32>,
    operations: Vec<Option<u32>>,
    known: usize,
}

impl UsualOperations {
    /// The page of these calls; `None` when there are too many.
    pub(crate) fn page(&mut self, service: &Name, name: &Name) -> Option<u32> {
        let call = (service.clone(), name.clone());
        if let Some(page) = self.pages.get(&call) {
            return Some(*page);
        }
        if self.operations.len() - self.known >= MAX_CALLS {
            return None;
        }
        let page = self.operations.len() as u32;
        self.operations.push(None);
        self.pages.insert(call, page);
        Some(page)
    }

    /// The operation that calls of this page reached last, if any did.
    pub(crate) fn read(&self, page: u32) -> Option<u32> {
        self.operations[page as usize]
    }

    /// Calls of this page reach this operation.
    pub(crate) fn write(&mut self, page: u32, operation: u32) {
        let known = &mut self.operations[page as usize];
        if known.is_some() {
            *known = Some(operation);
        } else if self.known < MAX_CALLS {
            self.known += 1;
            *known = Some(operation);
        }
    }

    /// Renumbers operations, and forgets calls of which nothing is known. Pages change.
    pub(crate) fn keep(&mut self, components: &[Option<u32>]) {
        let operations = std::mem::take(&mut self.operations);
        let mut pages: Vec<_> = std::mem::take(&mut self.pages).into_iter().collect();
        pages.sort_unstable_by_key(|(_, page)| *page);
        for (call, page) in pages {
            let known = operations[page as usize];
            if let Some(operation) = known.and_then(|old| components[old as usize]) {
                self.pages.insert(call, self.operations.len() as u32);
                self.operations.push(Some(operation));
            }
        }
        self.known = self.operations.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_reached_is_known_until_it_is_forgotten() {
        let mut usual = UsualOperations::default();
        let page = |usual: &mut UsualOperations, name: &str| {
            usual.page(&"shop".into(), &name.into()).expect("room")
        };
        let (get, put) = (page(&mut usual, "GET"), page(&mut usual, "PUT"));
        assert_eq!(usual.read(get), None);
        usual.write(get, 3);
        usual.write(get, 4);
        usual.write(put, 3);
        assert_eq!(usual.read(get), Some(4));
        usual.keep(&[None, None, None, None, Some(0)]);
        let (get, put) = (page(&mut usual, "GET"), page(&mut usual, "PUT"));
        assert_eq!((usual.read(get), usual.read(put)), (Some(0), None));
        for number in 0..3 * MAX_CALLS {
            usual.page(&"shop".into(), &number.to_string().into());
        }
        assert!(usual.operations.len() <= 2 * MAX_CALLS);
    }
}
