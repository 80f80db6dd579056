//! Replicas: several servers that sign one log together (P21). Their configuration, the policy for whoever verifies, and how
//! they stand. It takes the ledger, not `App`.
//!
//! Out of scope: cosigning itself (`ledger::replica`).

mod change;
pub mod copies;
mod monitor;
mod setup;
mod standing;

pub use change::{can_cosign, sets_agree};
pub use monitor::check as check_brokers;
pub use setup::{Setup, mistakes};
pub use standing::{Replicated, alarms, figures, logs, stops};
