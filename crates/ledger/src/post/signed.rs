//! Posts messages outside `decisions.`. Each is verified against the journal keys in force at its place.

use super::{
    Error, Keys, Log, LogKey, Outcome, Prepared,
    body::{plain_draft, read, scope},
    digest_of_access, digest_of_keys,
    form::{self, Form},
};
use crate::{
    canonical,
    disclosure::SEED_BYTES,
    entry::{Draft, Kind, Origin},
    envelope::{self, Place},
    event::Refused,
    journal::Subject,
    json,
    log::members::can_be_first,
    store::{self, Changes, Family, LogNumber, Read as _},
    system::{
        Access, CLOCK_APART_SECONDS_MAX, Claim, ClockReset, Genesis, KeyChange, KeyUse, NewEpoch,
        OVERLAP_MAX, Reason, Rules,
    },
    time::Nanos,
};
use data_encoding::BASE64URL_NOPAD;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::sync::Arc;

/// Value in the family `approvals` of an `approval` entry.
pub const APPROVAL: u8 = b'a';
/// Value in the family `approvals` of an `evidence` entry.
pub const EVIDENCE: u8 = b'e';
/// Longest key in a `key` entry, in bytes.
const VKEY_BYTES_MAX: usize = 1024;

impl Log {
    /// The last journal sequence on a signed subject in this epoch; 0 for none.
    pub fn last_on(&self, changes: &Changes<'_>, subject: &Subject) -> Result<u64, store::Error> {
        match subject {
            Subject::System(topic) => return Ok(self.position.last_on(topic.as_str())),
            Subject::Verdicts { .. } => return Ok(0),
            Subject::Decisions(_) | Subject::Approvals(_) | Subject::Evidence(_) => {}
        }
        let key = self.number.in_epoch(self.position.epoch, subject.to_string().as_bytes());
        let last = changes.get(Family::Subjects, &key)?;
        last.map_or(Ok(0), |bytes| store::read_u64(&bytes, "subjects"))
    }

    /// Posts leaf 0. The genesis names the key that signs it; `init` fixed its tenant.
    pub(super) fn post_genesis(
        &mut self,
        changes: &mut Changes<'_>,
        origin: Origin,
        message: &Prepared,
    ) -> Result<(), Error> {
        let origin_name = self.origin.clone();
        let refused = || Error::Genesis(origin_name.clone());
        let subject = message.subject.as_ref().ok_or_else(refused)?;
        let genesis: Genesis = read(&message.body).ok_or_else(refused)?;
        let keys = Keys::of_genesis(&genesis);
        let ours = genesis.v == 1
            && genesis.origin == self.origin
            && genesis.tenant == self.tenant
            && genesis.journal == self.position.journal
            && genesis.log_keys.iter().all(|key| key.0.name() == self.origin)
            && genesis.members.iter().all(|members| can_be_first(members, &self.origin))
            && subject.to_string() == "system.genesis"
            && origin.seq == 1;
        if !ours || !self.is_signed_here(&keys, subject, 0, message) {
            return Err(refused());
        }
        self.keys = keys;
        self.save_keys(changes);
        let draft = plain_draft(Kind::Genesis, message, subject);
        self.append(changes, draft.ok_or_else(refused)?, origin, None);
        Ok(())
    }

    pub(super) fn is_signed_here(
        &self,
        keys: &Keys,
        subject: &Subject,
        expected: u64,
        message: &Prepared,
    ) -> bool {
        let place = Place { tenant: &self.tenant, epoch: self.position.epoch, subject, expected };
        let header = message.headers.signature.as_deref().unwrap_or("");
        let (keys, body) = (keys.journal(), message.body.as_slice());
        let made_here =
            |key| self.own_signatures.take(|| envelope::fingerprint(key, place, body, header));
        keys.iter().any(made_here) || envelope::verify(&keys, place, body, header)
    }

    pub(super) fn save_keys(&mut self, changes: &mut Changes<'_>) {
        self.position.keys = digest_of_keys(&self.keys);
        changes.put(Family::Meta, self.number.meta("keys"), store::to_json(&self.keys));
    }

    pub(super) fn post_signed(
        &mut self,
        changes: &mut Changes<'_>,
        (origin, arrived): (Origin, Nanos),
        message: &Prepared,
        (subject, form): (&Subject, Form),
    ) -> Result<Outcome, Error> {
        let expected = self.last_on(changes, subject)?;
        if !self.is_signed_here(&self.keys, subject, expected, message) {
            return Ok(self.reject(changes, origin, message, Refused::Signature));
        }
        let posted = match (subject, form) {
            (Subject::Approvals(id), Form::Approval(form)) => {
                self.post_approval(changes, origin, message, (*form, id))?
            }
            (Subject::Evidence(name), Form::Evidence(draft)) => {
                Some(self.post_evidence(changes, origin, (*draft, name)))
            }
            (Subject::System(topic), _) => match topic.as_str() {
                "access" => self.post_access(changes, origin, message, subject),
                "erasure" => self.post_erasure(changes, origin, message, subject)?,
                "key" => self.post_key(changes, origin, message, subject),
                "rules" => self.post_rules(changes, origin, message, subject),
                "freeze" => self.post_freeze(changes, origin, message, subject),
                "agent" => self.post_agent(changes, origin, message, subject)?,
                "sources" => self.post_sources(changes, origin, message, subject),
                "prune" => self.post_prune(changes, origin, message, subject)?,
                "alert" => self.post_alert(changes, origin, message, subject),
                "incident" => self.post_incident(changes, origin, message, subject),
                "delivery" => self.post_delivery(changes, origin, message, subject),
                "members" => self.post_members(changes, origin, message, subject),
                "retention" => self.post_retention(changes, origin, message, subject)?,
                "policy" => self.post_policy(changes, origin, message, subject)?,
                "gap" => self.post_hole(changes, origin, message, subject)?,
                "trim" => self.post_trim(changes, origin, message, subject),
                "signer" => self.post_claim(changes, origin, message, subject),
                "clock" => {
                    self.post_clock(changes, Origin { time: arrived, ..origin }, message, subject)
                }
                "journal" if self.is_open_epoch(message) => return Ok(Outcome::Nothing),
                _ => None,
            },
            // A verdict that could be read is posted by `post_verdict`.
            _ => None,
        };
        Ok(match posted {
            Some(index) => Outcome::Posted { index },
            None => self.reject(changes, origin, message, Refused::SystemBody),
        })
    }

    /// Appends an entry whose `event` is the body. `None` if the body can't be one.
    pub(super) fn append_plain(
        &mut self,
        changes: &mut Changes<'_>,
        (kind, origin): (Kind, Origin),
        message: &Prepared,
        subject: &Subject,
    ) -> Option<u64> {
        let draft = plain_draft(kind, message, subject)?;
        Some(self.append(changes, draft, origin, None))
    }

    /// Appends an entry of ours that stands beside that of its message. `source` keeps the salts of one seed apart.
    pub(super) fn append_beside(
        &mut self,
        changes: &mut Changes<'_>,
        (kind, source): (Kind, &'static str),
        origin: Origin,
        message: &Prepared,
        event: &[u8],
    ) {
        let salts = (&message.seed, form::scope(source));
        let draft = Draft::new(kind, None, event.to_vec(), event, &[], salts);
        self.append(changes, draft, origin, None);
    }

    /// A reason must be an earlier entry. Its text is for people and decides nothing, so it is not read here.
    pub(super) fn is_earlier(&self, reason: Option<&Reason>) -> bool {
        reason.is_none_or(|reason| reason.index < self.position.size)
    }

    /// Puts rules in force. Their digest is checked here, so readers of the entry can rely on it.
    fn post_rules(
        &mut self,
        changes: &mut Changes<'_>,
        origin: Origin,
        message: &Prepared,
        subject: &Subject,
    ) -> Option<u64> {
        let rules: Rules = read(&message.body)?;
        let body = json::parse(&message.body).ok()?;
        let digest = Sha256::digest(canonical::to_vec(body.get("rules")?));
        let people = BASE64URL_NOPAD.decode(rules.people_digest.as_bytes()).ok()?;
        let nonce = BASE64URL_NOPAD.decode(rules.people_nonce.as_bytes()).ok()?;
        let fits = rules.v == 1
            && rules.rules_digest == BASE64URL_NOPAD.encode(&digest)
            && people.len() == digest.len()
            && nonce.len() == SEED_BYTES
            && self.is_earlier(rules.reason.as_ref());
        if !fits {
            return None;
        }
        let index = self.append_plain(changes, (Kind::Rules, origin), message, subject)?;
        self.position.rules = Some(index);
        Some(index)
    }

    /// Restarts time: the journal's own time counts again, even if the newest entry is later.
    fn post_clock(
        &mut self,
        changes: &mut Changes<'_>,
        origin: Origin,
        message: &Prepared,
        subject: &Subject,
    ) -> Option<u64> {
        let reset: ClockReset = read(&message.body)?;
        let apart = reset.at.0.abs_diff(origin.time.0);
        let far = apart > Nanos::default().plus_seconds(CLOCK_APART_SECONDS_MAX).0;
        if far || !self.is_earlier(reset.reason.as_ref()) {
            return None;
        }
        let index = self.append_plain(changes, (Kind::Clock, origin), message, subject)?;
        self.position.clock = Some(index);
        self.position.retention.time_anew();
        Some(index)
    }

    /// Records that a server takes over the signing of the log.
    fn post_claim(
        &mut self,
        changes: &mut Changes<'_>,
        origin: Origin,
        message: &Prepared,
        subject: &Subject,
    ) -> Option<u64> {
        let claim: Claim = read(&message.body)?;
        let index = self.append_plain(changes, (Kind::Signer, origin), message, subject)?;
        self.position.signer = Some(claim.id);
        Some(index)
    }

    fn post_access(
        &mut self,
        changes: &mut Changes<'_>,
        origin: Origin,
        message: &Prepared,
        subject: &Subject,
    ) -> Option<u64> {
        let access: Access = read(&message.body)?;
        let draft = plain_draft(Kind::Access, message, subject)?;
        let fits = match &access {
            Access::Add(key) => {
                // A passkey's id follows from its credential: two persons can't have one.
                let taken = !key.has_text() && self.access.contains_key(&key.key_id);
                key.is_sound(&self.tenant) && !taken && self.is_earlier(key.reason.as_ref())
            }
            Access::Remove { reason, .. } => self.is_earlier(reason.as_ref()),
            Access::Read { from, to, .. } => from < to,
            Access::SignedIn { .. } => access.is_a_sign_in(),
        };
        if !fits {
            return None;
        }
        match access {
            Access::Add(key) => {
                let at = self.number.key(key.key_id.as_str().as_bytes());
                let everybody = LogNumber::ALL.key(key.key_id.as_str().as_bytes());
                changes.put(Family::Access, at, store::to_json(&key));
                changes.put(Family::Access, everybody, self.number.0.to_be_bytes().to_vec());
                Arc::make_mut(&mut self.access).insert(key.key_id.clone(), key);
            }
            Access::Remove { key_id, .. } => {
                let id = key_id.as_str().as_bytes();
                changes.delete(Family::Access, self.number.key(id));
                changes.delete(Family::Access, LogNumber::ALL.key(id));
                Arc::make_mut(&mut self.access).remove(&key_id);
            }
            Access::Read { .. } | Access::SignedIn { .. } => {
                return Some(self.append(changes, draft, origin, None));
            }
        }
        self.position.access = digest_of_access(&self.access);
        Some(self.append(changes, draft, origin, None))
    }

    /// Puts a new key in force. A log key's entry states the sizes: the tree with it is the first of the new key.
    fn post_key(
        &mut self,
        changes: &mut Changes<'_>,
        origin: Origin,
        message: &Prepared,
        subject: &Subject,
    ) -> Option<u64> {
        let change: KeyChange = read(&message.body)?;
        let fits = change.vkey.0.to_string().len() <= VKEY_BYTES_MAX
            && change.overlap <= OVERLAP_MAX
            && (!change.beside || change.usage == KeyUse::Journal)
            && self.is_earlier(change.reason.as_ref());
        if !fits {
            return None;
        }
        let first_size = self.position.size + 1;
        let KeyChange { usage, vkey, by, reason, .. } = &change;
        let mut event = json!({"use": usage, "vkey": vkey, "by": by, "reason": reason});
        let old_last = first_size + change.overlap;
        match change.usage {
            KeyUse::Log => {
                let (all, in_force) = (&self.keys.log, self.keys.signing(first_size).count());
                // At most two keys may overlap, so that the number of a checkpoint's signatures is limited.
                let known = all.iter().any(|key| key.vkey == change.vkey);
                if change.vkey.0.name() != self.origin || known || in_force > 1 {
                    return None;
                }
                let old = self.keys.log.last_mut()?;
                old.last_size = Some(old_last);
                let index = self.position.size;
                let vkey = change.vkey;
                self.keys.log.push(LogKey { vkey, first_size, last_size: None, index });
                event["first_size"] = first_size.into();
                event["old_last_size"] = old_last.into();
                self.rotated = true;
            }
            KeyUse::Journal => {
                if change.beside {
                    // Beside itself would put the one before it in force again.
                    if self.keys.journal.contains(&change.vkey) {
                        return None;
                    }
                    event["beside"] = true.into();
                }
                self.keys.rotate_journal(change.vkey, change.beside);
            }
            KeyUse::Token => self.keys.rotate_token(change.vkey),
            KeyUse::Agent => self.keys.rotate_agent(change.vkey),
        }
        self.save_keys(changes);
        let event = canonical::of(&event);
        let draft = Draft::new(
            Kind::Key,
            None,
            event.clone(),
            &event,
            &[],
            (&message.seed, scope(subject)),
        );
        Some(self.append(changes, draft, origin, None))
    }

    /// `recover` opens an epoch by this message before the earlier messages of the new journal are posted. When posting
    /// later reaches the message at its own place, it changes nothing.
    fn is_open_epoch(&self, message: &Prepared) -> bool {
        read::<NewEpoch>(&message.body).is_some_and(|new| {
            new.epoch == self.position.epoch && new.journal == self.position.journal
        })
    }

    /// Begins a journal epoch by `message`, at sequence `seq` of the new journal. `None` if it does not fit.
    pub fn post_epoch(
        &mut self,
        changes: &mut Changes<'_>,
        seq: u64,
        message: &Prepared,
    ) -> Option<u64> {
        let subject = message.subject.as_ref()?;
        let new: NewEpoch = read(&message.body)?;
        let fits = subject.to_string() == "system.journal"
            && new.epoch == self.position.epoch + 1
            && new.previous_journal == self.position.journal
            && new.previous_posted == self.position.posted;
        if !fits {
            return None;
        }
        self.position.epoch = new.epoch;
        if !self.is_signed_here(&self.keys, subject, 0, message) {
            return None;
        }
        let draft = plain_draft(Kind::Journal, message, subject)?;
        let origin = Origin { epoch: new.epoch, seq, time: self.position.time };
        self.position.journal = new.journal;
        self.position.posted = new.from - 1;
        self.position.tail = None;
        self.position.topics.clear();
        Some(self.append(changes, draft, origin, None))
    }
}
