//! An entry before its journal sequence is known.

use super::{Kind, Origin, Prior, SequenceNote, VERSION, payload};
use crate::{
    disclosure::{self, Field, Scope, Seed},
    ident::Ident,
};
use std::io::Write as _;

/// An entry without its place. Everything that does not depend on the place is made here, on every core, because one
/// thread posts.
#[derive(Clone, Debug)]
pub struct Draft {
    /// What it records.
    pub kind: Kind,
    /// Producer that published it.
    pub producer: Option<Ident>,
    /// RFC 8785 form of the member `event`, an object.
    pub event: Vec<u8>,
    /// Digest of `[salt, "", whole event]`.
    commit: String,
    /// Digests of the disclosures, in order.
    digests: Vec<String>,
    /// The payload as it is stored ([`super::Payload::encode`]).
    pub payload: Vec<u8>,
    /// True if the salts were derived from the tenant's salt key.
    derived: bool,
}

impl Draft {
    /// Commits to `whole` and to `fields`, with salts from `seed`.
    pub fn new(
        kind: Kind,
        producer: Option<Ident>,
        event: Vec<u8>,
        whole: &[u8],
        fields: &[Field],
        (seed, scope): (&Seed, Scope<'_>),
    ) -> Self {
        let salts = seed.salts(&scope);
        let commit_salt = salts.of(commit_name(kind));
        let commit = disclosure::digest_of(&commit_salt, "", whole);
        // A salt has 43 characters.
        let bytes = fields.iter().map(|field| field.name.len() + field.value.len() + 64).sum();
        let mut payload = payload::begin(Some(&commit_salt), bytes);
        let mut digests = Vec::with_capacity(fields.len());
        for Field { name, value } in fields {
            let write = |out: &mut Vec<u8>| disclosure::write(&salts.of(name), name, value, out);
            let at = payload::push(&mut payload, write);
            digests.push(disclosure::digest(&payload[at..]));
        }
        digests.sort_unstable();
        Self { kind, producer, event, commit, digests, payload, derived: seed.is_derived() }
    }

    /// The leaf's bytes: RFC 8785 JSON, members in order.
    pub fn finish(
        &self,
        tenant: &Ident,
        (origin, prior): (Origin, Prior),
        note: Option<SequenceNote>,
    ) -> Vec<u8> {
        let Self { event, digests, .. } = self;
        let mut out = Vec::with_capacity(event.len() + 46 * digests.len() + 320);
        self.write(&mut out, tenant, (origin, prior), note).expect("memory takes every byte");
        out
    }

    /// True if these are the bytes of an entry of this draft, as far as it is known before its place: `commit`, which
    /// its salt makes unique to the message, and `event`.
    #[cfg(feature = "rocksdb")]
    pub(crate) fn begins(&self, entry: &[u8]) -> bool {
        let rest = entry.strip_prefix(b"{\"commit\":\"");
        let rest = rest.and_then(|rest| rest.strip_prefix(self.commit.as_bytes()));
        let rest = rest.and_then(|rest| rest.strip_prefix(b"\",\"event\":"));
        let rest = rest.and_then(|rest| rest.strip_prefix(self.event.as_slice()));
        rest.is_some_and(|rest| rest.starts_with(b",\"journal\":"))
    }

    fn write(
        &self,
        out: &mut Vec<u8>,
        tenant: &Ident,
        (origin, prior): (Origin, Prior),
        note: Option<SequenceNote>,
    ) -> std::io::Result<()> {
        write!(out, "{{\"commit\":\"{}\",\"event\":", self.commit)?;
        out.extend_from_slice(&self.event);
        let Origin { epoch, seq, time } = origin;
        let kind = self.kind.as_str();
        write!(out, ",\"journal\":{{\"epoch\":{epoch},\"seq\":{seq},\"time\":\"{time}\"}}")?;
        write!(out, ",\"kind\":\"{kind}\",\"payload\":[")?;
        for (at, digest) in self.digests.iter().enumerate() {
            out.extend_from_slice(if at == 0 { b"\"" } else { b",\"" });
            out.extend_from_slice(digest.as_bytes());
            out.push(b'"');
        }
        out.extend_from_slice(b"],\"prior\":{");
        if let Some(index) = prior.approval {
            write!(out, "\"approval\":{index}")?;
        }
        if let Some(index) = prior.system {
            let comma = if prior.approval.is_some() { "," } else { "" };
            write!(out, "{comma}\"system\":{index}")?;
        }
        match &self.producer {
            Some(producer) => write!(out, "}},\"producer\":\"{producer}\"")?,
            None => out.extend_from_slice(b"},\"producer\":null"),
        }
        if self.derived {
            out.extend_from_slice(b",\"salt\":\"derived\"");
        }
        match note {
            Some(SequenceNote::Reused) => out.extend_from_slice(b",\"sequence\":\"reused\""),
            Some(SequenceNote::BelowBase) => out.extend_from_slice(b",\"sequence\":\"below_base\""),
            None => {}
        }
        write!(out, ",\"tenant\":\"{tenant}\",\"v\":{VERSION}}}")
    }
}

/// The name under which `commit` is salted. Entries of one message must not share a salt.
fn commit_name(kind: Kind) -> &'static str {
    match kind {
        // No payload field has these names: bare names do not begin with `/`, and no pointer begins with `//`.
        Kind::GapOpened => "//gap_opened",
        Kind::GapClosed => "//gap_closed",
        Kind::BudgetWarned => "//budget_warned",
        Kind::BudgetExceeded => "//budget_exceeded",
        _ => "",
    }
}
