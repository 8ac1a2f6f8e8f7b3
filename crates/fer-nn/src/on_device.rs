//! A training that stays on a device: what it is given, and what it gives back.
//!
//! The data set lies in the device's memory as bytes, the device makes the batches, and a step is one piece of recorded
//! work: the host says once an epoch what is to be done, and reads what came of it.

use candle_core::{Result, Tensor, TensorId};

#[cfg(any(feature = "cuda", test))]
use crate::gpu::args::{ToneArgs, WarpArgs};

/// Grey images and their labels, as they are stored.
#[derive(Clone, Debug)]
pub struct Samples {
    /// The images one after the other, row by row, `height·width` bytes each. The network sees them divided by 255.
    pub pixels: Vec<u8>,
    /// The class of each image, from 0.
    pub labels: Vec<u32>,
    /// Rows of an image.
    pub height: usize,
    /// Columns of an image.
    pub width: usize,
    /// Images in a batch; the last of an epoch may hold fewer.
    pub batch_size: usize,
}

impl Samples {
    /// The batches of an epoch.
    pub fn steps(&self) -> usize {
        self.labels.len().div_ceil(self.batch_size.max(1))
    }

    #[cfg(any(feature = "cuda", test))]
    pub(crate) fn largest_batch(&self) -> usize {
        self.batch_size.min(self.labels.len())
    }

    #[cfg(any(feature = "cuda", test))]
    pub(crate) fn last_batch(&self) -> usize {
        self.labels.len() - (self.steps().max(1) - 1) * self.batch_size
    }

    #[cfg(any(feature = "cuda", test))]
    pub(crate) fn check(&self, classes: usize) -> Result<()> {
        use candle_core::bail;

        let Self { pixels, labels, height, width, batch_size } = self;
        if labels.is_empty() || *batch_size == 0 {
            bail!("{} samples in batches of {batch_size}", labels.len())
        }
        if pixels.len() != labels.len() * height * width {
            bail!("{} pixels of {} images of {height}×{width}", pixels.len(), labels.len())
        }
        match labels.iter().position(|&label| label as usize >= classes) {
            Some(i) => bail!("sample {i} has the label {}, but the network has {classes} classes", labels[i]),
            None => Ok(()),
        }
    }
}

/// What is done to one image on its way into a batch: an affine map, then mirroring.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Warp {
    /// Where pixel (row, column) is read: `matrix·(row, column) + offset`, the matrix row by row. `None` where it is
    /// read at its own place.
    pub map: Option<([f64; 4], [f64; 2])>,
    /// Mirrored left and right.
    pub flip_horizontal: bool,
    /// Mirrored top and bottom.
    pub flip_vertical: bool,
}

#[cfg(any(feature = "cuda", test))]
impl Warp {
    pub(crate) fn args(&self) -> WarpArgs {
        let (matrix, offset) = self.map.unwrap_or_default();
        let flips = u32::from(self.flip_horizontal) + 2 * u32::from(self.flip_vertical);
        WarpArgs { matrix, offset, moves: u32::from(self.map.is_some()), flips }
    }
}

/// What is done to the values of one image, 0 to 1, after it was moved: Keras' channel shift, then its brightness.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tone {
    /// Added to every pixel, within the image's own least and greatest.
    pub shift: f32,
    /// A factor, 0 or more, by way of bytes; see [`Stretch`].
    pub brightness: Option<f32>,
}

#[cfg(any(feature = "cuda", test))]
impl Tone {
    pub(crate) fn args(&self) -> ToneArgs {
        ToneArgs { shift: self.shift, brightness: self.brightness.unwrap_or(-1.0) }
    }
}

/// Which images brightness stretches to 0 to 255 before it makes bytes of their pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stretch {
    /// All; their pixels are 0 to 255 from then on: keras-preprocessing.
    Always,
    /// Those with a pixel outside 0 to 255, which return to their range; of others the fraction is lost: Keras 3.
    OutsideBytes,
}

/// What lies outside an image, as in `scipy.ndimage.affine_transform`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Edge {
    /// The pixel at the edge.
    #[default]
    Nearest,
    /// This value, 0 to 1.
    Constant(f32),
    /// The image, mirrored.
    Reflect,
    /// The image again.
    Wrap,
}

#[cfg(any(feature = "cuda", test))]
impl Edge {
    /// As the kernel knows it.
    pub(crate) fn number(self) -> (u32, f32) {
        match self {
            Self::Nearest => (0, 0.0),
            Self::Constant(value) => (1, value),
            Self::Reflect => (2, 0.0),
            Self::Wrap => (3, 0.0),
        }
    }
}

/// What a training on a device is made from.
#[derive(Clone, Copy, Debug)]
pub struct Setup<'a> {
    /// The samples to train on.
    pub train: &'a Samples,
    /// The samples to validate on, in their order.
    pub valid: Option<&'a Samples>,
    /// What lies outside the images that are moved.
    pub edge: Edge,
    /// Given, an epoch has a [`Tone`] for every image, and brightness is made like this.
    pub tones: Option<Stretch>,
    /// The part of the target that is spread over all classes, 0 to 1.
    pub label_smoothing: f64,
    /// A factor for the training loss of each class' samples.
    pub class_weights: Option<&'a [f64]>,
    /// The seed of the dropout masks.
    pub seed: u64,
}

/// What an epoch does with the training samples.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EpochPlan {
    /// Every sample once, in the order of the epoch.
    pub order: Vec<u32>,
    /// How each of them is moved, in the same order.
    pub warps: Vec<Warp>,
    /// What is done to the values of each, where [`Setup::tones`] says that something is.
    pub tones: Vec<Tone>,
}

/// The factors of one step of an optimiser, for all parameters:
/// `m += (g − m)·new_in_mean`, `v += (g² − v)·new_in_square`,
/// `w −= (of_mean·m + of_gradient·g) / (√(of_square·v) + epsilon)`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
#[allow(missing_docs, reason = "the formula names them")]
pub struct Update {
    pub new_in_mean: f32,
    pub new_in_square: f32,
    pub of_mean: f32,
    pub of_gradient: f32,
    pub of_square: f32,
    pub epsilon: f32,
}

/// What came of a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchResult {
    /// The images in it.
    pub samples: usize,
    /// The sum of their losses.
    pub loss: f64,
    /// How many predictions were right.
    pub correct: u32,
}

/// The moving means of a variable's gradient and of its square.
#[derive(Clone, Debug)]
pub struct Moments {
    /// The variable.
    pub variable: TensorId,
    /// Of the gradient, in the variable's shape.
    pub m: Tensor,
    /// Of its square.
    pub v: Tensor,
}

/// A training that lives on a device; [`Network::on_device`](crate::Network::on_device) makes it.
pub trait OnDevice {
    /// Trains on the batches of epoch `epoch` (from 0), from batch `first` on: one of `updates` each. The variables are
    /// read at the beginning and written at the end.
    ///
    /// # Errors
    /// When the plan is not one of the samples, or the device fails.
    fn train(
        &mut self,
        epoch: u32,
        first: usize,
        plan: &EpochPlan,
        updates: &[Update],
    ) -> Result<Vec<BatchResult>>;

    /// Measures the variables' network on the validation samples; nothing without them.
    ///
    /// # Errors
    /// When the device fails.
    fn validate(&mut self) -> Result<Vec<BatchResult>>;

    /// The optimiser's moments, of all variables that are trained.
    ///
    /// # Errors
    /// When the device fails.
    fn moments(&self) -> Result<Vec<Moments>>;

    /// Sets the optimiser's moments; those of variables that are not named stay.
    ///
    /// # Errors
    /// When one is of no variable of the network or of another shape, or the device fails.
    fn set_moments(&mut self, moments: &[Moments]) -> Result<()>;
}
