//! What one command is decided from.

use crate::{history::Approval, setup::Setup};
use decider::{approval::World, decision::Frozen};
use std::sync::Arc;

/// Everything that one command is decided from, read once.
pub(crate) struct Case {
    pub approval: Approval,
    /// The call as it was hashed, unless it was erased.
    pub frozen: Option<Frozen>,
    pub setup: Arc<Setup>,
    pub world: World,
}
