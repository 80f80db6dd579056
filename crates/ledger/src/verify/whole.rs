//! A whole export: every entry, every tile, and what the entries say about their own log.

mod alerts;
mod frozen;
mod holes;
mod identity;
mod kept;
mod named;
mod opened;
mod pruned;

use super::{Erased, Error, NamedSets, Summary, Trusted, Walk, checkpoint, keys::Named};
use crate::{
    entry::{Kind, View},
    event::is_reserved_tool,
    json::Value,
    log::{
        checkpoint::Checkpoint,
        tile::{Tile, read_bundle},
    },
    post::{self, Policies, Retention, event_key},
    system::{
        Genesis, SignIns,
        incident::Incidents,
        policy::{
            Activates, Activation, BundleEntry, ListActivation, ListForm, PartAt, bundle_digest,
            list_path,
        },
    },
    time::Nanos,
};
use std::collections::{HashMap, HashSet};

/// A whole log that verifies.
#[derive(Debug)]
pub struct Export {
    /// Its checkpoint.
    pub checkpoint: Checkpoint,
    /// The trusted keys, as its own entries name them. Keys that a newer document adds come after them.
    pub keys: Vec<Trusted>,
    /// Totals from its entries.
    pub summary: Summary,
    /// What was erased.
    pub erased: Erased,
    /// Its replicas, as its own entries name them.
    pub members: NamedSets,
}

/// What the entries so far say about their own log.
#[derive(Default)]
struct Told {
    origin: String,
    tenant: String,
    keys: Named,
    members: NamedSets,
    erased: Erased,
    /// Of each entry that names another one by its leaf hash: its index, the index of the other, and the leaf hash.
    named: Vec<(u64, u64, String)>,
    /// The first half of each event's key. 128 bits are enough to distinguish them.
    events: HashSet<[u8; 16]>,
    /// Retention and legal holds so far.
    retention: Retention,
    /// `journal.time` of every entry.
    times: Vec<Nanos>,
    /// The policies in force so far.
    policies: Policies,
    frozen: frozen::Frozen,
    identity: identity::Identity,
    /// Keys with which people sign in.
    sign_ins: SignIns,
    alerts: alerts::OfAlerts,
    holes: holes::OfHoles,
    /// Which incidents are open so far.
    incidents: Incidents,
    /// Digest and length of each part of policies.
    parts: HashMap<u64, (String, u64)>,
    /// Of each bundle, where the files of its lists are, by path.
    files: HashMap<u64, HashMap<String, u64>>,
    /// The versions of lists that were proposed.
    lists: HashMap<u64, ListForm>,
    /// Decisions that opened no approval, by an entry that says why.
    not_opened: HashSet<u64>,
    budgets: post::Budgets,
    histories: post::Histories,
    pruned: pruned::OfPruning,
    /// The last approval entry, and what it put in force.
    activates: Option<(u64, Redeeming)>,
}

/// What an approval's message put in force.
#[derive(serde::Deserialize)]
struct Redeeming {
    approval_id: String,
    activates: Activates,
}

impl Told {
    fn take(&mut self, index: u64, view: &View<'_>) -> Result<(), &'static str> {
        self.times.push(view.origin.time);
        if self.retention.deleted.is_some() {
            return Err("the tenant was deleted by the entry before it");
        }
        let tenant = view.text(&["tenant"]).unwrap_or_default();
        if view.kind == Kind::Genesis {
            let genesis: Genesis = view.event_as().ok_or("not a genesis of version 1")?;
            self.keys.genesis(&genesis);
            self.origin = genesis.origin;
            self.tenant = genesis.tenant.to_string();
        }
        if tenant != self.tenant {
            return Err("it is of another tenant than the genesis");
        }
        if self.activates.is_some() && view.kind != Kind::Policy {
            return Err(
                "the approval's message before it puts something in force, and no activation follows",
            );
        }
        if let Some((of, leaf)) = self.frozen.take(index, view)? {
            self.named.push((index, of, leaf));
        }
        self.named.extend(self.identity.take(index, view)?);
        self.sign_ins.take(view)?;
        self.alerts.take(index, view)?;
        self.budgets.take(index, view)?;
        self.histories.take(index, view)?;
        self.holes.take(index, view, &self.origin)?;
        match view.kind {
            Kind::Key => self.keys.key(view),
            Kind::Members => self.members.take((index, view), &self.origin, &self.keys),
            Kind::Incident if !post::note_incident(&mut self.incidents, index, view) => {
                Err("not an incident entry that can be here")
            }
            Kind::Clock => {
                self.retention.time_anew();
                Ok(())
            }
            Kind::Retention => self.retention(index, view),
            Kind::Prune => self.prune(index, view),
            Kind::Erasure if self.retention.is_held() => {
                Err("payload was erased under a legal hold")
            }
            Kind::Erasure => {
                let of = self.erased.take(index, view)?;
                if of < self.kept_from() {
                    return Err("it erases payload of an entry that was pruned");
                }
                let leaf = view.text(&["event", "leaf_hash"]).unwrap_or_default();
                self.named.push((index, of, leaf.to_owned()));
                Ok(())
            }
            Kind::Policy => self.policy(index, view),
            Kind::NotOpened => self.not_opened(index, view),
            Kind::Approval => {
                self.opens(view)?;
                self.activates = view.event_as::<Redeeming>().map(|told| (index, told));
                Ok(())
            }
            Kind::Decision | Kind::Event => {
                self.rests_on_what_is_in_force(view)?;
                self.named.extend(view.result_of().map(|(of, leaf)| (index, of, leaf)));
                self.event(view)
            }
            _ => Ok(()),
        }
    }

    /// A bundle or a version of a list takes effect only by the redemption of an approval, in the same message, in place
    /// of what it names (P17).
    fn policy(&mut self, index: u64, view: &View<'_>) -> Result<(), &'static str> {
        let op = view.text(&["event", "op"]).unwrap_or_default();
        if self.activates.is_some() && !view.is_beside() {
            return Err(
                "the approval's message before it puts something in force, and this is not it",
            );
        }
        match op {
            "activate" => {
                let activation: Activation = view.event_as().ok_or("not an activation")?;
                let told = self.redeemed(index)?;
                self.activation(&activation, &told)?;
            }
            "change" => {
                let activation: ListActivation = view.event_as().ok_or("not a change of a list")?;
                let told = self.redeemed(index)?;
                self.list_activation(&activation, &told)?;
            }
            "list" => {
                let form = ListForm::of(view).ok_or("not a version of a list")?;
                if !form.is_sound() || !self.has(&form.part) {
                    return Err(
                        "the digest is not that of the version of the list, or its file is another entry",
                    );
                }
                self.lists.insert(index, form);
            }
            "bundle" => {
                let files = self.bundle(view)?;
                self.files.insert(index, files);
            }
            "part" => {
                let bytes = view.at(&["event", "bytes"]).and_then(Value::as_u64);
                let sha256 = view.text(&["event", "sha256"]).unwrap_or_default().to_owned();
                self.parts.insert(index, (sha256, bytes.unwrap_or_default()));
            }
            _ => {}
        }
        if self.policies.note(index, view) { Ok(()) } else { Err("not a policy entry") }
    }

    /// What the message of the entry before puts in force.
    fn redeemed(&mut self, index: u64) -> Result<Redeeming, &'static str> {
        let told = self.activates.take().filter(|(at, _)| at + 1 == index);
        told.map(|(_, told)| told).ok_or("no approval was redeemed for this activation")
    }

    fn activation(
        &self,
        activation: &Activation,
        Redeeming { approval_id, activates }: &Redeeming,
    ) -> Result<(), &'static str> {
        let same = activation.approval_id.as_str() == approval_id
            && (Some(activation.bundle), None) == (activates.bundle, activates.list)
            && activation.digest == activates.digest
            && (&activation.decision, &activation.replaces)
                == (&activates.decision, &activates.replaces);
        let before = self.policies.in_force.as_ref().map(|bundle| &bundle.digest);
        let outdated = self.policies.has_new_list_since(activation.decision.index);
        if !same || activation.replaces.as_ref() != before || outdated {
            return Err("it is not what the approval's redemption puts in force here");
        }
        Ok(())
    }

    fn list_activation(
        &self,
        activation: &ListActivation,
        Redeeming { approval_id, activates }: &Redeeming,
    ) -> Result<(), &'static str> {
        let ListActivation { name, version, list, part, decision, digest, .. } = activation;
        let same = activation.approval_id.as_str() == approval_id
            && (None, Some(*list)) == (activates.bundle, activates.list)
            && (decision, digest) == (&activates.decision, &activates.digest);
        let files = self.policies.in_force.as_ref().and_then(|now| self.files.get(&now.bundle));
        let file = files.and_then(|files| files.get(&list_path(name))).copied();
        let form = self.lists.get(list).filter(|form| {
            (&form.name, form.version, form.part.index, &form.digest)
                == (name, *version, *part, digest)
        });
        if !same || !form.is_some_and(|form| self.policies.is_next(form, file)) {
            return Err(
                "it is not the version of the list that the approval's redemption puts in force here",
            );
        }
        Ok(())
    }

    /// The digest of a bundle names its parts, and each part is the entry that it names. Returns where its lists are.
    fn bundle(&self, view: &View<'_>) -> Result<HashMap<String, u64>, &'static str> {
        let bundle = BundleEntry::of(view).ok_or("not a bundle")?;
        if bundle.digest != bundle_digest(bundle.language, &bundle.parts)
            || !bundle.parts.iter().all(|part| self.has(part))
        {
            return Err("the bundle's digest is not that of its parts, or a part is another entry");
        }
        let lists = bundle.parts.into_iter().filter(|part| part.path.starts_with("lists/"));
        Ok(lists.map(|part| (part.path, part.index)).collect())
    }

    fn has(&self, part: &PartAt) -> bool {
        let known = self.parts.get(&part.index);
        known.is_some_and(|(sha256, bytes)| (sha256, *bytes) == (&part.sha256, part.bytes))
    }

    /// A decision of ours names the bundle that is in force at its place, or none is (P14).
    fn rests_on_what_is_in_force(&self, view: &View<'_>) -> Result<(), &'static str> {
        let tool = view.text(&["event", "data", "tool", "name"]).unwrap_or_default();
        let data = view.at(&["event", "data"]).filter(|_| view.is_ours());
        if let Some(data) = data {
            post::check_form(data, view.text(&["producer"]).unwrap_or_default(), tool)?;
            let at = view.text(&["event", "time"]).and_then(Nanos::parse).unwrap_or_default();
            if post::is_late(at, view.origin.time) {
                return Err("it was decided more than 60 s before or after the journal took it");
            }
        } else if view.is_result() {
            let data = view.at(&["event", "data"]);
            return data
                .and_then(post::returned)
                .map(|_| ())
                .ok_or("not a result as this server judges them");
        } else if is_reserved_tool(tool) {
            return Err("a producer's event names a tool of ours");
        }
        let here = (&self.policies, &self.frozen.freezes);
        let producer = view.text(&["producer"]).unwrap_or_default();
        data.map_or(Ok(()), |data| post::stands(producer, data, here))
    }

    /// Each event must be one entry for ever (P2).
    fn event(&mut self, view: &View<'_>) -> Result<(), &'static str> {
        let half = event_key(view.scope()).first_chunk().copied().unwrap_or_default();
        if self.events.insert(half) {
            Ok(())
        } else {
            Err(
                "an earlier entry is of the same producer, source and id: the event was posted twice",
            )
        }
    }
}

/// Verifies a whole export. `read` gives the bytes of a file by its path in the export.
///
/// Every bundle and tile is read and derived again. `each` receives every entry with its index, in order, and
/// may refuse it.
pub fn export(
    trusted: &[Trusted],
    checkpoint_text: &str,
    mut read: impl FnMut(&str) -> Option<Vec<u8>>,
    mut each: impl FnMut(u64, &[u8], &View<'_>) -> Result<(), Error>,
) -> Result<Export, Error> {
    let signed = checkpoint(checkpoint_text, trusted)?;
    let mut walk = Walk::default();
    let mut told = Told::default();
    while walk.size() < signed.size {
        let number = walk.size() / 256;
        let width = Tile::width_at(None, number, signed.size);
        let path = format!("tile/{}", Tile { level: None, number, width });
        let bundle = read(&path).ok_or_else(|| Error::export(path.clone(), "missing"))?;
        let entries = read_bundle(&bundle).filter(|entries| entries.len() == width);
        let entries = entries.ok_or_else(|| Error::export(path, "not a bundle of that width"))?;
        for entry in entries {
            let index = walk.size();
            let (view, full) = walk.read(entry)?;
            for tile in full {
                let place = Tile { level: Some(tile.level), number: tile.number, width: 256 };
                compare(&mut read, &place, &tile.bytes)?;
            }
            let wrong = |what: &'static str| Error::export(format!("entry {index}"), what);
            told.take(index, &view).map_err(wrong)?;
            each(index, entry, &view)?;
        }
    }
    for level in 0..8 {
        let hashes = walk.edge().partial(level);
        let number = (signed.size >> (8 * u32::from(level))) / 256;
        if !hashes.is_empty() {
            let bytes: Vec<u8> = hashes.iter().flat_map(|hash| hash.0).collect();
            compare(&mut read, &Tile { level: Some(level), number, width: hashes.len() }, &bytes)?;
        }
    }
    if walk.root() != signed.root {
        let place = format!("entries 0 to {}", signed.size.saturating_sub(1));
        return Err(Error::export(place, "they do not give the root the checkpoint signs"));
    }
    let last = |what| Error::export("the last entry", what);
    if told.activates.is_some() {
        return Err(last("the last message puts something in force, and no activation follows"));
    }
    told.frozen.end().map_err(last)?;
    told.holes.are_at_their_places(signed.size, &mut read)?;
    named::leaves_are_as_named(&told.named, &walk, &mut read)?;
    pruned::roots_are_as_named(&told.pruned, walk.edge(), &mut read)?;
    let keys = names_itself(&told, &signed, trusted)?;
    let signed = checkpoint(checkpoint_text, &keys)?;
    let (summary, Told { erased, members, .. }) = (walk.summary().clone(), told);
    Ok(Export { checkpoint: signed, keys, summary, erased, members })
}

/// The genesis must name the log of the checkpoint; the log names the keys that sign it.
fn names_itself(
    told: &Told,
    signed: &Checkpoint,
    trusted: &[Trusted],
) -> Result<Vec<Trusted>, Error> {
    if signed.size == 0 {
        return Ok(trusted.to_vec());
    }
    if told.origin != signed.origin {
        return Err(Error::export(
            "entry 0",
            "the genesis is that of another log than the checkpoint",
        ));
    }
    told.keys.reconcile(trusted, signed.size)
}

fn compare(
    read: &mut impl FnMut(&str) -> Option<Vec<u8>>,
    tile: &Tile,
    expected: &[u8],
) -> Result<(), Error> {
    let path = format!("tile/{tile}");
    let what = match read(&path) {
        Some(bytes) if bytes == expected => return Ok(()),
        Some(_) => "not the hashes of the entries",
        None => "missing",
    };
    Err(Error::export(path, what))
}
