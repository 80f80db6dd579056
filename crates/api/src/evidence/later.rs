//! Payload that was erased, or expired, after the checkpoint: the receipts that explain it, in `proof/erasures/` and
//! `proof/expired/`.

use super::{
    Error, Out,
    gone::{EXPIRED, Gone},
    log::Log,
    read::{Later, Step},
    table::Table,
    values::who,
};
use ledger::{
    entry::{Kind, View},
    json::Value,
    log::merkle::leaf_hash,
    verify::{self, ConsistencyProof, Erased, period::number},
};
use std::collections::BTreeSet;

/// Where the receipt of the `n`th erasure of an entry after the checkpoint lies, without its ending, from 1. The proof that
/// its log continues this one lies beside it.
fn erasure_path(erased: u64, n: usize) -> String {
    format!("erasures/{erased}-{n}")
}

impl Log<'_> {
    /// What the `n`th erasure of an entry after the checkpoint erased. `None` if there is none.
    pub(super) fn erased_by(&self, index: u64, n: usize) -> Result<Option<Erased>, Error> {
        if let Some(known) = self.read.later.borrow().get(&(index, n)) {
            return Ok(Some(known.erased.clone()));
        }
        let path = erasure_path(index, n);
        let leaf = leaf_hash(&self.entry(index)?).to_string();
        let is_of_this = |view: &View<'_>| {
            view.kind == Kind::Erasure
                && number(view, &["event", "index"]) == Some(index)
                && view.text(&["event", "leaf_hash"]) == Some(leaf.as_str())
        };
        let Some(later) = self.proven_later(&path, &is_of_this)? else { return Ok(None) };
        let erased = later.erased.clone();
        self.read.later.borrow_mut().insert((index, n), later);
        Ok(Some(erased))
    }

    /// What the retention after the checkpoint let expire that explains why the payload of an entry is gone.
    pub(super) fn expired_by(&self, index: u64) -> Result<Option<Erased>, Error> {
        let Some(gone) = self.files.gone(index) else { return Ok(None) };
        let path = gone.path();
        let known = self.read.expired.borrow().contains_key(&path);
        if !known {
            let is_of_this = |view: &View<'_>| Gone::of(view) == Some(gone);
            let Some(later) = self.proven_later(&path, &is_of_this)? else { return Ok(None) };
            let step = Step { later, entries: BTreeSet::new() };
            self.read.expired.borrow_mut().insert(path.clone(), step);
        }
        let mut steps = self.read.expired.borrow_mut();
        Ok(steps.get_mut(&path).map(|step| {
            step.entries.insert(index);
            step.later.erased.clone()
        }))
    }

    /// Reads an entry after the checkpoint, by its receipt and the proof that its log continues this one.
    fn proven_later(
        &self,
        path: &str,
        is_of_this: &dyn Fn(&View<'_>) -> bool,
    ) -> Result<Option<Later>, Error> {
        let (path, place) = (format!("{path}.tlog-proof"), format!("{path}.json"));
        let Some(text) = text(self, &path)? else { return Ok(None) };
        let wrong = |what: &str| Error::file(&path, what.to_owned());
        let verified = verify::receipt(&text, &self.keys);
        let verify::Verified { receipt, checkpoint } =
            verified.map_err(|error| wrong(&error.to_string()))?;
        let view = View::parse(&receipt.entry).ok_or_else(|| wrong("not an entry of version 1"))?;
        if !is_of_this(&view) || receipt.index < self.signed().size {
            return Err(wrong(
                "not of what erased that entry, or let it expire, after the checkpoint",
            ));
        }
        let missing = || Error::file(&place, "missing".into());
        let proof = self::text(self, &place)?.ok_or_else(missing)?;
        let proof =
            ConsistencyProof::parse(&proof).and_then(|p| p.verify(self.signed(), &checkpoint));
        let proof = proof.map_err(|error| Error::file(&place, error.to_string()))?;
        let mut erased = Erased::default();
        if view.kind == Kind::Erasure {
            erased.take(receipt.index, &view).map_err(wrong)?;
        } else {
            erased.expire(&view);
        }
        let names = view.at(&["event", "fields"]).and_then(Value::as_array);
        let names = names.map(|names| names.iter().filter_map(Value::as_str).collect::<Vec<_>>());
        Ok(Some(Later {
            index: receipt.index,
            size: checkpoint.size,
            proof,
            at: view.origin.time,
            by: who(&view),
            fields: names.map_or("all".to_owned(), |names| names.join(" ")),
            erased,
            receipt: text,
        }))
    }

    /// What explains, after the checkpoint, that payload is gone, with the path of each receipt, so far.
    pub fn erased_later(&self) -> Vec<(String, Later)> {
        let (erasures, steps) = (self.read.later.borrow(), self.read.expired.borrow());
        let erasures =
            erasures.iter().map(|((of, n), later)| (erasure_path(*of, *n), later.clone()));
        let steps = steps.iter().map(|(path, step)| (path.clone(), step.later.clone()));
        let all = erasures.chain(steps);
        all.map(|(path, later)| (format!("{path}.tlog-proof"), later)).collect()
    }
}

/// What is gone since the checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GoneLater {
    /// Leaf indexes of what was erased.
    pub erased: Vec<u64>,
    /// Number of entries whose payload expired.
    pub expired: usize,
}

/// Writes what explains, after the checkpoint, that payload is gone.
pub fn finish(log: &Log<'_>, out: &mut dyn Out) -> Result<GoneLater, Error> {
    const COLUMNS: &[&str] = &[
        "from",
        "below",
        "entries",
        "expired_by_entry",
        "journal_time",
        "by",
        "person",
        "receipt",
    ];
    let mut gone = GoneLater::default();
    erased(log, out, &mut gone.erased)?;
    let mut table = Table::new("privacy/expired-later.csv", COLUMNS);
    let mut all = BTreeSet::<u64>::new();
    for (path, Step { later, entries }) in log.read.expired.borrow().iter() {
        let Later { index, at, by: (by, person), .. } = later;
        let name = path.strip_prefix(EXPIRED).unwrap_or_default();
        let (from, below) = name.split_once('-').unwrap_or(("0", ""));
        let (count, index, at) = (entries.len().to_string(), index.to_string(), at.to_string());
        let receipt = format!("proof/{path}.tlog-proof");
        table.row(out, &[from, below, &count, &index, &at, by, person, &receipt])?;
        all.extend(entries);
    }
    table.finish(out)?;
    gone.expired = all.len();
    Ok(gone)
}

fn erased(log: &Log<'_>, out: &mut dyn Out, all: &mut Vec<u64>) -> Result<(), Error> {
    const COLUMNS: &[&str] =
        &["entry", "fields", "erased_by_entry", "journal_time", "by", "person", "receipt"];
    let mut table = Table::new("privacy/erased-later.csv", COLUMNS);
    for ((erased, n), later) in log.read.later.borrow().iter() {
        let Later { index, at, by: (by, person), fields, .. } = later;
        let (entry, index, at) = (erased.to_string(), index.to_string(), at.to_string());
        let receipt = format!("proof/{}.tlog-proof", erasure_path(*erased, *n));
        table.row(out, &[&entry, fields, &index, &at, by, person, &receipt])?;
        if all.last() != Some(erased) {
            all.push(*erased);
        }
    }
    table.finish(out)
}

fn text(log: &Log<'_>, path: &str) -> Result<Option<String>, Error> {
    let bytes = log.files.get(path)?;
    let text = bytes.map(String::from_utf8).transpose();
    text.map_err(|_| Error::file(path, "not UTF-8 text".into()))
}
