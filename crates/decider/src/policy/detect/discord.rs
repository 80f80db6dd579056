//! Secrets of Discord.

use super::{
    odd::{is_mixed, url_start, words},
    scan::{Take, Text},
    secrets::Class,
};

/// The shortest token of a bot of Discord.
const TOKEN_BYTES_MIN: usize = 23 + 1 + 6 + 1 + 27;

/// Bot tokens of Discord, and its web hooks.
pub(super) fn find(text: Text<'_>, take: &mut Take<'_>) {
    // The points around the second part.
    let is_timed = |w: &[u8]| w[0] == b'.' && (w[7] == b'.' || w[8] == b'.');
    if text.bytes.windows(9).any(is_timed) {
        token(text, take);
    }
    hook(text, take);
}

fn token(text: Text<'_>, take: &mut Take<'_>) {
    let is = |byte: u8| Class::B64Url.has(byte) || byte == b'.';
    words(text, is, |at, run| {
        if run < TOKEN_BYTES_MIN {
            return;
        }
        let token = text.whole[at..at + run].trim_end_matches('.');
        let parts: Vec<&str> = token.splitn(4, '.').collect();
        let [id, time, mac] = parts[..] else { return };
        let fits = (23..=28).contains(&id.len())
            && (6..=7).contains(&time.len())
            && (27..=40).contains(&mac.len());
        if fits && matches!(id.as_bytes()[0], b'M' | b'N' | b'O') && is_mixed(mac.as_bytes()) {
            take(at, at + token.len());
        }
    });
}

fn hook(text: Text<'_>, take: &mut Take<'_>) {
    const HOOK: &str = "/api/webhooks/";
    let mut from = 0;
    while let Some(found) = text.whole[from..].find(HOOK) {
        let at = from + found;
        from = at + HOOK.len();
        let id = text.run(from, 21, |byte| byte.is_ascii_digit());
        let token = text.run(from + id + 1, 100, |byte| Class::B64Url.has(byte));
        let is_host = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte == b'.';
        let host = at - text.bytes[..at].iter().rev().take(40).take_while(is_host).count();
        let name = &text.whole[host..at];
        let is_host = name.ends_with("discord.com") || name.ends_with("discordapp.com");
        if is_host && id >= 17 && text.at(from + id) == Some(b'/') && token >= 60 {
            take(url_start(text, host), from + id + 1 + token);
        }
    }
}
