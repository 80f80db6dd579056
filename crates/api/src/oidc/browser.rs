//! One sign-in between its begin and its answer. Nothing of it is stored here: a cookie binds it to the browser, and `state`
//! to the cookie, so whoever only begins sign-ins fills no memory.

use crate::sessions::nonces::Nonces;
use data_encoding::BASE64URL_NOPAD;
use ledger::{keyring::random32, time::Nanos};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// A sign-in that was begun, as the browser's cookie has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Begun {
    /// Name of the provider.
    pub provider: String,
    /// Where it leads: one of our own paths.
    pub next: String,
    /// True if the person must sign in at the provider again.
    pub fresh: bool,
    /// When it was begun.
    pub at: Nanos,
    /// Random value of this browser.
    seed: String,
}

/// What protects a sign-in. All of it follows from `state` and the server's key.
pub struct Guards {
    /// Comes back with the answer. Counts once, for one cookie.
    pub state: String,
    /// Is in the ID token.
    pub nonce: String,
    /// The PKCE verifier: 43 characters.
    pub verifier: Zeroizing<String>,
}

impl Guards {
    fn of(nonces: &Nonces, state: String) -> Self {
        let nonce = nonces.derived("oidc nonce", &state);
        let verifier = Zeroizing::new(nonces.derived("oidc pkce", &state));
        Self { state, nonce, verifier }
    }
}

impl Begun {
    /// Begins a sign-in. Returns its cookie's value, and what protects it.
    pub fn begin(
        nonces: &Nonces,
        provider: &str,
        (next, fresh): (String, bool),
        now: Nanos,
    ) -> Option<(String, Guards)> {
        let seed = BASE64URL_NOPAD.encode(&random32()[..16]);
        let begun = Self { provider: provider.to_owned(), next, fresh, at: now, seed };
        let cookie = BASE64URL_NOPAD.encode(&serde_json::to_vec(&begun).ok()?);
        let state = nonces.make(&purpose(&cookie), now);
        Some((cookie, Guards::of(nonces, state)))
    }

    /// Ends a sign-in: the one of this cookie, if `state` is its own and was not used. It can't be ended again.
    pub fn end(
        nonces: &Nonces,
        provider: &str,
        (cookie, state): (&str, &str),
        now: Nanos,
    ) -> Option<(Self, Guards)> {
        let begun: Self =
            serde_json::from_slice(&BASE64URL_NOPAD.decode(cookie.as_bytes()).ok()?).ok()?;
        let ours = begun.provider == provider && nonces.spend(state, &purpose(cookie), now);
        ours.then(|| (begun, Guards::of(nonces, state.to_owned())))
    }
}

/// The purpose of `state` has the whole cookie, so none of it can be changed.
fn purpose(cookie: &str) -> String {
    format!("oidc/{cookie}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE_SECONDS: u64 = crate::sessions::PROVIDER_SECONDS;
    const NOW: Nanos = Nanos(1_000_000_000_000);

    fn nonces() -> Nonces {
        Nonces::new(Zeroizing::new([7; 32]), Nanos(0)).living(LIFE_SECONDS)
    }

    fn begun(nonces: &Nonces) -> (String, Guards) {
        Begun::begin(nonces, "id", ("/approvals/apr-1".into(), true), NOW).unwrap()
    }

    #[test]
    fn p7_a_sign_in_ends_once_in_its_own_browser() {
        let nonces = nonces();
        let ((cookie, guards), (other, _)) = (begun(&nonces), begun(&nonces));
        let end = |provider, cookie: &str, state: &str, seconds| {
            let now = NOW.plus_seconds(seconds);
            Begun::end(&nonces, provider, (cookie, state), now)
        };
        assert!(end("id", &other, &guards.state, 1).is_none(), "another browser");
        assert!(end("other", &cookie, &guards.state, 1).is_none(), "another provider");
        assert!(end("id", &cookie, &guards.state[1..], 1).is_none());
        assert!(end("id", "", &guards.state, 1).is_none());
        assert!(end("id", &cookie, &guards.state, LIFE_SECONDS).is_none(), "too late");
        let (found, same) = end("id", &cookie, &guards.state, LIFE_SECONDS - 1).unwrap();
        assert_eq!((found.next.as_str(), found.fresh, found.at), ("/approvals/apr-1", true, NOW));
        assert_eq!((&same.nonce, &same.verifier), (&guards.nonce, &guards.verifier));
        assert!(end("id", &cookie, &guards.state, 2).is_none(), "used before");
    }

    #[test]
    fn p7_no_word_of_the_cookie_can_be_changed() {
        let nonces = nonces();
        let (cookie, guards) = begun(&nonces);
        let text = String::from_utf8(BASE64URL_NOPAD.decode(cookie.as_bytes()).unwrap()).unwrap();
        for (from, to) in [("apr-1", "apr-2"), ("true", "false"), ("\"seed\":\"", "\"seed\":\"A")] {
            assert!(text.contains(from), "{text}");
            let forged = BASE64URL_NOPAD.encode(text.replace(from, to).as_bytes());
            assert!(Begun::end(&nonces, "id", (&forged, &guards.state), NOW).is_none(), "{to}");
        }
    }

    #[test]
    fn p7_the_words_of_sign_ins_differ() {
        let nonces = nonces();
        let ((_, one), (_, two)) = (begun(&nonces), begun(&nonces));
        assert!(one.state != two.state && one.nonce != two.nonce && one.verifier != two.verifier);
        assert!(one.nonce != *one.verifier && one.nonce != one.state);
        assert_eq!(one.verifier.len(), 43, "RFC 7636 wants 43 to 128 characters");
    }
}
