//! A service account of Google's, as its key file has it: who asks for tokens, where, and what the asking is signed with.

use std::sync::Arc;

use ring::signature::RsaKeyPair;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;

/// Where tokens are had, if the file does not say.
const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";

/// A service account.
#[derive(Clone, Debug)]
pub struct ServiceAccount {
    /// Its name, as an address of mail.
    pub email: String,
    /// Its project.
    pub project: Option<String>,
    /// The id of its key.
    pub key_id: Option<String>,
    /// Its key; prints as its public half.
    pub key: Arc<RsaKeyPair>,
    /// Where tokens are had.
    pub token_uri: http::Uri,
}

#[derive(Deserialize)]
struct Written {
    #[serde(rename = "type")]
    kind: Option<String>,
    client_email: Option<String>,
    private_key: Option<String>,
    private_key_id: Option<String>,
    project_id: Option<String>,
    token_uri: Option<String>,
}

impl ServiceAccount {
    /// Reads a key file.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in words that hold nothing of it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wanted = "wanted the JSON of a service account's key";
        let written: Written = serde_json::from_str(text).map_err(|_| format!("it is no JSON object; {wanted}"))?;
        if written.kind.as_deref() != Some("service_account") {
            return Err(format!("its `type` is not `service_account`; {wanted}"));
        }
        let (Some(email), Some(pem)) = (written.client_email, written.private_key) else {
            return Err(format!("it lacks `client_email` or `private_key`; {wanted}"));
        };
        let der =
            PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| "its `private_key` is no PEM of PKCS #8")?;
        let key = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).map_err(|_| "its `private_key` is no RSA key")?;
        let token_uri: http::Uri = written
            .token_uri
            .as_deref()
            .unwrap_or(TOKEN_URI)
            .parse()
            .ok()
            .filter(is_googles)
            .ok_or("its `token_uri` is not of `googleapis.com`")?;
        Ok(Self { email, project: written.project_id, key_id: written.private_key_id, key: Arc::new(key), token_uri })
    }
}

/// Whether what proves who we are may be sent there: to Google over TLS, or to this machine.
fn is_googles(uri: &http::Uri) -> bool {
    let host = uri.host().unwrap_or_default();
    match uri.scheme_str() {
        Some("https") => host == "googleapis.com" || host.ends_with(".googleapis.com"),
        Some("http") => matches!(host, "127.0.0.1" | "[::1]" | "localhost"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PEM: &str = include_str!("../../tests/it/support/service-account.pem");

    #[track_caller]
    fn check(member: &str, value: serde_json::Value, expected: Option<&str>) {
        let mut file = json!({
            "type": "service_account", "client_email": "farthing@p.iam.gserviceaccount.com", "private_key": PEM,
            "private_key_id": "k1", "project_id": "p", "token_uri": "https://oauth2.googleapis.com/token",
        });
        file[member] = value;
        let found = ServiceAccount::parse(&file.to_string()).map(|_| ());
        assert_eq!(found.err().as_deref(), expected, "{member}");
    }

    #[test]
    fn a_key_file_is_read_and_never_quoted() {
        check("project_id", json!(null), None);
        check("token_uri", json!(null), None);
        check("token_uri", json!("http://127.0.0.1:9/token"), None);
        let elsewhere = Some("its `token_uri` is not of `googleapis.com`");
        for uri in
            ["https://googleapis.com.example/token", "http://oauth2.googleapis.com/token", "https://10.0.0.1/", "x"]
        {
            check("token_uri", json!(uri), elsewhere);
        }
        let wanted = "wanted the JSON of a service account's key";
        check("type", json!("authorized_user"), Some(&format!("its `type` is not `service_account`; {wanted}")));
        check("client_email", json!(null), Some(&format!("it lacks `client_email` or `private_key`; {wanted}")));
        check("private_key", json!("secret"), Some("its `private_key` is no PEM of PKCS #8"));
        assert_eq!(ServiceAccount::parse("secret").err(), Some(format!("it is no JSON object; {wanted}")));
    }
}
