//! Tests of the graph with small sets of sources.

use std::collections::BTreeMap;

use super::{Graph, Layers, Package};

/// Builds the graph of crate `one` in `one/src`, and of crates in other folders.
fn graph(sources: &[(&str, &str)]) -> Graph {
    let mut names: Vec<&str> =
        sources.iter().filter_map(|(file, _)| Some(file.split_once('/')?.0)).collect();
    names.dedup();
    let packages: Vec<Package> = names
        .iter()
        .map(|name| Package { name: (*name).to_owned(), source: format!("{name}/src") })
        .collect();
    let sources: BTreeMap<String, String> =
        sources.iter().map(|(file, text)| ((*file).to_owned(), (*text).to_owned())).collect();
    Graph::read(&packages, &sources)
}

/// Returns the printed imports without the folder of crate `one`.
fn imports(sources: &[(&str, &str)]) -> Vec<String> {
    let graph = graph(sources);
    assert_eq!(graph.problems, Vec::<String>::new());
    graph.imports.iter().map(|import| import.to_string().replace("one/src/", "")).collect()
}

fn cycles(sources: &[(&str, &str)]) -> Vec<Vec<String>> {
    let graph = graph(sources);
    assert_eq!(graph.problems, Vec::<String>::new());
    let text = |cycle: &Vec<&super::Import>| {
        cycle.iter().map(|import| import.to_string().replace("one/src/", "")).collect()
    };
    graph.cycles().iter().map(text).collect()
}

#[test]
fn an_import_has_a_line_files_and_names() {
    let found = imports(&[
        ("one/src/lib.rs", "mod a;\nmod b;"),
        ("one/src/a.rs", "//! First.\nuse crate::b::{C, d as e, f::{self, G}};"),
        ("one/src/b.rs", "pub struct C;\npub fn d() {}\npub mod f { pub struct G; }"),
    ]);
    assert_eq!(found, ["a.rs:2 -> b.rs (C, G, d)"]);
}

#[test]
fn declaring_a_module_is_not_an_import() {
    let found = imports(&[
        ("one/src/lib.rs", "pub mod a;"),
        ("one/src/a.rs", "mod child;\npub struct A;"),
        ("one/src/a/child.rs", "use super::A;\npub fn f(_: A) {}"),
    ]);
    assert_eq!(found, ["a/child.rs:1 -> a.rs (A)"]);
}

#[test]
fn only_a_childs_import_of_its_parent_is_not_a_cycle() {
    let of_parent = cycles(&[
        ("one/src/lib.rs", "pub mod a;"),
        ("one/src/a.rs", "mod child;\npub struct A;\npub fn g() { child::f(A); }"),
        ("one/src/a/child.rs", "use super::A;\npub fn f(_: A) {}"),
    ]);
    assert_eq!(of_parent, Vec::<Vec<String>>::new());
    let of_sisters = cycles(&[
        ("one/src/lib.rs", "mod a;\nmod b;\nfn f() { a::A; }\npub struct L;"),
        ("one/src/a.rs", "use crate::b::B;\nuse crate::L;\npub struct A;"),
        ("one/src/b.rs", "use crate::a::A;\npub struct B;"),
    ]);
    assert_eq!(of_sisters, [["a.rs:1 -> b.rs (B)", "b.rs:1 -> a.rs (A)"]]);
}

#[test]
fn a_module_and_its_folder_are_one_unit_among_the_modules_beside_it() {
    let folder = [
        ("one/src/a.rs", "mod x;\npub mod y;\nuse crate::b::B;\npub struct A(x::X);"),
        ("one/src/a/x.rs", "mod deep;\npub struct X;\nfn f() { deep::f() }"),
        ("one/src/a/x/deep.rs", "pub fn f(_: crate::a::A, _: super::X) {}"),
        ("one/src/a/y.rs", "pub struct Y;"),
    ];
    let with = |root: &'static str, b: &'static str| {
        let others = [("one/src/lib.rs", root), ("one/src/b.rs", b)];
        cycles(&[folder.as_slice(), &others].concat())
    };
    assert_eq!(with("pub mod a;\nmod b;", "pub struct B;"), Vec::<Vec<String>>::new());
    assert_eq!(
        with("pub mod a;\nmod b;", "use crate::a::y::Y;\npub struct B(Y);"),
        [["a.rs:3 -> b.rs (B)", "b.rs:1 -> a/y.rs (Y)"]]
    );
    assert_eq!(
        with("pub mod a;\nmod b;\npub struct L;\nfn f() { b::B; }", "pub struct B(crate::L);"),
        Vec::<Vec<String>>::new(),
        "the root of a crate is a module of its own"
    );
}

#[test]
fn a_parent_that_re_exports_its_child_imports_it() {
    let found = imports(&[
        ("one/src/lib.rs", "pub mod a;"),
        ("one/src/a/mod.rs", "mod child;\npub use child::f;\npub struct A;"),
        ("one/src/a/child.rs", "pub fn f(_: super::A) {}"),
    ]);
    assert_eq!(found, ["a/child.rs:1 -> a/mod.rs (A)", "a/mod.rs:2 -> a/child.rs (f)"]);
}

#[test]
fn a_name_from_the_parent_counts_for_the_sibling_that_defines_it() {
    let sources = [
        ("one/src/lib.rs", "pub mod a;"),
        ("one/src/a.rs", "mod x;\nmod y;\npub use x::X;\nuse y::Y as Z;\npub type T = Z;"),
        ("one/src/a/x.rs", "use super::Z;\npub struct X(Z);"),
        ("one/src/a/y.rs", "pub struct Y;"),
    ];
    let found = imports(&sources);
    assert_eq!(found, ["a.rs:3 -> a/x.rs (X)", "a.rs:4 -> a/y.rs (Y)", "a/x.rs:1 -> a/y.rs (Y)"]);
    assert_eq!(cycles(&sources), Vec::<Vec<String>>::new());
}

#[test]
fn a_name_equal_to_its_modules_name_is_found_in_the_module() {
    let found = imports(&[
        ("one/src/lib.rs", "mod a;\nmod print;"),
        ("one/src/a.rs", "use crate::print::{cut, escape};\nuse crate::a;"),
        ("one/src/print.rs", "mod escape;\nmod cut;\npub use escape::escape;\npub use cut::*;"),
        ("one/src/print/escape.rs", "pub fn escape() {}"),
        ("one/src/print/cut.rs", "pub use super::cut::cut;\npub use super::*;"),
    ]);
    assert_eq!(
        found,
        [
            "a.rs:1 -> print/escape.rs (escape)",
            "print.rs:4 -> print/cut.rs (*)",
            "print.rs:3 -> print/escape.rs (escape)",
            "print/cut.rs:2 -> print.rs (*)",
        ],
        "a recursive re-export names no file and ends"
    );
}

#[test]
fn three_files_can_form_one_cycle() {
    let found = cycles(&[
        ("one/src/lib.rs", "mod a;\nmod b;\nmod c;\nmod d;"),
        ("one/src/a.rs", "use crate::b::B;\npub struct A(B);"),
        ("one/src/b.rs", "pub struct B;\nimpl B { fn f() { crate::c::f(); } }"),
        ("one/src/c.rs", "pub fn f() {}\nfn g(_: &crate::a::A) {}"),
        ("one/src/d.rs", "use crate::a::A;\npub struct D(A);"),
    ]);
    assert_eq!(
        found,
        [["a.rs:1 -> b.rs (B)", "b.rs:2 -> c.rs (f)", "c.rs:2 -> a.rs (A)"]],
        "d.rs is not part of the cycle"
    );
}

#[test]
fn paths_in_code_are_imports() {
    let b = "pub struct T;\npub trait Tr { const K: u8; }\npub enum E { A }\npub fn f() {}\n\
             pub mod inner { pub fn g() {} }\npub struct U;\npub struct V;";
    let found = imports(&[
        ("one/src/lib.rs", "mod a;\nmod b;"),
        (
            "one/src/a.rs",
            "use crate::b;\nuse b as other;\n\
             fn f<X: b::Tr>(x: Vec<Option<other::T>>) -> u8 {\n\
             b::f(); let _ = self::b::inner::g; if let super::b::E::A = e() {}\n\
             <X as b::Tr>::K }\nimpl b::Tr for b::U {}\nstruct W { v: &'static crate::b::V }",
        ),
        ("one/src/b.rs", b),
    ]);
    assert_eq!(found, ["a.rs:3 -> b.rs (E, T, Tr, U, V, f, g)"]);
}

#[test]
fn an_alias_of_a_module_alone_is_not_an_import() {
    let found = imports(&[
        ("one/src/lib.rs", "mod a;\nmod m;"),
        ("one/src/a.rs", "use crate::m;\nfn f(_: m::X) {}"),
        ("one/src/m.rs", "mod x;\npub use x::X;"),
        ("one/src/m/x.rs", "pub struct X;"),
    ]);
    assert_eq!(found, ["a.rs:2 -> m/x.rs (X)", "m.rs:2 -> m/x.rs (X)"]);
}

#[test]
fn paths_in_macros_are_imports() {
    let found = imports(&[
        ("one/src/lib.rs", "mod a;\nmod b;\nmod c;"),
        (
            "one/src/a.rs",
            "use crate::b;\nfn f() {\n\
             println!(\"{}\", [b::one(), x.b::skipped]);\n\
             assert!(matches!(y, crate::b::Two { three: _ }));\n\
             select! { _ = super::c::wait() => {}, _ = x.wait() => {} } }\n\
             made! { use crate::b::{Four, inner::Five}; }",
        ),
        (
            "one/src/b.rs",
            "pub fn one() {}\npub struct Two;\npub struct Four;\n\
            pub mod inner { pub struct Five; }\npub fn three() {}",
        ),
        ("one/src/c.rs", "pub fn wait() {}"),
    ]);
    assert_eq!(found, ["a.rs:3 -> b.rs (Five, Four, Two, one)", "a.rs:5 -> c.rs (wait)"]);
}

#[test]
fn a_macro_counts_for_the_file_that_defines_it() {
    let found = imports(&[
        ("one/src/lib.rs", "mod a;\nmod b;\nmod c;"),
        ("one/src/a.rs", "mod child;\nmacro_rules! near { () => {} }"),
        ("one/src/a/child.rs", "near!();"),
        ("one/src/b.rs", "macro_rules! far { () => { $crate::c::C } }\npub(crate) use far;"),
        ("one/src/c.rs", "pub struct C;\ncrate::b::far!();"),
    ]);
    assert_eq!(
        found,
        ["a/child.rs:1 -> a.rs (near)", "b.rs:1 -> c.rs (C)", "c.rs:2 -> b.rs (far)",]
    );
}

#[test]
fn a_name_defined_by_a_macro_counts_for_the_file_with_the_macro() {
    let found = imports(&[
        ("one/src/lib.rs", "mod a;\nmod m;"),
        ("one/src/a.rs", "use crate::m::{Id, Other};"),
        ("one/src/m.rs", "mod names;\nmod rest;\npub use names::Id;\npub use rest::*;"),
        ("one/src/m/names.rs", "id! { Id }"),
        ("one/src/m/rest.rs", "id! { Other }"),
    ]);
    assert_eq!(
        found,
        [
            "a.rs:1 -> m/names.rs (Id)",
            "a.rs:1 -> m/rest.rs (Other)",
            "m.rs:3 -> m/names.rs (Id)",
            "m.rs:4 -> m/rest.rs (*)",
        ]
    );
}

#[test]
fn a_glob_imports_the_names_that_are_used() {
    let found = imports(&[
        ("one/src/lib.rs", "mod a;\nmod m;\nmod silent;"),
        ("one/src/a.rs", "use crate::m::*;\nuse crate::silent::*;\nfn f(_: X) -> u8 { K }"),
        ("one/src/m.rs", "mod x;\npub use x::X;\nuse std::fmt::Write;\npub const K: u8 = 1;"),
        ("one/src/m/x.rs", "pub struct X;"),
        ("one/src/silent.rs", "pub trait Quiet { fn quiet(&self) {} }"),
    ]);
    assert_eq!(
        found,
        [
            "a.rs:3 -> m.rs (K)",
            "a.rs:3 -> m/x.rs (X)",
            "a.rs:2 -> silent.rs (*)",
            "m.rs:2 -> m/x.rs (X)",
        ]
    );
}

#[test]
fn only_a_child_sees_private_names_through_a_glob() {
    let found = imports(&[
        ("one/src/lib.rs", "mod a;\nmod p;\nmod q;"),
        ("one/src/a.rs", "use crate::p::*;\nfn f(_: Q, _: P) {}"),
        ("one/src/p.rs", "mod child;\nuse crate::q::Q;\npub struct P(Q);"),
        ("one/src/p/child.rs", "use super::*;\nfn f(_: Q) {}"),
        ("one/src/q.rs", "pub struct Q;"),
    ]);
    assert_eq!(found, ["a.rs:2 -> p.rs (P)", "p.rs:2 -> q.rs (Q)", "p/child.rs:2 -> q.rs (Q)"]);
}

#[test]
fn test_only_code_is_ignored() {
    let found = imports(&[
        ("one/src/lib.rs", "mod a;\nmod b;"),
        (
            "one/src/a.rs",
            "#[cfg(test)]\nmod tests;\n#[cfg(all(test, unix))]\nmod more { use crate::b::B; }\n\
             #[cfg(test)]\nuse crate::b::B;\n#[cfg(not(test))]\nuse crate::b::C;\n\
             #[cfg(any(test, feature = \"f\"))]\nuse crate::b::D;\n\
             impl X { #[cfg(test)] fn f() { crate::b::E; } }\n#[test]\nfn t() { crate::b::F; }",
        ),
        ("one/src/a/tests.rs", "mod deep;\nuse crate::b::B;"),
        ("one/src/a/tests/deep.rs", "use crate::b::B;"),
        ("one/src/b.rs", "pub struct B; pub struct C; pub struct D; pub struct E; pub struct F;"),
    ]);
    assert_eq!(found, ["a.rs:8 -> b.rs (C, D)"]);
}

#[test]
fn paths_in_attributes_count_and_paths_in_comments_do_not() {
    let found = imports(&[
        ("one/src/lib.rs", "mod a;\nmod b;\nmod time;"),
        (
            "one/src/a.rs",
            "//! [`crate::time::Unused`]\n#[derive(crate::b::Derived)]\nstruct A {\n\
             #[serde(with = \"crate::time\", rename = \"b\")]\nt: u8,\n\
             #[serde(default = \"crate::b::start\")]\n/// [`crate::time::Unused`]\nu: u8 }",
        ),
        ("one/src/b.rs", "pub fn start() -> u8 { 1 }\npub struct Derived;"),
        ("one/src/time.rs", "pub struct Unused;"),
    ]);
    assert_eq!(found, ["a.rs:2 -> b.rs (Derived, start)", "a.rs:4 -> time.rs (time)"]);
}

#[test]
fn a_name_from_another_crate_counts_for_its_file_there() {
    let found = imports(&[
        ("one/src/lib.rs", "pub mod a;\npub mod b;\npub use serde::Serialize;"),
        ("one/src/main.rs", "mod b;\nfn main() { one::a::f(); b::g(); two::nothing() }"),
        (
            "one/src/a.rs",
            "use two::Deep;\nuse ::two::plan as p;\nuse crate::Serialize;\n\
             pub fn f(_: p::Plan, _: two::plan::Missing) {}",
        ),
        ("one/src/b.rs", "pub fn g() {}"),
        ("two/src/lib.rs", "pub mod plan;\npub use plan::deep::Deep;"),
        ("two/src/plan.rs", "pub mod deep;\npub struct Plan;"),
        ("two/src/plan/deep.rs", "pub struct Deep;"),
    ]);
    assert_eq!(
        found,
        [
            "a.rs:3 -> lib.rs (Serialize)",
            "a.rs:4 -> two/src/plan.rs (Missing, Plan)",
            "a.rs:1 -> two/src/plan/deep.rs (Deep)",
            "main.rs:2 -> a.rs (f)",
            "main.rs:2 -> b.rs (g)",
            "main.rs:2 -> two/src/lib.rs (nothing)",
            "two/src/lib.rs:2 -> two/src/plan/deep.rs (Deep)",
        ]
    );
}

#[test]
fn all_variants_of_a_module_selected_by_a_feature_are_read() {
    let found = imports(&[
        (
            "one/src/lib.rs",
            "#[cfg(feature = \"f\")]\nmod with;\n\
             #[cfg_attr(not(feature = \"f\"), path = \"without.rs\")]\nmod part;\nmod b;\n\
             #[path = \"far/away.rs\"]\nmod away;\nfn f() { part::go(); }",
        ),
        ("one/src/with.rs", "use crate::b::B;"),
        ("one/src/part.rs", "pub fn go() { crate::b::f() }"),
        ("one/src/without.rs", "pub fn go() { crate::away::f() }"),
        ("one/src/b.rs", "pub struct B;\npub fn f() {}"),
        ("one/src/far/away.rs", "pub fn f() {}"),
    ]);
    assert_eq!(
        found,
        [
            "lib.rs:8 -> part.rs (go)",
            "lib.rs:8 -> without.rs (go)",
            "part.rs:1 -> b.rs (f)",
            "with.rs:1 -> b.rs (B)",
            "without.rs:1 -> far/away.rs (f)",
        ]
    );
}

#[test]
fn a_local_name_is_not_an_import() {
    let found = imports(&[
        ("one/src/lib.rs", "mod a;\nmod b;"),
        (
            "one/src/a.rs",
            "mod plan;\nuse crate::b;\n\
             fn f<T: Default>(plan: u8, t: T) -> T { let b = plan; t.b(); println!(\"{b}\"); \
             let _ = S { b: b }; T::default() }\nfn plan() {}\nfn g() { super::a::plan::x(); }",
        ),
        ("one/src/a/plan.rs", "pub fn x() {}"),
        ("one/src/b.rs", ""),
    ]);
    assert_eq!(found, ["a.rs:5 -> a/plan.rs (x)"]);
}

#[test]
fn names_from_outside_the_workspace_have_full_paths() {
    let graph = graph(&[(
        "one/src/lib.rs",
        "use std::process;\nuse std::process::ExitCode as Code;\n\
         fn f() { process::exit(1); }\nfn g() { go! { eprintln!(\"x\") } }",
    )]);
    let found: Vec<String> =
        graph.outside.iter().map(|outside| format!("{}:{}", outside.path, outside.line)).collect();
    assert_eq!(
        found,
        [
            "eprintln!:4",
            "go!:4",
            "std::process:1",
            "std::process::ExitCode:2",
            "std::process::exit:3"
        ]
    );
}

#[test]
fn unreadable_files_are_problems() {
    let found = graph(&[
        ("one/src/lib.rs", "mod a;\nmod missing;"),
        ("one/src/a.rs", "fn f( {"),
        ("one/src/lost.rs", ""),
        ("two/src/other.rs", ""),
    ]);
    let problems = found.problems;
    assert_eq!(problems.len(), 5, "{problems:#?}");
    assert!(problems[0].starts_with("one/src/a.rs:1: cannot be parsed"), "{problems:#?}");
    assert_eq!(
        problems[1..],
        [
            "one/src/missing.rs: no such file",
            "one/src/lost.rs: no module declares it",
            "two/src: neither lib.rs nor main.rs",
            "two/src/other.rs: no module declares it",
        ]
    );
}

#[test]
fn imports_of_higher_or_same_layers_are_reported() {
    let layers = Layers { source: "one/src", modules: &[&["low"], &["left", "right"], &["top"]] };
    let sources = [
        ("one/src/lib.rs", "mod low;\nmod left;\nmod right;\nmod top;\npub const K: u8 = 1;"),
        ("one/src/low.rs", "mod own;\nuse crate::left::L;\nuse crate::K;\npub struct Low;"),
        ("one/src/low/own.rs", "use super::Low;"),
        ("one/src/left.rs", "use crate::right::R;\nuse crate::low::Low;\npub struct L;"),
        ("one/src/right.rs", "pub struct R;"),
        ("one/src/top.rs", "use crate::left::L;\nuse crate::right::R;"),
    ];
    let graph = graph(&sources);
    let broken: Vec<String> = layers
        .broken(&graph)
        .iter()
        .map(|(how, import)| format!("{how}: {import}").replace("one/src/", ""))
        .collect();
    assert_eq!(
        broken,
        [
            "same layer: left.rs:1 -> right.rs (R)",
            "upward: low.rs:2 -> left.rs (L)",
            "upward: low.rs:3 -> lib.rs (K)",
        ]
    );
    assert_eq!(layers.unplaced(&graph), Vec::<String>::new());
}

#[test]
fn differences_between_layers_and_folder_are_reported() {
    let graph = graph(&[
        ("one/src/lib.rs", "mod a;\nmod b;\nmod c;"),
        ("one/src/a.rs", ""),
        ("one/src/b.rs", ""),
        ("one/src/c.rs", ""),
    ]);
    let layers = Layers { source: "one/src", modules: &[&["a"], &["gone"], &["c"]] };
    assert_eq!(
        layers.unplaced(&graph),
        ["one/src/b.rs: in no layer", "one/src/gone: in the table, but does not exist"]
    );
}
