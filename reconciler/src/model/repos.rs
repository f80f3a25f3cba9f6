//! Repositories: their IDs, and their names, `owner/name`, with owners and patterns for them.
//!
//! The forge compares names without case, and allows only ASCII letters, digits, `-`, `_` and `.`
//! in them (Gitea `modules/validation/helpers.go`, `models/repo/repo.go` `IsUsableRepoName`).

/// Stands between the name and the ID of a stored repository. No name contains it.
const ID_MARK: char = '#';

/// A repository. Its ID stays when it is renamed, or given to another owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RepoRef<'a> {
    /// Its ID at the forge; 0 if unknown.
    pub id: i64,
    /// `owner/name` as last reported.
    pub name: &'a str,
}

/// The key of a repository in a map: its ID, or its name in lower case if that is unknown.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RepoKey {
    /// Its ID.
    Id(i64),
    /// Its name, in lower case.
    Name(String),
}

impl<'a> RepoRef<'a> {
    /// Returns a repository of which only the name is known.
    pub const fn named(name: &'a str) -> Self {
        Self { id: 0, name }
    }

    /// Returns whether both are the same repository: by their IDs if both are known, otherwise by
    /// their names.
    pub fn is_same(self, other: RepoRef<'_>) -> bool {
        if self.id > 0 && other.id > 0 {
            self.id == other.id
        } else {
            self.name.eq_ignore_ascii_case(other.name)
        }
    }

    /// Returns what it is found by in a map.
    pub fn key(self) -> RepoKey {
        match self.id {
            1.. => RepoKey::Id(self.id),
            _ => RepoKey::Name(self.name.to_ascii_lowercase()),
        }
    }

    /// Returns the text by which stores hold it: `owner/name#id`, or `owner/name` without an ID.
    pub fn stored(self) -> String {
        match self.id {
            1.. => format!("{}{ID_MARK}{}", self.name, self.id),
            _ => self.name.to_owned(),
        }
    }

    /// Reads what [`Self::stored`] returned, or a name alone.
    pub fn of_stored(text: &'a str) -> Self {
        let parts = text.rsplit_once(ID_MARK);
        let parts = parts.and_then(|(name, id)| Some((name, id.parse::<i64>().ok()?)));
        match parts {
            Some((name, id @ 1..)) => Self { id, name },
            _ => Self::named(text),
        }
    }
}

/// Returns the owner of a repository, `owner/name`.
pub fn owner_of(repo: &str) -> &str {
    repo.split_once('/').map_or(repo, |(owner, _)| owner)
}

/// Returns whether two repositories have the same owner.
pub fn same_owner(a: &str, b: &str) -> bool {
    owner_of(a).eq_ignore_ascii_case(owner_of(b))
}

/// Returns whether a repository fits a pattern: `owner/name`, in which `*` stands for any part of
/// the owner or of the name.
pub fn pattern_fits(pattern: &str, repo: &str) -> bool {
    let (Some((owner, name)), Some((of, called))) = (pattern.split_once('/'), repo.split_once('/'))
    else {
        return false;
    };
    part_fits(owner, of) && part_fits(name, called)
}

fn part_fits(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.to_ascii_lowercase(), text.to_ascii_lowercase());
    let Some((head, tail)) = pattern.split_once('*') else { return pattern == text };
    let Some(rest) = text.strip_prefix(head) else { return false };
    let Some((middle, tail)) = tail.rsplit_once('*') else { return rest.ends_with(tail) };
    let Some(mut rest) = rest.strip_suffix(tail) else { return false };
    // The first place of each piece leaves the most for those behind it.
    middle.split('*').all(|piece| {
        let found = rest.find(piece);
        rest = found.map_or("", |at| &rest[at + piece.len()..]);
        found.is_some()
    })
}

/// Says what is wrong with a pattern; `None` if it is one.
pub fn pattern_problem(pattern: &str) -> Option<&'static str> {
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '*' | '/');
    match pattern.split_once('/') {
        _ if !pattern.chars().all(known) => {
            Some("has a character that no repository's name contains, and that is not `*`")
        }
        None => Some("names no repository: write `OWNER/*` for all of an owner"),
        Some((owner, name)) if owner.is_empty() || name.is_empty() => {
            Some("lacks the owner or the name")
        }
        Some((_, name)) if name.contains('/') => Some("has more than one `/`"),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_as_the_forge_compares_names() {
        let yes = [
            ("acme/site", "acme/site"),
            ("Acme/SITE", "acme/site"),
            ("acme/infra-*", "acme/infra-1"),
            ("acme/infra-*", "acme/infra-"),
            ("acme/*", "acme/site"),
            ("*/site", "acme/site"),
            ("*/*", "acme/site"),
            ("a*e/s*t*e", "acme/site"),
            ("acme/*-*-x", "acme/a-b-x-x"),
            ("acme/**", "acme/site"),
        ];
        for (pattern, repo) in yes {
            assert!(pattern_fits(pattern, repo), "{pattern} {repo}");
        }
        let no = [
            ("acme/site", "acme/site2"),
            ("acme/site", "other/site"),
            ("acme/infra-*", "acme/infra"),
            ("acme*", "acme/site"),
            ("*", "acme/site"),
            ("acme/ab*ba", "acme/aba"),
            ("acme/*-*-x", "acme/a-x"),
            ("acme/a*b*c", "acme/acb"),
            ("acme/site", "acme"),
            ("acme/*", ""),
        ];
        for (pattern, repo) in no {
            assert!(!pattern_fits(pattern, repo), "{pattern} {repo}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_said() {
        for good in ["acme/site", "acme/infra-*", "*/*", "a.b_c-d/E1"] {
            assert_eq!(pattern_problem(good), None, "{good}");
        }
        for bad in ["acme", "*", "/site", "acme/", "a/b/c", "acme/si te", "acme/[ab]", "ac?e/x", ""]
        {
            assert!(pattern_problem(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn a_repository_is_known_by_its_id_and_without_one_by_its_name() {
        let of = |id, name| RepoRef { id, name };
        assert!(of(7, "acme/site").is_same(of(7, "other/page")), "renamed");
        assert!(!of(7, "acme/site").is_same(of(8, "acme/site")), "replaced");
        assert!(of(7, "acme/site").is_same(RepoRef::named("Acme/Site")));
        assert!(!RepoRef::named("acme/site").is_same(of(7, "acme/shop")));
        assert_eq!(of(7, "acme/site").key(), of(7, "b/c").key());
        assert_eq!(RepoRef::named("Acme/Site").key(), RepoRef::named("acme/site").key());
        assert_ne!(of(7, "acme/site").key(), RepoRef::named("acme/site").key());
    }

    #[test]
    fn a_stored_repository_is_read_with_and_without_its_id() {
        for (id, name) in [(7, "acme/site"), (i64::MAX, ""), (0, "acme/site"), (0, "#odd"), (0, "")]
        {
            let repo = RepoRef { id, name };
            assert_eq!(RepoRef::of_stored(&repo.stored()), repo);
        }
        assert_eq!(RepoRef { id: 7, name: "acme/site" }.stored(), "acme/site#7");
        assert_eq!(RepoRef { id: -1, name: "acme/site" }.stored(), "acme/site");
        for odd in ["acme/site#", "acme/site#0", "acme/site#-4", "acme/site#x"] {
            assert_eq!(RepoRef::of_stored(odd), RepoRef::named(odd));
        }
    }

    #[test]
    fn owners_are_compared_without_case() {
        assert_eq!(owner_of("acme/site"), "acme");
        assert_eq!(owner_of("odd"), "odd");
        assert!(same_owner("Acme/a", "acme/b"));
        assert!(!same_owner("acme/a", "acme2/a"));
    }
}
