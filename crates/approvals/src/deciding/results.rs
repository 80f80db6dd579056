//! Judges what a call gave, before the agent sees it, by the bundle that judged the call. The verdict is recorded, and is the
//! report of the execution too.

use super::{Desk, Loaded, NotDecided};
use crate::{commands::Error, history::Approval};
use decider::{
    approval::Phase,
    decision::Fields,
    policy::{Decided, Facts, NOT_PERMITTED, Returned, Ruling, Tokens},
};
use ledger::{
    entry::{Kind, View},
    event::{self, Verdict},
    ident::Ident,
    journal::Subject,
    log::merkle::{Hash, leaf_hash},
    post::{Outcome, lists_of},
    system::{LeafAt, freeze::Acting},
};
use std::sync::Arc;

/// A verdict about a result that is recorded.
#[derive(Clone, Debug)]
pub struct ToldResult {
    /// The verdict and its reasons.
    pub ruling: Ruling,
    /// Leaf index of its entry.
    pub index: u64,
    /// Leaf hash of its entry.
    pub leaf: Hash,
    /// True if an earlier request got it.
    pub repeated: bool,
}

/// The decision whose call was made, as the log holds it.
struct Judged {
    entry: Vec<u8>,
    verdict: Verdict,
    only_observes: bool,
}

impl Desk {
    /// Judges the result of the call that the decision at leaf index `index` permitted, and records the verdict.
    ///
    /// Errors: [`NotDecided::Unknown`] if that is no decision about a call of this gateway.
    pub async fn result(
        &self,
        producer: &Ident,
        index: u64,
        returned: &Returned<'_>,
    ) -> Result<ToldResult, NotDecided> {
        self.readiness.clocks.stand().await?;
        let judged = self.judged(producer, index)?;
        let view = View::parse(&judged.entry).ok_or(Error::Unknown)?;
        let asks = judged.verdict == Verdict::ApprovalNeeded && !judged.only_observes;
        let approval = asks.then(|| view.scope().approval_id(self.log.tenant()));
        let now = self.readiness.clocks.now();
        let tokens = Tokens::Keyed(self.log.redaction_key());
        let facts = Facts { now, tokens, ..Facts::default() };
        let ruling = self.judge_result((&judged, &view, approval.as_ref()), returned, &facts)?;
        let decided = Decided {
            view: &view,
            at: LeafAt { index, leaf_hash: leaf_hash(&judged.entry) },
            approval: approval.as_ref().map(Ident::as_str),
        };
        let body = ruling.result_event(returned, &decided, (&facts, self.log.extent().size));
        event::check_ours(&body)?;
        let subject = Subject::verdicts(producer.clone());
        let same_key = self.readiness.keep_rules().await;
        let outcomes = self.log.propose(&subject, vec![body]).await?;
        drop(same_key);
        match outcomes.into_iter().next() {
            Some(Outcome::Posted { index }) => self.told_result(index, ruling, false),
            Some(Outcome::Duplicate { index }) => self.told_result(index, ruling, true),
            Some(Outcome::Conflict { first, .. }) => Err(NotDecided::OtherResult { first }),
            _ => Err(Error::Unknown.into()),
        }
    }

    fn judged(&self, producer: &Ident, index: u64) -> Result<Judged, NotDecided> {
        let unknown = || NotDecided::Unknown { index };
        let entry = self.log.entry(index).map_err(Error::from)?.ok_or_else(unknown)?;
        let view = View::parse(&entry).ok_or_else(unknown)?;
        let is_theirs = view.kind == Kind::Decision
            && view.is_ours()
            && view.text(&["producer"]) == Some(producer.as_str());
        let named = |name: &str| view.text(&["event", "data", name]);
        let verdict = named("verdict").filter(|_| is_theirs).ok_or_else(unknown)?;
        let verdict = Verdict::ALL.iter().find(|(_, name)| *name == verdict);
        let verdict = verdict.map(|(verdict, _)| *verdict).ok_or_else(unknown)?;
        let only_observes = named("mode") == Some("shadow");
        Ok(Judged { entry, verdict, only_observes })
    }

    fn judge_result(
        &self,
        (judged, view, approval): (&Judged, &View<'_>, Option<&Ident>),
        returned: &Returned<'_>,
        facts: &Facts,
    ) -> Result<Ruling, NotDecided> {
        let is_denied = judged.verdict == Verdict::Deny && !judged.only_observes;
        let is_unspent = approval.map(|id| self.is_redeemed(id)).transpose()? == Some(false);
        if is_denied || is_unspent {
            return Ok(Ruling { may_redact: true, ..Ruling::denial(NOT_PERMITTED) });
        }
        let data = view.at(&["event", "data"]);
        let call = data.map(|data| Acting::of(view.text(&["producer"]).unwrap_or_default(), data));
        let freezes = self.log.freezes();
        if let Some((freeze, _)) = call.and_then(|call| freezes.stopping(&call)) {
            return Ok(Ruling { may_redact: true, ..Ruling::frozen(freeze) });
        }
        let Some(loaded) = self.bundle_of(view)? else {
            // Nothing but a denial rests on no bundle, so this one only observes.
            let ruling = Ruling::denial(NOT_PERMITTED);
            return Ok(Ruling { may_redact: true, only_observes: true, ..ruling });
        };
        Ruling::of_result((&loaded.bundle, loaded.version), view, returned.result.clone(), facts)
            .map_err(NotDecided::NoBundle)
    }

    /// True if the approval was redeemed, so that its call may have been made.
    fn is_redeemed(&self, id: &Ident) -> Result<bool, NotDecided> {
        let approval = Approval::read(&*self.log, id, None).map_err(Error::from)?;
        let after = [Phase::Redeemed, Phase::Completed, Phase::Failed, Phase::Unknown];
        Ok(approval.is_some_and(|approval| after.contains(&approval.state.phase)))
    }

    /// The bundle that a decision names, with the versions of lists by which it judged. `None` if it names none.
    fn bundle_of(&self, view: &View<'_>) -> Result<Option<Arc<Loaded>>, NotDecided> {
        let data = view.at(&["event", "data"]);
        let named = data.and_then(|data| data.get("bundle")?.as_str());
        let version = view.text(&["event", "data", "policy", "version"]);
        let version = version.and_then(|version| version.parse::<u64>().ok());
        let Some((digest, version)) = named.zip(version) else { return Ok(None) };
        let lists = data.into_iter().flat_map(lists_of);
        let lists = lists.map(|(name, version)| (name.to_owned(), version)).collect();
        let found = self.bundles.at((digest, version), &lists).map_err(NotDecided::NoBundle)?;
        let missing = || format!("version {version} of the bundle is not in the log");
        found.map(Some).ok_or_else(|| NotDecided::NoBundle(missing()))
    }

    /// What was recorded. A repetition has the verdict of the first report, if that one denied.
    fn told_result(
        &self,
        index: u64,
        ruling: Ruling,
        repeated: bool,
    ) -> Result<ToldResult, NotDecided> {
        let entry = self.log.entry(index).map_err(Error::from)?.ok_or(Error::Unknown)?;
        let leaf = leaf_hash(&entry);
        let payload: Fields = self.log.payload(index, &entry).map_err(Error::from)?.values();
        let first = View::parse(&entry).and_then(|view| Ruling::of_entry(&view, &payload));
        // Where it is the same denial, the one of now has its redactions too.
        let other = |first: &Ruling| (first.verdict, &first.code) != (ruling.verdict, &ruling.code);
        let denied =
            first.filter(|first| repeated && first.verdict == Verdict::Deny && other(first));
        Ok(ToldResult { ruling: denied.unwrap_or(ruling), index, leaf, repeated })
    }
}
