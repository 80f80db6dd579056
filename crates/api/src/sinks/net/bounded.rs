//! Calls with bounds of their own, to those who are no sinks.

use super::{Client, Said, failure, pause};
use std::time::Duration;
use ureq::{
    AsSendBody, Body,
    http::{Request, Response},
};

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

    /// Sends a request to any address that the way allows. `wait` and `bytes` as for [`Client::ask`]. A status without success
    /// is an answer too.
    pub fn call(
        &self,
        request: Request<Vec<u8>>,
        (wait, bytes): (Duration, u64),
    ) -> Result<Response<Vec<u8>>, String> {
        let sent = if request.body().is_empty() {
            self.run(request.map(drop), wait)
        } else {
            self.run(request, wait)
        };
        let whole = |answer: Response<Body>| {
            let (head, mut body) = answer.into_parts();
            let body = body.with_config().limit(bytes).read_to_vec()?;
            Ok(Response::from_parts(head, body))
        };
        sent.and_then(whole).map_err(|error| failure(&error))
    }

    fn run(
        &self,
        request: Request<impl AsSendBody>,
        wait: Duration,
    ) -> Result<Response<Body>, ureq::Error> {
        let request = self.agent.configure_request(request).timeout_global(Some(wait)).build();
        self.agent.run(request)
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
