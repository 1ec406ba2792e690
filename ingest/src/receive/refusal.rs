//! What is an exporter told when its request isn't taken?
//!
//! The difference that matters is whether it sends the request again. Told so wrongly, it resends
//! for ever what can never be taken; not told, it drops what would be taken a second later. So every
//! refusal is a value of one enum, and one table says what it is in HTTP and in gRPC. Only 429, 502,
//! 503 and 504 are retried in HTTP, and UNAVAILABLE among others in gRPC: no refusal is a 500.

use std::time::Duration;

use http::StatusCode;

/// How long to wait before sending again what the engine had no time for.
const RETRY_SOON: Duration = Duration::from_secs(1);

/// How long to wait when the journal can't be written: a disk is rarely emptied within a second.
const RETRY_LATER: Duration = Duration::from_secs(5);

/// Codes of gRPC, as numbers.
pub(super) mod grpc_code {
    pub(in crate::receive) const OK: u8 = 0;
    pub(super) const INVALID_ARGUMENT: u8 = 3;
    pub(super) const RESOURCE_EXHAUSTED: u8 = 8;
    pub(super) const UNIMPLEMENTED: u8 = 12;
    pub(super) const UNAVAILABLE: u8 = 14;
    pub(super) const UNAUTHENTICATED: u8 = 16;
}

/// Why a request isn't taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("the request is larger than {limit} bytes, decompressed")]
    TooLarge { limit: usize },
    #[error("{reason}")]
    Malformed { reason: String },
    #[error("the request's body didn't come within {} s", within.as_secs())]
    Stalled { within: Duration },
    #[error("the engine is behind; send the request again later")]
    QueueFull,
    #[error("too many requests are under way; send the request again later")]
    MemoryFull,
    #[error("this source sends more spans than it may; send the request again later")]
    OverRate { wait: Duration },
    #[error(
        "the request has {new} names that are new, more than this source may bring within an hour"
    )]
    OverNames { new: usize },
    #[error("the request can't be kept at the moment; send it again later")]
    NotKept,
    #[error("the receiver is shutting down; send the request again later")]
    Ending,
    #[error("the content type is neither application/x-protobuf nor application/json")]
    ContentType,
    #[error("the compression is none of gzip, zstd and identity")]
    Encoding,
    #[error("the request has no token that is known here (authorization: Bearer …)")]
    Unauthorized,
    #[error("the method isn't POST")]
    Method,
    #[error("there is nothing here: OTLP traces are taken at POST /v1/traces")]
    Path,
    #[error("a web page of another origin may send nothing here")]
    Origin,
    #[error("the gRPC method is unknown: only TraceService/Export is served")]
    GrpcMethod,
    #[error("gRPC needs HTTP/2, and this is HTTP/1")]
    GrpcVersion,
}

/// Why a request wasn't taken, as it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// It is larger than a request may be.
    TooLarge,
    /// It can't be read.
    Malformed,
    /// It asks for something else, in another form, or comes from a foreign web page.
    Unsupported,
    /// Its body didn't come in time.
    Stalled,
    /// The engine is behind.
    Busy,
    /// The journal couldn't keep it.
    NotKept,
    /// It has no token that is known.
    Unauthorized,
    /// Its source sends more spans than it may.
    OverRate,
    /// It has more new names than its source may bring.
    OverNames,
}

impl Refusal {
    pub(super) fn malformed(error: &dyn std::error::Error) -> Self {
        let mut reason = error.to_string();
        if let Some(cause) = error.source() {
            reason = format!("{reason}: {cause}");
        }
        Self::Malformed { reason }
    }

    pub(super) fn class(&self) -> Class {
        match self {
            Self::TooLarge { .. } => Class::TooLarge,
            Self::Malformed { .. } => Class::Malformed,
            Self::Stalled { .. } => Class::Stalled,
            Self::QueueFull | Self::MemoryFull | Self::Ending => Class::Busy,
            Self::NotKept => Class::NotKept,
            Self::OverRate { .. } => Class::OverRate,
            Self::OverNames { .. } => Class::OverNames,
            Self::Unauthorized => Class::Unauthorized,
            Self::ContentType
            | Self::Encoding
            | Self::Method
            | Self::Path
            | Self::Origin
            | Self::GrpcMethod
            | Self::GrpcVersion => Class::Unsupported,
        }
    }

    /// The status in HTTP.
    pub(super) fn http(&self) -> StatusCode {
        match self {
            Self::ContentType | Self::Encoding | Self::GrpcVersion => {
                StatusCode::UNSUPPORTED_MEDIA_TYPE
            }
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Origin => StatusCode::FORBIDDEN,
            Self::Path | Self::GrpcMethod => StatusCode::NOT_FOUND,
            _ => match self.class() {
                Class::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
                // Of the names: 429 would be sent again, and be the same.
                Class::Malformed | Class::Unsupported | Class::OverNames => StatusCode::BAD_REQUEST,
                Class::OverRate => StatusCode::TOO_MANY_REQUESTS,
                Class::Unauthorized => StatusCode::UNAUTHORIZED,
                // Not 408, which isn't retried: what the network lost would be lost for good.
                Class::Stalled | Class::Busy | Class::NotKept => StatusCode::SERVICE_UNAVAILABLE,
            },
        }
    }

    /// The status in gRPC.
    pub(super) fn grpc(&self) -> u8 {
        match self.class() {
            // Without RetryInfo it isn't retried.
            Class::TooLarge => grpc_code::RESOURCE_EXHAUSTED,
            Class::Malformed | Class::OverNames => grpc_code::INVALID_ARGUMENT,
            Class::Unsupported => grpc_code::UNIMPLEMENTED,
            Class::Unauthorized => grpc_code::UNAUTHENTICATED,
            Class::Stalled | Class::Busy | Class::NotKept | Class::OverRate => {
                grpc_code::UNAVAILABLE
            }
        }
    }

    /// When to send it again; `None` when that can't help.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::OverRate { wait } => Some(*wait),
            Self::Stalled { .. } | Self::QueueFull | Self::MemoryFull | Self::Ending => {
                Some(RETRY_SOON)
            }
            Self::NotKept => Some(RETRY_LATER),
            _ => None,
        }
    }
}
