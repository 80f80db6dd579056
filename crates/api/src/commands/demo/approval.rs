//! The second half of the demo: a policy comes into force, a payment above its limit is paused, a person decides, and
//! the call is released once.

use super::{
    ours, policy, refused,
    stage::{ACTION, AGENT, RUN, Stage, TENANT, TOOL},
    stories,
};
use crate::{
    commands::Failed,
    terminal::{bad, dim, good, harmless, say, strong},
};
use data_encoding::BASE64URL_NOPAD;
use ledger::{atomic, keyring::random32};
use serde_json::{Value, json};
use std::{fs, path::Path};

/// Three rules, and the people they ask. Amounts are in minor units: 100000 is EUR 1,000.00.
const RULES: &str = r#"# Who must approve what. The first rule that matches a call counts.

[[rule]]
name = "transfers above EUR 1,000"
quorum = {at_least = 1, of = "finance"}
owner = "none"                       # also agents that nobody owns
[rule.match]
tool = "bank"
action = "transfer"
amount = {minor = "/amount", currency = "/currency", over = {EUR = 100000}}

[[rule]]
name = "changes of policies"
quorum = {at_least = 1, of = "operations"}
[rule.match]
tool = "countersign"
action = "policy.activate"

[[rule]]
name = "everything else"
quorum = {at_least = 1, of = "operations"}
owner = "none"
"#;
const PEOPLE: &str = r#"# Who may be asked. Only the id ever stands in the log.

[[person]]
id = "p-ana"
name = "Ana Lima"
groups = ["finance", "operations"]

[[person]]
id = "p-bob"
name = "Bob Ito"
groups = ["finance", "operations"]
"#;
/// The payment that the agent wants to make.
const PARAMS: &str = r#"{"amount":125000,"creditor":"Nordwind GmbH","currency":"EUR","iban":"DE02120300000000202051","invoice":"4712"}"#;
/// The same payment, changed on its way.
const FORGED: &str = r#"{"amount":125000,"creditor":"Nordwind GmbH","currency":"EUR","iban":"GB33BUKB20201555555555","invoice":"4712"}"#;

/// Writes the files of the tenant `acme` below `dir`.
pub fn write_files(dir: &Path) -> Result<(), Failed> {
    let folder = dir.join("approvals/acme");
    atomic::make_folder(&folder)?;
    atomic::create(&folder.join("rules.toml"), RULES.as_bytes())?;
    Ok(atomic::create(&folder.join("people.toml"), PEOPLE.as_bytes())?)
}

/// Runs this half. The answer comes from the page, or with `once` from Ana at once.
pub fn tell(stage: &Stage<'_>, once: bool) -> Result<(), Failed> {
    let (nonce, opened) = hold(stage)?;
    let id = text(&opened["id"]).to_owned();
    let path = format!("{TENANT}/approvals/{id}");
    if once {
        say(&dim(&format!(
            "   $ curl {}{path}/reviews -d '{{\"decision\":\"approve\",…}}'    with Ana's key",
            stage.url
        )));
        let seen: Value = read(&stage.person.get(&path)?);
        let (digest, version) = (&seen["call"]["digest"], &seen["version"]);
        let review = json!({"decision": "approve", "digest": digest, "version": version});
        stage.person.post_json(&format!("{path}/reviews"), &review)?;
    } else {
        say(&format!("   Review it there; {} continues by itself.", strong("the story")));
    }
    let answer = answered(stage, &path)?;
    if answer["state"] == "granted" {
        say(&format!("   {} by {}", good("granted"), names(&answer["granted_by"])));
        spend(stage, &path, &nonce)?;
    } else {
        let ended = text(&answer["state"]);
        say(&format!(
            "   {}: nothing is released, and no token is ever made",
            bad(&harmless(ended))
        ));
    }
    take_away(stage, &id)
}

/// Applies the rules, puts a policy in force, and asks it about two payments. Returns the nonce of the one that needs
/// approval, and its approval.
fn hold(stage: &Stage<'_>) -> Result<(String, Value), Failed> {
    say(&strong(
        "\n6. From here on, a policy decides: Bob proposes it, Ana approves it, and it is in force",
    ));
    let at = |name: &str| stage.dir.join(name).to_string_lossy().into_owned();
    let (config, key) = (at("countersign.toml"), at("admin.key"));
    say(&dim("   $ countersign rules apply --tenant acme"));
    ours(&[
        "rules",
        "apply",
        "--tenant",
        "acme",
        "--config",
        &config,
        "--server",
        stage.url,
        "--api-key-file",
        &key,
    ])?;
    policy::put_in_force(stage)?;
    let nonce = || BASE64URL_NOPAD.encode(&random32()[..16]);
    let mut small: Value = read(PARAMS.as_bytes());
    small["amount"] = json!(25_000);
    policy::ask(stage, "pay-100000", &nonce(), &small)?;
    stories::tell(stage, nonce)?;
    let nonce = nonce();
    let told = policy::ask(stage, "pay-100001", &nonce, &read(PARAMS.as_bytes()))?;
    let opened = &told["approval"];
    let id = text(&opened["id"]);
    say("   the call    EUR 1,250.00 to Nordwind GmbH, DE02120300000000202051, for invoice 4712");
    say(
        "   rule        transfers above EUR 1,000 need one person of finance: Ana, because Bob owns the agent",
    );
    say(&format!("   approval    {id}: {}", strong(text(&opened["state"]))));
    say(&format!("   page        {}", strong(text(&opened["url"]))));
    let key = fs::read_to_string(stage.dir.join("ana.key"))?;
    say(&format!("   sign in     person {}  key {}", strong("p-ana"), strong(key.trim())));
    Ok((nonce, opened.clone()))
}

/// Waits until people have decided or the deadline has passed.
fn answered(stage: &Stage<'_>, path: &str) -> Result<Value, Failed> {
    let mut answer: Value = read(&stage.admin.get(path)?);
    while answer["state"] == "pending" {
        let after = &answer["version"];
        answer = read(&stage.admin.get(&format!("{path}?wait=30&after={after}"))?);
    }
    Ok(answer)
}

/// Mints one token and redeems it for this call, once.
fn spend(stage: &Stage<'_>, path: &str, nonce: &str) -> Result<(), Failed> {
    say(&strong("\n7. The gateway gets one token, for exactly this call, and redeems it once"));
    let minted = stage.gateway.post_json(&format!("{path}/token"), &json!({}))?;
    let token = text(&minted["token"]);
    let shown: String = token.chars().take(24).collect();
    say(&format!("   token                   {shown}… ({} bytes, two minutes)", token.len()));
    let redeem = |redemption_id: &str, params: &str| {
        let params = read(params.as_bytes());
        let call = json!({"nonce": nonce, "agent": AGENT, "run": RUN, "tool": TOOL, "action": ACTION, "params": params});
        let body = json!({"token": token, "redemption_id": redemption_id, "call": call});
        stage.gateway.post_json(&format!("{TENANT}/tokens/redeem"), &body)
    };
    let no = |code: &str| format!("{} ({code})", bad("refused"));
    refused(redeem("r-1", FORGED), "digest_mismatch")?;
    say(&format!("   to another account      {}", no("digest_mismatch")));
    let released = redeem("r-2", PARAMS)?;
    let amount = &released["call"]["params"]["amount"];
    say(&format!(
        "   the call Ana saw        {} ({amount} cents to {})",
        good("released"),
        text(&released["call"]["params"]["iban"])
    ));
    refused(redeem("r-3", PARAMS), "already_redeemed")?;
    say(&format!("   the same call again     {}", no("already_redeemed")));
    let done =
        stage.gateway.post_json(&format!("{path}/execution"), &json!({"outcome": "succeeded"}))?;
    say(&format!("   the gateway reports     {}", harmless(text(&done["state"]))));
    Ok(())
}

/// Exports the auditor's copy and checks it offline.
fn take_away(stage: &Stage<'_>, id: &str) -> Result<(), Failed> {
    say(&strong("\n8. The auditor exports the whole history, and verifies it offline"));
    let at = |name: &str| stage.dir.join(name).to_string_lossy().into_owned();
    let (folder, auditor, key) = (at("approval"), at("auditor.key"), at("log.vkey"));
    say(&dim(&format!(
        "   $ countersign export --tenant acme --approval {id} --disclosures {folder}"
    )));
    ours(&[
        "export",
        "--tenant",
        "acme",
        "--approval",
        id,
        "--disclosures",
        &folder,
        "--server",
        stage.url,
        "--api-key-file",
        &auditor,
    ])?;
    say(&dim(&format!("   $ countersign verify --key {key} --approval {folder}")));
    let told = ours(&["verify", "--key", &key, "--approval", &folder])?;
    told.lines().for_each(|line| say(&format!("   {line}")));
    say(&good(
        "\nWho approved what, under which rule, and that it was redeemed once: one folder, one public key.",
    ));
    Ok(())
}

fn read(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_default()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

fn names(value: &Value) -> String {
    let names = value.as_array().into_iter().flatten().filter_map(Value::as_str);
    names.collect::<Vec<_>>().join(", ")
}
