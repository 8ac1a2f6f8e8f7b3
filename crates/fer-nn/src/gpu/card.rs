//! What a card does, whichever it is.

use candle_core::{Result, Tensor};

use crate::geometry::ConvShape;

/// A place in the card's memory, in bytes; 0 is no place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Address(pub u64);

impl Address {
    /// No place: kernels take it for values that there are none of.
    pub const NONE: Self = Self(0);

    /// The place `len` values of `T` further on.
    pub fn after<T>(self, len: usize) -> Self {
        Self(self.0 + (len * size_of::<T>()) as u64)
    }
}

/// Two bytes of a bfloat16.
pub(crate) type Half = u16;

/// The type of the values of an activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    F32,
    Bf16,
}

impl Kind {
    pub fn size(self) -> usize {
        match self {
            Self::F32 => size_of::<f32>(),
            Self::Bf16 => size_of::<Half>(),
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }
}

/// What a convolution computes, from what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// The output from the input and the weight.
    Forward,
    /// The input's gradient from the weight and the output's gradient.
    Input,
    /// The weight's gradient from the input and the output's gradient.
    Weight,
}

#[cfg(feature = "cuda")]
impl Direction {
    pub fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Input => "input_gradient",
            Self::Weight => "weight_gradient",
        }
    }
}

/// `c = a·b`, or `c += a·b`, of row-major f32 matrices, `(rows, inner)·(inner, columns)`, each stored as it is or transposed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Product {
    pub a: Address,
    pub b: Address,
    pub c: Address,
    pub a_transposed: bool,
    pub b_transposed: bool,
    /// Whether the product is added to what is in `c`.
    pub adds: bool,
    pub rows: usize,
    pub columns: usize,
    pub inner: usize,
}

/// Arguments that are bytes without gaps that matter, laid out as the kernel's.
///
/// # Safety
/// The type is `repr(C)`, holds numbers and addresses only, and has the layout of the kernel's struct.
pub(crate) unsafe trait Args: Copy + 'static {}

/// What a card does. Work is queued and done in order.
pub(crate) trait Gpu {
    /// Memory that is freed when it is dropped.
    type Memory;
    /// A convolution whose algorithms are chosen.
    type Convolution;
    /// Recorded work.
    type Graph;

    /// Memory of zeros.
    fn allocate(&self, bytes: usize) -> Result<(Self::Memory, Address)>;

    /// Copies to the card.
    fn upload(&self, bytes: &[u8], to: Address) -> Result<()>;

    /// Copies from the card, after all queued work.
    fn download(&self, from: Address, bytes: &mut [u8]) -> Result<()>;

    /// Calls `work` with the place of a tensor's f32 values, channels before positions.
    fn read(&self, tensor: &Tensor, work: &mut dyn FnMut(Address) -> Result<()>) -> Result<()>;

    /// A tensor, on the network's device, of the values that `work` writes to the place it is given.
    fn tensor(&self, shape: &[usize], work: &mut dyn FnMut(Address) -> Result<()>) -> Result<Tensor>;

    /// Queues a kernel on a grid of blocks.
    fn launch<A: Args>(&self, kernel: &str, grid: [usize; 2], block: [usize; 2], args: &A) -> Result<()>;

    /// Chooses the algorithms of a convolution of values of this kind, channels last. `gradients` says for which
    /// gradients, the input's and the weight's.
    fn convolution(&self, shape: &ConvShape, kind: Kind, gradients: [bool; 2]) -> Result<Self::Convolution>;

    /// Queues a convolution: of the operands in the order of [`Direction`], to `to`.
    fn convolve(
        &self,
        conv: &Self::Convolution,
        direction: Direction,
        operands: [Address; 2],
        to: Address,
    ) -> Result<()>;

    /// Queues a product.
    fn multiply(&self, product: Product) -> Result<()>;

    /// Records what `work` queues, without doing it.
    fn record(&self, work: &mut dyn FnMut() -> Result<()>) -> Result<Self::Graph>;

    /// Queues recorded work.
    fn replay(&self, graph: &Self::Graph) -> Result<()>;
}
