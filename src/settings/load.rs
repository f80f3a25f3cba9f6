//! Loads [`Settings`] from the file and the environment, or lists every mistake in them.
//!
//! Only `main` reads the environment; here it is a map. Relative paths (data directories,
//! credentials) are relative to the working directory.

use std::fmt;
use std::path::{Path, PathBuf};

use tinqs_ci_reconciler::text::escape;

use super::check;
use super::keys::TOP;
use super::mistake::{Mistakes, hint};
use super::reader::{Findings, Reader};
use super::secret_sources::SecretSources;
use super::show::{self, Setting};
use super::tree::{self, Env, Table};
use super::types::Settings;

/// The configuration file that is read by default.
pub const DEFAULT_FILE: &str = "./tinqs-ci.toml";

/// The environment variable that names the configuration file.
pub const FILE_VARIABLE: &str = "TINQS_CI_CONFIG";

/// A valid configuration.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// The file it was read from; `None` if everything came from the environment.
    pub file: Option<PathBuf>,
    /// Values that are allowed but probably unintended, one per line.
    pub warnings: Vec<String>,
    /// The sources of those credentials of the settings that can be read again.
    pub secret_sources: SecretSources,
}

/// The source of the configuration, which can be read again.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// The file that the command line names.
    pub named: Option<PathBuf>,
    /// The environment of this process, which cannot change.
    pub env: Env,
}

impl Source {
    /// Reads the configuration, as [`load`].
    ///
    /// # Errors
    /// Lists every mistake, or says why the file cannot be read.
    pub fn load(&self) -> Result<Loaded, Mistakes> {
        load(self.named.as_deref(), &self.env)
    }
}

/// Reads the configuration from the `named` file, else the file in `TINQS_CI_CONFIG`, else
/// `./tinqs-ci.toml` if it exists. Environment variables override the file.
///
/// # Errors
/// Lists every mistake, or says why the file cannot be read.
pub fn load(named: Option<&Path>, env: &Env) -> Result<Loaded, Mistakes> {
    let (text, file) = read(named, env)?;
    parse(&text, file.as_deref(), env)
}

/// Returns every value of the configuration with its origin; reads it like [`load`].
///
/// # Errors
/// As [`load`].
pub fn show(named: Option<&Path>, env: &Env) -> Result<Vec<Setting>, Mistakes> {
    let (text, file) = read(named, env)?;
    parse(&text, file.as_deref(), env)?;
    Ok(show::list(&merged(&text, file.as_deref(), env)?, file.as_deref()))
}

/// Reads the file; without one, returns an empty text.
pub(super) fn read(named: Option<&Path>, env: &Env) -> Result<(String, Option<PathBuf>), Mistakes> {
    let variable = env.get(FILE_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
    let requested = named.map(Path::to_path_buf).or(variable);
    let file = requested.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
    match std::fs::read_to_string(&file) {
        Ok(text) => Ok((text, Some(file))),
        Err(error) if requested.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
            Ok((String::new(), None))
        }
        Err(error) => {
            let shown = escape(&file.to_string_lossy());
            Err(Mistakes {
                lines: vec![format!("{shown}: cannot read the configuration: {error}")],
                hint: "create one with `tinqs-ci init`, or name another with `--config FILE`"
                    .to_owned(),
            })
        }
    }
}

/// Merges the file's text and the environment.
fn merged(text: &str, file: Option<&Path>, env: &Env) -> Result<Table, Mistakes> {
    let tree = merged_leniently(text, file, env)?;
    if file.is_none() && !has_url(&tree) {
        return Err(Mistakes {
            lines: vec![format!(
                "no configuration: {DEFAULT_FILE} does not exist, and neither \
                 TINQS_CI_FORGE__URL nor GITEA_URL is set"
            )],
            hint: "create one with `tinqs-ci init`, or name one with `--config FILE`; \
                   `tinqs-ci demo` needs none"
                .to_owned(),
        });
    }
    Ok(tree)
}

/// Merges them although nothing may be configured.
pub(super) fn merged_leniently(
    text: &str,
    file: Option<&Path>,
    env: &Env,
) -> Result<Table, Mistakes> {
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
    Ok(tree)
}

/// Reads the configuration from `text`; messages name it `file`.
///
/// # Errors
/// Lists every mistake.
pub fn parse(text: &str, file: Option<&Path>, env: &Env) -> Result<Loaded, Mistakes> {
    let tree = merged(text, file, env)?;
    let found = Findings::new(env, &tree);
    let settings =
        check::settings(&Reader::new(TOP, String::new(), None, Some(&tree), &found), file);
    let mut mistakes = found.mistakes.into_inner();
    // In the order of the file.
    mistakes.sort_by(|a, b| a.at.cmp(&b.at));
    if !mistakes.is_empty() {
        let lines = mistakes.iter().map(|mistake| mistake.line(file)).collect();
        return Err(Mistakes { lines, hint: hint(file) });
    }
    let warnings = found.warnings.into_inner().iter().map(|warning| warning.line(file)).collect();
    let secret_sources = found.secret_sources.into_inner();
    Ok(Loaded { settings, file: file.map(Path::to_path_buf), warnings, secret_sources })
}

fn has_url(tree: &Table) -> bool {
    match tree.get("forge").map(|(_, node)| &node.value) {
        Some(tree::Value::Table(forge)) => forge.contains_key("url"),
        _ => false,
    }
}

/// Fills in the predecessor's variables: those of the forge where nothing else sets the key, those
/// of the cloud only if there is no file.
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
        let Self { settings, file, warnings, secret_sources: _ } = self;
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
