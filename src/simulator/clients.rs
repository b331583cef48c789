//! The official SDKs straight at the simulated providers: what they take for the real APIs, the gateway may too.
//!
//! Runs where `FARTHING_TEST_PYTHON` names a Python with `tests/sdk/requirements.txt`, as `tests/run.sh` does.

use std::process::Command;

use serde_json::json;

use super::{Answer, ModelScript, Provider, Reply};

#[tokio::test(flavor = "multi_thread")]
async fn the_official_sdks_take_it_for_the_real_apis() {
    let Some(python) = std::env::var_os("FARTHING_TEST_PYTHON") else { return };
    let answer = Answer { text: Some("reading".into()), ..Answer::calls([("read_log", json!({"task": "load"}))]) };
    let works = || Reply::answer(answer.clone()).thinks("the log first");
    let claude = Provider::anthropic()
        .requires_key("sk-ant-right")
        .model(ModelScript::named("claude-opus-5-5").then(works()))
        .model(ModelScript::named("claude-busy").then(Reply::status(529)))
        .model(ModelScript::named("claude-prim").then(Reply::refuses("I cannot help with that.")))
        .start()
        .await
        .expect("a free port");
    let openai = Provider::openai()
        .requires_key("sk-right")
        .model(ModelScript::named("gpt-5.6-luna").then(works()))
        .model(ModelScript::named("gpt-kept").replies("the job failed"))
        .model(ModelScript::named("gpt-breaks").then(Reply::tokens(9).fails_after(6)))
        .model(ModelScript::named("gpt-fails").then(Reply::tokens(9).response_fails_after(6)))
        .start()
        .await
        .expect("a free port");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sdk/simulated.py");
    let mut command = Command::new(python);
    command.arg(script).arg(format!("http://{}", claude.address())).arg(format!("http://{}", openai.address()));
    let ended = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic").expect("a Python");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    assert_eq!(claude.invoice().lines.len(), 3, "what was refused is not billed");
}
