//! Calls with bounds of their own, to those who are no sinks.

use super::{Client, Said, failure, pause};
use std::time::Duration;
use ureq::{Body, http::Response};

impl Client {
    /// Posts text to `path` below the base. `wait`: from the name's resolution to the last byte; `bytes`: the largest answer.
    pub fn ask(
        &self,
        path: &str,
        body: &[u8],
        (wait, bytes): (Duration, u64),
    ) -> Result<Said, String> {
        let url = format!("{}/{path}", self.base.as_str().trim_end_matches('/'));
        let request = self.agent.post(&url).config().timeout_global(Some(wait)).build();
        let sent = request.header("content-type", "text/plain; charset=utf-8").send(body);
        said(sent, bytes).map_err(|error| failure(&error))
    }
}

fn said(sent: Result<Response<Body>, ureq::Error>, bytes: u64) -> Result<Said, ureq::Error> {
    let mut response = sent?;
    let after = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
    let after = after.and_then(|after| pause(after, None));
    let status = response.status().as_u16();
    let body = response.body_mut().with_config().limit(bytes).read_to_vec()?;
    Ok(Said { status, after, body })
}
