//! The exit from a lost register: what this replica has shown, and a majority had cosigned, goes back into it (P21).

use crate::{
    ident::Ident,
    journal::{
        Error,
        jetstream::{Connection, register::Register},
    },
    log::{
        members,
        replicas::{Members, size_of, vouched},
    },
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
    (replicas, log): (&Members, &Log),
    note: &str,
) -> Result<Put, Error> {
    let read = |note: &str| log.keys.certified(&log.origin, replicas, note).ok();
    let Some(kept) = read(note) else { return Ok(Put::Nothing) };
    let register = Register::open(connection, tenant, copies).await?;
    let (seq, value) = register.value().await?;
    let held = String::from_utf8_lossy(&value);
    // A key that is unknown here may have taken over: then a majority's word is enough not to replace it.
    let set = members::in_force(replicas.sets(&log.keys.members), size_of(&held));
    let held = read(&held).or_else(|| vouched(&held, &log.origin, set).ok());
    let held = held.map(|held| held.checkpoint.size);
    if let Some(held) = held.filter(|held| *held >= kept.checkpoint.size) {
        return Ok(Put::There(held));
    }
    register.swap(seq, replicas.own(), kept.note.into_bytes()).await?;
    Ok(Put::Back(kept.checkpoint.size))
}
