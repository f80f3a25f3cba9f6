//! The target of `why`: a run, a job's ID, or a page of the forge.

use reqwest::Url;
use tinqs_ci_reconciler::model::RunName;
use tinqs_ci_reconciler::text::cut;

/// The digits of the largest job ID.
const DIGITS: usize = 19;

/// The object of the question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// A run by its name.
    Run(RunName),
    /// A job by its ID at the forge.
    Job(i64),
    /// A page, or an API address, of the forge.
    Page(Page),
}

/// The page of a job or of a workflow run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Page {
    /// The host.
    pub(super) host: String,
    /// `owner/name`.
    pub(super) repo: String,
    /// The number of the workflow run in the path; `None` in the API address of a job.
    pub(super) workflow_run: Option<i64>,
    /// The number of the job in the path: its ID, or its index in servers before Gitea 1.26.
    pub(super) job: Option<i64>,
}

impl Page {
    /// Whether both name the same job, whatever the host.
    pub(super) fn is_same_job(&self, other: &Self) -> bool {
        self.job.is_some() && self.job == other.job && self.is_same_workflow_run(other)
    }

    /// Whether both name the same workflow run, whatever the host.
    pub(super) fn is_same_workflow_run(&self, other: &Self) -> bool {
        self.workflow_run.is_some()
            && self.workflow_run == other.workflow_run
            && self.repo.eq_ignore_ascii_case(&other.repo)
    }
}

/// Parses what is asked about.
///
/// # Errors
/// The text is no target. The error says what is wrong with it, and what to pass instead.
pub(super) fn parse(text: &str) -> Result<Target, String> {
    let text = text.trim();
    if text.contains("://") {
        return page(text).map(Target::Page);
    }
    let name = ["run/", "runs/", "job/"].iter().find_map(|kind| text.strip_prefix(kind));
    let name = name.unwrap_or(text);
    let digits = name.strip_prefix("job-").unwrap_or(name);
    let digits = digits.strip_prefix('#').unwrap_or(digits);
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return match digits.parse::<i64>() {
            Ok(id) if id > 0 => Ok(Target::Job(id)),
            Ok(_) => Err("a job ID is a positive number".to_owned()),
            Err(_) => Err(format!(
                "`{}` is not a job ID: those have at most {DIGITS} digits",
                cut(digits, 40)
            )),
        };
    }
    name.parse().map(Target::Run).map_err(|_| {
        format!(
            "`{}` is neither a job's URL, nor a job ID, nor a run: pass the URL of the job's page, \
             a number, or a name that `tinqs-ci get runs` lists",
            cut(text, 80)
        )
    })
}

/// Parses a URL such as `https://host/owner/repo/actions/runs/12/jobs/3`; the forge may be below a
/// path, and the query and the fragment do not matter.
pub(super) fn page(text: &str) -> Result<Page, String> {
    let no_page = || {
        format!(
            "`{}` is not the page of a job: expected a URL that ends in \
             /OWNER/REPO/actions/runs/NUMBER/jobs/NUMBER",
            cut(text, 120)
        )
    };
    let url = Url::parse(text).map_err(|_| no_page())?;
    let host = url.host_str().filter(|_| ["http", "https"].contains(&url.scheme()));
    let host = host.ok_or_else(no_page)?.to_owned();
    let parts: Vec<&str> =
        url.path_segments().into_iter().flatten().filter(|part| !part.is_empty()).collect();
    // The last one: an owner or a repository may be called `actions`.
    let at = (2..parts.len()).rev().find(|at| {
        parts[*at] == "actions" && matches!(parts.get(at + 1), Some(&("runs" | "jobs")))
    });
    let at = at.ok_or_else(no_page)?;
    let repo = format!("{}/{}", parts[at - 2], parts[at - 1]);
    let number = |text: Option<&&str>| text.and_then(|text| text.parse::<i64>().ok());
    let number = |text: Option<&&str>| number(text).filter(|number| *number >= 0);
    let rest = &parts[at + 1..];
    let after = |word: &str| {
        let index = rest.iter().position(|part| *part == word)?;
        number(rest.get(index + 1))
    };
    let (workflow_run, job) = (after("runs"), after("jobs"));
    if workflow_run.is_none() && job.is_none() {
        return Err(no_page());
    }
    Ok(Page { host, repo, workflow_run, job })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job_page(text: &str) -> (String, String, Option<i64>, Option<i64>) {
        let Ok(Target::Page(page)) = parse(text) else { panic!("{text} is a page") };
        (page.host, page.repo, page.workflow_run, page.job)
    }

    fn expected(
        host: &str,
        run: Option<i64>,
        job: Option<i64>,
    ) -> (String, String, Option<i64>, Option<i64>) {
        (host.to_owned(), "acme/web".to_owned(), run, job)
    }

    #[test]
    fn a_page_of_a_job_is_recognized_in_every_form() {
        let both = expected("git.example.com", Some(12), Some(3));
        for text in [
            "https://git.example.com/acme/web/actions/runs/12/jobs/3",
            "https://git.example.com:3000/acme/web/actions/runs/12/jobs/3/",
            "http://git.example.com/gitea/acme/web/actions/runs/12/jobs/3?x=1&y=/actions/#L7",
            "  https://git.example.com/acme/web/actions/runs/12/attempts/2/jobs/3 ",
        ] {
            assert_eq!(job_page(text), both, "{text}");
        }
        let index = "https://git.example.com/acme/web/actions/runs/12/jobs/0";
        assert_eq!(job_page(index), expected("git.example.com", Some(12), Some(0)));
        let api = "https://git.example.com/api/v1/repos/acme/web/actions/jobs/3";
        assert_eq!(job_page(api), expected("git.example.com", None, Some(3)));
        let run = "https://git.example.com/acme/web/actions/runs/12";
        assert_eq!(job_page(run), expected("git.example.com", Some(12), None));
    }

    #[test]
    fn an_owner_may_be_called_actions() {
        let page =
            page("https://git.example.com/actions/runs/actions/runs/1/jobs/2").expect("a page");
        assert_eq!((page.repo.as_str(), page.job), ("actions/runs", Some(2)));
    }

    #[test]
    fn names_and_numbers_are_recognized() {
        for text in ["7", "job-7", "run/job-7", "runs/job-7", "#7", " 7 "] {
            assert_eq!(parse(text), Ok(Target::Job(7)), "{text}");
        }
        let push = "push-00112233445566ff";
        assert_eq!(parse(push), Ok(Target::Run(push.parse().expect("a name"))));
    }

    #[test]
    fn every_mistake_says_what_to_pass() {
        for (text, word) in [
            ("12345678901234567890", "19 digits"),
            ("0", "positive"),
            ("web", "URL of the job's page"),
            ("job-x", "URL of the job's page"),
            ("https://git.example.com/acme/web", "/actions/runs/NUMBER/jobs/NUMBER"),
            ("https://git.example.com/acme/web/actions", "/actions/runs/NUMBER/jobs/NUMBER"),
            ("https://git.example.com/acme/web/actions/runs/x", "/actions/runs/NUMBER"),
            ("ftp://git.example.com/acme/web/actions/runs/1/jobs/2", "not the page of a job"),
            ("https://", "not the page of a job"),
        ] {
            let mistake = parse(text).expect_err(text);
            assert!(mistake.contains(word), "{text}: {mistake}");
        }
    }
}
