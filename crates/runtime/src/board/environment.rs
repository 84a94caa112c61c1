//! What the environment of the app gets from a role.

use std::sync::Arc;

use tokio::sync::watch;

use super::Secret;

/// Variables for the app, as of its next start. Clones are the same list.
#[derive(Clone, Debug, Default)]
pub struct AppEnvironment(Arc<watch::Sender<Vec<(String, Secret)>>>);

impl AppEnvironment {
    /// Replaces all of them.
    pub fn replace(&self, variables: Vec<(String, Secret)>) {
        self.0.send_replace(variables);
    }

    /// Those that there are now.
    #[must_use]
    pub fn current(&self) -> Vec<(String, Secret)> {
        self.0.borrow().clone()
    }
}
