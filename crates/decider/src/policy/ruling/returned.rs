//! The execution event that records the verdict about a result.

use super::{
    Ruling,
    values::{member, number, object, text, without_nulls},
};
use crate::policy::{
    facts::Facts,
    recorded,
    report::{RESULT, Returned, digest_of},
};
use data_encoding::BASE64URL_NOPAD;
use ledger::{
    canonical,
    entry::View,
    event::{self, Verdict},
    json::{self, Member, Value},
    system::LeafAt,
};

/// `source` of the server's reports of results; `id` is the leaf index of the decision.
const SOURCE: &str = "countersign/results";

/// The decision whose call gave the result.
pub struct Decided<'d> {
    /// Its entry.
    pub view: &'d View<'d>,
    /// Where that is.
    pub at: LeafAt,
    /// The approval, if people decided about the call.
    pub approval: Option<&'d str>,
}

impl Ruling {
    /// The result as the agent may see it. `None`: not at all.
    fn result_to_show<'r, 'a>(&'r self, returned: &'r Returned<'a>) -> Option<&'r Value<'a>> {
        if self.only_observes {
            return Some(&returned.result);
        }
        match &self.redacted {
            _ if self.verdict == Verdict::Deny => None,
            Some(redacted) => Some(&redacted.params),
            None => Some(&returned.result),
        }
    }

    /// The event that records the verdict about a result. `as_of`: number of entries that the decider had read.
    pub fn result_event(
        &self,
        returned: &Returned<'_>,
        decided: &Decided<'_>,
        (facts, as_of): (&Facts, u64),
    ) -> Vec<u8> {
        let Decided { view, at, approval } = decided;
        let plain = |name: &'static str| {
            let value = view.at(&["event", "data", name])?.clone();
            Some(member(name, without_nulls(value)))
        };
        let sent = |name: &'static str| {
            let value = returned.body.get(name)?.clone();
            Some(member(name, value)).filter(|(_, value)| *value != Value::Null)
        };
        let facts_text = canonical::of(&recorded::facts(facts, self.redacted.as_ref()));
        let mark = facts.tokens.mark(&returned.digest(at.index));
        let shown = self.result_to_show(returned);
        let bytes = canonical::to_vec(&returned.result).len() as u64;
        let of_shown = shown.map(|shown| digest_of(shown));
        let mut told = vec![member("bytes", number(bytes))];
        told.extend(of_shown.map(|digest| member("digest", Value::String(digest.into()))));
        let mut data: Vec<Member<'_>> =
            [plain("agent"), plain("tool"), sent("cost"), sent("latency_us"), sent("status")]
                .into_iter()
                .flatten()
                .collect();
        data.extend([
            member(
                "decision",
                object([
                    member("index", number(at.index)),
                    member("leaf_hash", Value::String(at.leaf_hash.to_string().into())),
                ]),
            ),
            member("verdict", text(self.verdict.as_str())),
            member("mode", text(if self.only_observes { "shadow" } else { "enforce" })),
            member("as_of", number(as_of)),
            member("facts", json::parse(&facts_text).unwrap_or(Value::Null)),
            member("reason", self.reason()),
            member("received", Value::String(BASE64URL_NOPAD.encode(&mark).into())),
            member("returned", Value::Object(told)),
        ]);
        data.extend(approval.map(|id| member("approval_id", text(id))));
        if let Some(shown) = shown.filter(|_| returned.keep) {
            data.push(member("payload", object([member(RESULT, shown.clone())])));
        }
        data.extend(self.plain());
        let event = object([
            member("id", Value::String(at.index.to_string().into())),
            member("source", text(SOURCE)),
            member("specversion", text("1.0")),
            member("type", text(event::EXECUTION)),
            member("time", Value::String(facts.now.to_string().into())),
            member("data", Value::Object(data)),
        ]);
        canonical::to_vec(&event)
    }
}
