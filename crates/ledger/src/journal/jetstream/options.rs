//! Address of the server, and our credentials there.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_nats::{Auth, AuthError, ConnectOptions, ServerAddr};
use zeroize::Zeroizing;

use super::REQUEST_TIMEOUT;
use crate::journal::Error;

/// Signed only to check that the files can be used.
const NONCE_OF_NOBODY: &[u8] = b"";

/// Address of the server, and our credentials there. Secrets are given as paths of files.
#[derive(Clone, Debug)]
pub struct Options {
    /// `nats://host:port` or `tls://host:port`; several servers of one cluster separated by commas.
    pub url: String,
    /// A NATS `.creds` file (JWT and nkey seed).
    pub credentials_file: Option<PathBuf>,
    /// User name, together with `password_file`.
    pub user: Option<String>,
    /// File whose text, without the line end, is the password of `user`.
    pub password_file: Option<PathBuf>,
    /// File whose text, without the line end, is the token.
    pub token_file: Option<PathBuf>,
    /// PEM file with the certificate authority of the server; makes TLS required.
    pub tls_ca_file: Option<PathBuf>,
    /// Longest wait for a connection or an answer. The default is [`REQUEST_TIMEOUT`].
    pub request_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            url: String::new(),
            credentials_file: None,
            user: None,
            password_file: None,
            token_file: None,
            tls_ca_file: None,
            request_timeout: REQUEST_TIMEOUT,
        }
    }
}

impl Options {
    /// The list of servers. A password in it is refused, because it would appear in process lists and logs.
    pub(super) fn servers(&self) -> Result<Vec<ServerAddr>, Error> {
        self.url.split(',').map(|one| server(one.trim())).collect()
    }

    /// Reads the options for a connection. The files are read now, so that mistakes are reported at once, and
    /// again at each connect: a password that was changed at the broker and in its file needs no restart.
    pub(super) async fn read(&self) -> Result<ConnectOptions, Error> {
        if self.user.is_some() != self.password_file.is_some() {
            return Err(Error::Halt("a NATS user and its password file go together".into()));
        }
        self.credentials(NONCE_OF_NOBODY).await?;
        let options = Arc::new(self.clone());
        let mut connect = ConnectOptions::with_auth_callback(move |nonce| {
            let options = Arc::clone(&options);
            async move { options.credentials(&nonce).await.map_err(AuthError::new) }
        });
        if let Some(path) = &self.tls_ca_file {
            connect = connect.add_root_certificates(path.clone()).require_tls(true);
        }
        Ok(connect)
    }

    /// Our credentials, from the files as they are now. `nonce`: the bytes that the server wants signed.
    async fn credentials(&self, nonce: &[u8]) -> Result<Auth, Error> {
        let mut auth = Auth::new();
        if let Some(path) = &self.credentials_file {
            let text = Zeroizing::new(read(path).await?);
            let (jwt, pair) = read_credentials(&text).ok_or_else(|| {
                Error::Halt(format!(
                    "{} is not a NATS credentials file: it has a JWT and the seed of a user's nkey",
                    path.display()
                ))
            })?;
            let signature = pair.sign(nonce).map_err(|error| Error::Halt(error.to_string()))?;
            (auth.jwt, auth.signature) = (Some(jwt), Some(signature));
        }
        if let (Some(user), Some(path)) = (&self.user, &self.password_file) {
            (auth.username, auth.password) = (Some(user.clone()), Some(secret(path).await?));
        }
        if let Some(path) = &self.token_file {
            auth.token = Some(secret(path).await?);
        }
        Ok(auth)
    }
}

/// The user's JWT and key pair of a `.creds` file.
fn read_credentials(text: &str) -> Option<(String, nkeys::KeyPair)> {
    let between = |begin: &str, end: &str| {
        let (_, rest) = text.split_once(begin)?;
        let (_, rest) = rest.split_once('\n')?;
        let (body, _) = rest.split_once(end)?;
        // The line of `end` begins with dashes, which the search leaves at the end.
        Some(body.trim_end_matches('-').trim().to_owned())
    };
    let jwt = between("-----BEGIN NATS USER JWT", "END NATS USER JWT")?;
    let seed = Zeroizing::new(between("-----BEGIN USER NKEY SEED", "END USER NKEY SEED")?);
    Some((jwt, nkeys::KeyPair::from_seed(&seed).ok()?))
}

fn server(text: &str) -> Result<ServerAddr, Error> {
    let address: ServerAddr = text.parse().map_err(|error| {
        Error::Halt(format!("the NATS address cannot be read ({error}): nats://host:port"))
    })?;
    if address.has_user_pass() || address.username().is_some() {
        return Err(Error::Halt(
            "the NATS address holds credentials: give them as files instead".into(),
        ));
    }
    Ok(address)
}

async fn secret(path: &Path) -> Result<String, Error> {
    Ok(read(path).await?.trim_end_matches(['\r', '\n']).to_owned())
}

async fn read(path: &Path) -> Result<String, Error> {
    tokio::fs::read_to_string(path).await.map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    Error::Halt(format!("cannot read {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(url: &str) -> Result<Vec<ServerAddr>, Error> {
        Options { url: url.into(), ..Options::default() }.servers()
    }

    #[test]
    fn credentials_files_are_read() {
        let pair = nkeys::KeyPair::new_user();
        let seed = pair.seed().unwrap();
        let file = format!(
            "-----BEGIN NATS USER JWT-----\neyJ0.e30.c2ln\n------END NATS USER JWT------\n\n\
             ************************* IMPORTANT *************************\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        );
        for text in [file.clone(), file.replace('\n', "\r\n")] {
            let (jwt, read) = read_credentials(&text).unwrap();
            assert_eq!((jwt.as_str(), read.public_key()), ("eyJ0.e30.c2ln", pair.public_key()));
        }
        assert!(read_credentials("").is_none());
        assert!(read_credentials(&file.replace(&seed, "SUAX")).is_none());
    }

    #[tokio::test]
    async fn credentials_are_those_of_the_files_now() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        let options = Options {
            user: Some("countersign".into()),
            password_file: Some(path.clone()),
            ..Options::default()
        };
        assert!(matches!(options.read().await, Err(Error::Halt(_))), "told at once");
        for password in ["old", "new"] {
            std::fs::write(&path, format!("{password}\n")).unwrap();
            let auth = options.credentials(b"nonce").await.unwrap();
            assert_eq!(auth.password.as_deref(), Some(password));
        }
        let alone = Options { user: Some("x".into()), ..Options::default() };
        assert!(alone.read().await.is_err());
    }

    #[test]
    fn credentials_stay_out_of_addresses() {
        assert!(servers("nats://a:4222, nats://b:4222").is_ok());
        assert!(matches!(servers("nats://user:pass@a:4222"), Err(Error::Halt(_))));
        assert!(matches!(servers("nats://token@a:4222"), Err(Error::Halt(_))));
    }
}
