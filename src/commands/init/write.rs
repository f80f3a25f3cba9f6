//! The files that `init` makes. None is ever overwritten.

use std::fmt::Write as _;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use tinqs_ci_reconciler::model::Secret;

use super::{Answers, TokenPlace};
use crate::commands::failure::{Failure, out};
use crate::settings::{self, Env};
use tinqs_ci_gitea::{Demand, Scope};
use tinqs_ci_reconciler::text::escape;

/// Where they go.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) config: PathBuf,
    pub(super) token: PathBuf,
    pub(super) webhook: PathBuf,
    pub(super) api: PathBuf,
}

impl Files {
    /// Beside the configuration, with its name: `tinqs-ci.token` beside `tinqs-ci.toml`.
    pub(super) fn beside(config: &Path) -> Result<Self, Failure> {
        let whole = std::path::absolute(config).map_err(|error| {
            Failure::usage(format!("--output {}: {error}", config.display())).hint("name a file")
        })?;
        let files = Self {
            config: config.to_path_buf(),
            token: whole.with_extension("token"),
            webhook: whole.with_extension("webhook-secret"),
            api: whole.with_extension("api-token"),
        };
        is_free(&files.config)?;
        is_free(&files.webhook)?;
        if let Some(folder) = whole.parent().filter(|folder| !folder.is_dir()) {
            return Err(Failure::usage(format!("{} is not a directory", folder.display()))
                .hint("make it, or name another with --output FILE"));
        }
        Ok(files)
    }

    /// Whether a token's file may be written, where one will be.
    pub(super) fn free(&self, place: &TokenPlace) -> Result<(), Failure> {
        if *place == TokenPlace::Beside { is_free(&self.token) } else { Ok(()) }
    }

    /// Writes the credentials, checks the configuration against them, writes it.
    pub(super) fn write(&self, answers: &Answers, env: &Env) -> Result<Secret, Failure> {
        let is_open = !answers.listen.ip().to_canonical().is_loopback();
        if is_open {
            is_free(&self.api)?;
        }
        let mut made = Made(Vec::new());
        if answers.token_place == TokenPlace::Beside {
            made.write(&self.token, answers.token.expose(), 0o600)?;
        }
        let secret = random()?;
        made.write(&self.webhook, &secret, 0o600)?;
        if is_open {
            made.write(&self.api, &random()?, 0o600)?;
        }
        let text = self.text(answers, is_open);
        // What is written must be what `serve` takes.
        settings::parse(&text, Some(&self.config), env)?;
        made.write(&self.config, &text, 0o644)?;
        for file in made.keep() {
            let is_config = file == self.config;
            let note = if is_config { "" } else { "  (a credential; only you may read it)" };
            out(&format!("created {}{note}\n", escape(&file.to_string_lossy())))?;
        }
        Ok(Secret::new(secret))
    }

    /// The configuration, with a comment where a newcomer asks.
    fn text(&self, answers: &Answers, is_open: bool) -> String {
        let file = |path: &Path| format!("{{ file = {} }}", quoted(&path.to_string_lossy()));
        let token = match &answers.token_place {
            TokenPlace::Variable(name) => format!("{{ env = {} }}", quoted(name)),
            TokenPlace::File(path) => file(path),
            TokenPlace::Beside => file(&self.token),
        };
        let scope = match &answers.scope {
            Scope::All => "all".to_owned(),
            Scope::User => "user".to_owned(),
            Scope::Org(name) => format!("org:{name}"),
            Scope::Repo(owner, name) => format!("repo:{owner}/{name}"),
        };
        let mut text = String::from(
            "# tinqs-ci: one machine for every waiting job, gone afterwards.\n\
             # `tinqs-ci schema config` lists every key; `tinqs-ci doctor` checks this file.\n\n\
             # Runs are kept here; machines work in machines/ below it. Relative to where serve starts.\n\
             store   = \"redb:./data\"\n\
             # Machines are child processes of this host, as the user that runs serve.\n\
             compute = \"process:\"\n\n[forge]\n",
        );
        let _ = writeln!(text, "url            = {}", quoted(&answers.url));
        let _ = writeln!(text, "token          = {token}");
        let _ =
            writeln!(text, "# all | user | org:NAME | repo:OWNER/NAME: whose jobs get machines.");
        let _ = writeln!(text, "scope          = {}", quoted(&scope));
        if answers.demand != Demand::Auto {
            let word = answers.mode.word();
            let _ = writeln!(text, "# auto | jobs | push: how it is known which jobs wait.");
            let _ = writeln!(text, "demand         = {}", quoted(word));
        }
        let _ = writeln!(text, "# The webhook at your Gitea must have the same secret.");
        let _ = writeln!(text, "webhook_secret = {}", file(&self.webhook));
        text.push_str(
            "# The job list is read this often, so that a lost webhook costs no more than this.\n\
             poll_every     = \"10s\"\n\n[server]\n",
        );
        let _ = writeln!(text, "listen    = {}", quoted(&answers.listen.to_string()));
        if is_open {
            let _ = writeln!(
                text,
                "# What TINQS_CI_API_TOKEN must be for `tinqs-ci get` and the like."
            );
            let _ = writeln!(text, "api_token = {}", file(&self.api));
        }
        let labels: Vec<String> = answers.labels.iter().map(|label| quoted(label)).collect();
        text.push_str(
            "\n# The first class whose labels contain every label of a job's runs-on serves it.\n\
             [[class]]\nname        = \"default\"\n",
        );
        if answers.labels.iter().any(|label| label == "*") {
            text.push_str("# \"*\": any labels but `host`.\n");
        }
        let _ = writeln!(text, "labels      = [{}]", labels.join(", "));
        text.push_str(
            "# Most machines at once.\nlimit       = 10\n\
             # A machine ends after this, whatever it does.\nmax_age     = \"6h\"\n\
             # A machine without a job ends after this.\nidle_within = \"2m\"\n",
        );
        text
    }
}

/// Files of this call: removed again unless all of them could be made.
struct Made(Vec<PathBuf>);

impl Made {
    fn write(&mut self, file: &Path, text: &str, mode: u32) -> Result<(), Failure> {
        let failed = |error: std::io::Error| {
            if error.kind() == ErrorKind::AlreadyExists {
                return there(file);
            }
            Failure::failed(format!("{} cannot be written: {error}", file.display()))
                .hint("name another place with --output FILE")
        };
        let mut options = std::fs::OpenOptions::new();
        let mut to = options.write(true).create_new(true).mode(mode).open(file).map_err(failed)?;
        self.0.push(file.to_path_buf());
        let newline = if text.ends_with('\n') { "" } else { "\n" };
        to.write_all(format!("{text}{newline}").as_bytes())
            .and_then(|()| to.sync_all())
            .map_err(failed)
    }

    fn keep(mut self) -> Vec<PathBuf> {
        std::mem::take(&mut self.0)
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for file in &self.0 {
            // Half a set of files would be in the way of the next try.
            let _ = std::fs::remove_file(file);
        }
    }
}

fn there(file: &Path) -> Failure {
    Failure::usage(format!("{} is there already, and is not overwritten", file.display()))
        .hint("move it away, or name another with --output FILE")
}

fn is_free(file: &Path) -> Result<(), Failure> {
    match file.symlink_metadata() {
        Ok(_) => Err(there(file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Failure::failed(format!("{}: {error}", file.display()))
            .hint("name another place with --output FILE")),
    }
}

/// As TOML writes a text.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// 32 bytes from the system's source, in hex.
fn random() -> Result<String, Failure> {
    let mut bytes = [0; 32];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .map_err(|error| Failure::failed(format!("/dev/urandom cannot be read: {error}")))?;
    Ok(hex::encode(bytes))
}
