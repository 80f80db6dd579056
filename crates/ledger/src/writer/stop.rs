//! Why the writer halts a log.

use crate::{guard::Mark, journal, post};

/// Why a log must halt.
pub(super) enum Stop {
    Post(post::Error),
    Journal(journal::Error),
    Fork(Mark),
    /// A majority of the replicas has cosigned another tree.
    Outvoted(Mark),
    Fenced(u64), // by this message of another server
    Keys(String),
}

impl std::fmt::Display for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Post(error) => write!(f, "{error}"),
            Self::Journal(error) => write!(f, "{error}"),
            Self::Keys(error) => f.write_str(error),
            Self::Fenced(seq) => write!(
                f,
                "another server signs this log since journal message {seq}: one log has one signer, and the one that \
                 started last is it. Stop this server; if the other one is gone, start this one again"
            ),
            Self::Outvoted(mark) => write!(
                f,
                "a majority of the replicas has cosigned another tree of size {} (root {}) than this server posted: \
                 this database differs from theirs. Keep it for those who look into it, and begin this replica anew \
                 (docs/operate/several-machines.md)",
                mark.size, mark.root
            ),
            Self::Fork(mark) => write!(
                f,
                "the journal does not lead to what was signed before (size {}, root {}): the database was restored \
                 from a backup, and the journal no longer holds the same messages. Restore a backup of at least that \
                 size; this one must not sign",
                mark.size, mark.root
            ),
        }
    }
}

impl From<post::Error> for Stop {
    fn from(error: post::Error) -> Self {
        Self::Post(error)
    }
}
