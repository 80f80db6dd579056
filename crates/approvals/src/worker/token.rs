//! Minting on demand, and spending once.

use super::{Done, Error, Worker, now};
use crate::{
    fault,
    history::Approval,
    token::{self, Claims, Expected, Granted},
};
use data_encoding::BASE64URL_NOPAD;
use decider::{
    approval::{Command, Refusal},
    call::Call,
    decision::Frozen,
};
use ledger::{ident::Ident, json, keyring, log::note::Vkey};

/// Random bytes in a token's id.
const JTI_BYTES: usize = 16;

/// A token that lives.
#[derive(Clone, Debug)]
pub struct Minted {
    /// The compact JWS.
    pub token: String,
    /// What it says.
    pub claims: Claims,
}

/// What an enforcer sends to spend a token.
#[derive(Debug)]
pub struct RedeemRequest<'a> {
    /// The compact JWS.
    pub token: &'a str,
    /// The enforcer's own id of this redemption.
    pub redemption_id: &'a str,
    /// The call in hand.
    pub call: CallInHand<'a>,
}

/// The call as the enforcer has it; the digest is computed by us.
#[derive(Debug)]
pub struct CallInHand<'a> {
    /// `nonce`
    pub nonce: &'a str,
    /// `agent`
    pub agent: &'a str,
    /// `run`
    pub run: Option<&'a str>,
    /// `tool`
    pub tool: &'a str,
    /// `action`
    pub action: &'a str,
    /// `params`
    pub params: &'a json::Value<'a>,
}

/// What a redemption came to.
#[derive(Debug)]
pub struct Redeemed {
    /// The approval, and why it was refused.
    pub done: Done,
    /// The frozen call, when it was not refused: execute that.
    pub frozen: Option<Frozen>,
    /// The digest of the call in hand.
    pub digest: String,
}

impl Worker {
    /// The issuer of this tenant's tokens.
    pub fn issuer(&self) -> String {
        token::issuer(&self.options.public_url, &self.tenant.name)
    }

    /// The token keys in force, newest last.
    pub fn token_keys(&self) -> Vec<Vkey> {
        self.tenant.published().keys.token()
    }

    /// Makes a token for the enforcer that opened the approval, or gives the one that lives.
    pub async fn mint(
        &self,
        id: &Ident,
        enforcer: &Ident,
    ) -> Result<(Done, Option<Minted>), Error> {
        let key = self.token_keys().pop().ok_or(token::Error::UnknownKey)?;
        let jti = BASE64URL_NOPAD.encode(&keyring::random32()[..JTI_BYTES]);
        let kid = token::kid(&key);
        let command = |world| Command::Mint {
            world,
            enforcer: enforcer.clone(),
            jti: jti.clone(),
            kid: kid.clone(),
        };
        let done = self.execute(id, command).await?;
        fault::point("token_recorded");
        if done.refused.is_some() {
            return Ok((done, None));
        }
        let minted = self.token_of(&done.approval)?;
        Ok((done, Some(minted)))
    }

    /// The token that lives in an approval. It is not kept: the same state and key give the same text.
    fn token_of(&self, approval: &Approval) -> Result<Minted, Error> {
        let seq = approval.granted_seq().ok_or(Error::NotFound)?;
        let granted = Granted { id: &approval.id, seq };
        let claims = Claims::new(&self.issuer(), &self.tenant.name, granted, &approval.state);
        let claims = claims.ok_or(Error::Unknown)?;
        let keys = self.token_keys();
        let kid = approval.state.token.as_ref().map_or("", |token| token.kid.as_str());
        let key = token::key_of(&keys, kid).ok_or(token::Error::UnknownKey)?;
        let token = self.tenant.with_keys(|ring| -> Result<String, Error> {
            let signer = ring.signer(key).map_err(ledger::ledger::Error::from)?;
            Ok(token::mint(&claims, signer)?)
        })?;
        Ok(Minted { token, claims })
    }

    /// Spends a token for the call in hand.
    pub async fn redeem(
        &self,
        enforcer: &Ident,
        request: &RedeemRequest<'_>,
    ) -> Result<Redeemed, Error> {
        let iss = self.issuer();
        let claims = match token::read(request.token, &self.token_keys()) {
            // Another server may have begun to sign with a key whose entry is not posted here yet.
            Err(token::Error::UnknownKey) => {
                self.ledger.catch_up(&self.tenant).await?;
                token::read(request.token, &self.token_keys())?
            }
            read => read?,
        };
        // A clock that is wrong makes no token old.
        self.clock_stands().await?;
        let expected = Expected { iss: &iss, tid: &self.tenant.name, aud: enforcer, now: now() };
        let CallInHand { nonce, agent, run, tool, action, params } = request.call;
        let tenant = &self.tenant.name;
        let digest = Call { nonce, tenant, agent, run, tool, action, params }.digest();
        match claims.check(&expected) {
            Ok(()) => {}
            // Whoever does not know what became of a redemption asks again, perhaps after the token's end.
            Err(token::Error::Expired) => {
                return self.redeemed_before(&claims, request.redemption_id, &digest).await;
            }
            Err(error) => return Err(error.into()),
        }
        let command = |world| Command::Redeem {
            world,
            enforcer: enforcer.clone(),
            jti: claims.jti.clone(),
            digest: digest.clone(),
            redemption_id: request.redemption_id.to_owned(),
        };
        let done = self.execute(&claims.apr.id, command).await?;
        fault::point("redeemed");
        if done.refused.is_some() {
            return Ok(Redeemed { done, frozen: None, digest });
        }
        let (_, frozen) = self.opening(&done.approval)?;
        Ok(Redeemed { done, frozen, digest })
    }

    /// What a redemption with a token that has expired since came to; with another call in hand it is refused as ever.
    async fn redeemed_before(
        &self,
        claims: &Claims,
        redemption_id: &str,
        digest: &str,
    ) -> Result<Redeemed, Error> {
        let approval = self.find(&claims.apr.id, |_| true).await?.ok_or(token::Error::Expired)?;
        if !approval.state.is_redeemed_by(redemption_id, &claims.jti) {
            let behind = self.catch_up_with(&approval.id, approval.expected).await?;
            return Err(if behind { Error::Contended } else { token::Error::Expired.into() });
        }
        let refused = (digest != claims.call.dig).then_some(Refusal::DigestMismatch);
        let frozen = if refused.is_none() { self.opening(&approval)?.1 } else { None };
        let digest = digest.to_owned();
        Ok(Redeemed { done: Done { approval, refused, written: false }, frozen, digest })
    }
}
