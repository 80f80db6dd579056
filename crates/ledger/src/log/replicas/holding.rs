//! That a replica has the file of a key which all of them need, said with its own key.

use super::Members;
use crate::{ident::Ident, log::members::Member};
use data_encoding::BASE64;

/// That a replica has the file of a key. `nonce` is of who asks: an old statement is none.
#[derive(Clone, Copy, Debug)]
pub struct Holding<'a> {
    /// The log.
    pub origin: &'a str,
    /// The public key.
    pub vkey: &'a str,
    /// 32 hex digits.
    pub nonce: &'a str,
}

impl Holding<'_> {
    fn message(&self, name: &Ident) -> Vec<u8> {
        let Self { origin, vkey, nonce } = self;
        format!("countersign-replica-holds/v1\n{origin}\n{name}\n{vkey}\n{nonce}\n").into_bytes()
    }
}

impl Members {
    /// This replica's statement that it has the file of a key, in base64.
    pub fn holding(&self, holding: &Holding<'_>) -> String {
        BASE64.encode(&self.key.sign(&holding.message(self.own())))
    }

    /// True if that is a member's statement.
    pub fn has_said(member: &Member, holding: &Holding<'_>, signature: &str) -> bool {
        let signature = BASE64.decode(signature.as_bytes());
        let message = holding.message(&member.name);
        signature.is_ok_and(|signature| member.key.has_signed(&message, &signature))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::cosignature::CosignerKey;

    const ORIGIN: &str = "log.example/v1/tenants/acme/logs/1";

    fn key(name: &str) -> CosignerKey {
        CosignerKey::new(&format!("log.example/replicas/{name}"), &[name.as_bytes()[0]; 32])
    }

    fn of(own: &str) -> Members {
        let name = |name: &str| Ident::new(name).unwrap();
        let member = |of: &str| Member { name: name(of), key: key(of).public().clone() };
        Members::new(name(own), key(own), ["a", "b", "c"].map(member).into()).unwrap()
    }

    #[test]
    fn p21_who_has_a_key_says_so_itself() {
        let (a, b) = (of("a"), of("b"));
        let holding = Holding { origin: ORIGIN, vkey: "k", nonce: "1" };
        let said = a.holding(&holding);
        assert!(Members::has_said(a.this(), &holding, &said));
        assert!(!Members::has_said(b.this(), &holding, &said), "it is another's");
        for other in [
            Holding { nonce: "2", ..holding },
            Holding { vkey: "l", ..holding },
            Holding { origin: "log.example/other", ..holding },
        ] {
            assert!(!Members::has_said(a.this(), &other, &said), "{other:?}");
        }
        assert!(!Members::has_said(a.this(), &holding, "x"));
    }
}
