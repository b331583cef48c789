//! Presets: what is known of providers, as data (`presets.yaml`), and the address that one has for a row.
//!
//! A preset fills what a row leaves out. What a row must say itself (a region, a resource) stands in the preset's base
//! URL as `{region}`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

use super::access::{AfterCut, AuthStyle};
use super::checked::Metering;
use crate::dialect::Dialect;

/// Keys of a row that may stand in a preset's base URL.
pub const PARTS: [&str; 4] = ["region", "resource", "project", "location"];

/// What is known of one provider.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preset {
    /// The vendor by which the price book knows it, where that is not its name.
    vendor: Option<String>,
    protocol: String,
    base_url: String,
    global: Option<String>,
    auth: String,
    /// The environment variable in which its key is looked for; `None`: it wants none.
    pub key_env: Option<String>,
    /// The service that calls are signed for, where it takes AWS's signatures.
    pub service: Option<String>,
    speaks: Vec<String>,
    /// The patterns of a row that has none.
    #[serde(default)]
    pub models: Vec<String>,
    /// Where its models are listed, behind the base URL.
    pub lists: Option<String>,
    after_cut: String,
    metering: Option<String>,
    /// Where that is documented.
    pub source: String,
}

static PRESETS: LazyLock<BTreeMap<String, Preset>> =
    LazyLock::new(|| serde_saphyr::from_str(include_str!("presets.yaml")).expect("a test reads it"));

/// All of them, by name.
pub fn all() -> impl Iterator<Item = (&'static str, &'static Preset)> {
    PRESETS.iter().map(|(name, preset)| (name.as_str(), preset))
}

/// The one of that name, and its name for good.
pub fn named(name: &str) -> Option<(&'static str, &'static Preset)> {
    PRESETS.get_key_value(name).map(|(name, preset)| (name.as_str(), preset))
}

impl Preset {
    /// The vendor by which the price book knows the preset of that name.
    pub fn vendor<'a>(&'a self, name: &'a str) -> &'a str {
        self.vendor.as_deref().unwrap_or(name)
    }

    /// The dialect of its protocol.
    pub fn dialect(&self) -> Dialect {
        if self.protocol == "anthropic" { Dialect::Messages } else { Dialect::Chat }
    }

    /// The dialects that it is called in.
    pub fn speaks(&self) -> Vec<Dialect> {
        self.speaks.iter().filter_map(|word| dialect(word)).collect()
    }

    /// How its key is shown.
    pub fn auth(&self) -> AuthStyle {
        AuthStyle::parse(&self.auth).unwrap_or(AuthStyle::Bearer)
    }

    /// What it bills of a stream that its caller left.
    pub fn after_cut(&self) -> AfterCut {
        AfterCut::parse(&self.after_cut).unwrap_or_default()
    }

    /// How the usage of its streams is learned.
    pub fn metering(&self) -> Metering {
        if self.metering.as_deref() == Some("reported") { Metering::Reported } else { Metering::Inject }
    }

    /// Its base URL as it stands in the data, for a row in that `location`.
    pub fn template(&self, location: Option<&str>) -> &str {
        self.global.as_deref().filter(|_| location == Some("global")).unwrap_or(&self.base_url)
    }

    /// Whether its base URL has such a part, such as `region`.
    pub fn has(&self, part: &str) -> bool {
        [Some(&self.base_url), self.global.as_ref()]
            .into_iter()
            .flatten()
            .any(|url| url.contains(&format!("{{{part}}}")))
    }

    /// Its base URL with the parts that `part` gives.
    ///
    /// # Errors
    ///
    /// The parts that are missing.
    pub fn base_url<'a>(&self, part: impl Fn(&str) -> Option<&'a str>) -> Result<String, Vec<&'static str>> {
        let mut url = self.template(part("location")).to_owned();
        let mut missing = Vec::new();
        for name in PARTS {
            let place = format!("{{{name}}}");
            if url.contains(&place) {
                match part(name) {
                    Some(value) => url = url.replace(&place, value),
                    None => missing.push(name),
                }
            }
        }
        if missing.is_empty() { Ok(url) } else { Err(missing) }
    }
}

/// The dialect that `speaks` calls by that word.
pub fn dialect(word: &str) -> Option<Dialect> {
    match word {
        "chat" => Some(Dialect::Chat),
        "responses" => Some(Dialect::Responses),
        "messages" => Some(Dialect::Messages),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::values;

    #[test]
    fn presets_are_good() {
        for (name, preset) in all() {
            assert!(values::provider_name(name).is_ok(), "{name}");
            assert!(matches!(preset.protocol.as_str(), "openai" | "anthropic"), "{name}");
            assert!(AuthStyle::parse(&preset.auth).is_some(), "{name}: {}", preset.auth);
            assert!(AfterCut::parse(&preset.after_cut).is_some(), "{name}: {}", preset.after_cut);
            assert!(matches!(preset.metering.as_deref(), None | Some("reported")), "{name}");
            assert_eq!(preset.speaks().len(), preset.speaks.len(), "{name}");
            assert!(preset.speaks().contains(&preset.dialect()), "{name} speaks its protocol");
            assert!(preset.source.starts_with("https://"), "{name}");
            assert!(preset.lists.as_ref().is_none_or(|path| path.starts_with('/')), "{name}");
            for location in ["europe-west1", "global"] {
                let url = preset
                    .base_url(|part| Some(if part == "location" { location } else { "x" }))
                    .expect("all are there");
                assert!(values::base_url(&url).is_ok() && !url.contains(['{', '}']), "{name}: {url}");
            }
            for pattern in &preset.models {
                assert!(values::pattern(pattern).is_ok(), "{name}: {pattern}");
            }
        }
    }

    #[test]
    fn parts_of_a_base_url_are_put_in_or_named() {
        let (_, vertex) = named("vertex").expect("a preset");
        let location = |location| move |part: &str| if part == "location" { Some(location) } else { Some("p") };
        assert_eq!(
            vertex.base_url(location("us-east5")).as_deref(),
            Ok("https://us-east5-aiplatform.googleapis.com/v1/projects/p/locations/us-east5/endpoints/openapi")
        );
        assert_eq!(
            vertex.base_url(location("global")).as_deref(),
            Ok("https://aiplatform.googleapis.com/v1/projects/p/locations/global/endpoints/openapi")
        );
        assert_eq!(vertex.base_url(|_| None), Err(vec!["project", "location"]));
        assert!(vertex.has("location") && !vertex.has("region"));
    }
}
