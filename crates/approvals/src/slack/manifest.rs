//! The manifest from which Slack's console makes the app: one bot, three scopes, one address for clicks.

use ledger::ident::Ident;
use serde_json::{Value, json};

/// `chat:write` posts and updates; the histories are for finding a card after a post without an answer.
const SCOPES: [&str; 3] = ["chat:write", "channels:history", "groups:history"];

/// The manifest of the app of one connection, for *Create New App → From a manifest*.
pub fn manifest(public_url: &str, connection: &Ident) -> Value {
    let clicks = format!("{}/slack/{connection}/interactions", public_url.trim_end_matches('/'));
    json!({
        "_metadata": {"major_version": 1},
        "display_information": {
            "name": "Countersign",
            "description": "Asks people before an agent's call goes through",
        },
        "features": {"bot_user": {"display_name": "Countersign", "always_online": true}},
        "oauth_config": {"scopes": {"bot": SCOPES}},
        "settings": {
            "interactivity": {"is_enabled": true, "request_url": clicks},
            "org_deploy_enabled": false,
            "socket_mode_enabled": false,
            "token_rotation_enabled": false,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(public_url: &str, expected: &str) {
        let made = manifest(public_url, &Ident::new("acme-slack").unwrap());
        assert_eq!(made["settings"]["interactivity"]["request_url"], expected);
    }

    #[test]
    fn clicks_come_to_the_connection() {
        check("https://log.example.com", "https://log.example.com/slack/acme-slack/interactions");
        check("https://a.example/log/", "https://a.example/log/slack/acme-slack/interactions");
    }
}
