use super::*;

fn class(name: &str, labels: &[&str]) -> Class {
    Class {
        name: ClassName(name.to_owned()),
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
        serves_unlabeled: false,
        repos: Vec::new(),
        machines: Vec::new(),
        limit: None,
        repo_limit: None,
        owner_limit: None,
        rerun: crate::model::RerunPolicy::default(),
        budget: None,
        allocation: crate::model::Allocation::Order,
        times: Times::default(),
    }
}

fn nearest_of(classes: &[Class], runs_on: &[&str]) -> Option<(String, Vec<String>)> {
    let runs_on: Vec<String> = runs_on.iter().map(|label| (*label).to_owned()).collect();
    nearest(classes, "acme/site", &runs_on).map(|near| (near.class.0, near.lacks))
}

fn near(class: &str, lacks: &[&str]) -> (String, Vec<String>) {
    (class.to_owned(), lacks.iter().map(|label| (*label).to_owned()).collect())
}

#[test]
fn the_nearest_class_lacks_the_fewest_labels() {
    let classes = [
        class("small", &["linux:docker://image"]),
        class("big", &["linux", "x64", "big"]),
        class("arm", &["linux", "arm64"]),
    ];
    assert_eq!(nearest_of(&classes, &["linux", "x64", "gpu"]), Some(near("big", &["gpu"])));
    assert_eq!(nearest_of(&classes, &["linux", "gpu"]), Some(near("small", &["gpu"])));
    assert_eq!(nearest_of(&classes, &["arm64", "x64"]), Some(near("big", &["arm64"])));
    assert_eq!(nearest_of(&classes, &["windows"]), None, "no label in common");
    assert_eq!(nearest_of(&classes, &["linux", "big"]), None, "a class serves them");
    assert_eq!(nearest_of(&[], &["linux"]), None);
}

#[test]
fn a_job_without_labels_lacks_only_the_permission() {
    assert_eq!(nearest_of(&[class("small", &["linux"])], &[]), Some(near("small", &[])));
    let open = Class { serves_unlabeled: true, ..class("open", &["linux"]) };
    assert_eq!(nearest_of(&[open], &[]), None);
}

#[test]
fn a_class_for_any_labels_lacks_what_no_runner_carries() {
    let any = [class("any", &["*"])];
    assert_eq!(nearest_of(&any, &["linux", "host"]), Some(near("any", &["host"])));
    assert_eq!(nearest_of(&any, &["a:b", "linux"]), Some(near("any", &["a:b"])));
    assert_eq!(nearest_of(&any, &["host"]), None);
}

#[test]
fn a_class_serves_the_repositories_that_it_is_for() {
    let deploy = Class { repos: vec!["acme/site".to_owned()], ..class("deploy", &["deploy"]) };
    let other = class("other", &["deploy", "linux"]);
    let wanted = ["deploy".to_owned()];
    let served = |classes: &[Class], repo: &str| {
        serving(classes, repo, &wanted).map(|class| class.name.0.clone())
    };
    assert_eq!(served(std::slice::from_ref(&deploy), "Acme/Site").as_deref(), Some("deploy"));
    assert_eq!(served(std::slice::from_ref(&deploy), "acme/other"), None);
    assert_eq!(served(&[deploy, other], "acme/other").as_deref(), Some("other"), "the next one");
}

#[test]
fn the_nearest_class_may_be_for_other_repositories() {
    let of = |repos: &[&str], class| Class {
        repos: repos.iter().map(|pattern| (*pattern).to_owned()).collect(),
        ..class
    };
    let deploy = of(&["acme/infra-*"], class("deploy", &["deploy"]));
    let wanted = ["deploy".to_owned()];
    let near = nearest(std::slice::from_ref(&deploy), "acme/site", &wanted).expect("it is related");
    assert_eq!((near.class.0.as_str(), near.lacks.len()), ("deploy", 0));
    assert_eq!(near.repos, ["acme/infra-*"]);
    assert_eq!(nearest(std::slice::from_ref(&deploy), "acme/infra-1", &wanted), None);

    let wanted = ["deploy".to_owned(), "gpu".to_owned()];
    let classes = [deploy, class("open", &["deploy"])];
    let near = nearest(&classes, "acme/site", &wanted).expect("they are related");
    assert_eq!((near.class.0.as_str(), near.repos.len()), ("open", 0), "as near, and for it");
}

#[test]
fn every_limit_counts_seats() {
    let none = class("none", &["linux"]);
    assert!(!none.has_limit());
    assert!(Class { limit: Some(1), ..none.clone() }.has_limit());
    assert!(Class { repo_limit: Some(1), ..none.clone() }.has_limit());
    assert!(Class { owner_limit: Some(1), ..none }.has_limit());
}
