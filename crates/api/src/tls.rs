//! TLS: certificate and key from their files. They can be read again.

use crate::{certificates, config::Tls};
use std::{
    io,
    sync::{Arc, RwLock},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    },
};

/// TLS for new connections. `None` for plaintext.
#[derive(Default)]
pub struct Greeting(RwLock<Option<(TlsAcceptor, u64)>>);

impl Greeting {
    /// Reads the files. If they are wrong, the previous ones stay.
    pub fn read(&self, files: &Tls) -> io::Result<()> {
        *self.0.write().expect("no holder of the lock panics") = Some(acceptor(files)?);
        Ok(())
    }

    /// The present TLS settings, for the next connection.
    pub fn now(&self) -> Option<TlsAcceptor> {
        let present = self.0.read().expect("no holder of the lock panics");
        present.as_ref().map(|(acceptor, _)| acceptor.clone())
    }

    /// When the first certificate of the chain in use ends, in seconds since 1970. 0 without TLS.
    pub fn ends(&self) -> u64 {
        self.0.read().expect("no holder of the lock panics").as_ref().map_or(0, |(_, ends)| *ends)
    }
}

/// TLS by these files, and when the first certificate of the chain ends.
fn acceptor(files: &Tls) -> io::Result<(TlsAcceptor, u64)> {
    let unreadable = |what: &str, error: &dyn std::fmt::Display| {
        io::Error::other(format!("tls {what}: {error}"))
    };
    let chain = CertificateDer::pem_file_iter(&files.certificate)
        .map_err(|e| unreadable("certificate", &e))?
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| unreadable("certificate", &e))?;
    let first = chain.iter().filter_map(|certificate| certificates::not_after(certificate)).min();
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|e| unreadable("key", &e))?;
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|e| unreadable("certificate and key", &e))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((TlsAcceptor::from(Arc::new(config)), first.unwrap_or_default()))
}
