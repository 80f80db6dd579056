//! Computes the verdicts of a log again while its entries pass by in order, wherever they come from (P15).

use decider::{
    decision::Fields,
    policy::{self, Believed, Bundle, Differs, ListProposal, OwnList, OwnLists, Ruling, items_of},
};
use ledger::{
    entry::{Kind, View},
    event::is_reserved_tool,
    json,
    post::{self, Freezes, Policies},
    system::{
        freeze::Acting,
        policy::{BundleEntry, ListForm, PartAt},
    },
};
use serde_json::Value;
use std::{collections::BTreeSet, rc::Rc};

/// What is recorded, as far as it may be read.
pub trait Recorded {
    /// Why it can't be read.
    type Error;

    /// The payload of an entry. Empty if it is not disclosed.
    fn payload(&self, index: u64, view: &View<'_>) -> Result<Rc<Fields>, Self::Error>;

    /// The bundle that an entry proposes. `None` if it proposes none.
    fn proposed(&self, index: u64) -> Result<Option<BundleEntry>, Self::Error>;

    /// The version of a list that an entry proposes. `None` if it proposes none.
    fn list(&self, index: u64) -> Result<Option<ListForm>, Self::Error>;

    /// An entry that a decision names. `None` if it is not at hand.
    fn named(&self, index: u64) -> Result<Option<Vec<u8>>, Self::Error>;

    /// A file of a bundle or of a list. `None` if it is not disclosed.
    fn policy_file(&self, part: &PartAt) -> Result<Option<String>, Self::Error>;
}

/// A bundle with its version; or why it can't be read.
type Read = Result<(Bundle, u64), String>;

/// What a bundle is read from: its entry, and those of the lists that have entries of their own.
type Of = (u64, Vec<(String, u64)>);

/// A log while its verdicts are computed again.
#[derive(Default)]
pub struct Replayed {
    policies: Policies,
    freezes: Freezes,
    /// What was in force from each index on, for results of calls that were judged then.
    before: Vec<(u64, Policies)>,
    /// The bundle that was in force last, with the lists in force then. Two versions may have one digest.
    known: Option<(Of, Read)>,
    /// What had to be believed so far, beside clocks and time zones.
    pub believed: BTreeSet<Believed>,
}

impl Replayed {
    /// Notes what the entry puts in force. Every `policy` and `freeze` entry must be noted, in order.
    pub fn note(&mut self, index: u64, view: &View<'_>) {
        match view.kind {
            Kind::Policy => {
                self.policies.note(index, view);
                if view.is_beside() {
                    self.before.push((index, self.policies.clone()));
                }
            }
            Kind::Freeze => drop(self.freezes.note(index, view)),
            _ => {}
        }
    }

    /// What is in force here.
    pub fn in_force(&self) -> (&Policies, &Freezes) {
        (&self.policies, &self.freezes)
    }

    /// Computes the verdict of an entry again. `None` if there is nothing to compute.
    pub fn step<R: Recorded>(
        &mut self,
        recorded: &R,
        index: u64,
        view: &View<'_>,
    ) -> Result<Option<Result<Ruling, Differs>>, R::Error> {
        self.note(index, view);
        if let Some((decision, _)) = view.result_of() {
            return self.result(recorded, (index, decision), view);
        }
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
            if let Err(why) = asks_for_that(activates, view, &payload) {
                return Ok(Some(Err(why)));
            }
            return Ok(self.asks_for_these(recorded, &payload)?.err().map(Err));
        }
        if view.at(&["event", "data"]).is_some_and(post::is_contended) {
            // It rests on nothing but that others changed what it rested on: there is nothing to compute. That it is a
            // denial was checked with the entry.
            return Ok(None);
        }
        if let Some(denied) = self.frozen(view) {
            return Ok(Some(denied));
        }
        let bundle = match self.bundle(recorded)? {
            None => None,
            Some(Ok((bundle, version))) => Some((bundle, *version)),
            Some(Err(_)) => return Ok(Some(Err(Differs::Payload("bundle")))),
        };
        let again = policy::replay(view, &payload, bundle);
        let (Ok(_), Some((bundle, _))) = (&again, bundle) else { return Ok(Some(again)) };
        let place =
            |name: &str| view.at(&["event", "data", name, "index"]).and_then(json::Value::as_u64);
        let others = named(recorded, place("verified_by"), place("parent"))?;
        let token = others.token.as_deref().and_then(View::parse);
        let before = others.parent.as_deref().and_then(View::parse);
        let before = before.as_ref().map(|view| (view, others.kept.as_deref()));
        let believed = policy::check_named((view, &payload), token.as_ref(), before, bundle);
        Ok(Some(again.and_then(|ruling| {
            self.believed.extend(believed?);
            Ok(ruling)
        })))
    }

    /// The verdict about a result, by the bundle in force where the call was judged. A denial because the call was not
    /// permitted, or is frozen, rests on no bundle: there is nothing to compute.
    fn result<R: Recorded>(
        &mut self,
        recorded: &R,
        (index, decision): (u64, u64),
        view: &View<'_>,
    ) -> Result<Option<Result<Ruling, Differs>>, R::Error> {
        let denies = view.text(&["event", "data", "verdict"]) == Some("deny");
        if denies && view.at(&["event", "data", "bundle"]).is_none() {
            return Ok(None);
        }
        let payload = recorded.payload(index, view)?;
        if view.payload().count() == payload.len() && !payload.contains_key("result") {
            // Nobody kept it: there are its digest and its counts alone.
            return Ok(None);
        }
        let at = self.before.partition_point(|(from, _)| *from < decision);
        let then = at.checked_sub(1).map(|at| &self.before[at].1);
        let read = match then {
            Some(then) => bundle_by(&mut self.known, recorded, then)?,
            None => None,
        };
        let bundle = match read {
            None => None,
            Some(Ok((bundle, version))) => Some((bundle, *version)),
            Some(Err(_)) => return Ok(Some(Err(Differs::Payload("bundle")))),
        };
        Ok(Some(policy::replay_result(view, &payload, bundle)))
    }

    /// The verdict about a call that a freeze stops: it needs no bundle. `None` if the entry names no freeze.
    fn frozen(&self, view: &View<'_>) -> Option<Result<Ruling, Differs>> {
        let data = view.at(&["event", "data"])?;
        let index = post::frozen_by(data)?;
        let call = Acting::of(view.text(&["producer"]).unwrap_or_default(), data);
        Some(if self.freezes.stops(index, &call) {
            Ok(Ruling::frozen(index))
        } else {
            Err(Differs::Form("it denies a call for a freeze that does not stop it".into()))
        })
    }

    /// The bundle in force here with the lists in force here, read from what is disclosed of their files.
    pub fn bundle<R: Recorded>(&mut self, recorded: &R) -> Result<Option<&Read>, R::Error> {
        bundle_by(&mut self.known, recorded, &self.policies)
    }

    /// A bundle with the lists in force here.
    #[cfg(feature = "server")]
    pub fn with_lists<R: Recorded>(
        &self,
        recorded: &R,
        bundle: Bundle,
    ) -> Result<Result<Bundle, String>, R::Error> {
        with_lists_of(&self.policies, recorded, bundle)
    }

    /// A question to people about a version of a list must show exactly what it adds and removes (P17).
    fn asks_for_these<R: Recorded>(
        &self,
        recorded: &R,
        payload: &Fields,
    ) -> Result<Result<(), Differs>, R::Error> {
        let asked = payload.get("params").and_then(|text| serde_json::from_slice(text).ok());
        let Some(asked) = asked else { return Ok(Ok(())) };
        let asked: ListProposal = asked;
        let wrong = |what: &str| Ok(Err(Differs::Form(what.to_owned())));
        let Some(form) = recorded.list(asked.entry)? else {
            return wrong(
                "people were asked about a version of a list that its entry does not propose",
            );
        };
        if (&form.name, form.version, &form.digest) != (&asked.list, asked.version, &asked.digest) {
            return wrong(
                "people were asked about another version of a list than its entry proposes",
            );
        }
        let (before, after) =
            (self.file_before(recorded, &form)?, recorded.policy_file(&form.part)?);
        let (Some(before), Some(after)) = (before, after) else { return Ok(Ok(())) };
        let read = |content: &str| items_of(&form.name, content).unwrap_or_default();
        let (before, after): (BTreeSet<String>, BTreeSet<String>) = (read(&before), read(&after));
        let (added, removed) = (after.difference(&before), before.difference(&after));
        if added.eq(&asked.added) && removed.eq(&asked.removed) && after.len() == asked.items {
            return Ok(Ok(()));
        }
        wrong("people were asked about other items than the version of the list adds and removes")
    }

    /// The file that a version of a list replaces.
    fn file_before<R: Recorded>(
        &self,
        recorded: &R,
        form: &ListForm,
    ) -> Result<Option<String>, R::Error> {
        let part = match recorded.list(form.replaces)? {
            Some(before) => Some(before.part),
            None => match &self.policies.in_force {
                Some(bundle) => recorded
                    .proposed(bundle.bundle)?
                    .and_then(|bundle| bundle.part(&form.part.path).cloned()),
                None => None,
            },
        };
        match part {
            Some(part) => recorded.policy_file(&part),
            None => Ok(None),
        }
    }
}

/// What a decision names beside its bundle.
#[derive(Default)]
struct NamedEntries {
    token: Option<Vec<u8>>,
    parent: Option<Vec<u8>>,
    /// The payload of the parent, as far as it is disclosed.
    kept: Option<Rc<Fields>>,
}

fn named<R: Recorded>(
    recorded: &R,
    token: Option<u64>,
    parent: Option<u64>,
) -> Result<NamedEntries, R::Error> {
    let mut named = NamedEntries::default();
    if let Some(index) = token {
        named.token = recorded.named(index)?;
    }
    let Some(index) = parent else { return Ok(named) };
    named.parent = recorded.named(index)?;
    if let Some(view) = named.parent.as_deref().and_then(View::parse) {
        let payload = recorded.payload(index, &view)?;
        let params = ["params", "received"].iter().any(|name| payload.contains_key(*name));
        named.kept = params.then_some(payload);
    }
    Ok(named)
}

/// The bundle that `policies` put in force, with the lists in force by them. `known` is the one that was read last.
fn bundle_by<'a, R: Recorded>(
    known: &'a mut Option<(Of, Read)>,
    recorded: &R,
    policies: &Policies,
) -> Result<Option<&'a Read>, R::Error> {
    let Some(wanted) = &policies.in_force else { return Ok(None) };
    let lists = policies.lists.iter().map(|(name, list)| (name.clone(), list.list));
    let of = (wanted.bundle, lists.collect());
    let now = match known.take() {
        Some(last) if last.0 == of => last,
        _ => {
            let read = match read(recorded, wanted.bundle)? {
                Ok(bundle) => with_lists_of(policies, recorded, bundle)?,
                Err(why) => Err(why),
            };
            (of, read.map(|bundle| (bundle, wanted.version)))
        }
    };
    Ok(Some(&known.insert(now).1))
}

/// A bundle with the lists in force by `policies`.
fn with_lists_of<R: Recorded>(
    policies: &Policies,
    recorded: &R,
    bundle: Bundle,
) -> Result<Result<Bundle, String>, R::Error> {
    let mut own = OwnLists::new();
    for (name, list) in policies.lists.iter().filter(|(name, _)| bundle.items(name).is_some()) {
        let form = recorded.list(list.list)?;
        let content = match &form {
            Some(form) => recorded.policy_file(&form.part)?,
            None => None,
        };
        let Some(content) = content else {
            let version = list.version;
            return Ok(Err(format!("version {version} of the list {name} is not disclosed")));
        };
        own.insert(name.clone(), OwnList { version: list.version, content });
    }
    Ok(bundle.with_lists(&own).map_err(|first| first.to_string()))
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

/// A question to people about a bundle or a list must be about the one that its entry names (P17).
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
    Err(Differs::Form("people were asked about something else than the entry names".into()))
}
