//! Log lines: JSON objects, or short lines for a terminal, where an event with the field `line`
//! shows only that. `tracing-subscriber` formats the fields; both forms escape control characters of
//! external text.

use std::fmt::{self, Write as _};

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::format::{Format, FormatEvent, FormatFields, Json, Writer};
use tracing_subscriber::fmt::{FmtContext, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

use super::traces;

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One JSON object per line.
    Json,
    /// Short lines for people.
    Human {
        /// Whether levels are colored.
        color: bool,
    },
}

/// Writes each event as one line to `out`. Each JSON line contains `replica`, and within a span that
/// is sent `trace_id` and `span_id`.
pub fn layer<S, W>(form: Form, replica: &str, out: W) -> impl Layer<S> + Send + Sync
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: for<'out> MakeWriter<'out> + Send + Sync + 'static,
{
    // Level and time are written in front of the library's fields, see below.
    let json = Format::default().json().flatten_event(true).without_time().with_level(false);
    let json = json.with_current_span(false).with_span_list(false);
    let lines = Lines { form, replica: Value::from(replica).to_string(), json };
    // If the log cannot be written, there is nowhere to report that.
    tracing_subscriber::fmt::layer().event_format(lines).with_writer(out).log_internal_errors(false)
}

struct Lines {
    form: Form,
    /// As JSON.
    replica: String,
    json: Format<Json, ()>,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'out> FormatFields<'out> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let (level, now) = (*event.metadata().level(), Timestamp::now());
        let mut fields = String::new();
        match self.form {
            Form::Json => {
                let (level, replica) = (level.as_str().to_ascii_lowercase(), &self.replica);
                write!(
                    fields,
                    r#"{{"timestamp":"{now:.3}","level":"{level}","replica":{replica},"#
                )?;
                if let Some((trace, span)) = traces::ids() {
                    write!(fields, r#""trace_id":"{trace}","span_id":"{span}","#)?;
                }
                let brace = fields.len();
                self.json.format_event(context, Writer::new(&mut fields), event)?;
                fields.remove(brace);
            }
            Form::Human { color } => {
                let (now, style) = (TimeZone::system().to_datetime(now), style(level, color));
                write!(out, "{} {style}{level:>5}{style:#} ", now.strftime("%H:%M:%S"))?;
                let mut told = LineField::default();
                event.record(&mut told);
                match told.line {
                    Some(line) => fields.push_str(&line),
                    None => context.format_fields(Writer::new(&mut fields), event)?,
                }
            }
        }
        for c in fields.trim_end().chars() {
            match self.form {
                _ if !is_hostile(c) => out.write_char(c)?,
                // The character stands within a JSON string, where `\u` means the same.
                Form::Json => write!(out, "\\u{:04x}", u32::from(c))?,
                Form::Human { .. } => write!(out, "{}", c.escape_unicode())?,
            }
        }
        writeln!(out)
    }
}

/// The field `line` of an event: the whole event as a sentence.
#[derive(Default)]
struct LineField {
    line: Option<String>,
}

impl Visit for LineField {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "line" {
            self.line = Some(value.to_owned());
        }
    }
    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}

fn style(level: Level, color: bool) -> Style {
    match level {
        _ if !color => Style::new(),
        Level::ERROR => AnsiColor::Red.on_default(),
        Level::WARN => AnsiColor::Yellow.on_default(),
        _ => Style::new().dimmed(),
    }
}

/// Matches control characters (C0, DEL, C1), line and paragraph separators, and bidirectional
/// marks.
fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}')
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use parking_lot::Mutex;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    const HOSTILE: &str = "a\x1b[31mb\u{202e}c\u{9b}d\n\"e\"\u{2028}\u{7f}";

    fn logged(form: Form) -> String {
        let buffer = Buffer::default();
        let out = buffer.clone();
        let lines = layer(form, "host-\u{9b}1", move || out.clone());
        let subscriber = tracing_subscriber::registry().with(lines);
        tracing::subscriber::with_default(subscriber, || {
            let repo = HOSTILE;
            let (class, error) = (None::<&str>, HOSTILE);
            tracing::info!(repo, run = "job-1", class, machines = 3, %error, "reconciled run");
            tracing::warn!("{HOSTILE}");
            let line = format!("job-1 {HOSTILE}: running");
            tracing::info!(run = "job-1", line, "job started");
        });
        let bytes = buffer.0.lock().clone();
        String::from_utf8(bytes).expect("UTF-8")
    }

    #[test]
    fn a_json_line_is_a_flat_object_with_escaped_control_characters() {
        let log = logged(Form::Json);
        assert!(log.replace('\n', "").chars().all(|c| !is_hostile(c)), "{log:?}");
        let lines: Vec<Value> =
            log.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let [line, warning, told] = lines.as_slice() else { panic!("{log}") };
        assert_eq!(line["repo"], HOSTILE);
        assert_eq!(line["error"], HOSTILE);
        assert_eq!(line["run"], "job-1");
        assert_eq!(line["machines"], 3);
        assert_eq!(line["level"], "info");
        assert_eq!(line["message"], "reconciled run");
        assert_eq!(line["replica"], "host-\u{9b}1");
        assert_eq!(line["target"], module_path!());
        assert_eq!(line.get("class"), None);
        let time = line["timestamp"].as_str().expect("a text");
        assert!(time.len() == 24 && time.parse::<Timestamp>().is_ok(), "{time}");
        assert_eq!((&warning["level"], &warning["message"]), (&"warn".into(), &HOSTILE.into()));
        assert_eq!((&told["message"], &told["run"]), (&"job started".into(), &"job-1".into()));
        assert_eq!(told["line"], format!("job-1 {HOSTILE}: running"));
    }

    #[test]
    fn a_human_line_is_one_line_with_escaped_control_characters() {
        let log = logged(Form::Human { color: false });
        assert!(log.replace('\n', "").chars().all(|c| !is_hostile(c)), "{log:?}");
        let [line, warning, told] = log.lines().collect::<Vec<_>>()[..] else { panic!("{log}") };
        assert!(line[8..].starts_with("  INFO reconciled run repo=\"a\\u{1b}[31mb"), "{line:?}");
        assert!(line.contains(" run=\"job-1\" machines=3 error=a\\u{1b}[31mb"), "{line:?}");
        assert!(!line.contains("class"), "{line:?}");
        assert!(warning[8..].starts_with("  WARN a"), "{warning:?}");
        assert!(told[8..].starts_with("  INFO job-1 a\\u{1b}[31mb"), "{told:?}");
        assert!(told.ends_with(": running"), "{told:?}");
        let colored = logged(Form::Human { color: true });
        assert_eq!(colored.matches("\x1b[").count(), 6, "{colored:?}");
        assert!(colored.contains(" \x1b[33m WARN\x1b[0m a"), "{colored:?}");
    }
}
