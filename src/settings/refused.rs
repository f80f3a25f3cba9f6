//! Keys of the runner's `config.yaml` that a class may not set, and why.

/// Returns why a key of `config.yaml` cannot be set; `None` if `prefix` is not a table of it.
pub(super) fn refused(prefix: &str, name: &str) -> Option<String> {
    let (_, table) = prefix.split_once(": runner.config.")?;
    let why = match (table, name) {
        ("runner.", "labels") => "a runner has exactly the labels of its job, and takes no other",
        ("runner.", "file" | "capacity") => "the boot script sets it, for one job per machine",
        ("runner.", "timeout" | "shutdown_timeout") => {
            "the boot script sets it to the time that is left; `max_age` of the class limits it"
        }
        ("runner.", "fetch_timeout") => {
            "the boot script sets it; with a shorter one, a slow forge gives jobs to runners that \
             have stopped waiting for them"
        }
        ("runner.", name) if name.contains("report") || name.starts_with("fetch_") => {
            "a runner that reports or asks more seldom than every 10 s looks as if it were dead"
        }
        ("container.", "privileged" | "options" | "valid_volumes" | "docker_host") => {
            "with it, a container would be root on the machine"
        }
        _ => return None,
    };
    Some(format!("cannot be set: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_undo_a_promise_are_refused_with_the_reason() {
        let why = |table: &str, name: &str| refused(&format!("class \"a\": {table}"), name);
        for (table, name, reason) in [
            ("runner.config.runner.", "labels", "exactly the labels of its job"),
            ("runner.config.runner.", "capacity", "one job per machine"),
            ("runner.config.runner.", "shutdown_timeout", "`max_age` of the class"),
            ("runner.config.runner.", "state_report_interval", "more seldom than every 10 s"),
            ("runner.config.runner.", "fetch_timeout", "stopped waiting for them"),
            ("runner.config.runner.", "fetch_interval", "more seldom than every 10 s"),
            ("runner.config.container.", "privileged", "root on the machine"),
            ("runner.config.container.", "valid_volumes", "root on the machine"),
        ] {
            let said = why(table, name).unwrap_or_default();
            assert!(said.contains(reason), "{table}{name}: {said}");
        }
        assert_eq!(why("runner.config.runner.", "nonsense"), None);
        assert_eq!(why("runner.", "labels"), None);
        assert_eq!(refused("server.", "labels"), None);
    }
}
