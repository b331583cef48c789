//! OpenAI's requests that are no conversations, read in one pass: legacy completions and embeddings.
//! <https://platform.openai.com/docs/api-reference/completions/create>, `…/embeddings/create`

use crate::prompt::json::{JsonError, Scanner, WholeNumber};
use crate::prompt::view::{Named, View};

use super::body::{BodyError, claims, from_one, model, named, stream_options, switch, text};
use super::deciding::Deciding;

/// The keys of each on which something is decided; each may stand only once.
const OF_COMPLETIONS: [&str; 8] =
    ["model", "prompt", "stream", "stream_options", "max_tokens", "n", "best_of", "service_tier"];
const OF_EMBEDDINGS: [&str; 3] = ["model", "input", "service_tier"];

/// Reads the body of a legacy completion.
///
/// # Errors
///
/// [`BodyError`] for what is not JSON, for a deciding key that stands twice, and for a missing or mistyped `model` or
/// `stream`. Everything else is the provider's to judge.
pub fn completion(body: &[u8]) -> Result<View, BodyError> {
    let mut reader = Reader::of(&OF_COMPLETIONS);
    let (mut wanted, mut made) = (WholeNumber::Absent, WholeNumber::Absent);
    reader.read(body, |reader, s, key| {
        match key {
            "prompt" => reader.inputs(s)?,
            "stream" => reader.view.stream = switch(s)?,
            "stream_options" => reader.view.usage_in_stream = stream_options(s)?,
            "max_tokens" => {
                s.peek();
                let start = s.position();
                reader.view.output_limit = from_one(s.whole_number()?);
                reader.view.output_limits_at[1] = Some(start..s.position());
            }
            "n" => wanted = from_one(s.whole_number()?),
            // So many are made and billed for each that is given back.
            "best_of" => made = from_one(s.whole_number()?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    reader.view.answers = answers(wanted, made, reader.view.inputs.max(1));
    Ok(reader.view)
}

/// Reads the body of a request for embeddings.
///
/// # Errors
///
/// As [`completion`], and for a missing or mistyped `input`.
pub fn embeddings(body: &[u8]) -> Result<View, BodyError> {
    let mut reader = Reader::of(&OF_EMBEDDINGS);
    // Vectors are no tokens.
    reader.view.output_limit = WholeNumber::Is(0);
    reader.read(body, |reader, s, key| {
        if key != "input" {
            return Ok(false);
        }
        if !matches!(s.peek(), Some(b'"' | b'[')) {
            return Err(BodyError::Wrong { key: "input", wanted: "a string or an array" });
        }
        reader.inputs(s)?;
        Ok(true)
    })?;
    match reader.deciding.has("input") {
        true => Ok(reader.view),
        false => Err(BodyError::Wrong { key: "input", wanted: "given" }),
    }
}

/// Reads the body of a call that is passed on as it comes: its model, and the files that it names anywhere.
///
/// # Errors
///
/// [`BodyError`] for what is not JSON, for a `model` that stands twice or is mistyped, and for too many files.
pub fn passed(body: &[u8]) -> Result<View, BodyError> {
    let mut view = View::default();
    let mut scanner = Scanner::from_bytes(body)?;
    let mut is_named = false;
    scanner.object::<BodyError>(|s, key| match &*key.decode() {
        "model" if is_named => Err(BodyError::DuplicateKey("model")),
        "model" => {
            is_named = true;
            (view.model, view.model_at) = model(s)?;
            Ok(())
        }
        "metadata" => claims(s, &mut view.claims, &mut None),
        key => files(s, key, &mut view.named),
    })?;
    scanner.end()?;
    Ok(view)
}

/// Takes note of the files that a value names.
fn files(s: &mut Scanner<'_>, key: &str, found: &mut Vec<Named>) -> Result<(), BodyError> {
    match (s.peek(), key) {
        (Some(b'"'), "file_id") => named(s, "file_id", found),
        (Some(b'"'), "input_file_id") => named(s, "input_file_id", found),
        (Some(b'"'), "previous_response_id") => named(s, "previous_response_id", found),
        (Some(b'{'), _) => s.object::<BodyError>(|s, key| files(s, &key.decode(), found)).map(drop),
        (Some(b'['), _) => s.array::<BodyError>(|s| files(s, "", found)).map(drop),
        _ => Ok(s.pass()?),
    }
}

/// For each prompt as many answers as are made of it.
fn answers(wanted: WholeNumber, made: WholeNumber, prompts: u64) -> WholeNumber {
    let each = match (wanted, made) {
        (WholeNumber::Odd, _) | (_, WholeNumber::Odd) => return WholeNumber::Odd,
        (WholeNumber::Is(wanted), WholeNumber::Is(made)) => wanted.max(made),
        (WholeNumber::Is(each), WholeNumber::Absent) | (WholeNumber::Absent, WholeNumber::Is(each)) => each,
        (WholeNumber::Absent, WholeNumber::Absent) => 1,
    };
    WholeNumber::Is(each.saturating_mul(prompts))
}

struct Reader {
    view: View,
    deciding: Deciding,
}

impl Reader {
    fn of(deciding: &'static [&'static str]) -> Self {
        Self { view: View::default(), deciding: Deciding::of(deciding) }
    }

    /// Reads a body; `member` reads the values of the keys that it knows.
    fn read(
        &mut self,
        body: &[u8],
        mut member: impl FnMut(&mut Self, &mut Scanner<'_>, &str) -> Result<bool, BodyError>,
    ) -> Result<(), BodyError> {
        let mut scanner = Scanner::from_bytes(body)?;
        // `metadata.user`, `user`: the first that is there counts.
        let mut claimed_user = [None, None];
        scanner.object::<BodyError>(|s, key| {
            let key = key.decode();
            self.deciding.note(&key)?;
            match &*key {
                "model" => (self.view.model, self.view.model_at) = model(s)?,
                "service_tier" => self.view.service_tier = text(s)?,
                "metadata" => claims(s, &mut self.view.claims, &mut claimed_user[0])?,
                "user" => claimed_user[1] = text(s)?,
                key if member(self, s, key)? => {}
                key => {
                    self.deciding.pass(key)?;
                    s.pass()?;
                }
            }
            Ok(())
        })?;
        scanner.end()?;
        self.view.claims.user = claimed_user.into_iter().flatten().next();
        match self.deciding.has("model") {
            true => Ok(()),
            false => Err(BodyError::Wrong { key: "model", wanted: "given" }),
        }
    }

    /// A text, the numbers of its tokens, or a list of either.
    fn inputs(&mut self, s: &mut Scanner<'_>) -> Result<(), BodyError> {
        if s.peek() != Some(b'[') {
            return Ok(s.pass()?);
        }
        let (mut apart, mut has_tokens) = (0, false);
        let attached = &mut self.view.attachments;
        s.array::<JsonError>(|s| {
            match s.peek() {
                Some(b'"' | b'[') => apart += 1,
                // What else some embed: images and the like, by address or in place.
                Some(b'{') => {
                    apart += 1;
                    attached.references += 1;
                    attached.bytes += s.skip()?.len();
                    return Ok(());
                }
                _ => has_tokens = true,
            }
            s.pass()
        })?;
        self.view.inputs = apart + u64::from(has_tokens);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prompt::view::UsageInStream;

    #[track_caller]
    fn check_inputs(input: &str, inputs: u64) {
        let body = format!(r#"{{"model":"m","input":{input},"prompt":{input}}}"#);
        assert_eq!(embeddings(body.as_bytes()).unwrap().inputs, inputs, "{input}");
        assert_eq!(completion(body.as_bytes()).unwrap().answers, WholeNumber::Is(inputs.max(1)), "{input}");
    }

    #[test]
    fn inputs_are_texts_or_tokens_or_lists_of_them() {
        check_inputs(r#""a""#, 0);
        check_inputs(r#"["a","b","c"]"#, 3);
        check_inputs("[1,2,3]", 1);
        check_inputs("[[1,2],[3]]", 2);
        check_inputs("[]", 0);
    }

    #[test]
    fn what_is_embedded_and_is_no_text_has_no_bound_in_bytes() {
        let view = embeddings(br#"{"model":"m","input":["a",{"image":"https://x"}]}"#).unwrap();
        assert_eq!((view.inputs, view.attachments.references, view.attachments.bytes), (2, 1, 21));
        assert_eq!(view.output_limit, WholeNumber::Is(0));
    }

    #[test]
    fn all_answers_that_are_made_count() {
        for (members, expected) in [
            (r#""n":2"#, WholeNumber::Is(4)),
            (r#""n":2,"best_of":5"#, WholeNumber::Is(10)),
            (r#""best_of":3"#, WholeNumber::Is(6)),
            (r#""n":0"#, WholeNumber::Odd),
        ] {
            let body = format!(r#"{{"model":"m","prompt":["a","b"],{members}}}"#);
            assert_eq!(completion(body.as_bytes()).unwrap().answers, expected, "{members}");
        }
    }

    #[test]
    fn a_stream_may_be_asked_for_its_usage() {
        let read = |options: &str| completion(format!(r#"{{"model":"m"{options}}}"#).as_bytes()).unwrap();
        assert_eq!(read("").usage_in_stream, UsageInStream::Unsaid);
        assert_eq!(read(r#","stream_options":{"include_usage":true}"#).usage_in_stream, UsageInStream::Asked);
        let view = read(r#","max_tokens":7,"stream":true,"user":"ann""#);
        assert_eq!(
            (view.stream, view.output_limit, view.claims.user.as_deref()),
            (true, WholeNumber::Is(7), Some("ann"))
        );
        assert!(view.output_limits_at[1].is_some());
    }

    #[test]
    fn what_two_readers_could_take_differently_is_refused() {
        for (body, wanted) in [
            (r#"{"model":"m","model":"m","input":"a"}"#, BodyError::DuplicateKey("model")),
            (r#"{"model":"m","Input":"b","input":"a"}"#, BodyError::Respelt("input")),
            (r#"{"input":"a"}"#, BodyError::Wrong { key: "model", wanted: "given" }),
            (r#"{"model":"m"}"#, BodyError::Wrong { key: "input", wanted: "given" }),
            (r#"{"model":"m","input":7}"#, BodyError::Wrong { key: "input", wanted: "a string or an array" }),
        ] {
            assert_eq!(embeddings(body.as_bytes()), Err(wanted), "{body}");
        }
        let twice = br#"{"model":"m","stream_options":{"include_usage":true,"include_usage":false}}"#;
        assert_eq!(completion(twice), Err(BodyError::DuplicateKey("include_usage")));
    }
}
