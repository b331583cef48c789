//! What goes through comes out as it was.

use farthing::simulator::{ModelScript, Provider};
use rusqlite::types::Value;

use crate::support::World;

const ASK: &str = r#"{"model":"gpt-5.6-luna","messages":[{"role":"user","content":"hi"}]}"#;

#[tokio::test]
async fn a_request_is_answered_and_its_row_equals_the_invoice() {
    let world = World::new(Provider::openai().model(ModelScript::named("gpt-5.6-luna").replies("hello")), "").await;
    let got = world.chat(ASK).await;
    assert_eq!(got.status, 200, "{}", got.text());
    assert_eq!(got.json()["choices"][0]["message"]["content"], "hello");
    let rows = world.rows("select fate, source, cost_nano from attempts_v1");
    let invoice = world.provider.invoice().total().0;
    assert_eq!(rows, [[Value::Text("completed".into()), Value::Text("reported".into()), Value::Integer(invoice)]]);
    assert!(invoice > 0);
}
