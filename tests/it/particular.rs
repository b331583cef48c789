//! Vendors that take less than OpenAI does, each as particular as it is: what reaches them from clients of other protocols is
//! what they take, over a conversation with tools.

use farthing::simulator::{Manners, Provider, Reply};
use http::Method;
use serde_json::{Value, json};

use crate::support::{Got, Setup, World, script, whole};

/// A call as Gemini signs it, whole.
fn signed() -> Reply {
    let call = json!({"id": "function-call-1", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"},
        "extra_content": {"google": {"thought_signature": "CiQB0e/+w=="}}});
    let message = json!({"role": "assistant", "content": null, "reasoning_content": "hm", "tool_calls": [call]});
    Reply::raw(
        "application/json",
        [json!({"id": "r1", "object": "chat.completion", "model": "m",
            "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}],
            "usage": {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18}})
        .to_string()],
    )
}

async fn world(vendor: &str, model: &str, manners: Manners) -> World {
    let model = script(model, [signed(), Reply::text("done")]).minds(manners);
    Setup::of(Provider::openai().model(model)).vendor(vendor).row("speaks: [chat]").start().await
}

async fn send(world: &World, path: &str, body: &Value) -> Got {
    let got = whole(world.send(Method::POST, path, &[], body.to_string().into()).await).await;
    assert_eq!(got.status, 200, "{}", got.text());
    got
}

const VENDORS: [(&str, &str, Manners); 4] = [
    ("groq", "llama-4", Manners::Groq),
    ("deepseek", "deepseek-v4", Manners::DeepSeek),
    ("gemini", "gemini-3-pro", Manners::Gemini),
    ("mistral", "mistral-large", Manners::Mistral),
];

#[tokio::test]
async fn a_client_of_messages_works_with_tools_at_vendors_that_take_less() {
    for (vendor, model, manners) in VENDORS {
        let world = world(vendor, model, manners).await;
        let mut messages = json!([{"role": "user", "content": [{"type": "text", "text": "go"}]}]);
        let asks = |messages: &Value| {
            json!({"model": model, "max_tokens": 100, "messages": messages, "metadata": {"user_id": "u"},
                "system": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
                "tools": [{"name": "f", "input_schema": {"type": "object"}}]})
        };
        let first = send(&world, "/v1/messages", &asks(&messages)).await.json();
        let content = first["content"].clone();
        let call = content.as_array().expect("blocks").last().expect("a call")["id"].clone();
        messages.as_array_mut().expect("messages").extend([
            json!({"role": "assistant", "content": content}),
            json!({"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": call, "is_error": true, "content": [{"type": "text", "text": "no"}]},
                {"type": "text", "text": "again"}]}),
        ]);
        let second = send(&world, "/v1/messages", &asks(&messages)).await;
        assert_eq!(second.json()["content"][0]["text"], "done", "{vendor}");
    }
}

#[tokio::test]
async fn a_client_of_responses_works_with_tools_at_vendors_that_take_less() {
    for (vendor, model, manners) in VENDORS {
        for include in [json!(["reasoning.encrypted_content"]), json!([])] {
            let world = world(vendor, model, manners).await;
            let mut input = json!([{"role": "developer", "content": "a"}, {"role": "user", "content": "go"}]);
            let asks = |input: &Value| {
                json!({"model": model, "input": input, "instructions": "b", "store": false, "include": include,
                    "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}]})
            };
            let first = send(&world, "/v1/responses", &asks(&input)).await.json();
            let output = first["output"].as_array().expect("items").clone();
            let call = output.last().expect("a call")["call_id"].clone();
            let input_items = input.as_array_mut().expect("items");
            input_items.extend(output);
            input_items.push(json!({"type": "function_call_output", "call_id": call, "output": "ok"}));
            let second = send(&world, "/v1/responses", &asks(&input)).await;
            assert_eq!(second.json()["output"][0]["content"][0]["text"], "done", "{vendor}");
        }
    }
}

#[tokio::test]
async fn an_error_in_nobody_s_dialect_keeps_its_words_for_every_client() {
    let google = json!([{"error": {"code": 400, "message": "no such field", "status": "INVALID_ARGUMENT"}}]);
    let framework = json!({"detail": [{"loc": ["body", "x"], "msg": "no such field", "input": "their words"}]});
    for (status, error) in [
        (400, google),
        (422, json!({"object": "error", "message": "no such field", "type": "invalid_request_error", "code": 1200})),
        (422, framework),
        (400, json!({"error": "no such field"})),
        (400, json!({"message": "no such field"})),
        (400, json!({"type": "https://e.x", "title": "bad", "detail": "no such field"})),
    ] {
        for path in ["/v1/chat/completions", "/v1/messages"] {
            let reply = Reply::status(status).with_body(&error);
            let world = Setup::of(Provider::openai().model(script("gpt-4o", [reply]))).start().await;
            let body = json!({"model": "gpt-4o", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]});
            let got = whole(world.send(Method::POST, path, &[], body.to_string().into()).await).await;
            let told = got.json()["error"].clone();
            let message = told["message"].as_str().unwrap_or_default();
            assert!(message.ends_with("no such field"), "{path} {error}: {}", got.text());
            assert_eq!((got.status, &told["type"]), (status, &json!("invalid_request_error")), "{error}");
            assert!(!got.text().contains("their words"), "{}", got.text());
        }
    }
}

#[tokio::test]
async fn an_error_of_google_s_about_our_key_is_told_to_nobody() {
    let error = json!([{"error": {"code": 400, "message": "API key not valid: AIza", "status": "INVALID_ARGUMENT",
        "details": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}]}}]);
    let reply = Reply::status(400).with_body(&error);
    let world = Setup::of(Provider::openai().model(script("gpt-4o", [reply]))).start().await;
    let got = world.chat(json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}).to_string()).await;
    assert_eq!((got.status, &got.json()["error"]["code"]), (502, &json!("provider_credentials")));
    assert!(!got.text().contains("AIza"), "{}", got.text());
}

#[tokio::test]
async fn a_response_that_failed_is_told_as_one_with_what_it_used() {
    let failed = json!({"id": "resp_1", "object": "response", "status": "failed", "model": "gpt-5.6-luna", "output": [],
        "error": {"code": "server_error", "message": "it broke"},
        "usage": {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}});
    let reply = || Reply::raw("application/json", [failed.to_string()]).billed(10, 5);
    let world = Setup::of(crate::support::luna([reply(), reply()])).start().await;
    let ask = json!({"model": "gpt-5.6-luna", "input": "hi"});
    let got = whole(world.send(Method::POST, "/v1/responses", &[], ask.to_string().into()).await).await;
    assert_eq!((got.status, got.json()), (200, failed.clone()));
    let ask = json!({"model": "gpt-5.6-luna", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]});
    let got = whole(world.send(Method::POST, "/v1/messages", &[], ask.to_string().into()).await).await;
    assert_eq!((got.status, &got.json()["error"]["message"]), (500, &json!("it broke")), "{}", got.text());
    assert!(world.attempts().iter().take(2).all(|row| row.output_tokens == Some(5)), "{:?}", world.attempts());
}
