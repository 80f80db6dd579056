//! `countersign export --approval`: the history of one approval as a folder (`proto/formats/approval-export.md`).

use super::{
    Target, Verdict, checkpoint, checkpoint_of,
    tiles::{Remote, unreadable},
};
use crate::{
    cli::Export,
    client::Client,
    commands::{EXIT_FAILED, Failed},
    terminal::{dim, harmless, say},
};
use ledger::{
    ident::Ident,
    log::{checkpoint::Checkpoint, merkle, receipt::Receipt},
};
use serde_json::Value;
use std::collections::BTreeSet;

/// Text of the README. An export is recognised by it.
fn readme(origin: &str) -> String {
    format!(
        "\
This is the whole history of one approval, from one Countersign log.

  log                   {}

  checkpoint            the signed tree head: https://c2sp.org/tlog-checkpoint
  keys.json             the keys that sign, with the proofs that hand over between them
  opening.tlog-proof    the decision that paused the call, with its proof: https://c2sp.org/tlog-proof
  <n>.tlog-proof        message n of the approval: who was asked, who answered, what was spent
  passkey-<n>.tlog-proof  entry n, which put a passkey in force that signed an answer
  opening.disclosures   payload of the decision that was not erased, one disclosure per line

Check it with the log's public key, which you must have from somewhere else:
  countersign verify --key <vkey> --approval .
",
        harmless(origin)
    )
}

/// Writes the history of approval `id` as it is now. One checkpoint proves all of it.
pub fn run(client: &Client, arguments: &Export, id: &str) -> Result<(), Failed> {
    let Export { tenant, dir, disclosures, witnessed, .. } = arguments;
    let id = Ident::new(id).map_err(|_| Failed::new(EXIT_FAILED, "not the id of an approval"))?;
    let base = format!("/v1/tenants/{tenant}");
    // Fetch the history before the checkpoint: what was answered is published by then.
    let approval = json(&client.get(&format!("{base}/approvals/{id}"))?)?;
    let log = format!("{base}/logs/1");
    let note = match witnessed {
        true => checkpoint(client, &log, Some(last_of(&approval) + 1), true)?,
        false => checkpoint(client, &log, None, false)?,
    };
    let Checkpoint { origin, size, .. } = checkpoint_of(&note)?;
    let tiles = Remote::new(client, &log, size);
    let signed = String::from_utf8_lossy(&note).into_owned();
    let read = |index: u64| client.get(&format!("{base}/entries/{index}"));
    let proof = |index: u64, entry: Vec<u8>| -> Result<String, Failed> {
        let path = merkle::inclusion(&tiles, index, size)?;
        Ok(Receipt { entry, index, path, checkpoint: signed.clone() }.to_string())
    };
    let index_of = |value: &Value| value["index"].as_u64().filter(|index| *index < size);
    let opening = index_of(&approval["opening"]).ok_or_else(unreadable)?;
    let history = approval["history"].as_array().ok_or_else(unreadable)?;

    let target = Target::open(dir, &readme(&origin), "checkpoint")?;
    target.begin()?;
    target.write("opening.tlog-proof", proof(opening, read(opening)?)?.as_bytes())?;
    let mut passkeys = BTreeSet::new();
    for (n, step) in (1..).zip(history) {
        let index = index_of(step).ok_or_else(unreadable)?;
        let entry = read(index)?;
        passkeys.extend(passkeys_of(&json(&entry)?));
        target.write(&format!("{n}.tlog-proof"), proof(index, entry)?.as_bytes())?;
    }
    for index in &passkeys {
        let name = format!("passkey-{index}.tlog-proof");
        target.write(&name, proof(*index, read(*index)?)?.as_bytes())?;
    }
    if *disclosures {
        let shown = client.get(&format!("{base}/entries/{opening}/disclosures"))?;
        target.write("opening.disclosures", &shown)?;
    }
    target.write("keys.json", &client.get(&format!("{log}/keys"))?)?;
    let n = history.len();
    target.sweep(&|path| verdict(path, (n, &passkeys), *disclosures))?;
    target.finish(&note)?;
    let state = harmless(approval["state"].as_str().unwrap_or("unknown"));
    say(&format!("approval {id}, {state} after {n} messages, in {}", dir.display()));
    say(&dim(&format!("Check it: countersign verify --key <vkey> --approval {}", dir.display())));
    Ok(())
}

/// What a file in the folder of a history of `n` messages is.
fn verdict(path: &str, (n, passkeys): (usize, &BTreeSet<u64>), disclosed: bool) -> Verdict {
    let keep = |is: bool| if is { Verdict::Keep } else { Verdict::Remove };
    if matches!(path, "README.txt" | "keys.json" | "checkpoint" | "opening.tlog-proof") {
        return Verdict::Keep;
    }
    if path == "opening.disclosures" {
        return keep(disclosed);
    }
    let number = path.strip_suffix(".tlog-proof");
    if let Some(index) = number.and_then(|text| text.strip_prefix("passkey-")) {
        return keep(passkeys.iter().any(|known| known.to_string() == index));
    }
    let number =
        number.and_then(|text| text.parse().ok().filter(|n: &usize| n.to_string() == text));
    number.map_or(Verdict::Foreign, |number| keep((1..=n).contains(&number)))
}

/// Leaf indexes of the entries of passkeys that signed answers in a message's entry.
fn passkeys_of(entry: &Value) -> Vec<u64> {
    let events = entry["event"]["events"].as_array().map_or(&[][..], Vec::as_slice);
    events.iter().filter_map(|event| event["signed"]["enrolled"]["index"].as_u64()).collect()
}

/// Leaf index of the last entry of an approval; 0 if the answer has none.
fn last_of(approval: &Value) -> u64 {
    let history = approval["history"].as_array().map_or(&[][..], Vec::as_slice);
    let all = std::iter::once(&approval["opening"]).chain(history);
    all.filter_map(|step| step["index"].as_u64()).max().unwrap_or_default()
}

fn json(bytes: &[u8]) -> Result<Value, Failed> {
    serde_json::from_slice(bytes).map_err(|_| unreadable())
}
