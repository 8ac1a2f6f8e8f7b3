//! What single layers are made of: one kernel's work, for any device.

use fer_rand::Stream;

use crate::Activation;
use crate::channel::Channel;
use crate::geometry::{ConvShape, DenseShape, Windows};

/// What is computed, with its operands in the order of the comment.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Primitive<'a> {
    /// x, weight and, where there is one, bias.
    Conv2d(ConvShape, Activation),
    /// weight, dy.
    Conv2dInput(ConvShape),
    /// x, dy.
    Conv2dWeight(ConvShape),
    /// dy, of as many channels, each so many values an image.
    ChannelSums(usize, usize),
    /// x, weight and, where there is one, bias.
    Dense(DenseShape, Activation),
    /// weight, dy.
    DenseInput(DenseShape),
    /// x, dy.
    DenseWeight(DenseShape),
    /// x.
    Activation(Activation),
    /// What [`Activation::is_told_by_its_output`] says, y or x, and dy.
    ActivationBackward(Activation),
    /// x.
    MaxPool2d(Windows),
    /// x, dy.
    MaxPool2dBackward(Windows),
    /// x.
    MeanPool2d(Windows),
    /// dy.
    MeanPool2dBackward(Windows),
    /// x, or dy.
    Dropout(f32, Stream),
    /// x; the constants and the shift of every channel.
    BatchNorm(&'a [Channel], &'a [f32]),
    /// x, dy; the constants of every channel, their (Σ dy·x̂, Σ dy), and the number of values these were taken over.
    BatchNormInput(&'a [Channel], &'a [(f64, f64)], f64),
}
