//! `system.agent`: tokens by which agents prove who they are (`proto/formats/agent-token.md`).
//!
//! The entry is what a token rests on: a token that no entry backs proves nothing, whoever signed it.

use super::{By, Reason};
use crate::{ident::Ident, json::text_has_control};
use serde::{Deserialize, Serialize};

/// Longest validity of a token, in seconds.
pub const AGENT_TOKEN_SECONDS_MAX: u64 = 3600;
/// Most agents of a chain: the one that asks, and those for whom it acts.
pub const CHAIN_MAX: usize = 16;
/// Most tools in the scope of a token.
pub const SCOPE_MAX: usize = 64;
/// Most revocations of single tokens that admins and responders have in force at once, as many of whole agents, and as many
/// of all gateways together.
pub const REVOKED_MAX: usize = 512;
/// Most revocations that one gateway has in force at once.
pub const REVOKED_OF_GATEWAY_MAX: usize = 64;
/// Longest text, in bytes: that of an agent's id in an event.
const TEXT_BYTES_MAX: usize = 256;
/// Bytes of a proof-of-possession thumbprint in base64url.
const THUMBPRINT_CHARS: usize = 43;

/// The body of a message on `system.agent`, and the `event` of every `agent` entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum AgentBody {
    /// A token is issued.
    Issue(Issue),
    /// A token, or every token of an agent so far, proves nothing from this entry on.
    Revoke(Revoke),
}

/// A token is issued. Its claims follow from this entry and its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Issue {
    /// Who called whom: the root first, the agent of the token last.
    pub chain: Vec<String>,
    /// Leaf indexes of the tokens of the others in `chain`, in that order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<u64>,
    /// The tools that it is for, in byte order.
    pub scope: Vec<String>,
    /// The region that its calls must name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The organisation, for readers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub org: Option<String>,
    /// The key that the agent must hold (RFC 7800), for gateways to check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cnf: Option<Confirmation>,
    /// Seconds since 1970 from which it is valid.
    pub iat: u64,
    /// Seconds since 1970 at which it ends.
    pub exp: u64,
    /// The gateway for whose agents it was issued. Absent: an admin issued it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub producer: Option<Ident>,
    /// Who issued it.
    pub by: By,
    /// Evidence that says why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
}

/// Claim `cnf`: the thumbprint of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Thumbprints")]
pub enum Confirmation {
    /// Of a JWK (RFC 9449).
    #[serde(rename = "jkt")]
    Jwk(String),
    /// Of a certificate (RFC 8705).
    #[serde(rename = "x5t#S256")]
    Certificate(String),
}

/// The members of `cnf`, one by one: so that a wrong one is told in words.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Thumbprints {
    #[serde(default, deserialize_with = "present")]
    jkt: Option<String>,
    #[serde(rename = "x5t#S256", default, deserialize_with = "present")]
    certificate: Option<String>,
}

/// A text, and not `null`.
fn present<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    String::deserialize(from).map(Some)
}

impl TryFrom<Thumbprints> for Confirmation {
    type Error = &'static str;

    fn try_from(members: Thumbprints) -> Result<Self, Self::Error> {
        match (members.jkt, members.certificate) {
            (Some(jwk), None) => Ok(Self::Jwk(jwk)),
            (None, Some(certificate)) => Ok(Self::Certificate(certificate)),
            _ => Err("cnf has exactly one member: jkt, or x5t#S256"),
        }
    }
}

impl Confirmation {
    fn is_sound(&self) -> bool {
        let (Self::Jwk(text) | Self::Certificate(text)) = self;
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        text.len() == THUMBPRINT_CHARS && text.bytes().all(fits)
    }
}

/// A token, or every token of an agent so far, proves nothing from this entry on, and what was issued on it neither.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revoke {
    /// Leaf index of the entry by which the token was issued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<u64>,
    /// The agent.
    pub agent: String,
    /// The gateway that did it. Absent: an admin or a responder did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub producer: Option<Ident>,
    /// Who did it.
    pub by: By,
    /// Evidence that says why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
}

impl AgentBody {
    /// Evidence that says why.
    pub fn reason(&self) -> Option<&Reason> {
        match self {
            Self::Issue(Issue { reason, .. }) | Self::Revoke(Revoke { reason, .. }) => {
                reason.as_ref()
            }
        }
    }
}

impl Issue {
    /// The agent of the token.
    pub fn agent(&self) -> &str {
        self.chain.last().map_or("", String::as_str)
    }

    /// What is wrong with it, by itself.
    pub fn fault(&self) -> Option<&'static str> {
        let Self { chain, parents, scope, iat, exp, .. } = self;
        let texts = chain.iter().chain(scope).chain(&self.region).chain(&self.org);
        let mut agents: Vec<&String> = chain.iter().collect();
        agents.sort_unstable();
        agents.dedup();
        if !texts.into_iter().all(|text| is_text(text)) {
            return Some("each text has 1 to 256 bytes and no control characters");
        }
        if !(1..=CHAIN_MAX).contains(&chain.len()) {
            return Some("a chain has 1 to 16 agents");
        }
        if agents.len() != chain.len() {
            return Some("an agent is in a chain once");
        }
        if parents.len() + 1 != chain.len() {
            return Some("it names one token for each other agent of its chain");
        }
        if !(1..=SCOPE_MAX).contains(&scope.len()) || !scope.is_sorted_by(|a, b| a < b) {
            return Some("the scope is 1 to 64 tools, each once");
        }
        if !exp.checked_sub(*iat).is_some_and(|life| (1..=AGENT_TOKEN_SECONDS_MAX).contains(&life))
        {
            return Some("a token is valid for 1 second to an hour");
        }
        if self.cnf.as_ref().is_some_and(|cnf| !cnf.is_sound()) {
            return Some("cnf is a SHA-256 thumbprint in base64url");
        }
        None
    }

    /// What is wrong with it as a token for an agent that acts for that of `parent`, whose entry is at `index`.
    pub fn widens(&self, index: u64, parent: &Self) -> Option<&'static str> {
        let (chain, parents) = (&self.chain, &self.parents);
        let follows = chain.split_last().is_some_and(|(_, before)| *before == parent.chain)
            && parents
                .split_last()
                .is_some_and(|(last, before)| *last == index && *before == parent.parents);
        if !follows {
            return Some(
                "its chain is not that of the token that it rests on, with its agent added",
            );
        }
        if !self.scope.iter().all(|tool| parent.scope.binary_search(tool).is_ok()) {
            return Some("its scope is wider than that of the token that it rests on");
        }
        if self.exp > parent.exp {
            return Some("it is valid for longer than the token that it rests on");
        }
        if self.iat >= parent.exp {
            return Some("the token that it rests on has expired");
        }
        let differs =
            |own: &Option<String>, theirs: &Option<String>| theirs.is_some() && own != theirs;
        if differs(&self.region, &parent.region) || differs(&self.org, &parent.org) {
            return Some("it is of another region or organisation than the token that it rests on");
        }
        None
    }

    /// Each agent of the chain with the leaf index of its token. `index`: that of this one.
    pub fn rests_on(&self, index: u64) -> impl Iterator<Item = (&str, u64)> {
        let tokens = self.parents.iter().copied().chain([index]);
        self.chain.iter().map(String::as_str).zip(tokens)
    }
}

impl Revoke {
    /// What is wrong with it, by itself.
    pub fn fault(&self) -> Option<&'static str> {
        (!is_text(&self.agent))
            .then_some("an agent's id has 1 to 256 bytes and no control characters")
    }
}

fn is_text(text: &str) -> bool {
    (1..=TEXT_BYTES_MAX).contains(&text.len()) && !text_has_control(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::KeyId;

    fn issue(chain: &[&str], parents: &[u64], scope: &[&str], (iat, exp): (u64, u64)) -> Issue {
        let texts = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect();
        let key = KeyId::new("0123456789abcdef").unwrap();
        Issue {
            chain: texts(chain),
            parents: parents.to_vec(),
            scope: texts(scope),
            region: None,
            org: None,
            cnf: None,
            iat,
            exp,
            producer: None,
            by: By::Key { key, person: None, approval: None },
            reason: None,
        }
    }

    fn check(issue: &Issue, wrong: Option<&str>) {
        let found = issue.fault();
        assert_eq!(found.is_some(), wrong.is_some(), "{issue:?}: {found:?}");
        assert!(wrong.is_none_or(|part| found.unwrap().contains(part)), "{found:?}");
    }

    #[test]
    fn what_a_token_may_be() {
        let many: Vec<String> = (0..17).map(|number| format!("a{number:02}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        check(&issue(&["bot"], &[], &["mail"], (10, 3610)), None);
        check(&issue(&["bot"], &[], &["mail"], (10, 3611)), Some("an hour"));
        check(&issue(&["bot"], &[], &["mail"], (10, 10)), Some("an hour"));
        check(&issue(&["bot"], &[], &["mail"], (10, 9)), Some("an hour"));
        check(&issue(&["bot"], &[], &[], (0, 9)), Some("scope"));
        check(&issue(&["bot"], &[], &["b", "a"], (0, 9)), Some("scope"));
        check(&issue(&["bot"], &[], &["a", "a"], (0, 9)), Some("scope"));
        check(&issue(&["a", "bot"], &[], &["a"], (0, 9)), Some("one token"));
        check(&issue(&["bot", "a", "bot"], &[1, 2], &["a"], (0, 9)), Some("once"));
        check(&issue(&["b\u{7}"], &[], &["a"], (0, 9)), Some("control"));
        check(&issue(&many, &[0; 16], &["a"], (0, 9)), Some("16 agents"));
        check(&issue(&many[..16], &[0; 15], &["a"], (0, 9)), None);
        let cnf = |text: &str| Some(Confirmation::Jwk(text.into()));
        check(&Issue { cnf: cnf("x"), ..issue(&["bot"], &[], &["a"], (0, 9)) }, Some("cnf"));
        check(&Issue { cnf: cnf(&"x".repeat(43)), ..issue(&["bot"], &[], &["a"], (0, 9)) }, None);
    }

    #[test]
    fn a_confirmation_has_exactly_one_thumbprint() {
        let read = |text: &str| serde_json::from_str::<Confirmation>(text);
        for cnf in [Confirmation::Jwk("a".into()), Confirmation::Certificate("b".into())] {
            assert_eq!(read(&serde_json::to_string(&cnf).unwrap()).unwrap(), cnf);
        }
        for wrong in ["{}", r#"{"jkt":"a","x5t#S256":"b"}"#] {
            let told = read(wrong).unwrap_err().to_string();
            assert!(told.contains("exactly one member: jkt, or x5t#S256"), "{told}");
        }
        for wrong in
            ["null", "[]", r#"{"jkt":null}"#, r#"{"jkt":"a","x5t#S256":null}"#, r#"{"kid":"a"}"#]
        {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_child_is_never_wider_than_its_parent() {
        let parent = Issue {
            region: Some("eu".into()),
            ..issue(&["root", "planner"], &[3], &["mail", "web"], (100, 200))
        };
        let child = |chain: &[&str], scope: &[&str], times| Issue {
            region: Some("eu".into()),
            ..issue(chain, &[3, 7], scope, times)
        };
        let whole = ["root", "planner", "worker"];
        let check = |child: &Issue, wrong: Option<&str>| {
            let found = child.widens(7, &parent);
            assert_eq!(found.is_some(), wrong.is_some(), "{child:?}: {found:?}");
            assert!(wrong.is_none_or(|part| found.unwrap().contains(part)), "{found:?}");
        };
        check(&child(&whole, &["mail", "web"], (150, 200)), None);
        check(&child(&whole, &["mail"], (150, 160)), None);
        check(&child(&whole, &["bank", "mail"], (150, 160)), Some("wider"));
        check(&child(&whole, &["mail"], (150, 201)), Some("longer"));
        check(&child(&whole, &["mail"], (200, 200)), Some("expired"));
        check(&child(&["planner", "root", "worker"], &["mail"], (150, 160)), Some("chain"));
        check(&child(&["root", "worker"], &["mail"], (150, 160)), Some("chain"));
        let other = |region: Option<&str>| Issue {
            region: region.map(str::to_owned),
            ..child(&whole, &["mail"], (150, 160))
        };
        check(&other(None), Some("region"));
        check(&other(Some("us")), Some("region"));
        let elsewhere = Issue { parents: vec![3, 8], ..child(&whole, &["mail"], (150, 160)) };
        check(&elsewhere, Some("chain"));
    }
}
