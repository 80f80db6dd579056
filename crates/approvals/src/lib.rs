//! Who said yes: the approvals worker.
