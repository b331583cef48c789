//! Whose an object is that a provider keeps, and where it is: what a team did not make through here it can neither name nor
//! see, and what is foreign and what is unknown are one answer.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::Server;
use crate::call::Keeper;
use crate::ids::{ProviderId, TeamId};
use crate::ledger::objects::{Holder, holder};
use crate::ledger::{Ledger, LedgerError};
use crate::limits::{NAME_BYTES_MAX, OBJECT_LOOKUPS_MAX, OBJECT_PATIENCE};
use crate::prompt::view::Named;
use crate::wire::errors::{ApiError, Code};

static LOOKUPS: Semaphore = Semaphore::const_new(OBJECT_LOOKUPS_MAX);

impl Server {
    /// Who keeps all objects that a body names, and what its path names, whose keeper is `of_path`. Where a row's several keys
    /// made them, the first that is named decides which of these is shown: they may belong to one project all the same.
    ///
    /// # Errors
    ///
    /// 404 for one that is not the team's, 400 where several rows keep them, 503 if the ledger cannot be read.
    pub(super) async fn keeper(
        &self,
        team: &TeamId,
        named: &[Named],
        of_path: Option<Keeper>,
    ) -> Result<Option<Keeper>, ApiError> {
        let mut keeper = of_path;
        if named.is_empty() {
            return Ok(keeper);
        }
        let ids = named.iter().map(|named| named.id.clone()).collect();
        for (named, holder) in named.iter().zip(self.holders(team, ids).await?) {
            let holder = holder.ok_or_else(|| unknown().param(named.key))?;
            match &mut keeper {
                None => keeper = Some(kept_by(&holder)),
                Some(keeper) if keeper.provider.as_str() == holder.provider => {
                    keeper.access = keeper.access.or(holder.access);
                }
                Some(_) => {
                    let message = "what the request names is kept by several providers; wanted one that has all of it";
                    return Err(ApiError::new(Code::InvalidBody, message).param(named.key));
                }
            }
        }
        Ok(keeper)
    }

    /// Who keeps each of these for the team; `None`: nobody, or for another.
    pub(super) async fn holders(&self, team: &TeamId, ids: Vec<String>) -> Result<Vec<Option<Holder>>, ApiError> {
        let cannot_read = |_| ApiError::new(Code::LedgerUnavailable, "the ledger cannot be asked whose this is");
        let place = LOOKUPS.acquire().await.map_err(|_| cannot_read(()))?;
        let (accounts, team) = (Arc::clone(self.gateway.accounts()), team.clone());
        let look = move || {
            let _place = place;
            look(&accounts.ledger, &team, &ids)
        };
        let looked = tokio::task::spawn_blocking(look).await.map_err(|_| cannot_read(()))?;
        looked.map_err(|_| cannot_read(()))
    }
}

/// What was just made may not stand in the tables yet: where something is not found, they are brought up to date first,
/// whatever the reason.
fn look(ledger: &Ledger, team: &TeamId, ids: &[String]) -> Result<Vec<Option<Holder>>, LedgerError> {
    let views = ledger.views()?;
    let find = || -> Result<Vec<Option<Holder>>, LedgerError> {
        let find = |id: &String| match id.len() <= NAME_BYTES_MAX {
            true => Ok(holder(&views, id)?.filter(|holder| holder.team == team.as_str())),
            false => Ok(None),
        };
        ids.iter().map(find).collect()
    };
    let found = find()?;
    if found.iter().all(Option::is_some) {
        return Ok(found);
    }
    ledger.sync_views(OBJECT_PATIENCE)?;
    find()
}

pub(super) fn kept_by(holder: &Holder) -> Keeper {
    Keeper { provider: ProviderId::from(&*holder.provider), access: holder.access }
}

/// What one is told of it, whatever the reason.
pub(super) fn unknown() -> ApiError {
    ApiError::new(Code::NotFound, "no such object of your team")
}
