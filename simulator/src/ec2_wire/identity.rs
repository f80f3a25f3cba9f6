//! The user data that a simulated guest reads, as the boot script writes it.

use jiff::{SignedDuration, Timestamp};

/// A runner's identity and the times in its boot script.
#[derive(Clone, PartialEq)]
pub(super) struct Identity {
    pub(super) id: i64,
    pub(super) uuid: String,
    pub(super) token: String,
    pub(super) labels: Vec<String>,
    pub(super) deadline: Option<Timestamp>,
    pub(super) idle_within: SignedDuration,
    pub(super) start_by: Option<Timestamp>,
}

impl Identity {
    /// Returns the state file's JSON and the three assignments at the top; `None` without a state
    /// file.
    pub(super) fn read(user_data: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(user_data).ok()?;
        let state = text.match_indices('{').find_map(|(at, _)| {
            let mut values =
                serde_json::Deserializer::from_str(&text[at..]).into_iter::<serde_json::Value>();
            values.next()?.ok().filter(|value| value["uuid"].is_string())
        })?;
        let string = |value: &serde_json::Value| value.as_str().map(str::to_owned);
        let assigned = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            value?.split_whitespace().next()?.parse::<f64>().ok()
        };
        let time = |name: &str| {
            let since = SignedDuration::try_from_secs_f64(assigned(name)?).ok()?;
            Timestamp::from_duration(since).ok()
        };
        let idle_within =
            assigned("idle_within").and_then(|s| SignedDuration::try_from_secs_f64(s).ok());
        Some(Self {
            id: state["id"].as_i64().unwrap_or_default(),
            uuid: string(&state["uuid"])?,
            token: string(&state["token"])?,
            labels: state["labels"].as_array()?.iter().filter_map(string).collect(),
            deadline: time("deadline"),
            idle_within: idle_within.unwrap_or(SignedDuration::from_mins(2)),
            start_by: time("start_by"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_file_is_found_in_the_script() {
        let script = "#!/bin/bash\ndeadline=3600 # then\nstart_by=600 # then\nidle_within=0.250\nf() { echo \"${x}\"; }\n\
                      cat >.runner <<'END'\n{\n  \"id\": 7,\n  \"uuid\": \"u-1\",\n  \"token\": \"t\",\n  \
                      \"labels\": [\"linux:host\"]\n}\nEND\n";
        let identity = Identity::read(script.as_bytes()).unwrap();
        assert_eq!((identity.id, identity.uuid.as_str(), identity.token.as_str()), (7, "u-1", "t"));
        assert_eq!(identity.labels, ["linux:host"]);
        assert_eq!(identity.deadline, Some(Timestamp::from_second(3600).unwrap()));
        assert_eq!(identity.start_by, Some(Timestamp::from_second(600).unwrap()));
        assert_eq!(identity.idle_within, SignedDuration::from_millis(250));
        assert!(Identity::read(b"#!/bin/bash\necho {}\n").is_none());
        assert!(Identity::read(&[0xff, 0xfe]).is_none());
    }
}
