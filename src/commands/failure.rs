//! The failure of a command: an exit code, a message and a hint.

use std::io::{ErrorKind, Write as _};
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};

use tinqs_ci_net::Distrust;

use crate::commands::client;
use tinqs_ci_reconciler::text::escape;

/// The failure of a command.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    lines: Vec<String>,
    hint: Option<String>,
}

impl Failure {
    fn new(code: u8, message: String) -> Self {
        Self { code, lines: vec![message], hint: None }
    }

    /// Creates a failure of the operation: exit code 1.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(1, message.into())
    }

    /// Creates a usage or configuration error: exit code 2.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(2, message.into())
    }

    /// Creates an error for a missing object: exit code 3.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(3, message.into())
    }

    /// Creates a failure without a message, because the output already shows it.
    pub fn silent(code: u8) -> Self {
        Self { code, lines: Vec::new(), hint: None }
    }

    /// Adds a hint that says what to do.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Writes the failure to the log. What is left is its exit code.
    pub(super) fn logged(self) -> Self {
        for error in &self.lines {
            tracing::error!(error, hint = self.hint, "ended with a failure");
        }
        Self::silent(self.code)
    }

    /// Prints the failure to standard error and returns its exit code.
    pub fn end(self) -> ExitCode {
        let Self { code, lines, hint } = self;
        let error = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
        let bold = Style::new().bold();
        let mut to = anstream::stderr().lock();
        // If standard error cannot be written, there is nowhere to report that.
        for line in lines {
            let _ = writeln!(to, "{error}error:{error:#} {}", escape(&line));
        }
        if let Some(hint) = hint {
            let _ = writeln!(to, "{bold}hint:{bold:#} {}", escape(&hint));
        }
        ExitCode::from(code)
    }
}

impl From<crate::settings::Mistakes> for Failure {
    fn from(mistakes: crate::settings::Mistakes) -> Self {
        Self { code: 2, lines: mistakes.lines, hint: Some(mistakes.hint) }
    }
}

impl From<client::Error> for Failure {
    fn from(error: client::Error) -> Self {
        let message = error.to_string();
        match error {
            client::Error::Address { .. } => {
                Self::usage(message).hint("set --server or TINQS_CI_URL to the server's address")
            }
            client::Error::Unreachable { .. } => Self::new(4, message).hint(
                "start it with `tinqs-ci serve`, or name another with --server or TINQS_CI_URL",
            ),
            client::Error::Distrusted { why, .. } => Self::new(4, message).hint(believable(&why)),
            client::Error::NotFound { kind, .. } => Self::not_found(message).hint(lister(kind)),
            client::Error::Refused { status, .. } => match status.as_u16() {
                401 | 403 => Self::failed(message).hint(
                    "give a token of the server's `server.token` with --token-file or \
                     TINQS_CI_API_TOKEN",
                ),
                412 => Self::failed(message).hint("it changed meanwhile: read it again"),
                400 => Self::usage(message).hint("see `--help`"),
                _ => Self::failed(message)
                    .hint("see the server's log, or run `tinqs-ci doctor` on its host"),
            },
            client::Error::Garbled { .. } => Self::failed(message)
                .hint("check that --server or TINQS_CI_URL names a tinqs-ci server"),
        }
    }
}

/// Returns what makes a server believable.
fn believable(why: &Distrust) -> &'static str {
    match why {
        Distrust::UnknownAuthority => {
            "name the file of its authority's certificate with --ca-file or TINQS_CI_CA_FILE"
        }
        Distrust::OtherName(_) => "use one of these names in --server or TINQS_CI_URL",
        Distrust::OtherCertificate => {
            "another program may use the address; else see the server's log, which says why it \
             cannot use the file"
        }
        Distrust::OtherTime => "renew it on the server's host, and check the clock of this one",
        Distrust::OfAuthority => {
            "issue it with basicConstraints=CA:FALSE, or by an authority: see docs/how-to/tls.md"
        }
        Distrust::NoTls => {
            "use http:// in --server or TINQS_CI_URL; a server that has `server.tls` since its \
             start must be restarted"
        }
    }
}

/// Returns the hint how to find names of this kind.
pub(super) fn lister(kind: &str) -> String {
    let many = match kind {
        "run" | "machine" | "registration" => format!("{kind}s"),
        "class" => "classes".to_owned(),
        // Commits and jobs are listed by the forge.
        _ => return "`tinqs-ci doctor` checks what the server's token can read".to_owned(),
    };
    format!("`tinqs-ci get {many} -o name` lists the {many}")
}

/// Writes to standard output. A closed pipe (`| head`) ends the command silently.
///
/// # Errors
/// Standard output cannot be written.
pub fn out(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(Failure::silent(0)),
        Err(error) => Err(Failure::failed(format!("cannot write to standard output: {error}"))),
    }
}

/// Prints to standard error what follows from a command, or what it does not do.
pub(super) fn note(line: &str) {
    let style = Style::new().bold();
    anstream::eprintln!("{style}note:{style:#} {}", escape(line));
}

/// Prints a warning to standard error.
pub(super) fn warn(line: &str) {
    let style = Style::new().bold().fg_color(Some(AnsiColor::Yellow.into()));
    anstream::eprintln!("{style}warning:{style:#} {}", escape(line));
}
