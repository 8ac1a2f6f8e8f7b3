//! Makes batches of a dataset, in threads that run ahead of the training.
//!
//! Each of T threads makes every T-th batch and hands it over through a queue of its own, which the consumer
//! empties in turn. So batches come in order, never more than the queues hold are waiting, and nothing depends
//! on which thread is faster.

use std::{
    error::Error as StdError,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        mpsc::{Receiver, sync_channel},
    },
    thread::{self, JoinHandle},
};

use fer_rand::{Purpose, Stream};
use ndarray::{Array4, ArrayViewMut2, s};
use serde::{Deserialize, Serialize};

use crate::{Dataset, Error, Result};

const SHUFFLE: Purpose = Purpose::named("shuffle");
const AUGMENT: Purpose = Purpose::named("augment");

/// Why a function on images failed.
pub type MapError = Box<dyn StdError + Send + Sync>;

type Map = dyn Fn(ArrayViewMut2<'_, f32>, Stream) -> Result<(), MapError> + Send + Sync;

/// Some images, ready for a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// (batch, 1, height, width), 0 to 1 before the function on images, whatever it makes of them after.
    pub images: Array4<f32>,
    /// The class of each image, from 0; empty for data without labels.
    pub labels: Vec<u32>,
    /// The data row of each image, from 0.
    pub rows: Vec<u32>,
}

/// How a [`Loader`] makes batches; `Default` is the notebook's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoaderConfig {
    /// Images in a batch, over 0; the last batch of an epoch holds what is left. 32.
    pub batch_size: usize,
    /// Shuffles the images anew in each epoch. True.
    pub shuffle: bool,
    /// The seed of the shuffling and of the function on images. 42.
    pub seed: u64,
    /// Threads that make batches; with 0 the consumer makes them itself. 2. The batches do not depend on it.
    pub threads: usize,
    /// Batches that may be ready before they are asked for, shared among the threads. 8.
    pub prefetch: usize,
}

impl Default for LoaderConfig {
    fn default() -> Self {
        Self { batch_size: 32, shuffle: true, seed: 42, threads: 2, prefetch: 8 }
    }
}

/// Makes the batches of a dataset, epoch by epoch.
///
/// ```
/// use fer_data::{Dataset, Loader, LoaderConfig};
/// let data = Dataset::drawn(100, 42);
/// let loader = Loader::new(data, LoaderConfig::default())?.map(|mut image, stream| {
///     // Whatever is drawn from `stream.rng()` depends on the seed, the epoch and the row alone.
///     if stream.rng().below(2) == 0 {
///         image.mapv_inplace(|grey| 1.0 - grey);
///     }
///     Ok(())
/// });
/// let sizes: Result<Vec<usize>, _> = loader.epoch(0).map(|batch| Ok(batch?.rows.len())).collect();
/// assert_eq!(sizes?, [32, 32, 32, 4]);
/// # Ok::<(), fer_data::Error>(())
/// ```
#[derive(Clone)]
pub struct Loader {
    data: Dataset,
    config: LoaderConfig,
    map: Option<Arc<Map>>,
}

impl Loader {
    /// A loader of all rows in view.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a batch size of 0.
    pub fn new(data: Dataset, config: LoaderConfig) -> Result<Self> {
        if config.batch_size == 0 {
            let allowed = "1 or more".to_owned();
            return Err(Error::Invalid { name: "batch_size", found: "0".to_owned(), allowed });
        }
        Ok(Self { data, config, map: None })
    }

    /// Applies `function` to each image (height, width), 0 to 1, in the threads: augmentation. Its random
    /// numbers come from the stream it is given, which is named by the seed, the epoch and the data row.
    pub fn map<F>(self, function: F) -> Self
    where
        F: Fn(ArrayViewMut2<'_, f32>, Stream) -> Result<(), MapError> + Send + Sync + 'static,
    {
        Self { map: Some(Arc::new(function)), ..self }
    }

    /// The batches of an epoch.
    pub fn batches(&self) -> usize {
        self.data.len().div_ceil(self.config.batch_size)
    }

    /// The data that batches are made of.
    pub fn data(&self) -> &Dataset {
        &self.data
    }

    /// Whether a function is applied to each image.
    pub fn is_mapped(&self) -> bool {
        self.map.is_some()
    }

    /// How batches are made.
    pub fn config(&self) -> &LoaderConfig {
        &self.config
    }

    /// The order in which epoch `epoch` takes the images in view.
    pub fn order(&self, epoch: u32) -> Vec<usize> {
        match self.config.shuffle {
            true => {
                let stream = Stream { seed: self.config.seed, purpose: SHUFFLE, epoch, item: 0 };
                stream.rng().permutation(self.data.len())
            }
            false => (0..self.data.len()).collect(),
        }
    }

    /// The random numbers that the function on images gets for data row `row` in epoch `epoch`.
    pub fn stream(&self, epoch: u32, row: u32) -> Stream {
        Stream { seed: self.config.seed, purpose: AUGMENT, epoch, item: row }
    }

    /// The batches of epoch `epoch`, from 0: the same for a seed whatever the number of threads.
    pub fn epoch(&self, epoch: u32) -> Epoch {
        let maker = Maker { loader: self.clone(), order: self.order(epoch).into(), epoch };
        let batches = self.batches();
        let threads = self.config.threads.min(batches);
        let workers = (0..threads).map(|first| {
            let (sender, queue) = sync_channel(self.config.prefetch.div_ceil(threads));
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
        Epoch { workers: workers.collect(), maker, next: 0, batches }
    }
}

impl fmt::Debug for Loader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { data, config, map } = self;
        let map = map.is_some();
        f.debug_struct("Loader").field("data", data).field("config", config).field("map", &map).finish()
    }
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

#[derive(Clone)]
struct Maker {
    loader: Loader,
    order: Arc<[usize]>,
    epoch: u32,
}

impl Maker {
    fn make(&self, index: usize) -> Result<Batch> {
        let Loader { data, config, map } = &self.loader;
        let start = index * config.batch_size;
        let positions = &self.order[start..self.order.len().min(start + config.batch_size)];
        let side = data.side();
        let mut pixels = Vec::with_capacity(positions.len() * side * side);
        for &i in positions {
            pixels.extend(data.pixels(i).iter().map(|&pixel| f32::from(pixel) / 255.0));
        }
        let rows: Vec<u32> = positions.iter().map(|&i| data.rows()[i]).collect();
        let labels = positions.iter().filter_map(|&i| data.label(i));
        let labels = labels.map(|label| data.encoder().encode(label)).collect::<Result<_>>()?;
        // As many pixels were pushed as the shape has, so the error cannot occur.
        let mut images = Array4::from_shape_vec((positions.len(), 1, side, side), pixels).unwrap_or_default();
        if let Some(map) = map {
            for (n, &row) in rows.iter().enumerate() {
                let stream = self.loader.stream(self.epoch, row);
                let image = images.slice_mut(s![n, 0, .., ..]);
                let outcome = catch_unwind(AssertUnwindSafe(|| map(image, stream)));
                outcome
                    .unwrap_or_else(|panic| Err(panic_message(&*panic).into()))
                    .map_err(|error| Error::Map { row, message: error.to_string() })?;
            }
        }
        Ok(Batch { images, labels, rows })
    }
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let message = panic.downcast_ref::<&str>().map(|message| (*message).to_owned());
    let message = message.or_else(|| panic.downcast_ref::<String>().cloned());
    format!("panicked: {}", message.unwrap_or_else(|| "no message".to_owned()))
}
