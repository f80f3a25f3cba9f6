//! Workflow files as nodes: parsed as the forge does, without panics.
//!
//! `forge/yaml.json` holds texts with the nodes that go-yaml v3.0.1 and v4.0.0-rc.3 produce, which
//! agree on all of these; `forge/on.json` whole files with the events that Gitea 1.27.0 reads.
//! `differs` marks known differences.

use proptest::prelude::*;
use serde_json::{Value, json};
use tinqs_ci_workflow::yaml::{Core, DEPTH, Kind, NODES, Node, READ, parse};

fn cases(text: &str) -> Vec<Value> {
    serde_json::from_str(text).expect("the cases are JSON")
}

/// A node as in the cases: `[s, text, tag]`, `[q, items…]`, `[m, keys and values…]`, `[a]`.
fn told(node: &Node) -> Value {
    let all = |kind: &str, nodes: Vec<&Node>| {
        Value::Array([json!(kind)].into_iter().chain(nodes.into_iter().map(told)).collect())
    };
    match &node.kind {
        Kind::Scalar { text, tag, .. } => {
            let tag = match node.core() {
                Some(Core::Null) => "!!null",
                Some(Core::Bool(_)) => "!!bool",
                Some(Core::Int(_)) => "!!int",
                Some(Core::Float(_)) => "!!float",
                Some(Core::Timestamp) => "!!timestamp",
                Some(Core::Merge) => "!!merge",
                Some(Core::Str) => tag.as_deref().unwrap_or("!!str"),
                None => tag.as_deref().expect("only a tag can misfit"),
            };
            json!(["s", text, tag])
        }
        Kind::Sequence(items) => all("q", items.iter().collect()),
        Kind::Mapping(entries) => {
            all("m", entries.iter().flat_map(|(key, value)| [key, value]).collect())
        }
        Kind::Alias(_) => json!(["a"]),
    }
}

#[test]
fn nodes_match_those_of_the_forges_parser() {
    let mut wrong = Vec::new();
    let cases = cases(include_str!("forge/yaml.json"));
    assert!(cases.len() > 300, "only {} cases", cases.len());
    for case in &cases {
        let text = case["yaml"].as_str().expect("a text");
        let got = parse(text.as_bytes()).map_or(Value::Null, |node| told(&node));
        let differs = case.get("differs").is_some();
        // A difference that no longer exists must leave the list.
        if (got == case["nodes"]) == differs {
            wrong.push(format!("{text:?}\n  forge {}\n  here  {got}", case["nodes"]));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn lines_are_counted_from_one() {
    let node = parse(b"# first\non:\n  push:\n    branches: [main,\n      dev]\n").expect("YAML");
    let branches = node.get("on").and_then(|on| on.get("push")).and_then(|p| p.get("branches"));
    let lines: Vec<usize> =
        branches.and_then(Node::items).expect("a list").iter().map(|item| item.line).collect();
    assert_eq!((node.line, lines), (2, vec![4, 5]));
    assert_eq!(parse(b"a: b\nc: [\n").expect_err("unfinished").line, 2);
    assert_eq!(parse(b"a: b\n\nc: \xff\n").expect_err("no UTF-8").line, 3);
    assert_eq!(parse(b"a: b\nc:\n\td: e\n").expect_err("a tab").line, 3);
    assert_eq!(parse(b"a: b\n\t# c\nd: e\n").expect_err("a tab").line, 2);
}

#[test]
fn duplicate_keys_are_kept_and_get_returns_the_last() {
    let node = parse(b"a: 1\nb: 2\na: 3\n").expect("YAML");
    assert_eq!(node.entries().map(<[_]>::len), Some(3));
    assert_eq!(node.get("a").and_then(Node::as_str), Some("3"));
    assert_eq!(node.duplicate_key().map(|key| key.line), Some(3));
    assert_eq!(parse(b"a: 1\nb: 2\n").expect("YAML").duplicate_key(), None);
}

/// Only the tag is dropped; the item stays.
#[test]
fn the_tag_of_an_empty_item_includes_the_comma() {
    for (text, items) in
        [("[!x, y]", &["y"][..]), ("[!x/**, y, z]", &["y", "z"]), ("[w, !x, y]", &["w", "y"])]
    {
        let node = parse(text.as_bytes()).expect("YAML");
        let told: Option<Vec<&str>> =
            node.items().expect("a list").iter().map(Node::as_str).collect();
        assert_eq!(told.as_deref(), Some(items), "{text}");
    }
}

/// For any number of keys: lists equal each other, and so do mappings; an alias equals nothing.
#[test]
fn keys_are_equal_by_text_or_by_kind() {
    for others in [0, 1, 15, 16, 40] {
        let with = |keys: &str| {
            let other = |n: usize| format!("k{n}: 0\n");
            let others = (0..others).map(other).collect::<Vec<_>>().concat();
            let node = parse(format!("{others}{keys}").as_bytes()).expect("YAML");
            node.duplicate_key().map(|key| key.line - others.lines().count())
        };
        for (keys, line) in [
            ("? [a]\n: 0\n? {a: b}\n: 0\nx: 0\n'': 0\n", None),
            ("? [a]\n: 0\n? [b]\n: 0\n", Some(3)),
            ("? {a: b}\n: 0\n? {}\n: 0\n", Some(3)),
            ("&x x: 0\n*x : 0\n*x : 0\n", None),
            ("x: 0\n'x': 0\n", Some(2)),
            ("1: 0\n? !!str 1\n: 0\n", Some(2)),
        ] {
            assert_eq!(with(keys), line, "{keys:?} after {others} others");
        }
    }
}

#[test]
fn an_alias_is_recognized_and_followed() {
    let node = parse(b"x: &a [b]\ny: *a\nz: &s [*s]\n").expect("YAML");
    let alias = node.get("y").expect("there");
    assert!(alias.is_alias() && alias.core().is_none() && alias.as_str().is_none());
    assert_eq!(alias.items().map(<[_]>::len), Some(1));
    // An alias within its own anchor has no target.
    let within = &node.get("z").and_then(Node::items).expect("a list")[0];
    assert_eq!(within.resolved(), within);
}

#[test]
fn files_may_be_utf_16_or_begin_with_a_mark() {
    let wide = |mark: [u8; 2], bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
        let text = "on: püsh\n".encode_utf16().flat_map(bytes);
        mark.into_iter().chain(text).collect()
    };
    let texts = [
        "on: püsh\n".as_bytes().to_vec(),
        "\u{feff}on: püsh\n".as_bytes().to_vec(),
        "on: püsh\r\n".as_bytes().to_vec(),
        wide([0xff, 0xfe], u16::to_le_bytes),
        wide([0xfe, 0xff], u16::to_be_bytes),
    ];
    for text in texts {
        let node = parse(&text).expect("YAML");
        assert_eq!(node.get("on").and_then(Node::as_str), Some("püsh"), "{text:?}");
    }
    assert!(parse(&[0xff, 0xfe, 0x61]).is_err(), "half a unit");
    assert!(parse(&[0xff, 0xfe, 0x00, 0xd8]).is_err(), "half a pair");
}

#[test]
fn only_the_first_mebibyte_is_read() {
    let mut long = b"on: push\n#".to_vec();
    long.resize(READ, b'x');
    long.extend(b"\n: [}");
    assert!(parse(&long).is_ok(), "the error comes after the limit");
    long[READ - 5..READ].copy_from_slice(b"\n: [}");
    assert!(parse(&long).is_err());
}

#[test]
fn hostile_files_are_rejected() {
    let nested = |open: &str, close: &str, deep: usize| open.repeat(deep) + &close.repeat(deep);
    assert!(parse(nested("[", "]", DEPTH - 1).as_bytes()).is_ok());
    for deep in [DEPTH + 1, 100_000] {
        assert!(parse(nested("[", "]", deep).as_bytes()).is_err());
        assert!(parse(nested("{a: ", "}", deep).as_bytes()).is_err());
        assert!(parse("- ".repeat(deep).as_bytes()).is_err());
    }
    assert!(parse(nested("[", "]", DEPTH).as_bytes()).is_ok());
    assert!(parse(format!("{}x{}", "[".repeat(DEPTH), "]".repeat(DEPTH)).as_bytes()).is_err());
    // 1,001 times 999 nodes and the list that holds them.
    let many = |more: &str| {
        let first = vec!["x"; 998].join(",");
        format!("[&a [{first}],{}{more}]", vec!["*a"; 1_000].join(","))
    };
    assert_eq!(NODES, 1_000_000);
    assert!(parse(many("").as_bytes()).is_ok());
    assert!(parse(many(",x").as_bytes()).is_err());
    // Nine to the ninth nodes in a few lines, and the same as a chain.
    let levels = |items: usize| -> String {
        let level = |n: usize| {
            let last = if n == 0 { "x".to_owned() } else { format!("*a{}", n - 1) };
            format!("a{n}: &a{n} [{}]\n", [last.as_str()].repeat(items).join(","))
        };
        (0..300).map(level).collect::<Vec<_>>().concat()
    };
    let (bomb, chain) = (levels(9), levels(1));
    // An alias is a level, and so is the list around it; at the bottom are a text and a list.
    let lines = |n: usize| chain.lines().take(n).collect::<Vec<_>>().join("\n");
    assert!(parse(lines(DEPTH / 2 - 1).as_bytes()).is_ok());
    assert!(parse(lines(DEPTH / 2).as_bytes()).is_err());
    let bomb = parse(bomb.as_bytes()).expect_err("a bomb").to_string();
    assert!(bomb.contains("aliasing"), "{bomb}");
    let chain = parse(chain.as_bytes()).expect_err("a chain").to_string();
    assert!(chain.contains("deep"), "{chain}");
    // Each anchored node is copied beside the tree: a large one within many others.
    let text = "x".repeat(500_000);
    let deep = (0..150).map(|n| format!("[&a{n} ")).collect::<Vec<_>>().concat();
    let nest = format!("{deep}\"{text}\"{}", "]".repeat(150));
    assert!(parse(nest.as_bytes()).expect_err("too much").to_string().contains("anchored"));
    // Only anchored nodes are copied, without the targets of aliases.
    let nest = format!("{}\"{text}\"{}", "[".repeat(150), "]".repeat(150));
    assert!(parse(nest.as_bytes()).is_ok());
    let aliases = format!("- &a {text}\n- &b [{}]\n", vec!["*a"; 100].join(","));
    assert!(parse(aliases.as_bytes()).is_ok());
    // Exactly the limit: 32 nodes, each with its whole content.
    let nest = |length: usize| {
        let text = "x".repeat(length);
        format!("{}&a \"{text}\"{}", "&a [".repeat(31), "]".repeat(31))
    };
    let most = 16 * 1024 * 1024 / 32 - size_of::<Node>() * 33 / 2;
    assert!(parse(nest(most).as_bytes()).is_ok());
    assert!(parse(nest(most + 1).as_bytes()).is_err());
    // Some megabytes are legitimate.
    let text = "x".repeat(500_000);
    let few = format!("[&a [&b [&c [&d [\"{text}\"]]]]]");
    assert!(parse(few.as_bytes()).is_ok());
}

/// Walks a document with its aliases followed.
fn walk(node: &Node, left: &mut u64, deep: usize) {
    assert!(deep <= DEPTH && *left > 0, "the bounds do not hold");
    *left -= 1;
    let node = node.resolved();
    for item in node.items().unwrap_or_default() {
        walk(item, left, deep + 1);
    }
    for (key, value) in node.entries().unwrap_or_default() {
        walk(key, left, deep + 1);
        walk(value, left, deep + 1);
    }
}

/// Random combinations of pieces of YAML.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "on:",
        " push",
        "\n",
        "  ",
        "- ",
        "? ",
        ": ",
        "{",
        "}",
        "[",
        "]",
        ", ",
        "&a ",
        "*a",
        "<<: ",
        "!!str ",
        "!x",
        "|\n",
        ">-\n",
        "'",
        "\"",
        " #",
        "---\n",
        "...\n",
        "\t",
        "\r\n",
        "~",
        "1.10",
        "2001-01-02",
        "\u{feff}",
        "\u{85}",
        "\u{2028}",
        "é",
        "\\",
        "%",
        "@",
        "`",
        "\u{7}",
    ]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(node) = parse(&bytes) {
            walk(&node, &mut (NODES + 1), 0);
        }
    }

    #[test]
    fn no_combination_of_pieces_panics(text in pieces()) {
        if let Ok(node) = parse(text.as_bytes()) {
            walk(&node, &mut (NODES + 1), 0);
            // Parsing is deterministic.
            prop_assert_eq!(parse(text.as_bytes()), Ok(node));
        }
    }
}
