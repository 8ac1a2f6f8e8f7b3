//! Pictures on their way in.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use futures_util::StreamExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use crate::problem::Problem;
use crate::state::Shared;

/// What is read of a request that is refused, in bytes and time: a client that still sends would not see the answer.
const DISCARDED: usize = 32_000_000;
const DISCARDING: Duration = Duration::from_secs(2);
/// Bytes of one permit of the memory.
pub(crate) const PERMIT: usize = 1024;

/// The pictures of a request.
pub(crate) struct Pictures {
    /// What each is called.
    pub names: Vec<String>,
    pub pictures: Vec<Bytes>,
    /// Whether they came as parts of a form.
    pub many: bool,
    /// Held until they are answered.
    pub permits: Vec<OwnedSemaphorePermit>,
}

/// Reads the pictures of a request, as far as there is room for them.
pub(crate) async fn receive(shared: &Shared, request: Request) -> Result<Pictures, Problem> {
    match admit(shared, &request) {
        Ok(permits) => read(shared, request, permits).await,
        Err(problem) => {
            discard(request.into_body()).await;
            Err(problem)
        }
    }
}

/// Makes room for one picture and for the bytes that the request has, or may have where it does not say.
fn admit(shared: &Shared, request: &Request) -> Result<Vec<OwnedSemaphorePermit>, Problem> {
    let most = shared.limits.bytes;
    let length = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let length: usize = length.unwrap_or(most);
    if length > most {
        return Err(too_large(most));
    }
    let memory = shared.memory.clone().try_acquire_many_owned(length.div_ceil(PERMIT) as u32);
    let memory = memory.map_err(|_| Problem::busy("all the memory for pictures is taken; try again"))?;
    Ok(vec![shared.slot()?, memory])
}

async fn read(
    shared: &Shared,
    request: Request,
    mut permits: Vec<OwnedSemaphorePermit>,
) -> Result<Pictures, Problem> {
    let most = shared.limits.bytes;
    // The bytes are bounded by the router's `DefaultBodyLimit`.
    let failed = |status: StatusCode, text: String| match status {
        StatusCode::PAYLOAD_TOO_LARGE => too_large(most),
        _ => Problem::request(text),
    };
    let kind = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !kind.trim_start().to_ascii_lowercase().starts_with("multipart/") {
        let read = Bytes::from_request(request, &()).await;
        let picture = read.map_err(|e| failed(e.status(), e.body_text()))?;
        if picture.is_empty() {
            return Err(Problem::picture("the request is empty; its body is to be a picture"));
        }
        return Ok(Pictures { names: vec!["body".into()], pictures: vec![picture], many: false, permits });
    }
    let form = Multipart::from_request(request, &()).await;
    let mut form = form.map_err(|e| Problem::request(e.body_text()))?;
    let (mut names, mut pictures) = (Vec::new(), Vec::new());
    while let Some(part) = form.next_field().await.map_err(|e| failed(e.status(), e.body_text()))? {
        if pictures.len() == shared.limits.pictures {
            return Err(Problem::too_large(format!("a request has at most {} pictures", pictures.len())));
        }
        if !pictures.is_empty() {
            permits.push(shared.slot()?);
        }
        let name = part.file_name().or(part.name()).map(str::to_owned);
        names.push(name.unwrap_or_else(|| format!("part {}", pictures.len() + 1)));
        pictures.push(part.bytes().await.map_err(|e| failed(e.status(), e.body_text()))?);
    }
    if pictures.is_empty() {
        return Err(Problem::picture("the form has no parts; each is to be a picture"));
    }
    Ok(Pictures { names, pictures, many: true, permits })
}

fn too_large(most: usize) -> Problem {
    Problem::too_large(format!("a request has at most {most} bytes"))
}

/// Reads what a refused client still sends, without keeping it.
pub(crate) async fn discard(body: Body) {
    let mut parts = body.into_data_stream();
    let read = async {
        let mut left = DISCARDED;
        while let Some(Ok(part)) = parts.next().await
            && left > 0
        {
            left = left.saturating_sub(part.len());
        }
    };
    let _ = timeout(DISCARDING, read).await;
}
