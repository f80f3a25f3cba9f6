//! The repositories of the scope, for checks: nothing that is decided depends on them.

use serde::Deserialize;
use tinqs_ci_reconciler::ports::PortError;

use super::Client;
use super::call::Call;
use crate::config::Scope;
use crate::wire::{ApiRepository, owner_and_name};

/// Repositories per page: the forge's default maximum.
const LIMIT: usize = 50;
/// Most pages that are read.
const PAGES: usize = 10;

#[derive(Deserialize)]
#[serde(untagged)]
enum Repositories {
    Found { data: Vec<ApiRepository> },
    Listed(Vec<ApiRepository>),
}

impl Client {
    /// Returns some repository of the scope, as (owner, name). Of the user's repositories only one
    /// that the user owns: the list also has those of others.
    pub(super) async fn any_repository(&self) -> Result<Option<(String, String)>, PortError> {
        let mut login = None;
        let limit = match &self.scope {
            Scope::Repo(owner, name) => return Ok(Some((owner.clone(), name.clone()))),
            Scope::All | Scope::Org(_) => 1,
            Scope::User => {
                let Ok(user) = self.whoami().await else { return Ok(None) };
                login = Some(user.login);
                LIMIT
            }
        };
        // Nothing depends on this list.
        let Some(all) = self.page_of_repositories(limit, 1).await? else { return Ok(None) };
        let mut named = all.iter().filter_map(|repo| owner_and_name(&repo.full_name));
        Ok(named.find(|(owner, _)| login.as_ref().is_none_or(|login| login == owner)))
    }

    /// Returns the repositories of the scope, `owner/name`. `None` if there are more than 500, or if
    /// the token cannot list them.
    ///
    /// # Errors
    /// The forge does not answer, or its answer is no such list.
    pub async fn repositories(&self) -> Result<Option<Vec<String>>, PortError> {
        if let Scope::Repo(owner, name) = &self.scope {
            return Ok(Some(vec![format!("{owner}/{name}")]));
        }
        let mut names = Vec::new();
        for number in 1..=PAGES {
            let Some(page) = self.page_of_repositories(LIMIT, number).await? else {
                return Ok(None);
            };
            if page.is_empty() {
                return Ok(Some(names));
            }
            names.extend(page.into_iter().map(|repo| repo.full_name));
        }
        Ok(None)
    }

    /// Returns a page of the repositories; `None` if the forge refuses it.
    async fn page_of_repositories(
        &self,
        limit: usize,
        number: usize,
    ) -> Result<Option<Vec<ApiRepository>>, PortError> {
        let (list, begin) = match &self.scope {
            Scope::All => ("/repos/search".to_owned(), b'{'),
            _ => (format!("{}/repos", self.scope_path()), b'['),
        };
        let call = Call::get("repository", &format!("{list}?limit={limit}&page={number}"));
        let answer = self.sender.send(&call).await?;
        if !answer.status.is_success() {
            return Ok(None);
        }
        let (Repositories::Found { data: all } | Repositories::Listed(all)) =
            self.sender.read_from(&call, &answer, begin)?;
        Ok(Some(all))
    }
}
