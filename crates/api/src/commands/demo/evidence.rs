//! A part of the demo: evidence of its own story, as an auditor takes it home.

use super::{Failed, dim, good, ours, say, strong};
use std::path::Path;

/// Makes the folder, and checks it with the public key alone.
pub fn tell(url: &str, dir: &Path) -> Result<(), Failed> {
    say(&strong("\n9. Evidence of all of it, for an auditor who trusts nobody"));
    let text = |name: &str| dir.join(name).to_string_lossy().into_owned();
    let (key, folder, auditor) = (text("log.vkey"), text("evidence"), text("auditor.key"));
    say(&dim(&format!(
        "   $ countersign evidence --tenant acme --api-key-file {auditor} -o {folder}"
    )));
    let told = ours(&[
        "evidence",
        "--server",
        url,
        "--tenant",
        "acme",
        "--api-key-file",
        &auditor,
        "--disclose",
        "all",
        "-o",
        &folder,
    ])?;
    told.lines().for_each(|line| say(&format!("   {line}")));
    say(&dim(&format!("   $ countersign verify --key {key} --evidence {folder}")));
    let told = ours(&["verify", "--key", &key, "--evidence", &folder])?;
    told.lines().for_each(|line| say(&format!("   {line}")));
    say(&good(&format!(
        "\nOpen {folder}/report.html in a browser: it is the first thing an auditor reads."
    )));
    Ok(())
}
