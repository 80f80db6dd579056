//! Takes entries as they are, because their messages are gone.

use super::{HOLES_MAX, Messages};
use crate::{
    entry::{Kind, View},
    fsck::before::short,
    fsck::state::{subject_of, take_key, take_number},
    journal::Subject,
    log::merkle::leaf_hash,
    post::{Pruned, note_alert, note_incident},
    store,
    system::NewEpoch,
};

impl Messages<'_> {
    /// Skips the rest of a message whose first entry was pruned.
    pub(super) fn begin_message(&mut self) -> Result<(), store::Error> {
        let place = (self.again.position.epoch, self.again.position.posted);
        loop {
            let index = self.again.position.size;
            let Some(bytes) = self.entry(index)? else { return Ok(()) };
            let origin = View::parse(&bytes).map(|view| (view.origin.epoch, view.origin.seq));
            if origin != Some(place) {
                return Ok(());
            }
            self.skip(index, &bytes);
        }
    }

    /// Skips the entries of earlier epochs, whose journals are not this one.
    pub(super) fn begin_epoch(&mut self) -> Result<(), store::Error> {
        while self.again.position.epoch != self.log.position.epoch {
            let index = self.again.position.size;
            match self.entry(index)? {
                Some(bytes) if View::parse(&bytes).is_some() => self.skip(index, &bytes),
                _ => {
                    self.ended = true;
                    break;
                }
            }
        }
        Ok(())
    }

    /// Moves the state forward to a message, past entries whose messages are gone.
    pub(super) fn skip_to(&mut self, seq: u64) -> Result<(), store::Error> {
        let posted = self.again.position.posted;
        if seq == posted + 1 || self.ended {
            return Ok(());
        }
        loop {
            let index = self.again.position.size;
            let Some(bytes) = self.entry(index)? else { break };
            let Some(view) = View::parse(&bytes) else {
                self.ended = true;
                return Ok(());
            };
            if view.origin.seq >= seq {
                break;
            }
            self.skip(index, &bytes);
        }
        self.hole(posted + 1, seq - 1);
        self.again.position.posted = seq - 1;
        Ok(())
    }

    /// Notes missing messages.
    pub(super) fn hole(&mut self, from: u64, to: u64) {
        if from <= to && self.holes.len() < HOLES_MAX {
            self.holes.push((from, to));
        }
    }

    /// Takes an entry as it is, because its message is gone.
    pub(super) fn skip(&mut self, index: u64, bytes: &[u8]) {
        if let Some(payloads) = &mut self.payloads {
            payloads.judge(index, bytes, None);
        }
        let Some(view) = View::parse(bytes) else { return };
        self.again.edge.append(leaf_hash(bytes), &mut Vec::new());
        let position = &mut self.again.position;
        position.size = index + 1;
        position.time = view.origin.time;
        position.prior.note(view.kind, index);
        match view.kind {
            Kind::Journal => {
                if let Some(new) = view.event_as::<NewEpoch>() {
                    position.epoch = new.epoch;
                    position.journal = new.journal;
                    position.posted = new.from - 1;
                    position.topics.clear();
                    self.unknown.clear();
                }
            }
            _ => position.posted = view.origin.seq,
        }
        self.before.note(index, &view);
        match view.kind {
            Kind::Genesis | Kind::Key | Kind::Members => {
                let _is_one = take_key(&mut self.again.keys, index, &view);
            }
            Kind::Decision | Kind::Event => take_number(&mut self.before.sources, &view),
            Kind::Policy => drop(self.again.position.policies.note(index, &view)),
            Kind::Agent => drop(self.again.position.identities.note(index, &view)),
            Kind::Alert => drop(note_alert(&mut self.again.position.alerts, index, &view)),
            Kind::Incident => {
                note_incident(&mut self.again.position.incidents, index, &view);
            }
            Kind::Freeze => drop(self.again.position.freezes.note(index, &view)),
            Kind::Retention => drop(self.again.position.retention.note(index, &view)),
            Kind::Prune => {
                Pruned::note(&mut self.again.position.pruned, index, &view);
                let size = self.again.kept_from();
                self.again.position.retention.prune(size);
            }
            Kind::Clock => self.again.position.retention.time_anew(),
            Kind::Rejected if view.text(&["producer"]).is_none() => {
                self.unknown.insert(view.origin.seq);
            }
            _ => {}
        }
        if let Some(subject) = subject_of(&view) {
            let (epoch, seq) = (view.origin.epoch, view.origin.seq);
            self.stands_at(epoch, &subject, seq);
        }
        self.before.size = index + 1;
    }

    /// Checks that the last message on a signed subject is the one at `seq`.
    pub(super) fn stands_at(&mut self, epoch: u64, subject: &Subject, seq: u64) {
        if let Subject::System(topic) = subject {
            self.again.position.topics.insert(topic.to_string(), seq);
            return;
        }
        let key = self.again.number.in_epoch(epoch, subject.to_string().as_bytes());
        self.before.subjects.insert(short(&key), seq);
    }
}
