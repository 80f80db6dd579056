//! Reads secrets of chats: one line in a small file.

use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Largest file with a token, secret or URL, in bytes.
const SECRET_BYTES_MAX: u64 = 4096;

/// The file is missing, empty or too big. The text says what to do.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}", path.display())]
pub struct Unreadable {
    path: PathBuf,
    why: String,
}

/// The content of a secret's file, without the line break at its end.
pub fn read(path: &Path) -> Result<Zeroizing<String>, Unreadable> {
    let wrong = |why: String| Unreadable { path: path.to_owned(), why };
    let size = std::fs::metadata(path).map_err(|e| wrong(e.to_string()))?.len();
    if size > SECRET_BYTES_MAX {
        return Err(wrong(format!(
            "at most {SECRET_BYTES_MAX} bytes; put the secret alone into it"
        )));
    }
    let text = Zeroizing::new(std::fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?);
    let line = text.trim();
    // Secrets go into headers, keys and addresses. A second line or a blank can only be a copying mistake.
    if line.is_empty() || !line.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(wrong("put the token or secret alone into it, on one line".into()));
    }
    Ok(Zeroizing::new(line.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(content: &str, expected: Option<&str>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        std::fs::write(&path, content).unwrap();
        assert_eq!(read(&path).ok().as_ref().map(|s| s.as_str()), expected, "{content:?}");
    }

    #[test]
    fn secrets_are_one_line() {
        check("xoxb-1-a\n", Some("xoxb-1-a"));
        check(" \n", None);
        check("one\ntwo\n", None);
        check(&"x".repeat(5000), None);
    }
}
