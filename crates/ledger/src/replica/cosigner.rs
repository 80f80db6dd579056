//! Answers what other replicas propose: a cosignature, or why not (P21).

use super::{Quorum, lost};
use crate::{
    guard::Mark,
    log::{checkpoint::Checkpoint, replicas},
    post::Keys,
    writer::EXIT_WRITE_FAILED,
};
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};

/// Longest wait until a proposed size is posted here.
const POSTED_WAIT: Duration = Duration::from_millis(500);

/// What a replica answers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Said {
    /// The process that answers.
    pub process: String,
    /// Tree size that it has posted.
    pub posted: u64,
    /// Journal sequence up to which it has posted.
    pub journal: u64,
    /// Tree size that it last cosigned.
    pub cosigned: u64,
    /// Tree size that it shows.
    pub shown: u64,
    /// Largest tree size that it has cosigned or knows from the register. Absent while it may cosign nothing: it may have
    /// forgotten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub knows: Option<u64>,
    /// Digest of the set of replicas that it holds to be in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<String>,
    /// The cosignature: a line of the note.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<String>,
    /// That what it was asked to say of its machine is so: a signature, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statement: Option<String>,
    /// Its promise about journal messages that are gone: a signature, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promise: Option<String>,
    /// What these messages gave here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gave: Option<lost::Gave>,
    /// Why there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

impl Quorum {
    /// Answers a request: a note that is proposed, a question about this machine or about lost messages, or nothing, which asks how
    /// this replica stands.
    pub(super) async fn answer(&self, body: Vec<u8>) -> Vec<u8> {
        let (mut line, mut refused, mut statement) = (None, None, None);
        let (mut promise, mut gave) = (None, None);
        if let Some(said) = self.lost(&body) {
            (promise, gave, refused) = (said.promise, said.gave, said.refused);
        } else if let Some(said) = self.statement(&body) {
            match said {
                Ok(signature) => statement = Some(signature),
                Err(why) => refused = Some(why),
            }
        } else if !body.is_empty() {
            let said = match std::str::from_utf8(&body) {
                Ok(note) => self.cosign(note).await,
                Err(_) => Err("it is no text".into()),
            };
            match said {
                Ok(cosignature) => line = Some(cosignature),
                Err(why) => refused = Some(why),
            }
        }
        let said = Said { line, statement, promise, gave, refused, ..self.stands() };
        serde_json::to_vec(&said).unwrap_or_default()
    }

    /// How this replica stands.
    pub(super) fn stands(&self) -> Said {
        let cosigned = self.guard.lock().mark(&self.tenant.origin).map_or(0, |mark| mark.size);
        let (posted, journal) = {
            let ready = self.replica().ready();
            let ready = ready.borrow();
            (ready.size, ready.journal)
        };
        Said {
            process: self.process.clone(),
            posted,
            journal,
            cosigned,
            shown: self.tenant.published().size,
            knows: self.may_cosign().is_ok().then(|| cosigned.max(self.seen.borrow().size())),
            set: Some(self.replica().set().digest()),
            line: None,
            statement: None,
            promise: None,
            gave: None,
            refused: None,
        }
    }

    /// Cosigns a proposed checkpoint: a line.
    pub(super) async fn cosign(&self, note: &str) -> Result<String, String> {
        self.may_cosign()?;
        let keys = self.posted_keys(note).await?;
        let signing = |size| keys.signers(size);
        let proposed = replicas::proposed(note, &self.tenant.origin, signing);
        let proposed = proposed.map_err(|error| error.to_string())?;
        tokio::task::block_in_place(|| self.cosign_posted(&proposed))
    }

    /// The log's keys once a proposed size is posted here. Waits a moment for that, if somebody with a key of the log proposes it: nobody
    /// else makes this replica wait.
    async fn posted_keys(&self, note: &str) -> Result<Arc<Keys>, String> {
        let size = replicas::size_of(note);
        let mut ready = self.replica().ready();
        let (posted, keys) = {
            let now = ready.borrow();
            (now.size, Arc::clone(&now.keys))
        };
        if size > 0 && posted >= size {
            return Ok(keys);
        }
        let lacks = || {
            let posted = self.replica().ready().borrow().size;
            format!("it has posted {posted} entries, and {size} are proposed")
        };
        let lists = self.tenant.log_keys_at(size);
        let is_signed = lists
            .iter()
            .any(|keys| replicas::proposed(note, &self.tenant.origin, |_| keys.clone()).is_ok());
        let waits = self.waits.try_acquire();
        if size == 0 || !is_signed || waits.is_err() {
            return Err(lacks());
        }
        let posted = tokio::time::timeout(POSTED_WAIT, ready.wait_for(|now| now.size >= size));
        match posted.await {
            Ok(Ok(now)) => Ok(Arc::clone(&now.keys)),
            _ => Err(lacks()),
        }
    }

    /// Why this replica cosigns nothing now.
    pub(super) fn may_cosign(&self) -> Result<(), String> {
        if let Some(reason) = self.tenant.halted() {
            return Err(format!("its log is halted: {reason}"));
        }
        if let Some(why) = self.not_asked() {
            return Err(why);
        }
        let seen = self.seen.borrow();
        if !seen.is_whole {
            let why = "it has just started, and does not know the register yet";
            let unread = "the value in the register can't be read. A replica that runs since before puts the newest one back; if none \
                          does, see `register_ignored` in the runbook";
            return Err(if seen.unread.is_some() { unread } else { why }.into());
        }
        drop(seen);
        self.guard.place().check().map_err(|error| error.to_string())
    }

    /// Why nobody needs a cosignature of this replica: it is not in the set in force, and not in one that must still agree to a
    /// change.
    pub(super) fn not_asked(&self) -> Option<String> {
        let needed = self.needed(self.replica().ready().borrow().size);
        let is_needed = needed.iter().any(|set| set.has(self.replica().members.this()));
        if is_needed { None } else { self.replica().not_a_member() }
    }

    /// Cosigns a checkpoint of what is posted here. The root is computed from the stored tiles, and the guard is durable
    /// before anybody can have the cosignature.
    fn cosign_posted(&self, proposed: &Checkpoint) -> Result<String, String> {
        let Checkpoint { origin, size, root } = proposed;
        let of = |size| self.ledger.stored_root(&self.tenant, size).map_err(|e| e.to_string());
        let own = of(*size)?;
        if own != *root {
            let why = format!("at size {size} its root is {own}, and {root} is proposed");
            self.differs(&why);
            return Err(why);
        }
        self.kept_promises(*size)?;
        let mut guard = self.guard.lock();
        let seen = self.seen.borrow().newest.clone();
        if let Some(newest) = seen.filter(|newest| newest.checkpoint.size >= *size) {
            if newest.checkpoint.size > *size {
                let size = newest.checkpoint.size;
                return Err(format!("a majority has cosigned size {size} already"));
            }
            if newest.checkpoint.root != *root {
                return Err(format!("a majority has cosigned another root of size {size}"));
            }
        }
        let known = guard.mark(origin).cloned();
        let known = known.ok_or("its guard knows nothing of this log")?;
        if known.size > *size {
            return Err(format!("it has cosigned size {} already", known.size));
        }
        if known.size > 0 && of(known.size)? != known.root {
            let why = format!("its tiles no longer give what it cosigned at size {}", known.size);
            self.differs(&why);
            return Err(why);
        }
        let mark = Mark { origin: origin.clone(), size: *size, root: *root };
        if known != mark
            && let Err(error) = guard.advance(&[mark])
        {
            // What is in the file is unknown, so nothing may be cosigned any more.
            tracing::error!(%error, "the guard could not be written; ending the process, nothing was cosigned");
            std::process::exit(EXIT_WRITE_FAILED);
        }
        drop(guard);
        let time = self.tenant.now().seconds().max(1);
        Ok(self.replica().members.cosign(time, proposed))
    }

    fn differs(&self, why: &str) {
        let tenant = &self.tenant.name;
        tracing::error!(%tenant, why, "replicas differ: this one did not cosign");
        self.replica().alarm(|alarms| alarms.differs = Some(why.to_owned()));
    }
}
