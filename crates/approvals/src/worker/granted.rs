//! Has the clerk carry out changes of policies once they are granted.

use crate::deciding::Clerk;
use std::time::Duration;

/// Pause before a granted change is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// Carries out what is granted, until the worker stops.
pub(super) async fn run(clerk: &Clerk) {
    let registry = &clerk.commands.reader.registry;
    loop {
        clerk.commands.readiness.until_ready().await;
        let Some(id) = registry.take_own() else {
            registry.own_news.notified().await;
            continue;
        };
        if let Err(error) = clerk.carry_out(&id).await {
            let tenant = clerk.log.tenant();
            tracing::warn!(%tenant, approval = %id, %error, "a granted change of policies did not take effect yet");
            tokio::time::sleep(AGAIN).await;
            registry.add_own(id);
        }
    }
}
