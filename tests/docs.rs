//! Checks of the documentation: links resolve, decisions are dated, alerts have runbooks, tests that
//! pages name exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use tinqs_ci::words::reasons::explained_at;
use tinqs_ci::words::services::ServiceReason;
use tinqs_ci_reconciler::model::Reason;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(root().join(path))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns every Markdown page at the root and under `docs/`, relative to the root.
fn pages() -> Vec<PathBuf> {
    let mut pages = Vec::new();
    for entry in fs::read_dir(root()).expect("the root can be read").flatten() {
        if is_page(&entry.path()) {
            pages.push(PathBuf::from(entry.file_name()));
        }
    }
    walk(&root().join("docs"), &mut pages);
    pages.sort();
    assert!(pages.len() > 20, "pages are missing: {pages:?}");
    pages
}

fn walk(folder: &Path, pages: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("docs/ can be read").flatten() {
        let path = entry.path();
        if path.is_dir() {
            walk(&path, pages);
        } else if is_page(&path) {
            pages.push(path.strip_prefix(root()).expect("a path under the root").to_owned());
        }
    }
}

fn is_page(path: &Path) -> bool {
    path.is_file() && path.extension().is_some_and(|extension| extension == "md")
}

/// Returns the prose of a page, without fenced blocks and code spans.
fn prose(page: &str) -> String {
    let mut fenced = false;
    let mut out = String::new();
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            for (index, part) in line.split('`').enumerate() {
                if index % 2 == 0 {
                    out.push_str(part);
                }
            }
            out.push('\n');
        }
    }
    assert!(!fenced, "a fenced block is not closed");
    out
}

/// Returns the targets of a page's links.
fn links(page: &str) -> Vec<String> {
    let prose = prose(page);
    prose
        .match_indices("](")
        .filter_map(|(at, _)| {
            let rest = &prose[at + 2..];
            rest.find(')').map(|end| rest[..end].trim().to_owned())
        })
        .collect()
}

/// Returns the anchors of a page's headings, as mdBook and forges create them.
fn anchors(page: &str) -> BTreeSet<String> {
    let mut fenced = false;
    let mut found = BTreeSet::new();
    for line in page.lines() {
        fenced ^= line.trim_start().starts_with("```");
        if fenced || !line.starts_with('#') {
            continue;
        }
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept = title.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        found.insert(kept.map(|c| if c == ' ' { '-' } else { c }).collect());
    }
    found
}

fn normal(path: &Path) -> PathBuf {
    let mut parts = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                assert!(parts.pop(), "{} leads out of the repository", path.display());
            }
            Component::CurDir => {}
            other => parts.push(other),
        }
    }
    parts
}

#[test]
fn links_resolve() {
    let mut broken = Vec::new();
    let mut followed = 0;
    for page in pages() {
        let text = read(&page);
        for link in links(&text) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            followed += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let folder = page.parent().unwrap_or(Path::new(""));
            let target = if file.is_empty() { page.clone() } else { normal(&folder.join(file)) };
            // The built book has nothing outside of docs/.
            let there = root().join(&target).exists()
                && (target.starts_with("docs") || !page.starts_with("docs"));
            let anchored = anchor.is_empty()
                || (there
                    && is_page(&root().join(&target))
                    && anchors(&read(&target)).contains(anchor));
            if !there || !anchored {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "broken links:\n  {}", broken.join("\n  "));
    assert!(followed > 50, "only {followed} links were found");
}

#[test]
fn the_summary_lists_every_page() {
    let summary = read("docs/SUMMARY.md");
    let listed: BTreeSet<PathBuf> =
        links(&summary).iter().map(|link| normal(&Path::new("docs").join(link))).collect();
    let there: BTreeSet<PathBuf> = pages()
        .into_iter()
        .filter(|page| page.starts_with("docs") && !page.ends_with("SUMMARY.md"))
        .collect();
    assert_eq!(listed, there, "docs/SUMMARY.md must list each page under docs/ once");
    assert_eq!(links(&summary).len(), listed.len(), "a page is listed twice");
}

/// The files that the map names by their paths from the root.
#[test]
fn the_map_names_files_that_exist() {
    let page = read("docs/architecture.md");
    let named: BTreeSet<&str> = page.split('`').skip(1).step_by(2).collect();
    let folders: BTreeSet<&str> = named
        .into_iter()
        .filter(|span| span.contains('/') && !span.contains(['{', '<', ' ']))
        .filter(|span| {
            let first = span.split('/').next().unwrap_or_default();
            !first.is_empty() && root().join(first).is_dir()
        })
        .collect();
    assert!(folders.len() > 100, "{folders:?}");
    let missing: Vec<_> = folders.iter().filter(|path| !root().join(path).exists()).collect();
    assert!(missing.is_empty(), "docs/architecture.md names {missing:?}, which do not exist");
}

#[test]
fn every_page_has_one_title() {
    // The titles in the summary are the parts of the book.
    for page in pages().into_iter().filter(|page| !page.ends_with("SUMMARY.md")) {
        let text = read(&page);
        let titles = prose(&text).lines().filter(|line| line.starts_with("# ")).count();
        assert_eq!(titles, 1, "{} has {titles} titles", page.display());
        assert!(text.ends_with('\n'), "{} does not end with a newline", page.display());
    }
}

#[test]
fn decisions_are_dated_and_numbered() {
    let mut names: Vec<String> = fs::read_dir(root().join("docs/decisions"))
        .expect("there are decisions")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert!(!names.is_empty());
    let mut before = 0;
    for name in &names {
        // A number is taken when work begins: a gap is work that has not ended.
        let number = name.split('-').next().unwrap_or_default();
        let count: u32 = number.parse().unwrap_or_else(|_| panic!("{name} has no number"));
        assert!(number.len() == 4 && count > before, "{name}: the number is used twice");
        before = count;
        let text = read(Path::new("docs/decisions").join(name));
        let mut lines = text.lines();
        let title = lines.next().unwrap_or_default();
        assert!(title.starts_with(&format!("# {number}: ")), "{name}: {title}");
        let date = lines.find_map(|line| line.strip_prefix("Date: ")).unwrap_or_default();
        assert!(date.parse::<jiff::civil::Date>().is_ok(), "{name} has no date: {date:?}");
    }
}

#[test]
fn every_alert_has_its_runbook() {
    let rules = read("docs/alerts/tinqs-ci.rules.yaml");
    let mut named = BTreeSet::new();
    let mut alert = "";
    for line in rules.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("- alert: ") {
            alert = name;
        } else if let Some(path) = line.strip_prefix("runbook_url: ") {
            let text = read(path);
            assert!(text.contains(alert), "{path} does not name {alert}");
            assert!(named.insert(path.to_owned()), "{path} belongs to two alerts");
        }
    }
    assert_eq!(named.len(), rules.matches("- alert: ").count(), "an alert has no runbook");
    let there: BTreeSet<String> = pages()
        .iter()
        .filter(|page| page.starts_with("docs/runbooks"))
        .map(|page| page.to_string_lossy().into_owned())
        .collect();
    assert_eq!(named, there, "every runbook belongs to an alert");
}

/// A Prometheus rule: an alert or a recording rule.
struct Rule {
    name: String,
    expression: String,
    runbook: Option<String>,
}

fn rules() -> Vec<Rule> {
    let file: serde_json::Value =
        serde_saphyr::from_str(&read("docs/alerts/tinqs-ci.rules.yaml")).expect("YAML");
    let groups = file["groups"].as_array().expect("the rules are in groups");
    let rules = groups.iter().filter_map(|group| group["rules"].as_array()).flatten();
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    rules
        .map(|rule| Rule {
            name: text(&rule["alert"]).or_else(|| text(&rule["record"])).expect("a name"),
            expression: text(&rule["expr"]).expect("an expression"),
            runbook: text(&rule["annotations"]["runbook_url"]),
        })
        .collect()
}

/// Returns the metric families of an expression, through recording rules.
fn families(expression: &str, rules: &[Rule]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let of_names = |c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':');
    for name in expression.split(of_names) {
        if name.starts_with("tinqs_ci:") {
            let recorded = rules.iter().find(|rule| rule.name == name);
            let recorded = recorded.unwrap_or_else(|| panic!("no rule records {name}"));
            found.append(&mut families(&recorded.expression, rules));
        } else if name.starts_with("tinqs_ci_") {
            let of_histogram = ["_bucket", "_sum", "_count"];
            let family = of_histogram.iter().find_map(|suffix| name.strip_suffix(suffix));
            found.insert(family.unwrap_or(name).to_owned());
        }
    }
    found
}

/// Returns a phrase that names the families that the program does not export, if any.
fn not_exported(families: &BTreeSet<String>, exported: &BTreeSet<String>) -> Option<String> {
    let missing: Vec<String> = families.difference(exported).map(|f| format!("`{f}`")).collect();
    match &missing[..] {
        [] => None,
        [one] => Some(format!("the metric {one} is not exported.")),
        [first @ .., last] => {
            Some(format!("the metrics {} and {last} are not exported.", first.join(", ")))
        }
    }
}

#[test]
fn rules_and_runbooks_say_which_metrics_are_not_exported() {
    let exported = tinqs_ci::telemetry::metrics::schema();
    let exported: BTreeSet<String> = exported
        .as_array()
        .expect("a list of families")
        .iter()
        .map(|family| family["name"].as_str().expect("a name").to_owned())
        .collect();
    let (rules, file) = (rules(), read("docs/alerts/tinqs-ci.rules.yaml"));
    let mut silent = 0;
    for rule in &rules {
        let read_of = families(&rule.expression, &rules);
        assert!(!read_of.is_empty(), "{} reads no metric of ours", rule.name);
        let missing = not_exported(&read_of, &exported);
        let lines: Vec<&str> = file.lines().map(str::trim).collect();
        let at = lines.iter().position(|line| {
            [format!("- alert: {}", rule.name), format!("- record: {}", rule.name)]
                .contains(&(*line).to_owned())
        });
        let before = lines[at.expect("the rule is in the file") - 1];
        let comment = missing.as_ref().map(|phrase| format!("# Without effect yet: {phrase}"));
        assert_eq!(
            Some(before).filter(|line| line.starts_with('#')),
            comment.as_deref(),
            "the comment before {} in the rules",
            rule.name
        );
        let Some(runbook) = &rule.runbook else { continue };
        let page = read(runbook);
        let words = |part: &str| part.split_whitespace().collect::<Vec<_>>().join(" ");
        let told = page.split("\n\n").map(words).find(|part| part.contains("cannot fire yet"));
        let sentence = missing.map(|phrase| format!("This alert cannot fire yet: {phrase}"));
        assert_eq!(told, sentence, "{runbook}, for {}", rule.name);
        silent += usize::from(sentence.is_some());
    }
    assert!(silent < rules.len(), "no alert can fire: the families are misread");
}

#[test]
fn every_rule_is_documented() {
    let page = read("docs/how-it-works.md");
    for rule in tinqs_ci_reconciler::plan::Rule::ALL {
        let number = rule.number();
        let documented = page.contains(&format!("| {number} |"));
        assert!(documented, "rule {number} is not in docs/how-it-works.md");
    }
    for law in 1..=9 {
        assert!(page.contains(&format!("| L{law} |")), "law L{law} is not in docs/how-it-works.md");
    }
}

#[test]
fn every_reason_is_explained() {
    let of_runs = Reason::ALL.iter().map(|reason| reason.as_str());
    let of_services = ServiceReason::ALL.iter().map(|reason| reason.as_str());
    for reason in of_runs.chain(of_services) {
        let address = explained_at(reason).expect("every known reason has an address");
        let (page, anchor) = address.split_once('#').expect("a page and a heading");
        assert!(anchors(&read(page)).contains(anchor), "{page} has no heading {anchor}");
    }
}

/// Returns the tests that a page names in code spans, as file and function:
/// `tests/docs.rs::links_resolve`.
fn named_tests(page: &str) -> Vec<(&str, &str)> {
    page.lines()
        .flat_map(|line| line.split('`').skip(1).step_by(2))
        .filter_map(|span| span.split_once("::"))
        .filter(|(file, _)| {
            let extension = Path::new(file).extension();
            extension.is_some_and(|extension| extension == "rs" || extension == "py")
        })
        .collect()
}

/// Returns whether a file has a test of this name: a function, or a line of a macro that makes one.
fn has_test(source: &str, name: &str) -> bool {
    let (function, definition, case) =
        (format!("fn {name}("), format!("def {name}("), format!("{name}: "));
    source.lines().map(str::trim_start).filter(|line| !line.starts_with("//")).any(|line| {
        line.contains(&function) || line.starts_with(&definition) || line.starts_with(&case)
    })
}

#[test]
fn every_test_that_a_page_names_exists() {
    let mut missing = Vec::new();
    let mut named = 0;
    for page in pages() {
        let text = read(&page);
        for (file, name) in named_tests(&text) {
            named += 1;
            let source = fs::read_to_string(root().join(file)).unwrap_or_default();
            if !has_test(&source, name) {
                missing.push(format!("{}: {file}::{name}", page.display()));
            }
        }
    }
    assert!(missing.is_empty(), "no such tests:\n  {}", missing.join("\n  "));
    assert!(named > 100, "only {named} tests are named");
}

#[test]
fn every_threat_is_in_the_table_and_has_a_test_or_says_what_is_not_covered() {
    let (table, page) = (read("docs/security.md"), read("docs/threats.md"));
    let mut threats = 0;
    for threat in page.split("\n### ").skip(1) {
        let title = threat.lines().next().unwrap_or_default();
        let listed = table.contains(&format!("\n| [{title}](threats.md#"));
        assert!(listed, "{title} is not in the table of docs/security.md");
        let told = !named_tests(threat).is_empty() || threat.contains("\nNot covered: ");
        assert!(told, "{title} has neither a test nor what is not covered");
        threats += 1;
    }
    assert_eq!(table.matches("](threats.md#").count(), threats, "docs/threats.md has them all");
}
