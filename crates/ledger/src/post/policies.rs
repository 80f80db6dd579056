//! Posts what happens to policies: parts, bundles, and their activation.

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
        policy::{Activates, Activation, BundleForm, PART_BYTES_MAX, PolicyBody, bundle_digest},
    },
    time::Nanos,
};
use data_encoding::BASE64URL_NOPAD;
use serde_json::json;
use sha2::{Digest as _, Sha256};

/// The action of the reserved tool that puts a bundle in force.
const ACTIVATE: &str = "policy.activate";

impl Log {
    /// Posts a part or a bundle.
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
        };
        Ok(Some(self.append(changes, draft, origin, None)))
    }

    /// True if the digest names these parts, and each part is where the bundle says.
    fn fits_bundle(&self, changes: &Changes<'_>, form: &BundleForm) -> Result<bool, store::Error> {
        if bundle_digest(form.language, &form.parts) != form.digest || form.parts.is_empty() {
            return Ok(false);
        }
        for part in &form.parts {
            if part.index >= self.position.size {
                return Ok(false);
            }
            let entry = self.proven(changes, part.index)?;
            let view = View::parse(&entry).filter(|view| view.kind == Kind::Policy);
            let fits = view.is_some_and(|view| {
                view.text(&["event", "op"]) == Some("part")
                    && view.text(&["event", "sha256"]) == Some(&part.sha256)
                    && view.at(&["event", "bytes"]).and_then(Value::as_u64) == Some(part.bytes)
            });
            if !fits {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The activation, if exactly this was asked for by the approval's decision and it replaces what is in force.
    /// That the approval is granted and unspent is known by the message's place: it follows what its writer read.
    pub(super) fn activation(
        &self,
        changes: &Changes<'_>,
        (id, at): (&Ident, Nanos),
        activates: Activates,
    ) -> Result<Option<Activation>, store::Error> {
        let Activates { bundle, decision, digest, before, replaces } = activates;
        let in_force = self.position.policies.in_force.as_ref();
        if replaces.as_ref() != in_force.map(|bundle| &bundle.digest)
            || bundle >= self.position.size
            || decision.index >= self.position.size
            || at >= before
        {
            return Ok(None);
        }
        let entry = self.proven(changes, decision.index)?;
        let asked = View::parse(&entry).is_some_and(|view| {
            let scope = view.scope();
            view.is_ours()
                && scope.producer == RESERVED_TOOL
                && scope.approval_id(&self.tenant) == *id
                && view.text(&["event", "data", "tool", "action"]) == Some(ACTIVATE)
                && view.text(&["event", "data", "activates"]) == Some(&digest)
        });
        if !asked || leaf_hash(&entry) != decision.leaf_hash {
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
        Ok(version.map(|version| Activation {
            op,
            approval_id,
            version,
            bundle,
            decision,
            digest,
            replaces,
        }))
    }

    /// Puts a bundle in force, as an entry of its own.
    pub(super) fn activate(
        &mut self,
        changes: &mut Changes<'_>,
        origin: Origin,
        message: &Prepared,
        activation: &Activation,
    ) {
        let index = self.position.size;
        let event = canonical::of(activation);
        let scope =
            crate::disclosure::Scope { producer: "", source: "policy", id: "", ours: false };
        let salts = (&message.seed, scope);
        let draft = Draft::new(Kind::Policy, None, event.clone(), &event, &[], salts);
        self.append(changes, draft, origin, None);
        self.position.policies.take(index, activation);
    }
}
