//! How a command ends when it does not end well: a code, a line, a hint.

use std::io::{ErrorKind, Write as _};
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};

use crate::commands::client;
use tinqs_ci_reconciler::text::escape;

/// Why a command ends without having done what was asked.
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

    /// It failed: exit code 1.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(1, message.into())
    }

    /// It was asked for wrongly: exit code 2.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(2, message.into())
    }

    /// There is no such thing: exit code 3.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(3, message.into())
    }

    /// Everything has been said already.
    pub fn silent(code: u8) -> Self {
        Self { code, lines: Vec::new(), hint: None }
    }

    /// What helps.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says it on standard error.
    pub fn end(self) -> ExitCode {
        let Self { code, lines, hint } = self;
        let error = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
        let calm = Style::new().bold();
        let mut to = anstream::stderr().lock();
        // Where nobody reads standard error there is nobody to tell.
        for line in lines {
            let _ = writeln!(to, "{error}error:{error:#} {}", escape(&line));
        }
        if let Some(hint) = hint {
            let _ = writeln!(to, "{calm}hint:{calm:#} {}", escape(&hint));
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
                Self::usage(message).hint("--server URL, or TINQS_CI_URL in the environment")
            }
            client::Error::Unreachable { .. } => Self::new(4, message).hint(
                "start it with `tinqs-ci serve`, or name another: --server URL or TINQS_CI_URL",
            ),
            client::Error::NotFound { kind, .. } => Self::not_found(message).hint(lister(kind)),
            client::Error::Refused { status, .. } => match status.as_u16() {
                401 | 403 => Self::failed(message)
                    .hint("set TINQS_CI_API_TOKEN to what the server has as server.api_token"),
                412 => Self::failed(message).hint("it has changed meanwhile: look again"),
                400 => Self::usage(message).hint("see `--help`"),
                _ => Self::failed(message)
                    .hint("the server's log says more; `tinqs-ci doctor` checks"),
            },
            client::Error::Garbled { .. } => {
                Self::failed(message).hint("is --server or TINQS_CI_URL that of a tinqs-ci server?")
            }
        }
    }
}

/// How a name of this kind is found.
pub(super) fn lister(kind: &str) -> String {
    let many = match kind {
        "run" | "machine" | "registration" => format!("{kind}s"),
        "class" => "classes".to_owned(),
        // A commit or a job, which the forge lists.
        _ => return "`tinqs-ci doctor` checks what the server's token can read".to_owned(),
    };
    format!("`tinqs-ci get {many} -o name` lists the {many}")
}

/// Writes to standard output. A reader that has gone (`| head`) ends the command quietly.
///
/// # Errors
/// Where it cannot be written.
pub fn out(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(Failure::silent(0)),
        Err(error) => Err(Failure::failed(format!("standard output cannot be written: {error}"))),
    }
}

/// Writes a line for people to standard error.
pub(super) fn warn(line: &str) {
    let style = Style::new().bold().fg_color(Some(AnsiColor::Yellow.into()));
    anstream::eprintln!("{style}warning:{style:#} {}", escape(line));
}
