//! Asks nats-servers, at their monitoring ports, whether they store before they acknowledge. A client of theirs can't see it.

use serde_json::Value;
use std::time::Duration;
use ureq::Agent;

/// Longest wait for an answer, and its largest size.
const ANSWER_WAIT: Duration = Duration::from_secs(3);
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// What is wrong with an address of a monitoring port.
pub fn mistake(address: &str) -> Option<&'static str> {
    let host = address.strip_prefix("http://").or_else(|| address.strip_prefix("https://"));
    let fits = host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '?', '#', '@']));
    (!fits).then_some(
        "http://host:port of a nats-server's monitoring, for example http://10.0.0.1:8222",
    )
}

/// Refuses servers that acknowledge what they have not stored. One that does not answer may be the one that is lost: then the
/// others are enough, and it is told in the log.
pub fn check(monitors: &[String]) -> Result<(), String> {
    if monitors.is_empty() {
        tracing::warn!(
            "replica.monitors is empty: whether NATS has `sync_interval: always` is not checked"
        );
    }
    let mut wrong = Vec::new();
    for address in monitors {
        match stores_first(address) {
            Ok(true) => {}
            Ok(false) => wrong.push(address.as_str()),
            Err(why) => tracing::warn!(
                address,
                why,
                "a nats-server was not asked whether it has `sync_interval: always`"
            ),
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(format!(
        "replica.monitors: {} acknowledges messages before they are on its disk: a power cut then loses what was told, and parts \
         the replicas from their journal. Set `sync_interval: always` in `jetstream {{}}` of its configuration, and restart it",
        wrong.join(", ")
    ))
}

/// True if a server stores before it acknowledges.
fn stores_first(address: &str) -> Result<bool, String> {
    let agent: Agent = Agent::config_builder().timeout_global(Some(ANSWER_WAIT)).build().into();
    let answer = agent.get(format!("{address}/varz")).call();
    let mut answer = answer.map_err(|error| error.to_string())?;
    let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
    let body = body.map_err(|error| error.to_string())?;
    read(&body).ok_or_else(|| "its answer says nothing of JetStream".into())
}

/// Reads what a server says of itself. `None`: it has no JetStream.
fn read(answer: &[u8]) -> Option<bool> {
    let answer: Value = serde_json::from_slice(answer).ok()?;
    let config = answer.get("jetstream")?.get("config")?;
    Some(config.get("sync_always").and_then(Value::as_bool).unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_servers_say() {
        let check = |answer: &str, told: Option<bool>| {
            assert_eq!(read(answer.as_bytes()), told, "{answer}");
        };
        // Of nats-server 2.15.1.
        check(
            r#"{"jetstream":{"config":{"sync_interval":120000000000,"sync_always":true}}}"#,
            Some(true),
        );
        check(r#"{"jetstream":{"config":{"sync_interval":120000000000}}}"#, Some(false));
        check(r#"{"jetstream":{}}"#, None);
        check("no", None);
    }

    #[test]
    fn where_they_are() {
        for (address, fits) in [
            ("http://10.0.0.1:8222", true),
            ("https://nats-a.example:8222", true),
            ("nats://10.0.0.1:4222", false),
            ("http://", false),
            ("http://10.0.0.1:8222/varz", false),
        ] {
            assert_eq!(mistake(address).is_none(), fits, "{address}");
        }
    }
}
