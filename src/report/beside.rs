//! Figures that few requests have, and that no sums are kept of: read off the rows that have them.

use crate::reply::usage::Calls;

/// Figures of some requests that stand beside their other ones ([`Figures`](super::Figures)).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Beside {
    /// Requests that ended in an error before anything had left for a provider. They are among `requests`.
    pub refused: i64,
    /// Tokens of sound and images by kind, in the order of [`Self::TOKENS`]: parts of the input and the output.
    pub tokens: [i64; Self::TOKENS.len()],
    /// Calls of tools that providers ran, in the order of [`Calls::KINDS`].
    pub calls: [i64; Calls::KINDS.len()],
    /// What those calls cost, as far as their fee is known: a part of the cost, in nano-dollars.
    pub fees: i64,
    /// Calls whose fee is not known, or of attempts whose cost is not.
    pub unpriced_calls: i64,
    /// What providers billed beyond the limits that they were sent, by cause in the order of [`Self::OVERSHOT`]: a part of
    /// the cost, in nano-dollars.
    pub overshoot: [i64; Self::OVERSHOT.len()],
    /// Attempts whose tokens were estimated here and whose cost nothing bounds.
    pub unbounded_estimates: i64,
}

impl Beside {
    /// How many there are.
    pub const COUNT: usize = 15;
    /// Their names, as columns.
    pub const NAMES: [&str; Self::COUNT] = [
        "refused",
        "audio_input_tokens",
        "cached_audio_input_tokens",
        "audio_output_tokens",
        "image_input_tokens",
        "image_output_tokens",
        "web_search_calls",
        "web_fetch_calls",
        "code_interpreter_calls",
        "file_search_calls",
        "fees_nano",
        "unpriced_calls",
        "overshoot_input_nano",
        "overshoot_output_nano",
        "unbounded_estimates",
    ];
    /// What is overshot, as metrics and the log have it.
    pub const OVERSHOT: [&str; 2] = ["input_beyond_bound", "output_beyond_limit"];
    /// The kinds of tokens, as the columns of a row.
    pub const TOKENS: [&str; 5] = [
        "audio_input_tokens",
        "cached_audio_input_tokens",
        "audio_output_tokens",
        "image_input_tokens",
        "image_output_tokens",
    ];

    /// All of them, in the order of their names.
    pub fn all(&self) -> [i64; Self::COUNT] {
        let [heard, cached, said, seen, drawn] = self.tokens;
        let [searches, pages, runs, files] = self.calls;
        let (refused, fees, unpriced) = (self.refused, self.fees, self.unpriced_calls);
        let [input, output] = self.overshoot;
        let guessed = self.unbounded_estimates;
        [
            refused, heard, cached, said, seen, drawn, searches, pages, runs, files, fees, unpriced, input, output,
            guessed,
        ]
    }

    /// From all of them in that order.
    pub fn of(all: [i64; Self::COUNT]) -> Self {
        let [
            refused,
            heard,
            cached,
            said,
            seen,
            drawn,
            searches,
            pages,
            runs,
            files,
            fees,
            unpriced_calls,
            over_in,
            over_out,
            unbounded_estimates,
        ] = all;
        let (tokens, calls) = ([heard, cached, said, seen, drawn], [searches, pages, runs, files]);
        Self { refused, tokens, calls, fees, unpriced_calls, overshoot: [over_in, over_out], unbounded_estimates }
    }

    /// Calls of any kind.
    pub fn all_calls(&self) -> i64 {
        self.calls.iter().sum()
    }

    /// Each of them with that of others.
    #[must_use]
    pub(super) fn each(&self, other: &Self, of: fn(i64, i64) -> i64) -> Self {
        let (mine, theirs) = (self.all(), other.all());
        Self::of(std::array::from_fn(|at| of(mine[at], theirs[at])))
    }
}
