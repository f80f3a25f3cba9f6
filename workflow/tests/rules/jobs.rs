//! The jobs of workflows: the corpus, further cases, and hostile files.

use proptest::prelude::*;
use serde_json::{Value, json};
use tinqs_ci_workflow::Dialect;
use tinqs_ci_workflow::jobs::{
    Context, JobsProblem, MOST_JOBS, PlannedJob, jobs, labels_match, runners_needed_at_once,
};
use tinqs_ci_workflow::yaml;

const LINES: [Dialect; 3] = [Dialect::V1_27, Dialect::V1_26, Dialect::V1_25];

fn corpus() -> Value {
    serde_json::from_str(include_str!("../../../tests/corpus/jobs.json"))
        .expect("the corpus is JSON")
}

/// The expectation for a release line: its own, else that of the next newer one.
fn expected<'c>(case: &'c Value, field: &str, line: Dialect) -> &'c Value {
    let suffixes: &[&str] = match line {
        Dialect::V1_25 => &["_1_25", "_1_26", ""],
        Dialect::V1_26 => &["_1_26", ""],
        Dialect::V1_27 => &[""],
    };
    let found = suffixes.iter().find_map(|suffix| case.get(format!("{field}{suffix}")));
    found.unwrap_or(&Value::Null)
}

fn shown(job: &PlannedJob) -> Value {
    json!({
        "job_id": job.job_id, "name": job.name, "runs_on": job.runs_on, "needs": job.needs,
        "initial_status": job.initial.as_str(), "dispatched_to_runner": job.dispatched,
    })
}

fn plan(text: &str, context: &Context, line: Dialect) -> Result<Vec<PlannedJob>, String> {
    let node = yaml::parse(text.as_bytes()).map_err(|error| error.to_string())?;
    jobs(&node, context, line).map_err(|error| error.to_string())
}

#[test]
fn planned_jobs_match_the_corpus() {
    let corpus = corpus();
    let cases = corpus["cases"].as_array().expect("cases");
    assert!(cases.len() >= 60, "only {} cases", cases.len());
    let mut wrong = Vec::new();
    for (case, line) in cases.iter().flat_map(|case| LINES.map(|line| (case, line))) {
        let context = case.get("context").cloned().unwrap_or_else(|| json!({}));
        let context: Context = serde_json::from_value(context).expect("a context");
        let text = case["workflow_yaml"].as_str().expect("a workflow");
        let got = plan(text, &context, line);
        if expected(case, "expect_error", line) == &Value::Bool(true) {
            if got.is_ok() {
                wrong.push(format!("{} {line:?}: no error", case["id"]));
            }
            continue;
        }
        let got = match got {
            Ok(jobs) => {
                json!([jobs.iter().map(shown).collect::<Vec<_>>(), runners_needed_at_once(&jobs)])
            }
            Err(error) => json!(error),
        };
        let mut jobs = expected(case, "expect_jobs", line).clone();
        for job in jobs.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
            job.retain(|key, _| !["matrix", "if", "uses"].contains(&key.as_str()));
        }
        let want = json!([jobs, expected(case, "runners_needed_at_once", line)]);
        if got != want {
            wrong.push(format!("{} {line:?}:\n  {got}\n  {want}", case["id"]));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn label_matches_match_the_corpus() {
    let corpus = corpus();
    let cases = corpus["label_match"].as_array().expect("cases");
    assert!(cases.len() >= 10);
    for case in cases {
        let list = |name: &str| -> Vec<String> {
            serde_json::from_value(case[name].clone()).expect("labels")
        };
        let got = labels_match(&list("runner"), &list("runs_on"));
        assert_eq!(Some(got), case["expect"].as_bool(), "{case}");
    }
}

fn context() -> Context {
    serde_json::from_value(json!({
        "vars": {"OS": "linux"}, "inputs": {"size": "big"}, "github": {"ref_name": "main"},
    }))
    .expect("a context")
}

fn names(matrix: &str, line: Dialect) -> Result<String, String> {
    let workflow = format!("jobs:\n  a:\n    runs-on: x\n    strategy:\n      matrix: {matrix}\n");
    let jobs = plan(&workflow, &Context::default(), line)?;
    Ok(jobs
        .iter()
        .map(|job| job.name.strip_prefix('a').unwrap_or("?"))
        .collect::<Vec<_>>()
        .join(""))
}

#[test]
fn matrices_expand_as_in_gitea() {
    let both = |matrix: &str, want: &str| {
        for line in LINES {
            assert_eq!(names(matrix, line).as_deref(), Ok(want), "{matrix} {line:?}");
        }
    };
    both(
        "{v: [10, 9, 1_000, 0o17, 017, 0x1f, 1e3, 1e6, -0.0, .5]}",
        " (-0) (0.5) (10) (1000) (1000) (15) (15) (1e+06) (31) (9)",
    );
    both("{v: [a, [b, null], {k: 1, j: [x]}]}", " ([b <nil>]) (a) (map[j:[x] k:1])");
    both("{v: [yes, ~, 2024-1-2, '']}", " () (2024-01-02 00:00:00 +0000 UTC) (<nil>) (yes)");
    both(
        "{b: [1], a: [2], include: [{a: 2, c: 3}, {b: 9}, {d: 4}, [{e: 5}], ~]}",
        " (2, 1, 3) (4) (5) (9)",
    );
    both("{a: [1, 2], include: [{a: 1, x: p}, {a: 1, x: q}, {x: r}]}", " (1, q) (2) (r)");
    both("{a: [1], exclude: [{a: '1'}, {}]}", " (1)");
    both("{a: [1, 2], b: [3], exclude: [{a: 1, b: 3}]}", " (2, 3)");
    both("{a: [], include: [{b: 1}]}", " (1)");
    both("{include: [{a: 1}, {a: 2}]}", " (1) (2)");
    both("{a: [1], include: [{a: 2, b: 1}, {a: 1, b: 2}]}", " (1, 2) (2, 1)");
    both("{a: [1], include: [{a: 1, b: 2}, {a: 1, c: 3}, {b: 2}]}", " (1, 2, 3) (2)");
    both("{a: [1], include: [{include: [x]}]}", " (1, [x])");
    both("{a: [1], include: [{exclude: [x]}]}", " (1) ([x])");
    both("{a: [1], exclude: [], include: [{exclude: 1}]}", " (1, 1)");
    both("{a: [1], exclude: [{exclude: 1}]}", "");
    both("{a: [1, 2], b: [x], exclude: [{a: 1}, {a: 2}]}", "");
    both("{a: [1, 2], b: [x], exclude: [{a: 1}, {a: 2}], include: [{c: 1}]}", " (1)");
    both("{a: [1, 2], b: [x, y], exclude: [{a: 1}]}", " (2, x) (2, y)");
    both("{a: [[1]], exclude: [{a: [1]}]}", "");
    both("{a: [1, '1', 1.0]}", " (1) (1) (1)");
    both("{v: [[], {}, [[a, b], c], {b: 1, a: 2}]}", " ([[a b] c]) ([]) (map[]) (map[a:2 b:1])");
    both("{v: [.inf, -.inf, .nan]}", " (+Inf) (-Inf) (NaN)");
    both(
        "{v: [1e-5, 123456.5, 1234567.5, 1e21, 100000, 0.001, -12.5, 1.5e-10, 1e-4]}",
        " (-12.5) (0.0001) (0.001) (1.2345675e+06) (1.5e-10) (100000) (123456.5) (1e+21) (1e-05)",
    );
    both("{v: [!!float 1, !!float '1.5', !!int '7', !!int 0x1f]}", " (1) (1.5) (31) (7)");
    both(
        "{v: [!!bool 'true', !!null '', !!timestamp '2001-1-2', !!merge x]}",
        " (2001-01-02 00:00:00 +0000 UTC) (<nil>) (true) (x)",
    );
    both("{a: [1], a: [2]}", "");
    // Keys become texts, whatever their type; a null key is ignored.
    both("{1: [1], a: [2]}", " (1, 2)");
    both("{~: [1], a: [2]}", " (2)");
    both("{&x a: [1], *x : [2]}", " (2)");
    // Existing keys are not merged, nor is a list behind an alias.
    both("{a: [1], <<: {a: [2], <<: {b: [3], a: [4]}}}", " (1, 3)");
    both("{<<: [{a: [1]}, {a: [2], b: [3]}]}", " (1, 3)");
    both("{!!merge <<: {a: [1]}, b: [2]}", " (1, 2)");
    both("{!!merge x: [1], b: [2]}", " (2, 1)");
    both("{x: &l [{a: [1]}], <<: *l}", "");
    both("{<<: [[a]]}", "");
    both("{<<: x}", "");
    both("{}", "");
    both("[a]", "");
    both("{<<: {a: [1]}, b: [2]}", " (1, 2)");
    let lines = |matrix: &str, newer: Option<&str>, older: Option<&str>| {
        for (line, want) in LINES.iter().zip([newer, older, older]) {
            assert_eq!(names(matrix, *line).ok().as_deref(), want, "{matrix} {line:?}");
        }
    };
    lines("{a: ~, b: [1]}", Some(" (<nil>, 1)"), Some(""));
    lines("{a: 1.50, b: [x]}", Some(" (1.5, x)"), Some(""));
    lines("{a: {b: c}}", Some(""), Some(""));
    lines("{a: [1], include: {a: 2}}", Some(""), Some(""));
    lines("{a: [1], include: x}", None, Some(""));
    lines("{a: [1], exclude: ~}", None, Some(" (1)"));
    for line in LINES {
        for matrix in [
            "{a: [1], exclude: [{b: 1}]}",
            "{a: [1], exclude: [x]}",
            "{a: [1], include: [x]}",
            "{a: [1], include: [[x]]}",
            "{a: [1], include: [{1: x}]}",
            "{exclude: [{include: 1}], a: [1], include: []}",
            "{exclude: [~], a: [1]}",
            "{a: [1], exclude: [[{a: 1}]]}",
            "{include: [[~]]}",
        ] {
            assert!(names(matrix, line).is_err(), "{matrix}");
        }
    }
}

#[test]
fn jobs_have_the_servers_names_and_order() {
    let text = "jobs:\n  z:\n    name: N ${{ github.ref_name }}\n  y:\n    name: ''\n    strategy: {matrix: {v: [2, 1]}}\n  \
                x:\n    name: '${{ matrix.v }} of ${{ strategy.max-parallel }} ${{ strategy.fail-fast }}'\n    \
                strategy: {fail-fast: false, max-parallel: 2, matrix: {v: [1]}}\n";
    for line in LINES {
        let jobs = plan(text, &context(), line).expect("valid");
        let got: Vec<_> = jobs.iter().map(|job| (job.name.as_str(), job.matrix_index)).collect();
        let want =
            [("N ${{ github.ref_name }}", 0), ("y (1)", 0), ("y (2)", 1), ("1 of 2 false", 0)];
        assert_eq!(got, want);
        assert_eq!(jobs.iter().map(|job| job.line).collect::<Vec<_>>(), [2, 4, 4, 7]);
    }
}

#[test]
fn every_form_of_runs_on_and_needs_is_read() {
    let one = |yaml: &str| {
        let jobs =
            plan(&format!("jobs:\n  b: {{}}\n  a:\n    {yaml}\n"), &context(), Dialect::V1_26);
        jobs.map(|jobs| (jobs[1].runs_on.join("|"), jobs[1].runs_on.len(), jobs[1].needs.join("|")))
    };
    for (yaml, labels, count, needs) in [
        ("runs-on: ~", "", 1, ""),
        ("runs-on: [a, ~, 1.10, true]", "a|1.10|true", 3, ""),
        ("runs-on: [a, [b]]", "", 0, ""),
        ("runs-on: {group: g, labels: l}", "l|g", 2, ""),
        ("runs-on: {group: [g], labels: l}", "", 0, ""),
        ("runs-on: {labels: ['${{ vars.OS }}'], group: '${{ inputs.size }}'}", "linux|big", 2, ""),
        ("runs-on: {labels: l, labels: m}", "", 0, ""),
        ("runs-on: {group: ~, labels: l}", "l", 1, ""),
        ("runs-on: {group: '', labels: l}", "l", 1, ""),
        ("runs-on: {group: 1.10}", "1.10", 1, ""),
        ("runs-on: {}", "", 0, ""),
        ("runs-on: !!int x", "", 0, ""),
        ("env: {A: &x [p]}\n    runs-on: *x", "", 0, ""),
        ("runs-on: [&x p, *x]", "p|p", 2, ""),
        ("needs: ~", "", 0, ""),
        ("needs: [b, ~, unknown]", "", 0, "b|unknown"),
        ("needs: {b: 1}", "", 0, ""),
        ("needs: [[b]]", "", 0, ""),
        ("<<: {runs-on: x, needs: b}", "x", 1, "b"),
        ("<<: [{runs-on: x}, {runs-on: y, needs: b}]\n    needs: c", "x", 1, "c"),
    ] {
        assert_eq!(one(yaml), Ok((labels.to_owned(), count, needs.to_owned())), "{yaml}");
    }
    // Without a strategy its context is empty; an empty strategy has its defaults.
    for (strategy, want) in [("~", "||"), ("{}", "|true|4")] {
        let text = format!(
            "jobs: {{a: {{strategy: {strategy}, runs-on: \"|${{{{ strategy.fail-fast }}}}|${{{{ strategy.max-parallel }}}}\"}}}}"
        );
        let jobs = plan(&text, &Context::default(), Dialect::V1_27).expect("valid");
        assert_eq!(jobs[0].runs_on, [want]);
    }
    // A null need is the empty text, which is no job: such a job never starts.
    let jobs = plan("jobs: {a: {needs: ~}}", &Context::default(), Dialect::V1_27).expect("valid");
    assert_eq!((jobs[0].needs.len(), runners_needed_at_once(&jobs)), (1, 0));
}

#[test]
fn status_functions_follow_the_needs() {
    let label = |text: &str| {
        plan(text, &Context::default(), Dialect::V1_27).map(|jobs| jobs[0].runs_on[0].clone())
    };
    let of = |needs: &str, expr: &str| {
        let runs_on = json!(format!("${{{{ {expr} }}}}"));
        let others = "  a: {}\n  b: {needs: [a, a]}\n  l: {needs: m}\n  m: {needs: l}\n";
        label(&format!("jobs:\n  c:\n    needs: {needs}\n    runs-on: {runs_on}\n{others}"))
    };
    assert_eq!(of("[]", "success()").as_deref(), Ok("true"));
    assert_eq!(of("[b, a]", "success()").as_deref(), Ok("false"));
    assert_eq!(of("b", "failure()").as_deref(), Ok("false"));
    assert_eq!(of("b", "needs.b.result == ''").as_deref(), Ok("true"));
    assert_eq!(of("b", "needs.b").as_deref(), Ok("<exprparser.Needs Value>"));
    // One of them is a pointer in the forge, so they have different kinds.
    assert_eq!(of("b", "needs.b == github").as_deref(), Ok("false"));
    assert_eq!(of("b", "needs.a").as_deref(), Ok(""));
    for needs in ["unknown", "c", "l"] {
        assert!(of(needs, "success()").is_err(), "{needs}");
        assert!(of(needs, "always()").is_ok(), "{needs}");
    }
}

/// Files that every release line rejects.
const REFUSED: &[&str] = &[
    "",
    "~",
    "x",
    "[]",
    "{}",
    "jobs: []",
    "jobs: x",
    "jobs: ~",
    "a: &j {}\njobs: *j",
    "jobs: {a: x}",
    "jobs: {a: []}",
    "jobs: {a: ~}",
    "jobs: {a: {}, ~: {}}",
    "jobs: {[a]: {}}",
    "jobs: {a: {}, a: {}}",
    "jobs: {a: {name: x, name: y}}",
    "name: [x]\njobs: {}",
    "env: {A: [x]}\njobs: {}",
    "env: x\njobs: {}",
    "run-name: {a: b}\njobs: {}",
    "run-name: 'x ${{ }} ${{'\njobs: {}",
    "name: x\nname: y\njobs: {}",
    "jobs: {a: {name: {b: c}}}",
    "jobs: {a: {steps: x}}",
    "jobs: {a: {steps: [x]}}",
    "jobs: {a: {steps: [{run: [x]}]}}",
    "jobs: {a: {steps: [{with: {a: [x]}}]}}",
    "jobs: {a: {steps: [{continue-on-error: '${{ true }}'}]}}",
    "jobs: {a: {timeout-minutes: [1]}}",
    "jobs: {a: {strategy: x}}",
    "jobs: {a: {strategy: {fail-fast: [x]}}}",
    "jobs: {a: {services: {s: x}}}",
    "jobs: {a: {outputs: {o: [x]}}}",
    "jobs: {a: {uses: [x]}}",
    "jobs: {a: {with: x}}",
    "jobs: {a: {with: {x: {y: 1, y: 2}}}}",
    "jobs: {<<: {a: {}}}",
    "jobs: {a: {<<: x}}",
    "jobs: {a: &a {with: {x: *a}}}",
    "jobs: {a: {name: !!int x}}",
    "jobs: {a: {env: &e {A: 1}}, b: {env: *e}}",
    "jobs: {a: {needs: &n [b]}, b: {needs: *n}}",
    "concurrency: [x]\njobs: {}",
    "jobs: {a: {if: &i x}, b: {steps: [{if: *i}]}}",
    // An equal node in this job is not the anchor in the other job.
    "jobs:\n  a: {env: &e {A: 1}}\n  b:\n    env: *e\n    steps: [{env: {A: 1}}]\n",
    // Written in another order, an alias precedes its anchor.
    "jobs: {a: {if: &c x, env: {A: *c}}}",
    "jobs: {a: {permissions: &c x, container: *c}}",
    "jobs: {a: {permissions: &c x, secrets: *c}}",
    "jobs: {a: {steps: [{env: {A: &c x}, if: *c}]}}",
    "jobs: {a: {steps: [{env: {A: &c x}}], if: *c}}",
    "jobs: {a: {env: &c [], needs: *c}}",
    "x: &l [{A: 1}]\nenv: {<<: *l}\njobs: {a: {}}",
    "env: {<<: ~}\njobs: {a: {}}",
    "env: {<<: [x]}\njobs: {a: {}}",
    "name: !!int x\njobs: {a: {}}",
    "jobs: {a: {with: {x: [!!int y]}}}",
    "jobs: {a: {with: {x: [{z: 1, z: 2}]}}}",
    "jobs: {a: {name: !!float x}}",
    "jobs: {a: {name: !!float true}}",
    "jobs: {a: {name: !!bool y}}",
    "jobs: {a: {name: !!int 1.5}}",
    "jobs: {a: {name: !!null x}}",
    "jobs: {a: {name: !!timestamp x}}",
    "jobs: {a: {strategy: {failfast: x}}}",
    "jobs: {a: {strategy: {failfast: 1}}}",
    "jobs: {a: {strategy: {maxparallel: x}}}",
    "jobs: {a: {strategy: {maxparallel: '2'}}}",
    "jobs: {a: {strategy: {maxparallel: true}}}",
    "jobs: {a: {strategy: {maxparallel: .inf}}}",
    "jobs: {a: {strategy: {maxparallel: .nan}}}",
    "jobs: {a: {strategy: {maxparallel: 9.3e18}}}",
    "jobs: {a: {strategy: {maxparallel: 9223372036854775808}}}",
    "jobs: {a: {services: {s: {reuse: maybe}}}}",
    "concurrency: {group: {a: b}}\njobs: {a: {}}",
];

/// Files that every release line accepts.
const TAKEN: &[&str] = &[
    "jobs: {}",
    "jobs: {a: {}}",
    "jobs: {a: {steps: ~, name: ~, strategy: ~, with: ~}}",
    "jobs: {a: {steps: [~, {run: 1, continue-on-error: yes}]}}",
    "jobs: {1: {}}",
    "jobs: {a: {permissions: {x: [y]}, env: x, if: [1], container: [x], unknown: {y: 1, y: 2}}}",
    "jobs: {a: {with: {x: {y: [1]}}, outputs: {o: 1}}}",
    "env: {A: 1, B: ~}\njobs: {}",
    "jobs: {a: {env: {A: &x 1, B: *x}}}",
    "jobs: {a: &a {steps: [{run: x}]}, b: *a}",
    "jobs: {a: {steps: &s [{run: x}]}, b: {steps: *s}}",
    "jobs: {a: {concurrency: g}}",
    "jobs: {a: {env: {A: &c x}, if: *c}}",
    "jobs: {a: {container: &c x, permissions: *c}}",
    "jobs: {a: {secrets: &c x, permissions: *c}}",
    "jobs: {a: {steps: [{if: &c x, env: {A: *c}}]}}",
    "jobs: {a: {steps: [{env: {A: &c x}}, {if: *c}]}}",
    "jobs: {a: {needs: &c [], env: *c}}",
    "x: &l {A: 1}\nenv: {<<: [*l, {B: 1}]}\njobs: {a: {}}",
    "env: {<<: [], ~: 1, 1: 1}\njobs: {a: {}}",
    "jobs: {a: {}, b: {<<: {name: [x]}, name: y}}",
    "jobs: {a: {name: !!bool true}}",
    "jobs: {a: {name: !!null ''}}",
    "jobs: {a: {name: !!timestamp '2001-01-01'}}",
    "jobs: {a: {name: !!float .inf}}",
    "jobs: {a: {name: !!int 0x1f}}",
    "jobs: {a: {strategy: {failfast: yes, maxparallel: 2.5}}}",
    "jobs: {a: {strategy: {failfast: ~, maxparallel: ~}}}",
    "jobs: {a: {strategy: {maxparallel: 9223372036854775807}}}",
    "jobs: {a: {strategy: {maxparallel: -.inf}}}",
    "jobs: {a: {services: {s: {reuse: 'no'}, t: {reuse: off}}}}",
    "concurrency: {group: g, cancel-in-progress: true}\njobs: {}",
];

#[test]
fn some_files_are_rejected_or_accepted_by_every_release_line() {
    for line in LINES {
        for text in REFUSED {
            assert!(plan(text, &Context::default(), line).is_err(), "{text} {line:?}");
        }
        for text in TAKEN {
            let got = plan(text, &Context::default(), line);
            assert!(got.is_ok(), "{text} {line:?}: {got:?}");
        }
    }
}

#[test]
fn some_files_are_rejected_by_some_release_lines_only() {
    // Up to 1.25 the server panics on the name of a workflow run.
    for (line, fine) in LINES.iter().zip([true, true, false]) {
        let got = plan("run-name: ${{ 'x }}\njobs: {a: {}}", &Context::default(), *line);
        assert_eq!(got.is_ok(), fine, "{line:?}");
        // From 1.27 on `continue-on-error` is one of the parts that are stored as written.
        let kept = "jobs: {a: {continue-on-error: &c true}, b: {continue-on-error: *c}}";
        let got = plan(kept, &Context::default(), *line);
        assert_eq!(got.is_err(), *line == Dialect::V1_27, "{line:?}");
    }
    // From 1.27 on a job's `continue-on-error` is evaluated, and must be valid.
    for (value, newer) in
        [("${{ matrix.x }}", true), ("true", true), ("${{ nope( }}", false), ("a ${{ }}", false)]
    {
        let text = format!("jobs: {{a: {{continue-on-error: {}}}}}", json!(value));
        for (line, fine) in LINES.iter().zip([newer, true, true]) {
            let got = plan(&text, &Context::default(), *line);
            assert_eq!(got.is_ok(), fine, "{value} {line:?}");
        }
    }
}

#[test]
fn errors_name_the_line_and_the_cause() {
    let node = yaml::parse(
        b"jobs:\n  a:\n    strategy:\n      matrix:\n        x: [1]\n        exclude: [{y: 1}]\n",
    )
    .expect("YAML");
    let error = jobs(&node, &Context::default(), Dialect::V1_27).expect_err("an unknown key");
    assert_eq!(error.why, JobsProblem::ExcludeKey("y".to_owned()));
    assert_eq!(error.to_string(), "line 5: the matrix has no key `y` to exclude by");
    let long = format!("jobs:\n  a:\n    strategy: {{failfast: {}}}\n", "é".repeat(90));
    let error = plan(&long, &Context::default(), Dialect::V1_27).expect_err("no boolean");
    assert_eq!(error, format!("line 3: `{}` is not valid here", "é".repeat(60)));
}

#[test]
fn hostile_matrices_are_rejected() {
    let list =
        |n: usize| format!("[{}]", (0..n).map(|i| i.to_string()).collect::<Vec<_>>().join(","));
    let why = |text: &str| {
        let node = yaml::parse(text.as_bytes()).expect("YAML");
        jobs(&node, &Context::default(), Dialect::V1_27)
            .map(|jobs| jobs.len())
            .map_err(|error| error.why)
    };
    let matrix = |axes: &str| format!("jobs: {{a: {{strategy: {{matrix: {{{axes}}}}}}}}}");
    assert_eq!(why(&matrix(&format!("a: {}", list(MOST_JOBS)))), Ok(MOST_JOBS));
    assert_eq!(why(&matrix(&format!("a: {}", list(MOST_JOBS + 1)))), Err(JobsProblem::TooMany));
    let axes: Vec<String> = (0..50).map(|key| format!("k{key}: {}", list(50))).collect();
    assert_eq!(why(&matrix(&axes.join(", "))), Err(JobsProblem::TooMany));
    let two = format!(
        "jobs: {{a: {{strategy: &s {{matrix: {{a: {}}}}}}}, b: {{strategy: *s}}}}",
        list(3000)
    );
    assert_eq!(why(&two), Err(JobsProblem::TooMany));
    let excludes = vec!["{a: -1}"; 2_000].join(",");
    assert_eq!(
        why(&matrix(&format!("a: {}, exclude: [{excludes}]", list(4000)))),
        Err(JobsProblem::TooMany)
    );
    let long = "x".repeat(100_000);
    let aliases = vec!["*x"; 500].join(",");
    assert_eq!(
        why(&format!("x: &x {long}\n{}", matrix(&format!("a: [{aliases}]")))),
        Err(JobsProblem::TooLarge)
    );
    assert_eq!(why(&matrix(&format!("a: {}, b: [{long}]", list(100)))), Err(JobsProblem::TooLarge));
    // Exactly the limit for all values together, and one byte more.
    for (length, fine) in [(524_282, true), (524_283, false)] {
        let text = matrix(&format!("a: {}, b: [{}]", list(8), "x".repeat(length)));
        assert_eq!(why(&text), if fine { Ok(8) } else { Err(JobsProblem::TooLarge) }, "{length}");
    }
    let some = "x".repeat(500_000);
    assert_eq!(why(&format!("x: &x {some}\n{}", matrix("a: [*x, *x, *x, *x, *x]"))), Ok(5));
    let each = |length: usize| {
        let vars = [("L".to_owned(), "x".repeat(length))].into();
        let job = |n: usize| format!("  {n}: {{runs-on: '${{{{ vars.L }}}}'}}\n");
        let jobs = (10..42).map(job).collect::<Vec<_>>().concat();
        let context = Context { vars, ..Context::default() };
        plan(&format!("jobs:\n{jobs}"), &context, Dialect::V1_27).map(|jobs| jobs.len())
    };
    assert_eq!(each(524_286), Ok(32), "16 MiB");
    assert!(each(524_287).is_err());
    let name = |n: usize| format!("  j{n}: {{name: *n}}\n");
    let names = (0..200).map(name).collect::<Vec<_>>().concat();
    assert_eq!(why(&format!("x: &n {long}\njobs:\n{names}")), Err(JobsProblem::TooLarge));
    let two = format!(
        "jobs: {{a: {{strategy: &s {{matrix: {{a: {}}}}}}}, b: {{strategy: *s}}}}",
        list(100)
    );
    assert_eq!(why(&two), Ok(200));
    // The limit applies before the excludes.
    let many = format!("a: {}, b: [1, 2], exclude: [{{b: 1}}]", list(2_500));
    assert_eq!(why(&matrix(&many)), Err(JobsProblem::TooMany));
    let labels =
        format!("jobs: {{a: {{runs-on: {long}, strategy: {{matrix: {{a: {}}}}}}}}}", list(1000));
    assert_eq!(why(&labels), Err(JobsProblem::TooLarge));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_file_panics(text in "\\PC{0,200}") {
        for line in LINES {
            let _ = plan(&text, &Context::default(), line);
        }
    }

    #[test]
    fn no_matrix_panics(
        keys in prop::collection::vec(("a|b|include|exclude|<<", "\\[\\]|~|\\[1, 2\\]|\\[\\{a: 1\\}\\]|\\[\\{a: 1, c: 2\\}, \\{b: 3\\}\\]|x|\\{a: \\[1\\]\\}|\\[\\[\\{a: 1\\}\\]\\]"), 0..5),
    ) {
        let matrix = keys.iter().map(|(k, v)| format!("{k}: {v}")).collect::<Vec<_>>().join(", ");
        for line in LINES {
            let text = format!("jobs: {{j: {{strategy: {{matrix: {{{matrix}}}}}}}}}");
            if let Ok(jobs) = plan(&text, &Context::default(), line) {
                // Any accepted matrix gives at least one job, and the names are in order.
                prop_assert!(!jobs.is_empty());
                prop_assert!(jobs.is_sorted_by(|a, b| a.name <= b.name), "{:?}", jobs);
            }
        }
    }
}
