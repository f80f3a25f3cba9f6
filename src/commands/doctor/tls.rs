//! Checks of `server.tls`: how long its certificate is valid, and for which names.

use jiff::Timestamp;
use tinqs_ci_net::Identity;
use tinqs_ci_reconciler::ports::check::Check;
use tinqs_ci_reconciler::text::cut;

use crate::settings::{Server, Validity, days};

const NAME: &str = "server.tls";
const RENEW: &str = "renew it, with a hook that copies the new files: see docs/how-to/tls.md";

/// Checks the certificate of the configuration.
pub fn tls_checks(server: &Server, now: Timestamp) -> Vec<Check> {
    let Some(tls) = &server.tls else { return Vec::new() };
    let names = names(&tls.identity);
    let validity = tls.validity(now);
    let problem = validity.problem(now).unwrap_or_default();
    let said = format!("the certificate for {names} {problem}");
    let mut checks = vec![match validity {
        Validity::Good(until) => {
            let left = days(until.duration_since(now));
            Check::ok(NAME, format!("the certificate for {names} is valid for {left}"))
        }
        Validity::Soon(_) => Check::warn(NAME, said, RENEW),
        Validity::From(_) => Check::fail(NAME, said, "correct the clock, or issue it again"),
        Validity::Expired(_) => Check::fail(NAME, said, RENEW),
    }];
    let others: Vec<&str> =
        server.hosts.iter().map(String::as_str).filter(|host| !tls.identity.is_for(host)).collect();
    if !others.is_empty() {
        let others = cut(&others.join(", "), 200);
        checks.push(Check::warn(
            NAME,
            format!("the certificate is for {names}, and not for {others} of `server.hosts`"),
            "issue it for all names under which the API is called",
        ));
    }
    if tls.identity.is_authority() {
        checks.push(Check::warn(
            NAME,
            "the certificate is one of an authority, which many clients refuse of a server",
            "issue it with basicConstraints=CA:FALSE: see docs/how-to/tls.md",
        ));
    }
    checks
}

fn names(identity: &Identity) -> String {
    match identity.names() {
        [] => "no name".to_owned(),
        names => cut(&names.join(", "), 200),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tinqs_ci_reconciler::ports::check::Outcome;
    use tinqs_ci_testing::certificates::{Authority, Issued};

    use super::*;
    use crate::settings::{Env, parse};

    fn checked(issued: &Issued, hosts: &str) -> Vec<Check> {
        let folder = tempfile::tempdir().expect("a folder");
        let [cert, key] = issued.write(folder.path());
        let text = format!(
            "[forge]\nurl = \"http://x\"\n[server]\nhosts = [{hosts}]\n[server.tls]\n\
             cert = \"{}\"\nkey = \"{}\"\n",
            cert.display(),
            key.display()
        );
        let loaded = parse(&text, Some(Path::new("ci.toml")), &Env::new()).expect("valid");
        tls_checks(&loaded.settings.server, Timestamp::now())
    }

    fn outcomes(checks: &[Check]) -> Vec<Outcome> {
        checks.iter().map(|check| check.outcome).collect()
    }

    #[test]
    fn the_days_that_are_left_decide() {
        let authority = Authority::new();
        for (days, outcome, said) in [
            (100, Outcome::Ok, "the certificate for ci.example.com is valid for 99 days"),
            (15, Outcome::Ok, "valid for 14 days"),
            (14, Outcome::Warn, "the certificate for ci.example.com expires in 13 days on "),
            (2, Outcome::Warn, "expires in 1 day on "),
            (-1, Outcome::Fail, "the certificate for ci.example.com expired on "),
        ] {
            let issued = authority.issue_for(&["ci.example.com"], days);
            let checks = checked(&issued, "\"ci.example.com\"");
            assert_eq!(outcomes(&checks), [outcome], "{days}: {checks:?}");
            assert!(checks[0].message.contains(said), "{checks:?}");
        }
    }

    #[test]
    fn other_names_and_a_certificate_of_an_authority_are_warnings() {
        let issued = Issued::self_signed(&["ci.example.com", "*.ci.lan"], false);
        let checks = checked(&issued, "\"ci.example.com\", \"a.ci.lan\", \"other.example.com\"");
        assert_eq!(outcomes(&checks), [Outcome::Ok, Outcome::Warn]);
        let said =
            "is for ci.example.com, *.ci.lan, and not for other.example.com of `server.hosts`";
        assert!(checks[1].message.contains(said), "{checks:?}");
        let checks = checked(&Issued::self_signed(&["ci"], true), "\"ci\"");
        assert_eq!(outcomes(&checks), [Outcome::Ok, Outcome::Warn], "{checks:?}");
        assert!(checks[1].message.contains("one of an authority"), "{checks:?}");
    }
}
