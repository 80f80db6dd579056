//! What a call does, by the names of its tool, action and members, where these say it plainly: it deletes in production, it
//! releases a version, it gives a person access without an end.

use super::{fields, natural};
use decider::rule::resolve;
use ledger::json::Value;

/// Words of tools and actions that delete.
const DELETES: [&str; 10] = [
    "delete",
    "deletes",
    "destroy",
    "drop",
    "erase",
    "purge",
    "remove",
    "terminate",
    "truncate",
    "wipe",
];
/// Words of tools and actions that release.
const RELEASES: [&str; 6] = ["deploy", "deployment", "promote", "release", "rollback", "rollout"];
/// Words of tools and actions that give access.
const GRANTS: [&str; 10] = [
    "access",
    "authorize",
    "directory",
    "grant",
    "iam",
    "invite",
    "permission",
    "permissions",
    "role",
    "roles",
];
/// Names of members that say where, in small letters alone.
const WHERE: [&str; 6] =
    ["env", "environment", "deployenvironment", "stage", "targetenv", "targetenvironment"];
/// Names of production.
const PRODUCTION: [&str; 3] = ["production", "prod", "live"];
/// Names of members that say what is released.
const SERVICE: [&str; 6] = ["app", "application", "chart", "component", "package", "service"];
/// Names of members that say which version.
const VERSION: [&str; 3] = ["release", "tag", "version"];
/// Names of members that say who gets access.
const PERSON: [&str; 9] =
    ["email", "employee", "login", "mail", "member", "person", "user", "userid", "username"];
/// Texts that say that something has no end.
const NO_END: [&str; 7] = ["", "forever", "indefinite", "never", "none", "permanent", "unlimited"];
/// First words of the names of accounts that are no person's.
const MACHINES: [&str; 5] = ["bot", "machine", "robot", "service", "svc"];

/// A version of a service that is to run somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// What is released. Not cleaned.
    pub service: Option<String>,
    /// Where. Not cleaned.
    pub environment: Option<String>,
    /// Which version. Not cleaned.
    pub version: Option<String>,
}

impl Release {
    /// The release that a call asks for. `None` if tool and action do not say that it is one.
    pub(super) fn of((tool, action): (&str, &str), params: &Value<'_>) -> Option<Self> {
        let text = |names: &[&str]| text_at(params, names).map(|(_, text)| text.to_owned());
        says(tool, action, &RELEASES).then(|| Self {
            service: text(&SERVICE),
            environment: text(&WHERE),
            version: text(&VERSION),
        })
    }

    /// True if it is for an environment that is named production.
    pub fn is_in_production(&self) -> bool {
        self.environment.as_deref().is_some_and(is_production)
    }

    /// True if both are of the same service, to the same place.
    pub fn is_alike(&self, other: &Self) -> bool {
        self.service.is_some()
            && self.service == other.service
            && self.environment == other.environment
    }

    /// The version of another release, if this one's is surely lower.
    pub fn is_behind<'r>(&self, other: &'r Self) -> Option<&'r str> {
        let (version, than) = (self.version.as_deref()?, other.version.as_deref()?);
        is_lower(version, than).then_some(than)
    }
}

/// What of it warns, in words.
pub(super) fn warnings((tool, action): (&str, &str), params: &Value<'_>) -> Vec<String> {
    let place = says(tool, action, &DELETES).then(|| text_at(params, &WHERE)).flatten();
    let deletes = place
        .filter(|(_, place)| is_production(place))
        .map(|(name, _)| format!("It deletes, and {name} is production."));
    let endless = says(tool, action, &GRANTS).then(|| endless(params)).flatten();
    deletes.into_iter().chain(endless).collect()
}

/// That a person's access has no end.
fn endless(params: &Value<'_>) -> Option<String> {
    let (_, person) = text_at(params, &PERSON)?;
    let leaves = fields::leaves(params);
    let end = leaves.iter().find(|leaf| natural::is_due(leaf))?;
    let shown = match resolve(params, end)? {
        Value::Null => "null",
        Value::String(text) => {
            let text = text.trim().to_lowercase();
            NO_END.into_iter().find(|no_end| *no_end == text)?
        }
        _ => return None,
    };
    let first = words(person).into_iter().next().unwrap_or_default();
    let is_person = !MACHINES.contains(&first.as_str());
    let name = fields::capital(end, params);
    is_person
        .then(|| format!("Access for a person without an end: {name} is \u{201c}{shown}\u{201d}."))
}

/// The first text whose member has one of these names: the name as people read it, and the text.
fn text_at<'v>(params: &'v Value<'_>, names: &[&str]) -> Option<(String, &'v str)> {
    let leaves = fields::leaves(params);
    let leaf = leaves.iter().find(|leaf| {
        natural::is_one_of(names, leaf)
            && resolve(params, leaf).and_then(Value::as_str).is_some_and(|text| !text.is_empty())
    })?;
    Some((fields::steps(leaf), resolve(params, leaf)?.as_str()?))
}

fn is_production(place: &str) -> bool {
    PRODUCTION.contains(&place.trim().to_lowercase().as_str())
}

fn says(tool: &str, action: &str, list: &[&str]) -> bool {
    words(tool).into_iter().chain(words(action)).any(|word| list.contains(&word.as_str()))
}

/// The words of a name in small letters: `deleteBackup`, `delete_backup` and `delete-backup` have two.
fn words(name: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut small = false;
    for c in name.chars() {
        let is_letter = c.is_alphanumeric();
        if !is_letter || (small && c.is_uppercase()) {
            all.push(String::new());
        }
        small = c.is_lowercase();
        if let Some(word) = all.last_mut().filter(|_| is_letter) {
            word.extend(c.to_lowercase());
        }
    }
    all.retain(|word| !word.is_empty());
    all
}

/// True if a version is surely lower than another one: by its numbers, and then a candidate is lower than what it is a candidate of.
/// What is no number decides nothing.
fn is_lower(version: &str, than: &str) -> bool {
    let read = |text: &str| -> Option<(Vec<u64>, bool)> {
        let text = text.trim().trim_start_matches(['v', 'V']);
        let text = text.split('+').next().unwrap_or_default();
        let (core, candidate) =
            text.split_once('-').map_or((text, false), |(core, _)| (core, true));
        let numbers: Result<Vec<u64>, _> = core.split('.').map(str::parse).collect();
        let mut numbers = numbers.ok()?;
        while numbers.last() == Some(&0) {
            numbers.pop();
        }
        Some((numbers, candidate))
    };
    let (Some((now, is_candidate)), Some((last, was_candidate))) = (read(version), read(than))
    else {
        return false;
    };
    now < last || (now == last && is_candidate && !was_candidate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ledger::json;

    fn check(of: (&str, &str), params: &str, said: &[&str]) {
        let params = json::parse_kept(params.as_bytes()).unwrap();
        assert_eq!(warnings(of, &params), said, "{of:?}");
    }

    #[test]
    fn p7_a_deletion_in_production_warns() {
        let said = ["It deletes, and environment is production."];
        let (production, staging) =
            (r#"{"environment":"production","item":"x"}"#, r#"{"environment":"staging"}"#);
        check(("storage", "delete"), production, &said);
        check(("storage", "deleteBackup"), production, &said);
        check(("drop_table", "run"), production, &said);
        check(("storage", "delete"), r#"{"env":"Prod"}"#, &["It deletes, and env is production."]);
        check(("storage", "delete"), staging, &[]);
        check(("storage", "delete"), r#"{"item":"production"}"#, &[]);
        check(("storage", "list_deleted"), production, &[]);
        check(("deploy", "release"), production, &[]);
    }

    #[test]
    fn p7_access_of_a_person_without_an_end_warns() {
        let never = r#"{"email":"kim@example.org","expires":"never","role":"reader"}"#;
        let said = ["Access for a person without an end: Expires is “never”."];
        check(("access", "grant"), never, &said);
        check(("directory", "add_user"), never, &said);
        let null = r#"{"user":"kim","valid_until":null}"#;
        let said = ["Access for a person without an end: Valid_until is “null”."];
        check(("directory", "grant"), null, &said);
        check(("access", "grant"), &never.replace("never", "2026-12-24"), &[]);
        check(("access", "grant"), &never.replace("kim@", "svc-copy@"), &[]);
        check(("access", "grant"), r#"{"system":"db","expires":"never"}"#, &[]);
        check(("cache", "put"), never, &[]);
    }

    #[test]
    fn p7_a_version_is_behind_by_its_numbers() {
        for (version, than, lower) in [
            ("3.9.12", "3.10.2", true),
            ("3.10.2", "3.9.12", false),
            ("3.10", "3.10.0", false),
            ("v1.2", "1.2.1", true),
            ("1.31.0-rc.2", "1.31.0", true),
            ("1.31.0", "1.31.0-rc.2", false),
            ("1.31.0-rc.1", "1.31.0-rc.2", false),
            ("2026.11.30+b7", "2026.12.1", true),
            ("1.l9.3", "1.20.0", false),
            ("main", "1.0", false),
        ] {
            assert_eq!(is_lower(version, than), lower, "{version} {than}");
        }
    }
}
