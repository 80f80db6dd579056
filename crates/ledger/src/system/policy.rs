//! `system.policy`: parts of policies, bundles of them, and versions of lists (`proto/formats/policy.md`).

use super::{By, LeafAt, Reason};
use crate::{
    canonical,
    entry::{Kind, View},
    ident::{Ident, is_list_name},
    time::Nanos,
};
use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The action of our own tool that puts a bundle in force.
pub const ACTIVATE: &str = "policy.activate";
/// The action of our own tool that puts a version of a list in force.
pub const LIST_CHANGE: &str = "list.change";
/// Prefix of the hashed manifest. Another version of the form gives another digest.
const DOMAIN: &[u8] = b"countersign-bundle-v1\0";
/// Prefix of what names a version of a list.
const LIST_DOMAIN: &[u8] = b"countersign-list-v1\0";
/// Largest part, in bytes: it is the payload of one entry.
pub const PART_BYTES_MAX: usize = 192 << 10;

/// The body of a message on `system.policy`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase", deny_unknown_fields)]
pub enum PolicyBody {
    /// A file of a bundle. Its content is payload, for auditors.
    Part {
        /// SHA-256 of the content, base64url.
        sha256: String,
        /// The file, at most [`PART_BYTES_MAX`].
        content: String,
        /// Who proposes it.
        by: By,
    },
    /// A bundle: its parts are earlier entries.
    Bundle(BundleForm),
    /// A version of a list: its file is an earlier entry.
    List(ListForm),
}

/// A version of a list that somebody proposes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListForm {
    /// The list.
    pub name: String,
    /// The version: the one in force and one; 1 if all items in force come from the bundle.
    pub version: u64,
    /// Leaf index of what it replaces: the `list` entry of the version before; for version 1 the file in the bundle.
    pub replaces: u64,
    /// The file with all its items.
    pub part: PartAt,
    /// [`list_digest`].
    pub digest: String,
    /// Who proposes it.
    pub by: By,
    /// Evidence with the author's comment.
    #[serde(default)]
    pub reason: Option<Reason>,
}

impl ListForm {
    /// Reads the entry that proposes it. `None` if the entry proposes no version of a list.
    pub fn of(view: &View<'_>) -> Option<Self> {
        let is_list = view.kind == Kind::Policy && view.text(&["event", "op"]) == Some("list");
        match view.event_as().filter(|_| is_list)? {
            PolicyBody::List(form) => Some(form),
            _ => None,
        }
    }

    /// True if the members fit each other.
    pub fn is_sound(&self) -> bool {
        self.version > 0
            && is_list_name(&self.name)
            && self.part.path == list_path(&self.name)
            && self.digest == list_digest(&self.name, self.version, &self.part)
    }
}

/// What a bundle consists of, and who proposes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleForm {
    /// [`bundle_digest`].
    pub digest: String,
    /// Version of the language.
    pub language: i64,
    /// The files, by path.
    pub parts: Vec<PartAt>,
    /// Who proposes it.
    pub by: By,
    /// People who wrote it. They never review it (P10).
    #[serde(default)]
    pub contributors: Vec<Ident>,
    /// Evidence with the author's comment.
    #[serde(default)]
    pub reason: Option<Reason>,
}

/// The `event` of the entry that proposes a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct BundleEntry {
    /// Version: 1, 2, …
    pub version: u64,
    /// Leaf index of the bundle before it.
    pub previous: Option<u64>,
    /// [`bundle_digest`].
    pub digest: String,
    /// Version of the language.
    pub language: i64,
    /// Its files.
    pub parts: Vec<PartAt>,
    /// Who proposed it.
    pub by: By,
    /// Who else wrote it.
    #[serde(default)]
    pub contributors: Vec<Ident>,
    /// The author's comment.
    #[serde(default)]
    pub reason: Option<Reason>,
}

impl BundleEntry {
    /// `None` if the entry proposes no bundle.
    pub fn of(view: &View<'_>) -> Option<Self> {
        let is_bundle = view.kind == Kind::Policy && view.text(&["event", "op"]) == Some("bundle");
        if is_bundle { view.event_as() } else { None }
    }

    /// The file with a path.
    pub fn part(&self, path: &str) -> Option<&PartAt> {
        self.parts.iter().find(|part| part.path == path)
    }
}

/// One file of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartAt {
    /// Path below the tenant's folder: `policies/payments.yaml`.
    pub path: String,
    /// SHA-256 of the file, base64url.
    pub sha256: String,
    /// Length in bytes.
    pub bytes: u64,
    /// Leaf index of the part's entry.
    pub index: u64,
}

impl PartAt {
    /// True if the file that this names has that content.
    pub fn is(&self, content: &str) -> bool {
        file_digest(content) == self.sha256
    }
}

/// What the redemption of an approval puts in force: member `activates` of its message. Either a bundle or a version of
/// a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Activates {
    /// Leaf index of the bundle's entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle: Option<u64>,
    /// Leaf index of the entry that proposed the version of a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list: Option<u64>,
    /// The decision that asked for the approval.
    pub decision: LeafAt,
    /// Digest of the bundle, or of the version of the list.
    pub digest: String,
    /// From this time on, the redemption is void: the end of the token, or of the grant.
    pub before: Nanos,
    /// Digest of the bundle that is in force before. Absent if there is none, and with a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<String>,
}

impl Activates {
    /// The action that people were asked about. `None` if it names both a bundle and a list, or neither.
    pub fn action(&self) -> Option<&'static str> {
        match (self.bundle, self.list, &self.replaces) {
            (Some(_), None, _) => Some(ACTIVATE),
            (None, Some(_), None) => Some(LIST_CHANGE),
            _ => None,
        }
    }
}

/// The `event` of the entry that puts a bundle in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Activation {
    /// `activate`.
    pub op: String,
    /// The approval that was redeemed for it.
    pub approval_id: Ident,
    /// Version of the bundle.
    pub version: u64,
    /// Leaf index of the bundle's entry.
    pub bundle: u64,
    /// The decision that asked for the approval.
    pub decision: LeafAt,
    /// Digest of the bundle.
    pub digest: String,
    /// Digest of the bundle that was in force before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<String>,
}

/// The `event` of the entry that puts a version of a list in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListActivation {
    /// `change`.
    pub op: String,
    /// The approval that was redeemed for it.
    pub approval_id: Ident,
    /// The list.
    pub name: String,
    /// Its version.
    pub version: u64,
    /// Leaf index of the entry that proposed it.
    pub list: u64,
    /// Leaf index of the entry with all its items.
    pub part: u64,
    /// The decision that asked for the approval.
    pub decision: LeafAt,
    /// Digest of the version.
    pub digest: String,
}

/// SHA-256 of a file, base64url.
pub fn file_digest(content: &str) -> String {
    BASE64URL_NOPAD.encode(&Sha256::digest(content.as_bytes()))
}

/// Where the items of a list are in a bundle.
pub fn list_path(name: &str) -> String {
    format!("lists/{name}.yaml")
}

/// The digest that names a version of a list: base64url SHA-256 over the RFC 8785 form of its name, its version, and
/// digest and length of its file. The file has a random salt, so the digest says nothing of the items.
pub fn list_digest(name: &str, version: u64, part: &PartAt) -> String {
    #[derive(Serialize)]
    struct Manifest<'a> {
        bytes: u64,
        name: &'a str,
        sha256: &'a str,
        version: u64,
    }
    let manifest = Manifest { bytes: part.bytes, name, sha256: &part.sha256, version };
    let form = canonical::of(&manifest);
    let hash = Sha256::new_with_prefix(LIST_DOMAIN).chain_update(form).finalize();
    BASE64URL_NOPAD.encode(&hash)
}

/// The digest that names a bundle: base64url SHA-256 over its manifest, the RFC 8785 form of language, and path, digest
/// and length of each part.
pub fn bundle_digest(language: i64, parts: &[PartAt]) -> String {
    let named = parts.iter();
    let named = named.map(|part| (part.path.as_str(), part.sha256.as_str(), part.bytes));
    manifest_digest(language, named)
}

/// As [`bundle_digest`], for parts that have no entries yet: path, digest and length of each.
pub fn manifest_digest<'p>(
    language: i64,
    parts: impl Iterator<Item = (&'p str, &'p str, u64)>,
) -> String {
    #[derive(Serialize)]
    struct Manifest<'a> {
        language: i64,
        parts: Vec<Part<'a>>,
    }
    #[derive(Serialize)]
    struct Part<'a> {
        path: &'a str,
        sha256: &'a str,
        bytes: u64,
    }
    let parts = parts.map(|(path, sha256, bytes)| Part { path, sha256, bytes }).collect();
    let manifest = Manifest { language, parts };
    let hash = Sha256::new_with_prefix(DOMAIN).chain_update(canonical::of(&manifest)).finalize();
    BASE64URL_NOPAD.encode(&hash)
}
