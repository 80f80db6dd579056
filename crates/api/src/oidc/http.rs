//! Calls to a provider: bounded, to addresses that the configuration allows, and no redirect is followed.

use super::setup::Setup;
use crate::sinks::net::{self, Client};
use openidconnect::{HttpRequest, HttpResponse};
use std::time::Duration;
use url::Url;

/// Longest wait for one answer, from the name's resolution to the last byte.
const ANSWER_WAIT: Duration = Duration::from_secs(10);
/// Largest answer, in bytes: key sets carry certificates.
const ANSWER_BYTES_MAX: u64 = 256 << 10;

/// There is no answer. The text says why.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unanswered(String);

/// The client of one provider.
pub struct Caller {
    client: Client,
    /// True if the issuer is on this machine: then its endpoints may be without TLS.
    plain: bool,
}

impl Caller {
    /// The client of a provider. Sends nothing yet.
    pub fn new(setup: &Setup) -> Result<Self, String> {
        let issuer = net::address(&setup.issuer, "https", "http")?;
        let plain = issuer.scheme() == "http";
        Ok(Self { client: Client::new(issuer, setup.way())?, plain })
    }

    /// True if an endpoint that the provider names may be used: over TLS, or on this machine if the issuer is there.
    pub fn allows(&self, endpoint: &Url) -> bool {
        let bare = endpoint.username().is_empty() && endpoint.password().is_none();
        let plain = || {
            self.plain
                && net::address(endpoint_without_query(endpoint).as_str(), "https", "http").is_ok()
        };
        bare && endpoint.host().is_some() && (endpoint.scheme() == "https" || plain())
    }

    /// Sends a request.
    pub fn call(&self, request: HttpRequest) -> Result<HttpResponse, Unanswered> {
        let url = request.uri().to_string();
        let allowed = Url::parse(&url).is_ok_and(|url| self.allows(&url));
        if !allowed {
            return Err(Unanswered(format!("{} is no https:// address", net::short(&url))));
        }
        let bounds = (ANSWER_WAIT, ANSWER_BYTES_MAX);
        let answer = self.client.call(request, bounds).map_err(Unanswered)?;
        if answer.status().is_redirection() {
            let status = answer.status();
            return Err(Unanswered(format!(
                "{} sends elsewhere ({status}): redirects are not followed",
                net::short(&url)
            )));
        }
        Ok(answer)
    }
}

fn endpoint_without_query(endpoint: &Url) -> Url {
    let mut bare = endpoint.clone();
    bare.set_query(None);
    bare.set_fragment(None);
    bare
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(issuer: &str, endpoint: &str, allowed: bool) {
        let text = format!("tenant = \"acme\"\nissuer = \"{issuer}\"\nclient_id = \"c\"");
        let caller = Caller::new(&toml::from_str(&text).unwrap()).unwrap();
        assert_eq!(caller.allows(&endpoint.parse().unwrap()), allowed, "{issuer} {endpoint}");
    }

    #[test]
    fn p7_endpoints_are_over_tls() {
        let (far, near) = ("https://id.example.com", "http://127.0.0.1:9000");
        check(far, "https://token.example.net/token?a=b", true);
        check(far, "http://id.example.com/token", false);
        check(far, "http://127.0.0.1/token", false);
        check(far, "https://u:p@id.example.com/token", false);
        check(far, "file:///etc/passwd", false);
        check(near, "http://127.0.0.1:9001/token?a=b", true);
        check(near, "http://localhost:9000/token", false);
        check(near, "http://id.example.com/token", false);
        check(near, "https://id.example.com/token", true);
    }
}
