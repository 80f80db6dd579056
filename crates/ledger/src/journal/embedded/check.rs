//! Checks a journal's own records, for `fsck`.

use super::{Volume, subject_of};
use crate::{
    journal::Subject,
    store::{self, Family, Read as _, rocks::Rocks},
};

/// Compares the index by subject with the messages, and the last sequence with what is `posted`.
pub fn check(
    store: &Rocks,
    volume: Volume,
    posted: u64,
) -> Result<impl Iterator<Item = String> + use<>, store::Error> {
    let (mut findings, mut signed, mut indexed) = (Vec::new(), 0_u64, 0_u64);
    let last = store.get(Family::Meta, &volume.last())?;
    if last.map_or(Ok(0), |bytes| store::read_u64(&bytes, "meta"))? != posted {
        findings.push("the journal's last sequence is not the last one posted".to_owned());
    }
    store.scan(Family::Journal, &volume.message(0), |key, value| {
        let Some(seq) = volume.seq(key) else { return false };
        if let Some(subject) = subject_of(value).filter(Subject::is_chained) {
            signed += 1;
            let kept = store.get(Family::SubjectIndex, &volume.indexed(&subject, seq));
            if !matches!(kept, Ok(Some(_))) {
                findings.push(format!("journal message {seq} is not in the index by subject"));
            }
        }
        true
    })?;
    let prefix = volume.number.numbered(volume.epoch);
    store.scan(Family::SubjectIndex, &prefix, |key, _| {
        let ours = key.starts_with(&prefix);
        indexed += u64::from(ours);
        ours
    })?;
    if indexed > signed {
        findings.push(format!("the index by subject: {indexed} where the journal gives {signed}"));
    }
    Ok(findings.into_iter())
}
