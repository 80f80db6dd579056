//! Assessment results in OSCAL (NIST, version 1.1.3): which control was looked at, and what was observed.

use super::{
    Computed, Error, Out,
    controls::{self, Control},
    figures::Figure,
    findings::{Finding, Weight},
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// Version of the models that the document follows.
const VERSION: &str = "1.1.3";

/// Writes the assessment results.
pub fn finish(
    out: &mut dyn Out,
    computed: &Computed<'_>,
    (figures, findings): (&[Figure], &[Finding]),
) -> Result<(), Error> {
    let signed = computed.log.signed();
    let seed = format!("{}\n{}\n{:?}", signed.origin, signed.root, computed.request);
    let id = |what: &str| uuid(&format!("{seed}\n{what}"));
    let period = computed.request.period;
    let moment = period.to.to_string();
    let observations: Vec<Value> = figures
        .iter()
        .map(|figure| {
            json!({
                "uuid": id(figure.name), "title": figure.title,
                "description": format!("{}: {}", figure.title, figure.value()),
                "methods": ["EXAMINE"], "collected": moment,
                "relevant-evidence": [{"href": format!("../{}", figure.file), "description": "The rows that give this figure."}],
                "props": [{"name": "figure", "ns": "urn:countersign:oscal", "value": figure.name}],
            })
        })
        .chain(findings.iter().map(|finding| {
            json!({
                "uuid": id(&format!("found {}", finding.code)), "title": finding.code,
                "description": finding.text, "methods": ["EXAMINE"], "collected": moment,
                "relevant-evidence": [{"href": format!("../{}", finding.file), "description": "The rows that show it."}],
            })
        }))
        .collect();
    let all = controls::all();
    let results: Vec<Value> =
        all.iter().filter_map(|control| finding_of(control, figures, findings, &id)).collect();
    let include: Vec<Value> =
        all.iter().map(|control| json!({"control-id": token(control)})).collect();
    let mut document = json!({"assessment-results": {
        "uuid": id("results"),
        "metadata": {
            "title": format!("Evidence of {}", signed.origin), "last-modified": moment,
            "version": env!("CARGO_PKG_VERSION"), "oscal-version": VERSION,
        },
        "import-ap": {"href": "../README.txt", "remarks": "There is no assessment plan: this states what a log shows."},
        "results": [{
            "uuid": id("result"), "title": "What the log shows",
            "description": "Counted from the proven entries of the period. It states figures; whether a control is met stays the auditor's judgement.",
            "start": period.from.to_string(), "end": moment,
            "reviewed-controls": {"control-selections": [{"include-controls": include}]},
            "observations": observations,
        }],
    }});
    if !results.is_empty() {
        document["assessment-results"]["results"][0]["findings"] = results.into();
    }
    out.put("controls/oscal-ar.json", &super::pretty(&document))
}

/// What speaks against one control: the exceptions that one of its files shows. `None` without any: that a control is
/// satisfied is never ours to say.
fn finding_of(
    control: &Control,
    figures: &[Figure],
    findings: &[Finding],
    id: &dyn Fn(&str) -> String,
) -> Option<Value> {
    let exceptions: Vec<&Finding> = findings
        .iter()
        .filter(|found| found.weight == Weight::Exception)
        .filter(|found| control.files.iter().any(|file| file == found.file))
        .collect();
    if exceptions.is_empty() {
        return None;
    }
    let observed = controls::figures(control, figures).into_iter().map(|figure| id(figure.name));
    let found = exceptions.iter().map(|found| id(&format!("found {}", found.code)));
    let related: Vec<Value> =
        observed.chain(found).map(|uuid| json!({"observation-uuid": uuid})).collect();
    Some(json!({
        "uuid": id(&format!("control {}", token(control))),
        "title": format!("{} {}", control.framework, control.id),
        "description": format!("{} Stays with the organisation: {}", control.shows, control.stays),
        "target": {"type": "objective-id", "target-id": token(control), "status": {
            "state": "not-satisfied",
            "remarks": "Something in the log needs an explanation; whether the control is met is the auditor's judgement.",
        }},
        "related-observations": related,
    }))
}

/// The control's id as an OSCAL token.
fn token(control: &Control) -> String {
    let text = format!("{}_{}", control.framework, control.id).to_lowercase();
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    text.chars().map(|c| if allowed(c) { c } else { '-' }).collect()
}

/// An identifier that follows from a text: the first 16 bytes of its SHA-256, with the bits of a UUID by name (RFC 9562
/// §5.5; there the hash is SHA-1). OSCAL accepts versions 4 and 5 only.
fn uuid(text: &str) -> String {
    let hash = Sha256::digest(text);
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x50;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = data_encoding::HEXLOWER.encode(&bytes);
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}
