//! The genesis of a log: what it names, and the message that brings it.

use super::{Error, Ledger, random_salt};
use crate::{
    envelope::{self, Place},
    ident::Ident,
    journal::{self, Headers, Subject},
    keyring::Keyring,
    log::members::Member,
    system::{By, Genesis, KeyText, KeyUse},
    tenant::Tenant,
};

impl Ledger {
    /// The genesis of a tenant, again, if its creation was interrupted before posting.
    pub fn genesis_again(&self, tenant: &Tenant, by: By) -> Genesis {
        let journal = tenant.position().journal;
        tenant.with_keys(|ring| genesis(&tenant.name, &tenant.origin, &journal, ring, by))
    }

    /// The first message of the journal of a tenant that replicas make: its genesis. Its keys are in the keys directory, and its
    /// first replicas are `members`. Makes nothing.
    pub fn founding_message(
        &self,
        name: &Ident,
        (identity, members): (&str, Vec<Member>),
        by: By,
    ) -> Result<journal::Append, Error> {
        self.may_create(name)?;
        let origin = origin(&self.options.public_host, name);
        let ring = Keyring::open(&self.options.keys_dir, name)?;
        let genesis = genesis(name, &origin, identity, &ring, by);
        genesis_append(name, &Genesis { members: Some(members), ..genesis }, &ring)
    }

    /// The genesis as a journal message, signed by the journal key that it names.
    pub fn genesis_message(
        &self,
        tenant: &Tenant,
        genesis: &Genesis,
    ) -> Result<journal::Append, Error> {
        tenant.with_keys(|ring| genesis_append(&tenant.name, genesis, ring))
    }
}

fn genesis_append(
    name: &Ident,
    genesis: &Genesis,
    ring: &Keyring,
) -> Result<journal::Append, Error> {
    let body = crate::canonical::of(genesis);
    let subject = Subject::parse("system.genesis").expect("a subject");
    let place = Place { tenant: name, epoch: 1, subject: &subject, expected: 0 };
    let key = &genesis.journal_keys.first().ok_or(Error::NoKey("journal"))?.0;
    let signature = ring.signer(key).map(|signer| envelope::sign(signer, place, &body))?;
    let salt = Some(random_salt());
    let headers = Headers { salt, signature: Some(signature), ..Headers::default() };
    Ok(journal::Append { subject, headers, body, expected: Some(0) })
}

pub(super) fn genesis(
    name: &Ident,
    origin: &str,
    journal: &str,
    keyring: &Keyring,
    by: By,
) -> Genesis {
    let keys = |usage| keyring.vkeys(usage).into_iter().map(KeyText).collect();
    Genesis {
        v: 1,
        origin: origin.into(),
        tenant: name.clone(),
        journal: journal.into(),
        log_keys: keys(KeyUse::Log),
        journal_keys: keys(KeyUse::Journal),
        token_keys: keys(KeyUse::Token),
        salt_key_id: keyring.salt_key_id(),
        members: None,
        predecessor: None,
        by,
    }
}

/// Name of a tenant's log: the address of its tiles.
pub fn origin(public_host: &str, name: &Ident) -> String {
    format!("{public_host}/v1/tenants/{name}/logs/1")
}
