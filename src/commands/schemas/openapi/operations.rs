//! The routes of `/v1`: a new route is described here.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use tinqs_ci_reconciler::controller::SweepReport;
use tinqs_ci_reconciler::model::Run;

use super::operation::{Answer, Body, Form, Operation, Parameter, header, json_of, path, query};
use crate::api::explain::{JobExplained, PushExplained};
use crate::api::status::{StatusView, WaitReasons};
use crate::api::{
    Class, DriftList, EventList, LOG_CUT, LOG_TAIL_LIMIT, List, MACHINE_STATE, MachineView, Pauses,
    Plan, Registration, Reloaded, SignIn, UsageList,
};

fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

const ETAG: &[(&str, &str)] = &[("ETag", "The version of the run.")];
const OF_LOG: &[(&str, &str)] = &[
    (LOG_CUT, "`true` if there is more before it."),
    (MACHINE_STATE, "`booting`, `up`, `ending` or `gone`."),
];

const RUN_NAME: Parameter = path("name", "The name of the run: `job-<number>` or `push-<hash>`.");
const MACHINE_ID: Parameter = path("id", "The ID of the machine.");
const IF_MATCH: Parameter = header("If-Match", "The `ETag` of the version to change.");

/// The run after a change.
const CHANGED_RUN: Answer = Answer {
    status: 202,
    about: "The run after the change.",
    body: Body::Json(of::<Run>),
    headers: ETAG,
};

const CLASS_NAME: Parameter = path("name", "The name of the class.");

/// The pauses after a change.
const PAUSED: Answer = json_of("What is paused now.", of::<Pauses>);

/// Every route of `/v1`.
pub(super) const OPERATIONS: &[Operation] = &[
    Operation {
        method: "get",
        path: "/v1/runs",
        id: "listRuns",
        about: "The runs, newest first.",
        parameters: &[
            query(
                "phase",
                Form::Words(&["Waiting", "Starting", "Running", "Finished"]),
                "Only runs in this phase; upper and lower case are the same.",
            ),
            query("class", Form::Text, "Only runs with an attempt of this class."),
            query("repo", Form::Text, "Only runs of this repository, `owner/name`."),
            query("limit", Form::Number(1, 500), "The number of runs of a page; 100 by default."),
            query("after", Form::Text, "The `next` of the page before."),
        ],
        answers: &[json_of("A page of runs.", of::<List<Run>>)],
        errors: &[],
    },
    Operation {
        method: "get",
        path: "/v1/runs/{name}",
        id: "getRun",
        about: "A run.",
        parameters: &[RUN_NAME, header("If-None-Match", "The `ETag` of a known version.")],
        answers: &[
            Answer { status: 200, about: "The run.", body: Body::Json(of::<Run>), headers: ETAG },
            Answer {
                status: 304,
                about: "The run has the known version.",
                body: Body::None,
                headers: ETAG,
            },
        ],
        errors: &[],
    },
    Operation {
        method: "delete",
        path: "/v1/runs/{name}",
        id: "deleteRun",
        about: "Deletes a run: its job gets no machine any more.",
        parameters: &[
            RUN_NAME,
            query(
                "now",
                Form::Words(&["true", "false"]),
                "Whether to terminate its machine too, even mid-job.",
            ),
            IF_MATCH,
        ],
        answers: &[CHANGED_RUN],
        errors: &[409, 412],
    },
    Operation {
        method: "get",
        path: "/v1/runs/{name}/plan",
        id: "planRun",
        about: "What a reconcile of the run would do now. Changes nothing.",
        parameters: &[RUN_NAME],
        answers: &[json_of("The observation and the plan.", of::<Plan>)],
        errors: &[409],
    },
    Operation {
        method: "post",
        path: "/v1/runs/{name}/retry",
        id: "retryRun",
        about: "Clears the backoff, the outcome `GaveUp` and the deletion of a run; its waiting \
                time starts again.",
        parameters: &[RUN_NAME, IF_MATCH],
        answers: &[CHANGED_RUN],
        errors: &[409, 412],
    },
    Operation {
        method: "get",
        path: "/v1/machines",
        id: "listMachines",
        about: "The machines with the installation's tag, newest first.",
        parameters: &[],
        answers: &[json_of("All of them.", of::<List<MachineView>>)],
        errors: &[],
    },
    Operation {
        method: "post",
        path: "/v1/machines/{id}/terminate",
        id: "terminateMachine",
        about: "Terminates a machine, even mid-job.",
        parameters: &[MACHINE_ID, header("If-Match", "Only `*`: a machine has no version.")],
        answers: &[Answer {
            status: 202,
            about: "The machine as it was before.",
            body: Body::Json(of::<MachineView>),
            headers: &[],
        }],
        errors: &[409, 412],
    },
    Operation {
        method: "get",
        path: "/v1/machines/{id}/log",
        id: "getMachineLog",
        about: "The end of what a machine printed, for a token that may operate.",
        parameters: &[
            MACHINE_ID,
            query(
                "tail",
                Form::Number(1, LOG_TAIL_LIMIT as u64),
                "The number of bytes; 65536 by default.",
            ),
        ],
        answers: &[
            Answer { status: 200, about: "The log.", body: Body::Text, headers: OF_LOG },
            Answer {
                status: 204,
                about: "No output: none yet, or none any more of a machine that is gone.",
                body: Body::None,
                headers: OF_LOG,
            },
        ],
        errors: &[403, 409],
    },
    Operation {
        method: "get",
        path: "/v1/registrations",
        id: "listRegistrations",
        about: "The registrations of the installation's runners at the forge, newest first.",
        parameters: &[],
        answers: &[json_of("All of them.", of::<List<Registration>>)],
        errors: &[],
    },
    Operation {
        method: "get",
        path: "/v1/classes",
        id: "listClasses",
        about: "The classes as configured, with seats, machines, runs and unavailable offerings.",
        parameters: &[],
        answers: &[json_of("All of them.", of::<List<Class>>)],
        errors: &[],
    },
    Operation {
        method: "post",
        path: "/v1/pause",
        id: "pause",
        about: "Launches no more machines until they are resumed. Nothing that runs is touched.",
        parameters: &[],
        answers: &[PAUSED],
        errors: &[409],
    },
    Operation {
        method: "post",
        path: "/v1/resume",
        id: "resume",
        about: "Ends every pause.",
        parameters: &[],
        answers: &[PAUSED],
        errors: &[409],
    },
    Operation {
        method: "post",
        path: "/v1/classes/{name}/pause",
        id: "pauseClass",
        about: "Launches no more machines of a class until it is resumed.",
        parameters: &[CLASS_NAME],
        answers: &[PAUSED],
        errors: &[409],
    },
    Operation {
        method: "post",
        path: "/v1/classes/{name}/resume",
        id: "resumeClass",
        about: "Ends the pause of a class, which stays paused as long as all are.",
        parameters: &[CLASS_NAME],
        answers: &[PAUSED],
        errors: &[409],
    },
    Operation {
        method: "get",
        path: "/v1/status",
        id: "getStatus",
        about: "What is well and what is not. Calls neither forge nor cloud.",
        parameters: &[],
        answers: &[json_of("The state of the installation.", of::<StatusView>)],
        errors: &[],
    },
    Operation {
        method: "get",
        path: "/v1/usage",
        id: "getUsage",
        about: "What the machines of a month did, in sums.",
        parameters: &[
            query(
                "by",
                Form::Words(&["repo", "class", "workflow", "day"]),
                "The grouping of the sums; `repo` by default.",
            ),
            query("month", Form::Text, "The month in UTC, `2026-11`; by default the current one."),
        ],
        answers: &[json_of("The usage of the month.", of::<UsageList>)],
        errors: &[],
    },
    Operation {
        method: "get",
        path: "/v1/backup",
        id: "getBackup",
        about: "Everything that the store keeps, for a token that may operate.",
        parameters: &[query(
            "secrets",
            Form::Words(&["true", "false"]),
            "Whether it has the credentials of attempts; `false` by default.",
        )],
        answers: &[Answer {
            status: 200,
            about: "A backup. It is whole only with its last line, which has a checksum.",
            body: Body::Lines,
            headers: &[],
        }],
        errors: &[403, 501],
    },
    Operation {
        method: "get",
        path: "/v1/drift",
        id: "listDrift",
        about: "The differences between runs, machines and registrations that last longer than their \
                stage allows, longest first. Calls neither forge nor cloud.",
        parameters: &[],
        answers: &[json_of("The open drift.", of::<DriftList>)],
        errors: &[],
    },
    Operation {
        method: "get",
        path: "/v1/events",
        id: "listEvents",
        about: "What happened, oldest first: a list, or with `Accept: text/event-stream` a stream.",
        parameters: &[
            query("since", Form::Text, "A time, or the ID of an event."),
            query("run", Form::Text, "The name of a run."),
            query("limit", Form::Number(1, 2000), "The newest so many; 500 by default."),
            header("Last-Event-ID", "The last event that a stream has sent."),
        ],
        answers: &[Answer {
            status: 200,
            about: "The events. In a stream, each message has an event as JSON in `data`.",
            body: Body::JsonOrStream(of::<EventList>),
            headers: &[],
        }],
        errors: &[406],
    },
    Operation {
        method: "get",
        path: "/v1/why",
        id: "why",
        about: "Why a job waits.",
        parameters: &[query(
            "what",
            Form::Text,
            "The URL of the job's page, a job ID or the name of a run. Without it: everything that \
             is not well, and every waiting run.",
        )],
        answers: &[json_of("The story of the job.", of::<WaitReasons>)],
        errors: &[],
    },
    Operation {
        method: "get",
        path: "/v1/explain/push",
        id: "explainPush",
        about: "The evaluation of a pushed commit.",
        parameters: &[
            query("repo", Form::Text, "`owner/name`."),
            query("sha", Form::Text, "A commit, a branch or a tag."),
            query("ref", Form::Text, "A branch or `refs/…`."),
        ],
        answers: &[json_of("Each workflow file with its verdict.", of::<PushExplained>)],
        errors: &[501],
    },
    Operation {
        method: "get",
        path: "/v1/explain/job/{id}",
        id: "explainJob",
        about: "The job's status at the forge, its attempts and the next step.",
        parameters: &[
            path("id", "The ID of the job."),
            query("repo", Form::Text, "Needed if the job has no run and does not wait."),
        ],
        answers: &[json_of("The job.", of::<JobExplained>)],
        errors: &[409],
    },
    Operation {
        method: "post",
        path: "/v1/sign-in",
        id: "signIn",
        about: "Makes a one-time address at which a browser signs in as the caller. A token that \
                may read suffices; a cookie does not.",
        parameters: &[],
        answers: &[json_of("The address.", of::<SignIn>)],
        errors: &[409],
    },
    Operation {
        method: "post",
        path: "/v1/sweep",
        id: "sweep",
        about: "Polls and sweeps now.",
        parameters: &[],
        answers: &[json_of("One report of both.", of::<SweepReport>)],
        errors: &[],
    },
    Operation {
        method: "post",
        path: "/v1/reload",
        id: "reload",
        about: "Reads the configuration again.",
        parameters: &[],
        answers: &[json_of("What changed.", of::<Reloaded>)],
        errors: &[409, 422],
    },
];
