//! RFC 8785 (JCS) output of [`Value`]s that passed the strict reader, and of our own serde types.

use crate::json::{self, Value};

/// Appends the RFC 8785 form of `value`.
pub fn write(value: &Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => write_number(*number, out),
        Value::String(text) => write_string(text, out),
        Value::Array(elements) => {
            write_list(elements, b'[', b']', out, |element, out| write(element, out));
        }
        Value::Object(members) => write_list(members, b'{', b'}', out, |(name, value), out| {
            write_string(name, out);
            out.push(b':');
            write(value, out);
        }),
    }
}

/// The RFC 8785 form of `value`.
pub fn to_vec(value: &Value<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    write(value, &mut out);
    out
}

/// The RFC 8785 form of one of our own types. Panics if it does not serialize to strict JSON, which is a
/// defect of the type.
pub fn of<T: serde::Serialize>(value: &T) -> Vec<u8> {
    let text = serde_json::to_vec(value).expect("our own types serialize");
    // Our types may hold whole entries (`crate::gone`), which are deeper than outside input may be.
    to_vec(&json::parse_nested(&text).expect("our own types are strict JSON"))
}

/// Appends `text` as a JSON string (RFC 8785 §3.2.2.2).
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let bytes = text.as_bytes();
    // Most texts have nothing to escape. Without an early end, the compiler checks 16 bytes at a time.
    if !bytes.iter().fold(false, |found, byte| found | must_escape(*byte)) {
        out.extend_from_slice(bytes);
        out.push(b'"');
        return;
    }
    let mut begin = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let short = match byte {
            b'"' => b'"',
            b'\\' => b'\\',
            0x08 => b'b',
            0x09 => b't',
            0x0a => b'n',
            0x0c => b'f',
            0x0d => b'r',
            0x00..=0x1f => b'u',
            _ => continue,
        };
        out.extend_from_slice(&bytes[begin..at]);
        out.extend_from_slice(&[b'\\', short]);
        if short == b'u' {
            out.extend_from_slice(format!("{byte:04x}").as_bytes());
        }
        begin = at + 1;
    }
    out.extend_from_slice(&bytes[begin..]);
    out.push(b'"');
}

fn must_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

fn write_list<T>(
    items: &[T],
    open: u8,
    close: u8,
    out: &mut Vec<u8>,
    mut each: impl FnMut(&T, &mut Vec<u8>),
) {
    out.push(open);
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        each(item, out);
    }
    out.push(close);
}

/// RFC 8785 §3.2.2.3: the ECMAScript form; minus zero is `0`.
fn write_number(number: f64, out: &mut Vec<u8>) {
    let mut buffer = ryu_js::Buffer::new();
    let number = if number == 0.0 { 0.0 } else { number };
    out.extend_from_slice(buffer.format_finite(number).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::Path;

    fn check(input: &str, expected: &str) {
        let value = json::parse(input.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(to_vec(&value)).unwrap(), expected, "{input}");
    }

    #[test]
    fn numbers_and_strings() {
        check("[-0, 1.0, 1e2, 0.000001, 1e-7, 4.50]", "[0,1,100,0.000001,1e-7,4.5]");
        check(
            r#""\u0000\b\t\n\u000b\f\r\"\\\/\u007f\u20ac""#,
            "\"\\u0000\\b\\t\\n\\u000b\\f\\r\\\"\\\\/\u{7f}€\"",
        );
        check(r#"{ "b": [ ], "a" : { } }"#, r#"{"a":{},"b":[]}"#);
    }

    /// The vectors of RFC 8785's author; see `proto/vectors/jcs/README.md`.
    #[test]
    fn p5_public_vectors() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto/vectors/jcs");
        let mut seen = 0;
        for entry in std::fs::read_dir(dir.join("input")).unwrap() {
            let path = entry.unwrap().path();
            let input = std::fs::read(&path).unwrap();
            let expected =
                std::fs::read(dir.join("output").join(path.file_name().unwrap())).unwrap();
            match json::parse(&input) {
                Ok(value) => assert_eq!(to_vec(&value), expected.trim_ascii_end(), "{path:?}"),
                // values.json and arrays.json hold numbers beyond 2^53-1, which we refuse by design.
                Err(e) => assert_eq!(e.kind, json::ErrorKind::Number, "{path:?}"),
            }
            seen += 1;
        }
        assert_eq!(seen, 6);
    }

    fn value() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i32>().prop_map(Into::into),
            (-1e6_f64..1e6).prop_map(Into::into),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
                proptest::collection::hash_map(any::<String>(), inner, 0..6)
                    .prop_map(|map| map.into_iter().collect::<serde_json::Map<_, _>>().into()),
            ]
        })
    }

    proptest! {
        /// Another implementation agrees on everything that the strict reader accepts.
        #[test]
        fn p5_agrees_with_another_implementation(value in value()) {
            let text = serde_json::to_vec(&value).unwrap();
            let ours = to_vec(&json::parse(&text).unwrap());
            prop_assert_eq!(&ours, &serde_json_canonicalizer::to_vec(&value).unwrap());
            prop_assert_eq!(to_vec(&json::parse(&ours).unwrap()), ours);
        }
    }
}
