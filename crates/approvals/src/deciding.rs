//! Decides calls of agents by the policies in force, and records each verdict before it is told (P14).
//!
//! A decider proposes, posting confirms: the message names the bundle and the versions of lists by which it was judged,
//! and posting voids it if others are in force at its place. Then it is decided anew.

mod bundles;
mod clerk;
mod later;
mod probe;

pub use bundles::{Loaded, bundle_entry, content, lists_at, load};
pub use clerk::{Clerk, NotSpent, Proposal, Question, Simulation};
pub use later::{Later, ToldEarly};

use crate::{
    commands::{Error, Readiness},
    log::Log,
};
use bundles::Bundles;
use decider::{
    decision::Fields,
    policy::{CONTENDED, Facts, Inquiry, NO_POLICY, Ruling, Why},
};
use ledger::{
    Error as Failure,
    entry::View,
    event::{self, Refused},
    ident::Ident,
    journal::Subject,
    log::merkle::{Hash, leaf_hash},
    post::Outcome,
    spool::SpoolPlace,
    time::Nanos,
};
use std::{collections::BTreeMap, sync::Arc};

/// How often a call is decided, each time because what it rested on changed in between: once, and three times anew.
const TRIES_MAX: usize = 4;
/// Seconds for which a verdict counts, unless the configuration says otherwise: a repetition after that is no permission.
pub const VALID_FOR_SECONDS: u64 = 60;
/// Most seconds for which a verdict may count.
pub const VALID_FOR_SECONDS_MAX: u64 = 900;

/// Where a verdict is recorded.
#[derive(Clone, Debug)]
pub enum Recorded {
    /// In the log.
    Entry {
        /// Leaf index of its entry.
        index: u64,
        /// Leaf hash of its entry.
        leaf: Hash,
        /// The approval that it opens, if people must decide.
        approval: Ident,
    },
    /// In this server's spool: it is posted later.
    Spool(SpoolPlace),
}

/// A verdict that is recorded.
#[derive(Clone, Debug)]
pub struct Told {
    /// The verdict and its reasons.
    pub ruling: Ruling,
    /// Where it is recorded.
    pub recorded: Recorded,
    /// `id` of the question.
    pub id: String,
    /// The call digest.
    pub digest: String,
    /// True if an earlier request got it.
    pub repeated: bool,
    /// When the journal took it; of one that is not there yet, when it was judged.
    pub at: Nanos,
}

impl Told {
    /// Leaf index of its entry, if it has one.
    pub fn index(&self) -> Option<u64> {
        match &self.recorded {
            Recorded::Entry { index, .. } => Some(*index),
            Recorded::Spool(_) => None,
        }
    }
}

/// Why a question gets no verdict.
#[derive(Debug, thiserror::Error)]
pub enum NotDecided {
    /// The question can't be recorded: it breaks a limit of events.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Another call has this source and id.
    #[error("entry {first} has this source and id for another call: use a new id for a new call")]
    Conflict {
        /// Leaf index of that decision.
        first: u64,
    },
    /// It was answered long ago, or a part of the answer was erased: it is no permission any more.
    #[error(
        "entry {index} answered this question at {at}; a verdict counts for {valid_for} s, and while all of it is there. \
         Ask with a new id"
    )]
    Stale {
        /// Seconds for which a verdict counts.
        valid_for: u64,
        /// Leaf index of that decision.
        index: u64,
        /// When it was recorded.
        at: Nanos,
    },
    /// The bundle in force can't be read here.
    #[error("the policies in force can't be used: {0}")]
    NoBundle(String),
    /// Nothing can be recorded now.
    #[error(transparent)]
    Failed(#[from] Error),
}

/// Decides the calls of one tenant's agents.
pub struct Desk {
    log: Arc<dyn Log>,
    readiness: Arc<Readiness>,
    bundles: Bundles,
    /// What may be told before it is posted. `None` without a spool: then nothing is.
    later: Option<Arc<Later>>,
    /// Seconds for which a verdict counts.
    valid_for: u64,
}

/// One question on its way.
struct Open<'q, 'a> {
    at: usize,
    inquiry: &'q Inquiry<'a>,
    ruling: Ruling,
    digest: String,
}

impl Open<'_, '_> {
    fn told(self, recorded: Recorded, at: Nanos) -> Told {
        let Self { inquiry, ruling, digest, .. } = self;
        Told { ruling, recorded, id: inquiry.id.clone(), digest, repeated: false, at }
    }
}

impl Desk {
    pub(crate) fn new(
        log: Arc<dyn Log>,
        readiness: Arc<Readiness>,
        (later, valid_for): (Option<Arc<Later>>, u64),
    ) -> Self {
        Self { bundles: Bundles::new(Arc::clone(&log)), log, readiness, later, valid_for }
    }

    /// Seconds for which an allow of `at` still counts.
    pub fn valid_for(&self, at: Nanos) -> u64 {
        let (end, now) = (at.plus_seconds(self.valid_for), self.readiness.clocks.now());
        end.0.saturating_sub(now.0).div_ceil(1_000_000_000).min(self.valid_for)
    }

    /// What was told before it was posted. `None` without a spool.
    pub fn later(&self) -> Option<&Arc<Later>> {
        self.later.as_ref()
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
            let facts_of = |at: Nanos| match &loaded {
                Some(loaded) if !contended => loaded.bundle.facts(at, false),
                _ => Facts { now: at, ..Facts::default() },
            };
            let facts = facts_of(self.readiness.clocks.now());
            let judge = |at: usize| {
                let inquiry = &inquiries[at];
                let ruling = match loaded.as_deref() {
                    _ if contended => Ruling::denial(CONTENDED),
                    None => Ruling::denial(NO_POLICY),
                    Some(Loaded { bundle, version, .. }) => {
                        Ruling::of(bundle, *version, &inquiry.request, &facts)
                    }
                };
                let digest = inquiry.digest(self.log.tenant());
                Open { at, inquiry, ruling, digest }
            };
            let mut open: Vec<Open<'_, '_>> = left.iter().copied().map(judge).collect();
            let loaded = loaded.as_deref();
            if attempt == 0 && away.is_none() {
                open =
                    self.tell_early(producer, open, (&facts, loaded, Why::Later), &mut told).await;
            }
            let recorded = match away {
                Some(error) => Err(error.into()),
                None => self.propose(producer, open, (&facts, loaded)).await,
            };
            match recorded {
                Ok(recorded) => told.extend(recorded),
                Err(error) => {
                    if self.may_tell_unrecorded(&error, attempt) {
                        let open = left.into_iter().filter(|at| !told.contains_key(at)).map(judge);
                        let unavailable = (&facts, loaded, Why::Unavailable);
                        self.tell_early(producer, open.collect(), unavailable, &mut told).await;
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
        (facts, loaded): (&Facts, Option<&Loaded>),
    ) -> Result<Vec<(usize, Result<Told, NotDecided>)>, NotDecided> {
        let subject = Subject::verdicts(producer.clone());
        let as_of = self.log.extent().size;
        let (mut told, mut bodies, mut sent) = (Vec::new(), Vec::new(), Vec::new());
        for open in open {
            let owners: Vec<&str> = loaded.map_or_else(Vec::new, |loaded| {
                loaded.bundle.owners(&open.inquiry.request.agent).collect()
            });
            let tenant = self.log.tenant();
            let body = open.ruling.event(open.inquiry, tenant, facts, (as_of, &owners), None);
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
        Ok(open.told(recorded, view.origin.time))
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
        let permits = ruling.verdict == event::Verdict::Allow;
        // Without all of its payload, its obligations may be gone.
        let whole = view.payload().count() == fields.len();
        let valid_for = self.valid_for;
        let late = self.readiness.clocks.now() > at.plus_seconds(valid_for);
        let may_permit = permits || ruling.verdict == event::Verdict::ApprovalNeeded;
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
