//! TLS to receivers that are not called by `net`: which authorities count.

use crate::certificates;
use std::{path::Path, sync::Arc};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};

/// TLS with the certificate authorities of a PEM file, or the public ones; `protocols` are offered by ALPN.
pub fn tls(ca: Option<&Path>, protocols: &[&[u8]]) -> Result<Arc<ClientConfig>, String> {
    let roots = match ca {
        Some(path) => authorities(path)?,
        None => RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() },
    };
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    Ok(Arc::new(config))
}

fn authorities(path: &Path) -> Result<RootCertStore, String> {
    let wrong = |why: String| format!("{}: {why}", path.display());
    let mut roots = RootCertStore::empty();
    for found in certificates::of(path).map_err(wrong)? {
        roots.add(found).map_err(|error| wrong(error.to_string()))?;
    }
    Ok(roots)
}
