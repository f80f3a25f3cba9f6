//! Log lines: JSON objects, or short lines for a terminal. Nothing from outside reaches a
//! terminal unescaped, whichever of the two it is.

use std::fmt::{self, Write as _};
use std::io::Write;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One JSON object a line.
    Json,
    /// Short lines for people, with or without colour.
    Human {
        /// Whether levels are coloured.
        colour: bool,
    },
}

/// Writes each event as one line.
pub struct Lines<W> {
    form: Form,
    replica: String,
    out: Mutex<W>,
}

impl<W: Write> Lines<W> {
    /// Lines to `out`; `replica` stands in each JSON line.
    pub fn new(form: Form, replica: impl Into<String>, out: W) -> Self {
        Self { form, replica: replica.into(), out: Mutex::new(out) }
    }

    fn line(&self, event: &Event<'_>, now: Timestamp) -> String {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let (level, target) = (*event.metadata().level(), event.metadata().target());
        match self.form {
            Form::Json => json_line(level, target, &self.replica, fields, now),
            Form::Human { colour } => human_line(level, colour, &fields, now),
        }
    }
}

impl<W, S> Layer<S> for Lines<W>
where
    W: Write + Send + 'static,
    S: Subscriber,
{
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let line = self.line(event, Timestamp::now());
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody is left to be told that the log cannot be written.
        let _ = out.write_all(line.as_bytes());
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    rest: Map<String, Value>,
}

impl Fields {
    fn add(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            // Empty means that there is nothing to tell.
            (_, Value::String(text)) if text.is_empty() => {}
            (name, value) => {
                self.rest.insert(name.to_owned(), value);
            }
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format!("{value:?}").into());
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.into());
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value.into());
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value.into());
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value.into());
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value.into());
    }
}

fn json_line(level: Level, target: &str, replica: &str, fields: Fields, now: Timestamp) -> String {
    let mut object = Map::new();
    object.insert("timestamp".into(), format!("{now:.3}").into());
    object.insert("level".into(), level.as_str().to_ascii_lowercase().into());
    object.insert("target".into(), target.into());
    object.insert("message".into(), fields.message.into());
    object.insert("replica".into(), replica.into());
    object.extend(fields.rest);
    let text = Value::Object(object).to_string();
    // What is left of control characters stands within strings, where `\u` means the same.
    let mut line = String::with_capacity(text.len() + 1);
    for c in text.chars() {
        if is_hostile(c) {
            let _ = write!(line, "\\u{:04x}", u32::from(c));
        } else {
            line.push(c);
        }
    }
    line.push('\n');
    line
}

fn human_line(level: Level, colour: bool, fields: &Fields, now: Timestamp) -> String {
    let time = TimeZone::system().to_datetime(now).strftime("%H:%M:%S").to_string();
    let (on, off) = match (colour, level) {
        (false, _) => ("", ""),
        (true, Level::ERROR) => ("\x1b[31m", "\x1b[0m"),
        (true, Level::WARN) => ("\x1b[33m", "\x1b[0m"),
        (true, _) => ("\x1b[2m", "\x1b[0m"),
    };
    let mut line = format!("{time} {on}{level:>5}{off} {}", printable(&fields.message));
    for (name, value) in &fields.rest {
        let text = match value {
            Value::String(text) => printable(text),
            other => other.to_string(),
        };
        if text.contains(' ') {
            let _ = write!(line, " {name}=\"{text}\"");
        } else {
            let _ = write!(line, " {name}={text}");
        }
    }
    line.push('\n');
    line
}

/// Text for a terminal: control characters and marks that change the direction of writing are
/// shown as `\u{…}`.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_hostile(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Control characters (C0, DEL, C1), line and paragraph separators, marks of direction.
fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}')
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tracing_subscriber::layer::SubscriberExt as _;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("no panic").extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(form: Form) -> String {
        let buffer = Buffer::default();
        let lines = Lines::new(form, "host-1", buffer.clone());
        let subscriber = tracing_subscriber::registry().with(lines);
        tracing::subscriber::with_default(subscriber, || {
            let repo = "a\x1b[31mb\u{202e}c\u{9b}d\n\"e\"";
            tracing::info!(repo, run = "job-1", class = "", machines = 3, "looked at a run");
        });
        let bytes = buffer.0.lock().expect("no panic").clone();
        String::from_utf8(bytes).expect("UTF-8")
    }

    #[test]
    fn a_json_line_is_one_flat_object_without_raw_control_characters() {
        let line = logged(Form::Json);
        assert_eq!(line.matches('\n').count(), 1);
        assert!(line.trim_end().chars().all(|c| !is_hostile(c)), "{line:?}");
        let value: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(value["repo"], "a\x1b[31mb\u{202e}c\u{9b}d\n\"e\"");
        assert_eq!(value["run"], "job-1");
        assert_eq!(value["machines"], 3);
        assert_eq!(value["level"], "info");
        assert_eq!(value["message"], "looked at a run");
        assert_eq!(value["replica"], "host-1");
        assert_eq!(value.get("class"), None);
    }

    #[test]
    fn a_human_line_is_one_line_and_cannot_speak_to_the_terminal() {
        let line = logged(Form::Human { colour: false });
        assert_eq!(line.matches('\n').count(), 1);
        assert!(line.trim_end().chars().all(|c| !is_hostile(c)), "{line:?}");
        assert!(line.contains("\\u{1b}[31m"), "{line:?}");
        assert!(line.contains("run=job-1"), "{line:?}");
    }
}
