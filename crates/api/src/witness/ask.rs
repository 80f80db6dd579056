//! One conversation with a witness about one checkpoint: `add-checkpoint` of C2SP tlog-witness. Believes nothing it says but a
//! cosignature that verifies.

use super::Witness;
use crate::sinks::net::{Said, short};
use ledger::{
    Ledger,
    log::{
        cosignature::{self, Cosigned},
        merkle,
    },
    reader::Published,
    tenant::Tenant,
};
use std::{sync::Arc, time::Duration};
use tokio::sync::oneshot;

/// Longest wait for an answer, and the largest one in bytes.
const ANSWER_WAIT: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: u64 = 64 * 1024;
/// Most requests about one checkpoint: the size may be another one than was thought, and another log server may ask too.
const TRIES: usize = 3;

/// A cosignature of the checkpoint of this size.
pub(super) struct Done {
    pub(super) size: u64,
    pub(super) cosigned: Cosigned,
}

/// Why there is none.
pub(super) enum Failed {
    /// Later there may be one.
    Later { after: Option<Duration>, why: String },
    /// The witness has another history of this log.
    Conflict(String),
}

impl Failed {
    /// In words.
    pub(super) fn why(&self) -> &str {
        match self {
            Self::Later { why, .. } | Self::Conflict(why) => why,
        }
    }
}

fn later(why: impl Into<String>) -> Failed {
    Failed::Later { after: None, why: why.into() }
}

/// Asks for a cosignature of the published checkpoint. `known`: the size that the witness has, as far as it is known.
pub(super) async fn ask(
    (ledger, tenant): (&Ledger, &Tenant),
    published: &Published,
    witness: &Arc<Witness>,
    mut known: u64,
) -> Result<Done, Failed> {
    for _ in 0..TRIES {
        let body = tokio::task::block_in_place(|| request((ledger, tenant), published, known))?;
        let said = send(witness, body).await.map_err(later)?;
        match said.status {
            200 => return taken(published, witness, &said.body),
            409 => {
                let size = size_of(&said.body)
                    .ok_or_else(|| later("it answers 409, and not with the size that it has"))?;
                let newest = tenant.published().size;
                if size > newest {
                    return Err(Failed::Conflict(format!(
                        "it has cosigned {size} entries of this log, and this server has {newest}: another server signs this log, or this database lost entries"
                    )));
                }
                if size > published.size {
                    return Err(later("it has cosigned a newer checkpoint"));
                }
                if size == known {
                    return Err(later(format!(
                        "it answers 409, and names the size {size} that it was sent"
                    )));
                }
                known = size;
            }
            422 if known > 0 => {
                return Err(Failed::Conflict(format!(
                    "it refuses the proof that its {known} entries begin these {}: it was shown another history of this log ({})",
                    published.size,
                    said.words()
                )));
            }
            _ => return Err(refusal(&said)),
        }
    }
    Err(later("its size changes with each request: does another server ask it about this log?"))
}

/// What a status without a cosignature means.
fn refusal(said: &Said) -> Failed {
    let words = said.words();
    let why = match said.status {
        300..400 => {
            format!("it sends elsewhere ({words}); witnesses are called at their url alone")
        }
        403 => format!(
            "it does not know this log's key ({words}): give its operator the public key of the log"
        ),
        404 => format!(
            "it does not know this log ({words}): give its operator the origin and the public key"
        ),
        _ => words,
    };
    Failed::Later { after: said.after, why }
}

/// The text of a request: the old size, the proof from there, and the checkpoint.
fn request(
    (ledger, tenant): (&Ledger, &Tenant),
    published: &Published,
    known: u64,
) -> Result<String, Failed> {
    let reader = ledger.reader(tenant, published);
    let proof = if known == 0 {
        Vec::new()
    } else {
        merkle::consistency(&reader, known, published.size).map_err(|e| later(e.to_string()))?
    };
    let hashes: Vec<String> = proof.iter().map(|hash| format!("{hash}\n")).collect();
    Ok(format!("old {known}\n{}\n{}", hashes.concat(), published.checkpoint))
}

/// The size that a witness names in a 409.
fn size_of(body: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(body).ok()?.strip_suffix('\n')?;
    text.parse().ok().filter(|size: &u64| size.to_string() == text)
}

/// The cosignature in an answer: verified as a line of the checkpoint that was sent.
fn taken(published: &Published, witness: &Witness, body: &[u8]) -> Result<Done, Failed> {
    let lines = std::str::from_utf8(body).map_err(|_| later("its answer is no text"))?;
    let keys = std::slice::from_ref(&witness.key);
    let found = cosignature::open(&format!("{}{lines}", published.checkpoint), keys);
    let mut found = found.map_err(|error| later(short(&format!("its answer: {error}"))))?;
    let cosigned = found.pop().ok_or_else(|| {
        later(format!("its answer has no cosignature by {}", witness.key.label()))
    })?;
    Ok(Done { size: published.size, cosigned })
}

/// Sends on a thread of its own: a stop of the server does not wait for a witness that hangs.
async fn send(witness: &Arc<Witness>, body: String) -> Result<Said, String> {
    let (done, answer) = oneshot::channel();
    let asked = Arc::clone(witness);
    let call = move || {
        let bounds = (ANSWER_WAIT, ANSWER_BYTES_MAX);
        drop(done.send(asked.client.ask("add-checkpoint", body.as_bytes(), bounds)));
    };
    let thread = std::thread::Builder::new().name("witness".into());
    thread.spawn(call).map_err(|error| error.to_string())?;
    answer.await.unwrap_or_else(|_| Err("the sender ended".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p21_sizes_in_a_409() {
        let check = |body: &[u8], size: Option<u64>| assert_eq!(size_of(body), size, "{body:?}");
        check(b"0\n", Some(0));
        check(b"20852163\n", Some(20_852_163));
        for body in [&b"7"[..], b"07\n", b"+7\n", b"7\n\n", b"7 \n", b"\n", b"", b"\xff\n"] {
            check(body, None);
        }
        check(b"18446744073709551616\n", None);
    }
}
