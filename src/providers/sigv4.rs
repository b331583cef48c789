//! AWS's Signature Version 4: what a request has to carry so that AWS believes who sends it. Pure: time is an argument.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>. Whole bodies only, and paths
//! and queries as we make them: plain ASCII that is encoded once already.

use ring::hmac;
use sha2::{Digest, Sha256};

use crate::config::AwsKeys;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// What is signed.
pub struct Signed<'a> {
    /// Its method.
    pub method: &'a str,
    /// Its path.
    pub path: &'a str,
    /// Its query, without the question mark; empty if there is none.
    pub query: &'a str,
    /// The headers that are signed, by name in lower case and in the order of their names; `host` and `x-amz-date` among them.
    pub headers: &'a [(&'a str, &'a str)],
    /// The SHA-256 of its body in hex.
    pub body_sha256: &'a str,
}

/// The value of `authorization`; `time` is that of `x-amz-date`, such as `20150830T123600Z`.
pub fn authorization(keys: &AwsKeys, request: &Signed<'_>, time: &str) -> String {
    let date = time.get(..8).unwrap_or(time);
    let scope = format!("{date}/{}/{}/aws4_request", keys.region, keys.service);
    let names = request.headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let canonical = hex(&Sha256::digest(canonical(request, &names)));
    let to_sign = format!("{ALGORITHM}\n{time}\n{scope}\n{canonical}");
    let signature = hex(mac(&signing_key(keys, date), to_sign.as_bytes()).as_ref());
    let id = keys.access_key_id.reveal();
    format!("{ALGORITHM} Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}")
}

/// The SHA-256 of a body in pieces, in hex.
pub fn sha256<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = Sha256::new();
    pieces.into_iter().for_each(|piece| hash.update(piece));
    hex(&hash.finalize())
}

/// The request as AWS writes it down before it is hashed.
fn canonical(request: &Signed<'_>, names: &str) -> String {
    let mut query: Vec<_> = request.query.split('&').filter(|pair| !pair.is_empty()).collect();
    query.sort_unstable();
    let headers: String = request
        .headers
        .iter()
        .map(|(name, value)| format!("{name}:{}\n", value.split_ascii_whitespace().collect::<Vec<_>>().join(" ")))
        .collect();
    let Signed { method, path, body_sha256, .. } = request;
    format!("{method}\n{}\n{}\n{headers}\n{names}\n{body_sha256}", encoded(path), query.join("&"))
}

/// A path with everything encoded, once more, that is neither unreserved nor a slash.
fn encoded(path: &str) -> String {
    let mut encoded = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => encoded.push(byte.into()),
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

fn signing_key(keys: &AwsKeys, date: &str) -> hmac::Tag {
    let secret = format!("AWS4{}", keys.secret_access_key.reveal());
    let first = mac(&secret, date.as_bytes());
    [keys.region.as_str(), keys.service.as_str(), "aws4_request"]
        .iter()
        .fold(first, |key, word| mac(&key, word.as_bytes()))
}

fn mac(key: &(impl AsRef<[u8]> + ?Sized), text: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()), text)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    fn keys(region: &str, service: &str) -> AwsKeys {
        AwsKeys {
            access_key_id: Secret::new("AKIDEXAMPLE".to_owned()),
            secret_access_key: Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned()),
            session_token: None,
            region: region.to_owned(),
            service: service.to_owned(),
        }
    }

    /// A case of AWS's published test suite (`aws-sig-v4-test-suite`), whose requests go to the root of one host at one time.
    #[track_caller]
    fn check(method: &str, query: &str, more: &[(&str, &str)], body: &str, expected: &str) {
        let time = "20150830T123600Z";
        let mut headers = vec![("host", "example.amazonaws.com"), ("x-amz-date", time)];
        headers.extend(more);
        headers.sort_unstable();
        let body_sha256 = sha256([body.as_bytes()]);
        let request = Signed { method, path: "/", query, headers: &headers, body_sha256: &body_sha256 };
        let found = authorization(&keys("us-east-1", "service"), &request, time);
        let scope = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request";
        assert_eq!(found, format!("{scope}, {expected}"));
    }

    #[test]
    fn requests_are_signed_as_aws_signs_them() {
        // get-vanilla, post-vanilla, get-vanilla-query-order-key-case, post-header-value-case, post-x-www-form-urlencoded
        check(
            "GET",
            "",
            &[],
            "",
            "SignedHeaders=host;x-amz-date, Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        );
        check(
            "POST",
            "",
            &[],
            "",
            "SignedHeaders=host;x-amz-date, Signature=5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
        );
        check(
            "GET",
            "Param2=value2&Param1=value1",
            &[],
            "",
            "SignedHeaders=host;x-amz-date, Signature=b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        );
        check(
            "POST",
            "",
            &[("my-header1", "VALUE1")],
            "",
            "SignedHeaders=host;my-header1;x-amz-date, Signature=cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d",
        );
        let form = [("content-type", "application/x-www-form-urlencoded")];
        check(
            "POST",
            "",
            &form,
            "Param1=value1",
            "SignedHeaders=content-type;host;x-amz-date, Signature=ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
        );
        // get-header-value-trim
        let blanks = [("my-header1", " value1"), ("my-header2", "\"a   b   c\"")];
        check(
            "GET",
            "",
            &blanks,
            "",
            "SignedHeaders=host;my-header1;my-header2;x-amz-date, Signature=acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
        );
        // post-sts-header-before
        let token = [(
            "x-amz-security-token",
            "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==",
        )];
        check(
            "POST",
            "",
            &token,
            "",
            "SignedHeaders=host;x-amz-date;x-amz-security-token, Signature=85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead",
        );
    }

    #[test]
    fn the_key_is_derived_as_aws_shows_it() {
        let key = signing_key(&keys("us-east-1", "iam"), "20120215");
        assert_eq!(hex(key.as_ref()), "f4780e2d9f65fa895f9c67b32ce1baf0b0d8a43505a000a1a9e090d414db404d");
    }

    #[test]
    fn a_path_is_encoded_once_more_but_for_its_slashes() {
        assert_eq!(encoded("/openai/v1/chat/completions"), "/openai/v1/chat/completions");
        assert_eq!(encoded("/model/a%3A0/x~y"), "/model/a%253A0/x~y");
    }
}
