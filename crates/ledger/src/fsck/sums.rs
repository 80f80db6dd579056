//! Checks the sums over the entries: what each source reported and its numbers, and the counts by day.

use super::{Report, derived::Derived, rows::count};
use crate::{
    post::{Budgets, Histories, Reported},
    sequence::Sequence,
    store::{self, Family, LogNumber, Read as _, rocks::Rocks},
};

/// Each source has one row, and it says what its entries give.
pub(super) fn reports(
    store: &Rocks,
    number: LogNumber,
    derived: &Derived,
    report: &mut Report,
) -> Result<(), store::Error> {
    let expected = derived.reports.all();
    let mut right = 0;
    let found = count(store, number, Family::Reports, |key, row| {
        let reported = <[u8; 32]>::try_from(key).ok().and_then(|key| expected.get(&key));
        let kept = serde_json::from_slice::<Reported>(row).ok();
        right += usize::from(reported.is_some() && reported == kept.as_ref());
    })?;
    if (found, right) != (expected.len() as u64, expected.len()) {
        report.find(format!(
            "what sources reported: {right} of {found} rows are what the entries of {} sources give",
            expected.len()
        ));
    }
    Ok(())
}

/// The rows of the counts are those that the entries give, and no others.
pub(super) fn counts(
    store: &Rocks,
    number: LogNumber,
    derived: &mut Derived,
    report: &mut Report,
) -> Result<(), store::Error> {
    let expected = derived.counts.rows(number)?;
    let (mut right, mut failed) = (0, None);
    let found = count(store, number, Family::Counts, |key, row| {
        match expected.get(Family::Counts, &number.key(key)) {
            Ok(kept) => right += usize::from(kept.as_deref() == Some(row)),
            Err(error) => failed = Some(error),
        }
    })?;
    if let Some(error) = failed {
        return Err(error);
    }
    if (found, right) != (expected.len() as u64, expected.len()) {
        report.find(format!(
            "the counts by day: {right} of {found} rows are those of the {} that the entries give",
            expected.len()
        ));
    }
    Ok(())
}

/// The rows of budgets are those that the entries give, and no others.
pub(super) fn budgets(
    store: &Rocks,
    number: LogNumber,
    derived: &Derived,
    report: &mut Report,
) -> Result<(), store::Error> {
    let expected = derived.budgets.as_ref().map(Budgets::rows);
    rows(store, (number, Family::Budgets), (expected, "what is booked on budgets"), report)
}

/// The rows of earlier decisions are those that the entries give, and no others.
pub(super) fn histories(
    store: &Rocks,
    number: LogNumber,
    derived: &Derived,
    report: &mut Report,
) -> Result<(), store::Error> {
    let expected = derived.histories.as_ref().map(Histories::rows);
    rows(store, (number, Family::History), (expected, "the rows of earlier decisions"), report)
}

/// The rows of a family are exactly the expected ones.
fn rows(
    store: &Rocks,
    (number, family): (LogNumber, Family),
    (expected, name): (Option<&store::Memory>, &str),
    report: &mut Report,
) -> Result<(), store::Error> {
    let (mut right, mut failed) = (0, None);
    let found = count(store, number, family, |key, row| {
        let kept = expected.map(|rows| rows.get(family, &number.key(key)));
        match kept.transpose() {
            Ok(kept) => right += usize::from(kept.flatten().as_deref() == Some(row)),
            Err(error) => failed = Some(error),
        }
    })?;
    if let Some(error) = failed {
        return Err(error);
    }
    let all = expected.map_or(0, store::Memory::len);
    if (found, right) != (all as u64, all) {
        report.find(format!(
            "{name}: {right} of {found} rows are those of the {all} that the entries give"
        ));
    }
    Ok(())
}

/// Checks the numbers of each source.
pub(super) fn sources(
    store: &Rocks,
    number: LogNumber,
    derived: &Derived,
    report: &mut Report,
) -> Result<(), store::Error> {
    for (source, expected) in &derived.sources {
        let kept = store.get(Family::Sources, &number.key(source))?;
        let kept = kept.and_then(|bytes| serde_json::from_slice::<Sequence>(&bytes).ok());
        if kept.as_ref() != Some(expected) {
            report.find("the numbers of a source are not what its entries give");
        }
    }
    Ok(())
}
