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
    // An editor removes the spaces that clap leaves on empty lines.
    let lines: Vec<&str> = said.out.split('\n').map(str::trim_end).collect();
    expected.assert_eq(&lines.join("\n"));
}

#[test]
fn all_commands() {
    help(
        &[],
        &expect![[r#"
            Runs each waiting Gitea Actions job on its own ephemeral machine

            Usage: tinqs-ci <COMMAND>

            Commands:
              serve       Run the server: webhooks, the loops, the API
              lambda      Run the server as an AWS Lambda function: requests, queue batches, schedule, EC2
                          events
              demo        Show how it works in ten seconds: the real controller with a simulated forge and
                          machines
              init        Create and test a configuration for your Gitea
              webhook     Create, show, test or remove the webhook at the forge
              doctor      Check everything that serve needs, and suggest fixes
              config      Check the configuration, or show every value with its origin
              status      Show what is well and what is not; exit code 1 if something needs a person
              drift       Show what differs between runs, machines and registrations for longer than it may
              usage       Show what the machines of a month did, and what that cost
              why         Say why a job waits, and what would unblock it
              get         List runs, machines, registrations, classes or events
              describe    Show the details of a run
              plan        Show what a reconcile of a run would do now, without doing it
              explain     Explain why a job got a machine, or did not
              logs        Show what a machine printed: its boot script and its runner, not its job
              watch       Print each change of a run, one per line, until it is finished
              delete      Delete a run: its job gets no more machines; a machine with a job continues
              retry       Retry a run now: clears its backoff, giving up and deletion
              terminate   Terminate a machine at once, even mid-job
              pause       Launch no more machines, of a class or of all; nothing that runs is touched
              resume      Launch machines again
              open        Print a one-time address that signs a browser in to the page; opens nothing
              sweep       Check all jobs, machines and registrations now
              backup      Write everything that the server's store keeps to a file
              restore     Put a backup into the empty store of the configuration; the server must be stopped
              rebuild     Make a lost store again from machines and waiting jobs; the server must be stopped
              reload      Let the server read its configuration again, as SIGHUP does
              eval        Evaluate the forge's rules: reads one JSON case per line, writes one result per line
              schema      Print a JSON Schema
              completion  Print a shell completion script, which completes runs, machines and classes too
              man         Write the manual: a page for each command
              version     Print the version
              help        Print this message or the help of the given subcommand(s)

            Options:
              -h, --help     Print help
              -V, --version  Print version

            First steps: `tinqs-ci demo` shows how it works in ten seconds; `tinqs-ci init` sets it up for your
            Gitea.

            Environment: TINQS_CI_CONFIG (configuration file), TINQS_CI_<SECTION>__<KEY> (overrides the file),
            TINQS_CI_LOG (log filter of the server: info, debug, info,tinqs_ci=debug), TINQS_CI_URL,
            TINQS_CI_API_TOKEN and TINQS_CI_CA_FILE (for commands that call a server), NO_COLOR.

            Exit codes: 0 success, 1 failure, 2 usage or configuration error, 3 not found, 4 cannot reach the
            server.
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
                      The configuration file; defaults to TINQS_CI_CONFIG, then ./tinqs-ci.toml if it exists

                  --role <ROLE>
                      The work of this process: ingest only accepts webhooks, reconcile does everything else

                      Possible values:
                      - all:       All work
                      - ingest:    Accepts webhooks: writes them to the inbox and wakes a reader, and needs no
                        other right
                      - reconcile: All work except webhooks

                      [default: all]

                  --insecure-api
                      Let other hosts reach the API without TLS: tokens can then be read on the way

                  --insecure-secrets
                      Accept a webhook secret or a token shorter than 8 bytes

                  --insecure-files
                      Accept files of credentials that every user of this host can read

                  --insecure-forge
                      Call a forge at a public address by http://: its token can then be read on the way

                  --insecure-root
                      Run the jobs of process: machines as root, because the server is root and process.user is
                      not set

              -h, --help
                      Print help (see a summary with '-h')

            Exit codes: 0 success, 1 failure, 2 usage or configuration error.
        "#]],
    );
}

#[test]
fn demo() {
    help(
        &["demo"],
        &expect![[r#"
            Show how it works in ten seconds: the real controller with a simulated forge and machines

            Usage: tinqs-ci demo [OPTIONS]

            Options:
                  --stay            Keep running after the demo, until Ctrl-C
                  --seed <SEED>     Seed of the random durations [default: 1]
                  --speed <FACTOR>  Speed factor; at 1, a simulated minute takes one second [default: 1]
              -h, --help            Print help

            Exit codes: 0 success, 1 failure, 2 usage or configuration error.
        "#]],
    );
}

#[test]
fn init() {
    help(
        &["init"],
        &expect![[r#"
            Create and test a configuration for your Gitea

            Usage: tinqs-ci init [OPTIONS]

            Options:
                  --url <URL>             The address of your Gitea
                  --token <TOKEN>         An access token, which is written to a file readable only by you;
                                          prefer the variable GITEA_TOKEN, or --token-file
                  --token-file <FILE>     A file that holds an access token
                  --token-env <NAME>      The environment variable in which serve will find an access token,
                                          instead of a file
                  --scope <SCOPE>         The jobs to serve: all, user, org:NAME or repo:OWNER/NAME
                  --demand <DEMAND>       The source of waiting jobs [default: auto] [possible values: auto,
                                          jobs, push]
                  --labels <LABELS>       The labels of the machines, separated by commas; * serves any job
                                          except `host`; defaults to linux and the ubuntu labels of Gitea's
                                          runner
                  --repos <REPOS>         The repositories whose jobs the machines serve, separated by commas:
                                          owner/name, in which * stands for any part of either; defaults to all,
                                          every repository of the scope
                  --listen <IP:PORT>      The address that takes webhooks
                  --webhook-url <URL>     The webhook URL, as your Gitea reaches this server; defaults to the
                                          address of --listen
                  --create-webhook        Create the webhook in Gitea
                  --output <FILE>         The file to write; one that exists is checked and completed, not
                                          changed [default: ./tinqs-ci.toml]
              -y, --yes                   Do not ask; use the flags and the defaults
                  --aws                   Create the missing AWS table and queue that the configuration names
                  --from-lambda [<FILE>]  Write the configuration that the variables of the predecessor's Lambda
                                          function mean, and say what changes: those of the environment, or of a
                                          file with the output of `aws lambda get-function-configuration` (- is
                                          standard input)
                  --config <FILE>         With --aws: the configuration file; defaults to TINQS_CI_CONFIG, then
                                          ./tinqs-ci.toml
                  --queue-name <NAME>     With --aws: also create a queue of this name, and NAME-dead for
                                          unreadable messages
                  --dry-run               With --aws: only print what would be done
              -h, --help                  Print help

            Exit codes: 0 success, 1 failure, 2 usage or configuration error.
        "#]],
    );
}

#[test]
fn doctor() {
    help(
        &["doctor"],
        &expect![[r#"
            Check everything that serve needs, and suggest fixes

            Usage: tinqs-ci doctor [OPTIONS]

            Options:
                  --config <FILE>    The configuration file; defaults to TINQS_CI_CONFIG, then ./tinqs-ci.toml
                                     if it exists
              -o, --output <OUTPUT>  Output format [default: text] [possible values: text, json]
                  --offline          Only run checks that need no network
              -h, --help             Print help

            Exit codes: 0 success, 1 failure, 2 usage or configuration error.
        "#]],
    );
}

#[test]
fn get() {
    help(
        &["get"],
        &expect![[r#"
            List runs, machines, registrations, classes or events

            Usage: tinqs-ci get [OPTIONS] [KIND] [NAME]

            Arguments:
              [KIND]  runs, machines, registrations, classes or events; or KIND/NAME [default: runs]
              [NAME]  Only list the item with this name

            Options:
              -o, --output <OUTPUT>    Output format [default: table] [possible values: table, wide, json, yaml,
                                       name]
              -w, --watch              Keep running and print changes, every two seconds (events: at once),
                                       until Ctrl-C
                  --phase <PHASE>      Only list runs in this phase [possible values: waiting, starting,
                                       running, finished]
                  --class <CLASS>      Only list runs or machines of this class
                  --repo <OWNER/NAME>  Only list runs of this repository
                  --sort <KEY>         Sort runs or machines by this; age: the oldest first [possible values:
                                       age, repo, class, phase]
                  --for <URL|ID|RUN>   Only list events of this run: its name, the ID of its job, or the URL of
                                       that job's page
                  --limit <N>          The maximum number of runs or events
                  --server <URL>       The address of the server's API; defaults to TINQS_CI_URL, then to the
                                       server of the configuration in this directory
                  --token-file <FILE>  A file with a token of the API; defaults to TINQS_CI_API_TOKEN, then to a
                                       token of that configuration
                  --ca-file <FILE>     A file with the certificates of a private authority, which the server's
                                       certificate may come from; defaults to TINQS_CI_CA_FILE
              -h, --help               Print help

            Exit codes: 0 success, 1 failure, 2 usage or configuration error, 3 not found, 4 cannot reach the
            server.
        "#]],
    );
}

#[test]
fn status() {
    help(
        &["status"],
        &expect![[r#"
            Show what is well and what is not; exit code 1 if something needs a person

            Usage: tinqs-ci status [OPTIONS]

            Options:
              -o, --output <OUTPUT>    Output format [default: text] [possible values: text, json]
                  --server <URL>       The address of the server's API; defaults to TINQS_CI_URL, then to the
                                       server of the configuration in this directory
                  --token-file <FILE>  A file with a token of the API; defaults to TINQS_CI_API_TOKEN, then to a
                                       token of that configuration
                  --ca-file <FILE>     A file with the certificates of a private authority, which the server's
                                       certificate may come from; defaults to TINQS_CI_CA_FILE
              -h, --help               Print help

            Exit codes: 0 success, 1 failure, 2 usage or configuration error, 3 not found, 4 cannot reach the
            server.
        "#]],
    );
}

#[test]
fn why() {
    help(
        &["why"],
        &expect![[r#"
            Say why a job waits, and what would unblock it

            Usage: tinqs-ci why [OPTIONS] [URL|ID|RUN]

            Arguments:
              [URL|ID|RUN]  The URL of the job's page at the forge, a job ID, or a run; without it, everything
                            that is not well

            Options:
              -o, --output <OUTPUT>    Output format [default: text] [possible values: text, json]
                  --server <URL>       The address of the server's API; defaults to TINQS_CI_URL, then to the
                                       server of the configuration in this directory
                  --token-file <FILE>  A file with a token of the API; defaults to TINQS_CI_API_TOKEN, then to a
                                       token of that configuration
                  --ca-file <FILE>     A file with the certificates of a private authority, which the server's
                                       certificate may come from; defaults to TINQS_CI_CA_FILE
              -h, --help               Print help

            Exit codes: 0 success, 1 failure, 2 usage or configuration error, 3 not found, 4 cannot reach the
            server.
        "#]],
    );
}

#[test]
fn describe() {
    help(
        &["describe"],
        &expect![[r#"
            Show the details of a run

            Usage: tinqs-ci describe [OPTIONS] <NAME>

            Arguments:
              <NAME>  The name of the run: job-4812 or run/job-4812

            Options:
              -v, --verbose            Also show internals: UID, version, numbers of attempts
                  --server <URL>       The address of the server's API; defaults to TINQS_CI_URL, then to the
                                       server of the configuration in this directory
                  --token-file <FILE>  A file with a token of the API; defaults to TINQS_CI_API_TOKEN, then to a
                                       token of that configuration
                  --ca-file <FILE>     A file with the certificates of a private authority, which the server's
                                       certificate may come from; defaults to TINQS_CI_CA_FILE
              -h, --help               Print help

            Exit codes: 0 success, 1 failure, 2 usage or configuration error, 3 not found, 4 cannot reach the
            server.
        "#]],
    );
}

#[test]
fn plan() {
    help(
        &["plan"],
        &expect![[r#"
            Show what a reconcile of a run would do now, without doing it

            Usage: tinqs-ci plan [OPTIONS] [NAME]

            Arguments:
              [NAME]  The name of the run

            Options:
              -f, --file <FILE>        Plan this observation instead (JSON; - is standard input); needs no
                                       server
                  --exit-code          Exit with 0 if the run is settled, with 2 if changes are planned
              -v, --verbose            Also show the rules of the decision table
              -o, --output <OUTPUT>    Output format [default: text] [possible values: text, json]
                  --server <URL>       The address of the server's API; defaults to TINQS_CI_URL, then to the
                                       server of the configuration in this directory
                  --token-file <FILE>  A file with a token of the API; defaults to TINQS_CI_API_TOKEN, then to a
                                       token of that configuration
                  --ca-file <FILE>     A file with the certificates of a private authority, which the server's
                                       certificate may come from; defaults to TINQS_CI_CA_FILE
              -h, --help               Print help

            Exit codes: 0 success, 1 failure, 2 usage error, 3 not found, 4 cannot reach the server; with
            --exit-code: 0 settled, 2 changes are planned.
        "#]],
    );
}

#[test]
fn delete() {
    help(
        &["delete"],
        &expect![[r#"
            Delete a run: its job gets no more machines; a machine with a job continues

            Usage: tinqs-ci delete [OPTIONS] <NAME>

            Arguments:
              <NAME>  The name of the run

            Options:
                  --now                Also terminate its machine at once, even mid-job
                  --dry-run            Only print what would be done
                  --server <URL>       The address of the server's API; defaults to TINQS_CI_URL, then to the
                                       server of the configuration in this directory
                  --token-file <FILE>  A file with a token of the API; defaults to TINQS_CI_API_TOKEN, then to a
                                       token of that configuration
                  --ca-file <FILE>     A file with the certificates of a private authority, which the server's
                                       certificate may come from; defaults to TINQS_CI_CA_FILE
              -h, --help               Print help

            Exit codes: 0 success, 1 failure, 2 usage or configuration error, 3 not found, 4 cannot reach the
            server.
        "#]],
    );
}

#[test]
fn explain() {
    help(
        &["explain"],
        &expect![[r#"
            Explain why a job got a machine, or did not

            Usage: tinqs-ci explain <COMMAND>

            Commands:
              push  Explain what a pushed commit starts: each workflow file, each filter, each job
              job   Explain a job: its status at the forge, its attempts, and the next step
              help  Print this message or the help of the given subcommand(s)

            Options:
              -h, --help  Print help

            Exit codes: 0 success, 1 failure, 2 usage or configuration error, 3 not found, 4 cannot reach the
            server.
        "#]],
    );
    help(
        &["explain", "push"],
        &expect![[r#"
            Explain what a pushed commit starts: each workflow file, each filter, each job

            Usage: tinqs-ci explain push [OPTIONS] <REPO> <COMMIT|BRANCH|TAG>

            Arguments:
              <REPO>               The repository: OWNER/NAME
              <COMMIT|BRANCH|TAG>  The commit, or the name of a branch or tag: then its commit, as pushed to it

            Options:
                  --ref <REF>          The branch, or refs/…, that the commit is pushed to; defaults to the
                                       given branch or tag, else to the branch whose tip it is
              -o, --output <OUTPUT>    Output format [default: text] [possible values: text, json]
                  --server <URL>       The address of the server's API; defaults to TINQS_CI_URL, then to the
                                       server of the configuration in this directory
                  --token-file <FILE>  A file with a token of the API; defaults to TINQS_CI_API_TOKEN, then to a
                                       token of that configuration
                  --ca-file <FILE>     A file with the certificates of a private authority, which the server's
                                       certificate may come from; defaults to TINQS_CI_CA_FILE
              -h, --help               Print help

            Exit codes: 0 success, 1 failure, 2 usage or configuration error, 3 not found, 4 cannot reach the
            server.
        "#]],
    );
    help(
        &["explain", "job"],
        &expect![[r#"
            Explain a job: its status at the forge, its attempts, and the next step

            Usage: tinqs-ci explain job [OPTIONS] <ID>

            Arguments:
              <ID>  The job's ID at the forge, or job-ID

            Options:
                  --repo <OWNER/NAME>  The job's repository, OWNER/NAME, needed if the job has no run
              -v, --verbose            Also show internals: numbers of attempts, rules of the decision table
              -o, --output <OUTPUT>    Output format [default: text] [possible values: text, json]
                  --server <URL>       The address of the server's API; defaults to TINQS_CI_URL, then to the
                                       server of the configuration in this directory
                  --token-file <FILE>  A file with a token of the API; defaults to TINQS_CI_API_TOKEN, then to a
                                       token of that configuration
                  --ca-file <FILE>     A file with the certificates of a private authority, which the server's
                                       certificate may come from; defaults to TINQS_CI_CA_FILE
              -h, --help               Print help

            Exit codes: 0 success, 1 failure, 2 usage or configuration error, 3 not found, 4 cannot reach the
            server.
        "#]],
    );
}

#[test]
fn retry() {
    help(
        &["retry"],
        &expect![[r#"
            Retry a run now: clears its backoff, giving up and deletion

            Usage: tinqs-ci retry [OPTIONS] <NAME>

            Arguments:
              <NAME>  The name of the run

            Options:
                  --dry-run            Only print what would be done
                  --server <URL>       The address of the server's API; defaults to TINQS_CI_URL, then to the
                                       server of the configuration in this directory
                  --token-file <FILE>  A file with a token of the API; defaults to TINQS_CI_API_TOKEN, then to a
                                       token of that configuration
                  --ca-file <FILE>     A file with the certificates of a private authority, which the server's
                                       certificate may come from; defaults to TINQS_CI_CA_FILE
              -h, --help               Print help

            Exit codes: 0 success, 1 failure, 2 usage or configuration error, 3 not found, 4 cannot reach the
            server.
        "#]],
    );
}

#[test]
fn terminate() {
    help(
        &["terminate"],
        &expect![[r#"
            Terminate a machine at once, even mid-job

            Usage: tinqs-ci terminate [OPTIONS] <MACHINE>

            Arguments:
              <MACHINE>  The ID of the machine, as listed by `get machines`

            Options:
                  --dry-run            Only print what would be done
                  --server <URL>       The address of the server's API; defaults to TINQS_CI_URL, then to the
                                       server of the configuration in this directory
                  --token-file <FILE>  A file with a token of the API; defaults to TINQS_CI_API_TOKEN, then to a
                                       token of that configuration
                  --ca-file <FILE>     A file with the certificates of a private authority, which the server's
                                       certificate may come from; defaults to TINQS_CI_CA_FILE
              -h, --help               Print help

            Exit codes: 0 success, 1 failure, 2 usage or configuration error, 3 not found, 4 cannot reach the
            server.
        "#]],
    );
}

#[test]
fn sweep() {
    help(
        &["sweep"],
        &expect![[r#"
            Check all jobs, machines and registrations now

            Usage: tinqs-ci sweep [OPTIONS]

            Options:
              -o, --output <OUTPUT>    Output format [default: text] [possible values: text, json]
                  --server <URL>       The address of the server's API; defaults to TINQS_CI_URL, then to the
                                       server of the configuration in this directory
                  --token-file <FILE>  A file with a token of the API; defaults to TINQS_CI_API_TOKEN, then to a
                                       token of that configuration
                  --ca-file <FILE>     A file with the certificates of a private authority, which the server's
                                       certificate may come from; defaults to TINQS_CI_CA_FILE
              -h, --help               Print help

            Exit codes: 0 success, 1 failure, 2 usage or configuration error, 3 not found, 4 cannot reach the
            server.
        "#]],
    );
}

#[test]
fn eval() {
    help(
        &["eval"],
        &expect![[r#"
            Evaluate the forge's rules: reads one JSON case per line, writes one result per line

            Usage: tinqs-ci eval [OPTIONS] <KIND>

            Arguments:
              <KIND>  The rule: patterns, trigger, notify, jobs, labels, changed-files, signature or
                      workflow-path

            Options:
                  --server <LINE>  The Gitea version whose rules apply [default: 1.26] [possible values: 1.25,
                                   1.26, 1.27]
              -h, --help           Print help

            Exit codes: 0 success, 1 a line was malformed, 2 usage error.
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
              <KIND>  The document that the schema describes [possible values: config, run, observation, table,
                      metrics]

            Options:
              -h, --help  Print help

            Exit codes: 0 success, 1 failure, 2 usage or configuration error.
        "#]],
    );
}

#[test]
fn completion() {
    help(
        &["completion"],
        &expect![[r#"
            Print a shell completion script, which completes runs, machines and classes too

            Usage: tinqs-ci completion <SHELL>

            Arguments:
              <SHELL>  The shell [possible values: bash, elvish, fish, powershell, zsh]

            Options:
              -h, --help  Print help

            Exit codes: 0 success, 1 failure, 2 usage or configuration error.
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
              -o, --output <OUTPUT>  Output format [default: text] [possible values: text, json]
              -h, --help             Print help

            Exit codes: 0 success, 1 failure, 2 usage or configuration error.
        "#]],
    );
}

#[test]
fn reload() {
    help(
        &["reload"],
        &expect![[r#"
            Let the server read its configuration again, as SIGHUP does

            Usage: tinqs-ci reload [OPTIONS]

            Options:
              -o, --output <OUTPUT>    Output format [default: text] [possible values: text, json]
                  --server <URL>       The address of the server's API; defaults to TINQS_CI_URL, then to the
                                       server of the configuration in this directory
                  --token-file <FILE>  A file with a token of the API; defaults to TINQS_CI_API_TOKEN, then to a
                                       token of that configuration
                  --ca-file <FILE>     A file with the certificates of a private authority, which the server's
                                       certificate may come from; defaults to TINQS_CI_CA_FILE
              -h, --help               Print help

            Exit codes: 0 success, 1 failure, 2 usage error or broken configuration: the former one stays in
            force, 4 cannot reach the server.
        "#]],
    );
}

#[test]
fn unknown_commands_are_not_listed() {
    let said = tinqs(&["--help"]);
    assert!(!said.out.contains("dashboard"), "{}", said.out);
    assert_eq!(tinqs(&["dashboard"]).code, 2);
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
        "status",
        "why",
        "get",
        "describe",
        "plan",
        "explain",
        "delete",
        "retry",
        "terminate",
        "sweep",
        "reload",
        "eval",
        "schema",
        "completion",
        "version",
    ] {
        assert!(page.contains(&format!("\n## {verb}\n")), "{verb}");
    }
}
