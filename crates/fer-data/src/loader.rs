//! Which images make a batch, and what is done to them.

use std::{error::Error as StdError, fmt, sync::Arc};

use fer_rand::{Purpose, Stream};
use ndarray::{ArrayViewMut2, ArrayViewMut3, ArrayViewMut4};
use serde::{Deserialize, Serialize};

use crate::{Dataset, Error, Result};

const SHUFFLE: Purpose = Purpose::named("shuffle");
const AUGMENT: Purpose = Purpose::named("augment");
const MIXUP: Purpose = Purpose::named("mixup");

/// Why a function on images or on batches failed.
pub type MapError = Box<dyn StdError + Send + Sync>;

type Map = dyn Fn(ArrayViewMut3<'_, f32>, Stream) -> Result<(), MapError> + Send + Sync;
type MapBatch =
    dyn Fn(ArrayViewMut4<'_, f32>, ArrayViewMut2<'_, f32>, Stream) -> Result<(), MapError> + Send + Sync;

/// How a [`Loader`] makes batches; `Default` is the notebook's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoaderConfig {
    /// Images in a batch, over 0; the last batch of an epoch holds what is left. 32.
    pub batch_size: usize,
    /// Leaves out the last batch of an epoch where it is not full. False.
    pub drop_last: bool,
    /// Shuffles the images anew in each epoch. True.
    pub shuffle: bool,
    /// The seed of the shuffling and of the functions on images and batches. 42.
    pub seed: u64,
    /// Threads that make batches; with 0 the consumer makes them itself. 2. The batches do not depend on it.
    pub threads: usize,
    /// Batches that may be ready before they are asked for, shared among the threads. 8.
    pub prefetch: usize,
}

impl Default for LoaderConfig {
    fn default() -> Self {
        Self { batch_size: 32, drop_last: false, shuffle: true, seed: 42, threads: 2, prefetch: 8 }
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
    pub(crate) map: Option<Arc<Map>>,
    pub(crate) map_batch: Option<Arc<MapBatch>>,
}

impl Loader {
    /// A loader of all rows in view.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a batch size of 0, or one over the rows in view with `drop_last`, which would leave no
    /// batch.
    pub fn new(data: Dataset, config: LoaderConfig) -> Result<Self> {
        let LoaderConfig { batch_size, drop_last, .. } = config;
        let wrong =
            |allowed| Err(Error::Invalid { name: "batch_size", found: batch_size.to_string(), allowed });
        if batch_size == 0 {
            return wrong("1 or more".to_owned());
        }
        if drop_last && !data.is_empty() && batch_size > data.len() {
            return wrong(format!("at most {}, the rows there are, with drop_last", data.len()));
        }
        Ok(Self { data, config, map: None, map_batch: None })
    }

    /// Applies `function` to each image (channels, height, width), 0 to 1, in the threads: augmentation. Its random
    /// numbers come from the stream it is given, which is named by the seed, the epoch and the data row.
    pub fn map<F>(self, function: F) -> Self
    where
        F: Fn(ArrayViewMut3<'_, f32>, Stream) -> Result<(), MapError> + Send + Sync + 'static,
    {
        Self { map: Some(Arc::new(function)), ..self }
    }

    /// Applies `function` to each batch in the threads, after the images' own function: to its images (batch,
    /// channels, height, width) and its targets (batch, classes). This is where mixup has its place. Its random numbers come
    /// from the stream it is given, which is named by the seed, the epoch and the batch.
    ///
    /// ```
    /// use fer_data::{Dataset, Loader, LoaderConfig};
    /// use ndarray::Axis;
    /// let loader = Loader::new(Dataset::drawn(64, 42), LoaderConfig::default())?;
    /// // Every image half its neighbour on the other side of the batch, and its targets too.
    /// let mixed = loader.map_batch(|mut images, mut targets, _| {
    ///     let (other_images, other_targets) = (images.to_owned(), targets.to_owned());
    ///     for (i, j) in (0..images.dim().0).rev().enumerate() {
    ///         let mut image = images.index_axis_mut(Axis(0), i);
    ///         image.zip_mut_with(&other_images.index_axis(Axis(0), j), |a, b| *a = 0.5 * (*a + b));
    ///         let mut target = targets.index_axis_mut(Axis(0), i);
    ///         target.zip_mut_with(&other_targets.index_axis(Axis(0), j), |a, b| *a = 0.5 * (*a + b));
    ///     }
    ///     Ok(())
    /// });
    /// for batch in mixed.epoch(0) {
    ///     let targets = batch?.targets;
    ///     assert!(targets.rows().into_iter().all(|target| target.sum() == 1.0));
    ///     assert_eq!(targets.row(0), targets.row(31));
    /// }
    /// # Ok::<(), fer_data::Error>(())
    /// ```
    pub fn map_batch<F>(self, function: F) -> Self
    where
        F: Fn(ArrayViewMut4<'_, f32>, ArrayViewMut2<'_, f32>, Stream) -> Result<(), MapError>
            + Send
            + Sync
            + 'static,
    {
        Self { map_batch: Some(Arc::new(function)), ..self }
    }

    /// The batches of an epoch.
    pub fn batches(&self) -> usize {
        match self.config.drop_last {
            true => self.data.len() / self.config.batch_size,
            false => self.data.len().div_ceil(self.config.batch_size),
        }
    }

    /// The images of an epoch: all in view, or those of the full batches with `drop_last`.
    pub fn samples(&self) -> usize {
        self.data.len().min(self.batches() * self.config.batch_size)
    }

    /// The data that batches are made of.
    pub fn data(&self) -> &Dataset {
        &self.data
    }

    /// Whether a function is applied to each image.
    pub fn is_mapped(&self) -> bool {
        self.map.is_some()
    }

    /// Whether a function is applied to each batch.
    pub fn is_batch_mapped(&self) -> bool {
        self.map_batch.is_some()
    }

    /// How batches are made.
    pub fn config(&self) -> &LoaderConfig {
        &self.config
    }

    /// The positions of the images of epoch `epoch`, [`samples`](Self::samples) of them, in the order in which they
    /// are taken. With `drop_last` the images left out are others in each epoch if they are shuffled.
    pub fn order(&self, epoch: u32) -> Vec<usize> {
        let mut order = match self.config.shuffle {
            true => {
                let stream = Stream { seed: self.config.seed, purpose: SHUFFLE, epoch, item: 0 };
                stream.rng().permutation(self.data.len())
            }
            false => (0..self.data.len()).collect(),
        };
        order.truncate(self.samples());
        order
    }

    /// The random numbers that the function on images gets for data row `row` in epoch `epoch`.
    pub fn stream(&self, epoch: u32, row: u32) -> Stream {
        Stream { seed: self.config.seed, purpose: AUGMENT, epoch, item: row }
    }

    /// The random numbers that the function on batches gets for batch `step`, from 0, of epoch `epoch`.
    pub fn batch_stream(&self, epoch: u32, step: u32) -> Stream {
        Stream { seed: self.config.seed, purpose: MIXUP, epoch, item: step }
    }
}

impl fmt::Debug for Loader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loader")
            .field("data", &self.data)
            .field("config", &self.config)
            .field("map", &self.is_mapped())
            .field("map_batch", &self.is_batch_mapped())
            .finish()
    }
}
