//! The thread that judges the pictures of all clients, those that wait together.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use axum::body::Bytes;
use fer::model::{Explainer, HeatMap};
use fer::{Area, FaceCrop, FaceExpression, Recognizer};
use fer_picture::Decoder;
use rayon::prelude::*;
use serde::Serialize;
use tokio::sync::oneshot;

use crate::metrics::Metrics;
use crate::problem::Problem;

/// Pictures that are judged together at most, but for some more to give each thread as many: a face costs less among more, and what waits longer than for one such batch waits for
/// the processor anyway.
const TOGETHER: usize = 24;
/// Faces of a picture that are explained, the surest: a crowd would keep everybody waiting.
const EXPLAINED: usize = 16;

/// What is to be done with pictures.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ask {
    /// Each picture is a face already.
    pub whole: bool,
    /// A JPEG that is cut off is taken as far as it goes.
    pub allow_truncated: bool,
    /// Whether faces are explained.
    pub explain: bool,
    /// By this label; by the most probable where none is named.
    pub label: Option<String>,
}

/// Pictures of one client.
pub(crate) struct Job {
    pub pictures: Vec<Bytes>,
    pub ask: Ask,
    pub reply: oneshot::Sender<Vec<Answer>>,
}

/// The faces of one picture.
pub(crate) type Answer = Result<Vec<Seen>, Problem>;

/// A face and what is said of it; `F` is [`FaceExpression`] or a tracked one.
#[derive(Debug, Serialize)]
pub(crate) struct Seen<F = FaceExpression> {
    #[serde(flatten)]
    pub found: F,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explanation: Option<Explanation>,
}

/// Where a face speaks for a label.
#[derive(Debug, Serialize)]
pub(crate) struct Explanation {
    label: String,
    strength: f32,
    /// What the network saw of the picture.
    area: Area,
    map: HeatMap,
}

/// Starts the thread. It ends when nobody is left to send.
pub(crate) fn start(
    recognizer: Recognizer,
    decoder: Decoder,
    metrics: Arc<Metrics>,
) -> std::io::Result<(Sender<Job>, JoinHandle<()>)> {
    let (to, jobs) = channel();
    let judge = move || {
        // A network of one's own cannot be explained; who asks is told.
        let explainer = recognizer.classifier().explainer(None).map_err(|e| e.to_string());
        let judge = Judge { recognizer: &recognizer, explainer: explainer.as_ref(), decoder, metrics };
        judge.run(&jobs);
    };
    Ok((to, std::thread::Builder::new().name("judge".into()).spawn(judge)?))
}

struct Judge<'a> {
    recognizer: &'a Recognizer,
    explainer: Result<&'a Explainer<'a>, &'a String>,
    decoder: Decoder,
    metrics: Arc<Metrics>,
}

impl Judge<'_> {
    fn run(&self, jobs: &Receiver<Job>) {
        let mut waiting = VecDeque::new();
        loop {
            if waiting.is_empty() {
                let Ok(first) = jobs.recv() else { return };
                waiting.push_back(first);
            }
            waiting.extend(jobs.try_iter());
            // Nobody waits for these any more.
            waiting.retain(|job: &Job| !job.reply.is_closed());
            let batch = next(&mut waiting, rayon::current_num_threads());
            if batch.is_empty() {
                continue;
            }
            let answers = unwinding(|| self.judge(&batch));
            for (job, answer) in batch.into_iter().zip(answers.into_iter().flatten()) {
                // Whoever has gone needs no answer; who gets none is told that the service failed.
                let _ = job.reply.send(answer);
            }
        }
    }

    fn judge(&self, batch: &[Job]) -> Vec<Vec<Answer>> {
        let pictures: Vec<(&Ask, &Bytes)> =
            batch.iter().flat_map(|job| job.pictures.iter().map(|picture| (&job.ask, picture))).collect();
        self.metrics.batch.observe(pictures.len() as f64);
        let found: Vec<Result<Vec<FaceCrop>, Problem>> = pictures
            .par_iter()
            .map(|(ask, bytes)| {
                unwinding(|| self.find(ask, bytes)).unwrap_or_else(|| Err(Problem::internal()))
            })
            .collect();
        let crops = found.iter().map(|faces| faces.clone().unwrap_or_default()).collect();
        let judged = self.recognizer.classify(crops).map_err(|e| {
            tracing::error!("{e}");
            Problem::internal()
        });
        let judged = match judged {
            Ok(judged) => judged,
            Err(problem) => {
                return batch
                    .iter()
                    .map(|job| job.pictures.iter().map(|_| Err(problem.clone())).collect())
                    .collect();
            }
        };
        let mut answers = pictures.into_iter().zip(found).zip(judged).map(|(((ask, _), found), judged)| {
            let crops = found?;
            self.metrics.faces.inc_by(crops.len() as u64);
            self.explained(ask, &crops, judged)
        });
        batch.iter().map(|job| answers.by_ref().take(job.pictures.len()).collect()).collect()
    }

    fn find(&self, ask: &Ask, bytes: &Bytes) -> Result<Vec<FaceCrop>, Problem> {
        let decoder = Decoder { allow_truncated: ask.allow_truncated, ..self.decoder };
        let picture = decoder.decode(bytes).map_err(refused)?.into_rgb8();
        match ask.whole {
            true => Ok(vec![FaceCrop::whole(picture)]),
            false => self.recognizer.find(&picture).map_err(|e| {
                tracing::error!("{e}");
                Problem::internal()
            }),
        }
    }

    fn explained(&self, ask: &Ask, crops: &[FaceCrop], judged: Vec<FaceExpression>) -> Answer {
        let alone = |found| Seen { found, explanation: None };
        if !ask.explain {
            return Ok(judged.into_iter().map(alone).collect());
        }
        let explainer = self.explainer.map_err(Problem::request)?;
        let explain = |(index, (crop, found)): (usize, (&FaceCrop, FaceExpression))| {
            if index >= EXPLAINED {
                return Ok(alone(found));
            }
            let label = ask.label.as_ref().unwrap_or(&found.prediction.label);
            let explained = explainer.explain(&crop.crop, label).map_err(Problem::request)?;
            let explanation = Explanation {
                label: explained.label,
                strength: explained.strength,
                area: crop.area,
                map: HeatMap {
                    values: explained.map.values.into_iter().map(thousandth).collect(),
                    ..explained.map
                },
            };
            Ok(Seen { found, explanation: Some(explanation) })
        };
        crops.par_iter().zip(judged).enumerate().map(explain).collect()
    }
}

/// The jobs that have waited longest, of as many pictures as make all batches of those that wait about equal: with full ones the
/// last in the queue would wait for a whole batch more. Each thread has as many of them, or some would wait for the others.
fn next(waiting: &mut VecDeque<Job>, threads: usize) -> Vec<Job> {
    let pictures: usize = waiting.iter().map(|job| job.pictures.len()).sum();
    let most = pictures.div_ceil(pictures.div_ceil(TOGETHER).max(1)).max(1).next_multiple_of(threads);
    let (mut batch, mut taken) = (Vec::new(), 0);
    while taken < most
        && let Some(job) = waiting.pop_front()
    {
        taken += job.pictures.len();
        batch.push(job);
    }
    batch
}

fn refused(problem: fer_picture::Problem) -> Problem {
    use fer_picture::Problem::{TooLarge, TooManyPixels};
    match problem {
        TooLarge { .. } | TooManyPixels { .. } => Problem::too_large(problem),
        _ => Problem::picture(problem),
    }
}

/// What is drawn needs no more.
fn thousandth(value: f32) -> f32 {
    (value * 1000.0).round() / 1000.0
}

/// What `work` gives; none where it panicked, which must not end the service.
fn unwinding<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The batches of jobs of so many pictures for two threads, by their pictures.
    fn batches(jobs: &[usize]) -> Vec<Vec<usize>> {
        let job = |&pictures: &usize| Job {
            pictures: vec![Bytes::new(); pictures],
            ask: Ask::default(),
            reply: oneshot::channel().0,
        };
        let mut waiting: VecDeque<Job> = jobs.iter().map(job).collect();
        let pictures = |batch: Vec<Job>| batch.iter().map(|job| job.pictures.len()).collect();
        std::iter::repeat_with(|| next(&mut waiting, 2))
            .map(pictures)
            .take_while(|b: &Vec<_>| !b.is_empty())
            .collect()
    }

    #[test]
    fn batches_are_about_equal_and_in_order() {
        let sizes = |n: usize| batches(&vec![1; n]).iter().map(Vec::len).collect::<Vec<_>>();
        assert!(sizes(0).is_empty());
        assert_eq!(sizes(1), [1]);
        assert_eq!(sizes(24), [24]);
        assert_eq!(sizes(25), [14, 11]);
        assert_eq!(sizes(76), [20, 20, 18, 18]);
        assert_eq!(sizes(100), [20; 5]);
        // A job stays whole.
        assert_eq!(batches(&[1, 30, 1]), [vec![1, 30], vec![1]]);
        assert_eq!(batches(&[100, 2, 3]), [vec![100], vec![2, 3]]);
        assert_eq!(batches(&[0, 0, 1]), [[0, 0, 1]]);
    }
}
