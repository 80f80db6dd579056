//! `countersign agent …`: tokens by which agents prove who they are.

use super::{Failed, rules, why};
use crate::{
    cli::{AgentCommand, AgentTokenCommand, OfTenant},
    client::Client,
    terminal::{bad, dim, good, harmless, say, say_json, strong, warn},
};
use serde_json::{Value, json};

/// Runs one of them.
pub fn run(command: &AgentCommand) -> Result<(), Failed> {
    let AgentCommand::Token(command) = command;
    match command {
        AgentTokenCommand::Issue { of, agent, scope, seconds, region, of_token, reason } => {
            why(reason.as_deref())?;
            let mut body = json!({"scope": scope});
            let parent = of_token.as_deref().map(rules::read).transpose()?;
            let parent = parent.map(|text| String::from_utf8_lossy(&text).trim().to_owned());
            let members = [
                ("seconds", seconds.map(Value::from)),
                ("region", region.clone().map(Value::from)),
                ("for", parent.map(Value::from)),
                ("reason", reason.clone().map(Value::from)),
            ];
            for (name, value) in members {
                if let Some(value) = value {
                    body[name] = value;
                }
            }
            let answer = Client::new(&of.remote)?.post_json(&path(of, agent, ""), &body)?;
            if of.json {
                say_json(&answer);
                return Ok(());
            }
            say(&harmless(answer["token"].as_str().unwrap_or_default()));
            let told = format!("token {} of {}", text(&answer["jti"]), chain(&answer));
            warn(&format!("{told}, until {}: it is stored nowhere", text(&answer["expires"])));
        }
        AgentTokenCommand::List { of, agent } => list(of, agent)?,
        AgentTokenCommand::Revoke { of, agent, jti, reason } => {
            why(reason.as_deref())?;
            let body = reason.as_ref().map_or(json!({}), |reason| json!({"reason": reason}));
            let rest = match jti {
                Some(jti) => format!("/{}/revoke", segment(jti)),
                None => "/revoke".to_owned(),
            };
            let answer = Client::new(&of.remote)?.post_json(&path(of, agent, &rest), &body)?;
            if of.json {
                say_json(&answer);
                return Ok(());
            }
            let what = match jti {
                Some(jti) => format!("token {}", harmless(jti)),
                None => format!("every token of {} so far", harmless(agent)),
            };
            say(&good(&format!("{what} is revoked by entry {}", answer["index"])));
        }
    }
    Ok(())
}

fn path(of: &OfTenant, agent: &str, rest: &str) -> String {
    format!("/v1/tenants/{}/agents/{}/tokens{rest}", of.tenant, segment(agent))
}

/// A text as one segment of a path (RFC 3986).
fn segment(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~');
    let one = |byte: u8| {
        if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }
    };
    text.bytes().map(one).collect()
}

fn text(value: &Value) -> String {
    harmless(value.as_str().unwrap_or_default())
}

/// Who called whom, for people.
fn chain(token: &Value) -> String {
    let agents = token["chain"].as_array().map(Vec::as_slice).unwrap_or_default();
    let agents: Vec<String> = agents.iter().map(text).collect();
    agents.join(" → ")
}

fn list(of: &OfTenant, agent: &str) -> Result<(), Failed> {
    let answer = Client::new(&of.remote)?.get_json(&path(of, agent, ""))?;
    if of.json {
        say_json(&answer);
        return Ok(());
    }
    let tokens = answer["tokens"].as_array().map(Vec::as_slice).unwrap_or_default();
    for token in tokens {
        let scope = token["scope"].as_array().map(Vec::as_slice).unwrap_or_default();
        let scope: Vec<String> = scope.iter().map(text).collect();
        let until = dim(&format!("until {}", text(&token["expires"])));
        let revoked =
            if token["revoked"] == json!(true) { bad("  revoked") } else { String::new() };
        let jti = strong(&text(&token["jti"]));
        say(&format!("{jti}  {}  {}  {until}{revoked}", chain(token), scope.join(", ")));
    }
    if tokens.is_empty() {
        say("no token of this agent is valid");
    }
    if answer["more"] == json!(true) {
        say(&dim("there may be more"));
    }
    Ok(())
}
