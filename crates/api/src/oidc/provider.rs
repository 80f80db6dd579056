//! One provider: where a browser is sent, and what a code is exchanged for.

use super::{
    browser::{Begun, Guards},
    http::Caller,
    metadata::{Metadata, end_session, is_from, wants_secret_in_body},
    setup::Setup,
    token::{self, Expected, Said, Untrusted},
};
use crate::sinks::net::short;
use ledger::{ident::Ident, time::Nanos};
use openidconnect::{
    AuthType, AuthenticationContextClass, AuthorizationCode, ClientId, ClientSecret, CsrfToken,
    HttpRequest, IssuerUrl, JsonWebKeySet, Nonce, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl,
    RequestTokenError, Scope, TokenResponse as _,
    core::{CoreAuthPrompt, CoreAuthenticationFlow, CoreClient, CoreIdToken, CoreJsonWebKeySet},
};
use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::sync::{Semaphore, oneshot};
use url::Url;

/// Conversations with one provider at once. A provider that hangs keeps so many threads at most.
const AT_ONCE: usize = 16;
/// Time for which a discovery document is used.
const METADATA_LIFE: Duration = Duration::from_secs(3600);
/// Oldest sign-in at the provider that begins a session, in seconds: the life of a session.
const SIGNED_IN_SECONDS_MAX: u64 = 8 * 3600;
/// Longest code, in bytes.
const CODE_BYTES_MAX: usize = 4096;
/// Asks for the time of the sign-in. A provider that knows `max_age` names it anyway; some want to be asked this way.
const CLAIMS: &str = r#"{"id_token":{"auth_time":{"essential":true}}}"#;

/// Why nobody is signed in. The texts are for people.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// Too many sign-ins wait for this provider.
    #[error("too many sign-ins wait for it")]
    Busy,
    /// It can't be reached, or does not answer as a provider does.
    #[error("{0}")]
    Unreachable(String),
    /// It refused the code, or the answer is not from it.
    #[error("{0}")]
    Refused(String),
    /// Its ID token does not count.
    #[error("its ID token does not count: {0}")]
    Untrusted(#[from] Untrusted),
}

/// Who signed in at the provider, and when.
pub type Signed = Said;

/// One provider.
pub struct Provider {
    name: String,
    tenant: Ident,
    issuer: IssuerUrl,
    client_id: ClientId,
    redirect: RedirectUrl,
    /// Where it sends browsers back to after a sign-out.
    signed_out: String,
    setup: Setup,
    caller: Caller,
    places: Arc<Semaphore>,
    known: Mutex<Option<(Instant, Arc<Metadata>)>>,
}

impl Provider {
    /// A provider of a configuration that was checked. Asks it nothing yet.
    pub(super) fn open(name: &str, setup: &Setup, public_url: &str) -> Result<Self, String> {
        let public_url = public_url.trim_end_matches('/');
        let redirect = format!("{public_url}/signin/oidc/{name}/callback");
        Ok(Self {
            name: name.to_owned(),
            tenant: Ident::new(&setup.tenant).map_err(|error| error.to_string())?,
            issuer: IssuerUrl::new(setup.issuer.clone()).map_err(|error| error.to_string())?,
            client_id: ClientId::new(setup.client_id.clone()),
            redirect: RedirectUrl::new(redirect).map_err(|error| error.to_string())?,
            signed_out: format!("{public_url}/signout"),
            caller: Caller::new(setup)?,
            setup: setup.clone(),
            places: Arc::new(Semaphore::new(AT_ONCE)),
            known: Mutex::default(),
        })
    }

    /// Tenant whose people sign in here.
    pub fn tenant(&self) -> &Ident {
        &self.tenant
    }

    /// Its issuer identifier.
    pub fn issuer(&self) -> &str {
        self.issuer.as_str()
    }

    /// Words on its button.
    pub fn label(&self) -> &str {
        self.setup.label.as_deref().unwrap_or(&self.name)
    }

    /// Where the browser is sent. With `fresh`, the provider must ask for a new sign-in.
    pub async fn address(self: &Arc<Self>, guards: Guards, fresh: bool) -> Result<Url, Failed> {
        let provider = Arc::clone(self);
        self.apart(move || {
            let metadata = provider.metadata()?;
            Ok(provider.authorization(&metadata, guards, fresh))
        })
        .await
    }

    /// Where a browser is sent to sign out there. `None` if the provider has no such address.
    pub async fn sign_out(self: &Arc<Self>) -> Result<Option<Url>, Failed> {
        let provider = Arc::clone(self);
        self.apart(move || {
            let metadata = provider.metadata()?;
            Ok(provider.sign_out_of(&metadata))
        })
        .await
    }

    fn sign_out_of(&self, metadata: &Metadata) -> Option<Url> {
        let mut url = end_session(metadata).filter(|url| self.caller.allows(url))?.clone();
        {
            let mut query = url.query_pairs_mut();
            query.append_pair("client_id", &self.client_id);
            if self.setup.sign_out_returns {
                query.append_pair("post_logout_redirect_uri", &self.signed_out);
            }
        }
        Some(url)
    }

    /// Exchanges a code for who signed in. `named`: the issuer that the answer names.
    pub async fn exchange(
        self: &Arc<Self>,
        (begun, guards): (Begun, Guards),
        (code, named): (String, Option<String>),
        now: Nanos,
    ) -> Result<Signed, Failed> {
        let provider = Arc::clone(self);
        self.apart(move || {
            let metadata = provider.metadata()?;
            provider.check_issuer(&metadata, named.as_deref())?;
            if code.len() > CODE_BYTES_MAX {
                return Err(Failed::Refused("its code is too long".into()));
            }
            let token = provider.redeem(&metadata, code, &guards)?;
            let oldest = Nanos(now.0.saturating_sub(SIGNED_IN_SECONDS_MAX * 1_000_000_000));
            let expected = Expected {
                issuer: &provider.issuer,
                client_id: &provider.client_id,
                acr_values: &provider.setup.acr_values,
                nonce: Nonce::new(guards.nonce),
                not_before: if begun.fresh { begun.at } else { oldest },
                now,
            };
            match token::check(&token, metadata.jwks(), &expected) {
                Err(Untrusted::Key) => {
                    Ok(token::check(&token, &provider.new_keys(&metadata)?, &expected)?)
                }
                checked => Ok(checked?),
            }
        })
        .await
    }

    /// Refuses an answer of another provider, also if it says that the sign-in failed.
    pub async fn refuse_others(self: &Arc<Self>, named: Option<String>) -> Result<(), Failed> {
        let provider = Arc::clone(self);
        self.apart(move || provider.check_issuer(&*provider.metadata()?, named.as_deref())).await
    }

    fn check_issuer(&self, metadata: &Metadata, named: Option<&str>) -> Result<(), Failed> {
        if is_from(metadata, named) {
            return Ok(());
        }
        let why = format!("the answer is not from {}, or does not name it", self.issuer());
        Err(Failed::Refused(why))
    }

    fn authorization(&self, metadata: &Metadata, guards: Guards, fresh: bool) -> Url {
        let Guards { state, nonce, verifier } = guards;
        let verifier = PkceCodeVerifier::new(verifier.to_string());
        let client = CoreClient::new(
            self.client_id.clone(),
            self.issuer.clone(),
            CoreJsonWebKeySet::default(),
        )
        .set_auth_uri(metadata.authorization_endpoint().clone())
        .set_redirect_uri(self.redirect.clone());
        // The minute that the check of the token allows too. It makes `auth_time` required; `prompt=login` makes it new.
        let age = if fresh { token::SKEW_SECONDS } else { SIGNED_IN_SECONDS_MAX };
        let flow = CoreAuthenticationFlow::AuthorizationCode;
        let mut request = client
            .authorize_url(flow, || CsrfToken::new(state), || Nonce::new(nonce))
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier))
            .set_max_age(Duration::from_secs(age))
            .add_scopes(self.setup.scopes.iter().cloned().map(Scope::new))
            .add_extra_param("claims", CLAIMS);
        for value in &self.setup.acr_values {
            request =
                request.add_auth_context_value(AuthenticationContextClass::new(value.clone()));
        }
        if fresh {
            request = request.add_prompt(CoreAuthPrompt::Login);
        }
        request.url().0
    }

    /// The ID token for a code.
    fn redeem(
        &self,
        metadata: &Metadata,
        code: String,
        guards: &Guards,
    ) -> Result<CoreIdToken, Failed> {
        let missing = || Failed::Unreachable("it names no token endpoint".into());
        let mut client = CoreClient::new(
            self.client_id.clone(),
            self.issuer.clone(),
            CoreJsonWebKeySet::default(),
        )
        .set_redirect_uri(self.redirect.clone())
        .set_token_uri(metadata.token_endpoint().ok_or_else(missing)?.clone());
        if wants_secret_in_body(metadata) {
            client = client.set_auth_type(AuthType::RequestBody);
        }
        if let Some(path) = &self.setup.client_secret_file {
            let secret = approvals::secret::read(path);
            let secret = secret.map_err(|error| Failed::Unreachable(error.to_string()))?;
            client = client.set_client_secret(ClientSecret::new(secret.to_string()));
        }
        let verifier = PkceCodeVerifier::new(guards.verifier.to_string());
        let request =
            client.exchange_code(AuthorizationCode::new(code)).set_pkce_verifier(verifier);
        let answer = request.request(&|request: HttpRequest| self.caller.call(request));
        let answer = answer.map_err(|error| match error {
            RequestTokenError::ServerResponse(said) => {
                Failed::Refused(format!("it refused the code: {}", short(said.error().as_ref())))
            }
            RequestTokenError::Request(error) => Failed::Unreachable(error.to_string()),
            // The answer itself is not repeated: it may hold tokens.
            RequestTokenError::Parse(..) | RequestTokenError::Other(_) => {
                Failed::Unreachable("its token endpoint does not answer as a provider does".into())
            }
        })?;
        let none = || Failed::Refused("its answer has no ID token".into());
        answer.id_token().cloned().ok_or_else(none)
    }

    /// The discovery document with its keys: the kept one, if it is young enough.
    fn metadata(&self) -> Result<Arc<Metadata>, Failed> {
        let kept = self.known.lock().expect("no holder of the lock panics").clone();
        if let Some((at, metadata)) = kept
            && at.elapsed() < METADATA_LIFE
        {
            return Ok(metadata);
        }
        let call = |request: HttpRequest| self.caller.call(request);
        let found = Metadata::discover(&self.issuer, &call);
        let found = found.map_err(|error| Failed::Unreachable(self.undiscovered(&error)))?;
        let endpoints = [
            Some(found.authorization_endpoint().url()),
            found.token_endpoint().map(openidconnect::TokenUrl::url),
        ];
        if !endpoints.into_iter().flatten().all(|endpoint| self.caller.allows(endpoint)) {
            let why = "it names an endpoint that is no https:// address";
            return Err(Failed::Unreachable(why.into()));
        }
        Ok(self.keep(found))
    }

    /// Its keys of now. It may have changed them since they were read.
    fn new_keys(&self, metadata: &Metadata) -> Result<CoreJsonWebKeySet, Failed> {
        let call = |request: HttpRequest| self.caller.call(request);
        let keys: CoreJsonWebKeySet = JsonWebKeySet::fetch(metadata.jwks_uri(), &call)
            .map_err(|error| Failed::Unreachable(self.undiscovered(&error)))?;
        self.keep(metadata.clone().set_jwks(keys.clone()));
        Ok(keys)
    }

    fn keep(&self, metadata: Metadata) -> Arc<Metadata> {
        let metadata = Arc::new(metadata);
        let kept = (Instant::now(), Arc::clone(&metadata));
        *self.known.lock().expect("no holder of the lock panics") = Some(kept);
        metadata
    }

    fn undiscovered(
        &self,
        error: &openidconnect::DiscoveryError<super::http::Unanswered>,
    ) -> String {
        use openidconnect::DiscoveryError;
        match error {
            DiscoveryError::Request(error) => error.to_string(),
            DiscoveryError::Response(status, ..) if !status.is_success() => {
                format!("it answers {status}")
            }
            DiscoveryError::Validation(_) => format!(
                "its discovery document names another issuer than {}: write it as the provider does",
                self.issuer()
            ),
            _ => "its discovery document or its keys can't be read".into(),
        }
    }

    /// Calls on a thread of its own: a provider that hangs blocks nobody else, and no stop of the server.
    async fn apart<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> Result<T, Failed> + Send + 'static,
    ) -> Result<T, Failed> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| Failed::Busy)?;
        let (done, answer) = oneshot::channel();
        let thread = std::thread::Builder::new().name("oidc".into());
        let spawned = thread.spawn(move || {
            drop(done.send(call()));
            drop(place);
        });
        spawned.map_err(|error| Failed::Unreachable(error.to_string()))?;
        answer.await.unwrap_or_else(|_| Err(Failed::Unreachable("the conversation ended".into())))
    }
}
