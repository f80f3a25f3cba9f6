//! Writes the files of `init`. Never overwrites a file.

use std::fmt::Write as _;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use tinqs_ci_reconciler::model::Secret;

use super::token::TokenPlace;
use super::{Answers, scope_text};
use crate::commands::failure::{Failure, out};
use crate::settings::{self, Env};
use tinqs_ci_gitea::Demand;
use tinqs_ci_reconciler::text::escape;

/// The paths of the files.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) config: PathBuf,
    pub(super) token: PathBuf,
    pub(super) webhook: PathBuf,
}

/// The secret of webhooks.
#[derive(Debug)]
pub(super) enum WebhookSecret {
    /// No webhook has it yet.
    Made(Secret),
    /// From the file of an earlier `init`.
    Kept(Secret),
}

impl Files {
    /// Returns paths beside the configuration, such as `tinqs-ci.token` for `tinqs-ci.toml`.
    pub(super) fn beside(config: &Path) -> Result<Self, Failure> {
        let whole = std::path::absolute(config).map_err(|error| {
            Failure::usage(format!("--output {}: {error}", config.display()))
                .hint("set --output to a file")
        })?;
        let files = Self {
            config: config.to_path_buf(),
            token: whole.with_extension("token"),
            webhook: whole.with_extension("webhook-secret"),
        };
        if let Some(folder) = whole.parent().filter(|folder| !folder.is_dir()) {
            return Err(Failure::usage(format!("{} is not a directory", folder.display()))
                .hint("create it, or name another file with --output"));
        }
        Ok(files)
    }

    /// Writes the credentials that do not exist, checks the configuration, and writes it. Returns
    /// the webhook secret.
    pub(super) fn write(&self, answers: &Answers, env: &Env) -> Result<WebhookSecret, Failure> {
        let mut made = Made::default();
        if answers.token_place == TokenPlace::Beside {
            let elsewhere = "name a file with --token-file";
            made.given(&self.token, &answers.token, "token", elsewhere)?;
        }
        let is_kept = self.webhook.exists();
        let secret = Secret::new(made.credential(&self.webhook, random)?);
        let text = self.text(answers);
        // `serve` must accept what is written.
        settings::parse(&text, Some(&self.config), env)?;
        made.write(&self.config, &text, 0o644)?;
        made.finish(Some(&self.config))?;
        Ok(if is_kept { WebhookSecret::Kept(secret) } else { WebhookSecret::Made(secret) })
    }

    /// Returns the configuration with explanatory comments.
    fn text(&self, answers: &Answers) -> String {
        let file = |path: &Path| format!("{{ file = {} }}", quoted(&path.to_string_lossy()));
        let token = match &answers.token_place {
            TokenPlace::Variable(name) => format!("{{ env = {} }}", quoted(name)),
            TokenPlace::File(path) => file(path),
            TokenPlace::Beside => file(&self.token),
        };
        let scope = scope_text(&answers.scope);
        let mut text = String::from(
            "# tinqs-ci: runs each waiting job on its own ephemeral machine.\n\
             # `tinqs-ci schema config` lists every key; `tinqs-ci doctor` checks this file.\n\n\
             # The directory for runs, and for machines in machines/ below it; relative to the\n\
             # working directory of serve.\n\
             store   = \"redb:./data\"\n\
             # Machines are child processes on this host.\n\
             compute = \"process:\"\n\n\
             [process]\n\
             # \"self\": jobs run as the user that runs serve, and can read what it can read. Serve only\n\
             # repositories whose authors you trust, or name a user for jobs here; see docs/security.md.\n\
             user = \"self\"\n\n[forge]\n",
        );
        let _ = writeln!(text, "url            = {}", quoted(&answers.url));
        let _ = writeln!(text, "token          = {token}");
        let _ = writeln!(text, "# The jobs to serve: all | user | org:NAME | repo:OWNER/NAME.");
        let _ = writeln!(text, "scope          = {}", quoted(&scope));
        if answers.demand != Demand::Auto {
            let word = answers.mode.word();
            let _ = writeln!(text, "# The source of waiting jobs: auto | jobs | push.");
            let _ = writeln!(text, "demand         = {}", quoted(word));
        }
        let _ = writeln!(text, "# The webhook in Gitea must have the same secret.");
        let _ = writeln!(text, "webhook_secret = {}", file(&self.webhook));
        text.push_str(
            "# How often the job list is read; the longest delay after a lost webhook.\n\
             poll_every     = \"10s\"\n\n[server]\n",
        );
        let _ = writeln!(text, "# Takes the webhooks of Gitea, and nothing else.");
        let _ = writeln!(text, "webhooks = {}", quoted(&answers.listen.to_string()));
        let _ = writeln!(
            text,
            "# Commands such as `tinqs-ci get` ask here; serve creates their token."
        );
        let _ = writeln!(text, "# api    = \"127.0.0.1:8081\"");
        text.push_str(&class(answers));
        text
    }
}

/// Returns the table of the class.
fn class(answers: &Answers) -> String {
    let mut text = String::from(
        "\n# The first class whose labels contain every label of a job's runs-on serves it.\n\
         [[class]]\nname        = \"default\"\n",
    );
    if answers.labels.iter().any(|label| label == "*") {
        text.push_str("# \"*\": any labels except `host`.\n");
    }
    let _ = writeln!(text, "labels      = [{}]", list(&answers.labels));
    if answers.repos.is_empty() {
        text.push_str(
            "# Only jobs of these repositories, such as [\"acme/site\", \"acme/infra-*\"]; without it, of all.\n\
             # repos     = []\n",
        );
    } else {
        text.push_str("# Only jobs of these repositories; without it, of all.\n");
        let _ = writeln!(text, "repos       = [{}]", list(&answers.repos));
    }
    text.push_str("# The maximum number of machines: the number of this host's cores.\n");
    let _ = writeln!(text, "limit       = {}", answers.limit);
    text.push_str(
        "# The maximum age of a machine, even mid-job.\nmax_age     = \"6h\"\n\
         # How long a machine waits for a job before it shuts down.\nidle_within = \"2m\"\n",
    );
    text
}

/// Returns the items of a list of strings in TOML.
fn list(texts: &[String]) -> String {
    texts.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", ")
}

/// The files written by this call, which are removed unless it succeeds, and those kept.
#[derive(Default)]
pub(super) struct Made {
    written: Vec<PathBuf>,
    kept: Vec<PathBuf>,
}

impl Made {
    /// Returns the credential in the file; writes it if the file does not exist.
    pub(super) fn credential(
        &mut self,
        file: &Path,
        value: impl FnOnce() -> Result<String, Failure>,
    ) -> Result<String, Failure> {
        match std::fs::read_to_string(file) {
            Ok(text) => {
                self.kept.push(file.to_path_buf());
                Ok(text.trim().to_owned())
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let value = value()?;
                self.write(file, &value, 0o600)?;
                Ok(value)
            }
            Err(error) => {
                let shown = escape(&file.to_string_lossy());
                Err(Failure::usage(format!("cannot read {shown}: {error}"))
                    .hint("make it readable, or move it"))
            }
        }
    }

    /// Writes the credential if the file does not exist. `what` it is, and what to do `elsewhere` if
    /// the file has another one, are for the error.
    pub(super) fn given(
        &mut self,
        file: &Path,
        secret: &Secret,
        what: &str,
        elsewhere: &str,
    ) -> Result<(), Failure> {
        let text = secret.expose();
        if self.credential(file, || Ok(text.to_owned()))? == text {
            return Ok(());
        }
        let shown = escape(&file.to_string_lossy());
        Err(Failure::usage(format!("{shown} already exists with another {what}"))
            .hint(format!("move it, or {elsewhere}; nothing was written")))
    }

    /// Says at the end that this file was kept.
    pub(super) fn keep(&mut self, file: &Path) {
        self.kept.push(file.to_path_buf());
    }

    /// Writes a file that does not exist.
    pub(super) fn write(&mut self, file: &Path, text: &str, mode: u32) -> Result<(), Failure> {
        let failed = |error: std::io::Error| {
            Failure::failed(format!("cannot write {}: {error}", escape(&file.to_string_lossy())))
                .hint("name another file with --output")
        };
        let mut options = std::fs::OpenOptions::new();
        let mut to = options.write(true).create_new(true).mode(mode).open(file).map_err(failed)?;
        self.written.push(file.to_path_buf());
        let newline = if text.ends_with('\n') { "" } else { "\n" };
        to.write_all(format!("{text}{newline}").as_bytes())
            .and_then(|()| to.sync_all())
            .map_err(failed)
    }

    /// Keeps the written files, and says what was kept and created.
    pub(super) fn finish(mut self, config: Option<&Path>) -> Result<(), Failure> {
        for file in std::mem::take(&mut self.kept) {
            out(&format!("kept {}\n", escape(&file.to_string_lossy())))?;
        }
        for file in std::mem::take(&mut self.written) {
            let is_config = Some(file.as_path()) == config;
            let note = if is_config { "" } else { "  (a credential, readable only by you)" };
            out(&format!("created {}{note}\n", escape(&file.to_string_lossy())))?;
        }
        Ok(())
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for file in &self.written {
            // An incomplete set of files would be kept by the next try.
            let _ = std::fs::remove_file(file);
        }
    }
}

/// Quotes a string for TOML.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// Returns 32 random bytes in hex.
pub(super) fn random() -> Result<String, Failure> {
    let mut bytes = [0; 32];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .map_err(|error| Failure::failed(format!("cannot read /dev/urandom: {error}")))?;
    Ok(hex::encode(bytes))
}
