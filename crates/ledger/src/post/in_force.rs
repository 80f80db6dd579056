//! The policies in force, and the versions of lists: what posting compares of decisions and proposals.

use crate::{
    entry::View,
    ident::LISTS_MAX,
    json::Value,
    system::policy::{Activation, ListActivation, ListForm},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What the log says of policies, as far as posting needs it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policies {
    /// Number of bundles that were proposed: the version of the last one.
    pub versions: u64,
    /// Leaf index of the last one.
    pub last: Option<u64>,
    /// The one in force.
    pub in_force: Option<BundleInForce>,
    /// The lists that have entries of their own, by name. Of all others, the items in force are those of the bundle.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub lists: BTreeMap<String, ListInForce>,
}

impl Policies {
    /// Notes that the entry at `index` put a bundle in force.
    pub fn take(&mut self, index: u64, activation: &Activation) {
        let Activation { bundle, version, .. } = *activation;
        let digest = activation.digest.clone();
        self.in_force = Some(BundleInForce { index, bundle, version, digest });
    }

    /// Notes that the entry at `index` put a version of a list in force. False if it can't follow the one before.
    pub fn take_list(&mut self, index: u64, activation: &ListActivation) -> bool {
        let ListActivation { name, version, list, part, .. } = activation;
        let (version, list, part) = (*version, *list, *part);
        if !self.may_follow(name, version) {
            return false;
        }
        let known = self.lists.get(name);
        let first = known.map_or(index, |known| known.first);
        self.lists.insert(name.clone(), ListInForce { index, list, part, version, first });
        true
    }

    /// The version of a list in force. 0: its items are those of the bundle.
    pub fn version_of(&self, name: &str) -> u64 {
        self.lists.get(name).map_or(0, |list| list.version)
    }

    /// True if the proposed version follows the one in force and replaces exactly its items. `file`: leaf index of the
    /// list's file in the bundle in force.
    pub fn is_next(&self, form: &ListForm, file: Option<u64>) -> bool {
        let before = match self.lists.get(&form.name) {
            Some(known) => Some(known.list),
            None => file,
        };
        self.may_follow(&form.name, form.version) && before == Some(form.replaces)
    }

    fn may_follow(&self, name: &str, version: u64) -> bool {
        let room = self.lists.contains_key(name) || self.lists.len() < LISTS_MAX;
        room && version == self.version_of(name) + 1
    }

    /// True if a list got its first entry after the entry at `index`. What was proposed before may change that list's
    /// file, which does not count any more.
    pub fn has_new_list_since(&self, index: u64) -> bool {
        self.lists.values().any(|list| list.first > index)
    }

    /// Notes a `policy` entry that was read. `false` if it is none.
    pub fn note(&mut self, index: u64, view: &View<'_>) -> bool {
        match view.text(&["event", "op"]) {
            Some("part" | "list") => true,
            Some("bundle") => {
                self.versions += 1;
                self.last = Some(index);
                view.at(&["event", "version"]).and_then(Value::as_u64) == Some(self.versions)
            }
            Some("activate") => {
                let activation: Option<Activation> = view.event_as();
                activation.inspect(|activation| self.take(index, activation)).is_some()
            }
            Some("change") => view
                .event_as::<ListActivation>()
                .is_some_and(|activation| self.take_list(index, &activation)),
            _ => false,
        }
    }
}

/// A version of a list in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListInForce {
    /// Leaf index of the entry that put it in force.
    pub index: u64,
    /// Leaf index of the entry that proposed it.
    pub list: u64,
    /// Leaf index of the entry with its items.
    pub part: u64,
    /// The version: 1, 2, …
    pub version: u64,
    /// Leaf index of the entry that put version 1 in force.
    pub first: u64,
}

/// The bundle in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleInForce {
    /// Leaf index of the entry that put it in force.
    pub index: u64,
    /// Leaf index of the entry that proposed it first.
    pub bundle: u64,
    /// Its version: 1, 2, …
    pub version: u64,
    /// Its digest.
    pub digest: String,
}

/// The versions of lists that a decision of ours rests on, by name. `data`: its member `data`.
pub fn lists_of<'v>(data: &'v Value<'_>) -> impl Iterator<Item = (&'v str, u64)> {
    let lists = match data.get("lists") {
        Some(Value::Object(members)) => &members[..],
        _ => &[],
    };
    // A version that is no number is no version in force.
    lists.iter().map(|(name, version)| (&**name, version.as_u64().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ident::Ident,
        log::merkle::Hash,
        system::{
            By, Command, LeafAt,
            policy::{PartAt, list_digest, list_path},
        },
    };

    fn form(name: &str, version: u64, replaces: u64) -> ListForm {
        let part = PartAt { path: list_path(name), sha256: "s".into(), bytes: 1, index: 3 };
        let digest = list_digest(name, version, &part);
        let by = By::Command { command: Command::Init };
        ListForm { name: name.into(), version, replaces, part, digest, by, reason: None }
    }

    fn activation(name: &str, version: u64, list: u64) -> ListActivation {
        ListActivation {
            op: "change".into(),
            approval_id: Ident::new("apr-1").unwrap(),
            name: name.into(),
            version,
            list,
            part: list - 1,
            decision: LeafAt { index: 1, leaf_hash: Hash([0; 32]) },
            digest: "d".into(),
        }
    }

    #[test]
    fn p17_a_version_of_a_list_follows_exactly_what_it_replaces() {
        let mut policies = Policies::default();
        let check = |policies: &Policies, version, replaces, file, fits| {
            let form = form("hosts", version, replaces);
            assert!(form.is_sound());
            assert_eq!(policies.is_next(&form, file), fits, "{version} {replaces} {file:?}");
        };
        check(&policies, 1, 5, Some(5), true);
        check(&policies, 1, 5, Some(6), false);
        check(&policies, 1, 5, None, false);
        check(&policies, 2, 5, Some(5), false);
        assert!(policies.take_list(20, &activation("hosts", 1, 12)));
        assert!(!policies.take_list(21, &activation("hosts", 1, 12)));
        assert!(!policies.take_list(21, &activation("hosts", 3, 12)));
        // From now on the file in the bundle does not count.
        check(&policies, 2, 12, None, true);
        check(&policies, 2, 5, Some(5), false);
        check(&policies, 1, 12, Some(12), false);
        assert!(policies.has_new_list_since(19) && !policies.has_new_list_since(20));
        assert!(policies.take_list(30, &activation("hosts", 2, 25)));
        assert!(!policies.has_new_list_since(20), "only its first entry ends what the file says");
        assert_eq!((policies.version_of("hosts"), policies.version_of("payees")), (2, 0));
    }

    #[test]
    fn p13_the_number_of_lists_with_entries_is_limited() {
        let mut policies = Policies::default();
        for n in 0..LISTS_MAX {
            assert!(policies.take_list(9, &activation(&format!("l{n}"), 1, 8)));
        }
        assert!(!policies.take_list(9, &activation("more", 1, 8)));
        assert!(policies.take_list(9, &activation("l0", 2, 8)));
    }

    #[test]
    fn the_members_of_a_version_fit_each_other() {
        let sound = form("hosts", 1, 5);
        let wrong = [
            ListForm { version: 0, ..sound.clone() },
            ListForm { version: 2, ..sound.clone() },
            ListForm { name: "payees".into(), ..sound.clone() },
            ListForm { digest: "d".into(), ..sound.clone() },
            ListForm { part: PartAt { bytes: 2, ..sound.part.clone() }, ..sound.clone() },
            form("no/list", 1, 5),
            form("", 1, 5),
        ];
        assert!(sound.is_sound());
        for form in wrong {
            assert!(!form.is_sound(), "{form:?}");
        }
    }
}
