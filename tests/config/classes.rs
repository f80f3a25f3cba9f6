//! Which jobs a class serves, and how many machines it may have.

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
fn options_of_machines_on_this_host_have_no_effect() {
    let text = "[[class]]\nname = \"a\"\nlabels = [\"a\"]\n[class.machines]\ndisk_gib = 40\n";
    let mut warnings = good(&with(text), &TOKEN).warnings;
    warnings.retain(|warning| warning.contains("has no effect"));
    let expected =
        "ci.toml:5: class \"a\": machines.disk_gib: has no effect: machines run on this host";
    assert_eq!(warnings, [expected]);
}
