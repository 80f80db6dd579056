//! A hole that nothing explains, where replicas sign the log: a majority must agree that nobody has what was in it (P3, P21).

use super::{append_gap, settle};
use crate::{
    gone::Hole,
    journal::{Error, jetstream::Jetstream},
    ledger::Ledger,
    replica::lost::{self, Found, Lost},
    system::{By, Duty},
    tenant::{Replica, Tenant},
};

/// Asks the replicas what they know of the sequences `from..=to`, and appends `system.gap` if a majority has promised not to post
/// them, unless one came at `next_gap` or later. This replica posts nothing past `from` meanwhile.
///
/// [`Error::Halt`] if another replica has posted them. [`Error::Unavailable`] while it is open: then it is asked again.
pub(super) async fn agree(
    ledger: &Ledger,
    (tenant, replica, stream): (&Tenant, &Replica, &Jetstream),
    (from, to): (u64, u64),
    next_gap: u64,
) -> Result<(), Error> {
    settle(tenant).await;
    let position = tenant.position();
    if position.posted + 1 != from {
        let what = format!("journal message {from} is missing; posting what comes before it");
        return Err(Error::Unavailable(what));
    }
    let lost = Lost { epoch: position.epoch, from, to };
    let found = lost::ask(stream, ledger, (tenant, replica), (lost, &position)).await;
    let words = |what: &str| {
        format!(
            "journal messages {from} to {to} are gone, and nothing in the journal explains it: {what}"
        )
    };
    match found {
        Ok(Found::Agreed(agreed)) => {
            tracing::warn!(tenant = %tenant.name, from, to, "journal messages are lost: a majority of the replicas has not posted them");
            let by = By::Server { server: Duty::Journal };
            append_gap(tenant, stream, &Hole { from, to, by, agreed: Some(agreed) }, next_gap).await
        }
        Ok(Found::Posted { by, index }) => Err(Error::Halt(format!(
            "{} The replica {by} has posted them (entry {index}), so this one, {}, posts nothing over them. Begin it anew from {by}: by \
             `countersign replica join`, which brings what a majority has cosigned, or else by a backup of {by} \
             (docs/operate/several-machines.md)",
            words("this replica lacks them."),
            replica.members.own()
        ))),
        Ok(Found::Open(what)) => {
            let what = words(&what);
            replica.set_hole(Some(what.clone()));
            Err(Error::Unavailable(what))
        }
        Err(Error::Unavailable(what) | Error::Unknown(what)) => {
            replica.set_hole(Some(words(&what)));
            Err(Error::Unavailable(what))
        }
        Err(error) => Err(error),
    }
}
