//! `[oidc.<name>]`: a provider at which people of one tenant sign in, and what is wrong with it.

use crate::sinks::{
    net::{self, Way},
    open_to_others,
};
use ledger::ident::Ident;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

/// Most providers of one installation: each has a button on the sign-in page.
const PROVIDERS_MAX: usize = 16;
/// Longest client id, label, scope or class, in bytes.
const TEXT_BYTES_MAX: usize = 255;
/// Longest issuer, in bytes: an entry names it.
const ISSUER_BYTES_MAX: usize = 512;
/// Most scopes, and most classes.
const LIST_MAX: usize = 16;

/// One provider, as written.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Setup {
    /// Tenant whose people sign in there.
    pub tenant: String,
    /// The issuer identifier, exactly as the provider names itself.
    pub issuer: String,
    /// Id of this server as a client.
    pub client_id: String,
    /// File with the client's secret, mode 0600. Read at each sign-in. Without it, PKCE alone protects the code.
    #[serde(default)]
    pub client_secret_file: Option<PathBuf>,
    /// Words on the button, after "Sign in with". Without it, the name.
    #[serde(default)]
    pub label: Option<String>,
    /// Scopes beside `openid`. The server uses none of them; some providers demand one.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// Classes of authentication. If there are any, each sign-in must be of one of them.
    #[serde(default)]
    pub acr_values: Vec<String>,
    /// Certificate authorities of the provider. Without it, the public ones.
    #[serde(default)]
    pub tls_ca_file: Option<PathBuf>,
    /// True: its names may lead to addresses of a private network or of this machine.
    #[serde(default)]
    pub private_network: bool,
    /// Proxy to the provider. None otherwise, whatever the environment says.
    #[serde(default)]
    pub proxy: Option<String>,
}

impl Setup {
    /// The way to the provider.
    pub(super) fn way(&self) -> Way<'_> {
        let (ca, proxy) = (self.tls_ca_file.as_deref(), self.proxy.as_deref());
        Way { ca, private: self.private_network, proxy }
    }
}

/// Every mistake in the providers of a configuration, each a line that says what to do.
pub fn mistakes(providers: &BTreeMap<String, Setup>, approvals: bool) -> Vec<String> {
    let mut wrong = Vec::new();
    if providers.len() > PROVIDERS_MAX {
        wrong.push(format!("oidc: at most {PROVIDERS_MAX}"));
    }
    let mut issuers = BTreeSet::new();
    for (name, provider) in providers {
        let mut add = |what: &str| wrong.push(format!("oidc.{name}{what}"));
        if Ident::new(name).is_err() {
            add(": a name of a-z, 0-9 and -");
        }
        if Ident::new(&provider.tenant).is_err() {
            add(&format!(".tenant: {:?} is not a tenant name", provider.tenant));
        }
        if !issuers.insert((&provider.tenant, &provider.issuer)) {
            add(".issuer: another provider of this tenant has it; remove one");
        }
        if !approvals {
            add(": add [approvals] with the folder of rules and people");
        }
        one_wrong(provider, &mut add);
    }
    wrong
}

fn one_wrong(provider: &Setup, add: &mut impl FnMut(&str)) {
    let url = net::address(&provider.issuer, "https", "http");
    for wrong in provider.way().mistakes(url.as_ref().ok()) {
        add(&wrong);
    }
    match url {
        Err(why) => add(&format!(".issuer: {why}")),
        Ok(_) if provider.issuer.len() > ISSUER_BYTES_MAX => {
            add(&format!(".issuer: at most {ISSUER_BYTES_MAX} bytes"));
        }
        Ok(_) => {}
    }
    if !is_word(&provider.client_id) {
        add(".client_id: the id that the provider gave this server, 1 to 255 printable characters");
    }
    if let Some(why) = provider.client_secret_file.as_deref().and_then(open_to_others) {
        add(&format!(".client_secret_file: {why}"));
    }
    let shown = |label: &String| {
        (1..=64).contains(&label.chars().count()) && !ledger::json::text_has_control(label)
    };
    if !provider.label.as_ref().is_none_or(shown) {
        add(".label: 1 to 64 characters, no control characters");
    }
    for (what, list) in [(".scopes", &provider.scopes), (".acr_values", &provider.acr_values)] {
        if list.len() > LIST_MAX || !list.iter().all(|text| is_word(text)) {
            add(&format!(
                "{what}: at most {LIST_MAX}, each of 1 to 255 printable characters without blanks"
            ));
        }
    }
}

fn is_word(text: &str) -> bool {
    (1..=TEXT_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: &str, mistake: Option<&str>) {
        let name = change.split_once(" = ").map_or("", |(name, _)| name);
        let whole = [
            "tenant = \"acme\"",
            "issuer = \"https://id.example.com\"",
            "client_id = \"countersign\"",
        ];
        let kept = whole.iter().filter(|line| !line.starts_with(&format!("{name} = ")));
        let text = kept.copied().chain([change]).collect::<Vec<_>>().join("\n");
        let one = toml::from_str(&text).unwrap();
        let wrong = mistakes(&BTreeMap::from([("id".into(), one)]), true);
        match mistake {
            None => assert!(wrong.is_empty(), "{change}: {wrong:?}"),
            Some(start) => assert!(wrong.iter().any(|line| line.starts_with(start)), "{wrong:?}"),
        }
    }

    #[test]
    fn p7_an_issuer_is_https_or_on_this_machine() {
        check("", None);
        check("issuer = \"http://127.0.0.1:9000\"", None);
        check("issuer = \"http://[::1]:9000/realm\"", None);
        for issuer in
            ["http://id.example.com", "http://localhost:9000", "https://id.example.com?a=b", "id"]
        {
            check(&format!("issuer = \"{issuer}\""), Some("oidc.id.issuer"));
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        check("tenant = \"Acme\"", Some("oidc.id.tenant"));
        check("client_id = \"\"", Some("oidc.id.client_id"));
        check("client_secret_file = \"/nonexistent/secret\"", Some("oidc.id.client_secret_file"));
        check("label = \"\"", Some("oidc.id.label"));
        check("scopes = [\"a b\"]", Some("oidc.id.scopes"));
        check("acr_values = [\"\"]", Some("oidc.id.acr_values"));
        check("proxy = \"ftp://proxy\"", Some("oidc.id.proxy"));
    }

    #[test]
    fn p7_one_issuer_is_one_provider_of_a_tenant() {
        let text = "tenant = \"acme\"\nissuer = \"https://id.example.com\"\nclient_id = \"c\"";
        let one: Setup = toml::from_str(text).unwrap();
        let two = BTreeMap::from([("a".to_owned(), one.clone()), ("b".to_owned(), one)]);
        assert_eq!(mistakes(&two, true).len(), 1);
        assert_eq!(mistakes(&two, false).len(), 3);
    }
}
