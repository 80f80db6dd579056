//! Reads the files that an auditor gives. If one is not of the expected form, says what it is instead, and
//! what to do.

use super::Failure;
use ledger::log::note::Vkey;
use serde_json::Value;
use std::{io::Read as _, path::Path};

/// Largest single file that is read as a whole, in bytes.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Files that operating systems put into folders. They are not read.
const DROPPINGS: [&str; 6] =
    [".DS_Store", "Thumbs.db", "ehthumbs.db", "desktop.ini", ".directory", "__MACOSX"];

/// Expected form of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Key,
    Keys,
    Receipt,
    Checkpoint,
    Proof,
    Disclosures,
}

impl Form {
    fn name(self) -> &'static str {
        match self {
            Self::Key => "the log's public key",
            Self::Keys => "a keys document",
            Self::Receipt => "a receipt",
            Self::Checkpoint => "a checkpoint",
            Self::Proof => "a consistency proof",
            Self::Disclosures => "disclosures",
        }
    }

    /// How to give a file of this form to `verify`.
    fn how(self) -> &'static str {
        match self {
            Self::Key => "give it by --key",
            Self::Keys => "give it by --keys",
            Self::Receipt => "give it without an option before it",
            Self::Checkpoint => "give it by --checkpoint",
            Self::Proof => "give it by --proof",
            Self::Disclosures => "give it by --disclosures, with its receipt",
        }
    }

    fn is_json(self) -> bool {
        matches!(self, Self::Keys | Self::Proof)
    }
}

/// True for the name of a file that an operating system leaves behind.
pub(super) fn is_dropping(name: &str) -> bool {
    name.starts_with("._") || DROPPINGS.contains(&name)
}

/// Reads a text file (`-` is standard input), which should have this form.
pub(super) fn read(path: impl AsRef<Path>, form: Form) -> Result<String, Failure> {
    let path = path.as_ref();
    let place = path.display().to_string();
    let bytes = bytes(path)?;
    let unreadable = |what: &str| Failure::Unreadable(format!("{place}: {what}"));
    if let Some(what) = binary(&bytes) {
        return Err(unreadable(what));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        if error.utf8_error().error_len().is_none() {
            return super::refused(
                &place,
                &"it is cut off, in the middle of a character. Fetch it again",
            );
        }
        unreadable("not UTF-8 text")
    })?;
    match wrong(form, &text) {
        None => Ok(text),
        // Without its keys nothing was checked yet, so this is no verdict about the files.
        Some(what) if matches!(form, Form::Key | Form::Keys) => Err(unreadable(&what)),
        Some(error) => Err(Failure::Refused { place, error }),
    }
}

/// Reads a whole file.
pub(super) fn bytes(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        std::io::stdin().take(FILE_BYTES_MAX).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| {
            let length = file.metadata()?.len().min(FILE_BYTES_MAX);
            // One byte more: the end is then found without growing.
            bytes.reserve_exact(usize::try_from(length).unwrap_or_default() + 1);
            file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)
        })
    };
    match read {
        Ok(_) => Ok(bytes),
        Err(error) => Err(Failure::Unreadable(format!("{}: {error}", path.display()))),
    }
}

/// What a file is if it does not begin as text.
fn binary(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some(
            "UTF-16 text, as PowerShell's `>` writes it: save it as UTF-8 without a byte order mark, or fetch it again with `curl -o`",
        ),
        [0x1f, 0x8b, ..] => Some("compressed (gzip): unpack it first"),
        [b'P', b'K', 3, 4, ..] => Some("a ZIP archive: unpack it first"),
        _ => None,
    }
}

/// What is wrong with a text, before anything in it is read, and what to do.
fn wrong(form: Form, text: &str) -> Option<String> {
    let name = form.name();
    if text.is_empty() {
        // An entry without payload, or with everything erased, has nothing to disclose.
        return (form != Form::Disclosures)
            .then(|| format!("it is empty; {name} was expected. Fetch it again"));
    }
    if text.starts_with('\u{feff}') {
        let what = "it begins with a byte order mark (BOM) that an editor or PowerShell wrote: save it as UTF-8 without BOM, or fetch it again";
        return Some(what.into());
    }
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Some(format!(
            "there is nothing in it but white space; {name} was expected. Fetch it again"
        ));
    }
    if trimmed.starts_with('<') {
        return Some(format!(
            "it is a web page (HTML), not {name}: a proxy or a sign-in page answered in place of the server. Fetch it again, with an API key"
        ));
    }
    if trimmed.starts_with('{') {
        return json(form, trimmed);
    }
    if let Some(what) = secret(trimmed) {
        return Some(what.into());
    }
    if trimmed.contains('\r') && matches!(form, Form::Receipt | Form::Checkpoint) {
        let what = "its lines end with CR LF (Windows line ends), which mail programs and git's autocrlf make: fetch it again, or remove the CRs (`tr -d '\\r'`)";
        return Some(what.into());
    }
    let found = looks_like(trimmed).filter(|found| *found != form)?;
    Some(format!("it is {}, not {name}: {}", found.name(), found.how()))
}

/// The form of ours that this text seems to have.
fn looks_like(text: &str) -> Option<Form> {
    if text.starts_with("c2sp.org/tlog-proof@") {
        Some(Form::Receipt)
    } else if text.starts_with("[\"") {
        Some(Form::Disclosures)
    } else if Vkey::parse(text).is_ok() {
        Some(Form::Key)
    } else if text.contains("\n\n\u{2014} ") {
        Some(Form::Checkpoint)
    } else {
        None
    }
}

/// A secret where a public key or a receipt is expected. It is never shown.
pub(super) fn secret(text: &str) -> Option<&'static str> {
    if text.starts_with("PRIVATE+KEY+") {
        Some(
            "that is a PRIVATE key. Tell nobody, and ask for the public one: `countersign init` printed it",
        )
    } else if text.starts_with("cs_") {
        Some(
            "that is an API key, a secret. An auditor needs the log's public key: `countersign init` printed it",
        )
    } else {
        None
    }
}

/// What a JSON object is, if it can't have the form.
fn json(form: Form, text: &str) -> Option<String> {
    let name = form.name();
    let value: Value = match serde_json::from_str(text) {
        Ok(value) => value,
        Err(error) => {
            return Some(format!(
                "it is cut off, or no JSON ({error}); {name} was expected. Fetch it again"
            ));
        }
    };
    let has = |member: &str| value.get(member).is_some();
    if has("code") && has("detail") {
        let text = |member: &str| value[member].as_str().unwrap_or("");
        let (status, code, detail) = (&value["status"], text("code"), text("detail"));
        return Some(format!(
            "it is an error that the server answered, not {name}: {status} {code}: {detail}"
        ));
    }
    let found = if has("keys") && has("origin") {
        Form::Keys
    } else if has("proof") && has("from") {
        Form::Proof
    } else if has("results") {
        return Some(format!(
            "it is the answer to publishing, not {name}: with `?receipts=full` each of its `results` has a `receipt`; save that text"
        ));
    } else if form.is_json() {
        // The reader of the form reports what is missing in it.
        return None;
    } else {
        return Some(format!("it is JSON, not {name}"));
    };
    (found != form).then(|| format!("it is {}, not {name}: {}", found.name(), found.how()))
}

/// What to add to the reason for a refusal: what may have happened to the text.
pub(super) fn after(form: Form, text: &str) -> &'static str {
    let cut = !text.ends_with('\n');
    match form {
        Form::Receipt if !text.contains("\n\n") => {
            ". It is cut off: a receipt ends with the checkpoint. Fetch it again"
        }
        Form::Receipt | Form::Checkpoint if cut || !text.contains("\n\n\u{2014} ") => {
            ". It is cut off: it must end with a whole line of a signature. Fetch it again"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(form: Form, text: &str, expected: &str) {
        let told = wrong(form, text).unwrap_or_default();
        assert!(told.contains(expected) && (told.is_empty() == expected.is_empty()), "{told}");
    }

    #[test]
    fn what_a_file_is_instead() {
        let receipt =
            "c2sp.org/tlog-proof@v1\nextra e30=\nindex 0\n\nlog\n1\nAA=\n\n\u{2014} log AA==\n";
        let checkpoint = receipt.split_once("\n\n").unwrap().1;
        let key = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW\r\n";
        check(Form::Receipt, receipt, "");
        check(Form::Checkpoint, checkpoint, "");
        check(Form::Key, key, "");
        check(Form::Receipt, "", "empty");
        check(Form::Receipt, "\n\n", "white space");
        check(Form::Receipt, &format!("\u{feff}{receipt}"), "BOM");
        check(Form::Keys, "\u{feff}{}", "BOM");
        check(Form::Receipt, &receipt.replace('\n', "\r\n"), "CR LF");
        check(Form::Receipt, "<!DOCTYPE html><html>", "HTML");
        check(
            Form::Receipt,
            r#"{"code":"not_found","detail":"No.","status":404}"#,
            "404 not_found: No.",
        );
        check(
            Form::Keys,
            r#"{"code":"not_found","detail":"No.","status":404}"#,
            "404 not_found: No.",
        );
        check(Form::Keys, "{\r\n\"origin\":\"\",\r\n\"keys\":[]}", "");
        check(Form::Keys, r#"{"origin":"", "keys":["#, "cut off");
        check(Form::Receipt, r#"{"origin":"","keys":[]}"#, "--keys");
        check(Form::Receipt, r#"{"results":[]}"#, "receipts=full");
        check(Form::Receipt, "{}", "JSON");
        check(Form::Receipt, checkpoint, "--checkpoint");
        check(Form::Checkpoint, receipt, "without an option");
        check(Form::Receipt, key, "--key");
        check(Form::Receipt, "[\"salt\",\"name\",1]\n", "--disclosures");
        check(Form::Key, "cs_0000_secret", "API key");
        check(Form::Key, "PRIVATE+KEY+x+00000000+AA==", "PRIVATE");
        assert!(after(Form::Receipt, &receipt[..60]).contains("cut off"));
        assert!(after(Form::Receipt, &receipt[..receipt.len() - 1]).contains("cut off"));
        assert_eq!(after(Form::Receipt, receipt), "");
    }
}
