//! Part 4: who signed in on the pages, with what, and when. Each sign-in is with a key, passkey or account of its person that
//! was in force at its place.

use super::{Error, Out, table::Table};
use ledger::{
    entry::View,
    system::{Access, How, SignIns as InForce},
};
use serde::Serialize;

/// What was counted: sign-ins of the period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// All of them. An entry covers those of a minute with the same key.
    pub all: u64,
    /// Those with a reviewer key: a text that others may have too.
    pub by_key: u64,
}

/// The table, and the keys that are in force.
pub struct SignIns {
    table: Table,
    in_force: InForce,
    totals: Totals,
}

impl Default for SignIns {
    fn default() -> Self {
        const COLUMNS: &[&str] =
            &["index", "journal_time", "person", "how", "issuer", "key", "key_name", "seconds"];
        Self {
            table: Table::new("policies/sign-ins.csv", COLUMNS),
            in_force: InForce::default(),
            totals: Totals::default(),
        }
    }
}

impl SignIns {
    /// Takes an entry before the period: its keys may be in force in the period. Its sign-ins belong to another period.
    pub fn before(&mut self, view: &View<'_>) {
        let _its_own_period_says_what_is_wrong = self.in_force.take(view);
    }

    /// Takes the next entry of the period.
    pub fn take(&mut self, out: &mut dyn Out, index: u64, view: &View<'_>) -> Result<(), Error> {
        let wrong = |what: &str| Error::file(&format!("entry {index}"), what.to_owned());
        let Some(key) = self.in_force.take(view).map_err(wrong)? else { return Ok(()) };
        let Some(Access::SignedIn { seconds, .. }) = view.event_as() else { return Ok(()) };
        let (how, issuer) = key.how();
        let how = match how {
            How::Key => "key",
            How::Passkey => "passkey",
            How::Oidc => "account",
        };
        self.totals.all += 1;
        self.totals.by_key += u64::from(how == "key");
        let person = key.person.as_ref().map(ToString::to_string).unwrap_or_default();
        let cells = [
            &index.to_string(),
            &view.origin.time.to_string(),
            &person,
            how,
            issuer.unwrap_or_default(),
            key.key_id.as_str(),
            &key.name,
            &seconds.to_string(),
        ];
        self.table.row(out, &cells)
    }

    /// Writes the table.
    pub fn finish(self, out: &mut dyn Out) -> Result<Totals, Error> {
        self.table.finish(out)?;
        Ok(self.totals)
    }
}
