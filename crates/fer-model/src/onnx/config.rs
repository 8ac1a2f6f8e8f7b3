//! What can be chosen of an ONNX file.

/// How a network is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OnnxConfig {
    /// Take images as they are and do to them what the [`Preprocessing`](crate::Preprocessing) says: input `images`, `uint8`
    /// `(N, height, width)` of grey or `(N, height, width, 3)` of red, green and blue, of the network's size. Else the
    /// input is what the network sees, `float32` `(N, channels, height, width)`.
    pub preprocessing: bool,
    /// Multiply batch normalisations into the convolutions before them, where nothing stands in between: fewer operations,
    /// the same to rounding.
    pub fold_norms: bool,
}
