//! An entry: the bytes of one leaf (`proto/formats/entry.md`). Hashed, stored and served exactly as written here.

use crate::{
    canonical,
    disclosure::{self, Salt, Scope, Seed},
    event::Field,
    ident::Ident,
    json::{self, Value},
    time::Nanos,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Version of the entry format, member `v`.
pub const VERSION: u32 = 1;

/// What an entry records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Leaf 0.
    Genesis,
    /// A decision event.
    Decision,
    /// Any other event a producer published.
    Event,
    /// Approval and token events.
    Approval,
    /// Erasable evidence about an approval or an administrative act.
    Evidence,
    /// A message that was not accepted.
    Rejected,
    /// Another body under a key that is taken.
    DuplicateConflict,
    /// Numbers of a source did not come.
    GapOpened,
    /// A missing number arrived.
    GapClosed,
    /// Messages of the journal itself are gone.
    JournalGap,
    /// Payload was erased.
    Erasure,
    /// An API key was added or removed.
    Access,
    /// A signing key took over.
    Key,
    /// Rules took effect.
    Rules,
    /// A new journal epoch began.
    Journal,
    /// Time was restarted.
    Clock,
    /// Old journal messages are removed.
    Trim,
    /// A server signs the log from here on.
    Signer,
}

impl Kind {
    /// Every kind with its name in entries.
    pub const ALL: [(Self, &'static str); 18] = [
        (Self::Genesis, "genesis"),
        (Self::Decision, "decision"),
        (Self::Event, "event"),
        (Self::Approval, "approval"),
        (Self::Evidence, "evidence"),
        (Self::Rejected, "rejected"),
        (Self::DuplicateConflict, "duplicate_conflict"),
        (Self::GapOpened, "gap_opened"),
        (Self::GapClosed, "gap_closed"),
        (Self::JournalGap, "journal_gap"),
        (Self::Erasure, "erasure"),
        (Self::Access, "access"),
        (Self::Key, "key"),
        (Self::Rules, "rules"),
        (Self::Journal, "journal"),
        (Self::Clock, "clock"),
        (Self::Trim, "trim"),
        (Self::Signer, "signer"),
    ];

    /// Its name in entries.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }

    /// The kind with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, n)| *n == name).map(|(kind, _)| *kind)
    }

    /// True if it is on the chain `prior.system`: it decides how later messages are posted or judged.
    pub fn is_system(self) -> bool {
        match self {
            Self::Genesis
            | Self::JournalGap
            | Self::Erasure
            | Self::Access
            | Self::Key
            | Self::Rules
            | Self::Journal
            | Self::Clock
            | Self::Trim
            | Self::Signer => true,
            Self::Decision
            | Self::Event
            | Self::Approval
            | Self::Evidence
            | Self::Rejected
            | Self::DuplicateConflict
            | Self::GapOpened
            | Self::GapClosed => false,
        }
    }
}

/// The last entries of two sorts before an entry (member `prior`). Walking back from the last leaf proves, without the
/// whole log, that there is no later one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prior {
    /// Leaf index of the last `approval` entry. Absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<u64>,
    /// Leaf index of the last entry whose kind [is a system one](Kind::is_system). Absent in the genesis only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<u64>,
}

impl Prior {
    /// Updates it after the entry at `index`, for the next one.
    pub fn note(&mut self, kind: Kind, index: u64) {
        if kind == Kind::Approval {
            self.approval = Some(index);
        } else if kind.is_system() {
            self.system = Some(index);
        }
    }
}

/// An entry without its place. It is made before the journal sequence is known.
#[derive(Clone, Debug)]
pub struct Draft {
    /// What it records.
    pub kind: Kind,
    /// Producer that published it.
    pub producer: Option<Ident>,
    /// RFC 8785 form of the member `event`, an object.
    pub event: Vec<u8>,
    /// Digest of `[salt, "", whole event]`.
    pub commit: String,
    /// The salt of `commit`.
    pub commit_salt: Salt,
    /// Disclosures of the payload, sorted by name.
    pub disclosures: Vec<Vec<u8>>,
    /// True if the salts were derived from the tenant's salt key.
    pub derived: bool,
}

/// A remark on the number of an event (`sequence` member).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SequenceNote {
    /// The number was seen before.
    Reused,
    /// The number is before the first one seen.
    BelowBase,
}

/// Place of an entry in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Journal epoch, 1 or later.
    pub epoch: u64,
    /// Journal sequence of the message.
    pub seq: u64,
    /// Time of the message. Not before the previous entry's, except in a `clock` entry.
    pub time: Nanos,
}

impl Draft {
    /// Commits to `whole` and to `fields`, with salts from `seed`.
    pub fn new(
        kind: Kind,
        producer: Option<Ident>,
        event: Vec<u8>,
        whole: &[u8],
        fields: &[Field],
        salts: (&Seed, Scope<'_>),
    ) -> Self {
        let (seed, scope) = salts;
        let commit_salt = seed.salt(&scope, commit_name(kind));
        let commit = disclosure::digest_of(&commit_salt, "", whole);
        let disclosures = fields
            .iter()
            .map(|f| disclosure::text(&seed.salt(&scope, &f.name), &f.name, &f.value))
            .collect();
        let derived = seed.is_derived();
        Self { kind, producer, event, commit, commit_salt, disclosures, derived }
    }

    /// The leaf's bytes: RFC 8785 JSON, members in order.
    pub fn finish(
        &self,
        tenant: &Ident,
        (origin, prior): (Origin, Prior),
        note: Option<SequenceNote>,
    ) -> Vec<u8> {
        let mut digests: Vec<String> =
            self.disclosures.iter().map(|text| disclosure::digest(text)).collect();
        digests.sort_unstable();
        let mut out = Vec::with_capacity(self.event.len() + 46 * digests.len() + 320);
        let mut push = |text: &str| out.extend_from_slice(text.as_bytes());
        push("{\"commit\":\"");
        push(&self.commit);
        push("\",\"event\":");
        out.extend_from_slice(&self.event);
        let mut push = |text: &str| out.extend_from_slice(text.as_bytes());
        push(&format!(
            ",\"journal\":{{\"epoch\":{},\"seq\":{},\"time\":\"{}\"}},\"kind\":\"{}\",\"payload\":[",
            origin.epoch,
            origin.seq,
            origin.time,
            self.kind.as_str()
        ));
        for (at, digest) in digests.iter().enumerate() {
            push(if at == 0 { "\"" } else { ",\"" });
            push(digest);
            push("\"");
        }
        push("],\"prior\":{");
        if let Some(index) = prior.approval {
            push(&format!("\"approval\":{index}"));
        }
        if let Some(index) = prior.system {
            let comma = if prior.approval.is_some() { "," } else { "" };
            push(&format!("{comma}\"system\":{index}"));
        }
        match &self.producer {
            Some(producer) => push(&format!("}},\"producer\":\"{producer}\"")),
            None => push("},\"producer\":null"),
        }
        if self.derived {
            push(",\"salt\":\"derived\"");
        }
        match note {
            Some(SequenceNote::Reused) => push(",\"sequence\":\"reused\""),
            Some(SequenceNote::BelowBase) => push(",\"sequence\":\"below_base\""),
            None => {}
        }
        push(&format!(",\"tenant\":\"{tenant}\",\"v\":{VERSION}}}"));
        out
    }
}

/// The name under which `commit` is salted. Entries of one message must not share a salt.
fn commit_name(kind: Kind) -> &'static str {
    match kind {
        // No payload field has these names: bare names do not begin with `/`, and no pointer begins with `//`.
        Kind::GapOpened => "//gap_opened",
        Kind::GapClosed => "//gap_closed",
        _ => "",
    }
}

/// An entry, read from its bytes.
#[derive(Clone, Debug)]
pub struct View<'a> {
    value: Value<'a>,
    /// What it records.
    pub kind: Kind,
    /// Its place in the journal.
    pub origin: Origin,
    /// The last approval and system entries before it.
    pub prior: Prior,
}

impl<'a> View<'a> {
    /// Reads an entry. `None` if [`Draft::finish`] would not write these bytes.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        Self::of(json::parse_kept(bytes).ok()?)
    }

    /// Reads an entry from its parsed value.
    pub fn of(value: Value<'a>) -> Option<Self> {
        let kind = Kind::parse(value.get("kind")?.as_str()?)?;
        let journal = value.get("journal")?;
        let origin = Origin {
            epoch: journal.get("epoch")?.as_u64()?,
            seq: journal.get("seq")?.as_u64()?,
            time: Nanos::parse(journal.get("time")?.as_str()?)?,
        };
        let prior = value.get("prior")?;
        let before = |name| match prior.get(name) {
            Some(index) => index.as_u64().map(Some),
            None => Some(None),
        };
        let prior = Prior { approval: before("approval")?, system: before("system")? };
        (value.get("v")?.as_u64()? == u64::from(VERSION)).then_some(Self {
            value,
            kind,
            origin,
            prior,
        })
    }

    /// The member at a path of names, e.g. `["event", "source"]`.
    pub fn at(&self, path: &[&str]) -> Option<&Value<'a>> {
        path.iter().try_fold(&self.value, |value, name| value.get(name))
    }

    /// The text at a path of names.
    pub fn text(&self, path: &[&str]) -> Option<&str> {
        self.at(path)?.as_str()
    }

    /// The digests of the payload.
    pub fn payload(&self) -> impl Iterator<Item = &str> {
        let digests = self.value.get("payload").and_then(Value::as_array).unwrap_or(&[]);
        digests.iter().filter_map(Value::as_str)
    }

    /// The member `event` as one of our own types.
    pub fn event_as<T: serde::de::DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&canonical::to_vec(self.value.get("event")?)).ok()
    }
}

/// True if it is evidence about an administrative act, not about an approval.
pub fn is_reason(view: &View<'_>) -> bool {
    view.kind == Kind::Evidence && matches!(view.at(&["event", "approval_id"]), Some(Value::Null))
}

/// The erasable part of an entry, stored apart from it: the salt of `commit`, and the disclosures that are not erased.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Payload {
    /// Absent after an erasure.
    pub commit_salt: Option<Salt>,
    /// Texts of the disclosures.
    pub disclosures: Vec<Vec<u8>>,
}

impl Payload {
    /// `1 ‖ u16 length ‖ commit salt ‖ (u32 length ‖ disclosure)*`, big-endian.
    pub fn encode(&self) -> Vec<u8> {
        let salt = self.commit_salt.as_ref().map_or("", |salt| salt.0.as_str());
        let total: usize = self.disclosures.iter().map(|d| d.len() + 4).sum();
        let mut out = Vec::with_capacity(3 + salt.len() + total);
        out.push(1);
        out.extend_from_slice(&u16::try_from(salt.len()).expect("43 characters").to_be_bytes());
        out.extend_from_slice(salt.as_bytes());
        for text in &self.disclosures {
            let length = u32::try_from(text.len()).expect("an event is at most 256 KiB");
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(text);
        }
        out
    }

    /// Reads what [`Payload::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (&[1, high, low], rest) = bytes.split_first_chunk::<3>()? else { return None };
        let (salt, mut rest) =
            rest.split_at_checked(usize::from(u16::from_be_bytes([high, low])))?;
        let salt = std::str::from_utf8(salt).ok()?;
        let commit_salt = (!salt.is_empty()).then(|| Salt(salt.to_owned()));
        let mut disclosures = Vec::new();
        while !rest.is_empty() {
            let (length, tail) = rest.split_first_chunk::<4>()?;
            let (text, tail) = tail.split_at_checked(u32::from_be_bytes(*length) as usize)?;
            disclosures.push(text.to_vec());
            rest = tail;
        }
        Some(Self { commit_salt, disclosures })
    }

    /// The remaining fields: RFC 8785 values by name.
    pub fn values(&self) -> BTreeMap<String, Vec<u8>> {
        let named = |disclosure: &Vec<u8>| match json::parse_kept(disclosure).ok()?.as_array()? {
            [_, Value::String(name), value] => {
                Some((name.clone().into_owned(), canonical::to_vec(value)))
            }
            _ => None,
        };
        self.disclosures.iter().filter_map(named).collect()
    }

    /// One value of it in RFC 8785 form; the others are read past.
    pub fn value(&self, name: &str) -> Option<Vec<u8>> {
        self.disclosures.iter().find_map(|text| match json::parse_kept(text).ok()?.as_array()? {
            [_, Value::String(found), value] if found == name => Some(canonical::to_vec(value)),
            _ => None,
        })
    }

    /// The name inside a disclosure text.
    pub fn name(disclosure: &[u8]) -> Option<String> {
        match json::parse_kept(disclosure).ok()?.as_array()? {
            [_, Value::String(name), _] => Some(name.clone().into_owned()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
