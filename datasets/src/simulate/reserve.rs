//! What speaks against any restart, as far as it is told.

use rekindle_recovery::{Circumstances, Load, Outside};

/// What makes a restart a mistake that nobody but a person may make, as far as telemetry tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reserve {
    /// Several times as many requests come as usual.
    Overload,
    /// The likelier culprit belongs to no unit.
    Database,
    /// Nobody knows which share fails.
    Sampler,
}

impl Reserve {
    pub(super) const ALL: [Self; 3] = [Self::Overload, Self::Database, Self::Sampler];

    /// The word for it in a story.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Overload => "overload",
            Self::Database => "database",
            Self::Sampler => "sampler",
        }
    }

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Overload => "overload",
            Self::Database => "a shared database is down",
            Self::Sampler => "a sampler hides its weights",
        }
    }

    /// As it is told.
    pub(super) fn tell(self, around: &mut Circumstances) {
        match self {
            Self::Overload => {
                around.load = Some(Load {
                    now: 200.0,
                    usual: 40.0,
                });
            }
            Self::Database => {
                around.outside = Some(Outside {
                    name: "database".to_owned(),
                    probability: 0.9,
                });
            }
            Self::Sampler => around.sampled = true,
        }
    }
}
