//! Thoughts that one vendor sealed, in another dialect's words, so that they come back as they were.
//!
//! A client keeps what it is given and sends it again; we keep nothing. So a seal stands in the field in which the client's
//! dialect has one, behind a mark of ours that says whose it is. Whoever else would have to read it is not sent it.
//! <https://platform.claude.com/docs/en/build-with-claude/extended-thinking>,
//! <https://platform.openai.com/docs/guides/reasoning#encrypted-reasoning-items>,
//! <https://ai.google.dev/gemini-api/docs/thought-signatures>

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::prompt::json::RawStr;
use crate::prompt::view::SEAL_MARK;

use super::ids;
use super::talk::{Reasoning, Sealed, Text};

/// What OpenAI's seals begin with in Messages: behind it stand the item's id, how long its parts are, and its content.
const OPENAI: &str = "fx1.openai.";
/// What Anthropic's signatures begin with in Responses.
const SIGNATURE: &str = "fx1.anthropic.";
/// What Anthropic's redacted thoughts begin with in Responses.
const REDACTED: &str = "fx1.anthropic-redacted.";
/// What Google's signatures begin with, which are a call's each: behind it stand the call's id, as Messages takes it, and
/// the signature.
const GOOGLE: &str = "fx1.google.";
/// What stands in the place of a seal where a thought has none: an empty one would be refused by whoever seals.
pub(super) const UNSEALED: &str = "fx1.none";
/// What all seals begin with.
const MARK: &str = SEAL_MARK;

/// What stands between the parts of a thought where they are one text.
const BREAK: &str = "\n\n";
/// The same, as it is spelt.
pub(super) const BREAK_SPELT: &str = "\\n\\n";

/// The parts of a thought as one text.
pub(super) fn joined<'b>(texts: &[Text<'b>]) -> Vec<Text<'b>> {
    let mut joined = Vec::with_capacity(texts.len() * 2);
    for (at, text) in texts.iter().enumerate() {
        if at > 0 {
            joined.push(Text::Spelt(BREAK_SPELT));
        }
        joined.push(text.clone());
    }
    joined
}

/// A seal as `signature` or `data` of Messages has it, beside these texts.
pub(super) fn for_messages<'s>(sealed: &'s Sealed<'_>, texts: &[Text<'_>]) -> Cow<'s, str> {
    let bytes: Vec<usize> = texts.iter().map(|text| text.decode().len()).collect();
    for_messages_of(sealed, &bytes)
}

/// A seal as `signature` or `data` of Messages has it, beside a text of parts that are so long in bytes.
pub(super) fn for_messages_of<'s>(sealed: &'s Sealed<'_>, parts: &[usize]) -> Cow<'s, str> {
    match sealed {
        Sealed::Signature(text) | Sealed::Redacted(text) => Cow::Borrowed(text),
        Sealed::OpenAi { id, content } => {
            let mut seal = format!("{OPENAI}{id}.");
            for (at, bytes) in parts.iter().enumerate() {
                let _ = write!(seal, "{}{bytes}", if at > 0 { "-" } else { "" });
            }
            seal.push('.');
            seal.push_str(content);
            Cow::Owned(seal)
        }
        Sealed::Google { call, signature } => Cow::Owned(google(call, signature)),
    }
}

fn google(call: &str, signature: &str) -> String {
    format!("{GOOGLE}{}.{signature}", ids::to_messages(call))
}

fn read_google<'b>(seal: &str) -> Option<Sealed<'b>> {
    let (call, signature) = seal.strip_prefix(GOOGLE)?.split_once('.')?;
    let call = ids::from_messages(call).into_owned();
    Some(Sealed::Google { call: call.into(), signature: signature.to_owned().into() })
}

/// A seal as `encrypted_content` of Responses has it.
pub(super) fn for_responses<'s>(sealed: &'s Sealed<'_>) -> Cow<'s, str> {
    match sealed {
        Sealed::OpenAi { content, .. } => Cow::Borrowed(content),
        Sealed::Signature(text) => Cow::Owned(format!("{SIGNATURE}{text}")),
        Sealed::Redacted(text) => Cow::Owned(format!("{REDACTED}{text}")),
        Sealed::Google { call, signature } => Cow::Owned(google(call, signature)),
    }
}

/// Reads a block of thinking; nothing if its seal is none that can be read. A thought that nobody sealed is one all the same,
/// for those who take it so.
pub(super) fn read_messages<'b>(thinking: RawStr<'b>, seal: RawStr<'b>, is_redacted: bool) -> Option<Reasoning<'b>> {
    let seal = seal.decode();
    if seal == UNSEALED {
        return Some(Reasoning { texts: vec![thinking.into()], sealed: None });
    }
    if let Some(sealed) = read_google(&seal) {
        return Some(Reasoning { texts: Vec::new(), sealed: Some(sealed) });
    }
    let Some(ours) = seal.strip_prefix(OPENAI) else {
        if seal.is_empty() || seal.starts_with(MARK) {
            return None;
        }
        let (texts, sealed) = match is_redacted {
            true => (Vec::new(), Sealed::Redacted(seal)),
            false => (vec![thinking.into()], Sealed::Signature(seal)),
        };
        return Some(Reasoning { texts, sealed: Some(sealed) });
    };
    let mut fields = ours.splitn(3, '.');
    let (id, parts, content) = (fields.next()?, fields.next()?, fields.next()?);
    let texts = parted(&thinking.decode(), parts);
    let sealed = Sealed::OpenAi { id: id.to_owned().into(), content: content.to_owned().into() };
    Some(Reasoning { texts, sealed: Some(sealed) })
}

/// A text in the parts that it was made of; one that somebody has changed is one part.
fn parted<'b>(text: &str, parts: &str) -> Vec<Text<'b>> {
    let plain = |text: &str| Text::Plain(text.to_owned().into());
    let mut texts = Vec::new();
    let mut rest = text;
    for (at, bytes) in parts.split('-').enumerate() {
        let read = || {
            let rest = if at > 0 { rest.strip_prefix(BREAK)? } else { rest };
            rest.split_at_checked(bytes.parse().ok()?)
        };
        let Some((part, behind)) = read() else { break };
        texts.push(plain(part));
        rest = behind;
    }
    match (rest.is_empty(), text.is_empty()) {
        (true, _) => texts,
        (false, true) => Vec::new(),
        (false, false) => vec![plain(text)],
    }
}

/// Reads the seal of an item of Responses, which has this id.
pub(super) fn read_responses<'b>(id: Cow<'b, str>, content: Cow<'b, str>) -> Option<Sealed<'b>> {
    if !content.starts_with(MARK) {
        return (!content.is_empty()).then_some(Sealed::OpenAi { id, content });
    }
    let redacted = content.strip_prefix(REDACTED).map(|text| Sealed::Redacted(text.to_owned().into()));
    let google = || read_google(&content);
    redacted
        .or_else(google)
        .or_else(|| content.strip_prefix(SIGNATURE).map(|text| Sealed::Signature(text.to_owned().into())))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spelt(text: &str) -> String {
        let mut spelt = String::new();
        super::super::write::escape(text, &mut spelt);
        spelt
    }

    fn raw(text: &str) -> RawStr<'_> {
        RawStr { raw: text, escaped: true }
    }

    #[test]
    fn anthropics_seals_come_back_from_responses() {
        for sealed in [Sealed::Signature("Er9/=+".into()), Sealed::Redacted("anthropic-redacted.x".into())] {
            let content = for_responses(&sealed).into_owned();
            assert_eq!(read_responses("rs_1".into(), content.into()), Some(sealed));
        }
        let own = Sealed::OpenAi { id: "rs_1".into(), content: "gAAAA".into() };
        assert_eq!(read_responses("rs_1".into(), "gAAAA".into()), Some(own));
        assert_eq!(read_responses("rs_1".into(), "fx1.somebody.x".into()), None);
        assert_eq!(read_responses("rs_1".into(), "".into()), None);
    }

    #[test]
    fn googles_signatures_come_back_from_both_with_the_call_that_they_belong_to() {
        for call in ["call_1", "functions.f:0", ""] {
            let sealed = Sealed::Google { call: call.into(), signature: "CiQB.0e/+w==".into() };
            let seal = for_messages(&sealed, &[]).into_owned();
            assert_eq!(read_messages(raw(""), raw(&seal), true).unwrap().sealed, Some(sealed.clone()));
            let content = for_responses(&sealed).into_owned();
            assert_eq!(read_responses("rs_1".into(), content.into()), Some(sealed));
        }
    }

    #[test]
    fn a_thought_that_nobody_sealed_has_its_text_alone() {
        let read = read_messages(raw("hm"), raw(UNSEALED), false).unwrap();
        assert_eq!((read.texts[0].decode(), read.sealed), ("hm".into(), None));
    }

    #[test]
    fn a_thought_whose_seal_nobody_can_read_is_left_out() {
        assert!(read_messages(raw("hm"), raw(""), false).is_none());
        assert!(read_messages(raw("hm"), raw("fx1.openai.torn"), false).is_none());
        assert!(read_messages(raw("hm"), raw("fx1.new.x"), true).is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn openais_items_come_back_from_messages(parts in prop::collection::vec("[a-zä\n😀\"-]{1,6}", 0..4), content in "[a-zA-Z0-9_=.-]{1,9}") {
            let sealed = Sealed::OpenAi { id: "rs_0a".into(), content: content.into() };
            let texts: Vec<Text<'_>> = parts.iter().map(|part| Text::Plain(part.as_str().into())).collect();
            let seal = for_messages(&sealed, &texts).into_owned();
            let text: String = joined(&texts).iter().map(|text| text.decode().into_owned()).collect();
            let (text, seal) = (spelt(&text), spelt(&seal));
            let back = read_messages(raw(&text), raw(&seal), parts.is_empty()).unwrap();
            let texts: Vec<_> = back.texts.iter().map(|text| text.decode().into_owned()).collect();
            prop_assert_eq!(texts, parts);
            prop_assert_eq!(back.sealed, Some(sealed));
        }
    }
}
