//! How is a body read that may be too long, too slow, or never end?
//!
//! Within a limit, a deadline and the budget; what is over any of them is refused as soon as that
//! is known, from the headers if they say so.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::time::timeout;

use super::budget::Hold;
use super::refusal::Refusal;

/// How long a refused HTTP/1 request is read on, so that its sender gets to read the answer.
const DRAIN_WITHIN: Duration = Duration::from_secs(5);

/// How many bytes of it are read, at most.
const DRAIN_BYTES: usize = 256 << 20;

/// Bytes in front of a message of gRPC: compressed or not, and its length.
pub(super) const PREFIX_BYTES: usize = 5;

/// How a body says how long it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// It ends.
    Plain,
    /// It is one message of gRPC, with a prefix.
    Grpc,
}

/// How much is read, and for how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct BodyLimits {
    pub(super) bytes: usize,
    pub(super) within: Duration,
}

/// Reads the body as a whole.
pub(super) async fn read(
    body: &mut Incoming,
    framing: Framing,
    limits: BodyLimits,
    hold: &mut Hold,
) -> Result<Bytes, Refusal> {
    let whole = read_whole(body, framing, limits.bytes, hold);
    match timeout(limits.within, whole).await {
        Ok(read) => read,
        Err(_) => Err(Refusal::Stalled {
            within: limits.within,
        }),
    }
}

async fn read_whole(
    body: &mut Incoming,
    framing: Framing,
    limit: usize,
    hold: &mut Hold,
) -> Result<Bytes, Refusal> {
    let prefix = match framing {
        Framing::Plain => 0,
        Framing::Grpc => PREFIX_BYTES,
    };
    let most = limit.saturating_add(prefix);
    let too_large = Refusal::TooLarge { limit };
    // What the headers say, for HTTP; what the prefix says, for gRPC.
    let mut expected = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if expected > most {
        return Err(too_large);
    }
    let mut whole = Collected::Nothing;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Refusal::malformed(&error))?;
        // Trailers of a request say nothing that matters here.
        let Ok(data) = frame.into_data() else {
            continue;
        };
        let length = whole.len() + data.len();
        if length > most {
            return Err(too_large);
        }
        if !hold.grow_to(length) {
            return Err(Refusal::MemoryFull);
        }
        whole = whole.with(data, expected);
        if framing == Framing::Grpc
            && let Some([_, message @ ..]) = whole.bytes().first_chunk::<PREFIX_BYTES>()
        {
            expected = (u32::from_be_bytes(*message) as usize).saturating_add(PREFIX_BYTES);
            if expected > most {
                return Err(too_large);
            }
        }
    }
    Ok(whole.into_bytes())
}

/// A body so far: the first part is not copied, because it often is all.
enum Collected {
    Nothing,
    One(Bytes),
    Many(BytesMut),
}

impl Collected {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Nothing => &[],
            Self::One(bytes) => bytes,
            Self::Many(bytes) => bytes,
        }
    }

    fn len(&self) -> usize {
        self.bytes().len()
    }

    /// `expected` is the sender's word, so room is only made for a few times what came.
    fn with(self, data: Bytes, expected: usize) -> Self {
        match self {
            Self::Nothing => Self::One(data),
            Self::One(first) => {
                let length = first.len() + data.len();
                let room = expected.min(length.saturating_mul(16)).max(length);
                let mut many = BytesMut::with_capacity(room);
                many.extend_from_slice(&first);
                many.extend_from_slice(&data);
                Self::Many(many)
            }
            Self::Many(mut many) => {
                many.extend_from_slice(&data);
                Self::Many(many)
            }
        }
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Self::Nothing => Bytes::new(),
            Self::One(bytes) => bytes,
            Self::Many(bytes) => bytes.freeze(),
        }
    }
}

/// Reads on and keeps nothing. A client of HTTP/1 that is still sending doesn't read the answer: it
/// would only see its connection break, and send the same request again for ever.
pub(super) async fn drain(body: &mut Incoming) {
    let drained = async {
        let mut bytes = 0;
        while let Some(Ok(frame)) = body.frame().await {
            bytes += frame.data_ref().map_or(0, Bytes::len);
            if bytes > DRAIN_BYTES {
                break;
            }
        }
    };
    // Whether it came to an end makes no difference.
    let _ = timeout(DRAIN_WITHIN, drained).await;
}
