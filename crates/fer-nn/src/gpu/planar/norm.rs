//! Normalisation of planar tensors.

use candle_core::Result;

use super::{Planar, Planes};
use crate::channel::Channel;
use crate::gpu::args::StageArgs;
use crate::gpu::card::{Address, Gpu};

impl<G: Gpu> Planar<G> {
    /// The means and biased variances of every channel.
    pub fn moments(&self, x: Address, planes: Planes) -> Result<[Vec<f64>; 2]> {
        let c = self.last(x, planes)?;
        let args = StageArgs { c, ..self.with_moments(planes)? };
        self.sums("moments_f32", Some("total_moments_f32"), planes[1], planes[0] * planes[2], &args)?;
        self.two(args.moments, planes[1])
    }

    /// `y = x̂·gamma + beta`.
    pub(super) fn batch_norm(
        &self,
        x: Address,
        y: Address,
        channels: &[Channel],
        beta: &[f32],
        planes: Planes,
    ) -> Result<()> {
        let c = self.last(x, planes)?;
        let norm = self.norm(channels, |c| channels[c].affine(beta[c]))?;
        self.planar(y, planes, |z| {
            self.launch("tail_f32_f32", planes, &StageArgs { c, z, norm, ..self.stage(planes)? })
        })
    }

    /// `(Σ dy·x̂, Σ dy)` of every channel: the gradients of gamma and beta.
    pub fn gradient_sums(
        &self,
        [x, dy]: [Address; 2],
        channels: &[Channel],
        planes: Planes,
    ) -> Result<Vec<(f64, f64)>> {
        let [c, z] = [self.last(x, planes)?, self.last(dy, planes)?];
        let norm = self.norm(channels, |_| [1.0, 0.0])?;
        let args = StageArgs { c, z, norm, ..self.with_moments(planes)? };
        let quads = planes[0] * planes[2].div_ceil(4);
        self.sums("tail_sums_f32_f32", Some("total_gradients_f32"), planes[1], quads, &args)?;
        let [products, gradients] = self.two(args.moments, planes[1])?;
        let sums = channels.iter().zip(products).zip(gradients);
        Ok(sums.map(|((channel, products), gradients)| channel.gradient_sums(products, gradients)).collect())
    }

    /// The gradient of a normalisation's input; an infinite `count` leaves the sums out.
    pub(super) fn batch_norm_input(
        &self,
        [x, dy]: [Address; 2],
        dx: Address,
        channels: &[Channel],
        sums: &[(f64, f64)],
        count: f64,
        planes: Planes,
    ) -> Result<()> {
        let [c, z] = [self.last(x, planes)?, self.last(dy, planes)?];
        let norm = self.norm(channels, |_| [1.0, 0.0])?;
        let factors: Vec<_> =
            channels.iter().zip(sums).map(|(channel, &sums)| channel.input_gradient(sums, count)).collect();
        let of = |i: usize| factors.iter().map(move |factors| factors[i]);
        let slopes = self.memory.holding(&of(0).chain(of(1)).chain(of(2)).collect::<Vec<f32>>())?;
        self.planar(dx, planes, |da| {
            let args = StageArgs { c, z, da, norm, slopes, ..self.stage(planes)? };
            self.sums("tail_backward_f32_f32", None, planes[1], planes[0] * planes[2].div_ceil(4), &args)
        })
    }

    /// A stage whose sums go to `moments`.
    fn with_moments(&self, planes: Planes) -> Result<StageArgs> {
        Ok(StageArgs { moments: self.memory.zeros::<f64>(2 * planes[1])?, ..self.stage(planes)? })
    }

    fn two(&self, from: Address, channels: usize) -> Result<[Vec<f64>; 2]> {
        let mut first = self.memory.read::<f64>(from, 2 * channels)?;
        let second = first.split_off(channels);
        Ok([first, second])
    }

    /// The channels' centres, and a scale and a shift for each.
    fn norm(&self, channels: &[Channel], affine: impl Fn(usize) -> [f32; 2]) -> Result<Address> {
        let centers = channels.iter().map(Channel::center);
        let of = |i: usize| (0..channels.len()).map(|c| affine(c)[i]).collect::<Vec<_>>();
        self.memory.holding(&centers.chain(of(0)).chain(of(1)).collect::<Vec<f32>>())
    }
}
