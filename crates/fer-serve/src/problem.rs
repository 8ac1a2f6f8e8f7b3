//! What a client is told that does not get what it asked for.

use axum::Json;
use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use fer_files::printable_lines;
use serde::Serialize;

/// What a client is told: `{"error":{"code":"…","message":"…"}}`.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub status: StatusCode,
    pub code: &'static str,
    pub message: String,
}

/// What is written of it.
#[derive(Debug, Serialize)]
pub(crate) struct Body {
    code: &'static str,
    message: String,
}

#[derive(Serialize)]
struct Envelope {
    error: Body,
}

impl Problem {
    pub fn new(status: StatusCode, code: &'static str, message: impl std::fmt::Display) -> Self {
        // Messages may repeat names and bytes that a client has sent.
        Self { status, code, message: printable_lines(message).to_string() }
    }

    pub fn request(message: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    pub fn too_large(message: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
    }

    pub fn picture(message: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "no_picture", message)
    }

    pub fn busy(message: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "busy", message)
    }

    pub fn late(seconds: f64) -> Self {
        let message = format!("not answered within {seconds} seconds");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "late", message)
    }

    /// Something that is this program's fault.
    pub fn internal() -> Self {
        let message = "the service failed at this; its log has more";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    }

    pub fn into_body(self) -> Body {
        Body { code: self.code, message: self.message }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status;
        let mut response = (status, Json(Envelope { error: self.into_body() })).into_response();
        let headers = response.headers_mut();
        match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            StatusCode::UNAUTHORIZED => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            _ => {}
        }
        response
    }
}
