//! One question to the kernel and its whole answer.

use std::time::Duration;

use futures_util::{Stream, StreamExt, pin_mut};
use rtnetlink::Handle;
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use rtnetlink::packet_route::RouteNetlinkMessage;

use super::NetError;

/// The kernel answers in microseconds; an answer lost to a full socket buffer never comes.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(5);
/// A dump during which the table changed may be incomplete and is made again, at most this often.
const DUMP_ATTEMPTS_MAX: u32 = 8;

/// Dump a whole table.
///
/// # Errors
/// [`NetError::Unsettled`] when the table changed during every attempt; else what the kernel said.
pub(super) async fn dump(
    handle: &Handle,
    message: RouteNetlinkMessage,
    doing: &str,
) -> Result<Vec<RouteNetlinkMessage>, NetError> {
    for _ in 0..DUMP_ATTEMPTS_MAX {
        let answer = exchange(handle, message.clone(), NLM_F_REQUEST | NLM_F_DUMP, doing).await?;
        if !answer.interrupted {
            return Ok(answer.messages);
        }
    }
    Err(NetError::Unsettled { doing: doing.to_owned() })
}

/// Ask for one object.
///
/// # Errors
/// What the kernel said; [`NetError::NoAnswer`] when it said nothing.
pub(super) async fn get(
    handle: &Handle,
    message: RouteNetlinkMessage,
    doing: &str,
) -> Result<RouteNetlinkMessage, NetError> {
    let answer = exchange(handle, message, NLM_F_REQUEST, doing).await?;
    answer.messages.into_iter().next().ok_or_else(|| NetError::NoAnswer { doing: doing.to_owned() })
}

/// Have something changed; `flags` are the NLM_F_* modifiers (create, replace, exclusive).
///
/// # Errors
/// What the kernel said.
pub(super) async fn change(
    handle: &Handle,
    message: RouteNetlinkMessage,
    flags: u16,
    doing: &str,
) -> Result<(), NetError> {
    exchange(handle, message, NLM_F_REQUEST | NLM_F_ACK | flags, doing).await.map(|_| ())
}

/// Requests under way at one time: few enough for their answers to fit into the socket's buffer together.
const TOGETHER: usize = 32;

/// Makes one request of each item, some at a time, and gives their results in the items' order. The kernel answers one
/// after the other; what is saved is a trip through the runtime for each.
pub(super) async fn all<I: IntoIterator<Item = T>, T, F: Future>(
    items: I,
    request: impl FnMut(T) -> F,
) -> Vec<F::Output> {
    futures_util::stream::iter(items).map(request).buffered(TOGETHER).collect().await
}

struct Answer {
    messages: Vec<RouteNetlinkMessage>,
    interrupted: bool,
}

async fn exchange(
    handle: &Handle,
    message: RouteNetlinkMessage,
    flags: u16,
    doing: &str,
) -> Result<Answer, NetError> {
    let no_answer = || NetError::NoAnswer { doing: doing.to_owned() };
    let mut request = NetlinkMessage::from(message);
    request.header.flags = flags;
    let stream = handle.clone().request(request).map_err(|_| no_answer())?;
    // A question without ACK or DUMP is answered by one message and nothing after it.
    let single = flags & (NLM_F_ACK | NLM_F_DUMP) == 0;
    tokio::time::timeout(ANSWER_MAX, collect(stream, single, doing)).await.map_err(|_| no_answer())?
}

/// Read until the kernel says that it is done. A stream that merely ends is a socket that broke.
async fn collect(
    stream: impl Stream<Item = NetlinkMessage<RouteNetlinkMessage>>,
    single: bool,
    doing: &str,
) -> Result<Answer, NetError> {
    pin_mut!(stream);
    let mut answer = Answer { messages: Vec::new(), interrupted: false };
    while let Some(message) = stream.next().await {
        answer.interrupted |= message.header.flags & NLM_F_DUMP_INTR != 0;
        match message.payload {
            NetlinkPayload::InnerMessage(inner) => {
                answer.messages.push(inner);
                if single {
                    return Ok(answer);
                }
            }
            NetlinkPayload::Error(error) if error.code.is_some() => {
                return Err(NetError::io(doing, error.to_io()));
            }
            NetlinkPayload::Done(done) if done.code < 0 => {
                return Err(NetError::io(doing, std::io::Error::from_raw_os_error(-done.code)));
            }
            NetlinkPayload::Error(_) | NetlinkPayload::Done(_) => return Ok(answer),
            _ => {}
        }
    }
    Err(NetError::NoAnswer { doing: doing.to_owned() })
}
