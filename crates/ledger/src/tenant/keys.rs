//! The keys with which a server of a log signs.

use super::Tenant;
use crate::{
    keyring::{self, Keyring},
    log::{checkpoint::Checkpoint, note::Vkey},
    system::KeyUse,
};

impl Tenant {
    /// Keys whose signature marks a journal message as ours: those in force, and those whose files are here.
    pub(crate) fn keys_at_hand(&self) -> Vec<Vkey> {
        let mut keys = self.journal_keys();
        keys.extend(self.with_keys(|ring| ring.vkeys(KeyUse::Journal)));
        keys.dedup();
        keys
    }

    /// Signs a checkpoint with each of `keys`.
    pub fn sign<'a>(
        &self,
        checkpoint: &Checkpoint,
        keys: impl Iterator<Item = &'a Vkey>,
    ) -> Result<String, keyring::Error> {
        let ring = self.keyring.read().expect("no holder of the lock panics");
        let signers: Vec<_> = keys.map(|key| ring.signer(key)).collect::<Result<_, _>>()?;
        if signers.is_empty() {
            return Err(keyring::Error::Missing(self.origin.clone()));
        }
        Ok(checkpoint.sign(signers))
    }

    /// Calls `look` with the keyring.
    pub fn with_keys<T>(&self, look: impl FnOnce(&Keyring) -> T) -> T {
        look(&self.keyring.read().expect("no holder of the lock panics"))
    }

    /// A key that is in force, but whose file is missing.
    pub fn missing_key(&self) -> Option<keyring::Error> {
        if self.halted().is_some() {
            return None;
        }
        let newest = self.keys_in_force();
        self.with_keys(|ring| newest.iter().find_map(|key| ring.signer(key).err()))
    }

    /// The keys with which a server of this log signs now, as far as it shows the log: the newest of each use.
    pub fn keys_in_force(&self) -> Vec<Vkey> {
        let published = self.published();
        let keys = &published.keys;
        let newest = [keys.journal().pop(), keys.token().pop(), keys.agent().pop()];
        keys.signing(published.size).cloned().chain(newest.into_iter().flatten()).collect()
    }

    /// Makes the next key of a use. It signs nothing before its entry is posted.
    pub fn generate_key(&self, usage: KeyUse) -> Result<Vkey, keyring::Error> {
        let mut ring = self.keyring.write().expect("no holder of the lock panics");
        ring.generate(usage, &self.origin)
    }
}
