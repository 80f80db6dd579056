//! Replicas in the configuration.

use ledger::{
    ident::Ident,
    journal::jetstream::register::COPIES_MIN,
    keyring,
    log::{
        cosignature::Cosigner,
        members::{self, Member, REPLICAS_MAX, REPLICAS_MIN},
        replicas::Members,
    },
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

/// This server as one of several that sign together, as written.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Setup {
    /// Name of this replica, one of `members`.
    pub name: String,
    /// File of this replica's own cosigner key. `countersign replica key` makes it. It is never copied.
    pub key_file: PathBuf,
    /// Public key of each replica of the first set (type 4: `name+8 hex digits+base64`), by its name; 3 to 7, the same on each
    /// of them. Later sets are in the log (`countersign replica add | remove | replace`).
    pub members: BTreeMap<String, String>,
    /// Monitoring ports of the nats-servers, for example `http://10.0.0.1:8222`: a start is refused if one of them acknowledges
    /// before it stores. Without them that is not checked.
    #[serde(default)]
    pub monitors: Vec<String>,
}

impl Setup {
    /// Reads the key file. The rest was checked.
    pub fn open(&self) -> Result<Arc<Members>, String> {
        let wrong = |what: &str, why: String| format!("replica.{what}: {why}");
        let key = keyring::cosigner_key(&self.key_file);
        let key = key.map_err(|error| wrong("key_file", error.to_string()))?;
        let own = Ident::new(&self.name).map_err(|error| wrong("name", error.to_string()))?;
        let all = self.members().map_err(|why| wrong("members", why))?;
        Members::new(own, key, all).map(Arc::new).map_err(|why| wrong("members", why))
    }

    /// The members, in the order of their names.
    pub fn members(&self) -> Result<Vec<Member>, String> {
        let member = |(name, vkey): (&String, &String)| {
            let key = Cosigner::parse(vkey).map_err(|error| format!("{name}: {error}"))?;
            let name = Ident::new(name).map_err(|error| format!("{name}: {error}"))?;
            Ok(Member { name, key })
        };
        self.members.iter().map(member).collect()
    }

    /// Name of the key of a replica. It begins as the origins of this installation do, so a verifier sees whose it is.
    pub fn key_name(host: &str, replica: &str) -> String {
        members::key_name(host, replica)
    }

    /// Makes the key file if it is not there. Returns the public key.
    pub fn make_key(path: &Path, host: &str, replica: &str) -> Result<Cosigner, keyring::Error> {
        keyring::make_cosigner_key(path, &Self::key_name(host, replica))
    }
}

/// Every mistake in the replicas of a configuration, each a line that says what to do.
///
/// `copies`: of the journal's streams; `None` if it is embedded.
pub fn mistakes(setup: Option<&Setup>, copies: Option<usize>) -> Vec<String> {
    let Some(setup) = setup else { return Vec::new() };
    let mut wrong = Vec::new();
    match copies {
        None => wrong.push(
            "replica: replicas need one journal that all of them reach: [journal] kind = \"jetstream\"".into(),
        ),
        Some(copies) if (copies as u64) < COPIES_MIN => wrong.push(format!(
            "journal.replicas: at least {COPIES_MIN} with [replica]: otherwise one NATS server that is lost stops all"
        )),
        Some(_) => {}
    }
    if Ident::new(&setup.name).is_err() {
        wrong.push("replica.name: a name of a-z, 0-9 and -".into());
    }
    if !(REPLICAS_MIN..=REPLICAS_MAX).contains(&setup.members.len()) {
        wrong.push(format!(
            "replica.members: {REPLICAS_MIN} to {REPLICAS_MAX}: those with which the log began to be cosigned"
        ));
    }
    for address in &setup.monitors {
        wrong.extend(
            super::monitor::mistake(address)
                .map(|why| format!("replica.monitors: {address}: {why}")),
        );
    }
    match setup.members() {
        Err(why) => wrong.push(format!("replica.members.{why}")),
        Ok(members) => {
            for (at, member) in members.iter().enumerate() {
                let bytes = member.key.public_bytes();
                if let Some(other) = members[..at].iter().find(|m| m.key.public_bytes() == bytes) {
                    wrong.push(format!(
                        "replica.members.{}: it has the key of {}: each replica has its own",
                        member.name, other.name
                    ));
                }
            }
        }
    }
    wrong
}
