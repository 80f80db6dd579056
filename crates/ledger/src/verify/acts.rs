//! Checks that the reasons which administrative entries name exist. Posting does not check this, because a
//! reason decides nothing.

use crate::{
    canonical,
    entry::{Kind, View, is_reason},
    log::merkle::Hash,
    system::Reason,
};
use std::collections::BTreeMap;

/// The leaf hashes of all reasons so far, by index: 40 bytes for each.
#[derive(Default)]
pub(super) struct Reasons(BTreeMap<u64, Hash>);

impl Reasons {
    /// Knows a reason that was read before.
    #[cfg(feature = "rocksdb")]
    pub(super) fn know(&mut self, index: u64, hash: Hash) {
        self.0.insert(index, hash);
    }

    /// Takes the next entry, whose leaf hash is `hash`.
    pub(super) fn entry(
        &mut self,
        index: u64,
        view: &View<'_>,
        hash: Hash,
    ) -> Result<(), &'static str> {
        if is_reason(view) {
            self.0.insert(index, hash);
        }
        match named(view) {
            Some(reason) if self.0.get(&reason.index) != Some(&reason.leaf_hash) => {
                Err("the reason that it names is not in the entry that it names")
            }
            _ => Ok(()),
        }
    }
}

/// What an administrative entry names as its reason.
fn named(view: &View<'_>) -> Option<Reason> {
    let acts = [
        Kind::Access,
        Kind::Erasure,
        Kind::Key,
        Kind::Rules,
        Kind::Clock,
        Kind::Policy,
        Kind::Sources,
        Kind::Retention,
        Kind::Members,
        Kind::Prune,
        Kind::Freeze,
        Kind::Agent,
        Kind::Delivery,
        Kind::Alert,
        Kind::Incident,
    ];
    if !acts.contains(&view.kind) {
        return None;
    }
    let reason = canonical::to_vec(view.at(&["event", "reason"])?);
    serde_json::from_slice(&reason).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::merkle::leaf_hash;

    fn check(entries: &[(&str, &str)], refused: bool) {
        let mut reasons = Reasons::default();
        let mut found = Ok(());
        for (index, (kind, event)) in (0..).zip(entries) {
            let bytes = entry(kind, event);
            let view = View::parse(bytes.as_bytes()).unwrap();
            found = found.and(reasons.entry(index, &view, leaf_hash(bytes.as_bytes())));
        }
        assert_eq!(found.is_err(), refused, "{entries:?}");
    }

    fn entry(kind: &str, event: &str) -> String {
        format!(
            r#"{{"commit":"c","event":{event},"journal":{{"epoch":1,"seq":1,"time":"2026-11-20T05:48:00.000000000Z"}},"kind":"{kind}","payload":[],"prior":{{}},"producer":null,"tenant":"acme","v":1}}"#
        )
    }

    #[test]
    fn p5_a_reason_that_is_not_there_is_found() {
        let words = ("evidence", r#"{"approval_id":null}"#);
        let other = ("evidence", r#"{"approval_id":"apr-1"}"#);
        let hash = |entry_of: (&str, &str)| leaf_hash(entry(entry_of.0, entry_of.1).as_bytes());
        let names = |index: u64, hash: Hash| {
            format!(r#"{{"index":9,"reason":{{"index":{index},"leaf_hash":"{hash}"}}}}"#)
        };
        check(&[words, ("erasure", &names(0, hash(words)))], false);
        check(&[words, ("erasure", r#"{"index":9,"reason":null}"#)], false);
        check(&[words, ("erasure", r#"{"index":9}"#)], false);
        check(&[words, ("erasure", &names(0, hash(other)))], true);
        check(&[words, ("key", &names(1, hash(words)))], true);
        check(&[other, ("rules", &names(0, hash(other)))], true);
        check(&[("access", &names(1, hash(words))), words], true);
    }
}
