//! Why posting stops.

use crate::store;

/// Why posting stops.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Stored data could not be read.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The first message is not the genesis of this log.
    #[error("the first journal message is not the genesis of {0}: this is another log's journal")]
    Genesis(String),
    /// Journal messages are gone, and nothing explains what they were.
    #[error(
        "journal messages {from} to {to} are gone, and nothing was posted for them: follow the journal again"
    )]
    Hole {
        /// The first of them.
        from: u64,
        /// The last of them.
        to: u64,
    },
    /// A message explained a hole, and was then refused itself.
    #[error(
        "journal message {told} gives a wrong content of message {seq}: this database rests on it and must \
         not sign. Restore a newer backup"
    )]
    Explanation {
        /// Sequence of the hole.
        seq: u64,
        /// Sequence of the message that explained it.
        told: u64,
    },
    /// A majority of the replicas has promised not to post what this log has posted.
    #[error(
        "a majority of the replicas has signed that journal messages {from} to {to} were lost before it posted them, and this \
         replica has posted them (entry {index}): what it has is in no log that a majority signs. Keep this database for those \
         who look into it, and begin this replica anew from another one (docs/operate/several-machines.md)"
    )]
    Outvoted {
        /// The first of them.
        from: u64,
        /// The last of them.
        to: u64,
        /// Leaf index of the first entry that they gave here.
        index: u64,
    },
    /// An event has the key of an entry whose payload is not here, so it may repeat that event or contradict it.
    #[error(
        "journal message {seq} has the key of entry {first}, whose payload was erased before this database posted it: \
         only a newer database knows whether it is the same event. Restore a newer backup"
    )]
    Untold {
        /// Sequence of the message.
        seq: u64,
        /// Leaf index of the entry that holds its key.
        first: u64,
    },
    /// Sequences go backwards, so this is not the journal that was posted.
    #[error("journal sequence {got} after {posted}: the journal was rewound or replaced")]
    Backwards {
        /// Sequence that arrived.
        got: u64,
        /// Sequence that was posted last.
        posted: u64,
    },
}
