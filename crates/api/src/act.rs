//! Administrative acts: who does them, and why (`proto/formats/system.md`). The words of a reason are
//! evidence, which can be erased. The message that acts only names their entry, because the message stays for
//! ever (P11).

use ledger::{
    Error, Ledger, canonical,
    ident::Ident,
    journal::Subject,
    log::merkle::Tiles as _,
    post::SYSTEM,
    replica,
    system::{By, Command, Reason},
    tenant::Tenant,
    time::Nanos,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// Lets one act of a sort at a time be made for each tenant: what it is decided from does not change meanwhile.
#[derive(Default)]
pub struct Turns(Mutex<BTreeMap<Ident, Arc<AsyncMutex<()>>>>);

impl Turns {
    /// Waits for the tenant's turn, which lasts until the answer is dropped.
    pub async fn of(&self, tenant: &Ident) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.0.lock().expect("no holder of the lock panics");
            Arc::clone(turns.entry(tenant.clone()).or_default())
        };
        turn.lock_owned().await
    }
}

/// Who did something, and when.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Since {
    /// Leaf index of its entry.
    pub index: u64,
    /// `journal.time` of its entry.
    #[schema(value_type = String)]
    pub time: Nanos,
    /// Who did it.
    #[schema(value_type = Object)]
    pub by: By,
}

/// Longest reason, in characters.
pub const WHY_CHARS_MAX: usize = 2000;

/// A reason in the actor's own words: 1 to [`WHY_CHARS_MAX`] characters, line breaks included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Why(String);

impl TryFrom<String> for Why {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let plain = |c: char| c == '\n' || c == '\t' || !c.is_control();
        let fits = text.chars().count() <= WHY_CHARS_MAX && text.chars().all(plain);
        if fits && !text.trim().is_empty() {
            return Ok(Self(text));
        }
        Err(format!(
            "reason: say why in 1 to {WHY_CHARS_MAX} characters, without control characters but line breaks and tabs"
        ))
    }
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// The actor of an act, and the reason.
#[derive(Clone, Debug)]
pub struct Act {
    /// The actor.
    pub by: By,
    /// The reason, if one was given.
    pub why: Option<Why>,
}

impl Act {
    /// An act by somebody at the machine, with a command.
    pub fn of_command(command: Command, why: Option<Why>) -> Self {
        Self { by: By::Command { command }, why }
    }
}

/// Appends the reason for an act of `topic` as evidence. The result goes into the act's body.
///
/// A crash in between leaves a reason without an act. It says what somebody was about to do.
pub async fn keep_reason(
    ledger: &Ledger,
    tenant: &Arc<Tenant>,
    topic: &str,
    why: Option<&Why>,
) -> Result<Option<Reason>, Error> {
    let Some(Why(text)) = why else { return Ok(None) };
    keep_words(ledger, tenant, &json!({"act": topic, "reason": text})).await.map(Some)
}

/// Appends evidence that belongs to no approval. Every member is erasable payload of its entry.
pub async fn keep_words(
    ledger: &Ledger,
    tenant: &Arc<Tenant>,
    words: &serde_json::Value,
) -> Result<Reason, Error> {
    let index = append_signed(ledger, tenant, &format!("evidence.{SYSTEM}"), words).await?;
    let published = tenant.published();
    // Read the hash from the tree, not from the entry, because the act must name what was hashed.
    let hash = ledger.reader(tenant, &published).hashes(0, index, 1)?;
    let leaf_hash = hash.first().copied().ok_or(Error::Unknown)?;
    Ok(Reason { index, leaf_hash })
}

/// Publishes one of our own bodies on `system.<topic>`, and waits for its entry. Returns its leaf index.
pub async fn record<T: Serialize + Sync>(
    ledger: &Ledger,
    tenant: &Arc<Tenant>,
    topic: &str,
    body: &T,
) -> Result<u64, Error> {
    append_signed(ledger, tenant, &format!("system.{topic}"), body).await
}

/// The same for what every replica must know before anybody hears of it: an access key that is made or removed.
pub async fn record_everywhere<T: Serialize + Sync>(
    ledger: &Ledger,
    tenant: &Arc<Tenant>,
    topic: &str,
    body: &T,
) -> Result<u64, Error> {
    let index = record(ledger, tenant, topic, body).await?;
    replica::until_shown(ledger, tenant, index).await?;
    Ok(index)
}

async fn append_signed<T: Serialize + Sync>(
    ledger: &Ledger,
    tenant: &Arc<Tenant>,
    subject: &str,
    body: &T,
) -> Result<u64, Error> {
    let subject = Subject::parse(subject).expect("a topic of ours");
    let body = canonical::of(body);
    let done = ledger.publish_signed(tenant, &subject, &body).await?;
    Error::unless_posted(&subject, done.outcomes.first())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, fits: bool) {
        let read = serde_json::from_value::<Why>(json!(text));
        assert_eq!(read.is_ok(), fits, "{text:?}");
    }

    #[test]
    fn a_reason_is_bounded_and_says_something() {
        check("ticket 4711: asked by the person concerned", true);
        check("two\nlines\tand a tab", true);
        check(&"\u{20ac}".repeat(WHY_CHARS_MAX), true);
        check(&"x".repeat(WHY_CHARS_MAX + 1), false);
        check("", false);
        check(" \n ", false);
        check("a\u{1b}[31mb", false);
        check("a\rb", false);
    }
}
