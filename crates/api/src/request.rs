//! What is known of the request that a task serves. Errors and log lines name it.

use ledger::ident::Ident;
use std::{net::IpAddr, sync::Arc};

tokio::task_local! {
    static CURRENT: Arc<Known>;
}

/// What is known of the request that this task serves.
#[derive(Debug)]
pub struct Known {
    /// Id of the request.
    pub id: String,
    /// The tenant in its path, whether it exists or not.
    pub tenant: Option<Ident>,
}

/// Address of the client. Every request carries it as an extension.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

/// The request that this task serves.
pub fn current() -> Option<Arc<Known>> {
    CURRENT.try_with(Arc::clone).ok()
}

/// Completes `answer` as the answer to this request.
pub async fn serving<T>(known: Known, answer: impl Future<Output = T>) -> T {
    CURRENT.scope(Arc::new(known), answer).await
}
