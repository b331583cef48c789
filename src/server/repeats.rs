//! A call that came with an `Idempotency-Key`: it waits for the one that it repeats, and has its answer, or goes its way.

use std::sync::Arc;
use std::time::Instant;

use http::Response;
use tokio::time::timeout_at;

use super::admission::{Permit, no_room};
use super::idempotency::{Part, Repeat, Turn};
use super::respond::To;
use super::{ReplyStream, Server, respond};
use crate::call::{Call, CallFacts};
use crate::config::Key;
use crate::gateway::Gateway;
use crate::wire::errors::{ApiError, Code};

/// A call that waits for another's end. Dropping it, when the client has left, closes it.
struct Waiting<'a> {
    gateway: &'a Gateway,
    facts: Arc<CallFacts>,
    over: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.over {
            self.gateway.turn_away(&self.facts, ApiError::new(Code::ClientClosed, "the client has left"));
        }
    }
}

impl Server {
    /// Answers a call as the one that it repeats was answered, or for the first time.
    ///
    /// # Errors
    ///
    /// 422 if another one came under its key.
    pub(super) async fn once(
        &self,
        repeat: &Repeat,
        (call, to): (Call, To),
        key: Option<&Key>,
        asides: &str,
        permit: Permit,
    ) -> Result<Response<ReplyStream>, ApiError> {
        let facts = Arc::clone(&call.facts);
        match self.turn(repeat, &facts).await {
            Ok(Part::First(lead)) => {
                let reply = self.gateway.answer(call, key).await;
                Ok(respond::first_reply(to, reply, asides, permit, lead))
            }
            Ok(Part::Again(told)) => {
                let mut held = call.held.another();
                held.grow(told.body.len()).map_err(no_room)?;
                self.gateway.replayed(&facts, told.id, told.status);
                Ok(respond::replay(to, &told, held.around(told.body.clone()), permit))
            }
            Err(error) if error.code == Code::IdempotencyKeyReused => Err(error),
            Err(error) => Ok(respond::reply(to, self.gateway.turn_away(&facts, error), asides, permit)),
        }
    }

    /// Waits for whoever came before under the key: the answer that it had, or the right to be the first.
    async fn turn(&self, repeat: &Repeat, facts: &Arc<CallFacts>) -> Result<Part, ApiError> {
        loop {
            let mut ended = match self.replays.turn(repeat, Instant::now())? {
                Turn::Yours(part) => return Ok(part),
                Turn::Wait(ended) => ended,
            };
            let mut waiting = Waiting { gateway: &self.gateway, facts: Arc::clone(facts), over: false };
            // Nothing is ever sent: it closes.
            let end = async { while ended.changed().await.is_ok() {} };
            let deadline = facts.deadline.and_then(|deadline| facts.arrived.checked_add(deadline));
            let is_late = match deadline {
                Some(deadline) => timeout_at(deadline.into(), end).await.is_err(),
                None => {
                    end.await;
                    false
                }
            };
            waiting.over = true;
            if is_late {
                let message = "the request that came before under this `Idempotency-Key` did not end in time";
                return Err(ApiError::new(Code::ProviderTimeout, message));
            }
        }
    }
}
