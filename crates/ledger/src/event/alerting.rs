//! The clauses of a decision that raise an alert (member `alerts` of our own decisions and reports).

use super::TEXT_BYTES_MAX;
use crate::json::{Value, text_has_control};

/// Most clauses of one decision that raise an alert. Clauses beyond are matched all the same.
pub const ALERTING_MAX: usize = 16;

/// A clause in force that matched and names an alert.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Alerting {
    /// The clause: `<policy>/<id>`.
    pub clause: String,
    /// Name of the alert.
    pub name: String,
}

impl Alerting {
    /// Reads the member: 1 to [`ALERTING_MAX`] objects in order, none twice. `None` if it is none.
    pub fn read_all(value: &Value<'_>) -> Option<Vec<Self>> {
        let found = value.as_array()?.iter().map(Self::read).collect::<Option<Vec<_>>>()?;
        let fits = (1..=ALERTING_MAX).contains(&found.len()) && found.is_sorted_by(|a, b| a < b);
        fits.then_some(found)
    }

    /// Those of a decision or a report of ours. `data`: its member `data`.
    pub fn of(data: &Value<'_>) -> Vec<Self> {
        data.get("alerts").and_then(Self::read_all).unwrap_or_default()
    }

    fn read(value: &Value<'_>) -> Option<Self> {
        let Value::Object(members) = value else { return None };
        let text = |name: &str| {
            let text = value.get(name)?.as_str()?;
            let fits = (1..=TEXT_BYTES_MAX).contains(&text.len()) && !text_has_control(text);
            fits.then(|| text.to_owned())
        };
        (members.len() == 2).then_some(Self { clause: text("clause")?, name: text("name")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    #[test]
    fn p19_what_raises_an_alert_is_bounded_and_in_order() {
        let check = |text: &str, count: Option<usize>| {
            let value = json::parse(text.as_bytes()).unwrap();
            assert_eq!(Alerting::read_all(&value).map(|found| found.len()), count, "{text}");
        };
        let one = |n: usize| format!(r#"{{"clause":"p/{n:02}","name":"x"}}"#);
        let many = |n: usize| format!("[{}]", (0..n).map(one).collect::<Vec<_>>().join(","));
        check(&many(1), Some(1));
        check(&many(ALERTING_MAX), Some(ALERTING_MAX));
        check(&many(ALERTING_MAX + 1), None);
        check("[]", None);
        check(&format!("[{},{}]", one(2), one(1)), None);
        check(&format!("[{},{}]", one(1), one(1)), None);
        check(r#"[{"clause":"p/a"}]"#, None);
        check(r#"[{"clause":"p/a","name":"x","why":"y"}]"#, None);
        check(r#"[{"clause":"p/a","name":""}]"#, None);
        check(r#"[{"clause":"p/a","name":"a\u0007"}]"#, None);
        check(r#"{"clause":"p/a","name":"x"}"#, None);
    }
}
