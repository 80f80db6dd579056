//! What sessions on the web pages need between two requests: the key that signs them, and the limit of sign-ins.
//!
//! Sessions themselves are in cookies (`pages::session`).

pub mod nonces;
pub mod recent;
mod throttle;

use ledger::{keyring, time::Nanos};
use nonces::Nonces;
use recent::Recent;
use std::path::Path;
use throttle::Throttle;
use zeroize::Zeroizing;

/// Time that a sign-in at a provider may take, in seconds: a person proves a second factor there.
pub const PROVIDER_SECONDS: u64 = 900;

/// State of the sessions.
pub struct Sessions {
    /// Signs cookies and forms.
    pub key: Zeroizing<[u8; 32]>,
    /// Limits sign-ins.
    pub throttle: Throttle,
    /// Nonces in the challenges of passkeys.
    pub nonces: Nonces,
    /// The `state` of sign-ins at providers of `OpenID` Connect.
    pub states: Nonces,
    /// Sign-ins that entries cover.
    pub recent: Recent,
}

impl Sessions {
    /// Reads the key, or makes it.
    pub fn open(keys_dir: &Path, now: Nanos) -> Result<Self, keyring::Error> {
        let key = keyring::session_key(keys_dir)?;
        let nonces = Nonces::new(key.clone(), now);
        let states = Nonces::new(key.clone(), now).living(PROVIDER_SECONDS);
        Ok(Self { key, throttle: Throttle::default(), nonces, states, recent: Recent::default() })
    }
}
