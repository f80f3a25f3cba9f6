//! Builds [`Settings`] from the tables: fills in defaults, checks formats and contradictions.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use tinqs_ci_reconciler::model::{
    Class, ClassName, HOST, MicroUsd, SeatLimits, Times, label_name, pattern_problem,
};

use super::ec2;
use super::forge::{HOUR, forge, not_of_form};
use super::machine_options::launch_rate;
use super::machines::{machines, process};
use super::prices::{budget, prices};
use super::reader::Reader;
use super::reruns::{default_rerun, rerun};
use super::runner;
use super::server::server;
use super::types::{AWS, ComputeUrl, ProcessUser, QueueUrl, Settings, StoreUrl};
use tinqs_ci_reconciler::text::cut;

/// Reads all settings. The result must not be used if a mistake was reported.
pub(super) fn settings(top: &Reader<'_>, file: Option<&Path>) -> Settings {
    let store = top.parsed("store", store).unwrap_or(StoreUrl::Memory);
    let data = match &store {
        StoreUrl::Redb(directory) => directory.clone(),
        StoreUrl::Memory | StoreUrl::Dynamodb(_) => PathBuf::from("./data"),
    };
    let compute = top.parsed("compute", |text| compute(text, &data));
    let compute = compute.unwrap_or(ComputeUrl::Process(data));
    let (forge, webhook_secrets) = forge(&top.table("forge"));
    let prices = prices(top);
    Settings {
        installation: top.parsed("installation", named).unwrap_or_default(),
        forge,
        queue: top.parsed("queue", queue).unwrap_or(QueueUrl::Memory),
        process: process_user(top, &compute),
        launches: launch_rate(&top.table("aws"), &compute),
        server: server(&top.table("server"), webhook_secrets),
        classes: classes(top, file.is_some(), &compute, &prices),
        prices,
        compute,
        store,
    }
}

fn named(text: &str) -> Result<String, String> {
    let fits = text.len() <= 40
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    if fits { Ok(text.to_owned()) } else { not_of_form() }
}

pub(super) fn store(text: &str) -> Result<StoreUrl, String> {
    match text.split_once(':') {
        Some(("redb", directory)) if !directory.is_empty() => Ok(StoreUrl::Redb(directory.into())),
        Some(("memory", "")) => Ok(StoreUrl::Memory),
        Some(("dynamodb", name)) if AWS => table(name),
        Some(("dynamodb", _)) => {
            ec2::absent(text, "\"redb:DIRECTORY\" (or TINQS_CI_STORE=redb:./data)")
        }
        _ => not_of_form(),
    }
}

/// A `DynamoDB` table name.
fn table(name: &str) -> Result<StoreUrl, String> {
    let fits = (3..=255).contains(&name.len())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    if fits {
        return Ok(StoreUrl::Dynamodb(name.to_owned()));
    }
    let shown = cut(name, 60);
    Err(format!(
        "\"{shown}\" is not a DynamoDB table name: expected 3 to 255 letters, digits, `-`, `_` or `.`"
    ))
}

fn queue(text: &str) -> Result<QueueUrl, String> {
    match text.split_once(':') {
        Some(("memory", "")) => Ok(QueueUrl::Memory),
        Some(("sqs", url)) => ec2::queue(text, url),
        _ => not_of_form(),
    }
}

fn compute(text: &str, data: &Path) -> Result<ComputeUrl, String> {
    match text.split_once(':') {
        Some(("process", "")) => Ok(ComputeUrl::Process(data.join("machines"))),
        Some(("process", directory)) => Ok(ComputeUrl::Process(directory.into())),
        Some(("ec2", region)) => ec2::compute(text, region),
        _ => not_of_form(),
    }
}

/// The value of `process.user` for the server's own user.
const OWN_USER: &str = "self";

/// Reads `[process]`.
fn process_user(top: &Reader<'_>, compute: &ComputeUrl) -> ProcessUser {
    let r = top.table("process");
    let user = r.text("user").map(std::borrow::Cow::into_owned);
    let own = user.as_deref() == Some(OWN_USER);
    let user = user.filter(|_| !own);
    let directory = r.text("directory").map(|directory| PathBuf::from(directory.into_owned()));
    if user.as_deref() == Some("root") {
        r.mistake("user", "is root: a job would own this host; create a user for jobs");
    }
    if directory.as_ref().is_some_and(|directory| !directory.is_absolute()) {
        r.mistake(
            "directory",
            "is not an absolute path: the user of the machines has another home",
        );
    }
    match &user {
        None if directory.is_some() => {
            let why = "needs a user in `user`: without one, machines work in the data directory";
            r.mistake("directory", why);
        }
        _ if (own || user.is_some()) && matches!(compute, ComputeUrl::Ec2(_)) => {
            r.warn("user", "has no effect: machines run in EC2");
        }
        _ => {}
    }
    ProcessUser { user, own, directory }
}

const DAY: i64 = 24 * HOUR;
/// The limit of the class that exists without a configured one, and the default of `limit`.
const DEFAULT_LIMIT: u32 = 20;

fn classes(
    top: &Reader<'_>,
    has_file: bool,
    compute: &ComputeUrl,
    prices: &BTreeMap<String, MicroUsd>,
) -> Vec<Class> {
    let in_ec2 = matches!(compute, ComputeUrl::Ec2(_));
    if !top.has("class") {
        return vec![default_class(top, has_file, in_ec2)];
    }
    let readers = top.tables("class");
    let classes: Vec<Class> = readers.iter().map(|r| class(r, in_ec2, prices)).collect();
    for (index, (class, reader)) in classes.iter().zip(&readers).enumerate() {
        let before = &classes[..index];
        if !class.name.0.is_empty() && before.iter().any(|other| other.name == class.name) {
            reader.mistake("name", &format!("\"{}\" is used by two classes", class.name));
        }
        if let Some(other) = before.iter().find(|other| hides(other, class)) {
            let message =
                format!("never match a job: class \"{}\" above serves all of them", other.name);
            reader.warn("labels", &message);
        }
    }
    classes
}

/// Whether `earlier` serves every job that `later` would serve, so that `later` is never used.
fn hides(earlier: &Class, later: &Class) -> bool {
    let names: Vec<String> = later.labels.iter().map(|l| label_name(l).to_owned()).collect();
    let unlabeled = earlier.serves_unlabeled || !later.serves_unlabeled;
    !names.is_empty()
        && unlabeled
        && (earlier.is_any() || !later.is_any())
        && earlier.serves_labels(&names)
        && (earlier.repos.is_empty() || is_narrower(&later.repos, &earlier.repos))
}

/// Whether every repository that fits one of `narrow` fits one of `wide`, as far as the patterns
/// show it.
fn is_narrower(narrow: &[String], wide: &[String]) -> bool {
    let same = |a: &String, b: &String| a.eq_ignore_ascii_case(b);
    !narrow.is_empty() && narrow.iter().all(|one| wide.iter().any(|other| same(one, other)))
}

/// Reads `repos`.
fn repos(r: &Reader<'_>) -> Vec<String> {
    let repos = r.texts("repos").unwrap_or_default();
    for (index, pattern) in repos.iter().enumerate() {
        let shown = cut(pattern, 60);
        if let Some(problem) = pattern_problem(pattern) {
            let example = "expected patterns such as \"acme/site\" or \"acme/infra-*\"";
            r.mistake("repos", &format!("\"{shown}\" {problem}: {example}"));
        } else if repos[..index].iter().any(|other| other.eq_ignore_ascii_case(pattern)) {
            r.mistake("repos", &format!("\"{shown}\" is listed twice"));
        }
    }
    repos
}

/// Warns about a limit that another one makes useless.
fn check_limits(r: &Reader<'_>, limits: SeatLimits) {
    let no_effect = |name: &str, count: u32, other: &str, limit: u32| {
        r.warn(name, &format!("{count} has no effect: `{other}` is {limit}"));
    };
    match (limits.repo, limits.owner, limits.class) {
        (Some(repo), _, Some(limit)) if repo > limit => {
            no_effect("repo_limit", repo, "limit", limit);
        }
        (Some(repo), Some(owner), _) if repo > owner => {
            no_effect("repo_limit", repo, "owner_limit", owner);
        }
        _ => {}
    }
    if let (Some(owner), Some(limit)) = (limits.owner, limits.class)
        && owner > limit
    {
        no_effect("owner_limit", owner, "limit", limit);
    }
}

/// Says that jobs of any repository in scope get the rights of the class's machines; `None` if they
/// get none, or the class is for some repositories only.
fn profile_for_all(class: &Class) -> Option<String> {
    let mut profiles = class.machines.iter().map(|machine| &machine.instance_profile);
    let profile = profiles.find(|profile| !profile.is_empty())?;
    let anybody = "a job of any repository in `forge.scope` gets the rights of instance profile";
    class.repos.is_empty().then(|| format!("{anybody} {}", cut(profile, 60)))
}

fn class(r: &Reader<'_>, in_ec2: bool, prices: &BTreeMap<String, MicroUsd>) -> Class {
    let name = r.parsed("name", named).unwrap_or_default();
    let labels = r.texts("labels").unwrap_or_default();
    check_labels(r, &labels);
    let limits = SeatLimits {
        class: r.count_or("limit"),
        repo: r.count("repo_limit"),
        owner: r.count("owner_limit"),
    };
    check_limits(r, limits);
    let (machines, allocation) = machines(r, in_ec2);
    let class = Class {
        name: ClassName(name),
        labels,
        serves_unlabeled: r.switch("serves_unlabeled"),
        repos: repos(r),
        budget: budget(r, &machines, prices, in_ec2),
        allocation,
        rerun: rerun(r, &machines),
        machines,
        limit: limits.class,
        repo_limit: limits.repo,
        owner_limit: limits.owner,
        times: times(r),
    };
    runner::check(r, &class);
    check_hold(r, &class);
    if let Some(anybody) = profile_for_all(&class).filter(|_| in_ec2) {
        r.warn("repos", &format!("is not set: {anybody}; name the repositories that may"));
    }
    class
}

/// Checks that a machine that people look at is one of few repositories, and without rights.
fn check_hold(r: &Reader<'_>, class: &Class) {
    if class.times.hold.is_zero() {
        return;
    }
    if class.repos.is_empty() {
        let why = "is for classes with `repos`: else a job of any repository could keep machines \
                   up; name the repositories that may";
        r.mistake("hold", why);
    }
    if class.machines.iter().any(|machine| !machine.instance_profile.is_empty()) {
        let why = "is for machines without an `instance_profile`: who looks at a held machine would \
                   have its rights; remove one of the two";
        r.mistake("hold", why);
    }
}

fn times(r: &Reader<'_>) -> Times {
    let times = Times {
        boot_within: r.duration("boot_within", 1, DAY),
        idle_within: r.duration("idle_within", 1, DAY),
        max_age: r.duration("max_age", 1, 30 * DAY),
        give_up_after: r.duration("give_up_after", 1, 365 * DAY),
        assign_within: r.duration("assign_within", 1, HOUR),
        keep: r.duration("keep", 1, 365 * DAY),
        hold: r.duration("hold", 0, DAY),
    };
    let ready = times.boot_within.saturating_add(times.idle_within);
    if times.max_age < ready {
        let message = format!(
            "{:#} is less than boot_within plus idle_within ({ready:#}): a slow machine is \
             terminated before it gets a job",
            times.max_age
        );
        r.warn("max_age", &message);
    }
    times
}

/// Says what is wrong with a label. The forge and the runner accept `name`, `name:host` and
/// `name:docker://IMAGE`.
pub(crate) fn label_problem(label: &str) -> Option<String> {
    let shown = cut(label, 60);
    if label.chars().any(|c| c.is_whitespace() || c.is_control() || c == ',') {
        return Some(format!("\"{shown}\" contains whitespace or a comma"));
    }
    let mut parts = label.splitn(3, ':');
    let (name, schema, argument) = (parts.next()?, parts.next(), parts.next());
    if name.is_empty() {
        return Some(format!("\"{shown}\" has no name"));
    }
    if name != "*" && name.contains('*') || name == "*" && schema.is_some() {
        return Some(format!("\"{shown}\" is not a label: `*` must stand alone"));
    }
    match schema {
        None | Some("host" | "docker") if argument != Some("") => None,
        None | Some("host" | "docker") => Some(format!("\"{shown}\" ends with a colon")),
        Some(other) => Some(format!(
            "\"{shown}\" has the schema `{}`: expected `host` or `docker`",
            cut(other, 20)
        )),
    }
}

fn check_labels(r: &Reader<'_>, labels: &[String]) {
    let form = "expected labels such as \"linux\", \"linux:host\" or \"linux:docker://IMAGE\"";
    let mut names = BTreeSet::new();
    for label in labels {
        if let Some(problem) = label_problem(label) {
            r.mistake("labels", &format!("{problem}: {form}"));
        } else if !names.insert(label_name(label)) {
            r.mistake("labels", &format!("\"{}\" is listed twice", cut(label_name(label), 60)));
        }
    }
    if names.contains(HOST) {
        r.warn("labels", "`host` jobs may also be taken by runners on the forge's own host");
    }
}

/// The class used when the configuration has none: serves any labels except `host`.
fn default_class(top: &Reader<'_>, has_file: bool, in_ec2: bool) -> Class {
    if in_ec2 && has_file {
        top.missing("class");
    }
    let mut times = Times::default();
    if !has_file && let Some(minutes) = top.variable("TIMEOUT_MINUTES") {
        match minutes.trim().parse() {
            Ok(minutes @ 1..=43_200) => times.max_age = jiff::SignedDuration::from_mins(minutes),
            _ => top.variable_mistake(
                "TIMEOUT_MINUTES",
                "max_age",
                "expected whole minutes from 1 to 43200",
            ),
        }
    }
    let machines = if in_ec2 && !has_file { ec2::of_variables(top) } else { vec![process()] };
    let class = Class {
        name: ClassName("default".to_owned()),
        labels: vec!["*".to_owned()],
        serves_unlabeled: false,
        rerun: default_rerun(&machines),
        machines,
        limit: if has_file { Some(DEFAULT_LIMIT) } else { limit_of_variable(top) },
        repo_limit: None,
        owner_limit: None,
        budget: None,
        allocation: tinqs_ci_reconciler::model::Allocation::Order,
        repos: Vec::new(),
        times,
    };
    if let Some(anybody) = profile_for_all(&class).filter(|_| in_ec2) {
        let cure = "configure a [[class]] with `repos` in a file";
        top.warn("class", &format!("is not set: {anybody}; {cure}"));
    }
    class
}

/// Reads the predecessor's variable of the number of machines.
fn limit_of_variable(top: &Reader<'_>) -> Option<u32> {
    let Some(limit) = top.variable("LIMIT") else { return Some(DEFAULT_LIMIT) };
    match (limit.trim(), limit.trim().parse()) {
        ("none", _) => None,
        (_, Ok(limit @ 1..)) => Some(limit),
        _ => {
            let expected = "expected a whole number from 1, or none";
            top.variable_mistake("LIMIT", "limit", expected);
            None
        }
    }
}
