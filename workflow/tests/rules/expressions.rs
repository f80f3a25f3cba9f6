//! Expressions in labels: their results, and those that make the server panic.
//!
//! The expected values, except for our own limits, are those of the job parser of Gitea 1.27.0;
//! 1.25.5 and 1.26.4 have the same evaluator.

use proptest::prelude::*;
use serde_json::json;
use tinqs_ci_workflow::Dialect;
use tinqs_ci_workflow::jobs::{Context, jobs};
use tinqs_ci_workflow::yaml;

const LINES: [Dialect; 3] = [Dialect::V1_27, Dialect::V1_26, Dialect::V1_25];
/// Longest text that an expression may produce, in bytes: our own limit.
const LONGEST: usize = 1024 * 1024;

fn context() -> Context {
    serde_json::from_value(json!({
        "vars": {
            "OS": "linux", "NUMBER": "3", "LIST": "[\"a\", 2, 1e20, {\"k\": [true]}]",
            "LOOP": "vars.LOOP == 1", "BOMB": "vars.BOMB2 == 1 || vars.BOMB2 == 1",
            "BOMB2": "vars.BOMB == 1 || vars.BOMB == 1", "a_b-c1": "odd",
        },
        "inputs": {"size": "big", "debug": false},
        "github": {"event_name": "push", "ref_name": "main", "event": {"commits": [{"id": "x"}, {"id": "y"}]}},
    }))
    .expect("a context")
}

/// The labels of a workflow's one job, joined.
fn planned(workflow: &str, context: &Context, line: Dialect) -> Result<String, String> {
    let node = yaml::parse(workflow.as_bytes()).map_err(|error| error.to_string())?;
    let jobs = jobs(&node, context, line).map_err(|error| error.to_string())?;
    Ok(jobs[0].runs_on.join("|"))
}

fn label_with(text: &str, context: &Context, line: Dialect) -> Result<String, String> {
    planned(&format!("jobs:\n  a:\n    runs-on: {}\n", json!(text)), context, line)
}

/// The one label of a job whose `runs-on` is this text.
fn label(text: &str, line: Dialect) -> Result<String, String> {
    label_with(text, &context(), line)
}

/// Checks the result of each text on every release line.
fn all(cases: &[(&str, &str)]) {
    for ((text, want), line) in cases.iter().flat_map(|case| LINES.map(|line| (case, line))) {
        assert_eq!(label(text, line).as_deref(), Ok(*want), "{text} {line:?}");
    }
}

#[test]
fn expressions_evaluate_as_in_gitea() {
    for (text, want) in [
        ("plain }} ${ text", "plain }} ${ text"),
        ("a-${{ vars.OS }}-${{ VARS.os }}", "a-linux-linux"),
        ("{0}${{ vars.OS }}{", "{0}linux{"),
        ("${{ 'it''s }} here' }}", "it's }} here"),
        ("${{ vars.missing }}x", "x"),
        ("${{ nope.x }}x", ""),
        ("${{ env.X }}${{ secrets.X }}${{ runner.os }}${{ steps.a.b }}${{ job.status }}", ""),
        ("${{ jobs.a }}x", ""),
        ("${{ github.ref_name }}", "main"),
        ("${{ github.refname }}", "main"),
        ("${{ gitea.event.commits[1].id }}", "y"),
        ("${{ join(github.event.commits.*.id, '+') }}", "x+y"),
        ("${{ github.nothing == '' }}", "true"),
        ("${{ github['ref_name'] }}", "main"),
        ("${{ inputs.debug }}", "false"),
        ("${{ github.event }}", "Object"),
        ("${{ github.event.commits }}", "Array"),
        ("${{ github }}", "<*model.GithubContext Value>"),
        ("${{ 1 < 2 && 'yes' || 'no' }}", "yes"),
        ("${{ '' || 0 || vars.OS }}", "linux"),
        ("${{ 0.0 }}${{ 0.0 || 0.0 }}", "00"),
        ("${{ !vars.OS }}", "false"),
        ("${{ !(1 == 1.0) }}", "false"),
        ("${{ vars.OS == 'LINUX' }}", "true"),
        ("${{ vars.NUMBER == 3 }}", "true"),
        ("${{ '0x10' == 16 }}", "true"),
        ("${{ '1 + 1' == 2 }}", "false"),
        ("${{ null == 0 }}${{ null != null }}", "truetrue"),
        ("${{ true == 1 }}${{ true > false }}", "truetrue"),
        ("${{ 'a' < 'B' }}", "true"),
        ("${{ nan == nan }}${{ infinity }}", "falseInfinity"),
        ("${{ 0xFF }} ${{ -1.50 }} ${{ 1e3 }} ${{ 2147483647 }}", "255 -1.5 1000 2147483647"),
        ("${{ 2147483648 }}x", ""),
        ("${{ 01 }}x", ""),
        ("${{ 1. }}x", ""),
        ("${{ }}x", ""),
        ("${{ vars.OS, vars.OS }}", "linux"),
        ("${{ a b }}x", ""),
        ("${{ (vars.OS }}x", ""),
        ("${{ TRUE }}x", ""),
        ("${{ = }}x", ""),
        ("${{ \"a\" }}x", ""),
        ("${{ contains('Hello', 'ELL') }}", "true"),
        ("${{ contains(fromJSON(vars.LIST), 'A') }}", "true"),
        ("${{ contains(fromJSON('[\"x\"]'), 1) }}", "false"),
        ("${{ StartsWith('Hello', 'he') }}${{ endsWith('Hello', 'LO') }}", "truetrue"),
        ("${{ startsWith(15, 1) }}", "true"),
        ("${{ format('{0}{1}{0} {{}}', 'a', 2) }}", "a2a {}"),
        ("${{ format('{12{0', 'a') }}", "{0"),
        ("${{ format('{12{0}', 'a') }}x", ""),
        ("${{ format('{1}', 'a') }}x", ""),
        ("${{ format('{x}', 'a') }}x", ""),
        ("${{ join(fromJSON('[1,null,\"b\"]')) }}", "1,,b"),
        ("${{ join('a', '-') }}", "a"),
        ("${{ fromJSON('{\"a\":{\"B\":[1,2.50]}}').A.b[1] }}", "2.5"),
        ("${{ fromJSON(vars.LIST)[2] }}", "1E+20"),
        ("${{ fromJSON('[1,2]')[fromJSON('0')] }}", ""),
        ("${{ fromJSON('[1,2]')[5] }}${{ fromJSON('[1,2]')[-1] }}", ""),
        ("${{ fromJSON('{') }}x", ""),
        ("${{ fromJSON(1) }}x", ""),
        ("${{ toJSON(null) }}${{ toJSON('<a>') }}", "null\"\\u003ca\\u003e\""),
        (
            "${{ toJSON(fromJSON('{\"b\":[],\"a\":{\"x\":1}}')) }}",
            "{\n  \"a\": {\n    \"x\": 1\n  },\n  \"b\": []\n}",
        ),
        ("${{ hashFiles('**') }}x", ""),
        ("${{ always() }}${{ success() }}${{ failure() }}", "truetruefalse"),
        ("${{ strategy.fail-fast }}${{ strategy.max-parallel }}", ""),
        ("${{ needs.x.outputs.y }}", ""),
        ("${{ fromJSON('{\"a\":1}') == fromJSON('{\"a\":1}') }}x", ""),
    ] {
        for line in LINES {
            assert_eq!(label(text, line).as_deref(), Ok(want), "{text}");
        }
    }
}

#[test]
fn expressions_that_make_the_server_panic_are_errors() {
    for text in [
        "}} ${{ a",
        "}} ${{ 'a' ${{",
        "${{ contains('a') }}",
        "${{ format('}x') }}",
        "${{ format('{-1}', 'a') }}",
        "${{ toJSON() }}",
        "${{ cancelled() }}",
        // These crash the server, or exceed any memory.
        "${{ vars.LOOP == 1 }}",
        "${{ vars.BOMB == 1 }}",
        &format!("${{{{ {}1{} }}}}", "(".repeat(5_000), ")".repeat(5_000)),
        &format!("${{{{ vars{} }}}}", ".a".repeat(5_000)),
        &format!("${{{{ format('{}', vars.LIST) }}}}", "{0}".repeat(100_000)),
    ] {
        for line in LINES {
            assert!(label(text, line).is_err(), "{text}");
        }
    }
}

/// From 1.26 on such a text is empty; before, the server panics.
#[test]
fn an_unclosed_text_is_empty_or_an_error() {
    for text in ["x${{ 'a }}", "${{ 'a''b }}", "${{ '' }} ${{ 'b }} c"] {
        assert_eq!(label(text, Dialect::V1_27).as_deref(), Ok(""), "{text}");
        assert_eq!(label(text, Dialect::V1_26).as_deref(), Ok(""), "{text}");
        let old = label(text, Dialect::V1_25).expect_err(text);
        assert!(old.contains("unclosed text"), "{old}");
    }
}

#[test]
fn texts_hold_quotes_and_braces() {
    all(&[
        ("${{ 'a''b }} c' }}", "a'b }} c"),
        ("${{ 'ab''' }}x", "ab'x"),
        ("${{ '''' }}", "'"),
        ("a${{ 'b' }}c${{ 'd' }}e", "abcde"),
        ("a }}${{ 1 }}{b", "a }}1{b"),
        ("${{ ${{ }}x", ""),
        // A text that is compared with a number is parsed itself: up to two braces, or one at its
        // end.
        ("${{ '1 }' == 1 }}${{ '1}' == 1 }}${{ '1 }} x' == 1 }}", "truetruetrue"),
        ("${{ '1 } x' == 1 }}${{ '${{ 1' == 1 }}", "falsetrue"),
    ]);
}

#[test]
fn contexts_hold_their_fields() {
    all(&[
        ("x${{ env.X }}", "x"),
        ("x${{ secrets.X }}", "x"),
        ("x${{ runner.os }}", "x"),
        ("x${{ steps.a.b }}", "x"),
        ("x${{ job.status }}", "x"),
        ("x${{ job }}", "x<*model.JobContext Value>"),
        ("${{ vars.a_b-c1 }}", "odd"),
        ("${{ github['REF_NAME'] }}x", "x"),
        ("${{ github.event['commits'][0]['id'] }}", "x"),
        ("${{ github.event.commits[0.0].id }}y", "y"),
        ("${{ vars['OS'].x }}y", "y"),
        ("${{ fromJSON('{\"k\":1,\"j\":2}').*.k }}", "1"),
        ("${{ fromJSON('[{\"x\":1},{\"y\":2}]').x[0] }}", "1"),
    ]);
}

#[test]
fn comparisons_follow_gitea() {
    all(&[
        ("${{ 1 < 1 }}${{ 1 > 1 }}${{ 1 <= 1 }}${{ 1 >= 1 }}", "falsefalsetruetrue"),
        ("${{ 1 < 2 }}${{ 1 > 2 }}${{ 1 <= 2 }}${{ 1 >= 2 }}", "truefalsetruefalse"),
        ("${{ 2 < 1 }}${{ 2 > 1 }}${{ 2 <= 1 }}${{ 2 >= 1 }}", "falsetruefalsetrue"),
        ("${{ 1 != 1 }}${{ 1 != 2 }}${{ 1 == 1 == 1 }}", "falsetruetrue"),
        ("${{ 'a' == 'bb' }}${{ 'bb' == 'a' }}", "falsefalse"),
        ("${{ '' == 0 }}${{ '' == null }}", "truetrue"),
        ("${{ fromJSON('[1]') == fromJSON('[1]') }}x", ""),
        ("${{ github == github }}x", ""),
        ("${{ github == fromJSON('[1]') }}x", "falsex"),
        ("${{ github == job }}x", ""),
    ]);
}

#[test]
fn truthiness_follows_gitea() {
    all(&[
        ("${{ !nan }}${{ !0.5 }}${{ !0.0 }}${{ !infinity }}", "truefalsetruefalse"),
        ("${{ !0 }}${{ !1 }}${{ !'' }}${{ !'a' }}${{ !null }}", "truefalsetruefalsetrue"),
        ("${{ !fromJSON('[]') }}${{ !fromJSON('{}') }}${{ !github }}", "falsefalsetrue"),
        ("${{ 1 && 2 && 3 }} ${{ 0 && 2 }} ${{ 0 || '' || 3 }} ${{ 1 || 2 }}", "3 0 3 1"),
        ("${{ nan && 5 }} ${{ !(1 && 0) }}", "NaN true"),
    ]);
}

#[test]
fn numbers_are_parsed_and_printed_as_in_gitea() {
    all(&[
        ("${{ -0x10 }} ${{ -5 }} ${{ -0 }} ${{ 0 }} ${{ 0x0 }}", "-16 -5 0 0 0"),
        ("${{ 0e1 }} ${{ 0E2 }}", "0 0"),
        ("${{ 10.25 }} ${{ 1.5e2 }} ${{ 100.125e1 }} ${{ 12e2 }}", "10.25 150 1001.25 1200"),
        ("${{ 1e-3 }} ${{ 25E-1 }} ${{ 1.25e-2 }}", "0.001 2.5 0.0125"),
        ("${{ 10.25==10.25 }}${{ 12e2==1200 }}${{ 1e-1==0.1 }}", "truetruetrue"),
        ("${{ 0x1f==31 }}${{ 10==10 }}", "truetrue"),
        ("${{ -2147483648 }} ${{ 0x7fffffff }}", "-2147483648 2147483647"),
        ("${{ 123456789012345678.0 }} ${{ 1e15 }}", "1.23456789012346E+17 1E+15"),
        ("${{ 1e14 }} ${{ 0.0001 }} ${{ 0.00001 }}", "100000000000000 0.0001 1E-05"),
        ("${{ nan }} ${{ infinity }} ${{ 1.0 }}", "NaN Infinity 1"),
    ]);
    for text in [
        "0a",
        "-01",
        "-0a",
        "0-1",
        "0x",
        "0xg",
        "-x",
        "-",
        "1e",
        "1e+3",
        "1.5e",
        "1.e3",
        "1e400",
        "-2147483649",
        "0x80000000",
        "0 - 1",
        "-infinity",
    ] {
        all(&[(&format!("${{{{ {text} }}}}x"), "")]);
    }
}

#[test]
fn functions_follow_gitea() {
    all(&[
        ("${{ contains(github.event, 'obj') }}${{ contains(github, 'model') }}", "falsefalse"),
        ("${{ contains(fromJSON('[\"x\"]'), 'X') }}", "true"),
        ("${{ contains(fromJSON('[\"x\"]'), 'a') }}", "false"),
        ("${{ contains(1, 1) }}${{ contains('a', 'b') }}", "truefalse"),
        ("${{ startsWith('abc', 'bc') }}${{ endsWith('abc', 'ab') }}", "falsefalse"),
        ("${{ join(fromJSON('[]'), 'x') }}|${{ join(fromJSON('[\"a\"]'), 'x') }}", "|a"),
        ("${{ join(github.event) }}", "Object"),
        ("${{ format('{{{0}}}', 1) }} ${{ format('}}') }}", "{1} }"),
        ("${{ format('a{12{{0}', 1) }}", "a{1"),
        ("${{ format('{-0}', 1) }}${{ format('{+0}', 1) }}${{ format('{00}', 1) }}", "111"),
        ("${{ format('{') }}x", ""),
        ("${{ format('{0', 1) }}x", ""),
        ("${{ format('}') }}x", ""),
        ("${{ format('{ 0}', 1) }}x", ""),
        ("${{ format('{99999999999}', 1) }}x", ""),
    ]);
    // Only the reason distinguishes it from an unknown function.
    let text = "jobs: {a: {continue-on-error: \"${{ hashFiles('x') }}\"}}";
    let why = planned(text, &context(), Dialect::V1_27).expect_err("no files");
    assert!(why.contains("hashFiles()"), "{why}");
}

#[test]
fn json_is_written_as_go_does() {
    all(&[
        ("${{ toJSON(1e21) }} ${{ toJSON(-1e21) }}", "1e+21 -1e+21"),
        ("${{ toJSON(1e20) }}", "100000000000000000000"),
        ("${{ toJSON(1e-7) }} ${{ toJSON(0.000001) }}", "1e-7 0.000001"),
        ("${{ toJSON(-2.5e-10) }} ${{ toJSON(0.0) }}", "-2.5e-10 0"),
        ("${{ toJSON(1.5) }} ${{ toJSON(7) }} ${{ toJSON(true) }}", "1.5 7 true"),
        ("${{ toJSON(infinity) }}x", ""),
        ("${{ toJSON(nan) }}x", ""),
        ("${{ toJSON(job) }}", "null"),
        (
            "${{ toJSON(fromJSON('[1,[2,\"b\"],{},[]]')) }}",
            "[\n  1,\n  [\n    2,\n    \"b\"\n  ],\n  {},\n  []\n]",
        ),
        (
            "${{ toJSON(fromJSON('{\"a\":1,\"b\":{\"c\":[3]},\"d\":{}}')) }}",
            "{\n  \"a\": 1,\n  \"b\": {\n    \"c\": [\n      3\n    ]\n  },\n  \"d\": {}\n}",
        ),
        (
            r#"${{ toJSON(fromJSON('"q\" b\\ n\n r\r t\t b\b f\f e\u001b l\u2028 & > <"')) }}"#,
            r#""q\" b\\ n\n r\r t\t b\b f\f e\u001b l\u2028 \u0026 \u003e \u003c""#,
        ),
    ]);
}

/// Values that JSON cannot express come from a matrix.
#[test]
fn values_of_a_matrix_evaluate_as_in_gitea() {
    for (value, text, want) in [
        ("{1: x}", "${{ matrix.v.x }}y", ""),
        ("{1: x}", "${{ matrix.v }} ${{ !matrix.v }}", "Object false"),
        ("{1: x}", "${{ toJSON(matrix.v) }}y", ""),
        ("{1: x}", "${{ contains(matrix.v, 'obj') }}", "false"),
        ("{1: x}", "${{ matrix.v == fromJSON('{}') }}y", ""),
        ("{~: 1}", "${{ matrix.v.x }}y", ""),
        ("{a: 1}", "${{ matrix.v.a }}", "1"),
        ("{&k a: 1, *k : 2}", "${{ matrix.v.a }}", "2"),
        ("2024-1-2", "${{ matrix.v }} ${{ !matrix.v }}", "<time.Time Value> true"),
        ("2024-1-2", "${{ matrix.v == matrix.v }}y", ""),
        ("2024-1-2", "${{ matrix.v == github }} ${{ matrix.v == 1 }}", "false false"),
        ("2024-1-2", "${{ toJSON(matrix.v) }}", "\"2024-01-02T00:00:00Z\""),
        ("2024-1-2", "${{ contains(matrix.v, 'time') }}", "false"),
        ("1.50", "${{ matrix.v }} ${{ matrix.v == 1.5 }}", "1.5 true"),
        ("~", "${{ matrix.v }}|${{ matrix.v == null }}", "|true"),
        (".inf", "${{ matrix.v }}", "Infinity"),
        ("-.inf", "${{ matrix.v }}", "-Infinity"),
        (".nan", "${{ matrix.v }}", "NaN"),
        ("'<<'", "${{ matrix.v }}", "<<"),
        ("<<", "${{ matrix.v }}", "<<"),
        ("!!str 1", "${{ matrix.v == 1 }}", "true"),
    ] {
        let runs_on = json!(text);
        let workflow =
            format!("jobs: {{a: {{strategy: {{matrix: {{v: [{value}]}}}}, runs-on: {runs_on}}}}}");
        for line in LINES {
            let got = planned(&workflow, &context(), line);
            assert_eq!(got.as_deref(), Ok(want), "{value} {text} {line:?}");
        }
    }
}

#[test]
fn texts_may_be_a_megabyte_long() {
    let long = "x".repeat(LONGEST);
    let mut context = context();
    context.vars.insert("J".to_owned(), json!([&long, "y"]).to_string());
    context.vars.insert("L".to_owned(), long);
    let length = |text: &str| label_with(text, &context, Dialect::V1_27).map(|label| label.len());
    for text in ["${{ vars.L }}", "${{ format(vars.L) }}", "${{ join(vars.L) }}"] {
        assert_eq!(length(text), Ok(LONGEST), "{text}");
    }
    for text in [
        "${{ vars.L }}x",
        "${{ format('{0}y', vars.L) }}",
        "${{ join(fromJSON(vars.J), '') }}",
        "${{ toJSON(vars.L) }}",
        "${{ toJSON(fromJSON(vars.J)) }}",
    ] {
        assert!(length(text).is_err(), "{text}");
    }
}

#[test]
fn expressions_may_nest_a_hundred_deep() {
    // The whole text is a call itself.
    let nested = |open: &str, close: &str, deep: usize| {
        label(&format!("${{{{ {}1{} }}}}", open.repeat(deep), close.repeat(deep)), Dialect::V1_27)
    };
    for (open, close) in [("(", ")"), ("!", ""), ("join(", ")")] {
        assert!(nested(open, close, 99).is_ok(), "{open}");
        assert!(nested(open, close, 100).is_err(), "{open}");
    }
    // Adjacent parts are not nested.
    let many = vec!["(1)"; 300].join(", ");
    let side_by_side = format!("${{{{ format('{{299}}', {many}) }}}}");
    assert_eq!(label(&side_by_side, Dialect::V1_27).as_deref(), Ok("1"));
    // Each of these evaluates the one before.
    let mut context = context();
    context.vars.insert("V0".to_owned(), "1".to_owned());
    for n in 1..10 {
        context.vars.insert(format!("V{n}"), format!("vars.V{} == 1 && 1 || 0", n - 1));
    }
    for text in ["${{ vars.V7 == 1 }}", "${{ vars.V7 == 1 && vars.V7 == 1 }}"] {
        assert_eq!(label_with(text, &context, Dialect::V1_27).as_deref(), Ok("true"), "{text}");
    }
    assert!(label_with("${{ vars.V8 == 1 }}", &context, Dialect::V1_27).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_expression_panics(text in r"[a-c0-9.'(){}\[\],!=<>&| $*-]{0,40}", name in "format|toJSON|fromJSON|contains|join|success|x") {
        for line in LINES {
            let _ = label(&format!("${{{{ {name}({text}) }}}}"), line);
            let _ = label(&format!("${{{{ {text} }}}}"), line);
            let _ = label(&text, line);
        }
    }
}
