//! C2SP tlog-policy: which logs are known, and whose cosignatures make a checkpoint of theirs count.
//!
//! Read strictly, from bytes: names are octets and no text. Every mistake has its line.

mod anchor;
mod first;
mod follow;
mod read;

pub use anchor::Anchor;
pub use first::first;
pub use follow::{Followed, NotFollowed};

use super::{
    cosignature::{self, Cosigner},
    note::{self, Vkey},
};
use std::fmt;

/// Largest policy that is read, in bytes.
pub const POLICY_BYTES_MAX: usize = 64 * 1024;
/// Most logs, most witnesses and most groups. The specification asks for at least 32 of each.
pub const EACH_MAX: usize = 32;

/// Why a text is no policy: the line, from 1, and what is wrong there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct Error {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

/// A policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    logs: Vec<Log>,
    /// Witnesses and groups, in the order of their lines: a group is after its members.
    named: Vec<Named>,
    /// Position in `named`. `None` is the quorum `none`.
    quorum: Option<usize>,
}

/// A log that the policy accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Its key, whose name is its origin.
    pub vkey: Vkey,
    /// Its address.
    pub url: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Named {
    name: Vec<u8>,
    what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Witness(Box<Cosigner>),
    /// At least `least` of the members, which are positions in `named`.
    Group {
        least: usize,
        members: Vec<usize>,
    },
}

/// What a policy says of one checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// True if the quorum has cosigned.
    pub met: bool,
    /// The quorum's name, or `none`.
    pub quorum: String,
    /// Which witnesses of the policy have cosigned, in the policy's order.
    pub by: Vec<ByWitness>,
    /// What is missing, each a line; empty if the quorum is met.
    pub missing: Vec<String>,
}

/// A witness that has cosigned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ByWitness {
    /// Its name in the policy.
    pub name: String,
    /// The name of its key.
    pub key_name: String,
    /// When it says that it signed, in seconds since 1970.
    pub time: u64,
}

/// What stands behind a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// The log's signature alone.
    Logged,
    /// Also replicas of the log's own operator.
    Cosigned,
    /// Also somebody else whom the policy names.
    Witnessed,
}

impl Grade {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Logged => "logged",
            Self::Cosigned => "cosigned",
            Self::Witnessed => "witnessed",
        }
    }
}

impl Policy {
    /// Reads the text of a policy.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        read::policy(bytes)
    }

    /// The logs that it accepts. If there are none, the log is known from elsewhere.
    pub fn logs(&self) -> &[Log] {
        &self.logs
    }

    /// Names and keys of its witnesses.
    pub fn witnesses(&self) -> impl Iterator<Item = (String, &Cosigner)> {
        self.named.iter().filter_map(|named| match &named.what {
            What::Witness(key) => Some((shown(&named.name), &**key)),
            What::Group { .. } => None,
        })
    }

    /// Name of the quorum.
    pub fn quorum(&self) -> String {
        self.quorum.map_or_else(|| "none".into(), |at| shown(&self.named[at].name))
    }

    /// True if it accepts the log of this key: it names the key, or no log at all.
    pub fn accepts(&self, key: &Vkey) -> bool {
        self.logs.is_empty() || self.logs.iter().any(|log| log.vkey == *key)
    }

    /// Judges a checkpoint whose log has been verified. A wrong cosignature by a witness of the policy is an error.
    pub fn judge(&self, note: &str) -> Result<Judged, note::Error> {
        let keys: Vec<Cosigner> = self.witnesses().map(|(_, key)| key.clone()).collect();
        let found = cosignature::open(note, &keys)?;
        let mut judged =
            Judged { met: true, quorum: self.quorum(), by: Vec::new(), missing: Vec::new() };
        // One place for each name, in order: members come before their groups.
        let mut has: Vec<bool> = Vec::with_capacity(self.named.len());
        let mut witness = 0;
        for named in &self.named {
            has.push(match &named.what {
                What::Witness(key) => {
                    let signed = found.iter().find(|cosigned| cosigned.by == witness);
                    witness += 1;
                    judged.by.extend(signed.map(|cosigned| ByWitness {
                        name: shown(&named.name),
                        key_name: key.name().to_owned(),
                        time: cosigned.time,
                    }));
                    signed.is_some()
                }
                What::Group { least, members } => {
                    members.iter().filter(|at| has[**at]).count() >= *least
                }
            });
        }
        if let Some(at) = self.quorum.filter(|at| !has[*at]) {
            judged.met = false;
            self.missing(at, &has, &mut judged.missing);
        }
        Ok(judged)
    }

    /// Says what a name lacks that has not cosigned, and what its members lack.
    fn missing(&self, at: usize, has: &[bool], lines: &mut Vec<String>) {
        let name = |at: usize| shown(&self.named[at].name);
        match &self.named[at].what {
            What::Witness(key) => {
                lines.push(format!("witness {} ({}) has not cosigned", name(at), key.label()));
            }
            What::Group { least, members } => {
                let (there, away): (Vec<usize>, Vec<usize>) =
                    members.iter().partition(|member| has[**member]);
                let list =
                    |all: &[usize]| all.iter().map(|at| name(*at)).collect::<Vec<_>>().join(", ");
                let some = if there.is_empty() { "none".into() } else { list(&there) };
                lines.push(format!(
                    "group {} needs {least} of {}: {some} of them has cosigned; missing: {}",
                    name(at),
                    list(members),
                    list(&away)
                ));
                let groups = away
                    .iter()
                    .filter(|member| matches!(self.named[**member].what, What::Group { .. }));
                groups.for_each(|member| self.missing(*member, has, lines));
            }
        }
    }
}

impl Judged {
    /// The grade of a checkpoint of this origin. A cosigner whose key's name begins with the log's own host is a replica of the
    /// same operator.
    pub fn grade(&self, origin: &str) -> Grade {
        let own = |key_name: &str| is_own(key_name, origin);
        match (self.met, self.by.is_empty()) {
            (false, _) | (_, true) => Grade::Logged,
            _ if self.by.iter().all(|by| own(&by.key_name)) => Grade::Cosigned,
            _ => Grade::Witnessed,
        }
    }
}

/// True if a key's name is of the operator of the log: of the host and path before `/v1/tenants/` in its origin.
fn is_own(key_name: &str, origin: &str) -> bool {
    let host = origin.split_once("/v1/tenants/").map_or(origin, |(host, _)| host);
    key_name.strip_prefix(host).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Octets for people: what is no text is replaced.
fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

impl fmt::Display for Judged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.met {
            let by: Vec<&str> = self.by.iter().map(|by| by.name.as_str()).collect();
            let by = if by.is_empty() { "nobody".to_owned() } else { by.join(", ") };
            return write!(f, "quorum {} met, cosigned by {by}", self.quorum);
        }
        write!(f, "quorum {} not met: {}", self.quorum, self.missing.join("; "))
    }
}

#[cfg(test)]
mod tests;
