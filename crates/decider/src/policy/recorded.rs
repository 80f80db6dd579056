//! What an entry holds of a redaction, and what is read back from it.

use super::{
    facts::Facts,
    inquiry::Inquiry,
    judge::Redacted,
    redact::owned,
    redacted::{Redactions, Shadow, Tokens},
};
use crate::decision::Fields;
use data_encoding::BASE64URL_NOPAD;
use ledger::{
    ident::Ident,
    json::{self, Member, Value},
};
use std::borrow::Cow;

/// The field of the call as it came, if it is kept.
pub(super) const RECEIVED: &str = "received";

/// The facts of one verdict: those of the bundle, and what was redacted.
pub(super) fn facts(facts: &Facts, redacted: Option<&Redacted>) -> Facts {
    Facts { redacted: redacted.map(|redacted| redacted.facts.clone()), ..facts.clone() }
}

/// What the verdict would be with every clause in force. Of a redacted call that is not kept as it came, this is a fact.
pub(super) fn shadow(
    computed: Option<Shadow>,
    facts: &Facts,
    redacted: Option<&mut Redacted>,
) -> Option<Shadow> {
    let Some(redacted) = redacted.filter(|redacted| !redacted.kept) else { return computed };
    let recorded = facts.redacted.as_ref().and_then(|redacted| redacted.shadow.clone());
    let shadow = computed.map(|computed| recorded.unwrap_or(computed));
    redacted.facts.shadow.clone_from(&shadow);
    shadow
}

/// The mark of a call as it came: the same for the same call, and nothing else is learnt from it without the key.
pub(super) fn mark(inquiry: &Inquiry<'_>, tenant: &Ident, facts: &Facts) -> String {
    BASE64URL_NOPAD.encode(&facts.tokens.mark(&inquiry.digest(tenant)))
}

/// The payload: what the gateway sent, the call, and who owns the agent.
pub(super) fn payload<'v>(
    inquiry: &'v Inquiry<'_>,
    owners: &'v [&str],
    redacted: Option<&'v Redacted>,
) -> Value<'v> {
    let sent = inquiry.body.get("payload");
    let mut fields: Vec<Member<'v>> = match sent {
        Some(Value::Object(fields)) => {
            fields.iter().filter(|(name, _)| name != "owner").cloned().collect()
        }
        _ => Vec::new(),
    };
    let named = sent.and_then(|sent| sent.get("owner"));
    let named = named.and_then(crate::decision::owners).unwrap_or_default();
    let mut all: Vec<String> =
        owners.iter().map(|owner| (*owner).to_owned()).chain(named).collect();
    all.sort();
    all.dedup();
    if !all.is_empty() {
        let all = all.into_iter().map(|owner| Value::String(owner.into())).collect();
        fields.push(("owner".into(), Value::Array(all)));
    }
    fields.extend(params(inquiry, redacted));
    fields.push(("nonce".into(), Value::String(Cow::Borrowed(&inquiry.nonce))));
    Value::Object(fields)
}

/// The params as payload, and those that came, if they are kept.
fn params<'v>(inquiry: &'v Inquiry<'_>, redacted: Option<&'v Redacted>) -> Vec<Member<'v>> {
    let received = inquiry.request.params.clone();
    let Some(Redacted { params, kept, .. }) = redacted else {
        return vec![("params".into(), received)];
    };
    let mut fields: Vec<Member<'v>> = vec![("params".into(), params.clone())];
    if *kept {
        fields.push((Cow::Borrowed(RECEIVED), received));
    }
    fields
}

/// What the payload says of a redaction. `name`: the field of what was redacted.
pub(super) fn redacted(payload: &Fields, name: &str) -> Option<Redacted> {
    let facts: Facts = serde_json::from_slice(payload.get("/data/facts")?).ok()?;
    let params = json::parse_kept(payload.get(name)?).ok()?;
    let (params, kept) = (owned(&params), payload.contains_key(RECEIVED));
    Some(Redacted { params, facts: facts.redacted?, kept })
}

/// The facts by which a recorded call is judged: if it is kept as it came, what was redacted is computed again, with the
/// tokens that were recorded.
pub(super) fn to_judge(mut facts: Facts, is_kept: bool) -> Facts {
    if is_kept && let Some(Redactions { found, .. }) = facts.redacted.take() {
        facts.tokens = Tokens::Recorded(found);
    }
    facts
}
