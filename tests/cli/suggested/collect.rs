//! Collects each command in backticks from the texts of the program, and from the documentation.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A command that a text suggests.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Suggestion {
    /// As written, from `tinqs-ci` on.
    pub(super) text: String,
    /// The file.
    pub(super) file: String,
}

pub(super) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the files below a folder with this ending.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.extension().is_some_and(|extension| extension == ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Collects from the literals and doc comments of the sources, without those of tests.
pub(super) fn of_sources() -> BTreeSet<Suggestion> {
    let mut suggestions = BTreeSet::new();
    let mut folders = vec![root().join("src"), root().join("reconciler/src")];
    folders.extend(["local", "gitea", "aws", "boot"].map(|a| root().join("adapters").join(a)));
    for folder in folders {
        let paths = files(&folder, "rs");
        let mut collected: Vec<(PathBuf, Texts)> = Vec::new();
        for path in paths {
            let text = fs::read_to_string(&path).expect("a source");
            let tokens = TokenStream::from_str(&text).expect("Rust");
            let mut texts = Texts::default();
            texts.take(tokens);
            collected.push((path, texts));
        }
        let tests: Vec<PathBuf> = collected
            .iter()
            .flat_map(|(path, texts)| texts.test_modules.iter().map(|name| module(path, name)))
            .collect();
        for (path, texts) in collected {
            let is_test = tests.iter().any(|test| path.starts_with(test))
                || tests.iter().any(|test| path == test.with_extension("rs"));
            if is_test || path.components().any(|part| part.as_os_str() == "tests") {
                continue;
            }
            let file = shown(&path);
            let commands = texts.found.iter().flat_map(|text| in_backticks(text));
            suggestions.extend(commands.map(|text| Suggestion { text, file: file.clone() }));
        }
    }
    suggestions
}

/// Returns the path of a module that a file declares, without its ending.
fn module(file: &Path, name: &str) -> PathBuf {
    let is_folder = ["mod.rs", "lib.rs", "main.rs"].iter().any(|own| file.ends_with(own));
    let folder = if is_folder { file.with_file_name("") } else { file.with_extension("") };
    folder.join(name)
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// The texts of a file.
#[derive(Default)]
struct Texts {
    found: Vec<String>,
    /// Modules that exist for tests only.
    test_modules: Vec<String>,
    /// The lines of a doc comment that has not ended.
    doc: Vec<String>,
}

impl Texts {
    fn take(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut index = 0;
        while let Some(token) = tokens.get(index) {
            index += 1;
            match (token, tokens.get(index)) {
                (TokenTree::Punct(hash), Some(TokenTree::Group(attribute)))
                    if hash.as_char() == '#' && attribute.delimiter() == Delimiter::Bracket =>
                {
                    index += 1;
                    let text = attribute.stream().to_string().replace(' ', "");
                    if text == "cfg(test)" {
                        index += self.skip(&tokens[index..]);
                    } else if text.starts_with("doc=") {
                        self.doc.extend(attribute.stream().into_iter().filter_map(string));
                    } else {
                        self.take(attribute.stream());
                    }
                    continue;
                }
                (TokenTree::Group(group), _) => self.take(group.stream()),
                (token, _) => self.found.extend(string(token.clone())),
            }
            let doc = std::mem::take(&mut self.doc).join(" ");
            self.found.push(doc);
        }
    }

    /// Returns the number of tokens of an item for tests.
    fn skip(&mut self, tokens: &[TokenTree]) -> usize {
        for (index, token) in tokens.iter().enumerate() {
            match token {
                TokenTree::Group(body) if body.delimiter() == Delimiter::Brace => return index + 1,
                TokenTree::Punct(end) if end.as_char() == ';' => {
                    if let Some(TokenTree::Ident(name)) = index.checked_sub(1).map(|i| &tokens[i]) {
                        self.test_modules.push(name.to_string());
                    }
                    return index + 1;
                }
                _ => {}
            }
        }
        tokens.len()
    }
}

fn string(token: TokenTree) -> Option<String> {
    let TokenTree::Literal(literal) = token else { return None };
    syn::parse_str::<syn::LitStr>(&literal.to_string()).ok().map(|literal| literal.value())
}

/// Returns the commands between backticks. White space is one space.
fn in_backticks(text: &str) -> Vec<String> {
    let parts = text.split('`').skip(1).step_by(2);
    let words = parts.map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "));
    words.filter(|part| part.starts_with("tinqs-ci ")).collect()
}

/// Collects from the README and the book, without the history of decisions: from text in
/// backticks, and from the lines of shell examples.
pub(super) fn of_docs() -> BTreeSet<Suggestion> {
    let mut paths = files(&root().join("docs"), "md");
    paths.retain(|path| !path.components().any(|part| part.as_os_str() == "decisions"));
    paths.push(root().join("README.md"));
    let mut suggestions = BTreeSet::new();
    for path in paths {
        let text = fs::read_to_string(&path).expect("a page");
        let file = shown(&path);
        let (prose, shell) = parts(&text);
        let shell = shell.lines().map(|line| line.trim().trim_start_matches("$ ").to_owned());
        let shell = shell.filter(|line| line.starts_with("tinqs-ci "));
        let commands = in_backticks(&prose).into_iter().chain(shell);
        suggestions.extend(commands.map(|text| Suggestion { text, file: file.clone() }));
    }
    suggestions
}

/// Splits a page into its prose and its shell examples, whose continued lines are joined.
fn parts(page: &str) -> (String, String) {
    let (mut prose, mut shell) = (String::new(), String::new());
    let mut fence: Option<bool> = None;
    for line in page.lines() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            fence = if fence.is_none() { Some(matches!(language, "sh" | "console")) } else { None };
            continue;
        }
        match fence {
            None => prose.extend([line, "\n"]),
            Some(true) => match line.trim_end().strip_suffix('\\') {
                Some(begin) => shell.push_str(begin),
                None => shell.extend([line, "\n"]),
            },
            Some(false) => {}
        }
    }
    (prose, shell)
}

#[test]
fn commands_are_found_in_literals_comments_and_examples() {
    let source = "/// See `tinqs-ci get\n/// runs`.\nfn a() { b(\"run `tinqs-ci why \\\n  {}` or `x`\") }\n\
                  #[cfg(test)]\nmod tests { const A: &str = \"`tinqs-ci no`\"; }\n#[cfg(test)]\nmod more;";
    let mut texts = Texts::default();
    texts.take(TokenStream::from_str(source).expect("Rust"));
    let found: Vec<String> = texts.found.iter().flat_map(|text| in_backticks(text)).collect();
    assert_eq!(found, ["tinqs-ci get runs", "tinqs-ci why {}"]);
    assert_eq!(texts.test_modules, ["more"]);
    let (prose, shell) = parts("a `tinqs-ci b`\n```sh\ntinqs-ci c \\\n  d\n```\n```toml\ne\n```\n");
    assert_eq!((in_backticks(&prose).len(), shell.as_str()), (1, "tinqs-ci c   d\n"));
}
