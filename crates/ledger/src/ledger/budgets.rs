//! What is booked on budgets.

use super::Ledger;
use crate::{
    budget::{Asked, Open, Reservation, Row},
    store::{self, Family, Read as _},
    tenant::Tenant,
    time::Nanos,
};

/// The budgets of a log, as they are booked.
#[derive(Clone, Debug, Default)]
pub struct AllBooked {
    /// Each with the key of its row.
    pub rows: Vec<(Vec<u8>, Row)>,
    /// What may still change.
    pub open: Vec<Open>,
    /// False if there are more.
    pub complete: bool,
}

impl Ledger {
    /// What counts against the cap of a budget, in the window that is asked about. It may be ahead of what is published, and
    /// is not proven: `fsck` judges it.
    pub fn booked(&self, tenant: &Tenant, asked: &Asked) -> Result<u64, store::Error> {
        let row = self.store.get(Family::Budgets, &tenant.number.key(&asked.row()))?;
        let row = row.map(|row| store::read_json::<Row>(&row, "budgets")).transpose()?;
        Ok(row.map_or(0, |row| row.counted((asked.from, asked.to))))
    }

    /// At most `max` budgets, and at most `max` reservations that are open at `now`.
    pub fn all_booked(
        &self,
        tenant: &Tenant,
        max: usize,
        now: Nanos,
    ) -> Result<AllBooked, store::Error> {
        let mut all = AllBooked { complete: true, ..AllBooked::default() };
        let mut failed = None;
        for kind in [&b"r"[..], &b"s"[..]] {
            let prefix = tenant.number.key(kind);
            let log = tenant.number.key(&[]).len();
            let mut seen = 0;
            self.store.scan(Family::Budgets, &prefix, |key, row| {
                if !key.starts_with(&prefix) {
                    return false;
                }
                seen += 1;
                if seen > max {
                    all.complete = false;
                    return false;
                }
                let read = if kind == b"r" {
                    store::read_json::<Reservation>(row, "budgets")
                        .map(|reservation| all.open.extend(reservation.open(now)))
                } else {
                    store::read_json(row, "budgets")
                        .map(|row| all.rows.push((key[log..].to_vec(), row)))
                };
                failed = read.err();
                failed.is_none()
            })?;
        }
        failed.map_or(Ok(all), Err)
    }
}
