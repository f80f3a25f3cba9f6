//! Finds the runs that the page of a job or of a workflow run may mean, with as few reads as needed.

use tinqs_ci_reconciler::model::Run;
use tinqs_ci_reconciler::ports::{Filter, PortError};

use super::target::{self, Page};
use super::{App, PAGE, workflow_run};

/// The maximum number of pages of a repository that are searched.
const SEARCHED: usize = 40;
/// The number of the newest runs that show by which name the forge calls itself.
const NEWEST: usize = 50;

/// Returns the newest runs of the page's repository, up to the one asked for, or up to those that
/// are older than its workflow run.
///
/// # Errors
/// The store cannot be read.
pub(super) async fn runs(
    app: &App,
    page: &Page,
    is_asked: impl Fn(&Run) -> bool,
) -> Result<Vec<Run>, PortError> {
    let store = &app.controller.ports().store;
    let newest = Filter { limit: NEWEST, ..Filter::default() };
    let mut found = store.page(&newest, None).await?.items;
    if found.iter().any(&is_asked) || names_its_run(app, page).await {
        return Ok(found);
    }
    let repo = as_recorded(app, page, &found).await?;
    let filter = Filter { repo: Some(repo), limit: PAGE, ..Filter::default() };
    let mut after: Option<String> = None;
    found.clear();
    for _ in 0..SEARCHED {
        let read = store.page(&filter, after.as_deref()).await?;
        let ends = read.items.iter().any(&is_asked) || is_past(&read.items, page);
        found.extend(read.items);
        after = read.next;
        if ends || after.is_none() {
            break;
        }
    }
    Ok(found)
}

/// Whether the page holds the ID of its job, so that its run would have been found by name: since
/// Gitea 1.26. If the forge's version is not known, the runs are searched.
async fn names_its_run(app: &App, page: &Page) -> bool {
    let (Some(pushes), Some(_)) = (&app.pushes, page.job) else { return false };
    let has_ids = workflow_run::has_ids(pushes.demand());
    matches!(tokio::time::timeout(super::FORGE_DEADLINE, has_ids).await, Ok(Ok(true)))
}

/// Returns the name of the page's repository as the records spell it.
async fn as_recorded(app: &App, page: &Page, newest: &[Run]) -> Result<String, PortError> {
    let is_same = |repo: &&String| repo.eq_ignore_ascii_case(&page.repo);
    let recorded = newest.iter().map(|run| &run.spec.job.repo).find(is_same);
    if let Some(repo) = recorded {
        return Ok(repo.clone());
    }
    let open = app.telemetry.open_runs(&app.controller.ports().store).await?;
    let open = open.iter().map(|run| &run.repo).find(|repo| repo.eq_ignore_ascii_case(&page.repo));
    Ok(open.map_or_else(|| page.repo.clone(), ToString::to_string))
}

/// Whether most runs of a page of the store belong to older workflow runs than the one asked for: a
/// re-run may be newer than its number.
fn is_past(runs: &[Run], page: &Page) -> bool {
    let Some(asked) = page.workflow_run else { return false };
    let numbers =
        runs.iter().filter_map(|run| target::page(&run.spec.about.url).ok()?.workflow_run);
    let older = numbers.filter(|number| *number < asked).count();
    older * 2 > runs.len()
}
