//! A bundle: all files of a tenant's policies, read and checked against each other, under one digest.

mod check;
mod crowded;
mod depends;
mod history;
mod limits;
mod lists;
mod parents;
mod registered;
mod results;

use super::{
    CLAUSES_MAX, FILE_BYTES_MAX, FILES_MAX, LANGUAGE,
    agents::Agents,
    clause::{Clause, Then},
    detectors::Detectors,
    fields::{MapReader, is_name, language},
    limit::{Budget, Rate},
    list::NamedLists,
    mistakes::{Mistake, Mistakes, Place},
    on::On,
    tools::Tools,
    yaml::{self, Node},
};
use data_encoding::BASE64URL_NOPAD;
use ledger::{system::policy::manifest_digest, time::Nanos};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Longest name of a file, in bytes.
const FILE_NAME_BYTES_MAX: usize = 128;

/// One file of a bundle, as it was found.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Path below the tenant's folder, with `/`: `policies/payments.yaml`.
    pub path: &'a str,
    /// Content.
    pub bytes: &'a [u8],
}

/// One file in the manifest of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct BundleFile {
    /// Path below the tenant's folder.
    pub path: String,
    /// SHA-256 of the file, base64url.
    pub sha256: String,
    /// Length in bytes.
    pub bytes: u64,
}

/// The clauses that are for one tool, by their places, in order.
#[derive(Clone, Debug, Default)]
struct OfTool {
    by_action: HashMap<String, Vec<usize>>,
    /// For actions that no clause names.
    other: Vec<usize>,
}

/// Policies, agents, tools and lists, ready to judge.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// In the byte order of policy and clause.
    pub(super) clauses: Vec<Clause>,
    pub(super) agents: Agents,
    pub(super) tools: Tools,
    pub(super) lists: NamedLists,
    /// In the byte order of their names.
    pub(super) budgets: Vec<Budget>,
    /// In the byte order of their names.
    pub(super) rates: Vec<Rate>,
    pub(super) detectors: Detectors,
    digest: String,
    parts: Vec<BundleFile>,
    /// The time zones that clauses name.
    zones: BTreeSet<String>,
    /// The lists that each clause names, by its place.
    named: Vec<BTreeSet<String>>,
    /// The versions of lists that count in place of the bundle's own files.
    versions: BTreeMap<String, u64>,
    by_tool: HashMap<String, OfTool>,
    /// For tools that no clause names.
    other: Vec<usize>,
}

/// What a path is for.
enum FileKind<'a> {
    Policy,
    Agents,
    Tools,
    Detectors,
    List(&'a str),
    /// Test files are read by [`cases`](super::cases).
    Cases,
    Unknown,
}

impl<'a> FileKind<'a> {
    fn of(path: &'a str) -> Self {
        let stem = |folder: &str| {
            let stem = path.strip_prefix(folder)?.strip_prefix('/')?.strip_suffix(".yaml")?;
            is_file_name(stem).then_some(stem)
        };
        match path {
            "agents.yaml" => Self::Agents,
            "tools.yaml" => Self::Tools,
            "detectors.yaml" => Self::Detectors,
            _ if stem("policies").is_some() => Self::Policy,
            _ if stem("tests").is_some() => Self::Cases,
            _ => stem("lists").map_or(Self::Unknown, Self::List),
        }
    }
}

impl Bundle {
    /// Reads the files of a bundle.
    ///
    /// Errors: every mistake of every file, in the order of files and lines.
    pub fn read(sources: &[Source<'_>]) -> Result<Self, Vec<Mistake>> {
        let mut sources = sources.to_vec();
        sources.sort_unstable_by_key(|source| source.path);
        let mut found = Vec::new();
        let mut bundle = Self::read_files(&sources, &mut found);
        found.extend(bundle.check());
        found.sort();
        if !found.is_empty() {
            return Err(found);
        }
        bundle.index();
        bundle.seal(&sources);
        Ok(bundle)
    }

    /// Reads the files of a bundle that was read before, each a path and its text.
    ///
    /// Errors: the first mistake. A release that knows less of the language finds one.
    pub fn read_again(files: &[(String, String)]) -> Result<Self, Mistake> {
        let sources = files.iter().map(|(path, text)| Source { path, bytes: text.as_bytes() });
        let sources: Vec<Source<'_>> = sources.collect();
        Self::read(&sources).map_err(|mistakes| mistakes.into_iter().next().expect("an error"))
    }

    fn read_files(sources: &[Source<'_>], found: &mut Vec<Mistake>) -> Self {
        let mut bundle = Self {
            clauses: Vec::new(),
            agents: Agents::default(),
            tools: Tools::default(),
            lists: NamedLists::default(),
            budgets: Vec::new(),
            rates: Vec::new(),
            detectors: Detectors::default(),
            digest: String::new(),
            parts: Vec::new(),
            zones: BTreeSet::new(),
            named: Vec::new(),
            versions: BTreeMap::new(),
            by_tool: HashMap::new(),
            other: Vec::new(),
        };
        for needed in ["agents.yaml", "tools.yaml"] {
            if !sources.iter().any(|source| source.path == needed) {
                found.push(missing(needed));
            }
        }
        if sources.len() > FILES_MAX {
            found.push(Mistake {
                file: ".".into(),
                line: 1,
                column: 1,
                text: format!("a bundle has at most {FILES_MAX} files"),
            });
        }
        for pair in sources.windows(2).filter(|pair| pair[0].path == pair[1].path) {
            let mistakes = Mistakes::of(pair[0].path);
            mistakes.note(Place { line: 1, column: 1 }, "this file is there twice");
            found.extend(mistakes.finish());
        }
        // Tools name tiers, so agents come first: their path does, too.
        for source in sources.iter().take(FILES_MAX) {
            let mistakes = Mistakes::of(source.path);
            bundle.read_file(source, &mistakes);
            found.extend(mistakes.finish());
        }
        if !bundle.clauses.is_empty() || !found.is_empty() {
            return bundle;
        }
        found.push(Mistake {
            text: "add a policy: policies/<name>.yaml".into(),
            ..missing("policies")
        });
        bundle
    }

    fn read_file(&mut self, source: &Source<'_>, mistakes: &Mistakes<'_>) {
        let kind = FileKind::of(source.path);
        if let FileKind::Unknown = kind {
            if source.path.rsplit('.').next() == Some("yml") {
                mistakes.note(Place { line: 1, column: 1 }, "rename it: names end with .yaml");
                return;
            }
            let known = "agents.yaml, tools.yaml, detectors.yaml, policies/*.yaml, lists/*.yaml and tests/*.yaml";
            mistakes.note(
                Place { line: 1, column: 1 },
                format!("this file has no meaning here: a bundle has {known}"),
            );
            return;
        }
        if let FileKind::Cases = kind {
            return;
        }
        if matches!(kind, FileKind::List(_)) && source.bytes.len() > FILE_BYTES_MAX {
            let text = format!(
                "the file of a list has at most {FILE_BYTES_MAX} bytes: make two lists, and let clauses name both \
                 (`any: [{{params: …}}, {{params: …}}]`)"
            );
            mistakes.note(Place { line: 1, column: 1 }, text);
            return;
        }
        let Some(node) = yaml::read(source.bytes, mistakes) else { return };
        match kind {
            FileKind::Policy => self.read_policy(node, source.path, mistakes),
            FileKind::Detectors => self.detectors = Detectors::read(node, mistakes),
            FileKind::Agents => self.agents = Agents::read(node, mistakes),
            FileKind::Tools => {
                self.tools = Tools::read(node, mistakes, |tier| self.agents.has_tier(tier));
            }
            FileKind::List(name) => {
                if !is_name(name) {
                    mistakes.note(node.at, format!("{name:?} is no name of a list"));
                }
                self.lists.read(name, node, mistakes);
            }
            FileKind::Cases | FileKind::Unknown => {}
        }
    }

    fn read_policy(&mut self, node: Node, path: &str, mistakes: &Mistakes<'_>) {
        let Some(mut fields) = MapReader::of(node, "a policy", mistakes) else { return };
        language(&mut fields);
        let policy = fields.must_name("policy", "the policy's name, unique in the bundle");
        let _ = fields.words("title");
        let limits = Self::limit_nodes(&mut fields);
        let at = fields.at;
        let nodes = fields.must("clauses", "what this policy says: a list");
        let nodes = nodes
            .and_then(|node| super::fields::list_of(node, "clauses", mistakes))
            .unwrap_or_default();
        fields.finish();
        let Some((policy, place)) = policy else { return };
        if self.clauses.iter().any(|clause| clause.policy == policy) {
            mistakes.note(place, format!("another file is the policy {policy:?} too: rename one"));
        }
        if nodes.is_empty() {
            mistakes.note(at, "a policy has clauses");
        }
        let mut ids = BTreeSet::new();
        for node in nodes {
            if self.clauses.len() >= CLAUSES_MAX {
                mistakes.note(node.at, format!("a bundle has at most {CLAUSES_MAX} clauses"));
                return;
            }
            let Some(clause) = Clause::read(node, &policy, path, mistakes) else { continue };
            if !ids.insert(clause.id.clone()) {
                mistakes.note(
                    clause.at,
                    format!("two clauses of {policy} are called {:?}: rename one", clause.id),
                );
            }
            self.clauses.push(clause);
        }
        self.read_limits(limits, (&policy, path), &mut ids, mistakes);
    }

    /// Files each clause under the tools and actions that it is for, so that a call meets these alone.
    fn index(&mut self) {
        self.clauses.sort_by(|a, b| (&a.policy, &a.id).cmp(&(&b.policy, &b.id)));
        self.budgets.sort_by(|a, b| a.limit.name.cmp(&b.limit.name));
        self.rates.sort_by(|a, b| a.limit.name.cmp(&b.limit.name));
        let tools: BTreeSet<&String> =
            self.clauses.iter().filter_map(|c| c.tool.as_ref()).collect();
        let is_of = |clause: &Clause, tool: Option<&String>, action: Option<&String>| {
            let tool = clause.tool.is_none() || clause.tool.as_ref() == tool;
            tool && (clause.actions.is_empty()
                || action.is_some_and(|a| clause.actions.contains(a)))
        };
        let filed = |tool: Option<&String>, action: Option<&String>| -> Vec<usize> {
            let clauses = self.clauses.iter().enumerate();
            clauses.filter(|(_, clause)| is_of(clause, tool, action)).map(|(at, _)| at).collect()
        };
        let of_tool = |tool: &&String| {
            let tool: &String = tool;
            let clauses = self.clauses.iter().filter(|clause| clause.tool.as_ref() == Some(tool));
            let actions: BTreeSet<&String> = clauses.flat_map(|clause| &clause.actions).collect();
            let by_action = actions.into_iter().map(|a| (a.clone(), filed(Some(tool), Some(a))));
            (
                tool.clone(),
                OfTool { other: filed(Some(tool), None), by_action: by_action.collect() },
            )
        };
        let by_tool = tools.iter().map(of_tool).collect();
        let other = filed(None, None);
        (self.by_tool, self.other) = (by_tool, other);
        self.zones = self.named_zones();
        self.named = self.named_lists();
    }

    /// Makes the manifest and its digest.
    fn seal(&mut self, sources: &[Source<'_>]) {
        let is_part = |source: &&Source<'_>| {
            matches!(
                FileKind::of(source.path),
                FileKind::Policy
                    | FileKind::Agents
                    | FileKind::Tools
                    | FileKind::Detectors
                    | FileKind::List(_)
            )
        };
        let part = |source: &Source<'_>| BundleFile {
            path: source.path.to_owned(),
            sha256: BASE64URL_NOPAD.encode(&Sha256::digest(source.bytes)),
            bytes: source.bytes.len() as u64,
        };
        self.parts = sources.iter().filter(is_part).map(part).collect();
        let named = |part: &BundleFile| (part.path.clone(), part.sha256.clone(), part.bytes);
        let named: Vec<_> = self.parts.iter().map(named).collect();
        let named = named.iter().map(|(path, hash, bytes)| (path.as_str(), hash.as_str(), *bytes));
        self.digest = manifest_digest(LANGUAGE, named);
    }

    /// SHA-256 of the manifest, base64url: it names the bundle.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The files that the digest covers, by path.
    pub fn parts(&self) -> &[BundleFile] {
        &self.parts
    }

    /// The clauses, in the byte order of policy and id.
    pub fn clauses(&self) -> &[Clause] {
        &self.clauses
    }

    /// True if no clause is in force for this agent: what is decided is only recorded.
    pub fn only_observes(&self, agent: &str, now: Nanos) -> bool {
        let in_force = |clause: &Clause| !clause.has_shadow() || clause.in_force(agent, now);
        !self.clauses.iter().any(in_force)
    }

    /// The owners of an agent, by `agents.yaml`: ids of people.
    pub fn owners(&self, agent: &str) -> impl Iterator<Item = &str> {
        let agent = self.agents.find(agent);
        agent.into_iter().flat_map(|agent| agent.owners.iter().map(String::as_str))
    }

    /// The clauses that are for this tool and action, in order.
    pub(super) fn candidates(&self, tool: &str, action: &str) -> &[usize] {
        let Some(of_tool) = self.by_tool.get(tool) else { return &self.other };
        of_tool.by_action.get(action).unwrap_or(&of_tool.other)
    }

    /// True if a clause for this tool and action may redact its calls.
    pub(super) fn may_redact(&self, tool: &str, action: &str) -> bool {
        let mut clauses = self.candidates(tool, action).iter().map(|at| &self.clauses[*at]);
        clauses.any(|clause| clause.on == On::Call && clause.then == Then::Sanitize)
    }
}

/// True if a file may be called so, before `.yaml`: no folder, nothing that is shown otherwise than it is.
fn is_file_name(stem: &str) -> bool {
    (1..=FILE_NAME_BYTES_MAX).contains(&stem.len())
        && !stem.starts_with('.')
        && stem.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

fn missing(file: &str) -> Mistake {
    Mistake {
        file: file.to_owned(),
        line: 1,
        column: 1,
        text: "this file is missing: proto/formats/policy.md begins with one, and docs/policies has whole folders".into(),
    }
}
