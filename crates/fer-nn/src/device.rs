//! The choice of a device, made once by the program.

use candle_core::Device;

use crate::{Compute, Error, Precision, Result};

/// The device of this name: `cpu`, `cuda:N`, or `auto`, the first CUDA device where one can be used, else the CPU. Why it
/// is the CPU in a build that has CUDA goes to `tracing`, as a warning.
///
/// # Errors
/// [`Error::UnknownDevice`] for any other name; for `cuda:N` what stands in its way: [`Error::WithoutCuda`],
/// [`Error::NoDriver`], [`Error::OldDriver`], [`Error::NoSuchDevice`] or [`Error::Cuda`].
///
/// ```
/// use fer_nn::{Error, device};
/// assert!(device("cpu").unwrap().is_cpu());
/// assert_eq!(device("gpu").unwrap_err().to_string(), "unknown device 'gpu': expected auto, cpu or cuda:N");
/// # #[cfg(not(feature = "cuda"))]
/// assert!(matches!(device("cuda:0"), Err(Error::WithoutCuda { .. })));
/// ```
pub fn device(name: &str) -> Result<Device> {
    match name {
        "cpu" => Ok(Device::Cpu),
        "auto" => Ok(open(0).unwrap_or_else(|error| {
            if cfg!(feature = "cuda") {
                tracing::warn!("{error}; the CPU is used");
            }
            Device::Cpu
        })),
        _ => match name.strip_prefix("cuda:").and_then(|n| n.parse().ok()) {
            Some(ordinal) => open(ordinal),
            None => Err(Error::UnknownDevice { name: name.to_owned() }),
        },
    }
}

/// What a device is called: `cpu`, or `cuda:N` with the card's name.
///
/// ```
/// assert_eq!(fer_nn::device_name(&candle_core::Device::Cpu), "cpu");
/// ```
pub fn device_name(device: &Device) -> String {
    match device {
        Device::Cpu => "cpu".into(),
        #[cfg(feature = "cuda")]
        Device::Cuda(cuda) => {
            let stream = cuda.cuda_stream();
            let card = stream.context().name().unwrap_or_else(|_| "unknown card".into());
            format!("cuda:{} ({card})", stream.context().ordinal())
        }
        other => format!("{:?}", other.location()),
    }
}

impl Compute {
    /// Whether `device` can compute like this: the CPU in f32 alone.
    ///
    /// # Errors
    /// [`Error::Precision`] when it cannot.
    pub fn check(&self, device: &Device) -> Result<()> {
        match (device.is_cpu(), self.precision) {
            (true, precision) if precision != Precision::F32 => Err(Error::Precision { precision }),
            _ => Ok(()),
        }
    }
}

#[cfg(not(feature = "cuda"))]
fn open(ordinal: usize) -> Result<Device> {
    Err(Error::WithoutCuda { ordinal })
}

#[cfg(feature = "cuda")]
fn open(ordinal: usize) -> Result<Device> {
    use candle_core::cuda_backend::cudarc::driver::{CudaContext, result, sys};

    let failed = |e: &dyn std::fmt::Display| Error::Cuda { ordinal, message: e.to_string() };
    result::init().map_err(|e| match e.0 {
        sys::CUresult::CUDA_ERROR_NO_DEVICE => Error::NoSuchDevice { ordinal, devices: 0 },
        _ => Error::NoDriver { ordinal, message: e.to_string() },
    })?;
    let mut version = 0;
    // SAFETY: the driver writes one number.
    unsafe { sys::cuDriverGetVersion(&mut version) }.result().map_err(|e| failed(&e))?;
    let needed = env!("FER_CUDA_RELEASE");
    // A driver runs what was built for its own major version and for older ones.
    let major = needed.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0);
    if version / 1000 < major {
        let driver = format!("{}.{}", version / 1000, version % 1000 / 10);
        return Err(Error::OldDriver { ordinal, driver, needed: needed.to_owned() });
    }
    let devices = CudaContext::device_count().map_err(|e| failed(&e))?.max(0) as usize;
    if ordinal >= devices {
        return Err(Error::NoSuchDevice { ordinal, devices });
    }
    // A stream of its own, which can be recorded, and is the same in every thread.
    Device::new_cuda_with_stream(ordinal).map_err(|e| failed(&e))
}
