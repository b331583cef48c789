//! How many tokens a call can have, and how many it probably had.
//!
//! Bounds come first and are nearly free: a byte-level tokenizer never makes more tokens than there
//! are bytes, and the JSON around a message is longer than the framing that a provider adds. Estimates
//! are only for calls whose provider says nothing, and say so in their rows.
//!
//! Counts are exact for a text in one of OpenAI's encodings ([`count`]); those of whole requests
//! ([`count_request`]) add framing by published rules. Of all models a [`Calibration`] knows the ratio of
//! what was reported to bytes. Counting takes tens of milliseconds a megabyte of prose, hundreds of a hostile
//! text, and reads tables of megabytes on first use: memos are arguments, threads are the caller's.

mod calibration;
mod encoding;
mod memo;
mod merges;
mod request;

pub use calibration::{Calibration, Measure};
pub use encoding::{Encoding, Fit, count, encoding_for};
pub use memo::Memo;
pub use request::{IMAGE, count_request};

use crate::prompt::json::WholeNumber;
use crate::prompt::view::{Attachments, View};

/// The name of [`estimate`] in ledger rows.
pub const ESTIMATOR: &str = "bytes/4";

/// Most tokens that one image costs at any OpenAI-style model: 2,833 + 8 tiles × 5,667 at high detail.
/// <https://platform.openai.com/docs/guides/images-vision#calculating-costs>
const IMAGE_TOKENS_MAX: u64 = 48_169;

/// Bytes of the longest token that any encoding known here has: 128 blanks, or dashes.
const TOKEN_BYTES_MAX: u64 = 128;

/// The most input tokens that `view`'s request can be billed for, given its body's length in bytes and the
/// model's context limit in tokens; `None` if nothing bounds them, as where sound is sent whose tokens have no known price.
pub fn input_bound(view: &View, body_bytes: usize, context_limit: Option<u64>, sound_is_priced: bool) -> Option<u64> {
    let attached = &view.attachments;
    if attached.server_tools > 0 || view.continues || view.background || (attached.recordings > 0 && !sound_is_priced) {
        return None;
    }
    // The bytes of a recording do not bound its tokens: an hour of silence may have very few.
    let sent = (attached.references == 0 && attached.recordings == 0)
        .then(|| body_bytes as u64 + view.attachments.images.saturating_mul(IMAGE_TOKENS_MAX));
    match (sent, context_limit.map(|limit| limit.saturating_mul(view.inputs.max(1)))) {
        (Some(sent), Some(limit)) => Some(sent.min(limit)),
        (sent, limit) => sent.or(limit),
    }
}

/// The most output tokens that `view`'s request can be billed for, given the model's own output limit; `None` if nothing bounds them.
pub fn output_bound(view: &View, model_limit: Option<u64>) -> Option<u64> {
    if view.attachments.server_tools > 0 || view.answers == WholeNumber::Odd {
        return None;
    }
    let an_answer = match view.output_limit {
        WholeNumber::Is(limit) => limit,
        WholeNumber::Absent => model_limit?,
        WholeNumber::Odd => return None,
    };
    Some(output_within(view, an_answer))
}

/// The most output tokens that can be billed where no answer has more than `an_answer`. What of a prediction is not used is
/// billed on top of each. <https://platform.openai.com/docs/guides/predicted-outputs#limitations>
pub fn output_within(view: &View, an_answer: u64) -> u64 {
    an_answer.saturating_add(view.predicted_bytes as u64).saturating_mul(view.answers_expected())
}

/// What the tokens of a prompt are estimated by, wherever nobody counts: the bytes of its text and its attachments, whose
/// bytes say nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PromptSize {
    text_bytes: u64,
    attachments: u64,
}

impl PromptSize {
    /// Of a request with a body of so many bytes.
    pub fn of(view: &View, body_bytes: usize) -> Self {
        let Attachments { images, references, recordings, bytes, server_tools: _ } = view.attachments;
        Self {
            text_bytes: body_bytes.saturating_sub(bytes) as u64,
            attachments: images.saturating_add(references).saturating_add(recordings),
        }
    }

    /// Of a text and nothing else.
    pub fn of_text(text: &str) -> Self {
        Self { text_bytes: text.len() as u64, attachments: 0 }
    }

    /// About how many tokens it has: what prices are compared for.
    pub fn about(self) -> u64 {
        self.with_attachments(estimate(self.text_bytes))
    }

    /// More tokens than prose or code in any language has, but hardly twice as many: what a threshold in tokens is held
    /// against. Hexadecimal and the like have more.
    pub fn ample(self) -> u64 {
        self.with_attachments(self.text_bytes / 3)
    }

    /// Each of them as an image of which no more is known.
    fn with_attachments(self, tokens: u64) -> u64 {
        tokens.saturating_add(self.attachments.saturating_mul(IMAGE))
    }
}

/// The fewest tokens that a text of so many bytes can be, in which so many words begin behind a blank. OpenAI's encodings part
/// a text behind each blank before a word, or before that, and no token is in two parts; of others nobody here knows.
pub fn at_least(vendor: &str, model: &str, bytes: u64, words: u64) -> u64 {
    let by_bytes = bytes / TOKEN_BYTES_MAX;
    match encoding_for(vendor, model) {
        (_, Fit::Exact) => by_bytes.max(words),
        (_, Fit::Nearest) => by_bytes,
    }
}

/// About how many tokens `bytes` bytes of text are.
pub fn estimate(bytes: u64) -> u64 {
    bytes.div_ceil(4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::words_begun;

    fn view(images: u64, references: u64, server_tools: u64) -> View {
        View {
            answers: WholeNumber::Is(2),
            attachments: Attachments { images, references, server_tools, ..Attachments::default() },
            ..View::default()
        }
    }

    #[track_caller]
    fn check_input(view: &View, limit: Option<u64>, expected: Option<u64>) {
        assert_eq!(input_bound(view, 1000, limit, false), expected);
    }

    #[test]
    fn input_is_bounded_by_bytes_images_and_the_context() {
        check_input(&view(0, 0, 0), None, Some(1000));
        check_input(&view(1, 0, 0), None, Some(49_169));
        check_input(&view(1, 0, 0), Some(8192), Some(8192));
        check_input(&view(0, 1, 0), None, None);
        check_input(&view(0, 1, 0), Some(8192), Some(8192));
        check_input(&view(0, 0, 1), Some(8192), None);
        check_input(&View { inputs: 3, ..view(0, 0, 0) }, Some(300), Some(900));
        let mut heard = view(0, 0, 0);
        heard.attachments.recordings = 1;
        check_input(&heard, Some(8192), None);
    }

    #[test]
    fn no_text_has_fewer_tokens_than_it_has_at_least() {
        let dashes = "-".repeat(64);
        let texts = [
            dashes.repeat(100),
            format!("{dashes} ").repeat(100),
            " ".repeat(4_096),
            "a  b 1 2 ( ) \u{a0} x \n y. Zz 12345 don't ".repeat(50),
            "The quick brown fox jumps over the lazy dog. ".repeat(50),
        ];
        for text in &texts {
            for (model, encoding) in [("gpt-4o", Encoding::O200k), ("gpt-4", Encoding::Cl100k)] {
                let least = at_least("openai", model, text.len() as u64, words_begun(text));
                let counted = count(encoding, text);
                assert!(least <= counted, "{least} of {counted} in {:?}", &text[..40]);
            }
        }
        let prose = at_least("openai", "gpt-4o", texts[4].len() as u64, words_begun(&texts[4]));
        assert_eq!((prose, count(Encoding::O200k, &texts[4])), (449, 501), "of prose it is not far from them");
        assert_eq!(at_least("local", "llama", 1_000, 200), 7, "of others the longest token is all that is known");
    }

    #[test]
    fn the_bytes_of_an_image_are_no_tokens_of_its_prompt() {
        let mut view = view(1, 0, 0);
        view.attachments.bytes = 400_000;
        let size = PromptSize::of(&view, 400_120);
        assert_eq!((size.about(), size.ample()), (30 + IMAGE, 40 + IMAGE));
        assert_eq!(PromptSize::of(&View::default(), 120), PromptSize::of_text(&"x".repeat(120)));
        assert_eq!(PromptSize::of(&view, 0).about(), IMAGE, "a body that is shorter than its parts is nobody's");
    }

    #[test]
    fn output_is_bounded_by_the_limit_times_the_answers() {
        let mut asked = view(0, 0, 0);
        assert_eq!(output_bound(&asked, None), None);
        assert_eq!(output_bound(&asked, Some(100)), Some(200));
        asked.output_limit = WholeNumber::Is(30);
        assert_eq!(output_bound(&asked, Some(100)), Some(60));
        asked.predicted_bytes = 5;
        assert_eq!(output_bound(&asked, Some(100)), Some(70), "what is predicted in vain is billed besides");
        asked.answers = WholeNumber::Odd;
        assert_eq!(output_bound(&asked, Some(100)), None, "what a lenient provider makes of it is not known");
    }
}
