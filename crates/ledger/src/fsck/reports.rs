//! Checks what each source reported, against its entries.

use super::{Report, derived::Derived, rows::count};
use crate::{
    post::Reported,
    store::{self, Family, LogNumber, rocks::Rocks},
};

/// Each source has one row, and it says what its entries give.
pub(super) fn compare(
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
