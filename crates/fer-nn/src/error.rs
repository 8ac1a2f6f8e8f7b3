//! What can go wrong outside a tensor operation.

/// An error of this crate. Tensor operations return [`candle_core::Error`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No device has this name.
    #[error("unknown device '{name}': expected auto, cpu or cuda:N")]
    UnknownDevice {
        /// The name that was asked for.
        name: String,
    },
    /// The layers have no CUDA kernels yet.
    #[error("{device}: the layers have no CUDA kernels yet; use cpu or auto")]
    CudaKernels {
        /// The device that was asked for.
        device: String,
    },
}
