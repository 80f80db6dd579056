//! An address in parts, so that a narrow line breaks it where a reader expects it: the host is what decides where a link
//! leads, and stays in one piece where it fits.

/// The parts of an address. Put together they are the text as it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Address {
    /// Scheme and whatever is before the host.
    pub before: Vec<String>,
    /// The host with its port, cut after dots. Empty if the text is no address with a host.
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
        let (authority, after) =
            rest.split_at(rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len()));
        let (user, host) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
        let mut before = vec![format!("{scheme}://")];
        before.extend(parts(user));
        Self { before, host: parts(host), after: parts(after) }
    }
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
            (
                vec!["a.".into(), "b.".into(), "example".into()],
                vec!["/".into(), "c/".into(), "d.".into(), "pdf".into()]
            )
        );
    }
}
