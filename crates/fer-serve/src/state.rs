//! What all requests share.

use std::sync::Arc;
use std::sync::mpsc::Sender;

use axum::body::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

use crate::access::Access;
use crate::config::Limits;
use crate::judge::{Answer, Ask, Job};
use crate::metrics::Metrics;
use crate::problem::Problem;

/// What all requests share.
pub(crate) struct State {
    pub limits: Limits,
    pub access: Access,
    pub labels: Vec<String>,
    /// The answer to `GET /v1/model`.
    pub model: String,
    /// The answer to `GET /openapi.json`.
    pub openapi: String,
    pub metrics: Arc<Metrics>,
    pub judge: Sender<Job>,
    /// A permit a picture under way.
    pub slots: Arc<Semaphore>,
    /// A permit a kilobyte of the pictures under way.
    pub memory: Arc<Semaphore>,
    /// A permit a stream.
    pub streams: Arc<Semaphore>,
    /// Becomes true when the service ends.
    pub stop: watch::Receiver<bool>,
}

/// The state, for a handler.
pub(crate) type Shared = Arc<State>;

impl State {
    /// Room for a picture.
    pub fn slot(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let slot = self.slots.clone().try_acquire_owned();
        slot.map_err(|_| {
            Problem::busy(format!("{} pictures are under way; try again", self.limits.under_way))
        })
    }

    /// What the judge says of pictures.
    pub async fn ask(&self, pictures: Vec<Bytes>, ask: Ask) -> Result<Vec<Answer>, Problem> {
        let (reply, answer) = oneshot::channel();
        self.judge.send(Job { pictures, ask, reply }).map_err(|_| Problem::internal())?;
        answer.await.map_err(|_| Problem::internal())
    }
}
