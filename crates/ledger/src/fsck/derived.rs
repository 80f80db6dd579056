//! What the indexes must hold by the entries, and whether they do.

use super::{
    Report,
    day_counts::DayCounts,
    events,
    gone::Gone,
    payload::{self, Erased, Holds},
    state::{Sources, subject_of, take_key, take_number},
    tally::Tally,
};
use crate::{
    entry::{Kind, View, is_reason},
    gone::{Erasure, Hole, Trim},
    ident::Ident,
    journal::Subject,
    log::merkle::Hash,
    post::{
        APPROVAL, Budgets, EVIDENCE, Freezes, Histories, Identities, Keys, Log, NOT_OPENED,
        Policies, Pruned, Reports, Retention, event_key, note_alert, note_incident, reported_key,
    },
    store::{self, Family, Read as _, rocks::Rocks},
    system::{
        Access, AccessKey, Claim, ClaimId, Genesis, KeyId, NewEpoch, ON_ITS_WAY_SECONDS,
        alert::Alerts, incident::Incidents,
    },
    time::Nanos,
};
use std::collections::{BTreeMap, BTreeSet};

/// Values collected from the entries.
#[derive(Default)]
pub(crate) struct Derived {
    /// Entries so far.
    pub read: u64,
    /// Events that hold a `(producer, source, id)`.
    pub keys: u64,
    /// A sum over the rows that the index of events must have. Without it, each row is looked up at once.
    pub events: Option<Tally>,
    pub signing: Keys,
    pub sources: Sources,
    pub access: BTreeMap<KeyId, AccessKey>,
    /// Keys that ended a moment ago, and when.
    pub ended: Vec<(AccessKey, Nanos)>,
    /// What erasure entries name.
    pub erased: BTreeMap<u64, Erased>,
    /// Messages that may be gone.
    pub gone: Gone,
    /// Entries whose payload is incomplete, with the number of missing fields.
    pub less: BTreeMap<u64, usize>,
    /// Entries of approvals.
    pub approvals: u64,
    /// Leaf index of the last `rules` entry.
    pub rules: Option<u64>,
    /// Leaf index of the last `sources` entry.
    pub declared: Option<u64>,
    /// What retention entries say.
    pub retention: Retention,
    /// What each source reported.
    pub reports: Reports,
    /// The counts by day.
    pub counts: DayCounts,
    /// What is booked on budgets, by the log's number.
    pub budgets: Option<Budgets>,
    /// The rows of earlier decisions, by the log's number.
    pub histories: Option<Histories>,
    /// The claim of the last `signer` entry.
    pub signer: Option<ClaimId>,
    /// Leaf index of the last `clock` entry.
    pub clock: Option<u64>,
    /// What policy entries say.
    pub policies: Policies,
    /// What freeze entries say.
    pub freezes: Freezes,
    /// Which tokens of agents are revoked.
    pub identities: Identities,
    /// What was found, and what of it is open.
    pub alerts: Alerts,
    /// Which incidents are open.
    pub incidents: Incidents,
    /// The last prune entry.
    pub pruned: Option<Pruned>,
    /// Journal identity and epoch.
    pub journal: (String, u64),
    /// Epoch and sequence of the last message that gave an entry.
    pub last: (u64, u64),
    pub time: Nanos,
    /// The last message on each `system.<topic>` of this epoch that gave an entry.
    pub topics: BTreeMap<String, u64>,
    /// Signed subjects whose last message gave an entry.
    pub subjects: u64,
    /// The last sequence of each signed subject, if it is wanted.
    pub subject_rows: Option<BTreeMap<Vec<u8>, u64>>,
    /// Places of rejected messages, which may have come on any signed subject.
    pub rejected: BTreeSet<(u64, u64)>,
}

impl Derived {
    /// What is booked on budgets, and the rows of earlier decisions.
    fn sums(&mut self, log: &Log, index: u64, view: &View<'_>, report: &mut Report) {
        let budgets = self.budgets.get_or_insert_with(|| Budgets::new(log.number));
        let histories = self.histories.get_or_insert_with(|| Histories::new(log.number));
        for wrong in [budgets.take(index, view), histories.take(index, view)] {
            if let Err(what) = wrong {
                report.find(format!("entry {index}: {what}"));
            }
        }
    }

    /// Keys that come and go, and sign-ins, which are with a key in force.
    fn access_entry(&mut self, index: u64, view: &View<'_>, report: &mut Report) {
        let now = view.origin.time;
        match view.event_as::<Access>() {
            Some(Access::Add(key)) => drop(self.access.insert(key.key_id.clone(), key)),
            Some(Access::Remove { key_id, .. }) => {
                let key = self.access.remove(&key_id);
                self.ended.retain(|(_, at)| now < at.plus_seconds(ON_ITS_WAY_SECONDS));
                self.ended.extend(key.map(|key| (key, now)));
            }
            Some(Access::Read { .. }) => {}
            Some(Access::SignedIn { how, issuer, by, .. }) => {
                let said = (how, issuer.as_deref());
                let ended = self.ended.iter();
                let ended = ended.filter(|(_, at)| now < at.plus_seconds(ON_ITS_WAY_SECONDS));
                let mut keys = self.access.values().chain(ended.map(|(key, _)| key));
                if !keys.any(|key| key.signs_in(&by, said)) {
                    report
                        .find(format!("entry {index}: a sign-in with a key that is not in force"));
                }
            }
            None => report.find(format!("entry {index}: not an access entry")),
        }
    }

    /// Takes one entry, and checks that each index leads to it.
    pub fn entry(
        &mut self,
        (store, log): (&Rocks, &Log),
        index: u64,
        view: &View<'_>,
        report: &mut Report,
    ) -> Result<(), store::Error> {
        self.read = index + 1;
        self.place(log, index, view, report);
        let kept_from = self.pruned.map_or(0, |pruned| pruned.size);
        self.counts.take((store, log.number), (index, kept_from), view)?;
        self.sums(log, index, view, report);
        if let Some(subject) = subject_of(view) {
            self.subject(store, log, index, &subject, report)?;
        }
        match view.kind {
            Kind::Decision | Kind::Event => {
                let key = event_key(view.scope());
                self.keys += 1;
                match &mut self.events {
                    Some(events) => events.add(&key, &index.to_be_bytes()),
                    None => events::ask(store, log, (index, key), report)?,
                }
                take_number(&mut self.sources, view);
                let source = reported_key(view.scope());
                self.reports.note(source, view.scope(), (index, view.origin.time));
            }
            Kind::Access => self.access_entry(index, view, report),
            Kind::Genesis | Kind::Key | Kind::Members
                if !take_key(&mut self.signing, index, view) =>
            {
                report.find(format!("entry {index}: not a {} entry", view.kind.as_str()));
            }
            Kind::Evidence if is_reason(view) => {}
            Kind::Approval | Kind::Evidence | Kind::NotOpened => {
                self.approval(store, log, index, view, report)?;
            }
            Kind::Rules => self.rules = Some(index),
            Kind::Sources => self.declared = Some(index),
            Kind::Policy if !self.policies.note(index, view) => {
                report.find(format!("entry {index}: not a policy entry"));
            }
            Kind::Freeze | Kind::Agent | Kind::Alert | Kind::Incident => {
                self.standing(index, view, report);
            }
            Kind::Clock => {
                self.clock = Some(index);
                self.retention.time_anew();
            }
            Kind::Retention => self.retention(index, view, report),
            Kind::Prune => self.prune(index, view, report),
            Kind::Signer => match view.event_as::<Claim>() {
                Some(claim) => self.signer = Some(claim.id),
                None => report.find(format!("entry {index}: not a signer entry")),
            },
            Kind::Rejected if view.text(&["producer"]).is_none() => {
                self.rejected.insert(self.last);
            }
            Kind::Erasure => self.erasure(index, view, report),
            Kind::Trim => match view.event_as::<Trim>() {
                Some(trim) => self.gone.trimmed(view.origin.epoch, trim.below),
                None => report.find(format!("entry {index}: not a trim entry")),
            },
            Kind::JournalGap => self.hole(log, index, view, report),
            _ => {}
        }
        Ok(())
    }

    /// Lost messages, and that a majority of the replicas has signed it, where there are replicas.
    fn hole(&mut self, log: &Log, index: u64, view: &View<'_>, report: &mut Report) {
        let epoch = view.origin.epoch;
        let Some(hole) = view.event_as::<Hole>() else {
            return report.find(format!("entry {index}: not a journal_gap entry"));
        };
        if let Err(why) = hole.check_agreed(&log.origin, epoch, &self.signing.members) {
            report.find(format!("entry {index}: no majority of the replicas declares it: {why}"));
        }
        self.gone.holes.push((epoch, hole.from, hole.to));
    }

    fn prune(&mut self, index: u64, view: &View<'_>, report: &mut Report) {
        if self.retention.is_held() || !Pruned::note(&mut self.pruned, index, view) {
            report.find(format!("entry {index}: not a prune entry that can be here"));
        }
        self.retention.prune(self.pruned.map_or(0, |pruned| pruned.size));
    }

    /// Notes what is frozen, which tokens there are, and which alerts and incidents.
    fn standing(&mut self, index: u64, view: &View<'_>, report: &mut Report) {
        let (fits, what) = match view.kind {
            Kind::Freeze => (self.freezes.note(index, view), "a freeze"),
            Kind::Agent => (self.identities.note(index, view), "an agent"),
            Kind::Incident => (note_incident(&mut self.incidents, index, view), "an incident"),
            _ => (note_alert(&mut self.alerts, index, view), "an alert"),
        };
        if !fits {
            report.find(format!("entry {index}: not {what} entry that can be here"));
        }
    }

    fn retention(&mut self, index: u64, view: &View<'_>, report: &mut Report) {
        if !self.retention.note(index, view) {
            report.find(format!("entry {index}: not a retention entry that can be here"));
        }
        if self.retention.deleted.is_some() {
            self.access.retain(|_, key| key.outlives());
            self.gone.trimmed(view.origin.epoch, u64::MAX);
        }
    }

    fn erasure(&mut self, index: u64, view: &View<'_>, report: &mut Report) {
        match view.event_as::<Erasure<Hash>>() {
            Some(_) if self.retention.is_held() => {
                report.find(format!("entry {index}: an erasure under a legal hold"));
            }
            Some(erasure) => {
                let messages = erasure.messages.iter().map(|gone| (gone.epoch, gone.seq));
                self.gone.erased.extend(messages);
                self.erased.entry(erasure.index).or_default().add(erasure);
            }
            None => report.find(format!("entry {index}: not an erasure entry")),
        }
    }

    /// Checks tenant and log, and that the journal only moved forward.
    fn place(&mut self, log: &Log, index: u64, view: &View<'_>, report: &mut Report) {
        if view.text(&["tenant"]) != Some(log.tenant.as_str()) {
            report.find(format!("entry {index}: of another tenant"));
        }
        if let Some(genesis) = view.event_as::<Genesis>().filter(|_| view.kind == Kind::Genesis) {
            if genesis.origin != log.origin {
                report.find(format!(
                    "entry 0: it begins {}; `public_url` or the tenant's name was changed",
                    genesis.origin
                ));
            }
            self.journal = (genesis.journal, 1);
        }
        let place = (view.origin.epoch, view.origin.seq);
        if view.kind == Kind::Journal {
            let new = view.event_as::<NewEpoch>();
            let Some(new) = new.filter(|new| new.epoch == place.0) else {
                return report.find(format!("entry {index}: not a journal entry"));
            };
            // The message that opens an epoch comes after earlier ones of the new journal.
            self.last = (new.epoch, new.from - 1);
            self.topics.clear();
            self.journal = (new.journal, new.epoch);
        } else {
            if place < self.last {
                report.find(format!("entry {index}: it comes from before the one before it"));
            }
            self.last = place;
        }
        self.time = view.origin.time;
    }

    /// The last message on a signed subject must be this one or a later one.
    fn subject(
        &mut self,
        store: &Rocks,
        log: &Log,
        index: u64,
        subject: &Subject,
        report: &mut Report,
    ) -> Result<(), store::Error> {
        let (epoch, seq) = self.last;
        if let Subject::System(topic) = subject {
            self.topics.insert(topic.to_string(), seq);
        }
        let key = log.number.in_epoch(epoch, subject.to_string().as_bytes());
        if let Some(rows) = &mut self.subject_rows {
            rows.insert(key[4..].to_vec(), seq);
        }
        let kept = store.get(Family::Subjects, &key)?;
        let kept = kept.and_then(|bytes| store::read_u64(&bytes, "subjects").ok());
        match kept {
            Some(kept) if kept == seq => self.subjects += 1,
            Some(kept) if kept > seq => {}
            _ => report.find(format!("entry {index}: the index of signed subjects is older")),
        }
        Ok(())
    }

    /// The index of approvals must lead to each of their entries.
    fn approval(
        &mut self,
        store: &Rocks,
        log: &Log,
        index: u64,
        view: &View<'_>,
        report: &mut Report,
    ) -> Result<(), store::Error> {
        self.approvals += 1;
        let kind = match view.kind {
            Kind::Approval => APPROVAL,
            Kind::NotOpened => NOT_OPENED,
            _ => EVIDENCE,
        };
        let id = view.text(&["event", "approval_id"]).and_then(|id| Ident::new(id).ok());
        let key = id.map(|id| log.number.approval(&id, Some(index)));
        let kept = key.map(|key| store.get(Family::Approvals, &key)).transpose()?.flatten();
        if kept != Some(vec![kind]) {
            report.find(format!("entry {index}: the index of approvals does not lead to it"));
        }
        Ok(())
    }

    /// Compares an entry with its payload.
    pub fn payload(
        &mut self,
        (store, log): (&Rocks, &Log),
        index: u64,
        view: &View<'_>,
        report: &mut Report,
    ) {
        let Ok(Some(payload)) = crate::erased::left(store, log.number, index) else {
            report.find(format!("entry {index}: its payload is unreadable"));
            return;
        };
        match payload::judge(view, &payload) {
            Ok(Holds::Whole) => {}
            // Read after the payload: what was emptied had expired before.
            Ok(Holds::Less(_)) if is_expired(store, log, index, view) => {}
            Ok(Holds::Less(missing)) => drop(self.less.insert(index, missing)),
            Err(what) => report.find(format!("entry {index}: {what}")),
        }
    }
}

fn is_expired(store: &Rocks, log: &Log, index: u64, view: &View<'_>) -> bool {
    let expired = crate::erased::expired(store, log.number).unwrap_or_default();
    expired.has(index, view.kind)
}
