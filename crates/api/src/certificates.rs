//! Certificates in PEM files, and when they end, read from their bytes. TLS itself says that only when it is too late.

use std::{fs::File, io::Read as _, path::Path};
use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject as _};

/// Largest file of certificates, in bytes.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// The content of a file of certificates. It may be a link: whoever renews certificates often puts one there.
pub fn content(path: &Path) -> Result<Vec<u8>, String> {
    let mut content = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut content))
        .map_err(|error| error.to_string())?;
    if content.len() as u64 > FILE_BYTES_MAX {
        return Err("larger than a file of certificates can be".into());
    }
    Ok(content)
}

/// Every certificate of a PEM file; at least one. Errors do not name the file.
pub fn of(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&content(path)?).collect();
    let found = found.map_err(|error| format!("not PEM throughout: {error}"))?;
    if found.is_empty() {
        return Err("no certificate is in it; it should hold `-----BEGIN CERTIFICATE-----`".into());
    }
    Ok(found)
}

/// When each certificate of a PEM file ends, in seconds since 1970. What can't be read is left out: TLS refuses it.
pub fn ends(pem: &[u8]) -> Vec<u64> {
    let found = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok);
    found.filter_map(|certificate| not_after(&certificate)).collect()
}

// Types of DER.
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// `notAfter` of a certificate (RFC 5280): the second time of its fourth or fifth member.
pub fn not_after(der: &[u8]) -> Option<u64> {
    let (_, certificate, _) = element(der)?;
    let (_, mut rest, _) = element(certificate)?;
    if rest.first() == Some(&VERSION) {
        rest = element(rest)?.2;
    }
    // Serial number, algorithm, issuer.
    for _ in 0..3 {
        rest = element(rest)?.2;
    }
    let (SEQUENCE, validity, _) = element(rest)? else { return None };
    let (sort, text, _) = element(element(validity)?.2)?;
    let text = std::str::from_utf8(text).ok().filter(|text| text.is_ascii())?;
    let (year, rest) = match sort {
        // RFC 5280: from 50 on it is the last century.
        UTC_TIME => (if text.get(..2)? < "50" { "20" } else { "19" }, text),
        GENERALIZED_TIME => (text.get(..2)?, text.get(2..)?),
        _ => return None,
    };
    let part = |at: usize| rest.get(at..at + 2);
    let date = format!("{year}{}-{}-{}", part(0)?, part(2)?, part(4)?);
    let time = format!("{date}T{}:{}:{}Z", part(6)?, part(8)?, part(10)?);
    let time = ledger::time::rfc3339(&time)?;
    u64::try_from(time.timestamp()).ok()
}

/// Type and content of the first element, and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (sort, rest) = der.split_first()?;
    let (length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        ..=0x7f => (usize::from(*length), rest),
        0x81..=0x83 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            (bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*sort, content, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(sort: u8, time: &str) -> Vec<u8> {
        let made = |sort: u8, content: &[u8]| [&[sort, content.len() as u8], content].concat();
        let validity = [made(UTC_TIME, b"250101000000Z"), made(sort, time.as_bytes())].concat();
        let members = [
            made(VERSION, &[2, 1, 2]),
            made(2, &[7]),
            made(SEQUENCE, &[]),
            made(SEQUENCE, &[]),
            made(SEQUENCE, &validity),
        ];
        made(SEQUENCE, &made(SEQUENCE, &members.concat()))
    }

    fn check(sort: u8, time: &str, ends: Option<u64>) {
        assert_eq!(not_after(&certificate(sort, time)), ends, "{time}");
    }

    #[test]
    fn when_a_certificate_ends() {
        check(UTC_TIME, "270101000000Z", Some(1_798_761_600));
        check(UTC_TIME, "991231235959Z", Some(946_684_799));
        check(GENERALIZED_TIME, "20500101000000Z", Some(2_524_608_000));
        check(GENERALIZED_TIME, "99991231235959Z", Some(253_402_300_799));
        check(UTC_TIME, "2701", None);
        check(4, "270101000000Z", None);
        let whole = certificate(UTC_TIME, "270101000000Z");
        for end in 0..whole.len() {
            assert_eq!(not_after(&whole[..end]), None, "cut at {end}");
        }
    }
}
