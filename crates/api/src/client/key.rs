//! Reads the file that holds an API key.

use super::Error;
use std::{fmt, fs::File, io::Read as _, path::Path, path::PathBuf};
use zeroize::Zeroizing;

/// Largest key file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 4096;
const BEGIN: &str = "cs_";
const ID_CHARS: usize = 16;

/// An API key, with the file it came from.
pub struct ApiKey {
    text: Zeroizing<String>,
    file: PathBuf,
}

impl ApiKey {
    /// Reads the one line of a key file. A byte order mark and white space around the key do not matter.
    pub fn read(file: Option<&Path>) -> Result<Self, Error> {
        let Some(file) = file else {
            return Err(Error::Usage("say which API key: --api-key-file FILE".into()));
        };
        let wrong = |why: String| Error::File { path: file.to_owned(), why };
        let mut bytes = Zeroizing::new(Vec::new());
        File::open(file)
            .and_then(|open| open.take(FILE_BYTES_MAX).read_to_end(&mut bytes))
            .map_err(|e| wrong(e.to_string()))?;
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_start_matches('\u{feff}').trim();
        match why_not_a_key(text) {
            None => Ok(Self { text: Zeroizing::new(text.to_owned()), file: file.to_owned() }),
            Some(why) => Err(wrong(why.into())),
        }
    }

    /// Value of the `Authorization` header.
    pub fn bearer(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("Bearer {}", self.text.as_str()))
    }

    /// What a server stores of it.
    pub fn stored_form(&self) -> String {
        crate::auth::stored_form(&self.text)
    }

    #[cfg(test)]
    pub fn for_test() -> Self {
        let text = Zeroizing::new(format!("cs_0123456789abcdef_{}", "A".repeat(43)));
        Self { text, file: "k".into() }
    }
}

/// The parts that may be shown: key id and file.
impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.text.get(..BEGIN.len() + ID_CHARS).unwrap_or(BEGIN);
        write!(f, "the key {id}… in {}", self.file.display())
    }
}

fn why_not_a_key(text: &str) -> Option<&'static str> {
    const SHOULD: &str = "it should hold one API key, which begins with cs_";
    if text.is_empty() {
        return Some("the file is empty; it should hold one API key, which begins with cs_");
    }
    if text.starts_with(BEGIN) {
        let is_word = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        return match text.split_whitespace().count() {
            1 if is_word => None,
            1 => Some("the key in it holds characters that no API key has"),
            _ => Some("more than one word is in it; it should hold one API key and nothing else"),
        };
    }
    Some(match text {
        _ if text.contains("PRIVATE KEY-----") => {
            "this is a private key in PEM; it should hold one API key, which begins with cs_"
        }
        _ if text.contains("+A") && text.contains("/logs/") => {
            "this is a log's key; it should hold one API key, which begins with cs_"
        }
        _ if text.contains(BEGIN) => {
            "an API key stands in it beside other text; it should hold the key and nothing else"
        }
        _ => SHOULD,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(content: &[u8], why: Option<&str>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("k");
        std::fs::write(&path, content).unwrap();
        match (ApiKey::read(Some(&path)), why) {
            (Ok(key), None) => assert!(key.bearer().starts_with("Bearer cs_")),
            (Err(error), Some(why)) => {
                let text = error.to_string();
                assert!(text.contains(why) && text.contains("/k: "), "{text}");
                assert!(!text.contains("SECRET"), "{text}");
            }
            (read, _) => panic!("{why:?}: {}", read.is_ok()),
        }
    }

    #[test]
    fn what_is_wrong_with_a_key_file_is_said() {
        let key = "cs_0123456789abcdef_SECRET-part_x";
        check(key.as_bytes(), None);
        check(format!("\u{feff}{key}\r\n").as_bytes(), None);
        check(b"", Some("empty"));
        check(b" \n", Some("empty"));
        check(format!("{key}\n{key}\n").as_bytes(), Some("more than one word"));
        check(format!("admin key {key}\n").as_bytes(), Some("beside other text"));
        check(b"h/v1/tenants/acme/logs/1+01234567+AYqISECRET", Some("a log's key"));
        check(b"-----BEGIN PRIVATE KEY-----\nSECRET", Some("PEM"));
        check(b"\xff\xfe\x00SECRET", Some("begins with cs_"));
        check("cs_0123456789abcdef_SECRÉT".as_bytes(), Some("no API key has"));
    }
}
