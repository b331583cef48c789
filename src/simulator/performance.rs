//! Performs one answer: picks the scripted reply, has it put into words, commits, sends it.
//!
//! The order is the real provider's: validate, read the prompt against the prefix cache, commit to an
//! answer (its [`Tab`] is open from here on), think, send. Dropping the future while it thinks is a
//! client's hang-up, and the tab settles it by habit.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode};

use super::answer::{Generation, words};
use super::invoice::{Account, BillsAfterCut, Tab};
use super::play::{Act, BrokenOff, Pace, Play, stream_acts};
use super::prefix_cache::{Match, PromptTokens};
use super::prices::{BilledTokens, PriceClass};
use super::render::{Renderer, error_body};
use super::request::{ChatRequest, Delivery, Message};
use super::script::{Answer, CacheWrites, ChatTools, Ending, Latency, Manner, ModelScript, Reply, What};
use super::server::{
    Arrived, ReplyBody, ScriptedModel, Server, head, no_such_model, scripted_error, unix_seconds, whole,
};

pub(super) type Answered = Result<Response<ReplyBody>, BrokenOff>;

/// What a request asks of a model, whatever dialect it is in.
pub(super) struct Asked {
    pub(super) model: String,
    pub(super) class: PriceClass,
    /// The text of the last user turn: what cues are looked for in.
    pub(super) last_words: String,
    pub(super) delivery: Delivery,
}

/// An answer in the words of a dialect, and what it costs.
pub(super) struct Spoken {
    pub(super) tokens: BilledTokens,
    pub(super) written: Written,
}

pub(super) enum Written {
    Document(Bytes),
    /// Every step of a stream.
    Frames(Vec<Act>),
    /// A stream that is rendered while it is sent.
    Chunks(Box<Renderer>),
}

impl Server {
    /// Answers `POST /v1/chat/completions`.
    pub(super) async fn complete(&self, arrived: Arrived) -> Answered {
        let body = arrived.body.clone();
        let request = match ChatRequest::parse(&body) {
            Ok(request) => request,
            Err(message) => {
                let body = error_body(&message, "invalid_request_error", None, None);
                return Ok(whole(arrived, StatusCode::BAD_REQUEST, body));
            }
        };
        let manners = self.model(&request.model).and_then(|model| model.script.habits.manners);
        if let Some(message) = manners.and_then(|manners| manners.refuse(&body)) {
            let body = error_body(&message, "invalid_request_error", None, None);
            return Ok(whole(arrived, StatusCode::BAD_REQUEST, body));
        }
        let refuses = |model: &ScriptedModel| model.script.habits.chat_tools == ChatTools::Refused && request.reasons();
        if request.has_tools() && self.model(&request.model).is_some_and(refuses) {
            let message = format!(
                "Function tools with reasoning_effort are not supported for {} in /v1/chat/completions. Please use \
                 /v1/responses instead.",
                request.model
            );
            let body = error_body(&message, "invalid_request_error", Some("reasoning_effort"), None);
            return Ok(whole(arrived, StatusCode::BAD_REQUEST, body));
        }
        let asked = Asked {
            model: request.model.clone(),
            class: PriceClass::asked(request.service_tier.as_deref()),
            last_words: request.last_user_text(),
            delivery: request.delivery(),
        };
        self.perform(arrived, &asked, |script, manner, what| self.say(&request, script, manner, what)).await
    }

    /// Picks the model's reply to what is asked, lets `say` put it into words, and sends it.
    pub(super) async fn perform(
        &self,
        arrived: Arrived,
        asked: &Asked,
        say: impl FnOnce(&ModelScript, &Manner, &What) -> Spoken + Send,
    ) -> Answered {
        let Some(model) = self.model(&asked.model) else {
            let body = no_such_model(&arrived, &asked.model);
            return Ok(whole(arrived, StatusCode::NOT_FOUND, body));
        };
        let reply = model.script.reply_to(&asked.last_words);
        let reply = reply.unwrap_or_else(|| model.script.reply(model.asked.fetch_add(1, Ordering::Relaxed)));
        let Reply { what, manner } = reply;
        match what {
            What::Status { status, headers, body } => {
                let body = body.unwrap_or_else(|| scripted_error(&arrived, status));
                send_status(arrived, &manner, status, &headers, body).await
            }
            What::Raw { content_type, pieces, billed } => {
                let tab = billed.map(|(input, output)| {
                    let tokens = BilledTokens { input, output, ..BilledTokens::default() };
                    self.open_tab(&arrived, &model.script, asked, tokens)
                });
                send_raw(arrived, &manner, &content_type, pieces, tab).await
            }
            What::Answers(_) | What::Echo | What::Recorded | What::Tokens(_) => {
                let spoken = say(&model.script, &manner, &what);
                self.speak(arrived, asked, &model.script, &manner, spoken).await
            }
        }
    }

    /// What the model would say to a conversation that ends in `last_words` if nothing limited it.
    pub(super) fn answer_to(&self, what: &What, last_words: &str, conversation: &[Message]) -> Answer {
        match what {
            What::Answers(answers) => answers.first().cloned().unwrap_or_default(),
            What::Echo => Answer::text(last_words),
            What::Tokens(count) => Answer::text(&words(*count)),
            _ => self.recordings.find(conversation).cloned().unwrap_or_else(|| {
                Answer::text("I have nothing on record for this conversation. Could you rephrase the question?")
            }),
        }
    }

    /// An answer for each choice.
    fn answers(&self, what: &What, request: &ChatRequest<'_>) -> Vec<Answer> {
        if let What::Answers(answers) = what {
            let pick = |i: usize| answers.get(i).or(answers.last()).cloned().unwrap_or_default();
            return (0..usize::from(request.choices())).map(pick).collect();
        }
        let one = self.answer_to(what, &request.last_user_text(), &request.messages);
        vec![one; usize::from(request.choices())]
    }

    fn say(&self, request: &ChatRequest<'_>, script: &ModelScript, manner: &Manner, what: &What) -> Spoken {
        let answers = self.answers(what, request);
        let thought = answers.first().map_or(0, |answer| script.thinks(answer));
        let reasoning = if request.reasons() { thought } else { 0 };
        let generation = Generation::of(answers, request.output_limit(), reasoning, &script.habits);
        let prompt = request.prompt_tokens();
        let cache = self.read_prefixes(&prompt, script);
        let tokens = BilledTokens {
            input: prompt.count(),
            cached_input: cache.cached,
            cache_write: cache.written,
            cache_write_1h: 0,
            output: generation.output_tokens(),
            reasoning: generation.reasoning,
        };
        let renderer = self.renderer(request, script, manner, generation, tokens);
        let written = match request.delivery() {
            Delivery::Whole => Written::Document(renderer.document()),
            Delivery::Streamed => Written::Chunks(Box::new(renderer)),
        };
        Spoken { tokens, written }
    }

    async fn speak(
        &self,
        arrived: Arrived,
        asked: &Asked,
        script: &ModelScript,
        manner: &Manner,
        Spoken { tokens, written }: Spoken,
    ) -> Answered {
        let pace = Pace { per_token: script.latency.per_token, gap: manner.gap };
        let breaks_before_headers = manner.ending == Ending::ResetBeforeHeaders;
        // A provider that fails before it answers bills nothing, unless its habit is to bill everything.
        let commits = !breaks_before_headers || script.habits.after_cut == BillsAfterCut::All;
        let tab = commits.then(|| self.open_tab(&arrived, script, asked, tokens));
        think(tab.as_ref(), asked.delivery, manner, script.latency, tokens).await;
        if breaks_before_headers {
            return break_off(arrived);
        }
        Ok(match written {
            Written::Document(document) => send_document(arrived, manner, document, tab).await,
            Written::Frames(acts) => {
                send_stream(arrived, manner, acts, pace, |play| play.billing_from(tokens.reasoning, tab))
            }
            Written::Chunks(renderer) => {
                let acts = stream_acts(&renderer, manner);
                send_stream(arrived, manner, acts, pace, |play| play.billing(Some(*renderer), tab))
            }
        })
    }

    pub(super) fn read_prefixes(&self, prompt: &PromptTokens, script: &ModelScript) -> Match {
        let mut prefixes = self.prefixes.lock().unwrap_or_else(PoisonError::into_inner);
        let found = prefixes.read_and_write(prompt, Instant::now());
        match script.habits.cache_writes {
            CacheWrites::Billed => found,
            CacheWrites::Plain => Match { written: 0, ..found },
        }
    }

    fn renderer(
        &self,
        request: &ChatRequest<'_>,
        script: &ModelScript,
        manner: &Manner,
        generation: Generation,
        tokens: BilledTokens,
    ) -> Renderer {
        Renderer {
            id: format!("chatcmpl-{}", &self.fresh_id()[3..]),
            created: unix_seconds(),
            model: script.reply_name.clone().unwrap_or_else(|| request.model.clone()),
            service_tier: PriceClass::asked(request.service_tier.as_deref()).as_str(),
            generation,
            tokens,
            cache_writes: script.habits.cache_writes,
            usage: manner.usage,
            logprobs: request.wants_logprobs(),
            includes_usage: request.includes_usage(),
            obfuscates: request.obfuscates(),
        }
    }

    fn open_tab(&self, arrived: &Arrived, script: &ModelScript, asked: &Asked, tokens: BilledTokens) -> Tab {
        let account = Account {
            client_request_id: arrived.header("x-client-request-id").map(str::to_owned),
            request_id: arrived.request_id.clone(),
            model: asked.model.clone(),
            class: asked.class,
            prices: script.prices,
            after_cut: script.habits.after_cut,
        };
        Tab::open(self.books.clone(), account, tokens)
    }
}

/// Takes the time that the model needs before its first byte: for a whole document, all of it.
async fn think(tab: Option<&Tab>, delivery: Delivery, manner: &Manner, latency: Latency, tokens: BilledTokens) {
    let first = manner.first_byte + latency.first_token;
    rest(first).await;
    let count = if delivery == Delivery::Whole { tokens.output } else { tokens.reasoning };
    let thinking = Thinking { tab, since: tokio::time::Instant::now(), per_token: latency.per_token };
    rest(latency.per_token.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX))).await;
    drop(thinking);
    if let Some(tab) = tab {
        tab.generated(count);
    }
}

/// Keeps the tab informed of what was generated, if the client leaves meanwhile.
struct Thinking<'a> {
    tab: Option<&'a Tab>,
    since: tokio::time::Instant,
    per_token: Duration,
}

impl Drop for Thinking<'_> {
    fn drop(&mut self) {
        let spent = self.since.elapsed().as_nanos();
        if let (Some(tab), Some(tokens)) = (self.tab, spent.checked_div(self.per_token.as_nanos())) {
            tab.generated(u64::try_from(tokens).unwrap_or(u64::MAX));
        }
    }
}

async fn rest(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

fn break_off(mut arrived: Arrived) -> Answered {
    arrived.visit.end();
    arrived.reset.store(true, Ordering::Release);
    Err(BrokenOff)
}

fn send_stream(
    arrived: Arrived,
    manner: &Manner,
    acts: Vec<Act>,
    pace: Pace,
    bill: impl FnOnce(Play) -> Play,
) -> Response<ReplyBody> {
    let head = head(&arrived, StatusCode::OK, "text/event-stream; charset=utf-8");
    let play = bill(Play::new(acts, arrived.visit, arrived.reset)).at(pace).in_pieces_of(manner.piece_bytes);
    head.map(|()| ReplyBody::Played(Box::new(play)))
}

async fn send_document(
    arrived: Arrived,
    manner: &Manner,
    document: Bytes,
    mut tab: Option<Tab>,
) -> Response<ReplyBody> {
    if manner.stall_after.is_some() {
        arrived.visit.released().await;
    }
    let head = head(&arrived, StatusCode::OK, "application/json");
    let length = document.len() as u64;
    let whole = Act::Bytes(document);
    let acts = match manner.ending {
        Ending::Reset(_) | Ending::EndsAfter(_) | Ending::MidEvent(_) => vec![Act::Half(Box::new(whole)), Act::Reset],
        _ => {
            if let Some(tab) = &mut tab {
                tab.bill_in_full();
            }
            vec![whole]
        }
    };
    let play = Play::new(acts, arrived.visit, arrived.reset).billing(None, tab).of_length(length);
    head.map(|()| ReplyBody::Played(Box::new(play.in_pieces_of(manner.piece_bytes))))
}

async fn send_status(
    arrived: Arrived,
    manner: &Manner,
    status: u16,
    headers: &[(String, String)],
    body: Bytes,
) -> Answered {
    rest(manner.first_byte).await;
    if manner.ending == Ending::ResetBeforeHeaders {
        return break_off(arrived);
    }
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = whole(arrived, status, body);
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_str(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    Ok(response)
}

async fn send_raw(
    arrived: Arrived,
    manner: &Manner,
    content_type: &str,
    pieces: Vec<Bytes>,
    mut tab: Option<Tab>,
) -> Answered {
    rest(manner.first_byte).await;
    if manner.ending == Ending::ResetBeforeHeaders {
        return break_off(arrived);
    }
    if let Some(tab) = &mut tab {
        tab.bill_in_full();
    }
    let head = head(&arrived, StatusCode::OK, content_type);
    let mut acts: Vec<_> = pieces.into_iter().filter(|piece| !piece.is_empty()).map(Act::Bytes).collect();
    let at = |after: u64| usize::try_from(after).unwrap_or(usize::MAX).min(acts.len());
    match manner.ending {
        Ending::Reset(after) => {
            acts.truncate(at(after));
            acts.push(Act::Reset);
        }
        Ending::EndsAfter(after) => acts.truncate(at(after)),
        _ => {}
    }
    if let Some(after) = manner.stall_after {
        acts.insert(usize::try_from(after).unwrap_or(usize::MAX).min(acts.len()), Act::Stall);
    }
    let play = Play::new(acts, arrived.visit, arrived.reset)
        .billing(None, tab)
        .at(Pace { per_token: Duration::ZERO, gap: manner.gap })
        .in_pieces_of(Some(manner.piece_bytes.unwrap_or(usize::MAX)));
    Ok(head.map(|()| ReplyBody::Played(Box::new(play))))
}
