//! What a message says at a glance. A reader of a whole log reads only approvals that are not over, and so need not
//! fold the others.

use ledger::ident::Ident;
use serde::Deserialize;

/// The parts of a message that say whose it is, and whether it is the end.
#[derive(Debug, Deserialize)]
pub struct Glance {
    /// The approval.
    #[serde(rename = "approval_id")]
    pub id: Ident,
    /// Number of the message.
    pub n: u64,
    events: Vec<Named>,
}

#[derive(Debug, Deserialize)]
struct Named {
    #[serde(rename = "type")]
    name: Name,
    opening: Option<Place>,
}

#[derive(Debug, Deserialize)]
struct Place {
    index: u64,
}

/// Names of events, as far as they matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Name {
    Redeemed,
    Denied,
    Expired,
    Cancelled,
    Superseded,
    Revoked,
    Lapsed,
    ExecutionReported,
    ReportMissed,
    #[serde(other)]
    Other,
}

impl Glance {
    /// True if the approval is over after this message, for ever, whatever came before (law 13): its state is terminal,
    /// unknown or corrupt.
    ///
    /// An event that ends an approval either follows, or a deadline has passed, which is an end too, or it can't follow
    /// and the history is corrupt. Only after a redemption may the rest of a message be skipped without an end, because
    /// a redemption that comes after the token's end leaves the approval open.
    pub fn ends(&self) -> bool {
        let names = self.events.iter().map(|event| event.name);
        names.take_while(|name| *name != Name::Redeemed).any(|name| name != Name::Other)
    }

    /// True if it says that people denied.
    pub fn denies(&self) -> bool {
        self.events.iter().any(|event| event.name == Name::Denied)
    }

    /// Leaf index of the decision, if this is the first message.
    pub fn opening(&self) -> Option<u64> {
        self.events.first()?.opening.as_ref().map(|opening| opening.index).filter(|_| self.n == 1)
    }
}
