//! Lost journal messages, and who has signed that nobody has them (P21).

use super::Error;
use crate::{
    entry::{Kind, View},
    gone::Hole,
    log::{
        members::MemberSet,
        tile::{Tile, read_bundle},
    },
    system::{Genesis, members::MembersChange},
};

/// What the entries so far say of replicas and of lost messages.
#[derive(Default)]
pub(super) struct OfHoles {
    /// Every set of replicas that an entry names, oldest first.
    named: Vec<MemberSet>,
    /// Of each agreement: index of its entry, number of entries before the hole, epoch, first and last sequence.
    agreed: Vec<(u64, u64, u64, u64, u64)>,
    /// The first set, as an agreement named it before an entry did.
    first: Option<MemberSet>,
}

impl OfHoles {
    pub(super) fn take(
        &mut self,
        index: u64,
        view: &View<'_>,
        origin: &str,
    ) -> Result<(), &'static str> {
        match view.kind {
            Kind::Genesis => {
                let genesis: Genesis = view.event_as().ok_or("not a genesis of version 1")?;
                self.named.extend(genesis.members.map(MemberSet::first));
                Ok(())
            }
            Kind::Members => {
                let change: MembersChange = view.event_as().ok_or("not a members entry")?;
                let first = MemberSet::first(change.before.members.clone());
                if self.named.is_empty() {
                    if self.first.as_ref().is_some_and(|signed| *signed != first) {
                        return Err(
                            "others than the first replicas have signed that messages are lost",
                        );
                    }
                    self.named.push(first);
                }
                self.named.push(change.set(index));
                Ok(())
            }
            Kind::JournalGap => {
                let hole: Hole = view.event_as().ok_or("not a journal_gap entry")?;
                let epoch = view.origin.epoch;
                hole.check_agreed(origin, epoch, &self.named).map_err(
                    |_| "no majority of the replicas has signed that these messages are lost",
                )?;
                let Some(agreed) = hole.agreed else { return Ok(()) };
                if self.named.is_empty() {
                    let signed = MemberSet::first(agreed.members);
                    if self.first.get_or_insert_with(|| signed.clone()) != &signed {
                        return Err(
                            "others than the first replicas have signed that messages are lost",
                        );
                    }
                }
                self.agreed.push((index, agreed.size, epoch, hole.from, hole.to));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The lost messages must have stood where their agreement says: between the entry before that size and the one at it.
    pub(super) fn are_at_their_places(
        &self,
        size: u64,
        read: &mut impl FnMut(&str) -> Option<Vec<u8>>,
    ) -> Result<(), Error> {
        for &(index, at, epoch, from, to) in &self.agreed {
            let before = at.checked_sub(1).and_then(|last| place(last, size, read));
            let after = place(at, size, read);
            // The gap entry itself comes after the hole, so there is one.
            let fits = at <= index
                && before.is_some_and(|before| before < (epoch, from))
                && after.is_some_and(|after| after > (epoch, to));
            if !fits {
                let what =
                    "the messages that it says are lost did not stand where the replicas signed";
                return Err(Error::export(format!("entry {index}"), what));
            }
        }
        Ok(())
    }
}

/// Journal epoch and sequence of an entry.
fn place(
    index: u64,
    size: u64,
    read: &mut impl FnMut(&str) -> Option<Vec<u8>>,
) -> Option<(u64, u64)> {
    let number = index / 256;
    let width = Tile::width_at(None, number, size);
    let bundle = read(&format!("tile/{}", Tile { level: None, number, width }))?;
    let entries = read_bundle(&bundle)?;
    let entry = entries.get(usize::try_from(index % 256).ok()?)?;
    View::parse(entry).map(|view| (view.origin.epoch, view.origin.seq))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::tile::push_entry;

    /// The entries of `agreed.json`, which shares no code with us.
    fn golden() -> (String, Vec<String>) {
        let journal = include_str!("../../../../../proto/vectors/entry/agreed.json");
        let journal: serde_json::Value = serde_json::from_str(journal).unwrap();
        let messages = journal["messages"].as_array().unwrap().iter();
        let entries = messages.flat_map(|message| message["entries"].as_array().unwrap());
        let entries = entries.map(|entry| entry["entry"].as_str().unwrap().to_owned());
        (journal["origin"].as_str().unwrap().to_owned(), entries.collect())
    }

    fn check(entries: &[String], origin: &str) -> Result<(), String> {
        let (mut holes, mut bundle) = (OfHoles::default(), Vec::new());
        for (index, entry) in (0..).zip(entries) {
            let view = View::parse(entry.as_bytes()).unwrap();
            holes.take(index, &view, origin)?;
            push_entry(&mut bundle, entry.as_bytes());
        }
        let mut read = |_: &str| Some(bundle.clone());
        holes.are_at_their_places(entries.len() as u64, &mut read).map_err(|e| e.to_string())
    }

    /// Where the first and the second gap are.
    fn gaps(entries: &[String]) -> (usize, usize) {
        let is_gap = |entry: &String| entry.contains(r#""kind":"journal_gap""#);
        let first = entries.iter().position(is_gap).unwrap();
        (first, first + 1 + entries[first + 1..].iter().position(is_gap).unwrap())
    }

    #[test]
    fn p21_an_auditor_checks_who_called_messages_lost() {
        let (origin, good) = golden();
        check(&good, &origin).unwrap();
        let refused = |what: &str, change: &dyn Fn(&mut Vec<String>)| {
            let mut entries = good.clone();
            change(&mut entries);
            assert_ne!(entries, good, "{what}");
            check(&entries, &origin).expect_err(what)
        };
        let (first, second) = gaps(&good);
        refused("a promise is gone", &|entries| {
            let at = entries[first].find(r#"{"name":"c","signature""#).unwrap();
            let end = at + entries[first][at..].find('}').unwrap() + 1;
            entries[first].replace_range(at - 1..end, "");
        });
        refused("other messages", &|entries| {
            entries[first] = entries[first].replace(r#""to":4"#, r#""to":3"#);
        });
        refused("nobody has signed it, after a change of the replicas", &|entries| {
            let at = entries[second].find(r#""agreed":"#).unwrap();
            let end = entries[second].find(r#""by":"#).unwrap();
            entries[second].replace_range(at..end, "");
        });
        refused("another set signed before it was named", &|entries| {
            let change = entries.iter().position(|e| e.contains(r#""kind":"members""#)).unwrap();
            let b = entries[change].find(r#"{"name":"b""#).unwrap();
            let c = b + entries[change][b..].find(r#"{"name":"c""#).unwrap();
            let other = entries[change][b..c].replace("\"b\"", "\"bb\"");
            entries[change].replace_range(b..c, &other);
        });
        let what = refused("an entry stands in the hole", &|entries| {
            entries[2] = entries[2].replace(r#""seq":5"#, r#""seq":4"#);
        });
        assert!(what.contains("did not stand"), "{what}");
    }
}
