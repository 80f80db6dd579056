//! The compression of a body: none or gzip.

use super::too_big;
use crate::problem::{Code, Problem};
use axum::http::{HeaderMap, header};
use flate2::bufread::GzDecoder;
use std::io::Read as _;

/// Most members of a gzip body. Each costs time, even if it is empty.
const GZIP_MEMBERS_MAX: usize = 64;

/// Compression of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// None.
    None,
    /// Gzip, in one member or several.
    Gzip,
}

impl Coding {
    /// Reads the `Content-Encoding`: all of its fields are one list, case does not matter, and `identity` and empty
    /// elements have no effect (RFC 9110 §8.4, §5.6.1).
    pub fn read(headers: &HeaderMap) -> Result<Self, Problem> {
        let mut coding = Self::None;
        for value in headers.get_all(header::CONTENT_ENCODING) {
            for name in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
                if name.is_empty() || is("identity") {
                    continue;
                }
                if coding != Self::None || !is("gzip") && !is("x-gzip") {
                    let detail = "Content-Encoding: gzip, once, or none.";
                    let problem = Problem::new(Code::UnsupportedMediaType, detail);
                    return Err(problem.with_accept_encoding());
                }
                coding = Self::Gzip;
            }
        }
        Ok(coding)
    }
}

/// Decompresses the members of a gzip file, one after the other, to at most `max` bytes.
pub fn inflate(mut rest: &[u8], max: usize) -> Result<Vec<u8>, Problem> {
    let wrong = |detail: &str| Problem::new(Code::BodySyntax, detail);
    let mut plain = Vec::new();
    for _ in 0..GZIP_MEMBERS_MAX {
        let mut member = GzDecoder::new(rest);
        let read = (&mut member).take((max + 1 - plain.len()) as u64).read_to_end(&mut plain);
        read.map_err(|_| wrong("The body is not gzip, as it says."))?;
        if plain.len() > max {
            return Err(too_big(max));
        }
        rest = member.into_inner();
        if rest.is_empty() {
            return Ok(plain);
        }
    }
    Err(wrong("The gzip body has more than 64 members: compress it in one piece."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p13_gzip_members_are_bounded() {
        use std::io::Write as _;
        let gzip = |text: &[u8]| {
            let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            packer.write_all(text).unwrap();
            packer.finish().unwrap()
        };
        let code = |bytes: &[u8], max| inflate(bytes, max).map_err(|p| p.status().as_u16());
        assert_eq!(
            code(&[gzip(b"one "), gzip(b""), gzip(b"two")].concat(), 7),
            Ok(b"one two".to_vec())
        );
        assert_eq!(code(&[gzip(b"one "), gzip(b"two")].concat(), 6), Err(413));
        assert_eq!(code(&gzip(b"").repeat(GZIP_MEMBERS_MAX), 1), Ok(Vec::new()));
        assert_eq!(code(&gzip(b"").repeat(GZIP_MEMBERS_MAX + 1), 1), Err(400));
        assert_eq!(code(b"", 1), Err(400));
        let whole = gzip(b"text");
        assert_eq!(code(&whole[..whole.len() - 1], 100), Err(400), "cut off");
        assert_eq!(code(&[&whole[..], b"x"].concat(), 100), Err(400), "something behind it");
    }

    #[test]
    fn codings() {
        let check = |values: &[&'static str], expected: Option<Coding>| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::CONTENT_ENCODING, value.parse().unwrap());
            }
            assert_eq!(Coding::read(&headers).ok(), expected, "{values:?}");
        };
        check(&[], Some(Coding::None));
        check(&[""], Some(Coding::None));
        check(&["identity"], Some(Coding::None));
        check(&["Identity, ,identity"], Some(Coding::None));
        check(&["GZip"], Some(Coding::Gzip));
        check(&["x-gzip"], Some(Coding::Gzip));
        check(&["gzip,identity"], Some(Coding::Gzip));
        check(&["identity\t,\tgzip ,"], Some(Coding::Gzip));
        check(&["identity", "gzip"], Some(Coding::Gzip));
        check(&["gzip, gzip"], None);
        check(&["gzip", "gzip"], None);
        check(&["br"], None);
        check(&["gzip, br"], None);
        check(&["*"], None);
        check(&["gzip;q=1"], None);
    }
}
