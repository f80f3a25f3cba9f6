//! Rules for imports between files. `graph` reads the code.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use super::crates::{Member, members};
use super::graph::{Graph, Import, Layers, Package, belongs};
use super::tree::{files, has_extension, read, sources};

/// The layers of the crates, lowest first. A file may import its own module and lower layers, but
/// no other module of the same layer.
const LAYERS: &[Layers<'_>] = &[
    Layers {
        source: "reconciler/src",
        modules: &[&["text"], &["model"], &["ports"], &["plan"], &["controller"]],
    },
    Layers {
        source: "src",
        modules: &[
            &["settings"],
            &["words"],
            &["api", "push"],
            &["telemetry", "backends"],
            &["server"],
            &["commands"],
        ],
    },
];

/// Files and folders that may import the adapters of machines, stores and queues.
const KNOW_ADAPTERS: &[&str] = &[
    "src/backends",
    "src/settings",
    "src/server/lambda",
    "src/commands/init",
    "src/commands/webhook",
    "src/commands/args/init",
    "src/commands/doctor",
    "src/commands/demo",
    "src/commands/schemas",
];

/// Files and folders that may also import the adapter of the forge.
const KNOW_GITEA: &[&str] =
    &["src/push", "src/server/http/webhook", "src/server/http/explain", "src/commands/eval"];

/// The adapters, with the files and folders that may import them.
const ADAPTERS: &[(&str, &[&[&str]])] = &[
    ("adapters/aws", &[KNOW_ADAPTERS]),
    ("adapters/local", &[KNOW_ADAPTERS]),
    ("adapters/gitea", &[KNOW_ADAPTERS, KNOW_GITEA]),
];

/// Names that only commands may use: printing and exit codes.
const OF_COMMANDS: &[&str] = &[
    "print!",
    "println!",
    "eprint!",
    "eprintln!",
    "anstream",
    "std::process::exit",
    "std::process::ExitCode",
];

/// Returns the graph of the workspace, read once.
fn graph() -> &'static Graph {
    static GRAPH: OnceLock<Graph> = OnceLock::new();
    GRAPH.get_or_init(|| {
        let packages: Vec<Package> = members()
            .iter()
            .map(|member| Package { name: member.name.replace('-', "_"), source: source(member) })
            .collect();
        let texts: BTreeMap<String, String> = packages
            .iter()
            .flat_map(|package| sources(&format!("{}/", package.source)))
            .map(|file| (file.clone(), read(&file)))
            .collect();
        Graph::read(&packages, &texts)
    })
}

fn source(member: &Member) -> String {
    member.source().trim_end_matches('/').to_owned()
}

/// Fails if `broken` is not empty, and lists it below the rule.
#[track_caller]
fn none(broken: &[String], rule: &str) {
    assert!(broken.is_empty(), "{rule}: {} found\n  {}\n", broken.len(), broken.join("\n  "));
}

#[test]
fn every_source_file_is_read() {
    none(&graph().problems, "a source file cannot be parsed, or no module declares it");
    let packages: BTreeSet<String> = members().iter().map(Member::source).collect();
    let known = |file: &String| packages.iter().any(|source| file.starts_with(source));
    let strays: Vec<String> = files()
        .into_iter()
        .filter(|file| file.contains("/src/") && has_extension(file, "rs"))
        .filter(|file| !file.starts_with("fuzz/") && !known(file))
        .collect();
    none(&strays, "a source file belongs to no crate of the workspace");
    assert!(graph().files.len() > 150, "only {} files are read", graph().files.len());
    assert!(graph().imports.len() > 500, "only {} imports are found", graph().imports.len());
}

#[test]
fn the_layers_match_the_folders() {
    let unplaced: Vec<String> = LAYERS.iter().flat_map(|layers| layers.unplaced(graph())).collect();
    none(&unplaced, "the table of layers does not match the folders");
}

#[test]
fn files_import_only_lower_layers() {
    let broken: Vec<String> = LAYERS
        .iter()
        .flat_map(|layers| layers.broken(graph()))
        .map(|(how, import)| format!("{how}: {import}"))
        .collect();
    none(&broken, "a file imports a higher layer, or another module of its layer");
}

#[test]
fn imports_form_no_cycle() {
    // A module's file and the files in its folder are one unit, because children use private items
    // of their parent.
    let cycles: Vec<String> = graph()
        .cycles()
        .iter()
        .map(|cycle| {
            let files: BTreeSet<&str> = cycle.iter().map(|import| import.from.as_str()).collect();
            let imports: Vec<String> = cycle.iter().map(|import| format!("    {import}")).collect();
            format!("a cycle of {} files\n{}", files.len(), imports.join("\n"))
        })
        .collect();
    none(&cycles, "imports form a cycle");
}

#[test]
fn adapters_are_imported_only_by_the_listed_files() {
    let mut broken = Vec::new();
    for (adapter, allowed) in ADAPTERS {
        let inside = format!("{adapter}/");
        if !graph().files.iter().any(|file| file.starts_with(&inside)) {
            broken.push(format!("{adapter}: in the table, but does not exist"));
        }
        for stem in allowed.iter().copied().flatten() {
            if !graph().files.iter().any(|file| belongs(file, stem)) {
                broken.push(format!("{stem}: in the table, but does not exist"));
            }
        }
        let may = |import: &&Import| {
            import.from.starts_with(&inside)
                || allowed.iter().copied().flatten().any(|stem| belongs(&import.from, stem))
        };
        let imports = graph().imports.iter().filter(|import| import.to.starts_with(&inside));
        broken.extend(imports.filter(|import| !may(import)).map(ToString::to_string));
    }
    broken.sort();
    broken.dedup();
    none(&broken, "an adapter is imported by a file that is not in the table");
}

#[test]
fn adapters_neither_print_nor_choose_an_exit_code() {
    let is_adapter = |file: &str| file.starts_with("adapters/");
    assert!(graph().files.iter().any(|file| is_adapter(file)), "there are no adapters");
    let broken: Vec<String> = graph()
        .outside
        .iter()
        .filter(|outside| is_adapter(&outside.file))
        .filter(|outside| {
            OF_COMMANDS.iter().any(|name| {
                let path = outside.path.trim_start_matches("std::");
                let rest = outside.path.strip_prefix(name).or_else(|| path.strip_prefix(name));
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
            })
        })
        .map(|outside| format!("{}:{}: {}", outside.file, outside.line, outside.path))
        .collect();
    none(&broken, "an adapter prints or chooses an exit code: return a report instead");
}
