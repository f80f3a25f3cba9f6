//! `pause` and `resume`: stop and continue launches. Each says what follows.

use tinqs_ci_reconciler::model::Pause;
use tinqs_ci_reconciler::text::cut;

use super::args::Paused;
use super::failure::{Failure, note, out};
use super::remote::client;
use crate::api::Pauses;
use crate::settings::Env;
use crate::words::lasting;

/// Pauses a class, or all.
pub(super) async fn pause(args: Paused, env: &Env) -> Result<(), Failure> {
    let class = named(args.class.as_deref())?;
    let done = client(&args.server, env)?.pause(class).await?;
    let what = what(class);
    let held = done.pauses.iter().find(|pause| pause.class.as_ref().map(|c| &*c.0) == class);
    match held.filter(|_| !done.changed) {
        Some(held) => out(&format!("{what} paused already, {}\n", since(held, &done)))?,
        None => out(&format!("{what} paused\n"))?,
    }
    let others = match class {
        None => "others wait until `tinqs-ci resume`".to_owned(),
        Some(class) => {
            format!("others wait until `tinqs-ci resume {class}`", class = cut(class, 60))
        }
    };
    note(&format!("jobs that run go on, and machines that are up still take jobs; {others}"));
    Ok(())
}

/// Resumes a class, or ends every pause.
pub(super) async fn resume(args: Paused, env: &Env) -> Result<(), Failure> {
    let class = named(args.class.as_deref())?;
    let done = client(&args.server, env)?.resume(class).await?;
    let what = what(class);
    out(&if done.changed { format!("{what} resumed\n") } else { format!("{what} not paused\n") })?;
    if let Some(all) = done.pauses.iter().find(|pause| pause.class.is_none()) {
        note(&format!(
            "all launches are still paused, {}; `tinqs-ci resume` ends every pause",
            since(all, &done)
        ));
    }
    Ok(())
}

/// Returns the name of a class, written `linux` or `class/linux`.
fn named(class: Option<&str>) -> Result<Option<&str>, Failure> {
    let prefixed = |text: &'static str| class.and_then(|class| class.strip_prefix(text));
    let name = prefixed("class/").or_else(|| prefixed("classes/")).or(class);
    match name {
        Some("" | "." | "..") => Err(Failure::usage("the name of the class is missing")
            .hint("`tinqs-ci get classes` lists the classes; without a name, all are meant")),
        name => Ok(name),
    }
}

fn what(class: Option<&str>) -> String {
    class.map_or_else(|| "all classes".to_owned(), |class| format!("class/{}", cut(class, 60)))
}

fn since(pause: &Pause, done: &Pauses) -> String {
    format!("by {} for {}", cut(&pause.by, 60), lasting(done.now.duration_since(pause.since)))
}
