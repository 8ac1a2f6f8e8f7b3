//! The CUDA driver's memory and errors.

use std::sync::Arc;

use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaStream, DriverError, sys};
use candle_core::{Error, Result};

/// The driver's error, with what can be done about it.
pub(super) fn of_driver(error: DriverError) -> Error {
    match error.0 {
        sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY => Error::msg("the card is out of memory"),
        sys::CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU => Error::msg(
            "the kernels were not compiled for this card: build with its compute capability in CUDA_COMPUTE_CAP",
        ),
        _ => Error::wrap(error),
    }
}

/// Memory of zeros.
pub(super) fn zeros(stream: &Arc<CudaStream>, bytes: usize) -> Result<CudaSlice<u8>> {
    stream.alloc_zeros::<u8>(bytes).map_err(|e| {
        let (free, total) = stream.context().mem_get_info().unwrap_or_default();
        let [bytes, free, total] = [bytes, free, total].map(|n| n >> 20);
        of_driver(e).context(format!("{bytes} MiB more, where {free} of the card's {total} MiB are free"))
    })
}
