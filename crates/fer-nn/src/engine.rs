//! What a trainer asks of a device that trains a network by itself.
//!
//! The data set lies in the device's memory as bytes, the device makes the batches, and a step is one piece of recorded
//! work. The host says what an epoch does with the samples, then asks for ranges of steps, as many as it likes to wait for,
//! and reads what came of each.

use std::ops::Range;

use candle_core::{Result, Tensor, TensorId};

/// Grey images and their targets, as they are stored.
#[derive(Clone, Debug)]
pub struct Samples {
    /// The images one after the other, row by row, `height·width` bytes each.
    pub pixels: Vec<u8>,
    /// For each image the share of every class in its target, `classes` numbers that sum to 1; a label is a 1 among zeros.
    pub targets: Vec<f32>,
    /// The number of classes.
    pub classes: usize,
    /// Rows of an image.
    pub height: usize,
    /// Columns of an image.
    pub width: usize,
    /// Images in a batch.
    pub batch_size: usize,
    /// Whether the last batch of an epoch is left out when it is not full.
    pub drop_last: bool,
}

impl Samples {
    /// The number of images.
    pub fn len(&self) -> usize {
        self.targets.len() / self.classes.max(1)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The batches of an epoch.
    pub fn steps(&self) -> usize {
        match self.drop_last {
            true => self.len() / self.batch_size.max(1),
            false => self.len().div_ceil(self.batch_size.max(1)),
        }
    }

    /// The targets of labels from 0, for [`targets`](Self::targets).
    ///
    /// ```
    /// assert_eq!(fer_nn::engine::Samples::one_hot(&[2, 0], 3), [0.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
    /// ```
    pub fn one_hot(labels: &[u32], classes: usize) -> Vec<f32> {
        let of = |&label: &u32| (0..classes).map(move |class| f32::from(u8::from(class == label as usize)));
        labels.iter().flat_map(of).collect()
    }

    /// Images in batch `step`.
    #[cfg(any(feature = "cuda", test))]
    pub(crate) fn batch(&self, step: usize) -> usize {
        self.batch_size.min(self.len() - step * self.batch_size)
    }

    #[cfg(any(feature = "cuda", test))]
    pub(crate) fn check(&self, classes: usize) -> Result<()> {
        use candle_core::bail;

        let Self { pixels, targets, height, width, batch_size, .. } = self;
        if self.classes != classes {
            bail!("the targets are of {} classes, the network gives {classes}", self.classes)
        }
        if *batch_size == 0 || self.steps() == 0 {
            bail!("{} samples in batches of {batch_size}", self.len())
        }
        if pixels.len() != self.len() * height * width || targets.len() != self.len() * classes {
            bail!("{} pixels of {} images of {height}×{width}", pixels.len(), self.len())
        }
        Ok(())
    }
}

/// What is done to one image on its way into a batch, in this order: an affine map, the shift of its values, mirroring,
/// Keras' brightness, contrast, offset, erasing. The default changes nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// Where pixel (row, column) is read: `matrix·(row, column) + offset`, the matrix row by row. `None` where it is
    /// read at its own place.
    pub map: Option<([f64; 4], [f64; 2])>,
    /// Mirrored left and right.
    pub flip_horizontal: bool,
    /// Mirrored top and bottom.
    pub flip_vertical: bool,
    /// Added to every pixel, within the image's own least and greatest: Keras' channel shift.
    pub shift: f32,
    /// A factor, 0 or more, by way of bytes; see [`Stretch`].
    pub brightness: Option<f32>,
    /// What every pixel's distance from the image's mean is multiplied by.
    pub contrast: f32,
    /// Added to every pixel.
    pub offset: f32,
    /// A rectangle whose pixels are replaced.
    pub erased: Option<Rectangle>,
}

impl Default for Change {
    fn default() -> Self {
        Self {
            map: None,
            flip_horizontal: false,
            flip_vertical: false,
            shift: 0.0,
            brightness: None,
            contrast: 1.0,
            offset: 0.0,
            erased: None,
        }
    }
}

/// The pixels of rows `top..bottom` and columns `left..right`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the line above names them")]
pub struct Rectangle {
    pub top: u32,
    pub left: u32,
    pub bottom: u32,
    pub right: u32,
}

/// How all images of a training are treated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Treatment {
    /// What lies outside the images that are moved.
    pub edge: Edge,
    /// How [`Change::brightness`] is made.
    pub stretch: Stretch,
    /// Whether pixels are clamped to 0 to 1 after contrast and offset.
    pub clamps: bool,
    /// The value of erased pixels, 0 to 1.
    pub erased_value: f32,
    /// Subtracted from every pixel at the end, in validation too.
    pub mean: f32,
    /// What every pixel is divided by after that.
    pub deviation: f32,
}

impl Default for Treatment {
    /// Leaves pixels as they are, divided by 255.
    fn default() -> Self {
        Self {
            edge: Edge::Nearest,
            stretch: Stretch::Always,
            clamps: false,
            erased_value: 0.0,
            mean: 0.0,
            deviation: 1.0,
        }
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

/// What an epoch does with the training samples.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EpochPlan {
    /// Every sample once, in the order of the epoch; those of a last batch that is left out may be missing.
    pub order: Vec<u32>,
    /// What is done to each of them, in the same order; empty where nothing is done to any.
    pub changes: Vec<Change>,
    /// How the images of each batch are blended; empty where they are not.
    pub mixes: Vec<Mix>,
}

/// Mixup (Zhang et al. 2018): image `i` of a batch becomes `share·image i + (1 − share)·image partners[i]`, and so does
/// its target.
#[derive(Clone, Debug, PartialEq)]
pub struct Mix {
    /// The part of the image itself.
    pub share: f32,
    /// For each image of the batch, the place in it of the other.
    pub partners: Vec<u32>,
}

/// How gradients become updates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rule {
    /// `m += (g − m)·new_in_mean`, `v += (g² − v)·new_in_square`,
    /// `w −= (of_mean·m + of_gradient·g) / (√(of_square·v) + epsilon)`: Adam, Nadam, AdamW.
    #[default]
    Adaptive,
    /// `m = momentum·m + g`, `w −= of_mean·m + of_gradient·g`: SGD, with momentum or Nesterov's.
    Momentum,
}

/// The factors of one step of an optimiser, for all variables.
///
/// Before the [`Rule`], `g` is the gradient times `min(1, clip / (‖all gradients‖ + 1e-6))`, where `clip` is over 0, plus `decay·w`;
/// after it, `w −= shrink·w`, with the `w` of before the step; and the moving average of the weights and of the moving
/// statistics, where one is kept, is `average += (w − average)·new_in_average`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
#[allow(missing_docs, reason = "the formulas name them")]
pub struct Update {
    pub new_in_mean: f32,
    pub new_in_square: f32,
    pub of_mean: f32,
    pub of_gradient: f32,
    pub of_square: f32,
    pub epsilon: f32,
    pub momentum: f32,
    pub decay: f32,
    pub shrink: f32,
    pub clip: f32,
    pub new_in_average: f32,
}

/// What a training on a device is made from.
#[derive(Clone, Copy, Debug)]
pub struct Setup<'a> {
    /// The samples to train on.
    pub train: &'a Samples,
    /// The samples to validate on, in their order.
    pub valid: Option<&'a Samples>,
    /// How images are treated.
    pub treatment: Treatment,
    /// The part of the target that is spread over all classes, 0 to 1; in validation too.
    pub label_smoothing: f64,
    /// A factor for the training loss of each class' samples: a sample's is the mean of its classes', by their shares.
    pub class_weights: Option<&'a [f64]>,
    /// The seed of the dropout masks.
    pub seed: u64,
    /// How variables are updated.
    pub rule: Rule,
    /// Whether `decay` and `shrink` are for all variables; else for those of two and more dimensions, not for biases and
    /// norms.
    pub decays_all: bool,
    /// Whether a moving average of the weights is kept, which is then what is validated.
    pub averages: bool,
}

/// What came of a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepResult {
    /// The images in it.
    pub samples: usize,
    /// The sum of their losses.
    pub loss: f64,
    /// How many predictions were the class with the largest share in the target, the first of equal ones.
    pub correct: u32,
}

/// What an optimiser keeps of a variable, each in the variable's shape. A moving statistic has an average alone.
#[derive(Clone, Debug)]
pub struct Slots {
    /// The variable.
    pub variable: TensorId,
    /// The moving mean of the gradient, or the momentum.
    pub m: Option<Tensor>,
    /// The moving mean of the gradient's square.
    pub v: Option<Tensor>,
    /// The moving average of the values.
    pub average: Option<Tensor>,
}

/// A training that lives on a device; [`Network::engine`](crate::Network::engine) makes it.
pub trait Engine {
    /// Begins epoch `epoch` (from 0) with the variables' present values.
    ///
    /// # Errors
    /// When the plan is not one of the samples, or the device fails.
    fn begin(&mut self, epoch: u32, plan: &EpochPlan) -> Result<()>;

    /// Trains on these batches of the epoch, with one of `updates` each.
    ///
    /// # Errors
    /// When there are no such batches, or the device fails.
    fn train(&mut self, steps: Range<usize>, updates: &[Update]) -> Result<Vec<StepResult>>;

    /// Measures the network on these batches of the validation samples; by the averages, where they are kept.
    ///
    /// # Errors
    /// When there are no such batches, or the device fails.
    fn validate(&mut self, steps: Range<usize>) -> Result<Vec<StepResult>>;

    /// Brings the weights and moving statistics to the network's variables.
    ///
    /// # Errors
    /// When the device fails.
    fn store(&mut self) -> Result<()>;

    /// What the optimiser keeps of all variables.
    ///
    /// # Errors
    /// When the device fails.
    fn slots(&self) -> Result<Vec<Slots>>;

    /// Sets what the optimiser keeps; that of variables that are not named stays.
    ///
    /// # Errors
    /// When one is of no variable of the network or of another shape, or the device fails.
    fn set_slots(&mut self, slots: &[Slots]) -> Result<()>;
}
