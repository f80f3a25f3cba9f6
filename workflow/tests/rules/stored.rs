//! Texts that a server can read back from the jobs that it stores. Compared with the parsers of
//! Gitea 1.25.4, 1.26.4 and 1.27.3.

use serde_json::json;
use tinqs_ci_workflow::Dialect;
use tinqs_ci_workflow::jobs::{Context, PlannedJob, jobs};
use tinqs_ci_workflow::yaml;

const LINES: [Dialect; 3] = [Dialect::V1_27, Dialect::V1_26, Dialect::V1_25];

/// The only job of a file with this text in place of `@`: in a step, or in the job itself.
fn job(place: &str, text: &str, line: Dialect) -> Result<PlannedJob, String> {
    let held = place.replace('@', &json!(text).to_string());
    let file = match held.strip_prefix("- ") {
        Some(step) => format!("jobs: {{a: {{steps: [{{{step}}}]}}}}"),
        None => format!("jobs: {{a: {{{held}, steps: [{{run: x}}]}}}}"),
    };
    let node = yaml::parse(file.as_bytes()).map_err(|error| format!("{file}: {error}"))?;
    let jobs = jobs(&node, &Context::default(), line).map_err(|error| error.to_string())?;
    jobs.into_iter().next().ok_or(file)
}

/// Places in a list, or in a mapping that is an item of one.
const BELOW_A_LIST: [&str; 12] = [
    "- name: @",
    "- run: @",
    "- uses: @",
    "- id: @",
    "- run: x, shell: @",
    "- run: x, working-directory: @",
    "- run: x, timeout-minutes: @",
    "services: {s: {ports: [@]}}",
    "services: {s: {volumes: [x, @]}}",
    "services: {s: {cmd: [@]}}",
    "with: {x: [@]}",
    "with: {x: [{y: @}]}",
];

#[test]
fn a_text_below_a_list_that_begins_with_an_empty_line_reads_back_from_1_27_on() {
    let texts =
        ["\nExtract", "\n\nx", " x\ny", " x\n", "\n x", "\n- x", "\n# x\ny", "\n\tx", "\n\u{e9}"];
    for (place, text) in BELOW_A_LIST.iter().flat_map(|place| texts.map(|text| (place, text))) {
        let error = job(place, text, Dialect::V1_25).expect_err(place);
        assert!(error.contains("begins with a space or an empty line"), "{error}");
        // The workflow run is created, but no runner ever gets the job.
        let dispatched = |line| job(place, text, line).expect(place).dispatched;
        assert!(!dispatched(Dialect::V1_26) && dispatched(Dialect::V1_27), "{place} {text:?}");
    }
}

#[test]
fn a_script_that_begins_with_an_empty_line_starts_no_run_in_1_25() {
    let file =
        yaml::parse(b"jobs:\n  a:\n    steps:\n      - run: |\n\n          ls\n").expect("YAML");
    let planned = |line| jobs(&file, &Context::default(), line);
    assert!(planned(Dialect::V1_25).is_err());
    assert!(!planned(Dialect::V1_26).expect("jobs")[0].dispatched);
    assert!(planned(Dialect::V1_27).expect("jobs")[0].dispatched);
}

#[test]
fn other_texts_read_back_in_every_release_line() {
    let texts = [
        "x\ny",
        "\n",
        "\n\n",
        " x",
        // The part that is cut off is a comment, or is indented deeply enough to be kept.
        "\n# x",
        "\n    x\n",
        // Written in quotes.
        "\nx ",
        "\nx \ny",
        "\r\nx",
        "\n\u{7}",
        "\n\u{feff}",
        "\n\u{1f4a5}",
    ];
    let places = [
        "- uses: x, with: {a: @}",
        "- run: x, env: {a: @}",
        "services: {s: {image: @}}",
        "services: {s: {credentials: {a: @}}}",
        "with: {x: @}",
        "with: {x: {y: @}}",
        "outputs: {x: @}",
        "timeout-minutes: @",
        "strategy: {fail-fast: @}",
        "defaults: {run: {shell: @}}",
    ];
    let below = BELOW_A_LIST.iter().flat_map(|place| texts.map(|text| (*place, text)));
    let elsewhere = places.iter().map(|place| (*place, "\nx"));
    for (place, text) in below.chain(elsewhere) {
        for line in LINES {
            let job = job(place, text, line).expect(place);
            assert!(job.dispatched, "{place} {text:?} {line:?}");
        }
    }
}

#[test]
fn a_text_of_several_lines_that_begins_with_a_tab_reads_back_in_no_release_line() {
    for place in ["- name: @", "name: @", "outputs: {x: @}", "services: {s: {ports: [@]}}"] {
        for line in LINES {
            let error = job(place, "\tx\ny", line).expect_err(place);
            assert!(error.contains("begins with a tab"), "{error}");
            assert!(job(place, "\tx", line).is_ok() && job(place, "x\n\ty", line).is_ok());
            // A text of blanks only is quoted from 1.26 on.
            assert_eq!(job(place, "\t\n", line).is_ok(), line > Dialect::V1_25, "{place}");
        }
    }
}

#[test]
fn names_and_labels_lose_a_leading_empty_line_in_1_25() {
    let (old, new) = (Dialect::V1_25, Dialect::V1_26);
    let name = |text: &str, line| job("name: @", text, line).expect("a job").name;
    let cases = [("\nx", "x"), ("\n\nx", "\nx"), ("\n", ""), (" x\ny", " x\ny"), ("\nx ", "\nx ")];
    for (text, stored) in cases {
        assert_eq!((name(text, old).as_str(), name(text, new).as_str()), (stored, text));
    }
    let labels = |place: &str, text: &str, line| job(place, text, line).expect("a job").runs_on;
    // A single label is encoded alone, and then with its job.
    for (text, stored) in [("\nx", "x"), ("\n\nx\n", "x\n")] {
        for place in ["runs-on: @", "runs-on: [@]"] {
            assert_eq!(labels(place, text, old), [stored]);
            assert_eq!(labels(place, text, new), [text]);
        }
    }
    // Of several labels that cannot be read back none remains: any runner will do.
    for line in LINES {
        assert_eq!(labels("runs-on: [x, @]", "\ny", line), Vec::<String>::new());
        assert_eq!(labels("runs-on: @", "\ty\nz", line), Vec::<String>::new());
        assert_eq!(labels("runs-on: [x, @]", "y\nz", line), ["x", "y\nz"]);
    }
}
