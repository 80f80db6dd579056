//! Checks the commit record, from which posting starts.

use super::{Report, derived::Derived};
use crate::{
    post::{Log, Position, digest_of_access, digest_of_keys},
    verify::Walk,
};

/// The commit record must agree with the entries.
pub(super) fn compare(log: &Log, walk: &Walk, derived: &Derived, report: &mut Report) {
    let position = &log.position;
    if walk.size() != position.size {
        let (found, said) = (walk.size(), position.size);
        report.find(format!("{found} entries can be read, where the commit record says {said}"));
    } else if walk.root() != position.root {
        report.find("the entries give another root than the commit record says");
    }
    if walk.size() == 0 {
        return;
    }
    if (&position.journal, position.epoch) != (&derived.journal.0, derived.journal.1) {
        report.find("the commit record names another journal, or another epoch, than the entries");
    }
    if derived.last > (position.epoch, position.posted) {
        report.find("the last entry comes from after the posted journal position");
    }
    values(position, derived, report);
    if position.clock != derived.clock {
        report.find(
            "the commit record says that time began anew elsewhere than at the last clock entry",
        );
    }
    if position.keys != digest_of_keys(&derived.signing) {
        report.find("the commit record vouches for other signing keys than the entries give");
    }
    if position.access != digest_of_access(&derived.access) {
        report.find("the commit record vouches for other API keys than the entries give");
    }
    if position.prior != walk.prior() {
        report.find("the commit record does not name the last approval and system entries");
    }
}

/// What the commit record carries from entry to entry is what the entries say.
fn values(position: &Position, derived: &Derived, report: &mut Report) {
    let same = [
        (position.rules == derived.rules, "the last rules are not those of the last rules entry"),
        (
            position.sources == derived.declared,
            "the sources that must report are not those of the last sources entry",
        ),
        (
            position.retention == derived.retention,
            "retention and legal holds are not those of the retention entries",
        ),
        (
            position.policies == derived.policies,
            "the policies in force are not those of the last policy entries",
        ),
        (
            position.identities == derived.identities,
            "which tokens are revoked is not what the agent entries say",
        ),
        (
            position.pruned == derived.pruned,
            "what was pruned is not what the last prune entry says",
        ),
        (
            position.alerts == derived.alerts,
            "which alerts are open is not what the alert entries say",
        ),
        (
            position.incidents == derived.incidents,
            "which incidents are open is not what the incident entries say",
        ),
        (position.freezes == derived.freezes, "what is frozen is not what the freeze entries say"),
        (
            position.signer == derived.signer,
            "the commit record names another claim to sign than the last signer entry",
        ),
        (position.time == derived.time, "the commit record says another time than the last entry"),
    ];
    for (_, what) in same.into_iter().filter(|(same, _)| !same) {
        report.find(what);
    }
}
