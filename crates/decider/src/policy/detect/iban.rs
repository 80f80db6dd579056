//! International bank account numbers: country, length and check digits (ISO 13616).

use super::scan::{Take, Text};

/// Countries with the length of their numbers, in order.
pub(in crate::policy) const LENGTHS: &[(&[u8; 2], usize)] = &[
    (b"AD", 24),
    (b"AE", 23),
    (b"AL", 28),
    (b"AT", 20),
    (b"AZ", 28),
    (b"BA", 20),
    (b"BE", 16),
    (b"BG", 22),
    (b"BH", 22),
    (b"BI", 27),
    (b"BR", 29),
    (b"BY", 28),
    (b"CH", 21),
    (b"CR", 22),
    (b"CY", 28),
    (b"CZ", 24),
    (b"DE", 22),
    (b"DJ", 27),
    (b"DK", 18),
    (b"DO", 28),
    (b"EE", 20),
    (b"EG", 29),
    (b"ES", 24),
    (b"FI", 18),
    (b"FK", 18),
    (b"FO", 18),
    (b"FR", 27),
    (b"GB", 22),
    (b"GE", 22),
    (b"GI", 23),
    (b"GL", 18),
    (b"GR", 27),
    (b"GT", 28),
    (b"HN", 28),
    (b"HR", 21),
    (b"HU", 28),
    (b"IE", 22),
    (b"IL", 23),
    (b"IQ", 23),
    (b"IS", 26),
    (b"IT", 27),
    (b"JO", 30),
    (b"KW", 30),
    (b"KZ", 20),
    (b"LB", 28),
    (b"LC", 32),
    (b"LI", 21),
    (b"LT", 20),
    (b"LU", 20),
    (b"LV", 21),
    (b"LY", 25),
    (b"MC", 27),
    (b"MD", 24),
    (b"ME", 22),
    (b"MK", 19),
    (b"MN", 20),
    (b"MR", 27),
    (b"MT", 31),
    (b"MU", 30),
    (b"NI", 28),
    (b"NL", 18),
    (b"NO", 15),
    (b"OM", 23),
    (b"PK", 24),
    (b"PL", 28),
    (b"PS", 29),
    (b"PT", 25),
    (b"QA", 29),
    (b"RO", 24),
    (b"RS", 22),
    (b"RU", 33),
    (b"SA", 24),
    (b"SC", 31),
    (b"SD", 18),
    (b"SE", 24),
    (b"SI", 19),
    (b"SK", 24),
    (b"SM", 27),
    (b"SO", 23),
    (b"ST", 25),
    (b"SV", 28),
    (b"TL", 23),
    (b"TN", 24),
    (b"TR", 26),
    (b"UA", 29),
    (b"VA", 22),
    (b"VG", 24),
    (b"XK", 20),
    (b"YE", 30),
];

/// Account numbers, in capitals or not, in one piece or with single spaces or hyphens.
pub(super) fn find(text: Text<'_>, take: &mut Take<'_>) {
    let mut free = 0;
    for (digit, _) in text.digits() {
        // Two letters, then check digits, of which a separator may stand before the first.
        for at in [3, 2].into_iter().filter_map(|back| digit.checked_sub(back)) {
            let is_head = text.bytes[at..at + 2].iter().all(u8::is_ascii_alphabetic);
            if at < free || !is_head || !text.begins(at) {
                continue;
            }
            if let Some(end) = number_at(text, at) {
                take(at, end);
                free = end;
                break;
            }
        }
    }
}

fn number_at(text: Text<'_>, at: usize) -> Option<usize> {
    let country = [text.bytes[at].to_ascii_uppercase(), text.bytes[at + 1].to_ascii_uppercase()];
    let (_, length) = LENGTHS[LENGTHS.binary_search_by_key(&&country, |(code, _)| code).ok()?];
    let (mut end, mut count, mut value) = (at, 0, Remainder::default());
    while count < length {
        match text.at(end)? {
            byte if byte.is_ascii_alphanumeric() => {
                if matches!(count, 2 | 3) && !byte.is_ascii_digit() {
                    return None;
                }
                value.take(count, byte.to_ascii_uppercase());
                count += 1;
                end += 1;
            }
            // One separator between two groups.
            b' ' | b'-' | b'.' if count > 0 => end += 1,
            0xc2 if text.at(end + 1) == Some(0xa0) => end += 2,
            _ => return None,
        }
        let separated = |at: usize| matches!(text.at(at), Some(b' ' | b'-' | b'.'));
        if separated(end) && separated(end - 1) {
            return None;
        }
    }
    (text.ends(end) && value.is_sound()).then_some(end)
}

/// The number modulo 97, with its first four characters moved to the end.
#[derive(Default)]
struct Remainder {
    head: [u8; 4],
    rest: u32,
}

impl Remainder {
    fn take(&mut self, count: usize, byte: u8) {
        match self.head.get_mut(count) {
            Some(place) => *place = byte,
            None => self.rest = moved(self.rest, byte),
        }
    }

    fn is_sound(&self) -> bool {
        self.head.iter().fold(self.rest, |rest, byte| moved(rest, *byte)) == 1
    }
}

fn moved(rest: u32, byte: u8) -> u32 {
    if byte.is_ascii_digit() {
        (rest * 10 + u32::from(byte - b'0')) % 97
    } else {
        (rest * 100 + u32::from(byte - b'A') + 10) % 97
    }
}
