//! Journal messages that are gone, and nothing explains it: what the replicas know of them (P3, P21).
//!
//! A replica says that it has no entry of them only if its own posting stands before them and it has seen the hole itself, or if it
//! has posted past them and they gave nothing. It promises never to post them, durably, before it says so. Nothing follows from an
//! answer that does not come.

use super::Quorum;
use crate::{
    guard::Shared,
    ident::Ident,
    journal::{
        Error,
        jetstream::{Jetstream, peers::Peers},
    },
    keyring,
    ledger::Ledger,
    log::{
        members::Member,
        merkle::Hash,
        replicas::{Agreed, Missing, Posted, Promise},
    },
    post::Position,
    tenant::{Replica, Tenant},
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Longest wait for an answer.
const WAIT: Duration = Duration::from_secs(2);

/// The question what a replica knows of journal messages.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Asked {
    lost: Lost,
    /// 32 hex digits at random: an old answer is no answer.
    nonce: String,
}

/// Journal messages that are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// Journal epoch.
    pub epoch: u64,
    /// The first missing sequence.
    pub from: u64,
    /// The last missing sequence.
    pub to: u64,
}

impl Lost {
    fn missing<'a>(&self, origin: &'a str, size: u64) -> Missing<'a> {
        Missing { origin, epoch: self.epoch, from: self.from, to: self.to, size }
    }
}

/// The first entry that they gave, where a replica has posted them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Gave {
    /// Its leaf index.
    index: u64,
    /// Its leaf hash.
    leaf_hash: Hash,
    /// By the replica's key, in base64.
    signature: String,
}

/// What a replica answers.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Answer {
    /// Its promise: a signature, in base64.
    #[serde(default)]
    pub(super) promise: Option<String>,
    /// What they gave there.
    #[serde(default)]
    pub(super) gave: Option<Gave>,
    /// Why it says neither.
    #[serde(default)]
    pub(super) refused: Option<String>,
}

/// What follows from the answers.
#[derive(Debug)]
pub enum Found {
    /// A majority has promised not to post them.
    Agreed(Agreed),
    /// A replica has posted them.
    Posted {
        /// Its name.
        by: Ident,
        /// Leaf index of the first entry that they gave.
        index: u64,
    },
    /// Neither is known yet. In words: who says what.
    Open(String),
}

impl Quorum {
    /// Answers what this replica knows of journal messages. `None` if it was not asked that.
    pub(super) fn lost(&self, body: &[u8]) -> Option<Answer> {
        let asked: Asked = serde_json::from_slice(body).ok()?;
        let refused = self.tenant.halted().map(|reason| format!("its log is halted: {reason}"));
        let refused = refused.or_else(|| self.not_asked());
        let checked = || self.guard.place().check().err().map(|error| error.to_string());
        if let Some(why) = refused.or_else(checked) {
            return Some(Answer { refused: Some(why), ..Answer::default() });
        }
        let said = tokio::task::block_in_place(|| self.said(&asked));
        Some(said.unwrap_or_else(|why| Answer { refused: Some(why), ..Answer::default() }))
    }

    /// What this replica knows. What it has promised it says again, whatever is in its database now.
    fn said(&self, Asked { lost, nonce }: &Asked) -> Result<Answer, String> {
        let (tenant, replica) = (&self.tenant, self.replica());
        let (Lost { epoch, from, to }, promises) = (*lost, self.guard.promises());
        let position = tenant.position();
        if position.epoch != epoch || from == 0 || from > to {
            return Err(format!("it is in journal epoch {}", position.epoch));
        }
        let promise = |size| {
            let promise = replica.members.promise(&lost.missing(&tenant.origin, size));
            Ok(Answer { promise: Some(promise), ..Answer::default() })
        };
        let has_promised = promises.covers(&tenant.origin, epoch, (from, to));
        if position.posted < from {
            if position.posted + 1 == from && has_promised {
                return promise(position.size);
            }
            return Err(format!(
                "it has posted the journal up to {}, and has not found {from} to {to} missing itself",
                position.posted
            ));
        }
        let gave = self.ledger.gave(tenant, &position, (epoch, from, to));
        let (size, first) = gave.map_err(|error| error.to_string())?;
        if let Some((index, leaf_hash)) = first {
            if has_promised && !self.is_cosigned(index) {
                return promise(size);
            }
            let origin = &tenant.origin;
            let posted = Posted { origin, epoch, from, to, nonce, index, leaf_hash };
            let signature = replica.members.posted(&posted);
            let gave = Some(Gave { index, leaf_hash, signature });
            return Ok(Answer { gave, ..Answer::default() });
        }
        if position.posted < to {
            return Err(format!(
                "it has posted the journal up to {}, within them",
                position.posted
            ));
        }
        // They gave nothing, and posting never goes back. A database that is restored must know it too.
        let kept = promises.keep(&tenant.origin, epoch, (from, to));
        kept.map_err(|error| error.to_string())?;
        promise(size)
    }
}

/// Asks the members in force what they know of messages that are gone from the journal, where this replica's posting stands before
/// them. If nobody has posted them, this replica promises not to.
///
/// [`Error::Unavailable`] if it can't be known now: the message is there again, or the register is not followed yet.
pub async fn ask(
    stream: &Jetstream,
    ledger: &Ledger,
    (tenant, replica): (&Tenant, &Replica),
    (lost, position): (Lost, &Position),
) -> Result<Found, Error> {
    let guard = ledger.shared_guard().ok_or_else(|| Error::Halt("a replica has a guard".into()))?;
    let set = replica.set();
    let (mut promises, mut words, mut posted) = (Vec::new(), Vec::new(), None);
    for member in set.members.iter().filter(|member| *member != replica.members.this()) {
        match asked_one(stream, tenant, (member, lost, position.size)).await {
            Ok(Told::Promise(promise)) => {
                words.push(format!("{} has not posted them, and will not", member.name));
                promises.push(promise);
            }
            Ok(Told::Posted(index)) => {
                posted.get_or_insert((member.name.clone(), index));
            }
            Err(why) => words.push(format!("{}: {why}", member.name)),
        }
    }
    let Lost { epoch, from, to } = lost;
    let has_promised = guard.promises().covers(&tenant.origin, epoch, (from, to));
    if let Some((by, index)) = posted {
        let is_cosigned = replica.certified() > index;
        // What is promised can't be taken back. If a majority has promised, whoever has posted them will never be cosigned.
        if is_cosigned || !has_promised {
            return Ok(Found::Posted { by, index });
        }
        words.push(format!(
            "{by} has posted them (entry {index}), and no majority has cosigned that"
        ));
    }
    if let Err(why) = may_promise(replica, position) {
        words.push(format!("this one: {why}"));
    } else {
        check_is_gone(stream, guard, tenant, lost).await?;
        let keep = || guard.promises().keep(&tenant.origin, epoch, (from, to));
        tokio::task::block_in_place(keep).map_err(|error| Error::Halt(error.to_string()))?;
        let signature = replica.members.promise(&lost.missing(&tenant.origin, position.size));
        promises.push(Promise { name: replica.members.own().clone(), signature });
    }
    let missing = lost.missing(&tenant.origin, position.size);
    let got = promises.len();
    Ok(match Agreed::of(&missing, &set, promises) {
        Some(agreed) => Found::Agreed(agreed),
        None => Found::Open(format!(
            "{got} of {} have signed that they have not posted them, and {} must: {}",
            set.members.len(),
            set.majority(),
            words.join("; ")
        )),
    })
}

/// Why this replica must not say that it has not posted them.
fn may_promise(replica: &Replica, position: &Position) -> Result<(), String> {
    if let Some(why) = replica.not_a_member() {
        return Err(why);
    }
    if !replica.knows_register() {
        return Err("it does not know the register yet".into());
    }
    // A majority has posted past this place, perhaps this replica too, before it was begun anew.
    let certified = replica.certified();
    if certified > position.size {
        return Err(format!(
            "a majority has cosigned {certified} entries, and it has posted {}",
            position.size
        ));
    }
    Ok(())
}

/// The stream's leader must say that the messages are gone. What was promised once stays promised.
async fn check_is_gone(
    stream: &Jetstream,
    guard: &Shared,
    tenant: &Tenant,
    Lost { epoch, from, to }: Lost,
) -> Result<(), Error> {
    guard.place().check().map_err(|error| Error::Halt(error.to_string()))?;
    if guard.promises().covers(&tenant.origin, epoch, (from, to)) {
        return Ok(());
    }
    let is_gone = match stream.next_from(from).await? {
        Some(next) => next.seq > to,
        None => stream.state().await?.last >= to,
    };
    if is_gone {
        return Ok(());
    }
    Err(Error::Unavailable(format!("journal message {from} is there again; reading again")))
}

/// What one of them has told, verified.
enum Told {
    Promise(Promise),
    Posted(u64),
}

async fn asked_one(
    stream: &Jetstream,
    tenant: &Tenant,
    (member, lost, size): (&Member, Lost, u64),
) -> Result<Told, String> {
    let nonce = keyring::random_name();
    let asked = Asked { lost, nonce };
    let body = serde_json::to_vec(&asked).unwrap_or_default();
    let answer = Peers::new(stream.connection(), &tenant.name).ask(&member.name, body, WAIT).await;
    let answer = answer.map_err(|error| error.to_string())?;
    let answer: Answer =
        serde_json::from_slice(&answer).map_err(|_| "its answer is unreadable".to_owned())?;
    judged(&tenant.origin, (member, &asked, size), answer)
}

/// Only what a member has signed counts.
fn judged(
    origin: &str,
    (member, Asked { lost, nonce }, size): (&Member, &Asked, u64),
    answer: Answer,
) -> Result<Told, String> {
    let Lost { epoch, from, to } = *lost;
    let wrong = || "its answer has a wrong signature, or is of another place".to_owned();
    match answer {
        Answer { gave: Some(Gave { index, leaf_hash, signature }), .. } => {
            let posted = Posted { origin, epoch, from, to, nonce, index, leaf_hash };
            posted.is_said_by(member, &signature).then_some(Told::Posted(index)).ok_or_else(wrong)
        }
        Answer { promise: Some(signature), .. } => {
            let name = member.name.clone();
            let is_promised = lost.missing(origin, size).is_promised_by(member, &signature);
            is_promised.then_some(Told::Promise(Promise { name, signature })).ok_or_else(wrong)
        }
        Answer { refused, .. } => Err(refused.unwrap_or_else(|| "it does not say".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{cosignature::CosignerKey, merkle::leaf_hash, replicas::Members};

    const ORIGIN: &str = "log.example/v1/tenants/acme/logs/1";
    const LOST: Lost = Lost { epoch: 1, from: 5, to: 6 };

    fn of(own: &str) -> Members {
        let key = |name: &str| CosignerKey::new(&format!("l/{name}"), &[name.as_bytes()[0]; 32]);
        let name = |name: &str| Ident::new(name).unwrap();
        let member = |of: &str| Member { name: name(of), key: key(of).public().clone() };
        Members::new(name(own), key(own), ["a", "b", "c"].map(member).into()).unwrap()
    }

    #[test]
    fn p21_only_what_a_member_has_signed_counts() {
        let (a, b) = (of("a"), of("b"));
        let asked = Asked { lost: LOST, nonce: "n".into() };
        let check = |what: &str, answer: Answer, expected: Option<bool>| {
            let told = judged(ORIGIN, (a.this(), &asked, 9), answer).ok();
            let told = told.map(|told| matches!(told, Told::Promise(_)));
            assert_eq!(told, expected, "{what}");
        };
        let promise = |of: &Members, lost: Lost, size| Answer {
            promise: Some(of.promise(&lost.missing(ORIGIN, size))),
            ..Answer::default()
        };
        check("a promise", promise(&a, LOST, 9), Some(true));
        check("another's", promise(&b, LOST, 9), None);
        check("of another tree size", promise(&a, LOST, 8), None);
        check("of other messages", promise(&a, Lost { to: 5, ..LOST }, 9), None);
        check("of another epoch", promise(&a, Lost { epoch: 2, ..LOST }, 9), None);
        let gave = |of: &Members, nonce| {
            let (index, leaf_hash) = (9, leaf_hash(b"x"));
            let posted =
                Posted { origin: ORIGIN, epoch: 1, from: 5, to: 6, nonce, index, leaf_hash };
            let gave = Some(Gave { index, leaf_hash, signature: of.posted(&posted) });
            Answer { gave, ..Answer::default() }
        };
        check("what they gave", gave(&a, "n"), Some(false));
        check("an old answer", gave(&a, "m"), None);
        check("another's answer", gave(&b, "n"), None);
        check("nothing", Answer::default(), None);
        let both = Answer { promise: promise(&a, LOST, 9).promise, ..gave(&a, "n") };
        check("who posted them can't promise too", both, Some(false));
    }
}
