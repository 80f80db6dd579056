//! Secrets of set 1 that are more than a beginning and a run: keys of cloud storage, tokens with three parts, private keys,
//! passwords in URLs.

use super::{
    scan::{Take, Text, Words},
    secrets::{Class, is_placeholder},
};

/// The places at which a word of these characters begins, with the length of the word.
pub(super) fn words(
    text: Text<'_>,
    is: impl Fn(u8) -> bool + Copy,
    mut visit: impl FnMut(usize, usize),
) {
    let mut at = 0;
    while at < text.bytes.len() {
        let run = text.run(at, usize::MAX, is);
        if run > 0 {
            visit(at, run);
            // What may be an escape may be a part of the word.
            let start = text.after_escape(at);
            if (at + 1..at + run).contains(&start) {
                visit(start, at + run - start);
            }
        }
        at += run + 1;
    }
}

/// True for a text with capitals, small letters and digits.
pub(super) fn is_mixed(word: &[u8]) -> bool {
    word.iter().any(u8::is_ascii_uppercase)
        && word.iter().any(u8::is_ascii_lowercase)
        && word.iter().any(u8::is_ascii_digit)
}

/// Words for a secret of AWS.
pub(super) static AWS: Words = Words::new(&[
    "aws",
    "secret access key",
    "secretaccesskey",
    "secret key",
    "aws secret",
    "amazon",
    "secret",
]);

/// 40 characters of base64 after a word for a secret.
pub(super) fn aws_secret(text: Text<'_>, take: &mut Take<'_>) {
    let is = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    if !text.mentions(&AWS) {
        return;
    }
    words(text, is, |at, run| {
        let word = &text.bytes[at..at + run];
        let whole = run == 40 && text.at(at + run) != Some(b'=');
        if whole && is_mixed(word) && !is_placeholder(word) && text.follows(at, &AWS) {
            take(at, at + run);
        }
    });
}

/// A key of an Azure account: 64 bytes in base64.
pub(super) fn azure_storage(text: Text<'_>, take: &mut Take<'_>) {
    static SAID: Words = Words::new(&[
        "accountkey",
        "account key",
        "sharedaccesskey",
        "azure",
        "storage key",
        "accesskey",
        "shared access key",
    ]);
    if !text.whole.contains('=') {
        return;
    }
    let is = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    words(text, is, |at, run| {
        let length = match run {
            86 if text.bytes[at + run..].starts_with(b"==") => 88,
            43 if text.at(at + run) == Some(b'=') => 44,
            _ => return,
        };
        let word = &text.bytes[at..at + run];
        if is_mixed(word) && text.follows(at, &SAID) {
            take(at, at + length);
        }
    });
}

/// The secret of an application in Entra ID: 40 characters with `Q~` after a digit.
pub(super) fn azure_client(text: Text<'_>, take: &mut Take<'_>) {
    if !text.whole.contains("Q~") {
        return;
    }
    let is = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'~' | b'.' | b'-');
    words(text, is, |at, run| {
        let word = &text.bytes[at..at + run];
        let marked = word.len() > 6 && word[3].is_ascii_digit() && &word[4..6] == b"Q~";
        let length = run - usize::from(word.ends_with(b"."));
        if marked && (37..=41).contains(&length) {
            take(at, at + length);
        }
    });
}

/// Three parts in base64url, the first one a JSON object with `alg`.
pub(super) fn jwt(text: Text<'_>, take: &mut Take<'_>) {
    if !text.whole.contains("eyJ") {
        return;
    }
    let is = |byte: u8| Class::B64Url.has(byte) || byte == b'.';
    words(text, is, |at, run| {
        let whole = &text.whole[at..at + run];
        // In a sentence a point may stand before or after it.
        let skipped = whole.find("eyJ").unwrap_or(run);
        let token = whole[skipped..].trim_end_matches(['.', '-']);
        let parts: Vec<&str> = token.splitn(6, '.').collect();
        let begins = skipped == 0 || whole.as_bytes()[skipped - 1] == b'.';
        let fits =
            matches!(parts.len(), 2 | 3 | 5) && parts[..2].iter().all(|part| part.len() >= 8);
        let signed = parts.len() > 2 || whole.ends_with('.');
        if begins && fits && signed && is_header(parts[0]) {
            take(at + skipped, at + skipped + token.len());
        }
    });
}

fn is_header(part: &str) -> bool {
    let decoded = data_encoding::BASE64URL_NOPAD.decode(part.as_bytes()).unwrap_or_default();
    decoded.first() == Some(&b'{') && decoded.windows(5).any(|window| window == b"\"alg\"")
}

/// A private key in PEM form, to its end line, or to the end of the text.
pub(super) fn private_key(text: Text<'_>, take: &mut Take<'_>) {
    const BEGIN: &str = "-----BEGIN ";
    const END: &str = "-----END ";
    const KEY: &str = "PRIVATE KEY";
    const LABEL_MAX: usize = 40;
    let begins: Vec<usize> = text.whole.match_indices(BEGIN).map(|(at, _)| at).collect();
    for (nth, start) in begins.iter().copied().enumerate() {
        let limit = begins.get(nth + 1).copied().unwrap_or(text.bytes.len());
        let label = start + BEGIN.len();
        let is_label =
            |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b' ';
        let body = label + text.run(label, LABEL_MAX, is_label);
        if body > limit || !text.whole[label..body].contains(KEY) {
            continue;
        }
        let end = match text.whole[body..limit].find(END) {
            None => body + text.run(body, limit - body, is_pem),
            Some(at) => {
                let label = body + at + END.len();
                let closing = label + text.run(label, LABEL_MAX, is_label);
                closing + text.run(closing, 5, |byte| byte == b'-')
            }
        };
        if has_body(text, body, end) {
            take(start, end);
        }
    }
}

fn is_pem(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/=\\ \r\n\t-:,\"".contains(&byte)
}

/// True if at least 20 characters of base64 follow in one line.
fn has_body(text: Text<'_>, from: usize, to: usize) -> bool {
    let base64 = |byte: &u8| !byte.is_ascii_alphanumeric() && !matches!(byte, b'+' | b'/' | b'=');
    text.bytes[from..to].split(base64).any(|line| line.len() >= 20)
}

/// `14 characters.atlasv1.60 and more`
pub(super) fn terraform(text: Text<'_>, take: &mut Take<'_>) {
    if !text.whole.contains(".atlasv1.") {
        return;
    }
    let is = |byte: u8| Class::B64Url.has(byte) || byte == b'.';
    words(text, is, |at, run| {
        let token = text.whole[at..at + run].trim_end_matches('.');
        let parts: Vec<&str> = token.splitn(4, '.').collect();
        if let [id, "atlasv1", secret] = parts[..]
            && id.len() == 14
            && secret.len() >= 60
        {
            take(at, at + token.len());
        }
    });
}

/// `8 to 10 digits:AA…`
pub(super) fn telegram(text: Text<'_>, take: &mut Take<'_>) {
    if !text.whole.contains(":AA") {
        return;
    }
    words(
        text,
        |byte| byte.is_ascii_digit(),
        |at, run| {
            let secret = at + run + 1;
            let length = text.run(secret, 40, |byte| Class::B64Url.has(byte));
            let marked = text.bytes[at + run..].starts_with(b":AA") && (8..=10).contains(&run);
            if marked && text.begins(at) && (34..=36).contains(&length) {
                take(at, secret + length);
            }
        },
    );
}

/// 32 digits of base 16 and `-us` with a number.
pub(super) fn mailchimp(text: Text<'_>, take: &mut Take<'_>) {
    if !text.whole.contains("-us") {
        return;
    }
    words(
        text,
        |byte| Class::Hex.has(byte),
        |at, run| {
            let rest = at + run;
            let number = text.run(rest + 3, 3, |byte| byte.is_ascii_digit());
            let marked = text.bytes[rest..].starts_with(b"-us") && (1..=2).contains(&number);
            if run == 32 && marked && text.begins(at) && text.ends(rest + 3 + number) {
                take(at, rest + 3 + number);
            }
        },
    );
}

/// 32 digits of base 16, 8 and 8, with hyphens between.
pub(super) fn mailgun(text: Text<'_>, take: &mut Take<'_>) {
    for (hyphen, _) in text.whole.match_indices('-') {
        let Some(at) = hyphen.checked_sub(32) else { continue };
        let hex = |at, length| text.run(at, length + 1, |byte| Class::Hex.has(byte)) == length;
        let second = text.at(at + 41) == Some(b'-') && hex(at + 33, 8) && hex(at + 42, 8);
        if second
            && hex(at, 32)
            && text.begins(at)
            && text.at(at + 50) != Some(b'-')
            && text.ends(at + 50)
        {
            take(at, at + 50);
        }
    }
}

/// 36 letters and digits that end with `NRAL`.
pub(super) fn newrelic(text: Text<'_>, take: &mut Take<'_>) {
    if !text.whole.contains("NRAL") {
        return;
    }
    words(
        text,
        |byte| byte.is_ascii_alphanumeric(),
        |at, run| {
            if run == 40 && text.bytes[at..at + run].ends_with(b"NRAL") {
                take(at, at + run);
            }
        },
    );
}

/// What a key without a mark of its own looks like: its characters, its lengths, and what it begins with.
pub(super) type Shape = (fn(u8) -> bool, &'static [usize], &'static str);

/// A word of this shape after the name of its provider.
pub(super) fn named(
    text: Text<'_>,
    names: &Words,
    (is, lengths, begin): Shape,
    take: &mut Take<'_>,
) {
    if !text.mentions(names) {
        return;
    }
    let mut taken = None;
    words(text, is, |at, run| {
        let word = &text.bytes[at..at + run];
        let digits = word.iter().filter(|byte| byte.is_ascii_digit()).count();
        let sound = lengths.contains(&run)
            && word.starts_with(begin.as_bytes())
            && digits > 0
            && digits < run;
        let in_list = || taken.is_some_and(|taken| text.continues(taken, at));
        if sound && !is_placeholder(word) && (text.follows(at, names) || in_list()) {
            take(at, at + run);
            taken = Some(at + run);
        }
    });
}

/// A UUID after the name of a provider whose keys are UUIDs.
pub(super) fn named_uuid(text: Text<'_>, names: &Words, take: &mut Take<'_>) {
    if !text.mentions(names) {
        return;
    }
    words(
        text,
        |byte| Class::Hex.has(byte) || byte == b'-',
        |at, run| {
            let word = &text.bytes[at..at + run];
            let is_uuid = run == 36 && [8, 13, 18, 23].iter().all(|at| word[*at] == b'-');
            if is_uuid && text.begins(at) && text.ends(at + run) && text.follows(at, names) {
                take(at, at + run);
            }
        },
    );
}

/// 32 to 40 digits of base 16 after the name of a provider whose keys have no mark of their own.
pub(super) fn named_hex(text: Text<'_>, names: &Words, take: &mut Take<'_>) {
    if !text.mentions(names) {
        return;
    }
    words(
        text,
        |byte| Class::Hex.has(byte),
        |at, run| {
            let whole = text.begins(at) && text.ends(at + run) && text.at(at + run) != Some(b'-');
            let word = &text.bytes[at..at + run];
            if matches!(run, 32 | 40) && whole && !is_placeholder(word) && text.follows(at, names) {
                take(at, at + run);
            }
        },
    );
}

/// The password in `scheme://user:password@host`.
pub(super) fn url_password(text: Text<'_>, take: &mut Take<'_>) {
    const LONGEST: usize = 256;
    let mut from = 0;
    while let Some(found) = text.whole[from..].find("://") {
        let user = from + found + 3;
        from = user;
        let plain = |byte: u8| {
            byte.is_ascii_graphic()
                && !matches!(byte, b'/' | b'@' | b':' | b'"' | b'<' | b'>' | b'[')
        };
        let name = text.run(user, LONGEST, plain);
        if text.at(user + name) != Some(b':') {
            continue;
        }
        let start = user + name + 1;
        let secret = |byte: u8| {
            byte.is_ascii_graphic()
                && !matches!(byte, b'/' | b'@' | b'"' | b'<' | b'>' | b'[' | b'$' | b'{' | b'*')
        };
        let length = text.run(start, LONGEST, secret);
        let only_digits = text.bytes[start..start + length].iter().all(u8::is_ascii_digit);
        if length > 0
            && text.at(start + length) == Some(b'@')
            && !(only_digits && length <= 5 && name == 0)
        {
            take(start, start + length);
        }
    }
}

/// The place at which `https://` begins, if it stands before this one.
pub(super) fn url_start(text: Text<'_>, at: usize) -> usize {
    ["https://", "http://"]
        .into_iter()
        .find(|s| text.whole[..at].ends_with(s))
        .map_or(at, |s| at - s.len())
}
