//! The call that people approve, and the digest that identifies it everywhere.

use data_encoding::BASE64URL_NOPAD;
use ledger::{
    canonical,
    disclosure::Scope,
    ident::Ident,
    json::{Member, Value},
};
use sha2::{Digest, Sha256};

/// Prefix of the hashed bytes. Another version of the form gives another digest.
const DOMAIN: &[u8] = b"countersign-call-v1\0";

/// A call that an agent wants to make. The hashed form has every member; an absent one is `null`.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// 16 random bytes, base64url. The data plane chooses them once for each call.
    pub nonce: &'a str,
    /// Tenant of the agent.
    pub tenant: &'a Ident,
    /// `data.agent.id`
    pub agent: &'a str,
    /// `data.agent.run`
    pub run: Option<&'a str>,
    /// `data.tool.name`
    pub tool: &'a str,
    /// `data.tool.action`
    pub action: &'a str,
    /// Parameters, as the strict reader gave them.
    pub params: &'a Value<'a>,
}

impl Call<'_> {
    /// RFC 8785 form: the hashed bytes, and what the enforcer executes.
    pub fn canonical(&self) -> Vec<u8> {
        let text = |text: &str| Value::String(text.to_owned().into());
        let member = |name: &'static str, value| -> Member<'_> { (name.into(), value) };
        // Members are in RFC 8785 order.
        canonical::to_vec(&Value::Object(vec![
            member("action", text(self.action)),
            member("agent", text(self.agent)),
            member("nonce", text(self.nonce)),
            member("params", self.params.clone()),
            member("run", self.run.map_or(Value::Null, text)),
            member("tenant", text(self.tenant.as_str())),
            member("tool", text(self.tool)),
            member("v", Value::Number(1.0)),
        ]))
    }

    /// The call digest: base64url SHA-256 over domain and canonical form, 43 characters.
    pub fn digest(&self) -> String {
        let hash = Sha256::new_with_prefix(DOMAIN).chain_update(self.canonical()).finalize();
        BASE64URL_NOPAD.encode(&hash)
    }
}

/// Approval id: `apr-` and 26 characters. Both sides compute it from the decision event, so a redelivered
/// decision opens no second approval.
pub fn approval_id(tenant: &Ident, opening: Scope<'_>) -> Ident {
    opening.approval_id(tenant)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(params: &str, run: Option<&str>, canonical: &str) {
        let params = ledger::json::parse(params.as_bytes()).unwrap();
        let tenant = Ident::new("acme").unwrap();
        let call = Call {
            nonce: "AAAAAAAAAAAAAAAAAAAAAA",
            tenant: &tenant,
            agent: "bot",
            run,
            tool: "payments",
            action: "transfer",
            params: &params,
        };
        assert_eq!(String::from_utf8(call.canonical()).unwrap(), canonical);
        assert_eq!(call.digest().len(), 43);
    }

    #[test]
    fn every_member_is_always_there() {
        check(
            r#"{"to":"x","amount":1.0}"#,
            None,
            r#"{"action":"transfer","agent":"bot","nonce":"AAAAAAAAAAAAAAAAAAAAAA","params":{"amount":1,"to":"x"},"run":null,"tenant":"acme","tool":"payments","v":1}"#,
        );
        check(
            "null",
            Some("r1"),
            r#"{"action":"transfer","agent":"bot","nonce":"AAAAAAAAAAAAAAAAAAAAAA","params":null,"run":"r1","tenant":"acme","tool":"payments","v":1}"#,
        );
    }

    #[test]
    fn ids_follow_from_the_opening() {
        let tenant = Ident::new("acme").unwrap();
        let scope = |id| Scope { producer: "gw-1", source: "/gw", id, ours: false };
        assert_eq!(approval_id(&tenant, scope("1")), approval_id(&tenant, scope("1")));
        assert_ne!(approval_id(&tenant, scope("1")), approval_id(&tenant, scope("2")));
        assert_eq!(approval_id(&tenant, scope("1")).as_str().len(), 30);
    }

    /// `proto/vectors/call-digest.json`, written by an independent generator.
    #[test]
    fn p7_vectors() {
        let file = include_str!("../../../proto/vectors/call-digest.json");
        let file: serde_json::Value = serde_json::from_str(file).unwrap();
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        for case in file["cases"].as_array().unwrap() {
            let (given, params) = (&case["call"], text(&case["params"]));
            let tenant = Ident::new(&text(&given["tenant"])).unwrap();
            let call = Call {
                nonce: &text(&given["nonce"]),
                tenant: &tenant,
                agent: &text(&given["agent"]),
                run: given["run"].as_str(),
                tool: &text(&given["tool"]),
                action: &text(&given["action"]),
                params: &ledger::json::parse(params.as_bytes()).unwrap(),
            };
            let canonical = String::from_utf8(call.canonical()).unwrap();
            assert_eq!(canonical, text(&case["canonical"]), "{}", case["name"]);
            assert_eq!(call.digest(), text(&case["digest"]), "{}", case["name"]);
        }
        let named =
            |name, ours| file[name].as_array().unwrap().iter().map(move |case| (case, ours));
        for (case, ours) in named("approval_ids", false).chain(named("approval_ids_of_ours", true))
        {
            let (producer, source) = (text(&case["producer"]), text(&case["source"]));
            let opening =
                Scope { producer: &producer, source: &source, id: &text(&case["id"]), ours };
            let tenant = Ident::new(&text(&case["tenant"])).unwrap();
            assert_eq!(approval_id(&tenant, opening).as_str(), text(&case["approval_id"]));
        }
    }
}
