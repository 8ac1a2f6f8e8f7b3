//! The arithmetic of a step on the host, each parameter updated in one pass over its memory.

use candle_core::{CpuStorage, Device, InplaceOp2, Layout, Result, Storage, Tensor, bail};
use fer_nn::engine::{Rule, Update};
use num_traits::Float;
use rayon::prelude::*;

/// The values that a thread updates at a time: four arrays of them fit into its cache.
pub(super) const CHUNK: usize = 16 * 1024;

/// The step of one parameter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub rule: Rule,
    pub update: Update,
    /// What the gradient is multiplied by, so that the norm of all is within the limit.
    pub scale: f64,
}

/// The numbers of a step in the parameter's type.
struct Factors<T> {
    new_in_mean: T,
    new_in_square: T,
    of_mean: T,
    of_gradient: T,
    of_square: T,
    epsilon: T,
    momentum: T,
    decay: T,
    shrink: T,
    scale: T,
}

impl<T: Float> Factors<T> {
    fn of(step: &Step) -> Self {
        // Every factor is an ordinary number, which all floats hold.
        let float = |x: f32| T::from(x).unwrap_or_else(T::nan);
        let u = &step.update;
        Self {
            new_in_mean: float(u.new_in_mean),
            new_in_square: float(u.new_in_square),
            of_mean: float(u.of_mean),
            of_gradient: float(u.of_gradient),
            of_square: float(u.of_square),
            epsilon: float(u.epsilon),
            momentum: float(u.momentum),
            decay: float(u.decay),
            shrink: float(u.shrink),
            scale: T::from(step.scale).unwrap_or_else(T::nan),
        }
    }
}

/// Updates weights `w` and what is kept of them, `m` and `v`, by the gradient `g`; `v` is for [`Rule::Adaptive`] alone.
pub(super) fn step<T: Float + Send + Sync>(w: &mut [T], g: &[T], m: &mut [T], v: &mut [T], step: &Step) {
    let f = Factors::of(step);
    let adaptive = |w: &mut [T], g: &[T], m: &mut [T], v: &mut [T]| {
        for (((w, &g), m), v) in w.iter_mut().zip(g).zip(m).zip(v) {
            let g = g * f.scale + f.decay * *w;
            *m = *m + (g - *m) * f.new_in_mean;
            *v = *v + (g * g - *v) * f.new_in_square;
            let way = (f.of_mean * *m + f.of_gradient * g) / ((f.of_square * *v).sqrt() + f.epsilon);
            *w = *w - f.shrink * *w - way;
        }
    };
    let momentum = |w: &mut [T], g: &[T], m: &mut [T]| {
        for ((w, &g), m) in w.iter_mut().zip(g).zip(m) {
            let g = g * f.scale + f.decay * *w;
            *m = f.momentum * *m + g;
            *w = *w - f.shrink * *w - (f.of_mean * *m + f.of_gradient * g);
        }
    };
    let chunks = w.par_chunks_mut(CHUNK).zip(g.par_chunks(CHUNK)).zip(m.par_chunks_mut(CHUNK));
    match step.rule {
        Rule::Adaptive => {
            let chunks = chunks.zip(v.par_chunks_mut(CHUNK));
            chunks.for_each(|(((w, g), m), v)| adaptive(w, g, m, v));
        }
        Rule::Momentum => chunks.for_each(|((w, g), m)| momentum(w, g, m)),
    }
}

/// `average += (w − average)·part`, as an operation on the average's memory.
pub(crate) struct Blend(pub f32);

impl InplaceOp2 for Blend {
    fn name(&self) -> &'static str {
        "blend"
    }

    fn cpu_fwd(&self, average: &mut CpuStorage, to: &Layout, w: &CpuStorage, from: &Layout) -> Result<()> {
        fn blend<T: Float + Send + Sync>(average: &mut [T], w: &[T], part: f32) {
            let part = T::from(part).unwrap_or_else(T::nan);
            let chunks = average.par_chunks_mut(CHUNK).zip(w.par_chunks(CHUNK));
            chunks.for_each(|(average, w)| {
                average
                    .iter_mut()
                    .zip(w)
                    .for_each(|(average, &w)| *average = *average + (w - *average) * part)
            });
        }
        let (to, from) = (range(to)?, range(from)?);
        match (average, w) {
            (CpuStorage::F32(average), CpuStorage::F32(w)) => blend(&mut average[to], &w[from], self.0),
            (CpuStorage::F64(average), CpuStorage::F64(w)) => blend(&mut average[to], &w[from], self.0),
            (_, w) => bail!("averages are of f32 and f64 variables, not of {:?}", dtype(w)),
        }
        Ok(())
    }
}

/// The sum of a tensor's squares. The order of the additions does not depend on the number of threads.
pub(super) fn sum_of_squares(tensor: &Tensor) -> Result<f64> {
    fn sum<T: Float + Send + Sync>(values: &[T]) -> f64 {
        let square = |x: &T| x.to_f64().unwrap_or(f64::NAN).powi(2);
        let sums = values.par_chunks(CHUNK).map(|chunk| chunk.iter().map(square).sum::<f64>());
        sums.collect::<Vec<_>>().into_iter().sum()
    }
    let tensor = tensor.to_device(&Device::Cpu)?.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    let range = range(layout)?;
    match &*storage {
        Storage::Cpu(CpuStorage::F32(values)) => Ok(sum(&values[range])),
        Storage::Cpu(CpuStorage::F64(values)) => Ok(sum(&values[range])),
        _ => bail!("the optimiser takes gradients of f32 and f64, not of {:?}", tensor.dtype()),
    }
}

/// Where a contiguous tensor lies in its memory.
pub(super) fn range(layout: &Layout) -> Result<std::ops::Range<usize>> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(start..end),
        None => bail!("the optimiser needs contiguous variables, not {layout:?}"),
    }
}

fn dtype(storage: &CpuStorage) -> candle_core::DType {
    use candle_core::backend::BackendStorage;
    storage.dtype()
}
