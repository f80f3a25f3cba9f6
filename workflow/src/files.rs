//! Finds the workflow files of a commit.

/// The workflow directories, unless the server is configured otherwise (`WORKFLOW_DIRS`, 1.26+).
pub const DIRECTORIES: [&str; 2] = [".gitea/workflows", ".github/workflows"];

/// Normalizes a directory as the server does with its configuration; an empty one is ignored.
pub fn normalized(directory: &str) -> String {
    directory.trim().replace('\\', "/").trim_end_matches('/').to_owned()
}

/// Whether a path is that of a workflow file in one of the directories, at any depth.
pub fn is_workflow<S: AsRef<str>>(directories: &[S], path: &str) -> bool {
    has_suffix(path)
        && directories.iter().any(|directory| below(directory.as_ref(), path).is_some())
}

/// Returns the directory that a commit's workflows are taken from: the first that exists, even
/// without a workflow. It exists if any of the commit's paths is in it.
pub fn directory<S: AsRef<str>, P: AsRef<str>>(
    directories: &[S],
    paths: impl Iterator<Item = P>,
) -> Option<&str> {
    let of = |path: P| {
        directories.iter().position(|directory| below(directory.as_ref(), path.as_ref()).is_some())
    };
    paths.filter_map(of).min().map(|first| directories[first].as_ref())
}

/// Returns a workflow's ID: its path within the directory. `None` for any other file.
pub fn workflow_id<'p>(directory: &str, path: &'p str) -> Option<&'p str> {
    below(directory, path).filter(|_| has_suffix(path))
}

/// Returns the rest of a path below a directory.
fn below<'p>(directory: &str, path: &'p str) -> Option<&'p str> {
    if directory.is_empty() {
        return None;
    }
    path.strip_prefix(directory)?.strip_prefix('/')
}

/// The suffix is case-sensitive.
#[expect(clippy::case_sensitive_file_extension_comparisons, reason = "as the server does")]
fn has_suffix(path: &str) -> bool {
    path.ends_with(".yml") || path.ends_with(".yaml")
}
