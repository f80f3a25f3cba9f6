//! JSON and YAML that a terminal may show: what could move its cursor is written as an escape.

use std::fmt::Write as _;
use std::io;

use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter};

use tinqs_ci_reconciler::text::is_dangerous;

/// The thing as JSON, indented, with a newline at the end.
pub fn json<T: Serialize>(thing: &T) -> Result<String, serde_json::Error> {
    write(thing, Safe(PrettyFormatter::new()))
}

/// The thing as JSON on one line, with a newline at the end.
pub fn json_line<T: Serialize>(thing: &T) -> Result<String, serde_json::Error> {
    write(thing, Safe(CompactFormatter))
}

fn write<T: Serialize, F: Formatter>(
    thing: &T,
    formatter: Safe<F>,
) -> Result<String, serde_json::Error> {
    let mut bytes = Vec::new();
    thing.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, formatter))?;
    bytes.push(b'\n');
    // The serializer writes UTF-8 only; what were not would show as replacement marks.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A formatter that writes dangerous characters as `\uXXXX`.
struct Safe<F>(F);

type Out<'a, W> = &'a mut W;

impl<F: Formatter> Formatter for Safe<F> {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        out: Out<'_, W>,
        fragment: &str,
    ) -> io::Result<()> {
        if !fragment.chars().any(is_dangerous) {
            return self.0.write_string_fragment(out, fragment);
        }
        let mut safe = String::with_capacity(fragment.len() + 16);
        for c in fragment.chars() {
            if is_dangerous(c) {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(safe, "\\u{unit:04x}");
                }
            } else {
                safe.push(c);
            }
        }
        out.write_all(safe.as_bytes())
    }

    fn begin_array<W: ?Sized + io::Write>(&mut self, out: Out<'_, W>) -> io::Result<()> {
        self.0.begin_array(out)
    }
    fn end_array<W: ?Sized + io::Write>(&mut self, out: Out<'_, W>) -> io::Result<()> {
        self.0.end_array(out)
    }
    fn begin_array_value<W: ?Sized + io::Write>(
        &mut self,
        out: Out<'_, W>,
        first: bool,
    ) -> io::Result<()> {
        self.0.begin_array_value(out, first)
    }
    fn end_array_value<W: ?Sized + io::Write>(&mut self, out: Out<'_, W>) -> io::Result<()> {
        self.0.end_array_value(out)
    }
    fn begin_object<W: ?Sized + io::Write>(&mut self, out: Out<'_, W>) -> io::Result<()> {
        self.0.begin_object(out)
    }
    fn end_object<W: ?Sized + io::Write>(&mut self, out: Out<'_, W>) -> io::Result<()> {
        self.0.end_object(out)
    }
    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        out: Out<'_, W>,
        first: bool,
    ) -> io::Result<()> {
        self.0.begin_object_key(out, first)
    }
    fn begin_object_value<W: ?Sized + io::Write>(&mut self, out: Out<'_, W>) -> io::Result<()> {
        self.0.begin_object_value(out)
    }
    fn end_object_value<W: ?Sized + io::Write>(&mut self, out: Out<'_, W>) -> io::Result<()> {
        self.0.end_object_value(out)
    }
}

/// The thing as YAML, keys in alphabetical order. Every text that is not a plain word is quoted as
/// JSON quotes it, which is YAML too.
pub fn yaml<T: Serialize>(thing: &T) -> Result<String, serde_json::Error> {
    let mut text = String::new();
    block(&mut text, &serde_json::to_value(thing)?, 0)?;
    Ok(text)
}

fn block(text: &mut String, value: &Value, depth: usize) -> Result<(), serde_json::Error> {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (key, value) in fields {
                let _ = write!(text, "{indent}{}:", scalar(&Value::String(key.clone()))?);
                after(text, value, depth + 1)?;
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                if is_inline(item) {
                    let _ = writeln!(text, "{indent}- {}", scalar(item)?);
                    continue;
                }
                // The first line of the item stands behind the dash.
                let mut inner = String::new();
                block(&mut inner, item, depth + 1)?;
                let _ = write!(text, "{indent}- {}", inner.trim_start());
            }
        }
        _ => {
            let _ = writeln!(text, "{indent}{}", scalar(value)?);
        }
    }
    Ok(())
}

fn is_inline(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => true,
    }
}

fn after(text: &mut String, value: &Value, depth: usize) -> Result<(), serde_json::Error> {
    if is_inline(value) {
        let _ = writeln!(text, " {}", scalar(value)?);
        return Ok(());
    }
    text.push('\n');
    block(text, value, depth)
}

fn scalar(value: &Value) -> Result<String, serde_json::Error> {
    match value {
        Value::String(word) if is_plain(word) => Ok(word.clone()),
        other => Ok(json_line(other)?.trim_end().to_owned()),
    }
}

/// Words that no YAML reader takes for something else than a text.
fn is_plain(word: &str) -> bool {
    const NOT_TEXT: &[&str] =
        &["true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf"];
    word.starts_with(|c: char| c.is_ascii_alphabetic())
        && word.chars().all(|c| c.is_ascii_alphanumeric() || "_./-".contains(c))
        && !NOT_TEXT.contains(&word.to_ascii_lowercase().as_str())
}

#[cfg(test)]
#[allow(clippy::needless_raw_string_hashes, reason = "expect-test writes snapshots so")]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::*;

    #[test]
    fn yaml_reads_as_what_was_written() {
        let thing = json!({
            "name": "job-1", "empty": {}, "none": [], "nothing": null, "yes": "yes", "number": "12",
            "items": [{ "a": 1, "b": { "c": [true, "x: y"] } }, [1, 2], "# no comment", ""],
            "hostile": "a\u{1b}[31m\u{202e}\n- b", "emoji": "✓", "time": "2026-11-24T00:00:00Z",
        });
        let text = yaml(&thing).expect("YAML");
        expect![[r##"
            emoji: "✓"
            empty: {}
            hostile: "a\u001b[31m\u202e\n- b"
            items:
              - a: 1
                b:
                  c:
                    - true
                    - "x: y"
              - - 1
                - 2
              - "# no comment"
              - ""
            name: job-1
            none: []
            nothing: null
            number: "12"
            time: "2026-11-24T00:00:00Z"
            "yes": "yes"
        "##]]
        .assert_eq(&text);
        let back: Value = serde_saphyr::from_str(&text).expect("YAML");
        assert_eq!(back, thing);
        assert!(!text.replace('\n', "").chars().any(is_dangerous));
    }

    #[test]
    fn json_escapes_what_terminals_obey() {
        let thing = json!({ "a\u{9b}": ["\u{202e}x\u{e0001}", "ä\"\\\n"] });
        for text in [json(&thing).expect("JSON"), json_line(&thing).expect("JSON")] {
            assert!(!text.replace('\n', "").chars().any(is_dangerous), "{text}");
            assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON"), thing);
        }
        expect![[r#"
            {"a\u009b":["\u202ex\udb40\udc01","ä\"\\\n"]}
        "#]]
        .assert_eq(&json_line(&thing).expect("JSON"));
    }
}
