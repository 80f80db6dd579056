//! Posts what happens to policies: parts, bundles, versions of lists, and what puts them in force.

use super::{Error, Log, Prepared, body};
use crate::{
    canonical,
    entry::{Draft, Kind, Origin, View},
    event::{Field, RESERVED_TOOL},
    ident::Ident,
    journal::Subject,
    json::Value,
    log::merkle::leaf_hash,
    store::{self, Changes},
    system::{
        BODY_BYTES_MAX,
        policy::{
            Activates, Activation, BundleEntry, BundleForm, ListActivation, ListForm,
            PART_BYTES_MAX, PartAt, PolicyBody, bundle_digest, list_path,
        },
    },
    time::Nanos,
};
use data_encoding::BASE64URL_NOPAD;
use serde_json::json;
use sha2::{Digest as _, Sha256};

/// What a redemption puts in force.
pub(super) enum Puts {
    Bundle(Activation),
    List(ListActivation),
}

impl Log {
    /// Posts a part, a bundle, or a version of a list.
    pub(super) fn post_policy(
        &mut self,
        changes: &mut Changes<'_>,
        origin: Origin,
        message: &Prepared,
        subject: &Subject,
    ) -> Result<Option<u64>, Error> {
        let Some(body) = body::read::<PolicyBody>(&message.body) else { return Ok(None) };
        let salts = (&message.seed, body::scope(subject));
        let draft = match body {
            PolicyBody::Part { sha256, content, by } => {
                let digest = BASE64URL_NOPAD.encode(&Sha256::digest(content.as_bytes()));
                if digest != sha256 || content.len() > PART_BYTES_MAX {
                    return Ok(None);
                }
                let bytes = content.len();
                let event = json!({"op": "part", "sha256": sha256, "bytes": bytes, "by": by});
                let event = canonical::of(&event);
                let field = Field { name: "content".into(), value: canonical::of(&content) };
                Draft::new(Kind::Policy, None, event.clone(), &event, &[field], salts)
            }
            PolicyBody::Bundle(form) => {
                if !self.fits_bundle(changes, &form)? || !self.is_earlier(form.reason.as_ref()) {
                    return Ok(None);
                }
                let version = self.position.policies.versions + 1;
                let mut event = json!(form);
                event["op"] = "bundle".into();
                event["version"] = version.into();
                event["previous"] = json!(self.position.policies.last);
                let event = canonical::of(&event);
                if event.len() > BODY_BYTES_MAX {
                    return Ok(None);
                }
                self.position.policies.versions = version;
                self.position.policies.last = Some(self.position.size);
                Draft::new(Kind::Policy, None, event.clone(), &event, &[], salts)
            }
            PolicyBody::List(form) => {
                let fits = form.is_sound() && self.is_earlier(form.reason.as_ref());
                if !fits || !self.has_part(changes, &form.part)? {
                    return Ok(None);
                }
                let event = canonical::of(&PolicyBody::List(form));
                Draft::new(Kind::Policy, None, event.clone(), &event, &[], salts)
            }
        };
        Ok(Some(self.append(changes, draft, origin, None)))
    }

    /// True if the digest names these parts, and each part is where the bundle says.
    fn fits_bundle(&self, changes: &Changes<'_>, form: &BundleForm) -> Result<bool, store::Error> {
        if bundle_digest(form.language, &form.parts) != form.digest || form.parts.is_empty() {
            return Ok(false);
        }
        for part in &form.parts {
            if !self.has_part(changes, part)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// True if a part is where somebody says.
    fn has_part(&self, changes: &Changes<'_>, part: &PartAt) -> Result<bool, store::Error> {
        if part.index >= self.position.size {
            return Ok(false);
        }
        let entry = self.proven(changes, part.index)?;
        let view = View::parse(&entry).filter(|view| view.kind == Kind::Policy);
        Ok(view.is_some_and(|view| {
            view.text(&["event", "op"]) == Some("part")
                && view.text(&["event", "sha256"]) == Some(&part.sha256)
                && view.at(&["event", "bytes"]).and_then(Value::as_u64) == Some(part.bytes)
        }))
    }

    /// What the redemption puts in force, if exactly this was asked for by the approval's decision and it replaces what
    /// is in force. That the approval is granted and unspent is known by the message's place: it follows what its writer
    /// read.
    pub(super) fn puts(
        &self,
        changes: &Changes<'_>,
        (id, at): (&Ident, Nanos),
        activates: Activates,
    ) -> Result<Option<Puts>, store::Error> {
        let Some(action) = activates.action() else { return Ok(None) };
        let (decision, size) = (&activates.decision, self.position.size);
        let is_later = |index: &u64| *index >= size;
        if [activates.bundle, activates.list].iter().flatten().any(is_later)
            || !(self.kept_from()..size).contains(&decision.index)
            || at >= activates.before
        {
            return Ok(None);
        }
        let entry = self.proven(changes, decision.index)?;
        let asked = View::parse(&entry).is_some_and(|view| {
            let scope = view.scope();
            view.is_ours()
                && scope.producer == RESERVED_TOOL
                && scope.approval_id(&self.tenant) == *id
                && view.text(&["event", "data", "tool", "action"]) == Some(action)
                && view.text(&["event", "data", "activates"]) == Some(&activates.digest)
        });
        if !asked || leaf_hash(&entry) != decision.leaf_hash {
            return Ok(None);
        }
        match (activates.bundle, activates.list) {
            (Some(bundle), _) => self.bundle_put(changes, (id, bundle), activates),
            (None, Some(list)) => self.list_put(changes, (id, list), activates),
            (None, None) => Ok(None),
        }
    }

    /// The activation of a bundle. It must not change the file of a list that got entries of its own since people were
    /// asked: what they approved of it would silently not count.
    fn bundle_put(
        &self,
        changes: &Changes<'_>,
        (id, bundle): (&Ident, u64),
        activates: Activates,
    ) -> Result<Option<Puts>, store::Error> {
        let Activates { decision, digest, replaces, .. } = activates;
        let policies = &self.position.policies;
        let in_force = policies.in_force.as_ref().map(|bundle| &bundle.digest);
        if replaces.as_ref() != in_force || policies.has_new_list_since(decision.index) {
            return Ok(None);
        }
        let entry = self.proven(changes, bundle)?;
        let view = View::parse(&entry).filter(|view| view.kind == Kind::Policy);
        let version = view.and_then(|view| {
            let fits = view.text(&["event", "digest"]) == Some(&digest)
                && view.text(&["event", "op"]) == Some("bundle");
            view.at(&["event", "version"]).and_then(Value::as_u64).filter(|_| fits)
        });
        let (approval_id, op) = (id.clone(), "activate".to_owned());
        Ok(version.map(|version| {
            Puts::Bundle(Activation {
                op,
                approval_id,
                version,
                bundle,
                decision,
                digest,
                replaces,
            })
        }))
    }

    /// The activation of a version of a list.
    fn list_put(
        &self,
        changes: &Changes<'_>,
        (id, list): (&Ident, u64),
        activates: Activates,
    ) -> Result<Option<Puts>, store::Error> {
        let entry = self.proven(changes, list)?;
        let form = View::parse(&entry).as_ref().and_then(ListForm::of);
        let Some(form) = form.filter(|form| form.digest == activates.digest) else {
            return Ok(None);
        };
        let policies = &self.position.policies;
        let file = match &policies.in_force {
            Some(bundle) => self.file_in(changes, bundle.bundle, &list_path(&form.name))?,
            None => None,
        };
        if !policies.is_next(&form, file) {
            return Ok(None);
        }
        let ListForm { name, version, part, digest, .. } = form;
        Ok(Some(Puts::List(ListActivation {
            op: "change".to_owned(),
            approval_id: id.clone(),
            name,
            version,
            list,
            part: part.index,
            decision: activates.decision,
            digest,
        })))
    }

    /// Leaf index of a file in the bundle that an entry proposes.
    fn file_in(
        &self,
        changes: &Changes<'_>,
        bundle: u64,
        path: &str,
    ) -> Result<Option<u64>, store::Error> {
        let entry = self.proven(changes, bundle)?;
        let bundle = View::parse(&entry).as_ref().and_then(BundleEntry::of);
        Ok(bundle.and_then(|bundle| bundle.part(path).map(|part| part.index)))
    }

    /// Puts a bundle or a version of a list in force, as an entry of its own.
    pub(super) fn put_in_force(
        &mut self,
        changes: &mut Changes<'_>,
        origin: Origin,
        message: &Prepared,
        puts: &Puts,
    ) {
        let index = self.position.size;
        let event = match puts {
            Puts::Bundle(activation) => canonical::of(activation),
            Puts::List(activation) => canonical::of(activation),
        };
        self.append_beside(changes, (Kind::Policy, "policy"), origin, message, &event);
        let policies = &mut self.position.policies;
        match puts {
            Puts::Bundle(activation) => policies.take(index, activation),
            Puts::List(activation) => drop(policies.take_list(index, activation)),
        }
    }
}
