//! Machines that somebody else launched in the account.

use std::collections::BTreeMap;
use std::sync::Arc;

use tinqs_ci_reconciler::model::MachineId;

use super::{Ec2Wire, Recipe};
use crate::cloud::Refused;

impl Ec2Wire {
    /// Adds a machine that another party launched in this account, without a client token, with
    /// these tags.
    ///
    /// # Errors
    /// As for a launch: limits, capacity.
    pub fn add_foreign(&self, tags: BTreeMap<String, String>) -> Result<MachineId, Refused> {
        self.add_foreign_with_token(tags, "")
    }

    /// Adds a machine that another party launched with this client token, in another zone than any
    /// launch with the same token: tokens belong to a zone. The tags may have been set later.
    ///
    /// # Errors
    /// As for a launch: limits, capacity.
    pub fn add_foreign_with_token(
        &self,
        tags: BTreeMap<String, String>,
        token: &str,
    ) -> Result<MachineId, Refused> {
        let options = &self.shared.options;
        let foreign = Recipe::foreign(&options.account, tags);
        let recipe = Arc::new(Recipe { token: token.to_owned(), ..foreign });
        let launched = self.shared.state().launch(options, options.now(), &recipe, true);
        self.shared.changed.notify_one();
        launched.map(|(ids, _)| ids.into_iter().next().unwrap_or_else(|| MachineId(String::new())))
    }
}
