//! The choice of a device, made once by the program.

use candle_core::Device;

use crate::Error;

/// The device of this name: `cpu`, `cuda:N` or `auto`, the best there is.
///
/// # Errors
/// [`Error::UnknownDevice`] for any other name; [`Error::CudaKernels`] for `cuda:N`, as long as the layers run on
/// the CPU alone; `auto` takes the CPU until then.
///
/// ```
/// use fer_nn::{Error, device};
/// assert!(device("auto").unwrap().is_cpu());
/// assert!(matches!(device("cuda:0"), Err(Error::CudaKernels { .. })));
/// assert_eq!(device("gpu").unwrap_err().to_string(), "unknown device 'gpu': expected auto, cpu or cuda:N");
/// ```
pub fn device(name: &str) -> Result<Device, Error> {
    match name {
        "auto" | "cpu" => Ok(Device::Cpu),
        _ => match name.strip_prefix("cuda:").and_then(|n| n.parse::<usize>().ok()) {
            Some(_) => Err(Error::CudaKernels { device: name.to_owned() }),
            None => Err(Error::UnknownDevice { name: name.to_owned() }),
        },
    }
}
