//! Whether every replica has the file of a key that all of them need: an operator copies it, and each says for itself that it is
//! there (P21). Before all have said so, nothing switches to the key.

use super::Quorum;
use crate::{
    ident::Ident,
    journal::jetstream::{Connection, peers::Peers},
    keyring,
    log::{
        members::Member,
        note::Vkey,
        replicas::{Holding, Members},
    },
    tenant::Tenant,
};
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Longest wait for an answer.
const WAIT: Duration = Duration::from_secs(3);

/// The question whether a replica has the file of a key.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct HoldingAsked {
    /// The public key.
    holds: String,
    /// 32 hex digits at random: an old answer is no answer.
    nonce: String,
}

/// What a replica of a release that can say it answers.
#[derive(Debug, Deserialize)]
struct Answer {
    #[serde(default)]
    holding: Option<String>,
    #[serde(default)]
    refused: Option<String>,
}

impl Quorum {
    /// Answers whether this replica has the file of a key, signed with its own. Reads the files again, so that a key that was
    /// just copied can be used. `None` if it was not asked that.
    pub(super) fn holding(&self, body: &[u8]) -> Option<Result<String, String>> {
        let asked: HoldingAsked = serde_json::from_slice(body).ok()?;
        Some(tokio::task::block_in_place(|| {
            let holding = self.holding_of(&asked);
            holding.map(|holding| self.replica().members.holding(&holding))
        }))
    }

    fn holding_of<'a>(&'a self, asked: &'a HoldingAsked) -> Result<Holding<'a>, String> {
        let vkey = Vkey::parse(&asked.holds).map_err(|error| error.to_string())?;
        if let Err(error) = self.tenant.refresh_keys() {
            return Err(error.to_string());
        }
        self.tenant
            .with_keys(|ring| ring.signer(&vkey).map(drop))
            .map_err(|_| format!("it has no file of the key {}", vkey.label()))?;
        let origin = &self.tenant.origin;
        Ok(Holding { origin, vkey: &asked.holds, nonce: &asked.nonce })
    }
}

/// Those of these members that do not answer now, this replica left out.
pub async fn silent(connection: &Connection, tenant: &Tenant, members: &[Member]) -> Vec<Ident> {
    let Some(replica) = tenant.replica() else { return Vec::new() };
    let peers = Peers::new(connection, &tenant.name);
    let mut silent = Vec::new();
    for member in members.iter().filter(|member| *member != replica.members.this()) {
        if peers.ask(&member.name, Vec::new(), WAIT).await.is_err() {
            silent.push(member.name.clone());
        }
    }
    silent
}

/// The members of the set in force that have not said that they have the file of a key, and why. Empty if all have.
pub async fn lacking(
    connection: &Connection,
    tenant: &Tenant,
    vkey: &Vkey,
) -> Vec<(Ident, String)> {
    let Some(replica) = tenant.replica() else { return Vec::new() };
    let peers = Peers::new(connection, &tenant.name);
    let mut lacking = Vec::new();
    for member in replica.set().members {
        if member == *replica.members.this() {
            if tenant.with_keys(|ring| ring.signer(vkey).is_err()) {
                lacking.push((member.name, "it has no file of the key".into()));
            }
            continue;
        }
        let nonce = HEXLOWER.encode(&keyring::random32()[..16]);
        let asked = HoldingAsked { holds: vkey.to_string(), nonce };
        let body = serde_json::to_vec(&asked).unwrap_or_default();
        let answer = peers.ask(&member.name, body, WAIT).await;
        let why = match answer.map(|answer| serde_json::from_slice::<Answer>(&answer)) {
            Err(error) => error.to_string(),
            Ok(Err(_)) => "its answer is unreadable".into(),
            Ok(Ok(Answer { holding: Some(signature), .. })) => {
                let said =
                    Holding { origin: &tenant.origin, vkey: &asked.holds, nonce: &asked.nonce };
                if Members::has_said(&member, &said, &signature) {
                    continue;
                }
                "its answer has a wrong signature".into()
            }
            Ok(Ok(Answer { refused, .. })) => refused.unwrap_or_else(|| "it does not say".into()),
        };
        lacking.push((member.name, why));
    }
    lacking
}
