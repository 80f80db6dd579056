//! Numbers of people: social security, cards, telephones, medical records.

use super::scan::{Take, Text, Words, luhn};

/// Words that make nine digits a social security number.
static SSN_WORDS: Words = Words::new(&[
    "ssn",
    "ssns",
    "ss#",
    "ssn#",
    "social security",
    "soc sec",
    "social",
    "socialsecurity",
    "social sec",
]);
/// Numbers that were printed on forms and in advertisements, and were never anybody's.
const SSN_NEVER: [&[u8]; 2] = [b"078051120", b"219099999"];

/// `536-90-4399`; with other separators, or without any, beside a word.
pub(super) fn us_ssn(text: Text<'_>, take: &mut Take<'_>) {
    numbers(text, ssn_at, take);
}

/// What `find` finds where digits begin, not within what it found before.
fn numbers(text: Text<'_>, find: fn(Text<'_>, usize, usize) -> Option<usize>, take: &mut Take<'_>) {
    let mut free = 0;
    for (at, end) in text.digits() {
        if *at >= free
            && let Some(end) = find(text, *at, end - at)
        {
            take(*at, end);
            free = end;
        }
    }
}

fn ssn_at(text: Text<'_>, at: usize, run: usize) -> Option<usize> {
    text.begins(at).then_some(())?;
    let before = text.before(at);
    // A further group of digits belongs to another number.
    let joined = |byte: Option<u8>| matches!(byte, Some(b'-' | b'.' | b'/' | b'+'));
    let digit = |at: usize| text.at(at).is_some_and(|byte| byte.is_ascii_digit());
    if joined(before) && at >= 2 && digit(at - 2) {
        return None;
    }
    let (digits, end, dashed) = if run == 9 {
        (text.bytes[at..at + 9].to_vec(), at + 9, false)
    } else {
        (run == 3).then_some(())?;
        let separator = text.at(at + 3).filter(|byte| matches!(byte, b'-' | b' ' | b'.'))?;
        let (second, third) = (at + 4, at + 7);
        let is_run = |from, length| text.run(from, 5, |b| b.is_ascii_digit()) == length;
        (is_run(second, 2) && text.at(at + 6) == Some(separator) && is_run(third, 4))
            .then_some(())?;
        let bytes = text.bytes;
        (
            [&bytes[at..at + 3], &bytes[second..second + 2], &bytes[third..third + 4]].concat(),
            at + 11,
            separator == b'-',
        )
    };
    if !text.ends(end) || joined(text.at(end)) && digit(end + 1) {
        return None;
    }
    let area: &[u8] = &digits[..3];
    let sound = area != b"000"
        && area != b"666"
        && area[0] != b'9'
        && &digits[3..5] != b"00"
        && &digits[5..] != b"0000"
        && !SSN_NEVER.contains(&&*digits);
    (sound && (dashed || text.is_near((at, end), &SSN_WORDS))).then_some(end)
}

/// Groups of a card number that is written with separators.
const CARD_GROUPS: [&[usize]; 7] = [
    &[4, 4, 4, 4, 3],
    &[4, 4, 4, 4, 2],
    &[4, 4, 4, 4, 1],
    &[4, 4, 4, 4],
    &[4, 6, 5],
    &[4, 6, 4],
    &[4, 4, 4, 3],
];

/// A card number: the lengths of its issuer, and Luhn.
pub(super) fn card(text: Text<'_>, take: &mut Take<'_>) {
    numbers(text, card_at, take);
}

fn card_at(text: Text<'_>, at: usize, run: usize) -> Option<usize> {
    text.begins(at).then_some(())?;
    let fraction = text.before(at) == Some(b'.') && at >= 2 && text.bytes[at - 2].is_ascii_digit();
    if run >= 13 {
        let end = at + run;
        let digits: Vec<u8> = text.bytes[at..end].iter().map(|byte| byte - b'0').collect();
        return (!fraction && text.ends(end) && is_card(&digits)).then_some(end);
    }
    if run != 4 {
        return None;
    }
    let groups = groups(text, at);
    CARD_GROUPS.iter().find_map(|lengths| {
        let found = groups.get(..lengths.len())?;
        found.iter().map(|(start, end)| end - start).eq(lengths.iter().copied()).then_some(())?;
        let end = found.last()?.1;
        let bytes = found.iter().flat_map(|(start, end)| &text.bytes[*start..*end]);
        let digits: Vec<u8> = bytes.map(|byte| byte - b'0').collect();
        (text.ends(end) && is_card(&digits)).then_some(end)
    })
}

/// Groups of digits from here on, with one and the same separator between them: start and end of each, at most 5.
fn groups(text: Text<'_>, at: usize) -> Vec<(usize, usize)> {
    const SEPARATORS: [&str; 4] = ["-", " ", ".", "\u{a0}"];
    let separator_at =
        |at: usize| SEPARATORS.into_iter().find(|s| text.bytes[at..].starts_with(s.as_bytes()));
    let digits = |at: usize| at + text.run(at, 7, |byte| byte.is_ascii_digit());
    let mut groups = vec![(at, digits(at))];
    let separator = separator_at(groups[0].1);
    while let Some(found) = separator_at(groups[groups.len() - 1].1).filter(|_| groups.len() < 5) {
        let start = groups[groups.len() - 1].1 + found.len();
        let end = digits(start);
        if Some(found) != separator || start == end {
            break;
        }
        groups.push((start, end));
    }
    groups
}

/// True if an issuer gives out numbers of this beginning and length, and the check digit is right.
fn is_card(digits: &[u8]) -> bool {
    let head = |count: usize| digits[..count].iter().fold(0_u32, |all, d| all * 10 + u32::from(*d));
    let length = digits.len();
    if !(13..=19).contains(&length) {
        return false;
    }
    let fits = match (head(1), head(2), head(3), head(4)) {
        (4, ..) => matches!(length, 13 | 16 | 19),
        (_, 51..=55, ..) | (.., 2221..=2720) => length == 16,
        (_, 34 | 37, ..) => length == 15,
        (.., 6011 | 3528..=3589 | 2200..=2204) | (_, _, 644..=649, _) | (_, 62 | 65, ..) => {
            (16..=19).contains(&length)
        }
        (_, 36 | 38 | 39, ..) | (_, _, 300..=305, _) => (14..=19).contains(&length),
        (.., 5018 | 5020 | 5038 | 5893 | 6304 | 6759 | 6761..=6763) => true,
        _ => false,
    };
    let same = digits.iter().all(|digit| *digit == digits[0]);
    fits && !same && luhn(digits) && !(length == 13 && is_ean(digits))
}

/// The check digit of an article number (EAN-13), which may begin as an old Visa number does.
fn is_ean(digits: &[u8]) -> bool {
    let weighted =
        digits.iter().enumerate().map(|(at, d)| u32::from(*d) * if at % 2 == 0 { 1 } else { 3 });
    weighted.sum::<u32>().is_multiple_of(10)
}

/// Country codes of one, two and three digits (ITU-T E.164).
const CODES_TWO: &[u8] = &[
    20, 27, 30, 31, 32, 33, 34, 36, 39, 40, 41, 43, 44, 45, 46, 47, 48, 49, 51, 52, 53, 54, 55, 56,
    57, 58, 60, 61, 62, 63, 64, 65, 66, 81, 82, 84, 86, 90, 91, 92, 93, 94, 95, 98,
];
const CODES_THREE: &[u16] = &[
    211, 212, 213, 216, 218, 220, 221, 222, 223, 224, 225, 226, 227, 228, 229, 230, 231, 232, 233,
    234, 235, 236, 237, 238, 239, 240, 241, 242, 243, 244, 245, 246, 247, 248, 249, 250, 251, 252,
    253, 254, 255, 256, 257, 258, 260, 261, 262, 263, 264, 265, 266, 267, 268, 269, 290, 291, 297,
    298, 299, 350, 351, 352, 353, 354, 355, 356, 357, 358, 359, 370, 371, 372, 373, 374, 375, 376,
    377, 378, 379, 380, 381, 382, 383, 385, 386, 387, 389, 420, 421, 423, 500, 501, 502, 503, 504,
    505, 506, 507, 508, 509, 590, 591, 592, 593, 594, 595, 596, 597, 598, 599, 670, 672, 673, 674,
    675, 676, 677, 678, 679, 680, 681, 682, 683, 685, 686, 687, 688, 689, 690, 691, 692, 800, 808,
    850, 852, 853, 855, 856, 870, 878, 880, 881, 882, 883, 886, 888, 960, 961, 962, 963, 964, 965,
    966, 967, 968, 970, 971, 972, 973, 974, 975, 976, 977, 979, 992, 993, 994, 995, 996, 998,
];
/// Most digits of a number, and the fewest that a number with its country has.
const PHONE_DIGITS: std::ops::RangeInclusive<usize> = 8..=15;

/// `+49 30 901820`: a plus, a country code, and at most 15 digits.
pub(super) fn phone(text: Text<'_>, take: &mut Take<'_>) {
    let mut from = 0;
    while let Some(found) = text.whole[from..].find('+') {
        let at = from + found;
        match phone_at(text, at) {
            Some(end) => {
                take(at, end);
                from = end;
            }
            None => from = at + 1,
        }
    }
}

fn phone_at(text: Text<'_>, plus: usize) -> Option<usize> {
    if !text.begins(plus) || text.before(plus) == Some(b'+') {
        return None;
    }
    let mut at = plus + 1;
    if text.at(at) == Some(b' ') {
        return None;
    }
    // Digits with the place after each; groups, by how many digits they have.
    let (mut digits, mut ends): (Vec<u8>, Vec<usize>) = (Vec::new(), Vec::new());
    let (mut dots, mut groups) = (0, 1);
    loop {
        match text.at(at) {
            Some(byte) if byte.is_ascii_digit() => {
                digits.push(byte - b'0');
                at += 1;
                ends.push(at);
            }
            Some(byte @ (b' ' | b'-' | b'.' | b'(' | b')' | b'/')) => {
                dots += usize::from(byte == b'.');
                let skip = separators(text, at);
                if skip == 0 {
                    break;
                }
                groups += 1;
                at += skip;
            }
            Some(0xc2) if text.at(at + 1) == Some(0xa0) => {
                groups += 1;
                at += 2;
            }
            _ => break,
        }
        if digits.len() > *PHONE_DIGITS.end() {
            return None;
        }
    }
    let end = *ends.last()?;
    let is_fraction = dots == 1 && groups == 2;
    let fits = PHONE_DIGITS.contains(&digits.len()) && text.ends(end) && !is_fraction;
    (fits && has_country(&digits)).then_some(end)
}

/// Length of what separates two groups of digits here: at most three of `( ) - . /` and spaces. 0 if no digit follows.
fn separators(text: Text<'_>, at: usize) -> usize {
    let run = text.run(at, 4, |byte| matches!(byte, b' ' | b'-' | b'.' | b'(' | b')' | b'/'));
    let followed = text.at(at + run).is_some_and(|byte| byte.is_ascii_digit());
    if run <= 3 && followed { run } else { 0 }
}

fn has_country(digits: &[u8]) -> bool {
    let head = |count: usize| digits[..count].iter().fold(0_u16, |all, d| all * 10 + u16::from(*d));
    match digits[0] {
        // North America: area and exchange begin with 2 to 9.
        1 => digits.len() == 11 && digits[1] >= 2 && digits[4] >= 2,
        7 => digits.len() == 11,
        _ => {
            u8::try_from(head(2)).is_ok_and(|two| CODES_TWO.contains(&two))
                || CODES_THREE.binary_search(&head(3)).is_ok()
        }
    }
}

/// Words after which a number of a patient's record follows. Without a first letter beyond ASCII.
pub(super) static MRN_WORDS: Words = Words::new(&[
    "mrn",
    "medical record",
    "medical rec",
    "medrec",
    "med rec",
    "med. rec. no",
    "med. rec",
    "patient record number",
    "hospital number",
    "chart number",
    "chart no",
    "patient number",
    "patient id",
    "medical number",
    "health record number",
    "medicalrecordnumber",
    "patientenaktennummer",
    "krankenaktennummer",
    "patientennummer",
    "fallnummer",
    "\u{75c5}\u{5386}\u{53f7}",
    "\u{75c5}\u{6b77}\u{865f}",
    "\u{8a3a}\u{7642}\u{9332}\u{756a}\u{53f7}",
    "\u{30ab}\u{30eb}\u{30c6}\u{756a}\u{53f7}",
    "\u{60a3}\u{8005}\u{756a}\u{53f7}",
    "\u{43e}\u{43c}\u{435}\u{440} \u{43c}\u{435}\u{434}\u{438}\u{446}\u{438}\u{43d}\u{441}\u{43a}\u{43e}\u{439} \u{43a}\u{430}\u{440}\u{442}\u{44b}",
    "\u{43c}\u{435}\u{434}\u{43a}\u{430}\u{440}\u{442}\u{430}",
    "numer dokumentacji medycznej",
    "dokumentacji medycznej",
    "dossier m\u{e9}dical",
    "dossier medical",
    "cartella clinica",
    "prontu\u{e1}rio",
    "prontuario",
    "historia cl\u{ed}nica",
    "historia clinica",
    "medisch dossiernummer",
    "dossiernummer",
    "pati\u{eb}ntnummer",
]);
/// Words after which it is another number.
static MRN_OTHER: Words = Words::new(&[
    "customs", "radio", "order", "invoice", "ticket", "phone", "tel", "fax", "room", "lot",
    "batch", "movement", "zip", "amount", "case", "dns", "world",
]);
/// Characters of a record number.
const MRN_CHARS: std::ops::RangeInclusive<usize> = 5..=16;
/// Most words between the words for a record and its number.
const MRN_GAP_WORDS: usize = 2;

/// A number of 5 to 16 letters, digits and hyphens, of which at least 4 are digits, beside words for a medical record;
/// or `MRN` and a number in one word.
pub(super) fn medical_record(text: Text<'_>, take: &mut Take<'_>) {
    if !text.mentions(&MRN_WORDS) {
        return;
    }
    let (mut at, mut last, mut taken) = (0, 0, None);
    while at < text.bytes.len() {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        let run = text.run(at, usize::MAX, is_part);
        if run == 0 {
            at += 1;
            continue;
        }
        let start = text.after_escape(at);
        if start > at {
            at = start;
            continue;
        }
        let word = &text.bytes[at..at + run];
        let trimmed = word.iter().rev().take_while(|byte| **byte == b'-').count();
        let word = &word[..run - trimmed];
        let digits = word.iter().filter(|byte| byte.is_ascii_digit()).count();
        if digits >= 4 {
            let glued = is_glued(word);
            let sound = glued || is_number(word);
            let in_list = || taken.is_some_and(|taken| text.continues(taken, at));
            if sound
                && (glued
                    || in_list()
                    || is_said(text, (last, at))
                    || text.is_named(at, &MRN_WORDS))
            {
                take(at, at + word.len());
                taken = Some(at + word.len());
            }
            last = at + word.len();
        }
        at += run;
    }
}

/// `MRN-00483921`, `MRN00483921`
fn is_glued(word: &[u8]) -> bool {
    let (head, rest) = word.split_at(word.len().min(3));
    let rest = rest.strip_prefix(b"-").unwrap_or(rest);
    head.eq_ignore_ascii_case(b"mrn")
        && rest.first().is_some_and(u8::is_ascii_digit)
        && is_number(rest)
}

fn is_number(word: &[u8]) -> bool {
    let digits = word.iter().filter(|byte| byte.is_ascii_digit()).count();
    let letters = word.iter().filter(|byte| byte.is_ascii_alphabetic()).count();
    MRN_CHARS.contains(&word.len()) && digits >= 4 && letters <= 5 && !super::dates::is_date(word)
}

/// True if words for a medical record come shortly before, in the same sentence, with few words between.
fn is_said(text: Text<'_>, (last, at): (usize, usize)) -> bool {
    // Every number ends the search, and so does every mark in the place of one.
    let Some(between) = text.since((last, at), &MRN_WORDS, &MRN_OTHER, None) else {
        return false;
    };
    let is_markup = between.iter().any(|byte| matches!(byte, b'<' | b'=' | b'>'))
        || between.windows(8).any(|window| window == b"values (");
    let ends = [&b". "[..], b"? ", b"! "];
    // After `No.` the sentence goes on.
    let short = between.len() <= 8;
    let broken = ends.iter().any(|end| between.windows(2).any(|two| two == *end)) && !short;
    let words =
        between.split(|byte| !byte.is_ascii_alphabetic()).filter(|word| word.len() > 1).count();
    !broken && (is_markup || words <= MRN_GAP_WORDS)
}
