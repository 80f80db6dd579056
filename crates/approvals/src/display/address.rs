//! An address in parts, so that a narrow line breaks it where a reader expects it: the host is what decides where a link
//! leads, and stays in one piece where it fits.

/// Longest host that is kept in one piece, in characters: as wide as a phone.
const HOST_CHARS_MAX: usize = 34;

/// The parts of an address. Put together they are the text as it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Address {
    /// Scheme and whatever is before the host.
    pub before: Vec<String>,
    /// The host with its port, in one piece; cut after dots where it does not fit a line of a phone. Empty if the text is no
    /// address with a host.
    pub host: Vec<String>,
    /// Path and whatever follows.
    pub after: Vec<String>,
}

impl Address {
    /// Takes a text apart. A line may break between two parts.
    pub(super) fn of(text: &str) -> Self {
        let all = || Self { after: parts(text), ..Self::default() };
        let Some((scheme, rest)) = text.split_once("://") else { return all() };
        let letters = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
        if scheme.is_empty() || !scheme.chars().all(letters) {
            return all();
        }
        // As browsers do: the host ends at any of these, and what is before the last `@` is a user's name.
        let (authority, after) = rest.split_at(end_of_authority(rest));
        let (user, host) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
        let mut before = vec![format!("{scheme}://")];
        before.extend(parts(user));
        let short = host.chars().count() <= HOST_CHARS_MAX && !host.is_empty();
        let host = if short { vec![host.to_owned()] } else { parts(host) };
        Self { before, host, after: parts(after) }
    }
}

/// Where a browser sees the end of host and port. A letter that is shown by its number, `\u{…}`, is a letter.
fn end_of_authority(rest: &str) -> usize {
    let ends = |(at, sign): &(usize, char)| match sign {
        '\\' => !rest[*at..].starts_with("\\u{"),
        sign => ['/', '?', '#'].contains(sign),
    };
    rest.char_indices().find(ends).map_or(rest.len(), |(at, _)| at)
}

/// The host of an address as the net knows it, if it has letters beyond ASCII (IDNA, RFC 5891). `None` for other texts.
pub(super) fn ascii_host(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("://")?;
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    if authority.is_ascii() {
        return None;
    }
    let address = url::Url::parse(text).ok()?;
    address.host_str().filter(|host| host.contains("xn--")).map(str::to_owned)
}

/// The text, cut after each sign at which a reader expects a break.
fn parts(text: &str) -> Vec<String> {
    text.split_inclusive(['/', '.', '?', '&', '=']).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, host: &str) {
        let Address { before, host: found, after } = Address::of(text);
        assert_eq!(found.concat(), host, "{text}");
        assert_eq!([before, found, after].concat().concat(), text);
    }

    #[test]
    fn the_host_is_the_one_that_a_browser_opens() {
        check("https://sso.meridian-care.example/renew?a=1", "sso.meridian-care.example");
        check("https://bank.example@evil.example/", "evil.example");
        check("https://a@b@evil.example:8443?x", "evil.example:8443");
        check("https://evil.example\\@bank.example/", "evil.example");
        check("https://evil.example#@bank.example", "evil.example");
        check("https://example.org", "example.org");
        check("https://m\\u{435}ridian.example/renew", "m\\u{435}ridian.example");
        check("mailto:kim@example.org", "");
        check("see https://example.org", "");
        check("\"https://exa\\u{6d}ple.org\"", "");
        check("", "");
    }

    #[test]
    fn lines_break_after_dots_and_slashes() {
        let Address { host, after, .. } = Address::of("https://a.b.example/c/d.pdf");
        assert_eq!(
            (host, after),
            (vec!["a.b.example".into()], vec!["/".into(), "c/".into(), "d.".into(), "pdf".into()])
        );
    }

    #[test]
    fn p7_a_host_breaks_only_if_it_is_wider_than_a_phone() {
        let host = |name: &str| Address::of(&format!("https://{name}/x")).host.len();
        assert_eq!(host("events.meridian-care.example.co"), 1);
        assert_eq!(host(&format!("{}.meridian-care.example", "a".repeat(40))), 3);
    }

    #[test]
    fn p7_a_host_in_other_letters_has_its_name_in_ascii() {
        let host = |text: &str| ascii_host(text);
        assert_eq!(host("https://münchen.example/a").as_deref(), Some("xn--mnchen-3ya.example"));
        assert_eq!(
            host("https://a@m\u{435}ridian.example").as_deref(),
            Some("xn--mridian-7gg.example")
        );
        for none in ["https://example.org/ü", "mailto:ü", "https://[::1]/", "ü", "https://ü ü/"]
        {
            assert_eq!(host(none), None, "{none}");
        }
    }
}
