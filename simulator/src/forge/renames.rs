//! Repositories that get another name or owner. Everything of theirs stays, by their ID; the former
//! name is free for another repository.

use jiff::Timestamp;

use super::{Forge, Repo, Scope, next};

impl Repo {
    /// Returns whether the repository had this name at any time from `from` to `to`.
    pub fn had_name(&self, name: &str, from: Timestamp, to: Timestamp) -> bool {
        let mut since = Timestamp::MIN;
        for (until, former) in &self.former {
            if former == name && since <= to && from <= *until {
                return true;
            }
            since = *until;
        }
        self.full_name == name && since <= to
    }
}

impl Forge {
    /// Returns the ID of the owner in a repository's name. Creates the owner if absent.
    pub(super) fn owner_id(&mut self, full_name: &str) -> i64 {
        let owner = full_name.split('/').next().unwrap_or_default();
        if let Some(&id) = self.owners.get(owner) {
            return id;
        }
        let id = next(&mut self.last_id.owner);
        self.owners.insert(owner.to_owned(), id);
        id
    }

    /// Gives a repository another name, and its owner if that differs. Its jobs, runners and
    /// branches go with it. Returns whether it did: the repository exists, and the name is free.
    pub fn rename_repo(&mut self, now: Timestamp, from: &str, to: &str) -> bool {
        if self.repos.contains_key(to) {
            return false;
        }
        let Some(mut repo) = self.repos.remove(from) else { return false };
        repo.owner_id = self.owner_id(to);
        let former = std::mem::replace(&mut repo.full_name, to.to_owned());
        for job in self.jobs.values_mut().filter(|job| job.repo_id == repo.id) {
            to.clone_into(&mut job.repo);
        }
        let own = Scope::Repo(former.clone());
        for row in self.runners.values_mut().filter(|row| row.scope == own) {
            row.scope = Scope::Repo(to.to_owned());
        }
        for run in self.held.values_mut().filter(|run| run.is_of(&former)) {
            run.moves(to);
        }
        let refs = std::mem::take(&mut self.refs);
        let renamed = |(of, name): (String, String)| {
            if of == former { (to.to_owned(), name) } else { (of, name) }
        };
        self.refs = refs.into_iter().map(|(key, sha)| (renamed(key), sha)).collect();
        repo.former.push((now, former));
        self.repos.insert(to.to_owned(), repo);
        true
    }
}
