//! The command blocks of the pages, with their marks.

use std::fs;
use std::path::{Path, PathBuf};

/// Pages for developers, and pages that are generated: their commands build and test the project.
const NOT_FOR_USERS: &[&str] =
    &["docs/decisions/", "docs/reference/", "docs/release.md", "docs/testing.md"];
/// The languages of blocks whose lines are commands.
const SHELLS: &[&str] = &["bash", "console", "sh", "shell"];

/// A fenced block of commands.
#[derive(Debug)]
pub(crate) struct Block {
    /// The page, relative to the root.
    pub(crate) page: String,
    /// The line of the fence, from 1.
    pub(crate) line: usize,
    /// The line before the fence, which holds the mark.
    pub(crate) before: String,
    /// The commands, without the indentation of the block.
    pub(crate) text: String,
}

impl Block {
    /// Returns where the block is, for messages.
    pub(crate) fn place(&self) -> String {
        format!("{}:{}", self.page, self.line)
    }
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn read(page: &str) -> String {
    fs::read_to_string(root().join(page)).unwrap_or_else(|error| panic!("{page}: {error}"))
}

/// Returns the pages for users, relative to the root.
pub(crate) fn pages() -> Vec<String> {
    let mut found = vec!["README.md".to_owned()];
    let mut folders = vec![PathBuf::from("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder)).expect("a folder").flatten() {
            let path = folder.join(entry.file_name());
            if entry.path().is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path.to_str().expect("text").to_owned());
            }
        }
    }
    found.retain(|page| NOT_FOR_USERS.iter().all(|begin| !page.starts_with(begin)));
    found.sort();
    found
}

/// Returns the command blocks of a page's text.
///
/// # Panics
/// If a block is not closed, or does not say its language.
pub(crate) fn blocks(page: &str, text: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut open: Option<(Block, usize, bool)> = None;
    let mut before = "";
    for (number, line) in (1..).zip(text.lines()) {
        let begun = line.trim_start();
        let indent = line.len() - begun.len();
        match (open.take(), begun.strip_prefix("```")) {
            (None, Some(language)) => {
                assert!(!language.is_empty(), "{page}:{number}: the block has no language");
                let block = Block {
                    page: page.to_owned(),
                    line: number,
                    before: before.trim().to_owned(),
                    text: String::new(),
                };
                open = Some((block, indent, SHELLS.contains(&language)));
            }
            (Some((block, _, is_shell)), Some(_)) => {
                if is_shell {
                    found.push(block);
                }
                before = "";
            }
            (Some((mut block, least, is_shell)), None) => {
                block.text.push_str(line.get(least.min(indent)..).unwrap_or_default());
                block.text.push('\n');
                open = Some((block, least, is_shell));
            }
            (None, None) => before = line,
        }
    }
    assert!(open.is_none(), "{page}: a block is not closed");
    found
}

/// Returns the only block of a page that begins with these words.
///
/// # Panics
/// If there is none or more than one.
pub(crate) fn block(page: &str, begin: &str) -> Block {
    let mut found = blocks(page, &read(page));
    found.retain(|block| block.text.starts_with(begin));
    assert_eq!(found.len(), 1, "{page} must have one block that begins with {begin:?}");
    found.remove(0)
}

/// Returns all command blocks of the pages for users.
pub(crate) fn all() -> Vec<Block> {
    pages().iter().flat_map(|page| blocks(page, &read(page))).collect()
}

#[test]
fn blocks_are_found_with_the_line_before_them() {
    let page = r"# A
<!-- needs: root -->
```sh
a \
  b
```
```toml
c = 1
```

1. d

   <!-- x -->
   ```sh
   e

     f
   ```
";
    let found = blocks("page", page);
    let found: Vec<_> =
        found.iter().map(|b| (b.line, b.before.as_str(), b.text.as_str())).collect();
    let first = (3, "<!-- needs: root -->", "a \\\n  b\n");
    assert_eq!(found, [first, (14, "<!-- x -->", "e\n\n  f\n")]);
}
