//! What a replica knows of the register, as a function of the messages that it followed.

use crate::log::replicas::{self, Certified, Uncertified};
use std::sync::Arc;

/// What is known of the register.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Sequence of the value: the next swap expects it. 0 if there is none.
    pub seq: u64,
    /// The newest checkpoint that a majority has cosigned.
    pub newest: Option<Arc<Certified>>,
    /// Who says that it proposed it.
    pub by: Option<String>,
    /// What is wrong with the value that is there now.
    pub wrong: Option<String>,
    /// The value that is there now, if it can't be read as a cosigned checkpoint: then nobody knows what it took the place of.
    pub unread: Option<Unread>,
    /// Sequence of this process's start message, once it was followed.
    pub own_start: Option<u64>,
    /// True once every value is known that was stored before this process started.
    pub is_whole: bool,
}

/// A value that could not be read, and who says that they proposed it.
#[derive(Clone, Debug)]
pub struct Unread {
    /// Its bytes.
    pub body: Vec<u8>,
    /// Who.
    pub by: Option<String>,
    /// Tree size that was posted here when it was read.
    pub posted: u64,
}

impl Unread {
    /// True if its entries were not posted when it was read, and are now.
    fn is_due(&self, posted: u64) -> bool {
        let size = replicas::size_of(&String::from_utf8_lossy(&self.body));
        self.posted < size && size <= posted
    }
}

/// What a value did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Took {
    /// It is the newest one.
    Newer,
    /// It was known.
    Known,
    /// It counts for nothing, and a person must see it.
    Wrong,
}

impl Seen {
    /// Begins with what was shown before: a register that holds less was set back.
    pub fn knowing(kept: Option<Certified>) -> Self {
        Self { newest: kept.map(Arc::new), ..Self::default() }
    }

    /// Tree size of the newest cosigned checkpoint. 0 if there is none.
    pub fn size(&self) -> u64 {
        self.newest.as_ref().map_or(0, |newest| newest.checkpoint.size)
    }

    /// Takes a value. A smaller one, or another root of the same size, never replaces what is known.
    pub fn take(
        &mut self,
        seq: u64,
        by: Option<String>,
        read: Result<Certified, Uncertified>,
    ) -> Took {
        if seq <= self.seq {
            return Took::Known;
        }
        self.seq = seq;
        self.unread = None;
        let wrong = match (read, &self.newest) {
            (Ok(read), Some(known)) if read.checkpoint.size < known.checkpoint.size => format!(
                "it is of size {}, and size {} was there before",
                read.checkpoint.size, known.checkpoint.size
            ),
            (Ok(read), Some(known))
                if read.checkpoint.size == known.checkpoint.size
                    && read.checkpoint.root != known.checkpoint.root =>
            {
                format!("size {} has another root than before", read.checkpoint.size)
            }
            (Ok(read), _) => {
                (self.newest, self.by, self.wrong) = (Some(Arc::new(read)), by, None);
                return Took::Newer;
            }
            (Err(error), _) => error.to_string(),
        };
        self.wrong = Some(wrong);
        Took::Wrong
    }

    /// Keeps the value that could not be read: what is posted later may tell what it is.
    pub fn keep_unread(&mut self, unread: Unread) {
        self.unread = Some(unread);
    }

    /// Has the value that could not be read taken again, once its entries are posted.
    pub fn again(&mut self, posted: u64) -> Option<(u64, Unread)> {
        let unread = self.unread.take_if(|unread| unread.is_due(posted))?;
        let seq = self.seq;
        self.seq = seq.saturating_sub(1);
        Some((seq, unread))
    }

    /// Forgets a checkpoint that turned out to count for nothing, for what was known before.
    pub fn revoke(&mut self, before: Option<Certified>, why: String) {
        (self.newest, self.by, self.wrong) = (before.map(Arc::new), None, Some(why));
    }

    /// Notes that this process's start message was followed.
    pub fn started(&mut self, seq: u64) {
        self.own_start = Some(seq);
    }

    /// Notes that nothing newer was there. After this process's start, everything that was there before is then known, unless something
    /// that can't be read has taken the place of a value: a replica that runs puts it back.
    pub fn reached_end(&mut self) {
        self.is_whole |= self.own_start.is_some() && self.unread.is_none();
    }

    /// What was vouched for is judged now: it is certified, or counts for nothing.
    pub fn judged(&mut self, newest: Certified) {
        self.newest = Some(Arc::new(newest));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{checkpoint::Checkpoint, merkle::leaf_hash};

    fn value(size: u64, root: &[u8]) -> Certified {
        let checkpoint = Checkpoint { origin: "a/l".into(), size, root: leaf_hash(root) };
        Certified { checkpoint, note: String::new(), by: Vec::new(), version: 0, is_vouched: false }
    }

    #[test]
    fn p21_the_register_never_goes_back() {
        let mut seen = Seen::default();
        let mut check = |seq, read, took: Took, size: u64| {
            assert_eq!((seen.take(seq, None, read), seen.size()), (took, size), "{seq}");
            assert_eq!(seen.wrong.is_some(), took == Took::Wrong);
        };
        check(5, Ok(value(3, b"a")), Took::Newer, 3);
        check(5, Ok(value(3, b"a")), Took::Known, 3);
        check(4, Ok(value(9, b"a")), Took::Known, 3);
        check(6, Ok(value(3, b"a")), Took::Newer, 3);
        check(7, Ok(value(2, b"a")), Took::Wrong, 3);
        check(8, Ok(value(3, b"b")), Took::Wrong, 3);
        check(9, Err(Uncertified::Minority { version: 0, got: 1, least: 2 }), Took::Wrong, 3);
        check(10, Ok(value(4, b"c")), Took::Newer, 4);
        // A wrong value moves the sequence that the next swap expects, so it stops nobody.
        check(11, Err(Uncertified::Unsigned(4)), Took::Wrong, 4);
        assert_eq!(seen.seq, 11);
    }

    #[test]
    fn p21_a_register_that_was_set_back_counts_for_nothing() {
        let mut seen = Seen::knowing(Some(value(7, b"a")));
        assert_eq!((seen.seq, seen.size()), (0, 7), "nothing was followed yet");
        assert_eq!(seen.take(3, None, Ok(value(6, b"z"))), Took::Wrong);
        assert_eq!(seen.take(4, None, Ok(value(7, b"b"))), Took::Wrong);
        assert_eq!((seen.take(5, None, Ok(value(7, b"a"))), seen.size()), (Took::Newer, 7));
    }

    #[test]
    fn p21_nothing_is_whole_before_the_own_start_was_followed() {
        let mut seen = Seen::default();
        seen.reached_end();
        assert!(!seen.is_whole, "what is followed may be old");
        seen.started(4);
        assert!(!seen.is_whole, "a newer value may be on its way");
        seen.take(5, None, Err(Uncertified::Unsigned(9)));
        seen.keep_unread(Unread { body: Vec::new(), by: None, posted: 0 });
        seen.reached_end();
        assert!(!seen.is_whole, "what was there before is not known");
        seen.take(6, None, Ok(value(9, b"a")));
        seen.reached_end();
        assert!(seen.is_whole);
        seen.take(7, None, Err(Uncertified::Unsigned(10)));
        seen.keep_unread(Unread { body: Vec::new(), by: None, posted: 0 });
        seen.reached_end();
        assert!(seen.is_whole, "whoever follows since then knows better");
    }
}
