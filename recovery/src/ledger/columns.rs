//! How are our values kept in the database's columns?
//!
//! Times are nanoseconds since 1970 and numbers the database's signed ones; what doesn't fit is cut off at what does.
//! Whatever has parts is JSON, which a person can read with any tool.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::Row as SqlRow;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::rows::StoredAction;
use crate::UnitName;
use crate::clock::Shift;
use crate::executor::ActionId;
use crate::plan::PlanId;
use crate::service::RecoveryId;

pub(super) type Sql<T> = Result<T, rusqlite::Error>;

pub(super) fn nanos(time: SystemTime) -> i64 {
    let nanos = time
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_nanos();
    i64::try_from(nanos).unwrap_or(i64::MAX)
}

pub(super) fn time(nanos: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
}

/// Everything that is written this way is a plain data type, which always has a JSON.
pub(super) fn json<T: Serialize>(value: &T) -> Sql<String> {
    serde_json::to_string(value)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

pub(super) fn parse<T: DeserializeOwned>(text: &str) -> Sql<T> {
    serde_json::from_str(text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, error.into())
    })
}

pub(super) fn optional<T: DeserializeOwned>(text: Option<String>) -> Sql<Option<T>> {
    text.as_deref().map(parse).transpose()
}

pub(super) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn uint(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// The columns that [`action`] reads, in its order.
pub(super) const ACTION: &str =
    "SELECT actions.id, actions.recovery, attempt, target, unit, generation,
    deadline, actions.by, actions.reason, actions.evidence, expected_cost, intended_at, result,
    verdict, relief, failed_requests, judged, judged_at, plan, shifted";

pub(super) fn action(row: &SqlRow<'_>) -> Sql<StoredAction> {
    Ok(StoredAction {
        action: ActionId(uint(row.get(0)?)),
        recovery: RecoveryId(uint(row.get(1)?)),
        attempt: row.get(2)?,
        target: UnitName(row.get(3)?),
        unit: UnitName(row.get(4)?),
        generation: uint(row.get(5)?),
        deadline: Duration::from_nanos(uint(row.get(6)?)),
        by: row.get(7)?,
        reason: row.get(8)?,
        evidence: optional(row.get(9)?)?,
        expected_cost: row.get(10)?,
        intended_at: time(row.get(11)?),
        outcome: optional(row.get(12)?)?,
        verdict: optional(row.get(13)?)?,
        relief: optional(row.get(14)?)?,
        failed_requests: row.get(15)?,
        judged: row.get(16)?,
        judged_at: row.get::<_, Option<i64>>(17)?.map(time),
        plan: row.get::<_, Option<i64>>(18)?.map(|id| PlanId(uint(id))),
        shifted: Shift::of_nanos(row.get(19)?),
    })
}
