//! TLS for both doors: certificates from files, read again while the process runs, and the handshake.
//!
//! A file that cannot be used is a [`Problem`] that names it; whoever reads them keeps what was good before.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::opening::Protocol;
use crate::config::TlsFiles;
use crate::dialect::Dialect;
use crate::limits::{HEAD_BYTES_MAX, TLS_FILE_BYTES_MAX, TLS_HANDSHAKE_TIMEOUT};
use crate::problem::Problem;
use crate::wire::errors::{ApiError, Code};

/// What both doors serve TLS with, from one reading of the files.
pub struct Certificates {
    agents: Arc<ServerConfig>,
    operators: Arc<ServerConfig>,
}

/// What one door serves TLS with now.
pub struct Tls {
    config: ArcSwap<ServerConfig>,
}

/// What TLS is served with on both doors.
pub struct Doors {
    /// Agents show a certificate where that is configured.
    pub agents: Arc<Tls>,
    /// Operators never do: probes and scrapers of the platform have none.
    pub operators: Arc<Tls>,
}

impl Doors {
    /// Doors that begin with these certificates.
    pub fn new(Certificates { agents, operators }: Certificates) -> Self {
        let door = |config| Arc::new(Tls { config: ArcSwap::new(config) });
        Self { agents: door(agents), operators: door(operators) }
    }

    /// Handshakes from now on use these certificates; connections that are up stay.
    pub fn replace(&self, Certificates { agents, operators }: Certificates) {
        self.agents.config.store(agents);
        self.operators.config.store(operators);
    }
}

/// What a client reads that speaks HTTP where TLS is served.
const PLAIN: &str = "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\n";

/// Whether a connection opens with a method of HTTP instead of a handshake. Waits for its first byte.
pub async fn speaks_plain_http(stream: &TcpStream) -> bool {
    let mut first = [0];
    let peeked = tokio::time::timeout(TLS_HANDSHAKE_TIMEOUT, stream.peek(&mut first)).await;
    matches!(peeked, Ok(Ok(1))) && first[0].is_ascii_uppercase()
}

/// Tells such a client so, in words that it can read.
///
/// # Errors
///
/// Always: there is nothing to serve.
pub async fn refuse_plain_http<T>(mut stream: TcpStream) -> io::Result<T> {
    let error = ApiError::new(Code::InvalidRequest, "this port speaks TLS; wanted a URL that begins with `https://`");
    let body = error.body(Dialect::Chat, None);
    let answer = format!("{PLAIN}content-length: {}\r\n\r\n{body}", body.len());
    let told = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await?;
        // Closing on what it still sends would take the answer from it.
        tokio::io::copy(&mut (&mut stream).take(HEAD_BYTES_MAX as u64), &mut tokio::io::sink()).await
    };
    drop(tokio::time::timeout(TLS_HANDSHAKE_TIMEOUT, told).await);
    Err(io::ErrorKind::InvalidData.into())
}

impl Tls {
    /// Agrees on TLS and on what is spoken inside.
    ///
    /// # Errors
    ///
    /// The client's doing: no agreement, no certificate that counts, or too slow.
    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<(TlsStream<TcpStream>, Protocol)> {
        let handshake = TlsAcceptor::from(self.config.load_full()).accept(stream);
        let stream = tokio::time::timeout(TLS_HANDSHAKE_TIMEOUT, handshake).await??;
        let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok((stream, if is_h2 { Protocol::Http2 } else { Protocol::Http1 }))
    }
}

/// Reads the files.
///
/// # Errors
///
/// Everything that is wrong with them, each with the file's name.
pub fn read(files: &TlsFiles) -> Result<Certificates, Vec<Problem>> {
    let chain = certificates(&files.cert);
    let key = private_key(&files.key);
    let client_ca = files.client_ca.as_deref().map(|file| roots(file).map(|roots| (file, roots))).transpose();
    let (chain, key, client_ca) = match (chain, key, client_ca) {
        (Ok(chain), Ok(key), Ok(client_ca)) => (chain, key, client_ca),
        (chain, key, client_ca) => {
            return Err([chain.err(), key.err(), client_ca.err()].into_iter().flatten().collect());
        }
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = || {
        ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("ring supports the default versions of TLS")
    };
    let finish = |builder: rustls::ConfigBuilder<ServerConfig, rustls::server::WantsServerCert>| {
        let config = builder.with_single_cert(chain.clone(), key.clone_key());
        let mut config = config.map_err(|error| vec![mismatch(files, &error)])?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok::<_, Vec<Problem>>(Arc::new(config))
    };
    let operators = finish(builder().with_no_client_auth())?;
    let agents = match client_ca {
        None => Arc::clone(&operators),
        Some((file, roots)) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build();
            let no_root = |_| vec![about(file, "it holds no certificate that can sign others")];
            finish(builder().with_client_cert_verifier(verifier.map_err(no_root)?))?
        }
    };
    Ok(Certificates { agents, operators })
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let text = text(file)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match certificates {
        Err(_) => Err(about(file, "it is not PEM")),
        Ok(certificates) if certificates.is_empty() => {
            Err(about(file, "it holds no certificate; wanted PEM with `-----BEGIN CERTIFICATE-----`"))
        }
        Ok(certificates) => Ok(certificates),
    }
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, Problem> {
    use rustls::pki_types::pem::Error;
    PrivateKeyDer::from_pem_slice(&text(file)?).map_err(|error| match error {
        Error::NoItemsFound => about(
            file,
            "it holds no private key that can be used; wanted PEM with `-----BEGIN PRIVATE KEY-----`, not encrypted",
        ),
        _ => about(file, "it is not PEM"),
    })
}

fn roots(file: &Path) -> Result<RootCertStore, Problem> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|_| about(file, "it holds a certificate that cannot be read"))?;
    }
    Ok(roots)
}

/// The error's own words are about DER and signatures; what to mend is one of these.
fn mismatch(files: &TlsFiles, error: &rustls::Error) -> Problem {
    match error {
        rustls::Error::InconsistentKeys(_) => {
            about(&files.key, &format!("this key is not that of the certificate in `{}`", files.cert.display()))
        }
        rustls::Error::InvalidCertificate(_) => about(&files.cert, "its first certificate cannot be read"),
        _ => {
            about(&files.key, "this kind of private key is not supported; wanted RSA, ECDSA P-256 or P-384, or Ed25519")
        }
    }
}

fn text(file: &Path) -> Result<Vec<u8>, Problem> {
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => about(file, "cannot read it: there is no such file"),
        io::ErrorKind::PermissionDenied => about(file, "cannot read it: permission denied"),
        _ => about(file, &format!("cannot read it: {}", error.to_string().to_lowercase())),
    };
    let metadata = fs::metadata(file).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(about(file, "it is not a file"));
    }
    if metadata.len() > TLS_FILE_BYTES_MAX {
        return Err(about(file, &format!("it is larger than {TLS_FILE_BYTES_MAX} bytes; wanted PEM")));
    }
    fs::read(file).map_err(unreadable)
}

fn about(file: &Path, message: &str) -> Problem {
    Problem { file: file.display().to_string(), line: 0, column: 0, message: message.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_too_large_is_not_read() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("cert.pem");
        let told = |bytes| {
            fs::File::create(&file).and_then(|file| file.set_len(bytes)).expect("it writes");
            certificates(&file).expect_err("it holds nothing").message
        };
        assert_eq!(told(TLS_FILE_BYTES_MAX + 1), "it is larger than 4194304 bytes; wanted PEM");
        assert_ne!(told(TLS_FILE_BYTES_MAX), "it is larger than 4194304 bytes; wanted PEM");
    }
}
