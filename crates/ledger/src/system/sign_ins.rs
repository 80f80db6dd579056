//! Which sign-ins can be true: each is with a key, passkey or account of its person that is in force at its place.

use super::{Access, AccessKey, KeyId};
use crate::{
    entry::{Kind, View},
    time::Nanos,
};
use std::collections::BTreeMap;

/// A key that ended so many seconds before a sign-in may be its own: the server saw it in force, and the two messages
/// were on their way at once. A session with such a key is refused all the same.
pub const ON_ITS_WAY_SECONDS: u64 = 60;

/// Keys with which people sign in, as the entries so far have them.
#[derive(Clone, Debug, Default)]
pub struct SignIns {
    in_force: BTreeMap<KeyId, AccessKey>,
    /// Keys that ended a moment ago, and when.
    ended: BTreeMap<KeyId, (AccessKey, Nanos)>,
}

impl SignIns {
    /// Takes the next entry. Returns the key of a sign-in; nothing for every other entry.
    ///
    /// Errors: the entry is a sign-in that can't be true.
    pub fn take(&mut self, view: &View<'_>) -> Result<Option<&AccessKey>, &'static str> {
        let now = view.origin.time;
        if view.kind != Kind::Access {
            return Ok(None);
        }
        let signed_in = match view.event_as::<Access>().ok_or("not an access entry")? {
            Access::Add(key) => {
                self.in_force.insert(key.key_id.clone(), key);
                return Ok(None);
            }
            Access::Remove { key_id, .. } => {
                self.ended.retain(|_, (_, at)| now < at.plus_seconds(ON_ITS_WAY_SECONDS));
                if let Some(key) = self.in_force.remove(&key_id) {
                    self.ended.insert(key_id, (key, now));
                }
                return Ok(None);
            }
            Access::Read { .. } => return Ok(None),
            signed_in @ Access::SignedIn { .. } => signed_in,
        };
        if !signed_in.is_a_sign_in() {
            return Err(
                "not a sign-in: it needs a key and its person, and an issuer for an account",
            );
        }
        let Access::SignedIn { how, issuer, by, .. } = &signed_in else { return Ok(None) };
        let ended = self.ended.values();
        let ended = ended.filter(|(_, at)| now < at.plus_seconds(ON_ITS_WAY_SECONDS));
        let mut all = self.in_force.values().chain(ended.map(|(key, _)| key));
        let found = all.find(|key| key.signs_in(by, (*how, issuer.as_deref())));
        found.map(Some).ok_or("a sign-in with a key that is not in force, or is another person's")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const KEY: &str = "4ba06951d249e210";

    fn key(change: &[(&str, Value)]) -> Value {
        let mut key = json!({"op": "add", "key_id": KEY, "sha256": "x", "roles": ["reviewer"], "producer": null,
            "person": "p-ann", "name": "p-ann", "by": {"command": "init"}, "reason": null});
        for (member, value) in change {
            key[*member] = value.clone();
        }
        key
    }

    fn came(how: &str, change: &[(&str, Value)]) -> Value {
        let mut by = json!({"key": KEY, "person": "p-ann"});
        for (member, value) in change {
            by[*member] = value.clone();
        }
        json!({"op": "signed_in", "how": how, "seconds": 60, "by": by})
    }

    /// Access entries, each with its second. The last one is a sign-in that counts, or not.
    fn check(events: &[(u64, Value)], counts: bool) {
        let mut sign_ins = SignIns::default();
        let mut last = Ok(false);
        for (second, event) in events {
            let time = Nanos(0).plus_seconds(1_000 + second);
            let entry = json!({"v": 1, "tenant": "acme", "kind": "access", "producer": null, "commit": "c",
                "journal": {"epoch": 1, "seq": 1, "time": time.to_string()}, "payload": [], "prior": {},
                "event": event});
            let text = crate::canonical::of(&entry);
            let view = View::parse(&text).expect("an entry");
            last = sign_ins.take(&view).map(|key| key.is_some());
        }
        assert_eq!(last.is_ok(), counts, "{events:?} {last:?}");
        assert!(!counts || last == Ok(true), "{events:?}");
    }

    #[test]
    fn p10_a_sign_in_is_with_a_key_of_its_person_in_force() {
        let account = json!({"issuer": "https://id.example.com"});
        let removed = json!({"op": "remove", "key_id": KEY, "by": {"command": "init"}});
        let sign_in = || came("key", &[]);
        check(&[(0, key(&[])), (9, sign_in())], true);
        check(&[(9, sign_in())], false);
        check(&[(0, key(&[("person", json!("p-bob"))])), (9, sign_in())], false);
        check(&[(0, key(&[("roles", json!(["admin"]))])), (9, sign_in())], false);
        check(&[(0, key(&[("oidc", account)])), (9, sign_in())], false);
        check(&[(0, key(&[])), (9, came("passkey", &[]))], false);
        check(&[(0, key(&[])), (9, came("oidc", &[]))], false);
        check(&[(0, key(&[])), (9, came("key", &[("person", Value::Null)]))], false);
        check(&[(0, key(&[])), (9, removed.clone()), (68, sign_in())], true);
        check(&[(0, key(&[])), (9, removed), (69, sign_in())], false);
    }
}
