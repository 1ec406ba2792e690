//! Which service does each component belong to, as a subject?

use hashbrown::HashMap;

use super::input::Input;
use crate::Level;

/// Per subject: the index of its service, or its own where there is none.
pub(crate) fn families(input: &Input) -> Vec<usize> {
    // Only looked up, never iterated.
    let services: HashMap<_, usize> = input
        .subjects
        .iter()
        .enumerate()
        .filter(|(_, subject)| subject.component.level == Level::Service)
        .map(|(at, subject)| (&subject.component.service, at))
        .collect();
    let all = input.subjects.iter().enumerate();
    all.map(|(at, subject)| match subject.component.level {
        Level::Service | Level::Dependency | Level::Host => at,
        Level::Version | Level::Instance | Level::CodeComponent | Level::Operation => {
            let service = services.get(&subject.component.service);
            service.copied().unwrap_or(at)
        }
    })
    .collect()
}
