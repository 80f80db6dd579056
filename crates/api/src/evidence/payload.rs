//! The payload that evidence may hold, and what explains that some of it is gone: an `erasure` or `retention` entry of the
//! log, also one after the checkpoint ([`super::later`]).

use super::{Disclose, Error, log::Log};
use decider::decision::Fields;
use ledger::{
    entry::View,
    verify::{self, Standing},
};
use std::rc::Rc;

impl Log<'_> {
    /// True if the request lets the payload of the entry be read.
    fn may_disclose(&self, index: u64, is_sample: bool) -> bool {
        match self.disclose {
            Disclose::None => false,
            Disclose::Samples => is_sample,
            Disclose::All => is_sample || (self.range.begin..self.range.end).contains(&index),
        }
    }

    /// The fields that are disclosed of an entry. What is missing must have been erased, or have expired. `None`: the
    /// request lets nothing be read of it.
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
        let missing = self.missing((index, view), committed, &shown)?;
        if missing > 0 {
            let what = format!(
                "{missing} of the {committed} fields that the entry commits to are not disclosed, and no erasure or retention entry says why: were they erased, or did they expire, while this was made? Then make the evidence again"
            );
            return Err(Error::file(&path, what));
        }
        Ok(shown.into_iter().map(|(name, value)| (name, value.into_bytes())).collect())
    }

    /// Number of fields that are gone without an explanation. Looks for what came after the checkpoint only as far as it is
    /// needed.
    fn missing(
        &self,
        (index, view): (u64, &View<'_>),
        committed: usize,
        shown: &[(String, String)],
    ) -> Result<usize, Error> {
        let mut erased = self.erased.of(index);
        let Standing { mut missing, .. } = erased.judge((index, view.kind), committed, shown);
        for n in 1.. {
            if missing == 0 {
                return Ok(0);
            }
            let Some(later) = self.erased_by(index, n)? else { break };
            erased.add(&later);
            missing = erased.judge((index, view.kind), committed, shown).missing;
        }
        if let Some(later) = self.expired_by(index)? {
            erased.add(&later);
            missing = erased.judge((index, view.kind), committed, shown).missing;
        }
        Ok(missing)
    }
}
