//! Which files of a commit are workflow files.

/// Where workflows lie, unless the server is configured otherwise (`WORKFLOW_DIRS`, 1.26+).
pub const DIRECTORIES: [&str; 2] = [".gitea/workflows", ".github/workflows"];

/// A directory as the server reads it from its configuration; empty ones count for nothing.
pub fn normalized(directory: &str) -> String {
    directory.trim().replace('\\', "/").trim_end_matches('/').to_owned()
}

/// Whether a path is that of a workflow file in one of the directories, however deep.
pub fn is_workflow<S: AsRef<str>>(directories: &[S], path: &str) -> bool {
    has_suffix(path)
        && directories.iter().any(|directory| below(directory.as_ref(), path).is_some())
}

/// The directory a commit's workflows are taken from: the first that exists in it, even if no
/// workflow lies there. One of a commit's paths in it shows that it exists.
pub fn directory<S: AsRef<str>, P: AsRef<str>>(
    directories: &[S],
    paths: impl Iterator<Item = P>,
) -> Option<&str> {
    let of = |path: P| {
        directories.iter().position(|directory| below(directory.as_ref(), path.as_ref()).is_some())
    };
    paths.filter_map(of).min().map(|first| directories[first].as_ref())
}

/// A workflow's id: its path within the directory. `None` for any other file.
pub fn workflow_id<'p>(directory: &str, path: &'p str) -> Option<&'p str> {
    below(directory, path).filter(|_| has_suffix(path))
}

/// The rest of a path below a directory.
fn below<'p>(directory: &str, path: &'p str) -> Option<&'p str> {
    if directory.is_empty() {
        return None;
    }
    path.strip_prefix(directory)?.strip_prefix('/')
}

/// The case of the suffix matters.
#[expect(clippy::case_sensitive_file_extension_comparisons, reason = "as the server does")]
fn has_suffix(path: &str) -> bool {
    path.ends_with(".yml") || path.ends_with(".yaml")
}
