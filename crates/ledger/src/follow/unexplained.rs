//! What `recover --accept-hole` may accept.

use super::holes::Holes;
use crate::{
    journal::{Error, Followed, jetstream::Jetstream},
    log::note::Vkey,
    post::Position,
    tenant::Tenant,
};
use tokio::sync::mpsc;

/// Holes after the posted messages that nothing explains, each `from..=to`, up to the stream's present end.
pub async fn unexplained(
    stream: &Jetstream,
    tenant: &Tenant,
    (position, keys): (&Position, Vec<Vkey>),
) -> Result<Vec<(u64, u64)>, Error> {
    let end = stream.state().await?.last;
    let mut gone = Vec::new();
    let (sink, mut batches) = mpsc::channel(1);
    let mut next = position.posted + 1;
    let look = async {
        while next <= end
            && let Some(followed) = batches.recv().await
        {
            let Followed::Messages(messages) = followed else {
                // The stream holds no further message, so none will arrive.
                if stream.next_from(next).await?.is_none() {
                    break;
                }
                continue;
            };
            for message in messages {
                if message.seq > next {
                    gone.push((next, message.seq - 1));
                }
                next = message.seq + 1;
            }
        }
        Ok::<(), Error>(())
    };
    tokio::select! {
        biased;
        looked = look => looked?,
        read = stream.follow(position.posted + 1, sink) => read?,
    }
    if next <= end {
        gone.push((next, end));
    }
    let mut holes = Holes::new(tenant, None, position, keys);
    let mut left: Vec<(u64, u64)> = Vec::new();
    for (from, to) in gone {
        for seq in from..=to {
            if seq < holes.below || holes.at(stream, seq).await?.is_some() {
                continue;
            }
            match left.last_mut() {
                Some((_, last)) if *last + 1 == seq => *last = seq,
                _ => left.push((seq, seq)),
            }
        }
    }
    Ok(left)
}
