//! The help of every command.

use expect_test::{Expect, expect};

use crate::tinqs;

#[track_caller]
fn help(args: &[&str], expected: &Expect) {
    let said = tinqs(&[args, &["--help"]].concat());
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    for line in said.out.lines() {
        assert!(line.chars().count() <= 100, "{line}");
    }
    expected.assert_eq(&said.out);
}

#[test]
fn all_commands() {
    help(
        &[],
        &expect![[r#"
            One ephemeral machine for every waiting Gitea Actions job, gone afterwards

            Usage: tinqs-ci <COMMAND>

            Commands:
              serve       Run the server: webhooks, the loops, the API
              lambda      The same as an AWS Lambda function: requests, queue batches, schedule, instance events
              demo        Show all of it in ten seconds: a pretended forge and machines, the real controller
              init        Write a configuration for your Gitea, test it, and say what comes next
              doctor      Check everything that serve needs, and say what to do about what is missing
              get         List runs, machines, registrations or classes
              describe    Tell everything about a run
              plan        Show what a reconcile of a run would do now; nothing is done
              explain     Tell why a machine came, or did not
              delete      Give this job no machine any more; a machine at work goes on
              retry       Try now: clears backing off, giving up and a deletion
              terminate   End a machine at once, even at work
              sweep       Go through all jobs, machines and registrations now
              eval        Answer the forge's rules on their own: one JSON case a line in, one result a line out
              schema      Print a JSON Schema
              completion  Print the completion script of a shell
              version     Print the version

            Options:
              -h, --help     Print help
              -V, --version  Print version

            First steps: `tinqs-ci demo` shows all of it in ten seconds; `tinqs-ci init` sets it up for your
            Gitea.

            Environment: TINQS_CI_CONFIG (file), TINQS_CI_<SECTION>__<KEY> (over the file), TINQS_CI_URL and
            TINQS_CI_API_TOKEN (for the commands that ask a server), NO_COLOR.

            Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 not found, 4 server not reached.
        "#]],
    );
}

#[test]
fn serve() {
    help(
        &["serve"],
        &expect![[r#"
            Run the server: webhooks, the loops, the API

            Usage: tinqs-ci serve [OPTIONS]

            Options:
                  --config <FILE>
                      The configuration; without it TINQS_CI_CONFIG, then ./tinqs-ci.toml if it is there

                  --role <ROLE>
                      What this process does: ingest takes webhooks only, reconcile everything else

                      Possible values:
                      - all:       Everything
                      - ingest:    Takes webhooks: writes runs and wakes, and has no other right
                      - reconcile: Everything but webhooks
          
                      [default: all]

              -h, --help
                      Print help (see a summary with '-h')

            Exit codes: 0 done, 1 failed, 2 usage or configuration.
        "#]],
    );
}

#[test]
fn demo() {
    help(
        &["demo"],
        &expect![[r#"
            Show all of it in ten seconds: a pretended forge and machines, the real controller

            Usage: tinqs-ci demo [OPTIONS]

            Options:
                  --stay            Go on after the story, until Ctrl-C
                  --seed <SEED>     What the pretended weather is drawn from [default: 1]
                  --speed <FACTOR>  How much faster than usual (usual: a minute of the story in a second)
                                    [default: 1]
              -h, --help            Print help

            Exit codes: 0 done, 1 failed, 2 usage or configuration.
        "#]],
    );
}

#[test]
fn init() {
    help(
        &["init"],
        &expect![[r#"
            Write a configuration for your Gitea, test it, and say what comes next

            Usage: tinqs-ci init [OPTIONS]

            Options:
                  --url <URL>          Your Gitea's address
                  --token <TOKEN>      An access token; better: GITEA_TOKEN in the environment, or --token-file
                  --token-file <FILE>  A file that holds an access token
                  --scope <SCOPE>      all, user, org:NAME or repo:OWNER/NAME
                  --demand <DEMAND>    How jobs are known [default: auto] [possible values: auto, jobs, push]
                  --labels <LABELS>    Labels that the machines carry, separated by commas; * takes any job
                  --listen <IP:PORT>   Where webhooks and the API are served
                  --webhook-url <URL>  Where your Gitea reaches this server; without it, what --listen says
                  --create-webhook     Add the webhook at your Gitea
                  --output <FILE>      The file to write [default: ./tinqs-ci.toml]
              -y, --yes                Ask nothing, take the flags and the defaults
                  --aws                Make the table and the queue that the configuration names in AWS, where
                                       they are not there
                  --config <FILE>      With --aws: the configuration; without it TINQS_CI_CONFIG, then
                                       ./tinqs-ci.toml if it is there
                  --queue-name <NAME>  With --aws: make a queue of this name too, and NAME-dead for what cannot
                                       be read
                  --dry-run            With --aws: only say what would be done
              -h, --help               Print help

            Exit codes: 0 done, 1 failed, 2 usage or configuration.
        "#]],
    );
}

#[test]
fn doctor() {
    help(
        &["doctor"],
        &expect![[r#"
        Check everything that serve needs, and say what to do about what is missing

        Usage: tinqs-ci doctor [OPTIONS]

        Options:
              --config <FILE>    The configuration; without it TINQS_CI_CONFIG, then ./tinqs-ci.toml if it
                                 is there
          -o, --output <OUTPUT>  Form of the answer [default: text] [possible values: text, json]
              --offline          Only what needs no network
          -h, --help             Print help

        Exit codes: 0 done, 1 failed, 2 usage or configuration.
    "#]],
    );
}

#[test]
fn get() {
    help(
        &["get"],
        &expect![[r#"
        List runs, machines, registrations or classes

        Usage: tinqs-ci get [OPTIONS] [KIND] [NAME]

        Arguments:
          [KIND]  runs, machines, registrations or classes; or KIND/NAME [default: runs]
          [NAME]  Only this one

        Options:
          -o, --output <OUTPUT>    Form of the answer [default: table] [possible values: table, wide, json,
                                   yaml, name]
          -w, --watch              Go on and print what changes, every two seconds, until Ctrl-C
              --phase <PHASE>      Only runs of this phase [possible values: waiting, starting, running,
                                   finished]
              --class <CLASS>      Only of this class
              --repo <OWNER/NAME>  Only runs of this repository
              --limit <N>          At most so many runs
              --server <URL>       The server's address; without it TINQS_CI_URL, then http://127.0.0.1:8080
          -h, --help               Print help

        Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 not found, 4 server not reached.
    "#]],
    );
}

#[test]
fn describe() {
    help(
        &["describe"],
        &expect![[r#"
        Tell everything about a run

        Usage: tinqs-ci describe [OPTIONS] <NAME>

        Arguments:
          <NAME>  The run: job-4812, or run/job-4812

        Options:
              --server <URL>  The server's address; without it TINQS_CI_URL, then http://127.0.0.1:8080
          -h, --help          Print help

        Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 not found, 4 server not reached.
    "#]],
    );
}

#[test]
fn plan() {
    help(
        &["plan"],
        &expect![[r#"
            Show what a reconcile of a run would do now; nothing is done

            Usage: tinqs-ci plan [OPTIONS] [NAME]

            Arguments:
              [NAME]  The run

            Options:
              -f, --file <FILE>      Plan this observation instead (JSON; - is standard input); needs no server
                  --exit-code        Exit with 0 where all is settled, with 2 where something is to be done
              -o, --output <OUTPUT>  Form of the answer [default: text] [possible values: text, json]
                  --server <URL>     The server's address; without it TINQS_CI_URL, then http://127.0.0.1:8080
              -h, --help             Print help

            Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 server not reached; with --exit-code:
            0 settled, 2 something to do.
        "#]],
    );
}

#[test]
fn delete() {
    help(
        &["delete"],
        &expect![[r#"
        Give this job no machine any more; a machine at work goes on

        Usage: tinqs-ci delete [OPTIONS] <NAME>

        Arguments:
          <NAME>  The run

        Options:
              --now           End its machine at once, even at work
              --dry-run       Only say what would be done
              --server <URL>  The server's address; without it TINQS_CI_URL, then http://127.0.0.1:8080
          -h, --help          Print help

        Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 not found, 4 server not reached.
    "#]],
    );
}

#[test]
fn explain() {
    help(
        &["explain"],
        &expect![[r#"
        Tell why a machine came, or did not

        Usage: tinqs-ci explain <COMMAND>

        Commands:
          push  What a pushed commit starts: each workflow file, each filter, each job
          job   How a job stands at the forge, what was tried for it, what comes next

        Options:
          -h, --help  Print help

        Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 not found, 4 server not reached.
    "#]],
    );
    help(
        &["explain", "push"],
        &expect![[r#"
        What a pushed commit starts: each workflow file, each filter, each job

        Usage: tinqs-ci explain push [OPTIONS] <REPO> <SHA>

        Arguments:
          <REPO>  The repository: OWNER/NAME
          <SHA>   The commit

        Options:
              --ref <REF>        The branch, or refs/…, it is pushed to; without it the branch whose tip it
                                 is
          -o, --output <OUTPUT>  Form of the answer [default: text] [possible values: text, json]
              --server <URL>     The server's address; without it TINQS_CI_URL, then http://127.0.0.1:8080
          -h, --help             Print help

        Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 not found, 4 server not reached.
    "#]],
    );
    help(
        &["explain", "job"],
        &expect![[r#"
        How a job stands at the forge, what was tried for it, what comes next

        Usage: tinqs-ci explain job [OPTIONS] <ID>

        Arguments:
          <ID>  The job's id at the forge, or job-ID

        Options:
              --repo <OWNER/NAME>  Its repository, OWNER/NAME, where nothing here knows the job
          -o, --output <OUTPUT>    Form of the answer [default: text] [possible values: text, json]
              --server <URL>       The server's address; without it TINQS_CI_URL, then http://127.0.0.1:8080
          -h, --help               Print help

        Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 not found, 4 server not reached.
    "#]],
    );
}

#[test]
fn retry() {
    help(
        &["retry"],
        &expect![[r#"
        Try now: clears backing off, giving up and a deletion

        Usage: tinqs-ci retry [OPTIONS] <NAME>

        Arguments:
          <NAME>  The run

        Options:
              --dry-run       Only say what would be done
              --server <URL>  The server's address; without it TINQS_CI_URL, then http://127.0.0.1:8080
          -h, --help          Print help

        Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 not found, 4 server not reached.
    "#]],
    );
}

#[test]
fn terminate() {
    help(
        &["terminate"],
        &expect![[r#"
        End a machine at once, even at work

        Usage: tinqs-ci terminate [OPTIONS] <MACHINE>

        Arguments:
          <MACHINE>  The machine's id, as `get machines` lists it

        Options:
              --dry-run       Only say what would be done
              --server <URL>  The server's address; without it TINQS_CI_URL, then http://127.0.0.1:8080
          -h, --help          Print help

        Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 not found, 4 server not reached.
    "#]],
    );
}

#[test]
fn sweep() {
    help(
        &["sweep"],
        &expect![[r#"
        Go through all jobs, machines and registrations now

        Usage: tinqs-ci sweep [OPTIONS]

        Options:
          -o, --output <OUTPUT>  Form of the answer [default: text] [possible values: text, json]
              --server <URL>     The server's address; without it TINQS_CI_URL, then http://127.0.0.1:8080
          -h, --help             Print help

        Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 not found, 4 server not reached.
    "#]],
    );
}

#[test]
fn eval() {
    help(
        &["eval"],
        &expect![[r#"
            Answer the forge's rules on their own: one JSON case a line in, one result a line out

            Usage: tinqs-ci eval [OPTIONS] <KIND>

            Arguments:
              <KIND>  Which rule: patterns, trigger, notify, jobs, labels, changed-files, signature or
                      workflow-path

            Options:
                  --server <LINE>  Of which server line [default: 1.26] [possible values: 1.25, 1.26, 1.27]
              -h, --help           Print help

            Exit codes: 0 done, 1 a line was malformed, 2 usage.
        "#]],
    );
}

#[test]
fn schema() {
    help(
        &["schema"],
        &expect![[r#"
            Print a JSON Schema

            Usage: tinqs-ci schema <KIND>

            Arguments:
              <KIND>  Of what [possible values: config, run, observation, table, metrics]

            Options:
              -h, --help  Print help

            Exit codes: 0 done, 1 failed, 2 usage or configuration.
        "#]],
    );
}

#[test]
fn completion() {
    help(
        &["completion"],
        &expect![[r#"
        Print the completion script of a shell

        Usage: tinqs-ci completion <SHELL>

        Arguments:
          <SHELL>  Which [possible values: bash, elvish, fish, powershell, zsh]

        Options:
          -h, --help  Print help

        Exit codes: 0 done, 1 failed, 2 usage or configuration.
    "#]],
    );
}

#[test]
fn version() {
    help(
        &["version"],
        &expect![[r#"
        Print the version

        Usage: tinqs-ci version [OPTIONS]

        Options:
          -o, --output <OUTPUT>  Form of the answer [default: text] [possible values: text, json]
          -h, --help             Print help

        Exit codes: 0 done, 1 failed, 2 usage or configuration.
    "#]],
    );
}

#[test]
fn unknown_commands_are_not_listed() {
    let said = tinqs(&["--help"]);
    assert!(!said.out.contains("drift"), "{}", said.out);
    assert_eq!(tinqs(&["drift"]).code, 2);
}

#[test]
fn the_reference_contains_every_command() {
    let page = tinqs_ci::commands::reference();
    for verb in [
        "serve",
        "lambda",
        "demo",
        "init",
        "doctor",
        "get",
        "describe",
        "plan",
        "explain",
        "delete",
        "retry",
        "terminate",
        "sweep",
        "eval",
        "schema",
        "completion",
        "version",
    ] {
        assert!(page.contains(&format!("\n## {verb}\n")), "{verb}");
    }
}
