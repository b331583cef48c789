//! Where a mirror is: the URL of a Postgres, taken apart, and the connection to it, with TLS as `sslmode` says.
//!
//! The words of `sslmode` mean what they mean to libpq (<https://www.postgresql.org/docs/current/libpq-ssl.html>):
//! `prefer` and `require` encrypt without asking who answers, unless `sslrootcert` is given; `verify-ca` asks for a
//! certificate of an authority, `verify-full` for the host's own. The URL is a secret; no message repeats it.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::str::FromStr as _;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_rustls::ConfigBuilderExt as _;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_postgres::{Client, Config};

use super::MirrorError;
use crate::limits::MIRROR_TIMEOUT;

/// A Postgres that can be connected to.
#[derive(Clone)]
pub struct Target {
    config: Config,
    proof: Proof,
    roots: Option<PathBuf>,
    patience: Duration,
}

/// What whoever answers has to prove.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Proof {
    /// Nothing.
    None,
    /// A certificate of an authority.
    Authority,
    /// One that is for the host.
    Host,
}

impl Target {
    /// Whether a text looks like the URL of a Postgres.
    pub fn is_url(text: &str) -> bool {
        ["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme))
    }

    /// Takes a URL apart.
    ///
    /// # Errors
    ///
    /// What was wanted; nothing of the URL but the names of its parameters.
    pub fn parse(url: &str) -> Result<Self, String> {
        let wanted = "wanted a URL such as `postgres://user:password@host:5432/database?sslmode=verify-full`";
        if !Self::is_url(url) {
            return Err(format!("is no URL of a Postgres; {wanted}"));
        }
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut mode, mut roots, mut rest) = (None, None, Vec::new());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("sslmode", word)) => mode = Some(word),
                Some(("sslrootcert", path)) => roots = Some(decoded(path)),
                _ => rest.push(pair),
            }
        }
        let (ssl, mut proof) = match mode {
            Some("disable") => (SslMode::Disable, Proof::None),
            None | Some("prefer" | "allow") => (SslMode::Prefer, Proof::None),
            Some("require") => (SslMode::Require, Proof::None),
            Some("verify-ca") => (SslMode::Require, Proof::Authority),
            Some("verify-full") => (SslMode::Require, Proof::Host),
            Some(_) => {
                return Err(
                    "has an unknown `sslmode`; wanted `disable`, `prefer`, `require`, `verify-ca` or `verify-full`"
                        .to_owned(),
                );
            }
        };
        if mode == Some("require") && roots.is_some() {
            proof = Proof::Authority;
        }
        let rest = if rest.is_empty() { base.to_owned() } else { format!("{base}?{}", rest.join("&")) };
        let mut config = Config::from_str(&rest).map_err(|_| format!("cannot be read; {wanted}"))?;
        if config.get_hosts().is_empty() {
            return Err(format!("names no host; {wanted}"));
        }
        config
            .ssl_mode(ssl)
            .application_name("farthing")
            .connect_timeout(MIRROR_TIMEOUT / 3)
            .tcp_user_timeout(MIRROR_TIMEOUT);
        let roots = roots.filter(|path| path != "system").map(PathBuf::from);
        Ok(Self { config, proof, roots, patience: MIRROR_TIMEOUT })
    }

    /// The same, with another time that it may take for one step before it counts as gone.
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// How long one step may take.
    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// Whether amounts and names would travel to another machine in clear, or to whoever says that it is the host.
    pub fn is_unproven(&self) -> bool {
        let is_local = |host: &Host| match host {
            Host::Tcp(name) => name == "localhost" || name == "::1" || name.starts_with("127."),
            Host::Unix(_) => true,
        };
        self.proof == Proof::None && !self.config.get_hosts().iter().all(is_local)
    }

    /// Connects. The connection lives on a task of the running runtime until its client is dropped.
    pub(super) async fn connect(&self) -> Result<Client, MirrorError> {
        let tls = Tls(Arc::new(self.tls()?));
        let (client, connection) = self.config.connect(tls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    fn tls(&self) -> Result<ClientConfig, MirrorError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = || {
            ClientConfig::builder_with_provider(provider.clone())
                .with_safe_default_protocol_versions()
                .expect("ring supports the default versions of TLS")
        };
        if self.proof == Proof::None {
            let verifier = Arc::new(Lenient { provider: provider.clone(), chain: None });
            return Ok(builder().dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth());
        }
        let Some(file) = &self.roots else {
            // `verify-ca` with the authorities of the web would let anyone in who has a certificate of theirs.
            return Ok(match builder().with_native_roots() {
                Ok(config) => config.with_no_client_auth(),
                Err(_) => builder().with_webpki_roots().with_no_client_auth(),
            });
        };
        let unusable = |why: String| MirrorError::Roots { path: file.clone(), why };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(file).map_err(|error| unusable(error.to_string()))? {
            let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
            roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(unusable("it holds no certificate".to_owned()));
        }
        if self.proof == Proof::Host {
            return Ok(builder().with_root_certificates(roots).with_no_client_auth());
        }
        let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .build()
            .map_err(|error| unusable(error.to_string()))?;
        let verifier = Arc::new(Lenient { provider: provider.clone(), chain: Some(chain) });
        Ok(builder().dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
    }
}

/// Where it is, without what is secret.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = match self.config.get_hosts().first() {
            Some(Host::Tcp(name)) => name.clone(),
            Some(Host::Unix(path)) => path.display().to_string(),
            None => String::new(),
        };
        let port = self.config.get_ports().first().copied().unwrap_or(5432);
        write!(f, "{host}:{port}/{}", self.config.get_dbname().or(self.config.get_user()).unwrap_or_default())
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({self})")
    }
}

/// `%2F` as `/`.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let hex =
            (*first == b'%').then(|| text.get(text.len() - behind.len()..text.len() - behind.len() + 2)).flatten();
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &behind[2..];
            }
            None => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Asks for less than the web does: for a chain to an authority, or for nothing but that whoever answers holds the key of
/// the certificate that it shows.
#[derive(Debug)]
struct Lenient {
    provider: Arc<CryptoProvider>,
    chain: Option<Arc<WebPkiServerVerifier>>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        match chain.verify_server_cert(certificate, between, name, ocsp, now) {
            // Looked at last, once the chain is good.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            result => result,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Makes TLS of a connection.
#[derive(Clone)]
struct Tls(Arc<ClientConfig>);

/// TLS to one host.
struct ToHost {
    config: Arc<ClientConfig>,
    /// `None` of a socket of this machine, where no server agrees on TLS.
    name: Option<ServerName<'static>>,
}

/// A connection with TLS.
struct Secured<S>(tokio_rustls::client::TlsStream<S>);

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> MakeTlsConnect<S> for Tls {
    type Stream = Secured<S>;
    type TlsConnect = ToHost;
    type Error = rustls::pki_types::InvalidDnsNameError;

    fn make_tls_connect(&mut self, host: &str) -> Result<ToHost, Self::Error> {
        let name = if host.is_empty() { None } else { Some(ServerName::try_from(host.to_owned())?) };
        Ok(ToHost { config: self.0.clone(), name })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> TlsConnect<S> for ToHost {
    type Stream = Secured<S>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Secured<S>>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        Box::pin(async move {
            let name = self.name.ok_or_else(|| io::Error::other("a socket has no name to prove"))?;
            tokio_rustls::TlsConnector::from(self.config).connect(name, stream).await.map(Secured)
        })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for Secured<S> {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Secured<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Secured<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, ssl: SslMode, proof: Proof, told: &str, is_unproven: bool) {
        let target = Target::parse(url).expect("it is good");
        assert_eq!((target.config.get_ssl_mode(), target.proof), (ssl, proof), "{url}");
        assert_eq!((target.to_string().as_str(), target.is_unproven()), (told, is_unproven), "{url}");
    }

    #[test]
    fn sslmode_means_what_it_means_to_libpq() {
        check("postgres://u:p@db/x", SslMode::Prefer, Proof::None, "db:5432/x", true);
        check(
            "postgres://u:p@127.0.0.1:6000/x?sslmode=disable",
            SslMode::Disable,
            Proof::None,
            "127.0.0.1:6000/x",
            false,
        );
        check("postgresql://u:p@db/x?sslmode=require", SslMode::Require, Proof::None, "db:5432/x", true);
        let with_roots = "postgres://u:p@db/x?sslmode=require&sslrootcert=%2Fetc%2Fca.pem";
        check(with_roots, SslMode::Require, Proof::Authority, "db:5432/x", false);
        assert_eq!(Target::parse(with_roots).expect("good").roots, Some(PathBuf::from("/etc/ca.pem")));
        check("postgres://u:p@db/x?sslmode=verify-ca", SslMode::Require, Proof::Authority, "db:5432/x", false);
        check("postgres://u:p@db/x?sslmode=verify-full", SslMode::Require, Proof::Host, "db:5432/x", false);
        check("postgres://u@%2Frun%2Fpg/x?sslmode=disable", SslMode::Disable, Proof::None, "/run/pg:5432/x", false);
    }

    #[test]
    fn what_cannot_be_read_is_not_repeated() {
        for url in [
            "hunter2",
            "postgres://u:hunter2@db:port/x",
            "postgres://u:hunter2@db/x?sslmode=hunter2",
            "postgres://u:hunter2@db/x?hunter2=1",
            "postgres://",
            "mysql://u:hunter2@db/x",
        ] {
            let told = Target::parse(url).expect_err("it is not good");
            assert!(told.contains("wanted") && !told.contains("hunter2"), "{url}: {told}");
        }
        let target = Target::parse("postgres://u:hunter2@db/x").expect("it is good");
        assert!(!format!("{target:?} {target}").contains("hunter2"));
    }
}
