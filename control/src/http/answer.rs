//! What is answered.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};

/// Plain text.
pub(crate) const TEXT: &str = "text/plain; charset=utf-8";

/// A whole answer.
pub(crate) type Answer = Response<Full<Bytes>>;

/// A line of plain text.
pub(crate) fn text(status: StatusCode, words: String) -> Answer {
    response(status, TEXT, words)
}

/// An answer that nobody may keep.
pub(crate) fn response(status: StatusCode, media_type: &'static str, body: String) -> Answer {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
