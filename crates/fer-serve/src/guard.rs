//! Answers to those who may not ask.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::body;
use crate::state::Shared;

/// What may be asked without the token: what tells nothing.
const OPEN: [&str; 2] = ["/health", "/openapi.json"];

/// Answers who may not ask.
pub(crate) async fn guard(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let needs_token = !OPEN.contains(&path) && !crate::page::is_part(path);
    let headers = request.headers();
    let access = &shared.access;
    let allowed = access.host(headers).and_then(|()| access.origin(headers));
    match allowed.and_then(|()| if needs_token { access.token(headers) } else { Ok(()) }) {
        Ok(()) => next.run(request).await,
        Err(problem) => {
            body::discard(request.into_body()).await;
            problem.into_response()
        }
    }
}
