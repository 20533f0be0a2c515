//! Answers: 200 with `{"success":true}`, or why not, as JSON.

use axum::body::Body;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use serde_json::json;
use telemetry_protocol::reason::ErrorCode;

/// How long who is over a rate, or meets a daemon that cannot store, is asked to wait, in seconds.
const WAIT: HeaderValue = HeaderValue::from_static("1");

/// Why a line was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Which one of the request's lines, from 0, where it was one.
    pub line: Option<usize>,
    /// For programs.
    pub code: ErrorCode,
    /// For people: key, shape, limit, never the value.
    pub message: String,
}

/// Why a request was not taken, in the words of HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) error: &'static str,
    pub(crate) message: String,
    /// Nothing more is read of this client.
    pub(crate) close: bool,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, error: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            status,
            error,
            message,
            close: false,
        }
    }

    /// A body that is not what its dialect says; the message names the key.
    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_event", message)
    }

    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "not_allowed", message)
    }

    pub(crate) fn unknown_key(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unknown_key", message)
    }

    pub(crate) fn busy(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "storage", message)
    }

    pub(crate) fn closing(mut self) -> Self {
        self.close = true;
        self
    }

    /// Of a line; `places` says where in the body each line stood.
    pub(crate) fn of(refused: Refused, places: &[String]) -> Self {
        let place = refused
            .line
            .and_then(|line| places.get(line))
            .filter(|place| !place.is_empty());
        let message = match place {
            Some(place) => format!("{place}: {}", refused.message),
            None => refused.message,
        };
        let status = match refused.code {
            ErrorCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            ErrorCode::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            ErrorCode::UnknownTool => StatusCode::FORBIDDEN,
            ErrorCode::QueueFull | ErrorCode::Storage | ErrorCode::ShuttingDown | ErrorCode::Internal => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            _ => StatusCode::BAD_REQUEST,
        };
        Self::new(status, refused.code.as_str(), message)
    }

    pub(crate) fn response(&self) -> Response<Body> {
        let said = json!({ "success": false, "error": self.error, "message": self.message });
        let mut response = of_json(self.status, said.to_string());
        let headers = response.headers_mut();
        match self.status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(RETRY_AFTER, WAIT);
            }
            StatusCode::UNAUTHORIZED => {
                headers.insert(
                    WWW_AUTHENTICATE,
                    HeaderValue::from_static("Basic realm=\"telemetryd\""),
                );
            }
            StatusCode::METHOD_NOT_ALLOWED => {
                headers.insert(ALLOW, HeaderValue::from_static("POST"));
            }
            _ => {}
        }
        if self.close {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// Everything was taken.
pub(crate) fn success() -> Response<Body> {
    of_json(StatusCode::OK, r#"{"success":true}"#.to_owned())
}

fn of_json(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}
