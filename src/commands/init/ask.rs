//! Asks questions on a terminal; without one, uses defaults.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use crate::commands::failure::Failure;

/// Asks questions if there is a terminal.
#[derive(Debug)]
pub(super) struct Prompter {
    can_ask: bool,
}

impl Prompter {
    /// Creates an asker; a `quiet` one never asks.
    pub(super) fn new(quiet: bool) -> Self {
        let terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        Self { can_ask: terminal && !quiet }
    }

    pub(super) fn can_ask(&self) -> bool {
        self.can_ask
    }

    /// Asks a question. Returns the default for an empty answer or without a terminal.
    pub(super) fn ask(&mut self, question: &str, default: Option<&str>) -> Result<String, Failure> {
        if !self.can_ask {
            return default.map(str::to_owned).ok_or_else(|| {
                Failure::usage(format!("{question}: not set")).hint("see `tinqs-ci init --help`")
            });
        }
        loop {
            let shown = default.map(|default| format!(" [{default}]")).unwrap_or_default();
            eprint!("{question}{shown}: ");
            let answer = line()?;
            match (answer.as_str(), default) {
                ("", Some(default)) => return Ok(default.to_owned()),
                ("", None) => {}
                (answer, _) => return Ok(answer.to_owned()),
            }
        }
    }

    /// Asks a question that has a default.
    pub(super) fn ask_or(&mut self, question: &str, default: &str) -> Result<String, Failure> {
        self.ask(question, Some(default))
    }

    /// Parses the given text, or asks until an answer parses. Without a terminal, a text that does
    /// not parse is an error.
    pub(super) fn until<T>(
        &mut self,
        mut given: Option<String>,
        question: &str,
        default: Option<&str>,
        parse: impl Fn(&str) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        loop {
            let text = match given.take() {
                Some(text) => text,
                None => self.ask(question, default)?,
            };
            match parse(&text) {
                Err(problem) if self.can_ask => {
                    problem.end();
                }
                parsed => return parsed,
            }
        }
    }

    /// Asks without showing what is typed.
    pub(super) fn ask_hidden(&mut self, question: &str) -> Result<String, Failure> {
        if !self.can_ask {
            return Ok(String::new());
        }
        let stdin = std::io::stdin();
        let before = tcgetattr(&stdin).ok();
        if let Some(before) = &before {
            let mut hidden = before.clone();
            hidden.local_modes.remove(LocalModes::ECHO);
            // If echo cannot be disabled, the input is visible.
            let _ = tcsetattr(&stdin, OptionalActions::Flush, &hidden);
        }
        // Only now: what was typed before is discarded.
        eprint!("{question}: ");
        let answer = line();
        if let Some(before) = &before {
            let _ = tcsetattr(&stdin, OptionalActions::Drain, before);
        }
        eprintln!();
        answer
    }

    /// Asks a yes-or-no question. Returns `None` without a terminal.
    pub(super) fn yes_or_no(&mut self, question: &str) -> Option<bool> {
        if !self.can_ask {
            return None;
        }
        let answer = self.ask_or(&format!("{question} (y/n)"), "n").ok()?;
        Some(answer.to_lowercase().starts_with('y'))
    }
}

fn line() -> Result<String, Failure> {
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    match std::io::stdin().lock().read_line(&mut answer) {
        Ok(0) => Err(Failure::usage("the input ended before all questions were answered")
            .hint("nothing was written; start again, or use flags")),
        Ok(_) => Ok(answer.trim().to_owned()),
        Err(error) => Err(Failure::failed(format!("cannot read the answer: {error}"))),
    }
}
