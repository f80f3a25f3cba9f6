//! File and environment become [`Settings`], or a list of every mistake in them.
//!
//! The environment comes in as a map; `main` alone reads it. Relative paths, of data directories
//! and of credentials, are relative to the working directory.

use std::cell::RefCell;
use std::fmt;
use std::path::{Path, PathBuf};

use tinqs_ci_reconciler::text::escape;

use super::check;
use super::keys::TOP;
use super::mistake::{Mistakes, hint};
use super::reader::{Findings, Reader};
use super::tree::{self, Env, Table};
use super::types::Settings;

/// The file that is read where none is named.
pub const DEFAULT_FILE: &str = "./tinqs-ci.toml";

/// The variable that names the file.
pub const FILE_VARIABLE: &str = "TINQS_CI_CONFIG";

/// A configuration that may be used.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What it says.
    pub settings: Settings,
    /// The file it was read from; `None`: the environment said all.
    pub file: Option<PathBuf>,
    /// What is allowed and probably not meant, a line each.
    pub warnings: Vec<String>,
}

/// Reads the configuration: the file named, else by `TINQS_CI_CONFIG`, else `./tinqs-ci.toml` if
/// it is there; over it the environment.
///
/// # Errors
/// Every mistake at once.
pub fn load(named: Option<&Path>, env: &Env) -> Result<Loaded, Mistakes> {
    let variable = env.get(FILE_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
    let wanted = named.map(Path::to_path_buf).or(variable);
    let file = wanted.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
    match std::fs::read_to_string(&file) {
        Ok(text) => parse(&text, Some(&file), env),
        Err(error) if wanted.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
            parse("", None, env)
        }
        Err(error) => {
            let shown = escape(&file.to_string_lossy());
            Err(Mistakes {
                lines: vec![format!("{shown}: the configuration cannot be read: {error}")],
                hint: "`tinqs-ci init` writes one; `--config FILE` names another".to_owned(),
            })
        }
    }
}

/// The same from a text; `file` is what messages call it.
///
/// # Errors
/// Every mistake at once.
pub fn parse(text: &str, file: Option<&Path>, env: &Env) -> Result<Loaded, Mistakes> {
    let mut tree = match tree::parse(text) {
        Ok(tree) => tree,
        Err(errors) => {
            let name = file.map(|file| escape(&file.to_string_lossy())).unwrap_or_default();
            let say = |e: &tree::SyntaxError| format!("{name}:{}: not TOML: {}", e.line, e.message);
            return Err(Mistakes { lines: errors.iter().map(say).collect(), hint: hint(file) });
        }
    };
    tree::overlay(&mut tree, env);
    seed(&mut tree, file.is_some(), env);
    if file.is_none() && !has_url(&tree) {
        return Err(Mistakes {
            lines: vec![format!(
                "there is no configuration: {DEFAULT_FILE} is not there, and neither \
                 TINQS_CI_FORGE__URL nor GITEA_URL is set"
            )],
            hint: "`tinqs-ci init` writes one; `--config FILE` names another; `tinqs-ci demo` needs none"
                .to_owned(),
        });
    }
    let found = Findings { env, mistakes: RefCell::default(), warnings: RefCell::default() };
    let settings =
        check::settings(&Reader::new(TOP, String::new(), None, Some(&tree), &found), file);
    let mut mistakes = found.mistakes.into_inner();
    // By place, so that a reader goes through his file once.
    mistakes.sort_by(|a, b| a.at.cmp(&b.at));
    if !mistakes.is_empty() {
        let lines = mistakes.iter().map(|mistake| mistake.line(file)).collect();
        return Err(Mistakes { lines, hint: hint(file) });
    }
    let warnings = found.warnings.into_inner().iter().map(|warning| warning.line(file)).collect();
    Ok(Loaded { settings, file: file.map(Path::to_path_buf), warnings })
}

fn has_url(tree: &Table) -> bool {
    match tree.get("forge").map(|(_, node)| &node.value) {
        Some(tree::Value::Table(forge)) => forge.contains_key("url"),
        _ => false,
    }
}

/// The variables of the predecessor. Those of the forge fill in what nothing else says; those of
/// the cloud make a configuration only where there is no file.
fn seed(tree: &mut Table, has_file: bool, env: &Env) {
    let forge = [
        ("url", "GITEA_URL"),
        ("token", "GITEA_TOKEN"),
        ("runner_token", "RUNNER_TOKEN"),
        ("webhook_secret", "WEBHOOK_SECRET"),
        ("git_token", "RUNNER_GIT_TOKEN"),
    ];
    let value = |variable: &str| env.get(variable).cloned().unwrap_or_default();
    for (key, variable) in forge {
        tree::fill(tree, &["forge", key], env, variable, &value(variable));
    }
    if !has_file {
        let table = format!("dynamodb:{}", value("DDB_TABLE"));
        tree::fill(tree, &["store"], env, "DDB_TABLE", &table);
        let region = [value("AWS_REGION"), value("AWS_DEFAULT_REGION")];
        let region = region.into_iter().find(|region| !region.is_empty()).unwrap_or_default();
        let region = format!("ec2:{region}");
        tree::fill(tree, &["compute"], env, "RUNNER_AMI", &region);
    }
}

impl fmt::Display for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { settings, file, warnings } = self;
        let classes = settings.classes.len();
        let s = if classes == 1 { "" } else { "es" };
        match file {
            Some(file) => write!(f, "{}", escape(&file.to_string_lossy()))?,
            None => f.write_str("from the environment")?,
        }
        write!(f, ", {classes} class{s}")?;
        match warnings.len() {
            0 => Ok(()),
            1 => f.write_str(", 1 warning"),
            n => write!(f, ", {n} warnings"),
        }
    }
}
