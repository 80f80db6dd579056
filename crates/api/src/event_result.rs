//! The result of one event on the wire: the same in answers and in receipts by message.

use crate::problem::Problem;
use ledger::{Ledger, event::Refused, post::Outcome, tenant::Tenant};
use serde::Serialize;

/// Result of one event.
#[derive(Serialize, utoipa::ToSchema)]
pub struct EventResult {
    /// The event's `id`; null where it could not be read.
    pub id: Option<String>,
    /// `posted`, `duplicate`, `conflict` or `rejected`.
    pub status: &'static str,
    /// Leaf index: of the event, of the first one with its key (`duplicate`), or of the entry that says what was wrong.
    pub index: u64,
    /// For a conflict: leaf index of the event with the same key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<u64>,
    /// For a rejection: a stable code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// For a rejection: what must change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// With `receipts=full`: a C2SP tlog-proof.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt: Option<String>,
}

impl EventResult {
    /// The result as the outcome says it, without a receipt.
    pub fn new(id: Option<String>, outcome: &Outcome) -> Self {
        let (status, first, refused) = match outcome {
            Outcome::Posted { .. } => ("posted", None, None),
            Outcome::Duplicate { .. } | Outcome::Void { .. } | Outcome::Nothing => {
                ("duplicate", None, None)
            }
            Outcome::Conflict { first, .. } => ("conflict", Some(*first), None),
            Outcome::Rejected { refused, .. } => ("rejected", None, Some(refused)),
        };
        Self {
            id,
            status,
            index: outcome.index().unwrap_or(0),
            first,
            reason: refused.map(Refused::code),
            detail: refused.map(ToString::to_string),
            receipt: None,
        }
    }
}

/// The message for a producer that asked for its receipt: one result, with the receipt.
pub fn receipt_message(
    ledger: &Ledger,
    tenant: &Tenant,
    id: Option<String>,
    outcome: &Outcome,
) -> Result<Vec<u8>, Problem> {
    let published = tenant.published();
    let mut result = EventResult::new(id, outcome);
    let receipt = ledger.reader(tenant, &published).receipt(result.index)?;
    result.receipt = receipt.map(|receipt| receipt.to_string());
    serde_json::to_vec(&result).map_err(Problem::internal)
}
