//! What the policies in force now say of a call that waits for people, or was approved: they may have changed since it
//! was judged, and what they deny is released to nobody (P16, P17).

use crate::{bundles::Bundles, log::Log, past::InLog};
use decider::{
    approval::PolicyNow,
    policy::{Ruling, Running, simulate},
};
use ledger::{
    entry::View,
    event::{Verdict, is_reserved_tool},
    foreign::harmless,
    json::Value,
    post::lists_of,
};
use std::{collections::BTreeMap, sync::Arc};

/// Judges calls again by the policies in force.
#[derive(Clone)]
pub struct PoliciesNow {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) bundles: Arc<Bundles>,
}

/// A call that the policies in force now judge otherwise than those of its decision.
#[derive(Clone, Debug)]
pub struct JudgedNow {
    /// What they say.
    pub ruling: Ruling,
    /// The version of the bundle.
    pub version: u64,
}

impl PoliciesNow {
    /// What they say of the call of the decision at a leaf index.
    pub(crate) fn of(&self, index: u64) -> PolicyNow {
        match self.otherwise(index) {
            Ok(Some(now)) if now.denies() => PolicyNow::Denies,
            Ok(_) => PolicyNow::Stands,
            Err(_) => PolicyNow::Unreadable,
        }
    }

    /// What they say, if that is something else than its decision says. `None` also if it is no decision of ours, or about
    /// a call of the server itself: then no policy judged it.
    ///
    /// It is judged with the facts of its decision, as it came then: only what people changed counts.
    ///
    /// Errors: why the policies in force can't be read.
    pub fn otherwise(&self, index: u64) -> Result<Option<JudgedNow>, String> {
        let told = |error: ledger::store::Error| error.to_string();
        let Some(entry) = self.log.entry(index).map_err(told)? else { return Ok(None) };
        let Some(view) = View::parse(&entry).filter(View::is_ours) else { return Ok(None) };
        let text = |name: &'static [&'static str]| view.text(name).unwrap_or_default();
        let (tool, action) =
            (text(&["event", "data", "tool", "name"]), text(&["event", "data", "tool", "action"]));
        if is_reserved_tool(tool) {
            return Ok(None);
        }
        let Some(loaded) = self.bundles.in_force()? else { return Ok(None) };
        let named = view.at(&["event", "data"]).into_iter().flat_map(lists_of);
        let named: BTreeMap<String, u64> =
            named.map(|(name, version)| (name.to_owned(), version)).collect();
        let bundle = &loaded.bundle;
        if bundle.digest() == text(&["event", "data", "bundle"])
            && bundle.rests_on(tool, action) == named
        {
            return Ok(None);
        }
        let payload = self.log.payload(index, &entry).map_err(told)?.values();
        // What the call reserved counts as it did then; a budget that is new since has nothing booked.
        // What it did not count of earlier decisions counts as it was then, too.
        let as_of = view.at(&["event", "data", "as_of"]).and_then(Value::as_u64).unwrap_or(index);
        let mut past = InLog { log: &*self.log, as_of };
        let mut running = Running::default();
        let ruling = simulate(&view, &payload, bundle, (&mut running, &mut past)).map_err(told)?;
        let Some(ruling) = ruling else { return Ok(None) };
        let clause = view.text(&["event", "data", "policy", "id"]);
        let same = !ruling.only_observes
            && ruling.verdict.as_str() == text(&["event", "data", "verdict"])
            && ruling.clause.as_deref() == clause;
        Ok((!same).then_some(JudgedNow { ruling, version: loaded.version }))
    }
}

impl JudgedNow {
    /// True if nothing permits the call any more. Policies in shadow deny nothing.
    pub fn denies(&self) -> bool {
        self.ruling.verdict == Verdict::Deny && !self.ruling.only_observes
    }

    /// For reviewers.
    pub fn in_words(&self) -> String {
        let Self { ruling, version } = self;
        let by = ruling.clause.as_ref().map(|clause| format!(" by {}", harmless(clause)));
        let by = format!("{} ({})", by.unwrap_or_default(), harmless(&ruling.code));
        let now = format!(
            "The policies changed since this call was judged. Version {version}, in force now,"
        );
        if ruling.only_observes {
            return format!("{now} only observes this agent.");
        }
        match ruling.verdict {
            Verdict::Deny => {
                format!("{now} denies it{by}: it can't be approved or redeemed any more.")
            }
            Verdict::ApprovalNeeded => format!("{now} asks people too, but{by}."),
            _ => {
                format!("{now} would allow it without people{by}. A new question gets that answer.")
            }
        }
    }
}
