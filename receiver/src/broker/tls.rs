//! Privacy on the way to a broker: whom to trust, and who we are.
//!
//! With `cacertfile=` only the authorities in that file are trusted, without it the system's.

use std::io;
use std::path::Path;

use lapin::tcp::{RustlsConnector, RustlsConnectorConfig};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::address::Tls;

/// What wraps a connection. Its files are read now.
pub(super) fn connector(tls: &Tls) -> io::Result<RustlsConnector> {
    let config = match &tls.authorities {
        None => RustlsConnectorConfig::new_with_native_certs()?,
        Some(path) => {
            RustlsConnectorConfig::default().with_parsable_certificates(certificates(path)?)
        }
    };
    match &tls.identity {
        None => config.connector_with_no_client_auth(),
        Some((certificate, key)) => {
            let pem = PrivateKeyDer::from_pem_file(key);
            let key = pem.map_err(|error| unreadable(key, "private key", &error))?;
            config.connector_with_single_cert(certificates(certificate)?, key)
        }
    }
}

fn certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let all = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match all {
        Ok(all) if all.is_empty() => {
            Err(unreadable(path, "certificate", &pem::Error::NoItemsFound))
        }
        Ok(all) => Ok(all),
        Err(error) => Err(unreadable(path, "certificate", &error)),
    }
}

fn unreadable(path: &Path, what: &str, error: &pem::Error) -> io::Error {
    let reason = match error {
        pem::Error::Io(error) => error.to_string(),
        pem::Error::NoItemsFound => format!("holds no {what} in PEM"),
        other => format!("holds no readable {what} ({other})"),
    };
    io::Error::other(format!("{}: {reason}", path.display()))
}
