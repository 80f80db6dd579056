//! Providers of `OpenID` Connect, at which people sign in for the web pages: authorization code with PKCE.
//!
//! In scope: one conversation with a provider, and which ID token counts. Alone names the protocol. Out of scope: which account
//! is whose (`accounts`), cookies and pages (`pages::oidc`).

mod browser;
mod http;
mod metadata;
mod provider;
mod setup;
mod token;

pub use browser::Begun;
pub use provider::{Failed, Provider, Signed};
pub use setup::{Setup, mistakes};

use ledger::{Error, ident::Ident};
use std::{collections::BTreeMap, sync::Arc};

/// The providers of the running server, by name.
#[derive(Default)]
pub struct Providers(BTreeMap<String, Arc<Provider>>);

impl Providers {
    /// Opens the providers of a configuration that was checked. Asks none of them yet.
    pub fn open(setups: &BTreeMap<String, Setup>, public_url: &str) -> Result<Self, Error> {
        let open = |(name, setup): (&String, &Setup)| {
            let provider = Provider::open(name, setup, public_url);
            let provider = provider.map_err(|why| Error::Setup(format!("oidc.{name}: {why}")))?;
            Ok((name.clone(), Arc::new(provider)))
        };
        setups.iter().map(open).collect::<Result<_, _>>().map(Self)
    }

    /// The provider of this name.
    pub fn named(&self, name: &str) -> Option<Arc<Provider>> {
        self.0.get(name).cloned()
    }

    /// True if people of the tenant sign in at a provider with this issuer.
    pub fn has(&self, tenant: &Ident, issuer: &str) -> bool {
        self.issuers(tenant).any(|known| known == issuer)
    }

    /// Name and provider of an issuer at which people of the tenant sign in.
    pub fn of_issuer(&self, tenant: &Ident, issuer: &str) -> Option<(&str, &Provider)> {
        let of = |provider: &Provider| provider.tenant() == tenant && provider.issuer() == issuer;
        let found = self.0.iter().find(|(_, provider)| of(provider));
        found.map(|(name, provider)| (name.as_str(), &**provider))
    }

    /// The issuers of a tenant.
    pub fn issuers<'a>(&'a self, tenant: &'a Ident) -> impl Iterator<Item = &'a str> {
        let of = self.0.values().filter(move |provider| provider.tenant() == tenant);
        of.map(|provider| provider.issuer())
    }

    /// Name and label of each, as the sign-in page shows them.
    pub fn shown(&self) -> Vec<(String, String)> {
        self.0.iter().map(|(name, provider)| (name.clone(), provider.label().to_owned())).collect()
    }
}
