//! Which file may import which. The tables come first; `graph` reads the code.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use super::crates::{Member, members};
use super::graph::{Graph, Import, Layers, Package, belongs};
use super::tree::{files, has_extension, read, sources};

/// The layers of the crates that have them, from the lowest up. A file imports its own module and
/// lower layers; modules of one layer do not know each other.
const LAYERS: &[Layers<'_>] = &[
    Layers {
        source: "reconciler/src",
        modules: &[
            &["text", "mutant"],
            &["model"],
            &["ports"],
            &["plan"],
            &["views"],
            &["controller"],
        ],
        later: &["views"],
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
        later: &["words"],
    },
];

/// What may import the adapters of machines, stores and queues: each a file or a folder.
const KNOW_ADAPTERS: &[&str] = &[
    "src/backends",
    "src/settings",
    "src/server/lambda",
    "src/commands/init",
    "src/commands/args/init",
    "src/commands/doctor",
    "src/commands/demo",
    "src/commands/schemas",
];

/// What may import the adapter of the forge besides.
const KNOW_GITEA: &[&str] =
    &["src/push", "src/server/http/webhook", "src/server/http/explain", "src/commands/eval"];

/// Each adapter that few may import, with those who may.
const ADAPTERS: &[(&str, &[&[&str]])] = &[
    ("adapters/aws", &[KNOW_ADAPTERS]),
    ("adapters/local", &[KNOW_ADAPTERS]),
    ("adapters/gitea", &[KNOW_ADAPTERS, KNOW_GITEA]),
];

/// What only a command does: it prints, and picks the exit code.
const OF_COMMANDS: &[&str] = &[
    "print!",
    "println!",
    "eprint!",
    "eprintln!",
    "anstream",
    "std::process::exit",
    "std::process::ExitCode",
];

/// The graph of the whole workspace, read once.
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

/// Fails with every line of `broken` below the rule.
#[track_caller]
fn none(broken: &[String], rule: &str) {
    assert!(broken.is_empty(), "{rule}: {} found\n  {}\n", broken.len(), broken.join("\n  "));
}

#[test]
fn every_source_file_is_read() {
    none(&graph().problems, "a source file cannot be read, or no module declares it");
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
fn the_layers_cover_each_crate_as_it_is() {
    let unplaced: Vec<String> = LAYERS.iter().flat_map(|layers| layers.unplaced(graph())).collect();
    none(&unplaced, "the table of layers and the folders differ");
}

#[test]
fn files_import_lower_layers_only() {
    let broken: Vec<String> = LAYERS
        .iter()
        .flat_map(|layers| layers.broken(graph()))
        .map(|(how, import)| format!("{how}: {import}"))
        .collect();
    none(&broken, "an import goes up, or to a neighbour on its layer");
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    // A file and those in its own folder are one unit: a child module sees what is private to its
    // parent, and a part of it may lie there.
    let cycles: Vec<String> = graph()
        .cycles()
        .iter()
        .map(|cycle| {
            let files: BTreeSet<&str> = cycle.iter().map(|import| import.from.as_str()).collect();
            let imports: Vec<String> = cycle.iter().map(|import| format!("    {import}")).collect();
            format!("a cycle of {} files\n{}", files.len(), imports.join("\n"))
        })
        .collect();
    none(&cycles, "files import each other in a circle");
}

#[test]
fn adapters_are_named_by_the_files_that_join_them_only() {
    let mut broken = Vec::new();
    for (adapter, allowed) in ADAPTERS {
        let inside = format!("{adapter}/");
        if !graph().files.iter().any(|file| file.starts_with(&inside)) {
            broken.push(format!("{adapter}: stands in the table, but not there"));
        }
        for stem in allowed.iter().copied().flatten() {
            if !graph().files.iter().any(|file| belongs(file, stem)) {
                broken.push(format!("{stem}: stands in the table, but not there"));
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
    none(&broken, "an adapter is named elsewhere than the table says");
}

#[test]
fn adapters_neither_print_nor_pick_an_exit_code() {
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
    none(&broken, "an adapter prints or picks an exit code: it returns a report");
}
