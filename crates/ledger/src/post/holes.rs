//! Posts holes: journal messages that are gone. Nothing is inferred from absence. An erasure, gap or trim
//! message says what was there, and nothing is signed until that message is itself posted by the ordinary
//! rules.

use super::{Erasing, Error, Log, Prepared, event_key, reports, source_key};
use crate::{
    budget::Account,
    canonical,
    entry::{Draft, Kind, Origin, Payload, View},
    erased, event,
    gone::{self, Erasure, Gone, Hole, Leaf, Trim},
    history::Track,
    ident::Ident,
    journal::Subject,
    json::Value,
    log::merkle::{Hash, leaf_hash},
    sequence::Sequence,
    store::{self, Changes, Family, Read as _},
    system::BODY_BYTES_MAX,
};
use std::ops::Range;

/// Most entries that one message gives: its own, one about a number, and two about budgets.
const LEAVES_MAX: usize = 4;

/// What a later message says about a hole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// Sequence of that later message.
    pub told: u64,
    /// What was in the hole.
    pub what: Was,
}

/// What was in a hole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Was {
    /// One message, which has been erased.
    Message(Gone<Leaf>),
    /// Messages that no server posted, up to a sequence.
    Nobodys {
        /// The last sequence of the hole.
        to: u64,
    },
}

impl Was {
    /// The last sequence that this explains.
    pub fn last(&self) -> u64 {
        match self {
            Self::Message(gone) => gone.seq,
            Self::Nobodys { to } => *to,
        }
    }
}

/// The place of an entry in the journal. The entry that opens an epoch counts as before the entries of that
/// epoch, though its message comes later in the new journal.
fn place(view: &View<'_>) -> (u64, u64) {
    let from = view.at(&["event", "from"]).and_then(Value::as_u64);
    let from = from.filter(|_| view.kind == Kind::Journal);
    (view.origin.epoch, from.map_or(view.origin.seq, |from| from.saturating_sub(1)))
}

/// The first of the entries `low..high` whose place in the journal, epoch and sequence, is at least `wanted`; `high` if none is.
/// Reads their binary logarithm of them.
pub(crate) fn first_from(
    entry: impl Fn(u64) -> Result<Vec<u8>, store::Error>,
    (mut low, mut high): (u64, u64),
    wanted: (u64, u64),
) -> Result<u64, store::Error> {
    while low < high {
        let middle = low + (high - low) / 2;
        let entry = entry(middle)?;
        let corrupt = store::Error::Corrupt { family: "entries", what: "an entry" };
        let view = View::parse(&entry).ok_or(corrupt)?;
        if place(&view) < wanted { low = middle + 1 } else { high = middle }
    }
    Ok(low)
}

impl Log {
    /// Leaf indexes of the entries that the journal messages `from..=to` of an epoch gave. They are
    /// neighbours, because a log follows its journal. Reads `2 log₂ size` proven entries.
    pub fn leaves_of(
        &self,
        changes: &Changes<'_>,
        epoch: u64,
        (from, to): (u64, u64),
    ) -> Result<Range<u64>, store::Error> {
        let begin = self.first_from(changes, (epoch, from))?;
        let end = self.first_from(changes, (epoch, to.saturating_add(1)))?;
        Ok(begin..end)
    }

    /// Leaf index of the first entry whose place in the journal is at least this one.
    fn first_from(&self, changes: &Changes<'_>, wanted: (u64, u64)) -> Result<u64, store::Error> {
        // The last pruned entry stays, and may be of the same message as the first one that is kept.
        let range = (self.kept_from().saturating_sub(1), self.position.size);
        first_from(|at| self.proven(changes, at), range, wanted)
    }

    /// Place in the journal of the first entry that was not pruned. What the messages before it gave can't be compared.
    fn first_place(&self, changes: &Changes<'_>) -> Result<(u64, u64), store::Error> {
        match self.kept_from() {
            0 => Ok((0, 0)),
            first => {
                let entry = self.proven(changes, first)?;
                let corrupt = store::Error::Corrupt { family: "entries", what: "an entry" };
                View::parse(&entry).map(|view| place(&view)).ok_or(corrupt)
            }
        }
    }

    /// Erases payload, unless a legal hold is in force. The erasure names every message that goes with all the entries that it gave; if they
    /// differ, it is refused.
    pub(super) fn post_erasure(
        &mut self,
        changes: &mut Changes<'_>,
        origin: Origin,
        message: &Prepared,
        subject: &Subject,
    ) -> Result<Option<u64>, Error> {
        let Some(erasure) = gone::read::<Erasure<Leaf>>(&message.body) else { return Ok(None) };
        if self.position.retention.is_held() || !self.fits(changes, &erasure)? {
            return Ok(None);
        }
        let event = canonical::of(&erasure.hashed());
        if event.len() > BODY_BYTES_MAX {
            return Ok(None);
        }
        erased::hide(changes, self.number, erasure.index, erasure.fields.as_deref())?;
        // These rows survive restarts. They remain until the journal messages are gone and the old files are
        // rewritten.
        for gone in &erasure.messages {
            let erasing = Erasing { index: erasure.index, epoch: gone.epoch, seq: gone.seq };
            changes.delete(Family::Meta, erasing.unnamed_key(self.number));
            changes.put(Family::Meta, erasing.key(self.number), store::to_json(&erasing));
        }
        let salts = (&message.seed, super::body::scope(subject));
        let draft = Draft::new(Kind::Erasure, None, event.clone(), &event, &[], salts);
        Ok(Some(self.append(changes, draft, origin, None)))
    }

    /// True if the erasure names what is in the log: the entry, and all leaves of each message.
    fn fits(&self, changes: &Changes<'_>, erasure: &Erasure<Leaf>) -> Result<bool, store::Error> {
        let earlier = (self.kept_from()..self.position.size).contains(&erasure.index);
        if !earlier || !self.is_earlier(erasure.reason.as_ref()) {
            return Ok(false);
        }
        let entry = self.proven(changes, erasure.index)?;
        let view = View::parse(&entry).filter(|view| view.kind.is_erasable());
        if view.is_none() || leaf_hash(&entry) != erasure.leaf_hash {
            return Ok(false);
        }
        let here = (self.position.epoch, self.position.posted);
        let first = self.first_place(changes)?;
        let mut before = (0, 0);
        let mut own = false;
        for gone in &erasure.messages {
            let place = (gone.epoch, gone.seq);
            let subject = gone.subject.as_deref();
            if place <= before
                || place < first
                || place > here
                || subject.is_some_and(|s| Subject::parse(s).is_none())
            {
                return Ok(false);
            }
            before = place;
            let leaves = self.leaves_of(changes, gone.epoch, (gone.seq, gone.seq))?;
            let mut stand = Vec::with_capacity(LEAVES_MAX);
            for index in leaves.clone().take(LEAVES_MAX + 1) {
                stand.push(leaf_hash(&self.proven(changes, index)?));
            }
            // If a message gave entries, the erased entry must be one of them. Otherwise the message is not
            // part of this erasure.
            if stand != gone.hashes() || !(stand.is_empty() || leaves.contains(&erasure.index)) {
                return Ok(false);
            }
            own |= leaves.contains(&erasure.index);
        }
        Ok(own)
    }

    /// Records that journal messages are gone and nothing explains it. The entry is at the place of the
    /// message that declares it. Refused if one of the messages was posted, or if replicas sign the log and no majority of those
    /// in force before the hole agrees.
    pub(super) fn post_hole(
        &mut self,
        changes: &mut Changes<'_>,
        origin: Origin,
        message: &Prepared,
        subject: &Subject,
    ) -> Result<Option<u64>, Error> {
        let Some(hole) = gone::read::<Hole>(&message.body) else { return Ok(None) };
        let fits = hole.from > 0
            && hole.from <= hole.to
            && hole.to < origin.seq
            && (origin.epoch, hole.from) >= self.first_place(changes)?;
        if !fits {
            return Ok(None);
        }
        let (from, to) = (hole.from, hole.to);
        let leaves = self.leaves_of(changes, origin.epoch, (from, to))?;
        let is_here = hole.agreed.as_ref().is_none_or(|agreed| agreed.size == leaves.start);
        let agreed = hole.check_agreed(&self.origin, origin.epoch, &self.keys.members);
        if !is_here || agreed.is_err() {
            return Ok(None);
        }
        if !leaves.is_empty() {
            return match hole.agreed {
                // What a majority has promised not to post is never signed: this log goes nowhere.
                Some(_) => Err(Error::Outvoted { from, to, index: leaves.start }),
                None => Ok(None),
            };
        }
        Ok(self.append_plain(changes, (Kind::JournalGap, origin), message, subject))
    }

    /// Records a trim before it is done, so that the hole at the beginning of the journal is explained.
    pub(super) fn post_trim(
        &mut self,
        changes: &mut Changes<'_>,
        origin: Origin,
        message: &Prepared,
        subject: &Subject,
    ) -> Option<u64> {
        let trim = gone::read::<Trim>(&message.body)?;
        if trim.below == 0 || trim.below > origin.seq {
            return None;
        }
        self.append_plain(changes, (Kind::Trim, origin), message, subject)
    }

    /// Posts what was in a hole, as a later message gives it. This is provisional until that later message is
    /// posted.
    ///
    /// Payload that was not erased is missing here from now on.
    pub fn post_explained(
        &mut self,
        changes: &mut Changes<'_>,
        explained: &Explained,
    ) -> Result<(), Error> {
        let (seq, told) = (self.position.posted + 1, explained.told);
        let wrong = || Error::Explanation { seq, told };
        match &explained.what {
            Was::Nobodys { to } if *to > self.position.posted => self.position.posted = *to,
            Was::Nobodys { .. } => return Err(wrong()),
            Was::Message(gone) => {
                let next = (self.position.epoch, self.position.posted + 1);
                let subject = gone.subject.as_deref().map(Subject::parse);
                if (gone.epoch, gone.seq) != next || matches!(subject, Some(None)) {
                    return Err(wrong());
                }
                for entry in gone.entries() {
                    if !self.post_leaf(changes, gone, entry, explained.told)? {
                        return Err(wrong());
                    }
                }
                self.pass(changes, gone.seq, subject.flatten().as_ref());
            }
        }
        self.position.tail = None;
        self.position.provisional.insert(explained.told);
        Ok(())
    }

    /// Appends one leaf as it was. `false` if it can't have been at this place.
    fn post_leaf(
        &mut self,
        changes: &mut Changes<'_>,
        gone: &Gone<Leaf>,
        entry: Vec<u8>,
        told: u64,
    ) -> Result<bool, Error> {
        let Some(view) = View::parse(&entry) else { return Ok(false) };
        let freezes = view.kind == Kind::Freeze && view.is_beside();
        let beside = matches!(
            view.kind,
            Kind::GapOpened | Kind::GapClosed | Kind::BudgetWarned | Kind::BudgetExceeded
        );
        let fits = (view.kind.is_erasable() || beside || freezes)
            && (view.origin.epoch, view.origin.seq) == (gone.epoch, gone.seq)
            && view.origin.time >= self.position.time
            && view.prior == self.position.prior
            && view.text(&["tenant"]) == Some(self.tenant.as_str());
        if !fits {
            return Ok(false);
        }
        let (kind, time, index) = (view.kind, view.origin.time, self.position.size);
        if matches!(kind, Kind::Decision | Kind::Event) {
            let key = self.number.key(&event_key(view.scope()));
            changes.put(Family::Keys, key, index.to_be_bytes().to_vec());
            self.take_number(changes, &view)?;
            self.reports.note(reports::key(view.scope()), view.scope(), (index, time));
            Account::new(changes, self.number).take_view(index, &view)?;
            Track::new(changes, self.number).take_view(index, &view)?;
        }
        if freezes && !self.position.freezes.note(index, &view) {
            return Ok(false);
        }
        if let Some(id) = view.text(&["event", "approval_id"]).and_then(|id| Ident::new(id).ok())
            && kind == Kind::Evidence
        {
            let key = self.number.approval(&id, Some(index));
            changes.put(Family::Approvals, key, vec![super::EVIDENCE]);
        }
        let (number, kept_from) = (self.number, self.kept_from());
        let earlier = |at: u64| {
            let key = number.numbered(at);
            (at >= kept_from).then(|| changes.get(Family::Entries, &key).ok().flatten()).flatten()
        };
        self.counts.what(index, &view, earlier);
        changes.put(Family::Meta, missing_key(self.number, index), told.to_be_bytes().to_vec());
        self.append_bytes(changes, (kind, time), entry, Payload::default().encode());
        Ok(true)
    }

    /// Updates the numbers of a source for an event whose message is gone.
    fn take_number(&self, changes: &mut Changes<'_>, view: &View<'_>) -> Result<(), store::Error> {
        let text = |path: &[&str]| view.text(path).unwrap_or("");
        let Ok(number) = text(&["event", "sequence"]).parse() else { return Ok(()) };
        let key = self.number.key(&source_key(view.scope()));
        let known = changes.get(Family::Sources, &key)?;
        let known =
            known.map(|bytes| store::read_json::<Sequence>(&bytes, "sources")).transpose()?;
        let heartbeat = text(&["event", "type"]) == event::HEARTBEAT;
        changes.put(
            Family::Sources,
            key,
            store::to_json(&Sequence::after(known, number, heartbeat)),
        );
        Ok(())
    }

    /// The message that explained a hole must itself be posted by the ordinary rules. Nothing that rests on it
    /// is signed before.
    pub(super) fn settle_explanation(&mut self, seq: u64, posted: bool) -> Result<(), Error> {
        if self.position.provisional.remove(&seq) && !posted {
            return Err(Error::Explanation { seq, told: seq });
        }
        Ok(())
    }
}

/// `meta` key `"missing" ‖ log ‖ index`: the payload of this entry was never here. The value is the sequence
/// of the message that explained the hole.
pub fn missing_key(number: store::LogNumber, index: u64) -> Vec<u8> {
    [number.meta("missing"), index.to_be_bytes().to_vec()].concat()
}

/// Leaf hashes of the last posted message, without proof. The stream is compared with them if that message is
/// gone.
pub fn last_leaves(
    read: &dyn store::Read,
    number: store::LogNumber,
    position: &super::Position,
) -> Result<Vec<Hash>, store::Error> {
    let mut hashes = Vec::new();
    for index in (0..position.size).rev().take(LEAVES_MAX) {
        let Some(entry) = read.get(Family::Entries, &number.numbered(index))? else { break };
        let stands = View::parse(&entry).map(|view| place(&view));
        if stands != Some((position.epoch, position.posted)) {
            break;
        }
        hashes.insert(0, leaf_hash(&entry));
    }
    Ok(hashes)
}
