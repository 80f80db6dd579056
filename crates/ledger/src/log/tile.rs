//! C2SP tlog-tiles: paths of tiles and entry bundles, and the bytes of a bundle.

/// Largest entry, in bytes: a bundle writes its length in 16 bits.
pub const ENTRY_BYTES_MAX: usize = 65_535;
/// Highest tile level: 256^8 leaves are more than a u64 counts.
pub const LEVEL_MAX: u8 = 7;

/// One tile: of hashes at a level, or of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tile {
    /// `None` for an entry bundle.
    pub level: Option<u8>,
    /// 0-based place in its level.
    pub number: u64,
    /// 1..=256; 256 is the full tile, less is a partial (`.p/<width>`).
    pub width: usize,
}

impl Tile {
    /// Reads what follows `tile/` in a path, for example `0/x001/234.p/5` or `entries/000`. Only the canonical
    /// spelling is accepted.
    pub fn parse(path: &str) -> Option<Self> {
        let (level, rest) = path.split_once('/')?;
        let level = if level == "entries" { None } else { Some(parse_decimal(level, 63)? as u8) };
        let (number, width) = match rest.split_once(".p/") {
            None => (rest, 256),
            Some((number, width)) => (number, parse_decimal(width, 255)? as usize),
        };
        let tile = Self { level, number: parse_number(number)?, width };
        (tile.width > 0 && level.is_none_or(|level| level <= LEVEL_MAX)).then_some(tile)
    }

    /// Number of hashes (or entries) of this tile in a tree of `size` leaves, 0..=256.
    pub fn width_at(level: Option<u8>, number: u64, size: u64) -> usize {
        let count = size >> (8 * u32::from(level.unwrap_or(0)));
        let within = count.saturating_sub(number.saturating_mul(256));
        usize::try_from(within.min(256)).unwrap_or(256)
    }
}

impl std::fmt::Display for Tile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.level {
            None => f.write_str("entries/")?,
            Some(level) => write!(f, "{level}/")?,
        }
        let mut groups = vec![format!("{:03}", self.number % 1000)];
        let mut rest = self.number / 1000;
        while rest > 0 {
            groups.push(format!("x{:03}", rest % 1000));
            rest /= 1000;
        }
        groups.reverse();
        f.write_str(&groups.join("/"))?;
        if self.width < 256 { write!(f, ".p/{}", self.width) } else { Ok(()) }
    }
}

/// A decimal number without leading zeros, at most `max`.
fn parse_decimal(text: &str, max: u64) -> Option<u64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|n| plain && *n <= max)
}

/// `x001/x234/067` is 1234067.
fn parse_number(text: &str) -> Option<u64> {
    let groups: Vec<&str> = text.split('/').collect();
    let (last, firsts) = groups.split_last()?;
    let mut number: u64 = 0;
    for group in firsts.iter().map(|group| group.strip_prefix('x')).chain([Some(*last)]) {
        let group = group.filter(|g| g.len() == 3 && g.bytes().all(|b| b.is_ascii_digit()))?;
        number = number.checked_mul(1000)?.checked_add(group.parse().ok()?)?;
    }
    // No group of leading zeros, so that each tile has one spelling.
    (firsts.is_empty() || !text.starts_with("x000")).then_some(number)
}

/// Appends one entry to a bundle: its length as u16 big-endian, then its bytes.
pub fn push_entry(bundle: &mut Vec<u8>, entry: &[u8]) {
    let length = u16::try_from(entry.len()).expect("an entry has at most 65535 bytes");
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(entry);
}

/// The entries of a bundle. `None` if bytes are missing or left over.
pub fn read_bundle(mut bundle: &[u8]) -> Option<Vec<&[u8]>> {
    let mut entries = Vec::new();
    while !bundle.is_empty() {
        let (length, rest) = bundle.split_first_chunk::<2>()?;
        let (entry, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        entries.push(entry);
        bundle = rest;
    }
    Some(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, tile: Option<(Option<u8>, u64, usize)>) {
        let tile = tile.map(|(level, number, width)| Tile { level, number, width });
        assert_eq!(Tile::parse(path), tile, "{path}");
        if let Some(tile) = tile {
            assert_eq!(tile.to_string(), path);
        }
    }

    #[test]
    fn paths() {
        check("0/000", Some((Some(0), 0, 256)));
        check("1/x001/x234/067", Some((Some(1), 1_234_067, 256)));
        check("entries/x123/456.p/7", Some((None, 123_456, 7)));
        for wrong in [
            "",
            "0",
            "0/",
            "0/0",
            "0/00",
            "0/0000",
            "0/1000",
            "00/000",
            "8/000",
            "64/000",
            "200/000",
            "-1/000",
            "0/000.p/0",
            "0/000.p/00",
            "0/000.p/256",
            "0/000.p/01",
            "0/000.p/",
            "0/x000/001",
            "0/x001",
            "0/001/002",
            "0/../000",
            "0/%2e",
            "entries/000.p/-1",
            "data/000",
            "0/000/",
            "0/x999/x999/x999/x999/x999/x999/x999/999",
            "0/x001/x234/067.p/1.p/1",
            "0/٠٠٠",
        ] {
            check(wrong, None);
        }
    }

    #[test]
    fn bundles() {
        let mut bundle = Vec::new();
        push_entry(&mut bundle, b"one");
        push_entry(&mut bundle, b"");
        assert_eq!(bundle, b"\0\x03one\0\0");
        assert_eq!(read_bundle(&bundle), Some(vec![b"one".as_slice(), b""]));
        assert_eq!(read_bundle(&bundle[..4]), None);
        assert_eq!(read_bundle(&[0]), None);
    }
}
