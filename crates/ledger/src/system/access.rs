//! `system.access`: API keys, passkeys, accounts at providers of `OpenID` Connect, sign-ins, and the reading of payload.

use super::{By, KeyId, Reason, Role};
use crate::ident::Ident;
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Longest id of a credential, in bytes (`WebAuthn` 4).
const CREDENTIAL_BYTES_MAX: usize = 1023;
/// Longest public key, in bytes: RSA of 8,192 bits fits.
const PUBLIC_KEY_BYTES_MAX: usize = 1100;
/// Longest origin or issuer, in bytes.
const ORIGIN_BYTES_MAX: usize = 512;
/// Longest subject at a provider, in bytes (`OpenID` Connect Core 2).
pub const SUBJECT_BYTES_MAX: usize = 255;
/// `system.access`: an API key is added or removed, a person signs in, or payload is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase", deny_unknown_fields)]
pub enum Access {
    /// A key is added.
    Add(AccessKey),
    /// A key is not valid from this entry on.
    Remove {
        /// Id of the key.
        key_id: KeyId,
        /// Who removed it.
        by: By,
        /// Evidence that says why.
        #[serde(default)]
        reason: Option<Reason>,
    },
    /// Somebody reads payload from this entry on, for some time.
    Read {
        /// The first leaf index.
        from: u64,
        /// The leaf index after the last one. It may be beyond the present entries.
        to: u64,
        /// Seconds for which this entry covers the reading.
        seconds: u32,
        /// Who reads.
        by: By,
    },
    /// A person signed in on the pages, with the key that `by` names.
    #[serde(rename = "signed_in")]
    SignedIn {
        /// What kind of key it is.
        how: How,
        /// The provider's issuer, if it is an account there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        issuer: Option<String>,
        /// Seconds for which this entry covers further sign-ins with the same key.
        seconds: u32,
        /// The key and its person.
        by: By,
    },
}

impl Access {
    /// True if it is a sign-in in its form: a key of a person alone, and an issuer exactly for an account. Whether the key is in
    /// force, posting does not ask: a message is posted again (`fsck`) also where those before it are gone.
    pub fn is_a_sign_in(&self) -> bool {
        let Self::SignedIn { how, issuer, by, .. } = self else { return false };
        let of_a_person = matches!(by, By::Key { person: Some(_), approval: None, .. });
        of_a_person && (*how == How::Oidc) == issuer.is_some()
    }
}

/// What a person signs in with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// A reviewer key.
    Key,
    /// A passkey.
    Passkey,
    /// An account at a provider of `OpenID` Connect.
    Oidc,
}

/// One API key, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessKey {
    /// The part of the key that is not secret.
    pub key_id: KeyId,
    /// SHA-256 of the whole key text, base64url. The key has 256 random bits, so it can't be guessed.
    pub sha256: String,
    /// Roles of the key.
    pub roles: Vec<Role>,
    /// Producer as which it publishes or redeems.
    #[serde(default)]
    pub producer: Option<Ident>,
    /// Person of the key. A reviewer's key always has one.
    #[serde(default)]
    pub person: Option<Ident>,
    /// Label for people.
    pub name: String,
    /// Who issued it.
    pub by: By,
    /// Evidence that says why.
    #[serde(default)]
    pub reason: Option<Reason>,
    /// If it is a passkey: then no text opens anything with it, and `sha256` is that of its public key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passkey: Option<Passkey>,
    /// If it is an account at a provider of `OpenID` Connect: then no text opens anything with it, and `sha256` is a digest of the
    /// account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oidc: Option<OidcAccount>,
}

/// A person's account at a provider of `OpenID` Connect. No entry has its subject, which may be an address of mail: `sha256` of
/// its key is a digest of tenant, issuer and subject under a key of the installation, so nobody else can guess it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OidcAccount {
    /// The provider's issuer identifier, exactly as it names itself.
    pub issuer: String,
}

impl OidcAccount {
    /// Id of its key: the first 8 bytes of the digest.
    pub fn key_id(digest: &[u8; 32]) -> KeyId {
        KeyId::new(&HEXLOWER.encode(&digest[..8])).expect("16 hex digits")
    }

    /// True if the members fit each other and the id and digest of their key.
    fn fits(&self, key: &AccessKey) -> bool {
        let digest = BASE64URL_NOPAD.decode(key.sha256.as_bytes()).unwrap_or_default();
        let digest: Result<[u8; 32], _> = digest.try_into();
        let issuer = &self.issuer;
        digest.is_ok_and(|digest| Self::key_id(&digest) == key.key_id)
            && (1..=ORIGIN_BYTES_MAX).contains(&issuer.len())
            && issuer.bytes().all(|byte| byte.is_ascii_graphic())
            && is_of_one_reviewer(key)
            && key.passkey.is_none()
    }
}

/// True if the key is a person's way to sign in on the pages, and nothing else.
fn is_of_one_reviewer(key: &AccessKey) -> bool {
    key.roles == [Role::Reviewer] && key.person.is_some() && key.producer.is_none()
}

/// A person's passkey (`WebAuthn`): the public half. The private half is in the person's device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Passkey {
    /// Id of the credential, base64url.
    pub credential: String,
    /// The public key as DER (`SubjectPublicKeyInfo`), base64url.
    pub public_key: String,
    /// The origin at which it was made: scheme, host and port of `public_url`. Its host is the relying party's id.
    pub origin: String,
}

impl Passkey {
    /// Id of its key: the first 8 bytes of SHA-256 of tenant, NUL and the credential's id. With the tenant, because
    /// nobody may take the place of a key of another tenant.
    pub fn key_id(tenant: &Ident, credential: &[u8]) -> KeyId {
        let hash = Sha256::new_with_prefix(tenant.as_str()).chain_update(b"\0");
        let id = HEXLOWER.encode(&hash.chain_update(credential).finalize()[..8]);
        KeyId::new(&id).expect("16 hex digits")
    }

    /// True if the members fit each other and the id and digest of their key.
    fn fits(&self, tenant: &Ident, key: &AccessKey) -> bool {
        let decoded = |text: &str| BASE64URL_NOPAD.decode(text.as_bytes()).unwrap_or_default();
        let (credential, public) = (decoded(&self.credential), decoded(&self.public_key));
        (1..=CREDENTIAL_BYTES_MAX).contains(&credential.len())
            && (1..=PUBLIC_KEY_BYTES_MAX).contains(&public.len())
            && self.origin.len() <= ORIGIN_BYTES_MAX
            && key.key_id == Self::key_id(tenant, &credential)
            && key.sha256 == BASE64URL_NOPAD.encode(&Sha256::digest(public))
            && is_of_one_reviewer(key)
    }
}

impl AccessKey {
    /// True if an entry may add it: what it says of a passkey or of an account fits together.
    pub fn is_sound(&self, tenant: &Ident) -> bool {
        self.passkey.as_ref().is_none_or(|passkey| passkey.fits(tenant, self))
            && self.oidc.as_ref().is_none_or(|account| account.fits(self))
    }

    /// What a person signs in with who has it, and the issuer of an account.
    pub fn how(&self) -> (How, Option<&str>) {
        match (&self.passkey, &self.oidc) {
            (Some(_), _) => (How::Passkey, None),
            (None, Some(account)) => (How::Oidc, Some(&account.issuer)),
            (None, None) => (How::Key, None),
        }
    }

    /// True if a sign-in that says this can be with this key: its person, and what kind it is.
    pub fn signs_in(&self, by: &By, how: (How, Option<&str>)) -> bool {
        let By::Key { key, person, approval } = by else { return false };
        *key == self.key_id
            && *person == self.person
            && approval.is_none()
            && is_of_one_reviewer(self)
            && how == self.how()
    }

    /// True if it is shown as a text, in a header or in the sign-in form.
    pub fn has_text(&self) -> bool {
        self.passkey.is_none() && self.oidc.is_none()
    }

    /// True if it stays in force when its tenant is deleted: it only reads what stays.
    pub fn outlives(&self) -> bool {
        self.roles.iter().all(|role| matches!(role, Role::Exporter | Role::Auditor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// The example of `proto/formats/system.md`, and changes of it.
    fn check(change: &[(&str, Value)], sound: bool) {
        let page = include_str!("../../../../proto/formats/system.md");
        let line = page.lines().find(|line| line.contains("\"oidc\":{")).expect("the example");
        let mut example: Value = serde_json::from_str(line).unwrap();
        for (member, value) in change {
            example[*member] = value.clone();
        }
        let Access::Add(key) = serde_json::from_value(example).unwrap() else { panic!("{line}") };
        assert_eq!(key.is_sound(&Ident::new("acme").unwrap()), sound, "{change:?}");
        assert!(!key.has_text());
    }

    #[test]
    fn p10_an_account_is_one_reviewers_and_nothing_else() {
        let whole = json!({"issuer": "https://id.example.com"});
        check(&[("oidc", whole)], true);
        check(&[], true);
        check(&[("oidc", json!({"issuer": ""}))], false);
        check(&[("oidc", json!({"issuer": "https://id.example.com/\u{e9}"}))], false);
        check(&[("key_id", json!("0123456789abcdef"))], false);
        check(&[("sha256", json!("x"))], false);
        check(&[("roles", json!(["admin"]))], false);
        check(&[("roles", json!(["reviewer", "admin"]))], false);
        check(&[("person", Value::Null)], false);
        check(&[("producer", json!("gw-1"))], false);
        let passkey = json!({"credential": "AA", "public_key": "AA", "origin": "https://x"});
        check(&[("passkey", passkey)], false);
    }

    /// A sign-in of a person with an account, and changes of it.
    fn check_sign_in(change: &[(&str, Value)], is: bool) {
        let mut message = json!({"op": "signed_in", "how": "oidc", "issuer": "https://id.example", "seconds": 60,
            "by": {"key": "4ba06951d249e210", "person": "p-ann"}});
        for (member, value) in change {
            message[*member] = value.clone();
        }
        let access: Access = serde_json::from_value(message).unwrap();
        assert_eq!(access.is_a_sign_in(), is, "{change:?}");
    }

    #[test]
    fn p10_a_sign_in_is_of_a_person_alone_and_an_issuer_is_for_an_account() {
        let key = "4ba06951d249e210";
        check_sign_in(&[], true);
        check_sign_in(&[("how", json!("key")), ("issuer", Value::Null)], true);
        check_sign_in(&[("how", json!("passkey")), ("issuer", Value::Null)], true);
        check_sign_in(&[("issuer", Value::Null)], false);
        check_sign_in(&[("how", json!("key"))], false);
        check_sign_in(&[("how", json!("passkey"))], false);
        check_sign_in(&[("by", json!({"key": key}))], false);
        check_sign_in(
            &[("by", json!({"key": key, "person": "p-ann", "approval": "apr-1"}))],
            false,
        );
        check_sign_in(&[("by", json!({"operator": key}))], false);
        check_sign_in(&[("by", json!({"command": "init"}))], false);
        let reading = Access::Read {
            from: 0,
            to: 1,
            seconds: 60,
            by: By::Command { command: super::super::Command::Init },
        };
        assert!(!reading.is_a_sign_in());
    }
}
