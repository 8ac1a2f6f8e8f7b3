//! Makes the batches of an epoch, in threads that run ahead of the training.
//!
//! Each of T threads makes every T-th batch and hands it over through a queue of its own, which the consumer
//! empties in turn. So batches come in order, never more than the queues hold are waiting, and nothing depends
//! on which thread is faster.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        mpsc::{Receiver, sync_channel},
    },
    thread::{self, JoinHandle},
};

use ndarray::{Array2, Array4, Axis};

use crate::{Error, Loader, MapError, Result, Shape};

/// Some images, ready for a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// (batch, channels, height, width), 0 to 1 before the functions on images and batches, whatever they make of them
    /// after.
    pub images: Array4<f32>,
    /// The class of each image, from 0, before the function on batches; empty for data without labels.
    pub labels: Vec<u32>,
    /// What the network should say of each image, (batch, classes): one-hot at the label or shares of votes, as
    /// [`Dataset::targets`](crate::Dataset::targets), and whatever the function on batches makes of them. (batch, 0)
    /// for data without labels.
    pub targets: Array2<f32>,
    /// The data row of each image, from 0.
    pub rows: Vec<u32>,
}

/// The batches of one epoch, in order. After an error there are no more.
///
/// Dropping it midway stops the threads and waits for the image each has in hand.
pub struct Epoch {
    maker: Maker,
    workers: Vec<Worker>,
    next: usize,
    batches: usize,
}

struct Worker {
    queue: Option<Receiver<Result<Batch>>>,
    thread: Option<JoinHandle<()>>,
}

impl Loader {
    /// The batches of epoch `epoch`, from 0: the same for a seed whatever the number of threads.
    pub fn epoch(&self, epoch: u32) -> Epoch {
        Epoch::new(self.clone(), epoch)
    }
}

impl Epoch {
    fn new(loader: Loader, epoch: u32) -> Self {
        let (batches, prefetch) = (loader.batches(), loader.config().prefetch);
        let threads = loader.config().threads.min(batches);
        let maker = Maker { order: loader.order(epoch).into(), loader, epoch };
        let workers = (0..threads).map(|first| {
            let (sender, queue) = sync_channel(prefetch.div_ceil(threads));
            let maker = maker.clone();
            let work = move || {
                for index in (first..batches).step_by(threads) {
                    let batch = maker.make(index);
                    let failed = batch.is_err();
                    // Nobody takes the batch when the epoch was dropped.
                    if sender.send(batch).is_err() || failed {
                        return;
                    }
                }
            };
            let thread = thread::Builder::new().name(format!("fer-data load {first}")).spawn(work).ok();
            Worker { queue: Some(queue), thread }
        });
        Self { workers: workers.collect(), maker, next: 0, batches }
    }
}

impl Iterator for Epoch {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next == self.batches {
            return None;
        }
        let batch = if self.workers.is_empty() {
            self.maker.make(self.next)
        } else {
            let worker = &self.workers[self.next % self.workers.len()];
            let received = worker.queue.as_ref().and_then(|queue| queue.recv().ok());
            // A queue closes early only when its thread never started: panics are caught where they occur.
            received.unwrap_or(Err(Error::Thread))
        };
        self.next = if batch.is_ok() { self.next + 1 } else { self.batches };
        Some(batch)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::from(self.next < self.batches), Some(self.batches - self.next))
    }
}

impl Drop for Epoch {
    fn drop(&mut self) {
        // All queues close before any thread is waited for, so that all end at once.
        self.workers.iter_mut().for_each(|worker| worker.queue = None);
        for worker in &mut self.workers {
            let _ = worker.thread.take().map(JoinHandle::join);
        }
    }
}

/// Makes any batch of an epoch.
#[derive(Clone)]
struct Maker {
    loader: Loader,
    order: Arc<[usize]>,
    epoch: u32,
}

impl Maker {
    fn make(&self, index: usize) -> Result<Batch> {
        let (loader, data) = (&self.loader, self.loader.data());
        let start = index * loader.config().batch_size;
        let positions = &self.order[start..self.order.len().min(start + loader.config().batch_size)];
        let Shape { channels, height, width } = data.shape();
        let mut pixels = Vec::with_capacity(positions.len() * data.shape().values());
        for &i in positions {
            pixels.extend(data.pixels(i).iter().map(|&pixel| f32::from(pixel) / 255.0));
        }
        let rows: Vec<u32> = positions.iter().map(|&i| data.rows()[i]).collect();
        let labels = positions.iter().filter_map(|&i| data.label(i));
        let labels = labels.map(|label| data.encoder().encode(label)).collect::<Result<_>>()?;
        let mut targets = data.targets_at(positions);
        // As many pixels were pushed as the shape has, so the error cannot occur.
        let shape = (positions.len(), channels, height, width);
        let mut images = Array4::from_shape_vec(shape, pixels).unwrap_or_default();
        if let Some(map) = &loader.map {
            for (n, &row) in rows.iter().enumerate() {
                let stream = loader.stream(self.epoch, row);
                guarded(|| map(images.index_axis_mut(Axis(0), n), stream))
                    .map_err(|message| Error::Map { row, message })?;
            }
        }
        if let Some(map) = &loader.map_batch {
            let stream = loader.batch_stream(self.epoch, index as u32);
            guarded(|| map(images.view_mut(), targets.view_mut(), stream))
                .map_err(|message| Error::MapBatch { batch: index, message })?;
        }
        Ok(Batch { images, labels, targets, rows })
    }
}

/// What a user's function gives, with its error or its panic as text.
fn guarded(function: impl FnOnce() -> Result<(), MapError>) -> Result<(), String> {
    let outcome = catch_unwind(AssertUnwindSafe(function));
    outcome.unwrap_or_else(|panic| Err(panic_message(&*panic).into())).map_err(|error| error.to_string())
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let message = panic.downcast_ref::<&str>().map(|message| (*message).to_owned());
    let message = message.or_else(|| panic.downcast_ref::<String>().cloned());
    format!("panicked: {}", message.unwrap_or_else(|| "no message".to_owned()))
}
