//! Why the writer halts a log.

use super::EXIT_WRITE_FAILED;
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
    /// This message was lost, and this replica has promised never to post it.
    Promised(u64),
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
            Self::Promised(seq) => write!(
                f,
                "journal message {seq} was missing, and this replica has promised the others never to post it: it was to be \
                 posted all the same. If the others have posted it, begin this replica anew from one of them \
                 (docs/operate/several-machines.md)"
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

/// A write failed, so its outcome is unknown and nobody may be answered. The next start determines it.
pub(super) fn end_process(error: &dyn std::fmt::Display) -> ! {
    tracing::error!(%error, "write failed; ending the process, nothing was acknowledged");
    std::process::exit(EXIT_WRITE_FAILED);
}
