//! Decides calls of agents by the policies in force, and records each verdict before it is told (P14).
//!
//! A decider proposes, posting confirms: the message names the bundle and the versions of lists by which it was judged,
//! and posting voids it if others are in force at its place. Then it is decided anew.

mod clerk;
mod costs;
mod later;
mod probe;
mod results;
mod stock;
mod told;

pub use crate::bundles::{Loaded, bundle_entry, content, lists_at, load};
pub use clerk::{Clerk, NotSpent, Proposal, Question, Simulation};
pub use costs::Costs;
pub use decider::policy::REPORT_WITHIN_SECONDS;
pub use later::{Later, ToldEarly};
pub use results::ToldResult;
pub use stock::Terms;
pub use told::{NotDecided, Recorded, Told};

use crate::{
    bundles::Bundles,
    commands::{Error, PoliciesNow, Readiness},
    log::Log,
};
use decider::{
    decision::Fields,
    policy::{CONTENDED, Facts, Inquiry, NO_POLICY, Ruling, Tokens, Why},
};
use ledger::{
    Error as Failure,
    entry::View,
    event::{self, Refused},
    ident::Ident,
    journal::Subject,
    log::merkle::leaf_hash,
    post::{Outcome, Voided},
    system::freeze::Acting,
    time::Nanos,
};
use std::{collections::BTreeMap, sync::Arc};
use stock::{Buckets, Shelf, Taken};

/// How often a call is decided, each time because what it rested on changed in between: once, and three times anew.
const TRIES_MAX: usize = 4;
/// Seconds for which a verdict counts, unless the configuration says otherwise: a repetition after that is no permission.
pub const VALID_FOR_SECONDS: u64 = 60;
/// Most seconds for which a verdict may count.
pub const VALID_FOR_SECONDS_MAX: u64 = 900;

/// Decides the calls of one tenant's agents.
pub struct Desk {
    log: Arc<dyn Log>,
    readiness: Arc<Readiness>,
    bundles: Arc<Bundles>,
    /// What may be told before it is posted. `None` without a spool: then nothing is.
    later: Option<Arc<Later>>,
    terms: Terms,
    buckets: Buckets,
    costs: costs::Sums,
}

/// One question on its way.
struct Open<'q, 'a> {
    at: usize,
    inquiry: &'q Inquiry<'a>,
    ruling: Ruling,
    digest: String,
    facts: Facts,
}

impl Open<'_, '_> {
    fn told(self, recorded: Recorded, at: Nanos) -> Told {
        let Self { inquiry, ruling, digest, .. } = self;
        Told { ruling, recorded, id: inquiry.id.clone(), digest, repeated: false, at }
    }
}

impl Desk {
    pub(crate) fn new(
        policies: &PoliciesNow,
        readiness: Arc<Readiness>,
        (later, terms): (Option<Arc<Later>>, Terms),
    ) -> Self {
        let PoliciesNow { log, bundles } = policies.clone();
        let buckets = Buckets::new(terms.deciders, readiness.clocks.since_boot());
        let costs = costs::Sums::default();
        Self { log, readiness, bundles, later, terms, buckets, costs }
    }

    /// Seconds for which an allow of `at` still counts.
    pub fn valid_for(&self, at: Nanos) -> u64 {
        let valid_for = self.terms.valid_for;
        self.seconds_until(at.plus_seconds(valid_for)).min(valid_for)
    }

    /// Seconds from now until then, rounded up.
    pub fn seconds_until(&self, end: Nanos) -> u64 {
        end.0.saturating_sub(self.readiness.clocks.now().0).div_ceil(1_000_000_000)
    }

    /// What was told before it was posted. `None` without a spool.
    pub fn later(&self) -> Option<&Arc<Later>> {
        self.later.as_ref()
    }

    /// What allowed calls cost at most, since the start.
    pub fn costs(&self) -> Costs {
        self.costs.all()
    }

    /// The bundle in force, read and checked; `None` without one.
    ///
    /// Errors: why it can't be used. Then nothing is decided.
    pub fn in_force(&self) -> Result<Option<Arc<Loaded>>, NotDecided> {
        self.bundles.in_force().map_err(NotDecided::NoBundle)
    }

    /// Decides the calls of one gateway, in order. Each verdict is told only once it is posted, fsynced and published.
    pub async fn decide(
        &self,
        producer: &Ident,
        inquiries: &[Inquiry<'_>],
    ) -> Result<Vec<Result<Told, NotDecided>>, NotDecided> {
        let mut told: BTreeMap<usize, Result<Told, NotDecided>> = BTreeMap::new();
        // The journal's time, once a decision was void because it named another window of a budget.
        let (mut journal, mut taken) = (None, Taken::default());
        for attempt in 0..=TRIES_MAX {
            let open = |at: &usize| !told.contains_key(at);
            let left: Vec<usize> = (0..inquiries.len()).filter(open).collect();
            if left.is_empty() {
                break;
            }
            // While the journal is away, only what a clause permits then is told; everything else has this error.
            let away = match self.readiness.clocks.stand().await {
                Ok(()) => None,
                Err(error) if self.may_tell_while_away(&error, attempt) => Some(error),
                Err(error) => return Err(error.into()),
            };
            let loaded = self.in_force()?;
            let contended = attempt == TRIES_MAX;
            let now = self.readiness.clocks.now();
            let facts = match &loaded {
                Some(loaded) if !contended => {
                    loaded.bundle.facts_in(now, journal.unwrap_or(now), false)
                }
                _ => Facts { now, ..Facts::default() },
            };
            let facts = Facts { tokens: Tokens::Keyed(self.log.redaction_key()), ..facts };
            let freezes = self.log.freezes();
            let loaded = loaded.as_deref();
            let by =
                loaded.filter(|_| !contended).ok_or(if contended { CONTENDED } else { NO_POLICY });
            let mut judge = |left: &[usize]| {
                let there = (&*self.log, self.readiness.clocks.since_boot());
                let mut supply = Shelf::new(there, &self.buckets, &mut taken);
                let judge = |at: &usize| {
                    let inquiry = &inquiries[*at];
                    let frozen =
                        freezes.stopping(&inquiry.acting(producer)).map(|(index, _)| index);
                    let frozen = frozen.filter(|_| !contended).map(Ruling::frozen);
                    let by = frozen.map_or(by.map_err(Ruling::denial), Err);
                    self.judge((*at, inquiry), (by, &facts), &mut supply)
                };
                left.iter().map(judge).collect::<Result<Vec<_>, _>>()
            };
            let mut open = judge(&left)?;
            if attempt == 0 && away.is_none() {
                open =
                    self.tell_early(producer, open, (&facts, loaded, Why::Later), &mut told).await;
            }
            let recorded = match away {
                Some(error) => Err(error.into()),
                None => self.propose(producer, open, loaded, &mut journal).await,
            };
            match recorded {
                Ok(recorded) => told.extend(recorded),
                Err(error) => {
                    if self.may_tell_unrecorded(&error, attempt) {
                        let left: Vec<_> =
                            left.into_iter().filter(|at| !told.contains_key(at)).collect();
                        let (open, why) = (judge(&left)?, Why::Unavailable);
                        self.tell_early(producer, open, (&facts, loaded, why), &mut told).await;
                    }
                    if told.is_empty() {
                        return Err(error);
                    }
                    // Some are recorded, and told. What became of the others is unknown.
                    break;
                }
            }
        }
        // A question without a verdict keeps its place.
        let one = |at| told.remove(&at).unwrap_or_else(|| Err(Error::Unknown.into()));
        Ok((0..inquiries.len()).map(one).collect())
    }

    /// True if the journal is away, and a clause may permit calls all the same. The clocks agreed not long ago.
    fn may_tell_while_away(&self, error: &Error, attempt: usize) -> bool {
        let away = matches!(error, Error::Ledger(Failure::Journal(_)));
        let clocks = &self.readiness.clocks;
        attempt == 0 && self.later.is_some() && away && clocks.agreed_within(later::CLOCKS_GOOD_FOR)
    }

    /// True if the journal did not take what was proposed.
    fn may_tell_unrecorded(&self, error: &NotDecided, attempt: usize) -> bool {
        let NotDecided::Failed(error) = error else { return false };
        let unknown = matches!(error, Error::Unknown);
        attempt == 0 && (unknown || self.may_tell_while_away(error, attempt))
    }

    /// Tells what may be told early for this reason. Returns the others.
    async fn tell_early<'q, 'a>(
        &self,
        producer: &Ident,
        open: Vec<Open<'q, 'a>>,
        (facts, loaded, why): (&Facts, Option<&Loaded>, Why),
        told: &mut BTreeMap<usize, Result<Told, NotDecided>>,
    ) -> Vec<Open<'q, 'a>> {
        let (Some(later), Some(loaded)) = (&self.later, loaded) else { return open };
        let (left, early) = later.tell(producer, open, (facts, loaded, why)).await;
        told.extend(early.into_iter().map(|(at, verdict)| (at, Ok(verdict))));
        left
    }

    /// Records the rulings. Those that were voided are missing in what it returns.
    async fn propose(
        &self,
        producer: &Ident,
        open: Vec<Open<'_, '_>>,
        loaded: Option<&Loaded>,
        journal: &mut Option<Nanos>,
    ) -> Result<Vec<(usize, Result<Told, NotDecided>)>, NotDecided> {
        let subject = Subject::verdicts(producer.clone());
        let as_of = self.log.extent().size;
        let (mut told, mut bodies, mut sent) = (Vec::new(), Vec::new(), Vec::new());
        for open in open {
            let owners: Vec<&str> = loaded.map_or_else(Vec::new, |loaded| {
                loaded.bundle.owners(&open.inquiry.request.agent).collect()
            });
            let tenant = self.log.tenant();
            let body = open.ruling.event(open.inquiry, tenant, &open.facts, (as_of, &owners), None);
            if let Err(refused) = event::check_ours(&body) {
                told.push((open.at, Err(refused.into())));
                continue;
            }
            bodies.push(body);
            sent.push(open);
        }
        // While it is held, no other journal key takes over: what is signed here is posted under the same key.
        let _same_key = self.readiness.keep_rules().await;
        let outcomes = self.log.propose(&subject, bodies).await?;
        for (open, outcome) in sent.into_iter().zip(outcomes) {
            let at = open.at;
            let result = match outcome {
                Outcome::Posted { index } => self.posted(index, open),
                Outcome::Duplicate { index } => self.repeated(index),
                Outcome::Conflict { first, .. } => Err(NotDecided::Conflict { first }),
                Outcome::Void { index, why: Voided::Window } => {
                    *journal = self.time_of(index)?;
                    continue;
                }
                Outcome::Void { .. } | Outcome::Rejected { refused: Refused::Signature, .. } => {
                    continue;
                }
                Outcome::Rejected { .. } | Outcome::Nothing => Err(Error::Unknown.into()),
            };
            told.push((at, result));
        }
        Ok(told)
    }

    fn posted(&self, index: u64, open: Open<'_, '_>) -> Result<Told, NotDecided> {
        let entry = self.log.entry(index).map_err(Error::from)?.ok_or(Error::Unknown)?;
        let view = View::parse(&entry).ok_or(Error::Unknown)?;
        let approval = view.scope().approval_id(self.log.tenant());
        let recorded = Recorded::Entry { index, leaf: leaf_hash(&entry), approval };
        if open.ruling.verdict == event::Verdict::Allow && !open.ruling.only_observes {
            self.costs.note(&open.inquiry.request);
        }
        Ok(open.told(recorded, view.origin.time))
    }

    /// The freeze that stops the call of a decision: the leaf index at which it began.
    fn stopped(&self, view: &View<'_>) -> Option<u64> {
        let freezes = self.log.freezes();
        let data = view.at(&["event", "data"]).filter(|_| !freezes.is_empty())?;
        let call = Acting::of(view.text(&["producer"]).unwrap_or_default(), data);
        freezes.stopping(&call).map(|(index, _)| index)
    }

    /// The verdict that an earlier request got.
    fn repeated(&self, index: u64) -> Result<Told, NotDecided> {
        let entry = self.log.entry(index).map_err(Error::from)?.ok_or(Error::Unknown)?;
        let payload = self.log.payload(index, &entry).map_err(Error::from)?;
        let view = View::parse(&entry).ok_or(Error::Unknown)?;
        let fields: Fields = payload.values();
        let ruling = Ruling::of_entry(&view, &fields).ok_or(Error::Unknown)?;
        let at = view.origin.time;
        // An old denial is still a denial, and what people decide has deadlines of its own.
        let permits = ruling.verdict.permits();
        // Without all of its payload, its obligations may be gone.
        let whole = view.payload().count() == fields.len();
        let valid_for = self.terms.valid_for;
        let late = self.readiness.clocks.now() > at.plus_seconds(valid_for);
        let may_permit = permits || ruling.verdict == event::Verdict::ApprovalNeeded;
        if permits && let Some(freeze) = self.stopped(&view) {
            return Err(NotDecided::Frozen { index, freeze });
        }
        if permits && late || may_permit && !whole {
            return Err(NotDecided::Stale { valid_for, index, at });
        }
        Ok(Told {
            ruling,
            recorded: Recorded::Entry {
                index,
                leaf: leaf_hash(&entry),
                approval: view.scope().approval_id(self.log.tenant()),
            },
            id: view.scope().id.to_owned(),
            digest: view.text(&["event", "data", "call", "digest"]).unwrap_or_default().to_owned(),
            repeated: true,
            at,
        })
    }
}
