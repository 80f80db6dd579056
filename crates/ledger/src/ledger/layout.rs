//! Checks that the store has the key layout of this version.

use super::Error;
use crate::store::{Family, LAYOUT, Read as _, rocks::Rocks};

/// Checks the layout, or writes it into a new store. `signed`: the guard knows logs that were signed.
pub fn check(store: &Rocks, create: bool, signed: bool) -> Result<(), Error> {
    match store.get(Family::Meta, b"format")? {
        Some(format) if format == LAYOUT.to_string().as_bytes() => Ok(()),
        Some(format) => Err(Error::Setup(format!(
            "the data directory has layout {}, this version reads {LAYOUT}; use the version that wrote it \
             (docs/operate/upgrade.md says what else there is)",
            String::from_utf8_lossy(&format)
        ))),
        None if create => {
            let write = ((Family::Meta, b"format".to_vec()), Some(LAYOUT.to_string().into_bytes()));
            Ok(store.commit(std::iter::once(write))?)
        }
        None if signed => Err(Error::Setup(
            "the data directory is empty or damaged, but the guard knows logs that were signed: restore a backup"
                .into(),
        )),
        None => Err(Error::Setup("the data directory is empty: run `countersign init`".into())),
    }
}
