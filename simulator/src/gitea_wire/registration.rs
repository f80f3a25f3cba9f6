//! The tokens that runners register with.

use sha2::{Digest, Sha256};

use crate::forge::{Forge, Scope};

/// The registration token of a scope: the same one each time, without an end.
pub(super) fn registration_token(scope: &Scope) -> String {
    let name = match scope {
        Scope::Global => String::new(),
        Scope::Owner(name) | Scope::Repo(name) => name.clone(),
    };
    hex::encode(Sha256::digest(format!("registration token/{name}")))[..40].to_owned()
}

/// The scope that a registration token stands for.
pub(super) fn scope_of_token(forge: &Forge, user: &str, token: &str) -> Option<Scope> {
    let owners = forge.repos().map(|r| Scope::Owner(r.parts().0.to_owned()));
    let repos = forge.repos().map(|r| Scope::Repo(r.full_name.clone()));
    [Scope::Global, Scope::Owner(user.to_owned())]
        .into_iter()
        .chain(owners)
        .chain(repos)
        .find(|scope| registration_token(scope) == token)
}
