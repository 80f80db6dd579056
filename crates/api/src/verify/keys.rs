//! Keys documents: which keys sign the log, and which replicas cosign it.

use super::{
    Failure, Given, contradiction,
    file::{self, Form},
    refused,
};
use ledger::{
    log::note::Vkey,
    verify::{self, DocumentedMembers, KeysDocument, ProvenChange, Trust, Trusted},
};
use std::path::Path;

/// Reads a keys document, and follows it from the given key.
pub(super) fn document(
    path: &Path,
    first: &Vkey,
) -> Result<(Trust, Vec<DocumentedMembers>), Failure> {
    let place = path.display().to_string();
    let document: Result<KeysDocument, _> = serde_json::from_str(&file::read(path, Form::Keys)?);
    let document =
        document.map_err(|e| Failure::Unreadable(format!("{place}: no keys document: {e}")))?;
    let trust = verify::trust(first, Some(&document)).map_err(|error| refused(&place, &error))?;
    Ok((trust, document.members))
}

/// True if one of two chains from one key begins the other: the shorter may have been read before later keys
/// came.
pub(super) fn agree(one: &[Trusted], other: &[Trusted]) -> bool {
    one.iter().zip(other).all(|(one, other)| {
        let lasts = [one.last_size, other.last_size];
        one.vkey == other.vkey
            && (one.first_size == other.first_size || one.first_size == 0)
            && (lasts[0] == lasts[1] || lasts.contains(&None))
    })
}

impl Given {
    /// Verifies the changes of the replicas that a keys document proves.
    pub(super) fn take_changes(
        &mut self,
        place: &str,
        members: &[DocumentedMembers],
    ) -> Result<Vec<ProvenChange>, Failure> {
        let changes = verify::changes(members, &self.keys);
        let changes = changes.map_err(|error| refused(place, &error))?;
        for ProvenChange { change, verified } in &changes {
            let place = format!("{place} (replicas {})", change.version);
            self.claim.receipt(&place, verified).map_err(|error| contradiction(&error))?;
            let (index, entry) = (verified.receipt.index, &verified.receipt.entry);
            self.entries.take(&place, index, entry).map_err(|error| contradiction(&error))?;
        }
        Ok(changes)
    }
}
