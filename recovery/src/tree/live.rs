//! Which tree holds now?
//!
//! A tree that grows is replaced as a whole and never changed: whoever decides takes the present one once and
//! looks at no other until it has decided. So no decision sees half of a change, and nobody waits for anybody. Only
//! recovery's service replaces it, because only it knows what is being restarted.

use std::sync::{Arc, PoisonError, RwLock};

use super::RestartTree;

/// The tree as it is now; all clones see the same.
#[derive(Clone, Debug, Default)]
pub struct LiveTree(Arc<RwLock<Arc<RestartTree>>>);

impl LiveTree {
    /// The present tree: one version, which stays as it is.
    pub fn now(&self) -> Arc<RestartTree> {
        // What is behind the lock is replaced whole, so a panic of somebody who held it left it whole.
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on this one holds.
    pub(crate) fn replace(&self, tree: Arc<RestartTree>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = tree;
    }
}

impl From<Arc<RestartTree>> for LiveTree {
    fn from(tree: Arc<RestartTree>) -> Self {
        Self(Arc::new(RwLock::new(tree)))
    }
}

impl From<RestartTree> for LiveTree {
    fn from(tree: RestartTree) -> Self {
        Arc::new(tree).into()
    }
}
