//! JSON and YAML that are safe for terminals: control characters are written as escapes.

use std::fmt::Write as _;
use std::io;

use serde::ser::{Error as _, Serialize, Serializer};
use serde_json::Value;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter};
use serde_saphyr::{DoubleQuoted, SerializeError as YamlError, ser_options};

use tinqs_ci_reconciler::text::{escape, is_dangerous};

/// Encodes a value as indented JSON, with a newline at the end.
pub fn json<T: Serialize>(thing: &T) -> Result<String, serde_json::Error> {
    write(thing, SafeFormatter(PrettyFormatter::new()))
}

/// Encodes a value as JSON on one line, with a newline at the end.
pub fn json_line<T: Serialize>(thing: &T) -> Result<String, serde_json::Error> {
    write(thing, SafeFormatter(CompactFormatter))
}

fn write<T: Serialize, F: Formatter>(
    thing: &T,
    formatter: SafeFormatter<F>,
) -> Result<String, serde_json::Error> {
    let mut bytes = Vec::new();
    thing.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, formatter))?;
    bytes.push(b'\n');
    // The serializer only writes UTF-8, so the conversion loses nothing.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A formatter that writes dangerous characters as `\uXXXX`.
struct SafeFormatter<F>(F);

type Out<'a, W> = &'a mut W;

impl<F: Formatter> Formatter for SafeFormatter<F> {
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

/// Encodes a value as YAML, with sorted keys and each string on one line.
pub fn yaml<T: Serialize>(thing: &T) -> Result<String, YamlError> {
    let thing = serde_json::to_value(thing).map_err(YamlError::custom)?;
    let options = ser_options! { compact_list_indent: false, prefer_block_scalars: false };
    let text = serde_saphyr::to_string_with_options(&Quoted(&thing), options)?;
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if is_dangerous(c) && c != '\n' {
            let _ = write!(safe, "\\U{:08x}", u32::from(c));
        } else {
            safe.push(c);
        }
    }
    Ok(safe)
}

/// Double-quotes strings with characters that are unsafe for terminals, so that they can be
/// escaped; the YAML writer itself escapes only some of them. Keys are escaped as in tables.
struct Quoted<'a>(&'a Value);

impl Serialize for Quoted<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::String(text) if text.chars().any(is_dangerous) => {
                DoubleQuoted(text).serialize(serializer)
            }
            Value::Array(items) => serializer.collect_seq(items.iter().map(Quoted)),
            Value::Object(fields) => serializer
                .collect_map(fields.iter().map(|(key, value)| (escape(key), Quoted(value)))),
            other => other.serialize(serializer),
        }
    }
}

#[cfg(test)]
#[allow(clippy::needless_raw_string_hashes, reason = "expect-test writes snapshots so")]
mod tests {
    use expect_test::expect;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn yaml_round_trips() {
        let thing = json!({
            "name": "job-1", "empty": {}, "none": [], "nothing": null, "yes": "yes", "number": "12",
            "items": [{ "a": 1, "b": { "c": [true, "x: y"] } }, [1, 2], "# no comment", ""],
            "hostile": "a\u{1b}[31m\u{202e}\u{e0001}\n- b", "emoji": "✓", "cjk": "単体: テスト",
            "time": "2026-11-24T00:00:00Z", "job": "acme/web#812 build (22)", "long": "x ".repeat(60),
            "big": u64::MAX, "small": i64::MIN, "half": 0.5, "far": 1e300, "words": [
                "0x1f", "012", "1e3", "-1", ".5", "1_000", "~", "Null", "NO", "on", "=", "<<", "- a",
                "a: b", "a:", "a #b", "[a", "{a", "*a", "&a", "!a", "%a", "@a", "`a", "|", ">", "'", "\"",
                "\\", " a", "a ", "---", "...", "12:30:45", "0o7", ".inf", ".nan", "\t", "\r\n",
            ],
        });
        let text = yaml(&thing).expect("YAML");
        expect![[r##"
            big: 18446744073709551615
            cjk: "単体: テスト"
            emoji: ✓
            empty: {}
            far: 1.0e+300
            half: 0.5
            hostile: "a\e[31m\U0000202e\U000e0001\n- b"
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
            job: acme/web#812 build (22)
            long: "x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x "
            name: job-1
            none: []
            nothing: null
            number: "12"
            small: -9223372036854775808
            time: "2026-11-24T00:00:00Z"
            words:
              - "0x1f"
              - "012"
              - "1e3"
              - "-1"
              - ".5"
              - "1_000"
              - "~"
              - "Null"
              - "NO"
              - "on"
              - "="
              - "<<"
              - "- a"
              - "a: b"
              - "a:"
              - "a #b"
              - "[a"
              - "{a"
              - "*a"
              - "&a"
              - "!a"
              - "%a"
              - "@a"
              - "`a"
              - "|"
              - ">"
              - "'"
              - "\""
              - \
              - " a"
              - "a "
              - "---"
              - "..."
              - "12:30:45"
              - "0o7"
              - ".inf"
              - ".nan"
              - "\t"
              - "\r\n"
            "yes": "yes"
        "##]]
        .assert_eq(&text);
        let back: Value = serde_saphyr::from_str(&text).expect("YAML");
        assert_eq!(back, thing);
        assert!(!text.replace('\n', "").chars().any(is_dangerous));
    }

    /// Characters with a special meaning in YAML or terminals.
    const AWKWARD: &str = concat!(
        r#"[-+.:#0-9a-fxoeE_~ \n\t'"\\|>&*!%@`,?=<\[\]{}"#,
        "\u{85}\u{9b}\u{2028}\u{202e}\u{feff}\u{e0001}]{0,8}",
    );

    fn any_value() -> impl Strategy<Value = Value> {
        let text = || prop_oneof![".{0,12}", AWKWARD];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            text().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, move |inner| {
            let key = text().prop_map(|key| escape(&key));
            prop_oneof![
                vec(inner.clone(), 0..5).prop_map(Value::from),
                vec((key, inner), 0..5).prop_map(|fields| fields.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_yaml_round_trips(thing in any_value()) {
            let text = yaml(&thing).expect("YAML");
            prop_assert!(!text.replace('\n', "").chars().any(is_dangerous), "{text:?}");
            prop_assert!(!text.contains(" \n"), "{text:?}");
            let back: Value = serde_saphyr::from_str(&text).expect(&text);
            prop_assert_eq!(back, thing, "{}", text);
        }
    }

    #[test]
    fn json_escapes_characters_unsafe_for_terminals() {
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
