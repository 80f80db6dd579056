//! The exit from a lost register: what this replica has shown, and a majority had cosigned, goes back into it (P21).

use crate::{
    ident::Ident,
    journal::{
        Error,
        jetstream::{Connection, register::Register},
    },
    log::replicas::{Certified, Members},
    post::Log,
};

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// This replica has shown nothing that a majority cosigned.
    Nothing,
    /// The register holds a checkpoint of this size, at least as large.
    There(u64),
    /// It was put back, with this size.
    Back(u64),
}

/// Puts `note`, the newest checkpoint that this replica has shown, into a register that holds none as large.
///
/// It proves itself: a majority has cosigned it. Whoever has cosigned more keeps to that by its guard.
pub async fn put_back(
    (connection, copies): (&Connection, usize),
    tenant: &Ident,
    (members, log): (&Members, &Log),
    note: &str,
) -> Result<Put, Error> {
    let certified = |note: &str| -> Option<Certified> {
        let signing = |size| log.keys.signing(size).cloned().collect();
        members.certified(note, &log.origin, signing).ok()
    };
    let Some(kept) = certified(note) else { return Ok(Put::Nothing) };
    let register = Register::open(connection, tenant, copies).await?;
    let (seq, value) = register.value().await?;
    let held = certified(&String::from_utf8_lossy(&value)).map(|held| held.checkpoint.size);
    if let Some(held) = held.filter(|held| *held >= kept.checkpoint.size) {
        return Ok(Put::There(held));
    }
    register.swap(seq, members.own(), kept.note.into_bytes()).await?;
    Ok(Put::Back(kept.checkpoint.size))
}
