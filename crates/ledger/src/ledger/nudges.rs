//! What another replica waits for, and what is otherwise done once a minute, is done at once.

use super::Ledger;

impl Ledger {
    /// Has erasures completed now: somebody waits for it.
    pub fn hasten_erasures(&self) {
        self.hastened.notify_one();
    }

    /// Waits until [`Ledger::hasten_erasures`].
    pub async fn erasures_hastened(&self) {
        self.hastened.notified().await;
    }

    /// Has new tenants taken up now: somebody waits for it.
    pub fn seek_tenants(&self) {
        self.sought.notify_one();
    }

    /// Waits until [`Ledger::seek_tenants`].
    pub async fn tenants_sought(&self) {
        self.sought.notified().await;
    }
}
