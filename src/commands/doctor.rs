//! `doctor`: checks everything that `serve` needs, and suggests fixes.

mod asked;
mod forge;
mod forge_answers;
mod host;
mod needs;
mod neighbors;
mod outside;
mod push;
mod rights;
mod running;
mod tls;
mod trust;

use std::path::Path;

use jiff::Timestamp;
use serde::Serialize;
use tinqs_ci_reconciler::ports::check::{Check, Outcome};

use crate::backends::check_aws;
use crate::commands::live;
use crate::commands::reach::{Reach, authorities_of};
use crate::commands::unsafe_settings::{Finding, findings};
use crate::settings::{self, Env, Settings, StoreUrl};
use tinqs_ci_reconciler::text::{cut, escape};

use running::running_checks;

pub use forge::forge_checks;
pub use forge_answers::ForgeAnswers;
pub use host::{Disk, ListenerCheck, Program, compute_checks, data_check, neighbor_check};
pub use tls::tls_checks;
pub(super) use trust::fits_none;

/// The results of all checks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The checks, in the order in which they ran.
    pub checks: Vec<Check>,
    /// The number of passed checks.
    pub passed: usize,
    /// The number of warnings.
    pub warnings: usize,
    /// The number of failed checks.
    pub failed: usize,
}

impl Report {
    /// Counts the checks.
    pub fn new(checks: Vec<Check>) -> Self {
        let count = |outcome| checks.iter().filter(|check| check.outcome == outcome).count();
        let (passed, warnings, failed) =
            (count(Outcome::Ok), count(Outcome::Warn), count(Outcome::Fail));
        Self { checks, passed, warnings, failed }
    }

    /// Whether any check failed.
    pub fn failed(&self) -> bool {
        self.failed > 0
    }

    /// Formats the report: a line per check, its fix below it, and the counts.
    pub fn text(&self) -> String {
        use std::fmt::Write as _;
        let mut text = String::new();
        for Check { name, outcome, message, fix } in &self.checks {
            let mark = match outcome {
                Outcome::Ok => '✓',
                Outcome::Warn => '!',
                Outcome::Fail => '✗',
            };
            let _ = writeln!(text, "{mark} {name:23} {}", cut(message, 600));
            if let Some(fix) = fix {
                let _ = writeln!(text, "  fix: {}", escape(fix));
            }
        }
        let s = if self.warnings == 1 { "" } else { "s" };
        let Self { passed, warnings, failed, .. } = self;
        let _ = writeln!(text, "{passed} passed, {warnings} warning{s}, {failed} failed");
        text
    }
}

/// The scope of the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckScope {
    /// Only this host.
    Offline,
    /// This host, the forge and the cloud.
    All,
}

/// Runs all checks.
pub async fn examine(file: Option<&Path>, env: &Env, reach: CheckScope) -> Report {
    let loaded = match settings::load(file, env) {
        Ok(loaded) => loaded,
        Err(mistakes) => {
            let fix = mistakes.hint;
            let check = |line| Check::fail("configuration", line, fix.clone());
            return Report::new(mistakes.lines.into_iter().map(check).collect());
        }
    };
    let mut checks = vec![Check::ok("configuration", loaded.to_string())];
    for warning in &loaded.warnings {
        checks.push(Check::warn(
            "configuration",
            warning,
            "change the configuration, or ignore this warning if it is intended",
        ));
    }
    if reach == CheckScope::All {
        checks.extend(findings(&loaded).await.iter().map(safety_check));
    }
    let settings = &loaded.settings;
    checks.extend(forge::overlaps(&settings.classes));
    checks.extend(trust::contained(&settings.classes));
    checks.extend(trust::unlimited(&settings.classes));
    let in_cloud = matches!(settings.store, StoreUrl::Dynamodb(_));
    if reach == CheckScope::Offline || !in_cloud {
        checks.push(data_check(&settings.store, &host::disk(&settings.store)));
    }
    checks.extend(tls_checks(&settings.server, Timestamp::now()));
    let tls = settings.server.tls.as_ref();
    let neighbor = host::neighbor(settings.server.webhooks, tls).await;
    checks.push(neighbor_check("server.webhooks", settings.server.webhooks, &neighbor));
    let api = host::neighbor(settings.server.api, tls).await;
    checks.push(neighbor_check("server.api", settings.server.api, &api));
    // Any of its addresses tells that it runs, and which process it is.
    let addresses = [(settings.server.webhooks, &neighbor), (settings.server.api, &api)];
    let ours = addresses.iter().find(|(_, seen)| seen.is_ours());
    let port = ours.map(|(address, _)| address.port());
    let is_running = port.is_some();
    let own = env.get("PATH").map(String::as_str).unwrap_or_default();
    let path = needs::machine_path(own, port);
    checks.extend(compute_checks(&settings.compute, &host::programs(&path.value).await));
    let found = needs::found(&path.value);
    checks.extend(needs::needs_checks(&settings.compute, &settings.classes, &path, &found));
    checks.extend(needs::user_check(settings));
    checks.extend(needs::image_needs(settings));
    let mut answers = None;
    if reach == CheckScope::All {
        checks.extend(check_aws(settings).await);
        let asked = ForgeAnswers::gather(&settings.forge, &settings.classes).await;
        checks.extend(forge_checks(settings, &asked));
        answers = Some(asked);
    }
    let hooks = answers.as_ref().and_then(|answers| answers.hooks.as_ref().ok());
    if let Some(hook) = hooks.and_then(|hooks| forge_answers::ours(settings, hooks)) {
        let trust = authorities_of(env).ok().flatten().unwrap_or_default();
        checks.extend(outside::outside_checks(&hook.url, &trust).await);
    }
    checks.extend(ask_server(settings, file, env, is_running, answers.as_ref()).await);
    Report::new(checks)
}

/// Returns a warning about a setting that `serve` refuses: an argument may allow it.
fn safety_check(finding: &Finding) -> Check {
    let Finding { allowed_by, message, fix } = finding;
    let fix = match allowed_by {
        Some(flag) => format!("{fix}; or start with `serve {flag}`"),
        None => fix.clone(),
    };
    Check::warn("security", message, fix)
}

/// Asks the running server, at `TINQS_CI_URL` or where the configuration lets it listen.
async fn ask_server(
    settings: &Settings,
    file: Option<&Path>,
    env: &Env,
    is_running: bool,
    answers: Option<&ForgeAnswers>,
) -> Vec<Check> {
    let is_named = env.get("TINQS_CI_URL").is_some_and(|url| !url.is_empty());
    if !is_named && !is_running {
        return Vec::new();
    }
    // The configuration has been read before.
    let Ok(reach) = Reach::of(file, env) else { return Vec::new() };
    match live::ask(&reach).await {
        Ok(live) => running_checks(settings, &live, answers, Timestamp::now()),
        Err(why) => {
            vec![Check::warn("server", why, "check TINQS_CI_URL, and that the server runs")]
        }
    }
}

#[cfg(test)]
#[allow(clippy::needless_raw_string_hashes, reason = "expect-test writes snapshots so")]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn a_report_lists_checks_with_fixes_and_counts() {
        let report = Report::new(vec![
            Check::ok("configuration", "ci.toml, 2 classes"),
            Check::warn("labels", "3 jobs ask for [\u{202e}arm]", "add a class"),
            Check::fail("forge", "connection refused", "is it up?"),
        ]);
        assert!(report.failed());
        expect![[r#"
            ✓ configuration           ci.toml, 2 classes
            ! labels                  3 jobs ask for [\u{202e}arm]
              fix: add a class
            ✗ forge                   connection refused
              fix: is it up?
            1 passed, 1 warning, 1 failed
        "#]]
        .assert_eq(&report.text());
        let json = serde_json::to_value(&report).expect("JSON");
        assert_eq!(json["checks"][1]["status"], "warn");
        assert_eq!((&json["passed"], &json["failed"]), (&1.into(), &1.into()));
    }
}
