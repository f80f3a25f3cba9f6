//! Keys of earlier versions, and what takes their place.

/// The table, the key, and the message.
const RENAMED: &[(&str, &str, &str)] = &[
    (
        "server.",
        "listen",
        "is `server.webhooks` now, which takes webhooks only: rename it; the API has an address of \
         its own, `server.api` (default \"127.0.0.1:8081\")",
    ),
    (
        "server.",
        "api_token",
        "is a [[server.token]] now: write name = \"operator\", secret = … and may = \"operate\" \
         under that heading, or set the variable TINQS_CI_SERVER__TOKEN",
    ),
];

/// Returns the message for a key that an earlier version had. `prefix` is the path of its table.
pub(super) fn renamed(prefix: &str, name: &str) -> Option<String> {
    let found = RENAMED.iter().find(|(table, key, _)| *table == prefix && *key == name);
    found.map(|(_, _, message)| (*message).to_owned())
}
