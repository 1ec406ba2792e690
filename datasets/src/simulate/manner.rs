//! How executors behave that aren't what they should be.

use std::fmt;
use std::time::Duration;

use rekindle_recovery::UnitName;
use rekindle_recovery::executor::ExecuteError;
use tokio::time::sleep;

/// How an executor behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    Works,
    Refuses,
    NeverReady,
    Hangs,
    Panics,
    /// Ready late.
    Cold,
}

impl Manner {
    pub(super) const ALL: [Self; 6] = [
        Self::Works,
        Self::Refuses,
        Self::NeverReady,
        Self::Hangs,
        Self::Panics,
        Self::Cold,
    ];

    /// Behaves so, where a restart usually takes so long.
    pub(super) async fn act(
        self,
        unit: &UnitName,
        usual: Duration,
        deadline: Duration,
    ) -> Result<(), ExecuteError> {
        let unit = unit.clone();
        match self {
            Self::Works => sleep(usual).await,
            Self::Cold => sleep(2 * usual).await,
            Self::Refuses => {
                let reason = "404 Not Found".to_owned();
                return Err(ExecuteError::Refused { unit, reason });
            }
            Self::NeverReady => {
                sleep(deadline).await;
                let reason = "its probe says 503".to_owned();
                return Err(ExecuteError::NotReady {
                    unit,
                    deadline,
                    reason,
                });
            }
            Self::Hangs => return std::future::pending().await,
            // As a panic does, without the words on standard error: nobody made a mistake here.
            Self::Panics => std::panic::resume_unwind(Box::new("an executor's own mistake")),
        }
        Ok(())
    }
}

impl fmt::Display for Manner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Works => "works",
            Self::Refuses => "refuses",
            Self::NeverReady => "never-ready",
            Self::Hangs => "hangs",
            Self::Panics => "panics",
            Self::Cold => "late",
        })
    }
}
