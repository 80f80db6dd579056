//! Computes the verdicts of a log again while its entries pass by in order, wherever they come from (P15).

use decider::{
    decision::Fields,
    policy::{self, Bundle, Differs, Ruling},
};
use ledger::{
    entry::{Kind, View},
    event::is_reserved_tool,
    post::{self, BundleInForce, Policies},
    system::policy::{BundleEntry, PartAt},
};
use serde_json::Value;
use std::{
    collections::{HashMap, hash_map::Entry},
    rc::Rc,
};

/// What is recorded, as far as it may be read.
pub trait Recorded {
    /// Why it can't be read.
    type Error;

    /// The payload of an entry. Empty if it is not disclosed.
    fn payload(&self, index: u64, view: &View<'_>) -> Result<Rc<Fields>, Self::Error>;

    /// The bundle that an entry proposes. `None` if it proposes none.
    fn proposed(&self, index: u64) -> Result<Option<BundleEntry>, Self::Error>;

    /// A file of a bundle. `None` if it is not disclosed.
    fn policy_file(&self, part: &PartAt) -> Result<Option<String>, Self::Error>;
}

/// A bundle with its version; or why it can't be read.
type Read = Result<(Bundle, u64), String>;

/// A log while its verdicts are computed again.
#[derive(Default)]
pub struct Replayed {
    policies: Policies,
    /// Bundles by the leaf index of their entry: two versions may have one digest.
    bundles: HashMap<u64, Read>,
}

impl Replayed {
    /// Notes what the entry puts in force. Every `policy` entry must be noted, in order.
    pub fn note(&mut self, index: u64, view: &View<'_>) {
        if view.kind == Kind::Policy {
            self.policies.note(index, view);
        }
    }

    /// The bundle in force here.
    pub fn in_force(&self) -> Option<&BundleInForce> {
        self.policies.in_force.as_ref()
    }

    /// Computes the verdict of an entry again. `None` if there is nothing to compute.
    pub fn step<R: Recorded>(
        &mut self,
        recorded: &R,
        index: u64,
        view: &View<'_>,
    ) -> Result<Option<Result<Ruling, Differs>>, R::Error> {
        self.note(index, view);
        if !view.is_ours() {
            return Ok(None);
        }
        let activates = view.text(&["event", "data", "activates"]);
        let reserved = view.text(&["event", "data", "tool", "name"]).is_some_and(is_reserved_tool);
        if reserved && activates.is_none() {
            return Ok(None);
        }
        let payload = recorded.payload(index, view)?;
        if let Some(activates) = activates {
            return Ok(asks_for_that(activates, view, &payload).err().map(Err));
        }
        if view.at(&["event", "data"]).is_some_and(post::is_contended) {
            // It rests on nothing but that others changed what it rested on: there is nothing to compute. That it is a
            // denial was checked with the entry.
            return Ok(None);
        }
        let bundle = match self.bundle(recorded)? {
            None => None,
            Some(Ok((bundle, version))) => Some((bundle, *version)),
            Some(Err(_)) => return Ok(Some(Err(Differs::Payload("bundle")))),
        };
        Ok(Some(policy::replay(view, &payload, bundle)))
    }

    /// The bundle in force here, read from what is disclosed of its files.
    pub fn bundle<R: Recorded>(&mut self, recorded: &R) -> Result<Option<&Read>, R::Error> {
        let Some(wanted) = self.policies.in_force.clone() else { return Ok(None) };
        let known = match self.bundles.entry(wanted.bundle) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let read = read(recorded, wanted.bundle)?;
                place.insert(read.map(|bundle| (bundle, wanted.version)))
            }
        };
        Ok(Some(known))
    }
}

/// Reads the bundle that an entry proposes, or says why it can't be read.
pub fn read<R: Recorded>(recorded: &R, index: u64) -> Result<Result<Bundle, String>, R::Error> {
    let Some(proposed) = recorded.proposed(index)? else {
        return Ok(Err(format!("entry {index} names no parts")));
    };
    let mut files = Vec::with_capacity(proposed.parts.len());
    for part in proposed.parts {
        let Some(content) = recorded.policy_file(&part)? else {
            return Ok(Err(format!("{} (entry {}) is not disclosed", part.path, part.index)));
        };
        files.push((part.path, content));
    }
    Ok(Bundle::read_again(&files).map_err(|first| first.to_string()))
}

/// A question to people about a bundle must be about the bundle that its entry names (P17).
fn asks_for_that(activates: &str, view: &View<'_>, payload: &Fields) -> Result<(), Differs> {
    let is_whole = view.payload().count() == payload.len();
    let Some(params) = payload.get("params") else {
        let missing = "people were asked about nothing that can be read";
        return if is_whole { Err(Differs::Form(missing.into())) } else { Ok(()) };
    };
    let params: Value = serde_json::from_slice(params).unwrap_or_default();
    if params["digest"].as_str() == Some(activates) {
        return Ok(());
    }
    Err(Differs::Form("people were asked about another bundle than the entry names".into()))
}
