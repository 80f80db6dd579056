//! The key that signs evidence. It is not the log's: it says who made the folder.

use super::{EXIT_UNREADABLE, Failed};
use crate::terminal::say;
use ledger::{atomic, keyring, log::note::Signer};
use std::path::Path;

/// Largest file of a key, in bytes.
const KEY_BYTES_MAX: u64 = 4096;

/// Makes a key. The public half is printed: whoever verifies needs it from you.
pub fn new_key(path: &Path) -> Result<(), Failed> {
    let signer = Signer::new("countersign-evidence", &keyring::random32());
    atomic::create(path, format!("{}\n", signer.private_text().as_str()).as_bytes())?;
    say(&signer.vkey().to_string());
    Ok(())
}

/// Reads a key.
pub fn signer(path: &Path) -> Result<Signer, Failed> {
    let unreadable =
        |what: String| Failed::new(EXIT_UNREADABLE, format!("{}: {what}", path.display()));
    let text = zeroize::Zeroizing::new(atomic::read(path, KEY_BYTES_MAX)?.ok_or_else(|| {
        unreadable(
            "no such file; make a key with `countersign evidence --new-signing-key FILE`".into(),
        )
    })?);
    let text = std::str::from_utf8(&text).map_err(|_| unreadable("not a key".into()))?;
    Signer::parse(text.trim()).map_err(|error| unreadable(error.to_string()))
}
