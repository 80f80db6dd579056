//! Witnesses in the configuration, and the first policy that follows from it.

use super::Witness;
use crate::sinks::net::{self, Client, Way};
use ledger::{
    ident::Ident,
    log::{
        cosignature::Cosigner,
        members::MemberSet,
        note::Vkey,
        policy::{self, Log},
    },
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::PathBuf};

/// Most witnesses. A note has room for their cosignatures.
const WITNESSES_MAX: usize = 16;

/// One witness, as written.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Setup {
    /// Its public key, type 4: `name+8 hex digits+base64`.
    pub vkey: String,
    /// Its submission prefix: `add-checkpoint` is below it.
    pub url: String,
    /// Tenants whose logs it knows. Without it, all.
    #[serde(default)]
    pub tenants: Vec<String>,
    /// Certificate authorities of the witness. Without it, the public ones.
    #[serde(default)]
    pub tls_ca_file: Option<PathBuf>,
    /// True: its name may lead to an address of a private network or of this machine.
    #[serde(default)]
    pub private_network: bool,
    /// Proxy to the witness. None otherwise, whatever the environment says.
    #[serde(default)]
    pub proxy: Option<String>,
}

impl Setup {
    fn way(&self) -> Way<'_> {
        let (ca, proxy) = (self.tls_ca_file.as_deref(), self.proxy.as_deref());
        Way { ca, private: self.private_network, proxy }
    }

    pub(super) fn open(&self, name: &str) -> Result<Witness, String> {
        Ok(Witness {
            name: Ident::new(name).map_err(|error| error.to_string())?,
            key: Cosigner::parse(&self.vkey).map_err(|error| error.to_string())?,
            client: Client::new(net::address(&self.url, "https", "http")?, self.way())?,
            tenants: self.tenants.clone(),
        })
    }
}

/// Every mistake in the witnesses of a configuration, each a line that says what to do.
pub fn mistakes(witnesses: &BTreeMap<String, Setup>) -> Vec<String> {
    let mut wrong = Vec::new();
    if witnesses.len() > WITNESSES_MAX {
        wrong.push(format!("witness: at most {WITNESSES_MAX}"));
    }
    let mut keys: Vec<[u8; 32]> = Vec::new();
    for (name, witness) in witnesses {
        let mut add = |what: String| wrong.push(format!("witness.{name}{what}"));
        if Ident::new(name).is_err() {
            add(": a name of a-z, 0-9 and -".into());
        }
        match Cosigner::parse(&witness.vkey) {
            Err(error) => add(format!(".vkey: {error}")),
            Ok(key) if keys.contains(key.public_bytes()) => {
                add(".vkey: another witness has this key; one witness counts once".into());
            }
            Ok(key) => keys.push(*key.public_bytes()),
        }
        let url = net::address(&witness.url, "https", "http");
        if let Err(why) = &url {
            add(format!(".url: {why}"));
        }
        witness.way().mistakes(url.as_ref().ok()).into_iter().for_each(&mut add);
        for tenant in witness.tenants.iter().filter(|name| Ident::new(name).is_err()) {
            add(format!(".tenants: {tenant:?} is not a tenant name"));
        }
    }
    wrong
}

/// The first policy of a log: its key, its own replicas, and these witnesses.
pub fn first_policy(
    log: &Vkey,
    replicas: Option<&MemberSet>,
    witnesses: &BTreeMap<String, Setup>,
) -> Result<String, String> {
    let tenant = log.name().split_once("/tenants/").and_then(|(_, rest)| rest.split('/').next());
    let mut named = Vec::new();
    for (name, witness) in witnesses {
        let knows = |tenant: &str| witness.tenants.iter().any(|name| name == tenant);
        if witness.tenants.is_empty() || tenant.is_some_and(knows) {
            let key = Cosigner::parse(&witness.vkey);
            let key = key.map_err(|error| format!("witness.{name}.vkey: {error}"))?;
            named.push((name.clone(), key, witness.url.clone()));
        }
    }
    Ok(policy::first(&[Log { vkey: log.clone(), url: None }], replicas, &named))
}
