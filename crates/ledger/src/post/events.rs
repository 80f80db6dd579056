//! Posts events of producers: each key has one entry, and numbers that do not come are told (P2, P3).

use super::{Erasing, Error, Log, Outcome, Prepared, missing_key, prepare::Accepted, reports};
use crate::{
    budget::{Account, Notice},
    canonical,
    disclosure::digest_of,
    entry::{Draft, Kind, Origin, SequenceNote, View},
    erased,
    event::{self, Type},
    sequence::{Gap, Seen, Sequence},
    store::{self, Changes, Family, Read as _},
};
use serde_json::json;

impl Log {
    /// P2: each key has one entry for ever.
    pub(super) fn post_event(
        &mut self,
        changes: &mut Changes<'_>,
        origin: Origin,
        message: &Prepared,
        accepted: Accepted,
    ) -> Result<Outcome, Error> {
        let key = self.number.key(&accepted.key);
        if let Some(first) = changes.get(Family::Keys, &key)? {
            let first = store::read_u64(&first, "keys")?;
            return self.post_repeated(changes, origin, message, &accepted, first);
        }
        self.post_first(changes, origin, message, accepted, key)
    }

    /// Posts an event whose key is free.
    pub(super) fn post_first(
        &mut self,
        changes: &mut Changes<'_>,
        origin: Origin,
        message: &Prepared,
        accepted: Accepted,
        key: Vec<u8>,
    ) -> Result<Outcome, Error> {
        let (opened, note, closed) = self.observe(changes, &accepted)?;
        let source = &accepted.event.source;
        if let Some(gap) = opened {
            let event = json!({"source": source, "from": gap.from, "to": gap.to});
            let draft = ours(Kind::GapOpened, &accepted, message, &event);
            self.append(changes, draft, origin, None);
        }
        let closing = closed.map(|(number, gap, open)| {
            let event = json!({
                "source": source, "number": number, "from": gap.from, "to": gap.to,
                "open": open.iter().map(|g| [g.from, g.to]).collect::<Vec<_>>(),
            });
            ours(Kind::GapClosed, &accepted, message, &event)
        });
        let notices = self.book(changes, origin, &accepted)?;
        let notices: Vec<Draft> = notices
            .into_iter()
            .map(|(kind, event)| beside(kind, &accepted, message, &event))
            .collect();
        let scope = accepted.scope();
        // The key of a told source is at hand.
        let key_of_source = if accepted.ours { reports::key(scope) } else { accepted.source };
        self.reports.note(key_of_source, scope, (self.position.size, origin.time));
        let (number, size) = (self.number, self.position.size);
        let earlier = |index: u64| {
            let key = number.numbered(index);
            (index < size).then(|| changes.get(Family::Entries, &key).ok().flatten()).flatten()
        };
        self.counts.event(accepted.counted, origin.time, earlier);
        let index = self.append(changes, accepted.draft, origin, note);
        changes.put(Family::Keys, key, index.to_be_bytes().to_vec());
        for draft in closing.into_iter().chain(notices) {
            self.append(changes, draft, origin, None);
        }
        Ok(Outcome::Posted { index })
    }

    /// Books what a decision of ours asks of budgets, or what an execution reports. Returns the entries that say which
    /// bounds are reached.
    fn book(
        &self,
        changes: &mut Changes<'_>,
        origin: Origin,
        accepted: &Accepted,
    ) -> Result<Vec<(Kind, Vec<u8>)>, Error> {
        let scope = accepted.scope();
        let mut account = Account::new(changes, self.number);
        if let Some(report) = &accepted.report {
            account.report(report, scope.producer, origin.time)?;
        }
        let rests = accepted.rests.as_ref();
        let Some((rests, asking)) = rests.and_then(|rests| Some((rests, rests.asking.as_ref()?)))
        else {
            return Ok(Vec::new());
        };
        let index = self.position.size;
        let approval = rests.asks_people.then(|| scope.approval_id(&self.tenant));
        let who = (scope.producer, approval.as_ref());
        let notice: Notice = account.book(asking, (index, origin.time), who)?;
        Ok(notice.told(index, (scope.source, scope.id)))
    }

    /// The key is taken. Decides whether this is the same event again, or another one with the same key.
    fn post_repeated(
        &mut self,
        changes: &mut Changes<'_>,
        origin: Origin,
        message: &Prepared,
        accepted: &Accepted,
        first: u64,
    ) -> Result<Outcome, Error> {
        let at = self.number.numbered(first);
        let entry = self.proven(changes, first)?;
        let corrupt = || store::Error::Corrupt { family: "keys", what: "another event's entry" };
        let view = View::parse(&entry).filter(|view| is_of(view, accepted));
        let view = view.ok_or_else(corrupt)?;
        // The same call is the same request, whatever was decided about it. It does not need the payload to be seen.
        let same_result = |mark: &String| view.text(&["event", "data", "received"]) == Some(mark);
        let same_call = accepted.rests.as_ref().is_some_and(|rests| rests.is_same_call(&view))
            || accepted.returned.as_ref().is_some_and(same_result);
        let payload = erased::left(changes, self.number, first)?.unwrap_or_default();
        let Some(salt) = payload.commit_salt else {
            if accepted.ours && !same_call {
                return Ok(self.post_conflict(changes, origin, message, (accepted, first)));
            }
            let missing = changes.get(Family::Meta, &missing_key(self.number, first))?;
            let missing = missing.filter(|_| !accepted.ours);
            let told = missing.map(|bytes| store::read_u64(&bytes, "meta")).transpose()?;
            if told.is_some_and(|told| origin.seq < told) {
                return Err(Error::Untold { seq: origin.seq, first });
            }
            // The payload was erased, so there is nothing to compare with, and this message must not bring the bytes
            // back. An erasure message of its own names it before it is deleted.
            let erasing = Erasing { index: first, epoch: origin.epoch, seq: origin.seq };
            let key = erasing.unnamed_key(self.number);
            changes.put(Family::Meta, key, store::to_json(&erasing));
            return Ok(Outcome::Duplicate { index: first });
        };
        let same = || view.text(&["commit"]) == Some(&digest_of(&salt, "", &accepted.event.whole));
        if same_call || !accepted.ours && same() {
            Self::note_repeat(changes, &at, origin);
            return Ok(Outcome::Duplicate { index: first });
        }
        Ok(self.post_conflict(changes, origin, message, (accepted, first)))
    }

    /// Records that another event has the key of the one at leaf index `first`.
    fn post_conflict(
        &mut self,
        changes: &mut Changes<'_>,
        origin: Origin,
        message: &Prepared,
        (accepted, first): (&Accepted, u64),
    ) -> Outcome {
        let scope = accepted.scope();
        let conflict = json!({"source": scope.source, "id": scope.id, "first": first});
        let field = event::Field { name: "event".into(), value: accepted.event.whole.clone() };
        let draft = Draft::new(
            Kind::DuplicateConflict,
            accepted.draft.producer.clone(),
            canonical::of(&conflict),
            &accepted.event.whole,
            &[field],
            (&message.seed, scope),
        );
        let index = self.append(changes, draft, origin, None);
        Outcome::Conflict { index, first }
    }

    /// Notes that the journal holds this event again, so that an erasure finds the message.
    fn note_repeat(changes: &mut Changes<'_>, at: &[u8], origin: Origin) {
        let key = [at, &origin.epoch.to_be_bytes(), &origin.seq.to_be_bytes()].concat();
        changes.put(Family::Repeats, key, Vec::new());
    }

    /// P3: updates the numbers of the event's source, and opens or closes gaps.
    #[expect(clippy::type_complexity, reason = "three optional facts, named at the one caller")]
    fn observe(
        &mut self,
        changes: &mut Changes<'_>,
        accepted: &Accepted,
    ) -> Result<(Option<Gap>, Option<SequenceNote>, Option<(u64, Gap, Vec<Gap>)>), Error> {
        let Some(number) = accepted.event.sequence else { return Ok((None, None, None)) };
        let key = self.number.key(&accepted.source);
        let before = changes.get(Family::Sources, &key)?;
        let known =
            before.map(|bytes| store::read_json::<Sequence>(&bytes, "sources")).transpose()?;
        let mut facts = (None, None, None);
        let sequence = match known {
            None => Sequence::begin(number),
            Some(mut sequence) if accepted.event.kind == Type::Heartbeat => {
                facts.0 = sequence.heartbeat(number);
                sequence
            }
            Some(mut sequence) => {
                match sequence.observe(number) {
                    Seen::Next => {}
                    Seen::Jump(gap) => facts.0 = Some(gap),
                    Seen::Late { gap, open } => facts.2 = Some((number, gap, open)),
                    Seen::Reused => facts.1 = Some(SequenceNote::Reused),
                    Seen::BelowBase => facts.1 = Some(SequenceNote::BelowBase),
                }
                sequence
            }
        };
        changes.put(Family::Sources, key, store::to_json(&sequence));
        Ok(facts)
    }
}

/// True if the entry holds an event with this one's `(producer, source, id)`.
fn is_of(view: &View<'_>, accepted: &Accepted) -> bool {
    let (found, wanted) = (view.scope(), accepted.scope());
    matches!(view.kind, Kind::Decision | Kind::Event) && found.texts().eq(wanted.texts())
}

/// Draft of an entry that posting adds beside an event.
fn ours(kind: Kind, accepted: &Accepted, message: &Prepared, event: &serde_json::Value) -> Draft {
    beside(kind, accepted, message, &canonical::of(event))
}

fn beside(kind: Kind, accepted: &Accepted, message: &Prepared, event: &[u8]) -> Draft {
    let salts = (&message.seed, accepted.scope());
    Draft::new(kind, accepted.draft.producer.clone(), event.to_vec(), event, &[], salts)
}
