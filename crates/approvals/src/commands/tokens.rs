//! Mints tokens on demand and redeems them once.

use super::{Done, Error, execute::Commands};
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
use ledger::{Error as Failure, ident::Ident, json, keyring, log::note::Vkey, tenant::Tenant};
use std::sync::Arc;

/// Random bytes in a token's id.
const JTI_BYTES: usize = 16;

/// A valid token.
#[derive(Clone, Debug)]
pub struct Minted {
    /// The compact JWS.
    pub token: String,
    /// Claims of the token.
    pub claims: Claims,
}

/// A redemption request.
#[derive(Debug)]
pub struct RedeemRequest<'a> {
    /// The compact JWS.
    pub token: &'a str,
    /// The enforcer's own id of this redemption.
    pub redemption_id: &'a str,
    /// The call that the enforcer holds.
    pub call: CallInHand<'a>,
}

/// The call as the enforcer sends it. This server computes its digest.
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

/// The result of a redemption.
#[derive(Debug)]
pub struct Redeemed {
    /// The approval, and why the redemption was refused, if it was.
    pub done: Done,
    /// The frozen call, unless refused. The enforcer executes exactly this.
    pub frozen: Option<Frozen>,
    /// The digest of the call that the enforcer sent.
    pub digest: String,
}

/// Mints and redeems the tokens of one tenant.
pub struct Tokens {
    pub(crate) commands: Commands,
    pub(crate) tenant: Arc<Tenant>,
}

impl Tokens {
    /// The issuer of this tenant's tokens.
    pub fn issuer(&self) -> String {
        token::issuer(self.commands.cards.public_url(), &self.tenant.name)
    }

    /// The token keys in force, newest last.
    pub fn token_keys(&self) -> Vec<Vkey> {
        self.tenant.published().keys.token()
    }

    /// Mints a token for the enforcer that paused the call, or returns the valid one.
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
        if let Some(approval) = self.commands.reader.get(id).await? {
            self.commands.reader.check_goes(&approval)?;
        }
        let done = self.commands.execute(id, command).await?;
        fault::point("token_recorded");
        if done.refused.is_some() {
            return Ok((done, None));
        }
        let minted = self.token_of(&done.approval)?;
        Ok((done, Some(minted)))
    }

    /// The valid token of an approval. It is not stored: the same state and key give the same text.
    fn token_of(&self, approval: &Approval) -> Result<Minted, Error> {
        let seq = approval.granted_seq().ok_or(Error::NotFound)?;
        let granted = Granted { id: &approval.id, seq };
        let claims = Claims::new(&self.issuer(), &self.tenant.name, granted, &approval.state);
        let claims = claims.ok_or(Error::Unknown)?;
        let keys = self.token_keys();
        let kid = approval.state.token.as_ref().map_or("", |token| token.kid.as_str());
        let key = token::key_of(&keys, kid).ok_or(token::Error::UnknownKey)?;
        let token = self.tenant.with_keys(|ring| -> Result<String, Error> {
            let signer = ring.signer(key).map_err(ledger::Error::from)?;
            Ok(token::mint(&claims, signer)?)
        })?;
        Ok(Minted { token, claims })
    }

    /// Redeems a token for the call that the enforcer sent.
    pub async fn redeem(
        &self,
        enforcer: &Ident,
        request: &RedeemRequest<'_>,
    ) -> Result<Redeemed, Error> {
        let iss = self.issuer();
        let claims = match token::read(request.token, &self.token_keys()) {
            // Another server may already sign with a key whose entry is not posted here yet.
            Err(token::Error::UnknownKey) => {
                self.commands.reader.log.catch_up().await?;
                token::read(request.token, &self.token_keys())?
            }
            read => read?,
        };
        // Compare the clocks first: a wrong clock must not make a token look expired.
        self.commands.readiness.clocks.stand().await?;
        let now = self.commands.readiness.clocks.now();
        let expected = Expected { iss: &iss, tid: &self.tenant.name, aud: enforcer, now };
        let CallInHand { nonce, agent, run, tool, action, params } = request.call;
        let tenant = &self.tenant.name;
        let digest = Call { nonce, tenant, agent, run, tool, action, params }.digest();
        let checked = claims.check(&expected);
        if matches!(checked, Ok(()) | Err(token::Error::Expired))
            && let Some(approval) = self.commands.reader.find(&claims.apr.id, |_| true).await?
        {
            // What was redeemed before a freeze is not released once more either.
            self.commands.reader.check_goes(&approval)?;
        }
        match checked {
            Ok(()) => {}
            // An enforcer that did not get the answer asks again, perhaps after the token's end.
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
        let mut done = match self.commands.execute(&claims.apr.id, command).await {
            // A freeze was posted in between, so posting refused the redemption.
            Err(Error::Ledger(Failure::NotPosted { .. })) => {
                let approval = self.commands.reader.find(&claims.apr.id, |_| true).await?;
                approval.map_or(Ok(()), |approval| self.commands.reader.check_goes(&approval))?;
                return Err(Error::Contended);
            }
            done => done?,
        };
        fault::point("redeemed");
        let frozen = done.frozen.take().filter(|_| done.refused.is_none());
        Ok(Redeemed { done, frozen, digest })
    }

    /// The result of an earlier redemption with a token that has expired since. A different call is refused as
    /// usual.
    async fn redeemed_before(
        &self,
        claims: &Claims,
        redemption_id: &str,
        digest: &str,
    ) -> Result<Redeemed, Error> {
        let approval = self
            .commands
            .reader
            .find(&claims.apr.id, |_| true)
            .await?
            .ok_or(token::Error::Expired)?;
        if !approval.state.is_redeemed_by(redemption_id, &claims.jti) {
            let behind =
                self.commands.reader.catch_up_with(&approval.id, approval.expected).await?;
            return Err(if behind { Error::Contended } else { token::Error::Expired.into() });
        }
        let refused = (digest != claims.call.dig).then_some(Refusal::DigestMismatch);
        let frozen =
            if refused.is_none() { self.commands.reader.opening(&approval)?.1 } else { None };
        let digest = digest.to_owned();
        let done = Done { approval, refused, written: false, frozen: None };
        Ok(Redeemed { done, frozen, digest })
    }
}
