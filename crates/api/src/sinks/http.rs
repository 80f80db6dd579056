//! `http`: lines, NDJSON or CEF, to a collector of your own, signed as Standard Webhooks signs (HMAC-SHA256 over id, time and body).

use super::{
    net::Client,
    port::{Answer, Batch, Receiver},
};
use data_encoding::BASE64;
use hmac::{Hmac, Mac as _};
use ledger::{clock, system::delivery::Level};
use sha2::Sha256;
use zeroize::Zeroizing;

/// What a secret begins with.
const PREFIX: &str = "whsec_";

/// A collector.
pub struct Http {
    client: Client,
    key: Zeroizing<Vec<u8>>,
    /// What the lines are.
    media: &'static str,
}

impl Http {
    /// The collector of this client. `secret`: `whsec_` and 24 to 64 bytes in base64.
    pub fn new(client: Client, secret: &str, media: &'static str) -> Result<Self, String> {
        let bytes = secret.strip_prefix(PREFIX).map(|text| BASE64.decode(text.as_bytes()));
        let key = bytes.and_then(Result::ok).filter(|key| (24..=64).contains(&key.len()));
        let key = key.ok_or("the secret is whsec_ and 24 to 64 random bytes in base64")?;
        Ok(Self { client, key: Zeroizing::new(key), media })
    }

    fn signature(&self, id: &str, time: &str, body: &[u8]) -> String {
        let mut mac = <Hmac<Sha256> as hmac::Mac>::new_from_slice(&self.key)
            .expect("HMAC takes keys of every length");
        mac.update(format!("{id}.{time}.").as_bytes());
        mac.update(body);
        format!("v1,{}", BASE64.encode(&mac.finalize().into_bytes()))
    }
}

impl Receiver for Http {
    fn deliver(&self, batch: &Batch) -> Answer {
        let body = batch.lines();
        // A collector that keeps ids drops what it has.
        let id = batch.id.as_str();
        let time = clock::wall_clock().seconds().to_string();
        let signature = self.signature(id, &time, body.as_bytes());
        let headers = [
            ("content-type", self.media),
            ("webhook-id", id),
            ("webhook-timestamp", time.as_str()),
            ("webhook-signature", signature.as_str()),
        ];
        match self.client.post("", &headers, body.as_bytes()) {
            Ok(said) if (200..300).contains(&said.status) => Answer::Taken,
            Ok(said) => said.failed(),
            Err(answer) => answer,
        }
    }

    fn level(&self) -> Level {
        Level::Accepted
    }
}
