//! The payload that evidence may hold, and what explains that some of it is gone: an erasure entry of the log, also one after
//! the checkpoint, whose receipt is then in `proof/erasures/`.

use super::{Disclose, Error, Out, log::Log, read::Later, table::Table, values::who};
use decider::decision::Fields;
use ledger::{
    entry::{Kind, View},
    json::Value,
    log::merkle::leaf_hash,
    verify::{self, ConsistencyProof, Erased, period::number},
};
use std::rc::Rc;

/// Where the receipt of the `n`th erasure of an entry after the checkpoint lies, from 1.
pub fn receipt_path(erased: u64, n: usize) -> String {
    format!("erasures/{erased}-{n}.tlog-proof")
}

/// Where the proof lies that the log of that receipt continues this one.
pub fn consistency_path(erased: u64, n: usize) -> String {
    format!("erasures/{erased}-{n}.json")
}

impl Log<'_> {
    /// True if the request lets the payload of the entry be read.
    fn may_disclose(&self, index: u64, is_sample: bool) -> bool {
        match self.disclose {
            Disclose::None => false,
            Disclose::Samples => is_sample,
            Disclose::All => is_sample || (self.range.begin..self.range.end).contains(&index),
        }
    }

    /// The fields that are disclosed of an entry. What is missing must have been erased. `None`: the request lets nothing be
    /// read of it.
    pub fn disclosed(
        &self,
        index: u64,
        view: &View<'_>,
        is_sample: bool,
    ) -> Result<Option<Rc<Fields>>, Error> {
        if !self.may_disclose(index, is_sample) {
            return Ok(None);
        }
        if let Some((known, fields)) = &*self.read.last.borrow()
            && *known == index
        {
            return Ok(Some(Rc::clone(fields)));
        }
        let fields = Rc::new(self.fields(index, view)?);
        self.read.last.replace(Some((index, Rc::clone(&fields))));
        Ok(Some(fields))
    }

    fn fields(&self, index: u64, view: &View<'_>) -> Result<Fields, Error> {
        let committed = view.payload().count();
        if committed == 0 {
            return Ok(Fields::new());
        }
        let path = format!("disclosures/{index}.disclosures");
        let bytes = self.files.get(&path)?.unwrap_or_default();
        let text = String::from_utf8(bytes).map_err(|_| Error::file(&path, "not UTF-8".into()))?;
        let shown = verify::disclosures_of(&text, Some(view));
        let shown = shown.map_err(|error| Error::file(&path, error.to_string()))?;
        let mut erased = self.erased.of(index);
        let mut standing = erased.judge((index, view.kind), committed, &shown);
        for n in 1.. {
            if standing.missing == 0 {
                break;
            }
            let Some(later) = self.later(index, n)? else {
                let what = format!(
                    "{} of the {committed} fields that the entry commits to are not disclosed, and no erasure entry says why: were they erased while this was made? Then make the evidence again",
                    standing.missing
                );
                return Err(Error::file(&path, what));
            };
            erased.add(&later);
            standing = erased.judge((index, view.kind), committed, &shown);
        }
        Ok(shown.into_iter().map(|(name, value)| (name, value.into_bytes())).collect())
    }

    /// What the `n`th erasure of an entry after the checkpoint erased. `None` if there is none.
    fn later(&self, index: u64, n: usize) -> Result<Option<Erased>, Error> {
        if let Some(known) = self.read.later.borrow().get(&(index, n)) {
            return Ok(Some(known.erased.clone()));
        }
        let path = receipt_path(index, n);
        let Some(text) = text(self, &path)? else { return Ok(None) };
        let wrong = |what: &str| Error::file(&path, what.to_owned());
        let verified = verify::receipt(&text, &self.keys);
        let verify::Verified { receipt, checkpoint } =
            verified.map_err(|error| wrong(&error.to_string()))?;
        let view = View::parse(&receipt.entry).ok_or_else(|| wrong("not an entry of version 1"))?;
        let is_of_this = view.kind == Kind::Erasure
            && number(&view, &["event", "index"]) == Some(index)
            && view.text(&["event", "leaf_hash"])
                == Some(&leaf_hash(&self.entry(index)?).to_string());
        if !is_of_this || receipt.index < self.signed().size {
            return Err(wrong("not of an erasure of that entry, after the checkpoint"));
        }
        let place = consistency_path(index, n);
        let proof = text_of(self, &place)?;
        let proof =
            ConsistencyProof::parse(&proof).and_then(|p| p.verify(self.signed(), &checkpoint));
        let proof = proof.map_err(|error| Error::file(&place, error.to_string()))?;
        let mut erased = Erased::default();
        erased.take(receipt.index, &view).map_err(wrong)?;
        let names = view.at(&["event", "fields"]).and_then(Value::as_array);
        let names = names.map(|names| names.iter().filter_map(Value::as_str).collect::<Vec<_>>());
        let later = Later {
            index: receipt.index,
            receipt: text,
            size: checkpoint.size,
            proof,
            at: view.origin.time,
            by: who(&view),
            fields: names.map_or("all".to_owned(), |names| names.join(" ")),
            erased: erased.clone(),
        };
        self.read.later.borrow_mut().insert((index, n), later);
        Ok(Some(erased))
    }

    /// The erasures after the checkpoint that explain what is gone, with the path of each receipt, so far.
    pub fn erased_later(&self) -> Vec<(String, u64, Later)> {
        let later = self.read.later.borrow();
        let told = |((erased, n), later): (&(u64, usize), &Later)| {
            (receipt_path(*erased, *n), *erased, later.clone())
        };
        later.iter().map(told).collect()
    }
}

/// Writes the erasures after the checkpoint. Returns the leaf indexes of what they erased.
pub fn finish(log: &Log<'_>, out: &mut dyn Out) -> Result<Vec<u64>, Error> {
    const COLUMNS: &[&str] =
        &["entry", "fields", "erased_by_entry", "journal_time", "by", "person", "receipt"];
    let mut table = Table::new("privacy/erased-later.csv", COLUMNS);
    let mut all = Vec::new();
    for (path, erased, later) in log.erased_later() {
        let Later { index, at, by: (by, person), fields, .. } = later;
        let (entry, index, at) = (erased.to_string(), index.to_string(), at.to_string());
        let receipt = format!("proof/{path}");
        table.row(out, &[&entry, &fields, &index, &at, &by, &person, &receipt])?;
        if all.last() != Some(&erased) {
            all.push(erased);
        }
    }
    table.finish(out)?;
    Ok(all)
}

fn text(log: &Log<'_>, path: &str) -> Result<Option<String>, Error> {
    let bytes = log.files.get(path)?;
    let text = bytes.map(String::from_utf8).transpose();
    text.map_err(|_| Error::file(path, "not UTF-8 text".into()))
}

fn text_of(log: &Log<'_>, path: &str) -> Result<String, Error> {
    text(log, path)?.ok_or_else(|| Error::file(path, "missing".into()))
}
