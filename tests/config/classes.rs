//! The jobs that a class serves, and the number of machines it may have.

use jiff::SignedDuration;

use tinqs_ci_reconciler::model::{RerunJobs, RerunPolicy};

use crate::{MINIMAL, good, parse, with};

const TOKEN: [(&str, &str); 1] = [("HOME_TOKEN", "long-token")];

#[test]
fn a_class_has_a_limit_unless_it_says_none() {
    let limit = |class: &str| good(&with(class), &TOKEN).settings.classes[0].limit;
    assert_eq!(good(MINIMAL, &[]).settings.classes[0].limit, Some(20), "without a class");
    let class = "[[class]]\nname = \"a\"\nlabels = [\"a\"]\n";
    assert_eq!(limit(class), Some(20));
    assert_eq!(limit(&format!("{class}limit = 3")), Some(3));
    assert_eq!(limit(&format!("{class}limit = \"none\"")), None);
    let mistakes =
        parse(&with(&format!("{class}limit = \"many\"")), &TOKEN).expect_err("no number");
    let said = mistakes.to_string();
    assert!(said.contains("limit: expected a whole number from 1, or \"none\""), "{said}");
}

#[test]
fn patterns_of_repositories_are_checked() {
    let class = "[[class]]\nname = \"a\"\nlabels = [\"a\"]\n";
    let good = good(&with(&format!("{class}repos = [\"acme/site\", \"acme/infra-*\"]")), &TOKEN);
    assert_eq!(good.settings.classes[0].repos, ["acme/site", "acme/infra-*"]);
    for (repos, why) in [
        ("[]", "is empty"),
        ("[\"acme\"]", "names no repository"),
        ("[\"acme/\"]", "lacks the owner or the name"),
        ("[\"a/b/c\"]", "more than one `/`"),
        ("[\"acme/[ab]\"]", "no repository's name contains"),
        ("[\"acme/site\", \"Acme/Site\"]", "is listed twice"),
        ("\"acme/site\"", "expected a list of repositories"),
    ] {
        let mistakes = parse(&with(&format!("{class}repos = {repos}")), &TOKEN).expect_err(repos);
        assert!(mistakes.to_string().contains(why), "{repos}: {mistakes}");
    }
}

#[test]
fn a_class_for_some_repositories_does_not_hide_one_for_others() {
    let class = |name: &str, rest: &str| {
        format!("[[class]]\nname = \"{name}\"\nlabels = [\"linux\"]\n{rest}\n")
    };
    let hidden = |first: &str, second: &str| {
        let text = with(&[class("first", first), class("second", second)].concat());
        good(&text, &TOKEN).warnings.iter().any(|warning| warning.contains("never match a job"))
    };
    let (site, shop) = ("repos = [\"acme/site\"]", "repos = [\"acme/shop\"]");
    assert!(hidden("", "") && hidden("", site) && hidden(site, site));
    assert!(!hidden(site, "") && !hidden(site, shop));
}

#[test]
fn limits_that_others_make_useless_cause_warnings() {
    let warned = |limits: &str| {
        let text = with(&format!("[[class]]\nname = \"a\"\nlabels = [\"a\"]\n{limits}"));
        let warnings = good(&text, &TOKEN).warnings;
        warnings.into_iter().filter(|warning| warning.contains("has no effect")).count()
    };
    assert_eq!(warned("limit = 5\nrepo_limit = 6"), 1);
    assert_eq!(warned("repo_limit = 21"), 1, "the default of the limit");
    assert_eq!(warned("limit = \"none\"\nrepo_limit = 21"), 0);
    assert_eq!(warned("limit = 9\nrepo_limit = 4\nowner_limit = 3"), 1);
    assert_eq!(warned("limit = 9\nowner_limit = 10"), 1);
    assert_eq!(warned("limit = 9\nrepo_limit = 4\nowner_limit = 5"), 0);
}

#[test]
fn a_class_may_name_the_runner_that_its_machines_fetch() {
    let class = "[[class]]\nname = \"a\"\nlabels = [\"a\"]\n";
    assert_eq!(good(&with(class), &TOKEN).settings.classes[0].machines[0].runner, None);
    let hash = "0a".repeat(32);
    let download = |url: &str, sha256: &str| {
        let text = format!(
            "{class}[class.machines]\nkinds = [\"x\", \"y\"]\n[class.runner.download]\n\
             url = \"{url}\"\nsha256 = \"{sha256}\""
        );
        parse(&with(&text), &TOKEN).map(|loaded| loaded.settings.classes[0].machines.clone())
    };
    let url = "https://example.com/gitea-runner-1.0.8-linux-amd64";
    let machines = download(url, &hash).expect("a download");
    assert_eq!(machines.len(), 2);
    for machine in machines {
        let setup = machine.runner.expect("a runner");
        let named = setup.download.expect("a download");
        assert_eq!((named.url.as_str(), &named.sha256), (url, &hash));
    }
    for (url, sha256, why) in [
        ("https://x/runner.xz", hash.as_str(), "runner.download.url: \"https://x/runner.xz\" is"),
        ("https://u:p@x/runner", hash.as_str(), "expected an address such as"),
        ("ftp://x/runner", hash.as_str(), "expected an address such as"),
        (url, "0A", "runner.download.sha256: \"0A\" is not valid: expected a SHA-256"),
    ] {
        let mistakes = download(url, sha256).expect_err(url);
        assert!(mistakes.to_string().contains(why), "{url}: {mistakes}");
    }
    let half = format!("{class}[class.runner.download]\nurl = \"{url}\"");
    let mistakes = parse(&with(&half), &TOKEN).expect_err("no hash").to_string();
    assert!(mistakes.contains("runner.download.sha256: is missing"), "{mistakes}");
}

#[test]
fn only_machines_in_ec2_have_a_user_of_their_class() {
    let class = "[[class]]\nname = \"a\"\nlabels = [\"a\"]\n[class.runner]\n";
    for (user, why) in [
        ("runner", "runner.user: is for machines in EC2"),
        ("root", "runner.user: is root, as whom jobs run without this key"),
        ("Runner", "runner.user: \"Runner\" is not valid: expected the name of a user"),
        ("a b", "runner.user: \"a b\" is not valid"),
    ] {
        let text = with(&format!("{class}user = \"{user}\""));
        let mistakes = parse(&text, &TOKEN).expect_err(user).to_string();
        assert!(mistakes.contains(why), "{user}: {mistakes}");
    }
    let warnings = good(&with(&format!("{class}docker = true")), &TOKEN).warnings;
    let said = "runner.docker: has no effect without `user`";
    assert!(warnings.iter().any(|warning| warning.contains(said)), "{warnings:?}");
}

#[test]
fn options_of_machines_on_this_host_have_no_effect() {
    let text = "[[class]]\nname = \"a\"\nlabels = [\"a\"]\n[class.machines]\ndisk_gib = 40\n";
    let mut warnings = good(&with(text), &TOKEN).warnings;
    warnings.retain(|warning| warning.contains("has no effect"));
    let expected =
        "ci.toml:5: class \"a\": machines.disk_gib: has no effect: machines run on this host";
    assert_eq!(warnings, [expected]);
}

#[test]
fn a_hold_needs_repositories_and_machines_without_rights() {
    let class = "[[class]]\nname = \"a\"\nlabels = [\"a\"]\n";
    let hold = |text: &str| good(&with(text), &TOKEN).settings.classes[0].times.hold;
    assert_eq!(hold(class), SignedDuration::ZERO);
    let repos = "hold = \"30m\"\nrepos = [\"acme/site\"]\n";
    assert_eq!(hold(&format!("{class}{repos}")), SignedDuration::from_mins(30));
    let profile = format!("{repos}[class.machines]\ninstance_profile = \"runner\"");
    for (lines, why) in [
        ("hold = \"30m\"", "hold: is for classes with `repos`"),
        (profile.as_str(), "hold: is for machines without an `instance_profile`"),
        ("hold = \"25h\"", "hold: \"25h\" is not valid"),
    ] {
        let said = parse(&with(&format!("{class}{lines}")), &TOKEN).expect_err(lines).to_string();
        assert!(said.contains(why), "{lines}: {said}");
    }
}

#[test]
fn lost_jobs_are_run_again_unless_their_machines_have_a_profile() {
    let class = "[[class]]\nname = \"a\"\nlabels = [\"a\"]\n";
    let policy = |rest: &str| {
        let text = with(&format!("{class}{rest}"));
        good(&text, &TOKEN).settings.classes[0].rerun
    };
    assert_eq!(policy(""), RerunPolicy { jobs: RerunJobs::Lost, limit: 2 });
    let never = RerunPolicy { jobs: RerunJobs::Never, limit: 2 };
    assert_eq!(policy("rerun = \"never\""), never);
    let lost = RerunPolicy { jobs: RerunJobs::Lost, limit: 5 };
    assert_eq!(policy("rerun = \"lost\"\nrerun_limit = 5"), lost);
    for (wrong, why) in [
        ("rerun = \"always\"", "expected"),
        ("rerun_limit = 0", "0 is not valid: from 1 to 10"),
        ("rerun_limit = 11", "11 is not valid: from 1 to 10"),
    ] {
        let text = with(&format!("{class}{wrong}"));
        let mistakes = parse(&text, &TOKEN).expect_err(wrong).to_string();
        assert!(mistakes.contains(why), "{wrong}: {mistakes}");
    }
}
