//! Where the server is, and who we are to it.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use async_nats::{ConnectOptions, ServerAddr};

use super::REQUEST_TIMEOUT;
use crate::journal::Error;

/// Where the server is, and who we are. Secrets are given as paths of files that hold them.
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
    /// How long a connection or an answer is waited for; [`REQUEST_TIMEOUT`] unless told otherwise.
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
    /// The server list. A password in it would end in process lists and logs: refused.
    pub(super) fn servers(&self) -> Result<Vec<ServerAddr>, Error> {
        self.url.split(',').map(|one| server(one.trim())).collect()
    }

    /// Reads the files.
    pub(super) async fn read(&self) -> Result<ConnectOptions, Error> {
        let mut connect = ConnectOptions::new();
        if let Some(path) = &self.credentials_file {
            connect =
                connect.credentials_file(path).await.map_err(|error| unreadable(path, &error))?;
        }
        match (&self.user, &self.password_file) {
            (Some(user), Some(path)) => {
                connect = connect.user_and_password(user.clone(), secret(path).await?);
            }
            (None, None) => {}
            (Some(_), None) | (None, Some(_)) => {
                return Err(Error::Halt("a NATS user and its password file go together".into()));
            }
        }
        if let Some(path) = &self.token_file {
            connect = connect.token(secret(path).await?);
        }
        if let Some(path) = &self.tls_ca_file {
            connect = connect.add_root_certificates(path.clone()).require_tls(true);
        }
        Ok(connect)
    }
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
    let text = tokio::fs::read_to_string(path).await.map_err(|error| unreadable(path, &error))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
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
    fn credentials_stay_out_of_addresses() {
        assert!(servers("nats://a:4222, nats://b:4222").is_ok());
        assert!(matches!(servers("nats://user:pass@a:4222"), Err(Error::Halt(_))));
        assert!(matches!(servers("nats://token@a:4222"), Err(Error::Halt(_))));
    }
}
