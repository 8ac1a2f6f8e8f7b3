//! What can be asked.

use std::time::{Duration, Instant};

use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, MatchedPath, Query, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::body::{Pictures, receive};
use crate::judge::{Answer, Ask, Seen};
use crate::problem::Problem;
use crate::state::Shared;
use crate::{guard, live, metrics, page};

/// All that can be asked.
pub(crate) fn router(shared: Shared) -> Router {
    let mut router = Router::new()
        .route("/v1/predict", post(predict))
        .route("/v1/explain", post(explain))
        .route("/v1/model", get(model))
        .route("/v1/live", get(live::upgrade))
        .route("/health", get(health))
        .route("/metrics", get(counted))
        .route("/openapi.json", get(openapi));
    for (path, media_type, text) in page::PARTS {
        router = router.route(path, get(move || async move { page::response(media_type, text) }));
    }
    router
        .fallback(|| async {
            Problem::new(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path")
        })
        .method_not_allowed_fallback(|| async {
            let message = "this path is asked another way; /openapi.json says how";
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method", message)
        })
        .layer(DefaultBodyLimit::max(shared.limits.bytes))
        .layer(from_fn_with_state(shared.clone(), guard::guard))
        .layer(from_fn_with_state(shared.clone(), count))
        .layer(from_fn(headers))
        .with_state(shared)
}

/// What a browser is to know of every answer.
async fn headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    let policy = HeaderName::from_static("cross-origin-resource-policy");
    headers.insert(policy, HeaderValue::from_static("same-origin"));
    response
}

async fn count(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let start = Instant::now();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let response = next.run(request).await;
    let route = route.as_ref().map_or("other", MatchedPath::as_str);
    shared.metrics.request(route, response.status().as_u16(), start.elapsed());
    response
}

/// What stands behind the `?`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    #[serde(default = "yes")]
    detect: bool,
    #[serde(default)]
    allow_truncated: bool,
    label: Option<String>,
}

fn yes() -> bool {
    true
}

type Asked = Result<Query<Options>, QueryRejection>;

async fn predict(State(shared): State<Shared>, asked: Asked, request: Request) -> Result<Response, Problem> {
    let Query(Options { detect, allow_truncated, label }) =
        asked.map_err(|e| Problem::request(e.body_text()))?;
    if label.is_some() {
        return Err(Problem::request("`label` is for /v1/explain"));
    }
    answer(&shared, Ask { whole: !detect, allow_truncated, ..Ask::default() }, request).await
}

async fn explain(State(shared): State<Shared>, asked: Asked, request: Request) -> Result<Response, Problem> {
    let Query(Options { detect, allow_truncated, label }) =
        asked.map_err(|e| Problem::request(e.body_text()))?;
    if let Some(label) = label.as_ref().filter(|label| !shared.labels.contains(label)) {
        let allowed = shared.labels.join(", ");
        return Err(Problem::request(format!("label is {label}; allowed: {allowed}")));
    }
    answer(&shared, Ask { whole: !detect, allow_truncated, explain: true, label }, request).await
}

/// A picture as `fer predict --json` prints it.
#[derive(Serialize)]
#[serde(untagged)]
enum Line {
    Faces { source: String, faces: Vec<Seen> },
    Error { source: String, error: String },
}

#[derive(Serialize)]
struct Lines {
    pictures: Vec<Line>,
}

async fn answer(shared: &Shared, ask: Ask, request: Request) -> Result<Response, Problem> {
    let seconds = shared.limits.seconds;
    let work = async {
        let Pictures { names, pictures, many, permits } = receive(shared, request).await?;
        let answers = shared.ask(pictures, ask).await?;
        drop(permits);
        if many {
            let pictures =
                names.into_iter().zip(answers).map(|(source, answer)| line(source, answer)).collect();
            return Ok(Json(Lines { pictures }).into_response());
        }
        let (Some(source), Some(answer)) = (names.into_iter().next(), answers.into_iter().next()) else {
            return Err(Problem::internal());
        };
        Ok(Json(Line::Faces { source, faces: answer? }).into_response())
    };
    timeout(Duration::from_secs_f64(seconds), work).await.unwrap_or_else(|_| Err(Problem::late(seconds)))
}

fn line(source: String, answer: Answer) -> Line {
    match answer {
        Ok(faces) => Line::Faces { source, faces },
        Err(problem) => Line::Error { source, error: problem.message },
    }
}

async fn model(State(shared): State<Shared>) -> Response {
    json(shared.model.clone())
}

async fn health() -> Response {
    json(r#"{"status":"ok"}"#)
}

async fn openapi(State(shared): State<Shared>) -> Response {
    json(shared.openapi.clone())
}

async fn counted(State(shared): State<Shared>) -> Response {
    let limits = shared.limits;
    let under_way = limits.under_way - shared.slots.available_permits();
    let streams = limits.streams - shared.streams.available_permits();
    ([(CONTENT_TYPE, metrics::MEDIA_TYPE)], shared.metrics.text(under_way, streams)).into_response()
}

fn json(text: impl IntoResponse) -> Response {
    ([(CONTENT_TYPE, "application/json")], text).into_response()
}
