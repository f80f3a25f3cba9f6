//! Names of repositories, `owner/name`: their owner, and patterns for them.
//!
//! The forge compares names without case, and allows only ASCII letters, digits, `-`, `_` and `.`
//! in them (Gitea `modules/validation/helpers.go`, `models/repo/repo.go` `IsUsableRepoName`).

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
pub(super) fn pattern_fits(pattern: &str, repo: &str) -> bool {
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
    fn owners_are_compared_without_case() {
        assert_eq!(owner_of("acme/site"), "acme");
        assert_eq!(owner_of("odd"), "odd");
        assert!(same_owner("Acme/a", "acme/b"));
        assert!(!same_owner("acme/a", "acme2/a"));
    }
}
