//! Judges answers that passkeys signed, from the entries that enrolled them (`proto/formats/approval.md`, Signed answers).

use super::{Audit, Choice, Event, Fault, Step, audit::word};
use crate::passkey::{Answer, Signed};
use ledger::{
    entry::{Kind, View},
    ident::Ident,
    log::merkle::leaf_hash,
    system::{Access, AccessKey, KeyId},
    time::Nanos,
};
use std::collections::BTreeMap;

/// An answer on its way while its passkey is removed still counts for this long.
const REMOVED_FOR_SECONDS: u64 = 60;

/// An answer that a passkey signed.
#[derive(Clone, Copy, Debug)]
pub struct Signature<'a> {
    /// The person.
    pub by: &'a Ident,
    /// The person's choice.
    pub decision: Choice,
    /// The signature.
    pub signed: &'a Signed,
}

impl Audit {
    /// Leaf indexes of the entries that enrolled the passkeys of this history.
    pub fn enrolments(&self) -> Vec<u64> {
        let mut indexes: Vec<u64> =
            self.signatures().map(|(_, signature)| signature.signed.enrolled.index).collect();
        indexes.sort_unstable();
        indexes.dedup();
        indexes
    }

    /// Answers with a signature, with the numbers of their messages.
    pub fn signatures(&self) -> impl Iterator<Item = (u64, Signature<'_>)> {
        self.steps().iter().flat_map(|step| of_step(step).map(move |signature| (step.n, signature)))
    }

    /// Checks every answer that a passkey of the entry at `index` signed. Returns the key, which says who approved it.
    pub fn check_passkey(&self, index: u64, entry: &[u8]) -> Result<AccessKey, Fault> {
        let mut signatures: Vec<(u64, Signature<'_>)> = self.signatures().collect();
        signatures.retain(|(_, signature)| signature.signed.enrolled.index == index);
        let first = signatures.first().map_or(0, |(n, _)| *n);
        let wrong = |n, what| Fault::Message { n, what };
        let key = enrolled(entry, self).map_err(|what| wrong(first, what))?;
        for (n, signature) in signatures {
            self.check(&key, entry, &signature).map_err(|what| wrong(n, what))?;
        }
        Ok(key)
    }

    fn check(
        &self,
        key: &AccessKey,
        entry: &[u8],
        signature: &Signature<'_>,
    ) -> Result<(), &'static str> {
        let Signature { by, decision, signed } = signature;
        let passkey = key.passkey.as_ref().ok_or("the key that signed it is no passkey")?;
        if signed.enrolled.leaf_hash != leaf_hash(entry) {
            return Err("the entry of its passkey is another than the one it names");
        }
        if key.person.as_ref() != Some(*by) {
            return Err("the passkey that signed it is another person's");
        }
        let requested = self.state().requested.as_deref().ok_or("it comes before the request")?;
        let answer = Answer {
            approval_id: self.id(),
            decision: &word(decision),
            digest: &requested.call.digest,
            nonce: &signed.nonce,
            person: by,
            tenant: self.tenant(),
            version: signed.version,
        };
        let verified = signed.assertion.verify(passkey, &answer.challenge());
        verified.map(|_| ()).map_err(|_| "its passkey did not sign this answer")
    }
}

fn of_step(step: &Step) -> impl Iterator<Item = Signature<'_>> {
    step.events.iter().filter_map(|event| match event {
        Event::Reviewed { by, decision, signed: Some(signed), .. } => {
            Some(Signature { by, decision: *decision, signed })
        }
        _ => None,
    })
}

/// The key that an entry enrolled, of the audit's tenant.
fn enrolled(entry: &[u8], audit: &Audit) -> Result<AccessKey, &'static str> {
    let none = "the entry of its passkey enrols none";
    let view = View::parse(entry).filter(|view| view.kind == Kind::Access).ok_or(none)?;
    if view.text(&["tenant"]) != Some(audit.tenant().as_str()) {
        return Err("its passkey is of another tenant");
    }
    match view.event_as::<Access>() {
        Some(Access::Add(key)) if key.is_sound(audit.tenant()) => Ok(key),
        _ => Err(none),
    }
}

/// The passkeys of a whole log, while it passes by.
#[derive(Clone, Debug, Default)]
pub(super) struct Passkeys {
    in_force: BTreeMap<KeyId, u64>,
    removed: BTreeMap<u64, Nanos>,
}

impl Passkeys {
    /// Takes an `access` entry.
    pub(super) fn take(&mut self, index: u64, view: &View<'_>) {
        match view.event_as::<Access>() {
            Some(Access::Add(key)) if key.passkey.is_some() => {
                self.in_force.insert(key.key_id, index);
            }
            Some(Access::Remove { key_id, .. }) => {
                if let Some(index) = self.in_force.remove(&key_id) {
                    self.removed.insert(index, view.origin.time);
                }
            }
            _ => {}
        }
    }

    /// Checks the signatures in the last message of an approval.
    pub(super) fn check(
        &self,
        audit: &Audit,
        read: &mut impl FnMut(u64) -> Option<Vec<u8>>,
    ) -> Result<(), Fault> {
        let Some(step) = audit.steps().last() else { return Ok(()) };
        for signature in of_step(step) {
            let index = signature.signed.enrolled.index;
            let recently = |at: &Nanos| step.at < at.plus_seconds(REMOVED_FOR_SECONDS);
            let is_known = self.in_force.values().any(|known| *known == index)
                || self.removed.get(&index).is_some_and(recently);
            if !is_known {
                return Err(Fault::Log("the passkey that signed an answer was not in force"));
            }
            let entry =
                read(index).ok_or(Fault::Log("the entry of a passkey can't be read again"))?;
            audit.check_passkey(index, &entry)?;
        }
        Ok(())
    }
}
