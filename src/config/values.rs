//! Single values from text: durations, sizes, percentages, switches, addresses, URLs, names.
//!
//! Each function takes what stands in the file and returns the value, or the words that follow
//! `wanted` in a message. Units are always written, so that `5` never means minutes to one reader
//! and milliseconds to another.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use globset::GlobMatcher;

use crate::ids::{ModelId, ProviderId};
use crate::limits::NAME_BYTES_MAX;
use crate::policy;

use super::Mode;

/// What was wanted, for the end of a message.
pub type Wanted = String;

/// Most requests or tokens that a limit may state.
pub const LIMIT_MAX: u64 = 1_000_000_000_000;
/// Longest duration that is accepted anywhere.
const DURATION_MAX: Duration = Duration::from_secs(24 * 3600);
/// Whole and fraction of a percentage are counted in millionths of the whole.
const PPM_PER_PERCENT: u32 = 10_000;

/// `250ms`, `5s`, `15m` or `1h`, at most 24 hours.
pub(super) fn duration(text: &str) -> Result<Duration, Wanted> {
    let wanted = || "a duration such as `250ms`, `5s`, `15m` or `1h`, at most 24 hours".to_owned();
    let (digits, unit) = split_number(text);
    let number: u64 = digits.parse().map_err(|_| wanted())?;
    let milliseconds = match unit {
        "ms" => Some(number),
        "s" => number.checked_mul(1_000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        _ => None,
    };
    milliseconds.map(Duration::from_millis).filter(|duration| *duration <= DURATION_MAX).ok_or_else(wanted)
}

/// Like [`duration`], and more than nothing.
pub(super) fn timeout(text: &str) -> Result<Duration, Wanted> {
    match duration(text)? {
        Duration::ZERO => Err("more than zero, such as `5s`".to_owned()),
        duration => Ok(duration),
    }
}

/// `64MiB`, `1GiB`, `512KiB`, or plain bytes; more than nothing.
pub(super) fn size(text: &str) -> Result<usize, Wanted> {
    let wanted = || "a size such as `512KiB`, `64MiB`, `1GiB` or a number of bytes, more than zero".to_owned();
    let (digits, unit) = split_number(text);
    let number: usize = digits.parse().map_err(|_| wanted())?;
    let shift = match unit {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return Err(wanted()),
    };
    number.checked_mul(1 << shift).filter(|bytes| *bytes > 0).ok_or_else(wanted)
}

/// A whole number within a range.
pub(super) fn whole<N>(range: RangeInclusive<N>) -> impl Fn(&str) -> Result<N, Wanted>
where
    N: std::str::FromStr + PartialOrd + std::fmt::Display,
{
    move |text| {
        let wanted = || format!("a whole number from {} to {}", range.start(), range.end());
        text.parse().ok().filter(|number| range.contains(number)).ok_or_else(wanted)
    }
}

/// As [`percent`], up to the whole.
pub(super) fn share(text: &str) -> Result<u32, Wanted> {
    let whole = || (text == "100%").then_some(100 * PPM_PER_PERCENT);
    percent(text).or_else(|_| whole().ok_or_else(|| "a percentage up to `100%`, such as `20%`".to_owned()))
}

/// `15%` or `12.5%` in millionths; below 100 %, since a free model is said in the price book.
pub(super) fn percent(text: &str) -> Result<u32, Wanted> {
    let parse = || {
        let (whole, fraction) = text.strip_suffix('%').map(|number| number.split_once('.').unwrap_or((number, "0")))?;
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(fraction) || fraction.len() > 4 {
            return None;
        }
        let whole: u32 = whole.parse().ok().filter(|whole| *whole < 100)?;
        Some(whole * PPM_PER_PERCENT + format!("{fraction:0<4}").parse::<u32>().ok()?)
    };
    parse().ok_or_else(|| "a percentage below `100%`, such as `15%` or `12.5%`".to_owned())
}

/// `on` and `true`, `off` and `false`.
pub(super) fn switch(text: &str) -> Result<bool, Wanted> {
    match text.to_ascii_lowercase().as_str() {
        "on" | "true" => Ok(true),
        "off" | "false" => Ok(false),
        _ => Err("`on` or `off`".to_owned()),
    }
}

/// One of a few words.
pub(super) fn word<T: Copy>(choices: &[(&str, T)], text: &str) -> Result<T, Wanted> {
    choices.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(|| {
        let words: Vec<_> = choices.iter().map(|(word, _)| format!("`{word}`")).collect();
        words.join(" or ")
    })
}

/// `enforce` or `observe`.
pub fn mode(text: &str) -> Result<Mode, Wanted> {
    word(&[("enforce", Mode::Enforce), ("observe", Mode::Observe)], text)
}

/// `127.0.0.1:4100`, `[::1]:4100` or `localhost:4100`; port 0 lets the system choose.
pub(super) fn address(text: &str) -> Result<SocketAddr, Wanted> {
    let local = text.strip_prefix("localhost:").and_then(|port| port.parse().ok());
    if let Some(port) = local {
        return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    }
    text.parse().map_err(|_| {
        let bare = text.trim_matches(['[', ']']).parse().is_ok_and(|_: std::net::IpAddr| true) || text == "localhost";
        let what = if bare { "a port too" } else { "an IP address and a port" };
        format!("{what}, such as `127.0.0.1:4100` or `[::1]:4100`")
    })
}

/// A provider's address without a trailing slash: http or https, no credentials, query or fragment.
pub(super) fn base_url(text: &str) -> Result<http::Uri, Wanted> {
    let example = "such as `https://api.openai.com/v1`";
    if text.contains(['?', '#']) {
        return Err(format!("a URL without query and fragment, {example}"));
    }
    let text = text.trim_end_matches('/');
    let url: http::Uri = text.parse().map_err(|_| format!("an `https://` or `http://` URL, {example}"))?;
    if !matches!(url.scheme_str(), Some("https" | "http")) || url.host().is_none_or(str::is_empty) {
        return Err(format!("an `https://` or `http://` URL, {example}"));
    }
    if url.authority().is_some_and(|authority| authority.as_str().ends_with(':')) {
        return Err(format!("a port after the colon, or no colon, {example}"));
    }
    let endpoint = ["/completions", "/responses", "/embeddings", "/messages", "/models"]
        .into_iter()
        .find(|endpoint| url.path().ends_with(endpoint));
    match endpoint {
        Some(endpoint) => Err(format!("the part of the URL that all endpoints share, without `{endpoint}`, {example}")),
        None => Ok(url),
    }
}

/// A part of a preset's base URL: a label of a host name, or a segment of a path, that changes nothing around it.
pub(super) fn url_part(text: &str) -> Result<String, Wanted> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if text.is_empty() || text.len() > 63 || !text.bytes().all(fits) || text.starts_with('-') || text.ends_with('-') {
        return Err("lower-case letters, digits and `-`, such as `us-east-1`".to_owned());
    }
    Ok(text.to_owned())
}

/// A host name without scheme and port, in lower case.
pub(super) fn host(text: &str) -> Result<String, Wanted> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    if text.is_empty() || !text.chars().all(fits) {
        return Err("a host name without scheme and port, such as `gateway.internal`".to_owned());
    }
    Ok(text.to_ascii_lowercase())
}

/// `https://app.example` or `http://localhost:3000` as browsers write it, or `*`.
pub(super) fn origin(text: &str) -> Result<String, Wanted> {
    let wanted =
        || "an origin without a path, such as `https://app.example` or `http://localhost:3000`, or `*`".to_owned();
    let origin = text.to_ascii_lowercase();
    if origin == "*" {
        return Ok(origin);
    }
    let url: http::Uri = origin.parse().map_err(|_| wanted())?;
    let (scheme, authority) = url.scheme_str().zip(url.authority()).ok_or_else(wanted)?;
    let usual = matches!((scheme, authority.port_u16()), ("https", Some(443)) | ("http", Some(80)));
    if origin != format!("{scheme}://{authority}") || authority.as_str().contains('@') || authority.host().is_empty() {
        return Err(wanted());
    }
    if usual {
        return Err(format!(
            "the origin as browsers write it, without the usual port: `{scheme}://{}`",
            authority.host()
        ));
    }
    Ok(origin)
}

/// A name of a provider row or vendor.
pub(super) fn provider_name(text: &str) -> Result<ProviderId, Wanted> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-';
    if text.is_empty() || text.len() > NAME_BYTES_MAX || !text.bytes().all(fits) {
        return Err("lower-case letters, digits, `_` and `-`".to_owned());
    }
    Ok(ProviderId::from(text))
}

/// A name of a team, key, project or pipeline.
pub fn name(text: &str) -> Result<&str, Wanted> {
    if text.is_empty() || text.len() > NAME_BYTES_MAX || text.trim() != text || text.contains(char::is_control) {
        return Err(format!("a name of 1 to {NAME_BYTES_MAX} bytes without control characters or surrounding space"));
    }
    Ok(text)
}

/// A model as its provider spells it.
pub(super) fn model(text: &str) -> Result<ModelId, Wanted> {
    name(text).map(ModelId::from)
}

/// A pattern in which `*` stands for anything, slashes included.
pub fn pattern(text: &str) -> Result<GlobMatcher, Wanted> {
    if text.is_empty() {
        return Err("a pattern such as `gpt-*`".to_owned());
    }
    policy::pattern(text).map_err(|why| format!("a pattern such as `gpt-*` ({why})"))
}

/// 64 lower-case hex digits.
pub(super) fn sha256(text: &str) -> Option<[u8; 32]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let bytes = text.as_bytes();
    let mut hash = [0; 32];
    if bytes.len() != 2 * hash.len() {
        return None;
    }
    for (byte, pair) in hash.iter_mut().zip(bytes.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(hash)
}

fn split_number(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}
