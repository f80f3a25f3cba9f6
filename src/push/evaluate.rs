//! Evaluates a trigger event as the forge does: the same rules over the same files, read through
//! its API.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value};
use tinqs_ci_reconciler::ports::PortError;
use tinqs_ci_workflow::jobs::{self, PlannedJob};
use tinqs_ci_workflow::notify::{
    self, At, Context, Files, Nothing, Notification, Notified, notify_cached,
};
use tinqs_ci_workflow::trigger::{
    Changed, Evaluation, Event, FilterReason, WorkflowCache, is_pull_request,
};
use tinqs_ci_workflow::{Dialect, files, yaml};

use tinqs_ci_gitea::client::{Changes, Client, Folders};
use tinqs_ci_gitea::owner_and_name;
use tinqs_ci_gitea::trigger_event::{TriggerEvent, by_actions};

/// The result of evaluating a trigger event.
#[derive(Clone, Debug)]
pub struct Evaluated {
    /// The trigger event, with the commit that was evaluated.
    pub trigger_event: TriggerEvent,
    /// The Gitea version whose rules apply.
    pub dialect: Dialect,
    /// The changed files; `None` if no filter needs them.
    pub changed: Option<Changes>,
    /// The verdict on each workflow file.
    pub notified: Notified,
    /// The workflow runs that the forge creates.
    pub runs: Vec<WorkflowRun>,
    /// Notes for people.
    pub notes: Vec<String>,
}

/// A workflow run that the forge creates.
#[derive(Clone, Debug)]
pub struct WorkflowRun {
    /// The workflow's ID: its path in the folder of workflows.
    pub workflow: String,
    /// The event, as the file names it.
    pub event: String,
    /// The ref.
    pub git_ref: String,
    /// The commit.
    pub commit: String,
    /// The index among the file's workflow runs for this trigger event: a file with two matching
    /// events has two.
    pub ordinal: usize,
    /// Whether it needs an approval. The API does not tell whether it was given.
    pub held: bool,
    /// The jobs, or why there are none.
    pub jobs: Result<Vec<PlannedJob>, String>,
}

/// The workflow files of the head and base commits, and the cache of parsed files.
struct Read<'m> {
    head: WorkflowFiles,
    base: WorkflowFiles,
    cache: &'m WorkflowCache,
}

/// Workflow files, and the folder that contains them.
#[derive(Default)]
struct WorkflowFiles {
    texts: Files,
    directories: Vec<String>,
}

impl WorkflowFiles {
    /// Returns the file of a workflow.
    fn of(&self, workflow: &str) -> Option<&str> {
        let directory = self.directories.first()?;
        self.texts.get(&format!("{directory}/{workflow}")).map(String::as_str)
    }
}

/// Evaluates a trigger event. Returns `None` if its commit does not exist at the forge or is hidden
/// from the token.
///
/// # Errors
/// The forge cannot be reached, the token lacks a right, or the commit exceeds a size limit.
pub async fn evaluate(
    client: &Client,
    dialect: Dialect,
    trigger_event: &TriggerEvent,
) -> Result<Option<Evaluated>, PortError> {
    let mut trigger_event = trigger_event.clone();
    if trigger_event.commit.is_empty() {
        match client.tip(&trigger_event.repo, &trigger_event.default_branch).await? {
            Some(tip) => trigger_event.commit = tip,
            None => return Ok(None),
        }
    }
    let mut notes = Vec::new();
    let Some(head) = texts(client, &trigger_event.repo, &trigger_event.commit, &mut notes).await?
    else {
        return Ok(None);
    };
    let base = match &trigger_event.base {
        Some((_, sha)) => texts(client, &trigger_event.repo, sha, &mut notes).await?,
        None => None,
    };
    let read = Read { head, base: base.unwrap_or_default(), cache: client.workflow_cache() };
    let mut context = context(&trigger_event, &read);
    let unknown = Changed::Unknown(NOT_READ.to_owned());
    let mut notified = judge(&trigger_event, &read, &unknown, &context, dialect);
    let mut changed = None;
    let mut changed_files = unknown;
    if asks_for_changes(&notified) {
        let found = changes(client, &trigger_event).await?;
        if matches!(found, Changes::Some(_)) {
            notes.push("the change is too large to read: some changed files are missing".into());
        }
        changed_files = match &found {
            Changes::All(files) | Changes::Some(files) => Changed::Files(files.clone()),
            Changes::Unknown(why) => Changed::Unknown(why.clone()),
        };
        notified = judge(&trigger_event, &read, &changed_files, &context, dialect);
        changed = Some(found);
    }
    // Ask for the rest only if a workflow run depends on it.
    let evaluator = Evaluator {
        client,
        trigger_event: &trigger_event,
        read: &read,
        changed: &changed_files,
        dialect,
    };
    let notified = evaluator.closer(&mut context, notified, &mut notes).await?;
    let runs = runs(client, &trigger_event, &read, &notified, dialect).await?;
    Ok(Some(Evaluated { trigger_event, dialect, changed, notified, runs, notes }))
}

/// Placeholder for the changed files until a filter needs them.
const NOT_READ: &str = "not read yet";

async fn texts(
    client: &Client,
    repo: &str,
    commit: &str,
    notes: &mut Vec<String>,
) -> Result<Option<WorkflowFiles>, PortError> {
    let Some(Folders { files, there }) =
        client.workflow_files(repo, commit, &files::DIRECTORIES).await?
    else {
        return Ok(None);
    };
    // The forge uses the first folder that exists, even if it contains no workflow.
    let directories: Vec<String> = there.into_iter().take(1).collect();
    let mut texts = Files::new();
    let first = directories.first().map(|directory| format!("{directory}/")).unwrap_or_default();
    for file in files.into_iter().filter(|file| file.path.starts_with(&first)) {
        match file.text {
            Ok(text) => drop(texts.insert(file.path, String::from_utf8_lossy(&text).into_owned())),
            Err(why) => notes.push(format!("{}: {why}", file.path)),
        }
    }
    Ok(Some(WorkflowFiles { texts, directories }))
}

fn context(trigger_event: &TriggerEvent, read: &Read<'_>) -> Context {
    let mut directories = read.head.directories.clone();
    directories.extend(
        read.base.directories.iter().filter(|d| !read.head.directories.contains(d)).cloned(),
    );
    let message = trigger_event.message.clone().unwrap_or_default();
    let pull = is_pull_request(&trigger_event.event);
    Context {
        default_branch: trigger_event.default_branch.clone(),
        tip_message: if pull { String::new() } else { message.clone() },
        title: pull.then_some(message),
        directories,
        from_fork: trigger_event.fork,
        by_actions: by_actions(&trigger_event.payload),
        restricted: trigger_event.payload.pointer("/sender/restricted") == Some(&Value::Bool(true)),
        ..Context::default()
    }
}

fn judge(
    trigger_event: &TriggerEvent,
    read: &Read<'_>,
    changed: &Changed,
    context: &Context,
    dialect: Dialect,
) -> Notified {
    let event = Event {
        name: &trigger_event.event,
        payload: &trigger_event.payload,
        git_ref: &trigger_event.git_ref,
    };
    let files = &read.head.texts;
    let what = Notification { event, files, base_files: &read.base.texts, changed };
    notify_cached(&what, context, dialect, read.cache)
}

/// Whether a filter needs the changed files.
fn asks_for_changes(notified: &Notified) -> bool {
    let asks = |evaluation: &Evaluation| {
        let filters = evaluation.entries.iter().flat_map(|judged| &judged.filters);
        filters.into_iter().any(|filter| matches!(filter.why, FilterReason::ChangedUnknown(_)))
    };
    let all = notified.workflows.iter().chain(&notified.base_workflows);
    all.into_iter().any(|(_, evaluation)| asks(evaluation))
}

async fn changes(client: &Client, trigger_event: &TriggerEvent) -> Result<Changes, PortError> {
    let TriggerEvent { repo, commit, .. } = trigger_event;
    match &trigger_event.before {
        Some(before) => client.changed_files(repo, before, commit).await,
        // A new branch: only the tip counts, and a merge commit changes no files.
        None => Ok(match client.commit(repo, commit).await? {
            Some(commit) if commit.parents.len() > 1 => Changes::All(Vec::new()),
            Some(commit) => Changes::All(commit.files),
            None => Changes::Unknown(format!("the commit {commit} does not exist at the forge")),
        }),
    }
}

/// The inputs of an evaluation other than the context.
struct Evaluator<'a> {
    client: &'a Client,
    trigger_event: &'a TriggerEvent,
    read: &'a Read<'a>,
    changed: &'a Changed,
    dialect: Dialect,
}

impl Evaluator<'_> {
    fn judge(&self, context: &Context) -> Notified {
        judge(self.trigger_event, self.read, self.changed, context, self.dialect)
    }

    /// Asks the forge for what only matters if something would run: the commit's message, disabled
    /// workflows, and whether a fork's author is trusted.
    async fn closer(
        &self,
        context: &mut Context,
        mut notified: Notified,
        notes: &mut Vec<String>,
    ) -> Result<Notified, PortError> {
        let Self { client, trigger_event, .. } = *self;
        let pull = is_pull_request(&trigger_event.event);
        let skips =
            ["push", "pull_request", "pull_request_sync"].contains(&trigger_event.event.as_str());
        if !notified.runs.is_empty()
            && skips
            && (pull || trigger_event.message.is_none())
            && let Some(commit) = client.commit(&trigger_event.repo, &trigger_event.commit).await?
        {
            context.tip_message = commit.message;
            notified = self.judge(context);
        }
        if notified.runs.is_empty() {
            return Ok(notified);
        }
        let starting: Vec<&str> = notified.runs.iter().map(|run| run.workflow.as_str()).collect();
        let disabled = client.disabled_workflows(&trigger_event.repo, &starting).await?;
        let stopped = disabled.iter().filter(|id| starting.contains(&id.as_str()));
        notes.extend(stopped.map(|id| format!("`{id}` is disabled at the forge")));
        context.disabled = disabled.to_vec();
        notified = self.judge(context);
        if notified.runs.iter().any(|run| run.needs_approval) && !context.restricted {
            context.can_write =
                client.can_write(&trigger_event.repo, &trigger_event.sender).await?;
            // Before 1.26 an approved workflow run made the author trusted; the API does not tell.
            context.trusted = !context.can_write
                && self.dialect >= Dialect::V1_26
                && client.has_merged(&trigger_event.repo, &trigger_event.sender).await?;
            notified = self.judge(context);
        }
        Ok(notified)
    }
}

async fn runs(
    client: &Client,
    trigger_event: &TriggerEvent,
    read: &Read<'_>,
    notified: &Notified,
    dialect: Dialect,
) -> Result<Vec<WorkflowRun>, PortError> {
    let mut ordinals: HashMap<&str, usize> = HashMap::new();
    let mut vars: Option<BTreeMap<String, String>> = None;
    let mut runs = Vec::new();
    for run in &notified.runs {
        let notify::Run { workflow, event, git_ref, at, needs_approval } = run;
        let ordinal = ordinals.entry(workflow.as_str()).or_default();
        let target = event == "pull_request_target";
        let text = if target { &read.base } else { &read.head }.of(workflow).unwrap_or_default();
        if vars.is_none() && text.contains("vars.") {
            vars = Some(client.variables(&trigger_event.repo).await?);
        }
        let github = github(trigger_event, run);
        let jobs =
            yaml::parse(text.as_bytes()).map_err(|error| error.to_string()).and_then(|file| {
                let vars = vars.clone().unwrap_or_default();
                let context = jobs::Context { vars, github, ..jobs::Context::default() };
                jobs::jobs(&file, &context, dialect).map_err(|error| error.to_string())
            });
        runs.push(WorkflowRun {
            workflow: workflow.clone(),
            event: event.clone(),
            git_ref: git_ref.clone(),
            commit: commit_of(trigger_event, *at).to_owned(),
            ordinal: *ordinal,
            held: *needs_approval,
            jobs,
        });
        *ordinal += 1;
    }
    Ok(runs)
}

/// Returns the commit of a workflow run: always the one whose files were read.
fn commit_of(trigger_event: &TriggerEvent, at: At) -> &str {
    match at {
        At::Tip | At::DefaultBranch | At::PullRequestHead | At::Merge | At::Review => {
            &trigger_event.commit
        }
    }
}

/// Builds the `github` context from the payload.
fn github(trigger_event: &TriggerEvent, run: &notify::Run) -> Map<String, Value> {
    let git_ref = run.git_ref.as_str();
    let (kind, name) =
        match (git_ref.strip_prefix("refs/heads/"), git_ref.strip_prefix("refs/tags/")) {
            (Some(name), _) => ("branch", name),
            (None, Some(name)) => ("tag", name),
            (None, None) => ("", git_ref.strip_prefix("refs/pull/").unwrap_or(git_ref)),
        };
    let text = |path: &str| {
        trigger_event.payload.pointer(path).and_then(Value::as_str).unwrap_or_default()
    };
    let owner = owner_and_name(&trigger_event.repo).map(|(owner, _)| owner).unwrap_or_default();
    let texts = [
        ("event_name", run.event.as_str()),
        ("ref", git_ref),
        ("ref_name", name),
        ("ref_type", kind),
        ("sha", &trigger_event.commit),
        ("repository", &trigger_event.repo),
        ("repository_owner", &owner),
        ("actor", &trigger_event.sender),
        ("triggering_actor", &trigger_event.sender),
        ("base_ref", text("/pull_request/base/ref")),
        ("head_ref", text("/pull_request/head/ref")),
        ("workflow", &run.workflow),
    ];
    let texts = texts.into_iter().map(|(key, text)| (key.to_owned(), text.into()));
    texts.chain([("event".to_owned(), trigger_event.payload.clone())]).collect()
}

/// Returns the reason why no workflow file was evaluated.
pub fn nothing(notified: &Notified) -> Option<String> {
    notified.nothing.as_ref().map(Nothing::to_string)
}
