//! The frozen params as rows: one JSON Pointer and one value each, as they were hashed.

use ledger::{
    canonical,
    json::{self, Value},
};

/// Most rows that are shown. A call with more can't be shown in full, and so can't be approved (P7).
pub const ROWS_MAX: usize = 2_000;

/// JSON Pointer (RFC 6901) and RFC 8785 text of each value that has no members. Not cleaned yet.
pub struct Rows {
    /// In order of the canonical form.
    pub rows: Vec<(String, String)>,
    /// True if these are all rows.
    pub complete: bool,
}

/// Reads canonical params and flattens them. Params that can't be read give no row.
pub fn flatten(params: &str) -> Rows {
    let mut rows = Rows { rows: Vec::new(), complete: true };
    match json::parse_kept(params.as_bytes()) {
        Ok(value) => rows.add(&mut String::new(), &value),
        Err(_) => rows.complete = false,
    }
    rows
}

impl Rows {
    fn add(&mut self, pointer: &mut String, value: &Value<'_>) {
        if self.rows.len() == ROWS_MAX {
            self.complete = false;
            return;
        }
        let length = pointer.len();
        match value {
            Value::Object(members) if !members.is_empty() => {
                for (name, value) in members {
                    pointer.push('/');
                    pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
                    self.add(pointer, value);
                    pointer.truncate(length);
                }
            }
            Value::Array(elements) if !elements.is_empty() => {
                for (number, value) in elements.iter().enumerate() {
                    pointer.push('/');
                    pointer.push_str(&number.to_string());
                    self.add(pointer, value);
                    pointer.truncate(length);
                }
            }
            leaf => {
                let text = String::from_utf8_lossy(&canonical::to_vec(leaf)).into_owned();
                self.rows.push((pointer.clone(), text));
            }
        }
    }

    /// The value at a pointer, if it has no members.
    pub fn at(&self, pointer: &str) -> Option<&str> {
        let found = self.rows.iter().find(|(row, _)| row == pointer);
        found.map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(params: &str, rows: &[(&str, &str)]) {
        let found = flatten(params);
        let found: Vec<_> = found.rows.iter().map(|(p, v)| (p.as_str(), v.as_str())).collect();
        assert_eq!(found, rows, "{params}");
    }

    #[test]
    fn params_become_rows() {
        check(
            r#"{"a":1,"b":{"c":["x",null]}}"#,
            &[("/a", "1"), ("/b/c/0", "\"x\""), ("/b/c/1", "null")],
        );
        check(
            r#"{"a/b":{},"c~d":[],"e":true}"#,
            &[("/a~1b", "{}"), ("/c~0d", "[]"), ("/e", "true")],
        );
        check(r#""all""#, &[("", "\"all\"")]);
        check("{}", &[("", "{}")]);
    }

    #[test]
    fn p7_what_can_not_be_shown_is_not_complete() {
        let many = format!("[{}0]", "0,".repeat(ROWS_MAX));
        assert!(!flatten(&many).complete);
        assert!(flatten(&many.replacen("0,", "", 1)).complete);
        assert!(!flatten("{").complete);
    }
}
