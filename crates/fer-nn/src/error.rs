//! What can go wrong outside a tensor operation.

use crate::Precision;

/// A result with the error of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

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
    /// The program was built without CUDA.
    #[error(
        "cuda:{ordinal}: this program was built without CUDA; build it with --features cuda, or use cpu or auto"
    )]
    WithoutCuda {
        /// The device that was asked for.
        ordinal: usize,
    },
    /// There is no driver that works.
    #[error("cuda:{ordinal}: no usable NVIDIA driver ({message}); install one, or use cpu or auto")]
    NoDriver {
        /// The device that was asked for.
        ordinal: usize,
        /// What the driver says.
        message: String,
    },
    /// The driver is older than the CUDA that the program was built with.
    #[error(
        "cuda:{ordinal}: the NVIDIA driver is for CUDA {driver}, this program was built with CUDA {needed}; update the \
         driver, build with an older CUDA, or use cpu or auto"
    )]
    OldDriver {
        /// The device that was asked for.
        ordinal: usize,
        /// The CUDA of the driver.
        driver: String,
        /// The CUDA that is needed.
        needed: String,
    },
    /// There are fewer devices.
    #[error("cuda:{ordinal}: no such device, there are {devices}; use cpu or auto where there is none")]
    NoSuchDevice {
        /// The device that was asked for.
        ordinal: usize,
        /// How many there are.
        devices: usize,
    },
    /// The device does not start.
    #[error("cuda:{ordinal}: {message}")]
    Cuda {
        /// The device that was asked for.
        ordinal: usize,
        /// What CUDA says.
        message: String,
    },
    /// The CPU does not compute in this precision.
    #[error("precision {precision} needs a CUDA device; the CPU computes in f32")]
    Precision {
        /// What was asked for.
        precision: Precision,
    },
}
