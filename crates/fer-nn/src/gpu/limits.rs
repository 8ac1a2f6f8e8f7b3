//! What a card can do at most, to tell a slow algorithm by.

use std::time::Duration;

#[cfg(feature = "cuda")]
use candle_core::cuda_backend::cudarc::driver::sys::CUdevice_attribute_enum as Of;
#[cfg(feature = "cuda")]
use candle_core::cuda_backend::cudarc::driver::{CudaContext, DriverError};

use super::card::Kind;
use crate::Precision;
use crate::geometry::ConvShape;

/// What a launch takes by itself, in seconds.
const LAUNCH: f64 = 5e-6;

/// What a card can do at most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Its compute capability.
    pub capability: (u32, u32),
    pub multiprocessors: u32,
    /// Clocks a second.
    pub clock: f64,
    /// Bytes a second from and to its memory.
    pub bandwidth: f64,
}

impl Limits {
    /// Those of a card, as it says itself.
    #[cfg(feature = "cuda")]
    pub fn of(context: &CudaContext) -> Result<Self, DriverError> {
        let of = |attribute| Ok::<_, DriverError>(context.attribute(attribute)?.max(0) as u32);
        let clock = |kilohertz: u32| f64::from(kilohertz) * 1e3;
        let memory = clock(of(Of::CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE)?);
        let width = f64::from(of(Of::CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH)?) / 8.0;
        Ok(Self {
            capability: (
                of(Of::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
                of(Of::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
            ),
            multiprocessors: of(Of::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
            clock: clock(of(Of::CU_DEVICE_ATTRIBUTE_CLOCK_RATE)?),
            // Two transfers a clock.
            bandwidth: 2.0 * memory * width,
        })
    }

    /// Multiply-adds a clock of a multiprocessor. Sources: NVIDIA, CUDA C++ Programming Guide, "Arithmetic Instructions" (f32);
    /// the A100, GA102, H100 and Blackwell whitepapers (tensor cores, dense, sums in f32).
    fn multiply_adds(&self, precision: Precision) -> f64 {
        let [f32, tf32, bf16] = match self.capability {
            (..=7, _) => [64, 64, 64],
            (8, 0) => [64, 512, 1024],
            (8, _) => [128, 256, 512],
            (9, _) => [128, 1024, 2048],
            (10 | 11, _) => [128, 2048, 4096],
            _ => [128, 256, 512],
        };
        f64::from(match precision {
            Precision::F32 => f32,
            Precision::Tf32 => tf32,
            Precision::Bf16 => bf16,
        })
    }

    /// The least that a convolution takes, in seconds, in any direction: its multiply-adds, or its values read and written once.
    fn least(&self, s: &ConvShape, kind: Kind, precision: Precision) -> f64 {
        let sums = (s.batch * s.out_size()) as f64;
        let of_sum = (s.in_channels / s.groups * s.kernel.0 * s.kernel.1) as f64;
        let a_second = self.multiply_adds(precision) * f64::from(self.multiprocessors) * self.clock;
        let values = s.batch * (s.in_size() + s.out_size()) + s.weight_len();
        let bytes = (values * kind.size()) as f64;
        (sums * of_sum / a_second).max(bytes / self.bandwidth)
    }

    /// What is fast enough for a convolution: three times the least.
    pub fn enough(&self, s: &ConvShape, kind: Kind, precision: Precision) -> Duration {
        let seconds = 3.0 * self.least(s, kind, precision) + LAUNCH;
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }

    /// How many times the least a convolution takes, where that is not fast enough.
    pub fn excess(&self, s: &ConvShape, kind: Kind, precision: Precision, took: Duration) -> Option<f64> {
        let is_slow = took > self.enough(s, kind, precision);
        is_slow.then(|| took.as_secs_f64() / self.least(s, kind, precision))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the data sheet: 989 teraflops in bfloat16, 3.35 TB/s.
    const H100: Limits =
        Limits { capability: (9, 0), multiprocessors: 132, clock: 1.83e9, bandwidth: 3.35e12 };

    fn shape(batch: usize, channels: [usize; 2], size: usize, kernel: usize) -> ConvShape {
        ConvShape {
            batch,
            in_channels: channels[0],
            height: size,
            width: size,
            out_channels: channels[1],
            kernel: (kernel, kernel),
            stride: 1,
            padding: (kernel / 2, kernel / 2),
            out_height: size,
            out_width: size,
            groups: 1,
        }
    }

    #[test]
    fn the_least_is_that_of_the_data_sheet() {
        // 32·48·48·64·64·25 multiply-adds, two operations each.
        let conv = shape(32, [64, 64], 48, 5);
        let flops = 2.0 * 32.0 * 48.0 * 48.0 * 64.0 * 64.0 * 25.0;
        let least = H100.least(&conv, Kind::Bf16, Precision::Bf16);
        assert!((least / (flops / 989e12) - 1.0).abs() < 0.01, "{least}");
        // A 1×1 convolution of few channels is bound by memory.
        let conv = shape(1024, [8, 8], 48, 1);
        let bytes = 2.0 * 1024.0 * 48.0 * 48.0 * 16.0;
        let least = H100.least(&conv, Kind::Bf16, Precision::Bf16);
        assert!((least / (bytes / 3.35e12) - 1.0).abs() < 0.01, "{least}");
    }

    #[test]
    fn only_what_is_slow_is_told() {
        // What was measured on an H100: 45 µs inside PyTorch's step, 29 ms by the algorithm that a cold search chose.
        let conv = shape(32, [64, 64], 48, 5);
        let excess = |took| H100.excess(&conv, Kind::Bf16, Precision::Bf16, Duration::from_micros(took));
        assert_eq!(excess(45), None);
        assert!(excess(29_200).unwrap() > 1000.0);
        // A small one is a launch.
        let conv = shape(1, [8, 8], 6, 3);
        assert_eq!(H100.excess(&conv, Kind::Bf16, Precision::Bf16, Duration::from_micros(4)), None);
    }
}
