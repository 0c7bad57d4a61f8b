//! One user: a connection, and requests on it one after the other.

use std::error::Error;
use std::io;
use std::rc::Rc;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use sha2::{Digest, Sha256};

use super::Order;
use crate::ErrorClass;
use crate::crew::Kit;
use crate::desk::Client;
use crate::dial::Dialer;
use crate::meter::Meter;

/// A client with at most one connection.
pub(super) struct HttpClient {
    dialer: Rc<Dialer>,
    meter: Rc<Meter>,
    order: Order,
    sender: Option<SendRequest<Full<Bytes>>>,
    /// Requests that the connection may still carry.
    left: u64,
}

impl HttpClient {
    pub(super) fn new(kit: &Kit, order: Order) -> Self {
        let (dialer, meter) = (Rc::clone(&kit.dialer), Rc::clone(&kit.meter));
        Self { dialer, meter, order, sender: None, left: 0 }
    }

    async fn exchange(&mut self) -> Result<(), ErrorClass> {
        let answer = loop {
            let fresh = self.connect().await?;
            let last = self.left == 1;
            let request = self.request_now(last);
            let Some(sender) = &mut self.sender else { return Err(ErrorClass::Other) };
            match sender.try_send_request(request).await {
                Ok(answer) => break answer,
                Err(mut refused) => {
                    // The server closed a kept connection before any of this request was written. That is its right
                    // (RFC 9112 section 9.5), so the request goes to a new one.
                    if refused.take_message().is_none() || fresh {
                        return Err(class_of(refused.error(), ErrorClass::Closed));
                    }
                    self.sender = None;
                }
            }
        };
        self.meter.sent(self.order.body.len());
        self.left -= 1;
        let done = self.read(answer).await;
        if self.left == 0 {
            self.sender = None;
        }
        done
    }

    /// Makes sure that there is a connection which can take a request. Whether it is a new one.
    async fn connect(&mut self) -> Result<bool, ErrorClass> {
        if let Some(sender) = &mut self.sender
            && sender.ready().await.is_ok()
        {
            return Ok(false);
        }
        self.sender = None;
        let stream = self.dialer.tcp(&self.meter).await?;
        let (sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(|error| class_of(&error, ErrorClass::Closed))?;
        // What goes wrong on the connection is told to the request on it.
        tokio::task::spawn_local(async move { drop(connection.await) });
        self.sender = Some(sender);
        self.left = self.order.requests_per_connection;
        Ok(true)
    }

    fn request_now(&self, last: bool) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.order.body.clone()));
        *request.method_mut() = self.order.method.clone();
        *request.uri_mut() = self.order.path.clone();
        *request.headers_mut() = self.order.headers.clone();
        if last {
            request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        request
    }

    /// Reads an answer to its end, right or wrong, so that the connection can be used again.
    async fn read(&self, answer: Response<Incoming>) -> Result<(), ErrorClass> {
        let status = answer.status();
        self.meter.status(status.as_u16());
        let mut body = answer.into_body();
        let mut bytes = 0;
        let mut digest = self.order.answer_sha256.map(|_| Sha256::new());
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| class_of(&error, ErrorClass::ShortBody))?;
            let Some(data) = frame.data_ref() else { continue }; // trailers
            self.meter.received(data.len());
            bytes += data.len() as u64;
            if let Some(digest) = &mut digest {
                digest.update(data);
            }
        }
        if status != self.order.status {
            return Err(ErrorClass::WrongStatus);
        }
        match self.order.answer_bytes {
            Some(wanted) if bytes < wanted => return Err(ErrorClass::ShortBody),
            Some(wanted) if bytes > wanted => return Err(ErrorClass::WrongBody),
            _ => {}
        }
        let digest = digest.map(|digest| <[u8; 32]>::from(digest.finalize()));
        if digest == self.order.answer_sha256 { Ok(()) } else { Err(ErrorClass::WrongBody) }
    }
}

impl Client for HttpClient {
    async fn request(&mut self) -> Result<(), ErrorClass> {
        let done = self.exchange().await;
        // An answer that was read to its end leaves the connection fit for the next.
        if !matches!(done, Ok(()) | Err(ErrorClass::WrongStatus | ErrorClass::WrongBody)) {
            self.sender = None;
        }
        done
    }

    fn timed_out(&mut self) -> ErrorClass {
        match self.sender.take() {
            Some(_) => ErrorClass::Timeout,
            None => ErrorClass::ConnectTimeout,
        }
    }
}

/// The class of an error on a connection that was made; `ended` when it just ended.
fn class_of(error: &hyper::Error, ended: ErrorClass) -> ErrorClass {
    if error.is_parse() {
        return ErrorClass::Malformed;
    }
    let mut cause: Option<&(dyn Error + 'static)> = error.source();
    while let Some(inner) = cause {
        if let Some(error) = inner.downcast_ref::<io::Error>() {
            let class = ErrorClass::of(error);
            return if class == ErrorClass::Closed { ended } else { class };
        }
        cause = inner.source();
    }
    let is_end = error.is_incomplete_message() || error.is_canceled() || error.is_closed();
    if is_end { ended } else { ErrorClass::Other }
}
