//! What a replica says of its own machine, signed with its own key: nobody else can know it.

use super::Members;
use crate::{
    ident::Ident,
    log::{members::Member, merkle::Hash},
};
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

/// An entry of the log. An index alone names nothing: another history may have another entry there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// Its leaf index.
    pub index: u64,
    /// Its leaf hash.
    pub leaf_hash: Hash,
}

/// The key files of a tenant that is to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Files {
    /// The tenant.
    pub tenant: Ident,
    /// [`crate::keyring::Keyring::digest`]: which keys they hold.
    pub digest: String,
}

/// An entry of the log of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntryOf {
    /// The tenant.
    pub tenant: Ident,
    /// Its leaf index.
    pub index: u64,
    /// Its leaf hash.
    pub leaf_hash: Hash,
}

/// What a replica is asked to say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Claim {
    /// It has the file of this public key.
    Holds(String),
    /// It has none of the bytes that the erasures up to this one, an entry of kind `erasure`, took away.
    Erased(Place),
    /// It shows this entry.
    Shows(Place),
    /// It has all key files of a tenant, and they hold these keys. No log has that name here.
    Keys(Files),
    /// It has the log of a tenant, with this genesis, and shows it.
    Made(EntryOf),
    /// It has neither payload nor keys of the tenant that this entry deleted.
    Deleted(EntryOf),
}

/// A claim, as one replica asks another for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// What shall be said.
    #[serde(flatten)]
    pub claim: Claim,
    /// 32 hex digits at random, of who asks: an old statement is none.
    pub nonce: String,
}

impl Statement {
    /// The bytes that are signed: five lines.
    fn message(&self, origin: &str, name: &Ident) -> Vec<u8> {
        let (verb, what) = match &self.claim {
            Claim::Holds(vkey) => ("holds", vkey.clone()),
            Claim::Erased(Place { index, leaf_hash }) => ("erased", format!("{index} {leaf_hash}")),
            Claim::Shows(Place { index, leaf_hash }) => ("shows", format!("{index} {leaf_hash}")),
            Claim::Keys(Files { digest, .. }) => ("keys", digest.clone()),
            Claim::Made(EntryOf { index, leaf_hash, .. }) => {
                ("made", format!("{index} {leaf_hash}"))
            }
            Claim::Deleted(EntryOf { index, leaf_hash, .. }) => {
                ("deleted", format!("{index} {leaf_hash}"))
            }
        };
        let nonce = &self.nonce;
        format!("countersign-replica-{verb}/v1\n{origin}\n{name}\n{what}\n{nonce}\n").into_bytes()
    }
}

impl Members {
    /// This replica's signature of a statement about the log `origin`, in base64.
    pub fn state(&self, origin: &str, statement: &Statement) -> String {
        BASE64.encode(&self.key.sign(&statement.message(origin, self.own())))
    }

    /// True if a member has made that statement about the log `origin`.
    pub fn has_stated(
        member: &Member,
        origin: &str,
        statement: &Statement,
        signature: &str,
    ) -> bool {
        let signature = BASE64.decode(signature.as_bytes());
        let message = statement.message(origin, &member.name);
        signature.is_ok_and(|signature| member.key.has_signed(&message, &signature))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{cosignature::CosignerKey, merkle::leaf_hash};

    const ORIGIN: &str = "log.example/v1/tenants/acme/logs/1";

    fn key(name: &str) -> CosignerKey {
        CosignerKey::new(&format!("log.example/replicas/{name}"), &[name.as_bytes()[0]; 32])
    }

    fn of(own: &str) -> Members {
        let name = |name: &str| Ident::new(name).unwrap();
        let member = |of: &str| Member { name: name(of), key: key(of).public().clone() };
        Members::new(name(own), key(own), ["a", "b", "c"].map(member).into()).unwrap()
    }

    fn claims() -> Vec<Claim> {
        let place = |index, of: &[u8]| Place { index, leaf_hash: leaf_hash(of) };
        let tenant = Ident::new("acme").unwrap();
        let files = |digest: &str| Files { tenant: tenant.clone(), digest: digest.into() };
        let entry = |index| EntryOf { tenant: tenant.clone(), index, leaf_hash: leaf_hash(b"one") };
        vec![
            Claim::Holds("k".into()),
            Claim::Holds("l".into()),
            Claim::Erased(place(7, b"one")),
            Claim::Erased(place(8, b"one")),
            Claim::Erased(place(7, b"two")),
            Claim::Shows(place(7, b"one")),
            Claim::Keys(files("1")),
            Claim::Keys(files("2")),
            Claim::Made(entry(7)),
            Claim::Deleted(entry(7)),
            Claim::Deleted(entry(8)),
        ]
    }

    #[test]
    fn p21_who_says_it_says_it_of_itself() {
        let (a, b) = (of("a"), of("b"));
        let of_nonce =
            |claim: &Claim, nonce: &str| Statement { claim: claim.clone(), nonce: nonce.into() };
        for claim in claims() {
            let statement = of_nonce(&claim, "1");
            let said = a.state(ORIGIN, &statement);
            let holds = |member: &Members, origin, statement: &Statement| {
                Members::has_stated(member.this(), origin, statement, &said)
            };
            assert!(holds(&a, ORIGIN, &statement));
            assert!(!holds(&b, ORIGIN, &statement), "it is another's");
            assert!(!holds(&a, "log.example/other", &statement), "of another log");
            assert!(!holds(&a, ORIGIN, &of_nonce(&claim, "2")), "told again");
            for other in claims().into_iter().filter(|other| *other != claim) {
                assert!(!holds(&a, ORIGIN, &of_nonce(&other, "1")), "{claim:?} {other:?}");
            }
            assert!(!Members::has_stated(a.this(), ORIGIN, &statement, "x"));
        }
    }

    #[test]
    fn p21_what_is_asked_reads_back() {
        for claim in claims() {
            let asked = Statement { claim, nonce: "1".into() };
            let text = serde_json::to_string(&asked).unwrap();
            assert_eq!(serde_json::from_str::<Statement>(&text).unwrap(), asked, "{text}");
        }
        let of_before = r#"{"holds":"k","nonce":"1"}"#;
        let read: Statement = serde_json::from_str(of_before).unwrap();
        assert_eq!(read.claim, Claim::Holds("k".into()));
        assert!(serde_json::from_str::<Statement>(r#"{"other":"k","nonce":"1"}"#).is_err());
    }
}
