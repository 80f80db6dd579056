//! What the ledger refuses or can't do, as answers.

use super::{Code, Damage, Problem};
use ledger::{Error as LedgerError, journal, store};

impl From<LedgerError> for Problem {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Journal(error) => error.into(),
            LedgerError::Store(error) => error.into(),
            LedgerError::Halted(_) => Self::new(
                Code::LogHalted,
                "This server has stopped this log: its integrity is in doubt, or another server signs it now. Its operator must act; nothing was written.",
            ),
            LedgerError::NoQuorum(why) => {
                tracing::warn!(why, "no quorum");
                Self::new(
                    Code::NoQuorum,
                    "No majority of the replicas cosigns now, so nothing new can be told. Nothing was written; try again, or at another \
                     replica.",
                )
            }
            LedgerError::Busy => Self::new(
                Code::Busy,
                "Too many requests wait for this tenant. Nothing was written; try again.",
            ),
            LedgerError::Behind => Self::new(
                Code::Behind,
                "The journal holds messages that this server has not posted yet, so it is unknown whether this exists. Nothing was done; \
                 try again.",
            ),
            LedgerError::Lags { .. } => Self::new(
                Code::Behind,
                format!(
                    "The journal can't be trimmed as far: {error}. Nothing was done; try again once all replicas run."
                ),
            ),
            LedgerError::Unknown => Self::new(
                Code::OutcomeUnknown,
                "No answer came in time. Repeat the same request: events are posted once in any case.",
            ),
            LedgerError::Taken(text) => Self::new(Code::Conflict, text),
            LedgerError::Deleted => Self::new(Code::TenantDeleted, error.to_string()),
            LedgerError::Held(hold) => Self::new(
                Code::LegalHold,
                format!(
                    "The legal hold {hold} is in force: nothing is erased before an admin releases it (`countersign tenant release`)."
                ),
            ),
            LedgerError::NotErasable { .. } => Self::new(Code::BadRequest, error.to_string()),
            LedgerError::NotPosted { .. } => {
                Self::new(Code::Conflict, format!("{error}. Read again and decide anew."))
            }
            LedgerError::Setup(_)
            | LedgerError::NoKey(_)
            | LedgerError::Guard(_)
            | LedgerError::Keys(_) => Self::internal(error),
        }
    }
}

impl From<journal::Error> for Problem {
    fn from(error: journal::Error) -> Self {
        match error {
            journal::Error::Conflict => Self::new(
                Code::Conflict,
                "Another change came first. Read the present state, then decide again.",
            ),
            journal::Error::TooBig { .. } => Self::new(Code::TooBig, error.to_string()),
            journal::Error::Unavailable(_) => {
                tracing::warn!(%error, "journal unavailable");
                Self::new(
                    Code::JournalUnavailable,
                    "The journal is not available. Nothing was written; try again.",
                )
            }
            journal::Error::Unknown(_) => Self::new(
                Code::OutcomeUnknown,
                "The journal did not answer in time. Repeat the same request: events are posted once.",
            ),
            journal::Error::Halt(_) => {
                tracing::error!(%error, "journal refused");
                Self::new(
                    Code::LogHalted,
                    "The journal has wrong settings or is another one. Its operator must act.",
                )
            }
        }
    }
}

impl From<store::Error> for Problem {
    fn from(error: store::Error) -> Self {
        if let store::Error::Pruned { kept_from, by } = error {
            let detail = format!(
                "It was pruned. Every entry from {kept_from} on is here; entry {by} names the export that has those \
                 before it (`event.export`)."
            );
            return Self {
                kept_from: Some(Box::new(kept_from)),
                ..Self::new(Code::Pruned, detail)
            };
        }
        tracing::error!(%error, "reading failed");
        let problem = Self::new(
            Code::Internal,
            "The server could not read its database. The reason is in the server's log, under the request's id.",
        );
        let is_damage = matches!(error, store::Error::Corrupt { .. });
        let damage = is_damage.then(|| Box::new(Damage(error.to_string())));
        Self { damage, ..problem }
    }
}
