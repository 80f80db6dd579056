//! Checks the erasable part of an entry: it must be what the leaf commits to, and whole, unless an erasure
//! says what is gone.

use crate::{
    canonical,
    disclosure::{self, digest_of},
    entry::{Kind, Payload, View},
    gone::Erasure,
    json::{self, Value, name_order},
};
use std::{
    borrow::Cow,
    collections::{BTreeSet, HashSet},
};

/// What erasure entries say about one entry.
#[derive(Clone, Debug, Default)]
pub struct Erased {
    /// True if all of its payload was erased.
    pub whole: bool,
    /// Names of erased fields.
    pub names: BTreeSet<String>,
}

impl Erased {
    /// Adds another erasure entry.
    pub fn add<L>(&mut self, erasure: Erasure<L>) {
        match erasure.fields {
            None => self.whole = true,
            Some(names) => self.names.extend(names),
        }
    }

    /// What is wrong with a payload of which these erasures are known and `missing` fields are gone.
    pub fn judge(&self, payload: &Payload, missing: usize) -> Option<&'static str> {
        let names: Vec<_> = payload.disclosures.iter().filter_map(|t| Payload::name(t)).collect();
        if payload.commit_salt.is_some() {
            Some("an erasure names it, and the salt of `commit` is still there")
        } else if self.whole && !names.is_empty() {
            Some("an erasure names it whole, and payload is still there")
        } else if names.iter().any(|name| self.names.contains(name)) {
            Some("a field is still there that an erasure names")
        } else if !self.whole && missing > self.names.len() {
            Some("more payload is missing than its erasures name")
        } else {
            None
        }
    }
}

/// Result for a payload that agrees with its leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// All of it is there.
    Whole,
    /// The rest agrees. An erasure must say why this many fields, or the salt of `commit`, are missing.
    Less(usize),
}

/// Compares a payload with its leaf: digests, names, `commit`. Erasures are not considered.
pub fn judge(view: &View<'_>, payload: &Payload) -> Result<Holds, &'static str> {
    let digests: HashSet<&str> = view.payload().collect();
    let (mut seen, mut fields) = (HashSet::new(), Vec::with_capacity(payload.disclosures.len()));
    for text in &payload.disclosures {
        let digest = disclosure::digest(text);
        let known = digests.get(digest.as_str());
        let known = known.ok_or("a disclosure that it does not commit to")?;
        if !seen.insert(*known) {
            return Err("the same disclosure twice");
        }
        fields.push(field(text).ok_or("a disclosure that is not [salt, name, value]")?);
    }
    fields.sort_by(|a, b| name_order(&a.0, &b.0));
    if fields.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return Err("two disclosures of one name");
    }
    let missing = digests.len() - seen.len();
    let Some(salt) = payload.commit_salt.as_ref().filter(|_| missing == 0) else {
        return Ok(Holds::Less(missing));
    };
    let commit = view.text(&["commit"]).unwrap_or_default();
    let holds = wholes(view, fields).iter().any(|whole| digest_of(salt, "", whole) == commit);
    if holds { Ok(Holds::Whole) } else { Err("its salt does not give its `commit`") }
}

type Member<'a> = (Cow<'a, str>, Value<'a>);

fn field(text: &[u8]) -> Option<Member<'_>> {
    let Value::Array(parts) = json::parse_kept(text).ok()? else { return None };
    let parts: [Value<'_>; 3] = parts.try_into().ok()?;
    let [Value::String(_), Value::String(name), value] = parts else { return None };
    Some((name, value))
}

/// Everything that `commit` may commit to, composed from the leaf and all of its disclosures, the likeliest
/// first.
fn wholes(view: &View<'_>, mut fields: Vec<Member<'_>>) -> Vec<Vec<u8>> {
    let event = || view.at(&["event"]).cloned().unwrap_or(Value::Null);
    match view.kind {
        Kind::Decision | Kind::Event => events(event(), fields),
        Kind::Evidence if view.at(&["event", "shown"]).is_none() => {
            vec![canonical::to_vec(&Value::Object(fields))]
        }
        Kind::Rejected | Kind::DuplicateConflict | Kind::Void => {
            fields.pop().map(|(_, value)| canonical::to_vec(&value)).into_iter().collect()
        }
        _ => vec![canonical::to_vec(&event())],
    }
}

/// Candidates for a published event. Members that leave no trace in the leaf are tried both ways: an empty
/// `payload`, an empty `data`.
fn events(plain: Value<'_>, fields: Vec<Member<'_>>) -> Vec<Vec<u8>> {
    let mut whole = plain;
    for (name, value) in fields {
        let path: Vec<Cow<'_, str>> = match name.strip_prefix('/') {
            None => vec!["data".into(), "payload".into(), name],
            Some(pointer) => pointer.split('/').map(unescape).map(Cow::Owned).collect(),
        };
        insert(&mut whole, &path, value);
    }
    let mut tries = vec![canonical::to_vec(&whole)];
    for path in [&["data"][..], &["data", "payload"]] {
        let path: Vec<Cow<'_, str>> = path.iter().map(|name| Cow::Borrowed(*name)).collect();
        let mut other = whole.clone();
        if insert(&mut other, &path, Value::Object(Vec::new())) {
            tries.push(canonical::to_vec(&other));
        }
    }
    tries
}

fn unescape(token: &str) -> String {
    token.replace("~1", "/").replace("~0", "~")
}

/// Puts a value at a path of names where nothing is. `false` if something is there.
fn insert<'a>(into: &mut Value<'a>, path: &[Cow<'a, str>], value: Value<'a>) -> bool {
    let (Value::Object(members), Some((name, rest))) = (into, path.split_first()) else {
        return false;
    };
    let at = members.binary_search_by(|(other, _)| name_order(other, name));
    match (at, rest.is_empty()) {
        (Ok(_), true) => false,
        (Ok(at), false) => insert(&mut members[at].1, rest, value),
        (Err(at), true) => {
            members.insert(at, (name.clone(), value));
            true
        }
        (Err(at), false) => {
            members.insert(at, (name.clone(), Value::Object(Vec::new())));
            insert(&mut members[at].1, rest, value)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        disclosure::Seed,
        entry::{Origin, Prior},
        ident::Ident,
        journal::{Headers, Subject},
        post::Prepared,
        time::Nanos,
    };

    fn entry(body: &str) -> (Vec<u8>, Payload) {
        let subject = Subject::parse("decisions.gw-1");
        let seed = Seed::derive(&[1; 32], 1, 2);
        let message = Prepared::new(subject, Headers::default(), body.as_bytes().to_vec(), seed);
        let draft = message.draft().expect("an event");
        let origin = Origin { epoch: 1, seq: 2, time: Nanos(3) };
        let bytes = draft.finish(&Ident::new("acme").unwrap(), (origin, Prior::default()), None);
        (bytes, Payload::decode(&draft.payload).expect("just encoded"))
    }

    /// Every event comes back whole from leaf and disclosures; any change of the payload shows.
    #[test]
    fn p11_the_payload_is_what_the_leaf_commits_to() {
        let check = |data: &str| {
            let head =
                r#""specversion":"1.0","id":"1","source":"/s","time":"2026-01-02T03:04:05Z""#;
            let (bytes, payload) = entry(&format!("{{{head},{data}}}"));
            let view = View::parse(&bytes).unwrap();
            assert_eq!(judge(&view, &payload), Ok(Holds::Whole), "{data}");
            let mut salted = payload.clone();
            salted.commit_salt = Some(
                Seed::derive(&[2; 32], 1, 2)
                    .salt(&disclosure::Scope { producer: "", source: "", id: "", ours: false }, ""),
            );
            assert!(judge(&view, &salted).is_err(), "another salt: {data}");
            for at in 0..payload.disclosures.len() {
                let mut less = payload.clone();
                let gone = less.disclosures.remove(at);
                assert_eq!(judge(&view, &less), Ok(Holds::Less(1)), "{data}");
                let erased = |name: &str| Erased { whole: false, names: [name.into()].into() };
                let name = Payload::name(&gone).unwrap();
                assert!(erased(&name).judge(&less, 1).is_some(), "the salt is left");
                less.commit_salt = None;
                assert_eq!(erased(&name).judge(&less, 1), None, "{data}");
                assert!(erased(&name).judge(&less, 2).is_some(), "two are gone, one is named");
                if let Some(twice) = less.disclosures.first().cloned() {
                    less.disclosures.push(twice);
                    assert!(judge(&view, &less).is_err(), "twice: {data}");
                    assert!(Erased { whole: true, ..Erased::default() }.judge(&less, 0).is_some());
                }
            }
        };
        let decision = r#""type":"dev.countersign.decision.v1","data":{"agent":{"id":"a","more":[1]},"tool":{"name":"t","action":"x"},"verdict":"deny""#;
        check(&format!("{decision}}}"));
        check(&format!(r#"{decision},"payload":{{}}}}"#));
        check(&format!(r#"{decision},"payload":{{"z":1,"a":{{"b":2}},"a/b":null}}}}"#));
        check(&format!(r#"{decision},"payload":7,"new":{{"x":1}}}},"extra":[],"x~y":1,"x/y":2"#));
        check(r#""type":"com.example.x","data":{"payload":{"a":1},"b":2}"#);
        check(r#""type":"com.example.x","data":{}"#);
        check(r#""type":"com.example.x","data":{"payload":{}}"#);
        check(r#""type":"com.example.x","data":[1,2]"#);
        check(r#""type":"com.example.x""#);
        check(r#""type":"dev.countersign.heartbeat.v1","sequence":"7","data":{}"#);
    }
}
