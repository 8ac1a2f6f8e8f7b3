//! What follows a convolution in its block, on channel groups: normalisation, 2×2 maximum pooling and dropout in
//! one pass over memory, and their gradients with that of the activation in two.
//!
//! With `y` the activation's output, `n = (y − center)·scale + shift` and `z` the masked maxima of `n`, the
//! gradients go back as
//!
//! ```text
//! dn = dz·mask where n is its window's first maximum, else 0
//! da = (scale·dn + slope·(y − center) + constant) · activation′
//! ```
//!
//! where `slope` and `constant` carry what the batch's statistics depend on; they follow from Σ dn and
//! Σ dn·(y − center), the first of the two passes.
//!
//! Where something stands between the normalisation and pooling, `m = after(n + skip)` takes the place of `n`, plane by
//! plane ([`Tail::join`]); the first of the passes back then leaves `dn` for the second.

use fer_rand::Stream;
use rayon::prelude::*;

use super::activate::{for_function, for_slope};
use super::groups::{GROUP, Lanes, Norm, groups};
use super::pool::{first_of_four, greater};
use super::scratch::with_scratch;
use super::vectorized;
use crate::Activation;
use crate::channel::Channel;

/// The shape of the activations, and what is done to them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tail {
    pub height: usize,
    pub width: usize,
    /// Whether the maximum of every 2×2 window is taken.
    pub pool: bool,
    /// The rate and the numbers of a dropout.
    pub dropout: Option<(f32, Stream)>,
    /// What stands after the normalisation and the addition.
    pub after: Activation,
}

/// What a pass over the gradients adds up: a sum and a sum of products for each lane.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sums {
    pub of_gradient: [f64; GROUP],
    pub of_product: [f64; GROUP],
}

impl Sums {
    /// Adds the sums of other values.
    pub fn add(&mut self, other: &Self) {
        self.of_gradient.iter_mut().zip(other.of_gradient).for_each(|(sum, v)| *sum += v);
        self.of_product.iter_mut().zip(other.of_product).for_each(|(sum, v)| *sum += v);
    }

    /// Adds a row of gradients `dn` and their products with `y − center`.
    #[inline(always)]
    pub fn add_row(&mut self, y: &[Lanes], dn: &[Lanes], center: &Lanes) {
        let (mut gradient, mut product) = ([0.0_f32; GROUP], [0.0_f32; GROUP]);
        for (y, dn) in y.iter().zip(dn) {
            for lane in 0..GROUP {
                gradient[lane] += dn[lane];
                product[lane] += dn[lane] * (y[lane] - center[lane]);
            }
        }
        add(&mut self.of_gradient, &gradient);
        add(&mut self.of_product, &product);
    }
}

#[inline(always)]
fn add(sums: &mut [f64; GROUP], row: &Lanes) {
    sums.iter_mut().zip(row).for_each(|(sum, &v)| *sum += f64::from(v));
}

/// The factors of the normalisation's gradient for a group.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Slopes {
    center: Lanes,
    scale: Lanes,
    slope: Lanes,
    constant: Lanes,
}

impl Slopes {
    /// Without a normalisation the gradient passes through.
    pub const IDENTITY: Self =
        Self { center: [0.0; GROUP], scale: [1.0; GROUP], slope: [0.0; GROUP], constant: [0.0; GROUP] };

    /// For every group, from the channels and their (Σ dy·x̂, Σ dy) over `count` values.
    pub fn of(channels: &[Channel], sums: &[(f64, f64)], count: f64) -> Vec<Self> {
        let mut slopes = vec![Self::IDENTITY; groups(channels.len())];
        for (c, (channel, &sums)) in channels.iter().zip(sums).enumerate() {
            let (group, lane) = (&mut slopes[c / GROUP], c % GROUP);
            group.center[lane] = channel.center();
            [group.scale[lane], group.slope[lane], group.constant[lane]] =
                channel.input_gradient(sums, count);
        }
        slopes
    }

    /// scale·dn + slope·(y − center) + constant
    #[inline(always)]
    fn at(&self, lane: usize, y: f32, dn: f32) -> f32 {
        self.scale[lane] * dn + self.slope[lane] * (y - self.center[lane]) + self.constant[lane]
    }
}

impl Tail {
    fn out_area(&self) -> usize {
        if self.pool { (self.height / 2) * (self.width / 2) } else { self.height * self.width }
    }

    /// `z` from `y` and what is added to it.
    pub fn forward(&self, y: &[f32], norms: &[Norm], skip: Option<&[f32]>, z: &mut [f32]) {
        let len = self.height * self.width * GROUP;
        let planes = y.par_chunks_exact(len);
        z.par_chunks_exact_mut(self.out_area() * GROUP).zip(planes).enumerate().for_each(
            |(plane, (z, y))| {
                let norm = norms[plane % norms.len()];
                let (y, lanes) = (y.as_chunks::<GROUP>().0, z.as_chunks_mut::<GROUP>().0);
                if skip.is_none() && self.after == Activation::Linear {
                    vectorized(
                        #[inline(always)]
                        || self.pool_plane(y, &norm, lanes),
                    );
                } else {
                    with_scratch(len, |m| {
                        self.join(y, &norm, skip.map(|skip| &skip[plane * len..][..len]), m);
                        for_function!(self.after, |f| m.iter_mut().for_each(|m| *m = f(*m)));
                        let m = m.as_chunks::<GROUP>().0;
                        vectorized(
                            #[inline(always)]
                            || self.pool_plane(m, &Norm::IDENTITY, lanes),
                        );
                    });
                }
                self.mask(plane, z);
            },
        );
    }

    /// n + skip of a plane: what the activation after them reads.
    fn join(&self, y: &[Lanes], norm: &Norm, skip: Option<&[f32]>, m: &mut [f32]) {
        let m = m.as_chunks_mut::<GROUP>().0;
        vectorized(
            #[inline(always)]
            || match skip {
                None => m.iter_mut().zip(y).for_each(|(m, y)| *m = norm.apply(y)),
                Some(skip) => {
                    for ((m, y), skip) in m.iter_mut().zip(y).zip(skip.as_chunks::<GROUP>().0) {
                        let n = norm.apply(y);
                        for i in 0..GROUP {
                            m[i] = n[i] + skip[i];
                        }
                    }
                }
            },
        );
    }

    /// The gradient `dn` of the normalisation's output, and of what was added, from `dz`, which is masked; with the sums of
    /// [`backward_sums`](Self::backward_sums).
    pub fn backward_joined(
        &self,
        y: &[f32],
        norms: &[Norm],
        skip: Option<&[f32]>,
        dz: &mut [f32],
        dn: &mut [f32],
    ) -> Vec<Sums> {
        let len = self.height * self.width * GROUP;
        let planes = dn.par_chunks_exact_mut(len).zip(y.par_chunks_exact(len));
        let gradients = dz.par_chunks_exact_mut(self.out_area() * GROUP);
        let sums = planes.zip(gradients).enumerate().map(|(plane, ((dn, y), dz))| {
            self.mask(plane, dz);
            let norm = norms[plane % norms.len()];
            let y = y.as_chunks::<GROUP>().0;
            with_scratch(2 * len, |scratch| {
                let (m, u) = scratch.split_at_mut(len);
                self.join(y, &norm, skip.map(|skip| &skip[plane * len..][..len]), m);
                for_function!(self.after, |f| u.iter_mut().zip(&*m).for_each(|(u, &m)| *u = f(m)));
                self.unpool(u, dz, dn);
                let told = if self.after.is_told_by_its_output() { &*u } else { &*m };
                for_slope!(self.after, |slope| {
                    dn.iter_mut().zip(told).for_each(|(dn, &told)| *dn *= slope(told));
                });
            });
            let mut sums = Sums::default();
            let dn = dn.as_chunks::<GROUP>().0;
            vectorized(
                #[inline(always)]
                || {
                    for (y, dn) in y.chunks_exact(self.width).zip(dn.chunks_exact(self.width)) {
                        sums.add_row(y, dn, &norm.center);
                    }
                },
            );
            sums
        });
        sums.collect()
    }

    /// Brings every gradient of a plane back to where its value came from: a window's first maximum.
    fn unpool(&self, u: &[f32], dz: &[f32], du: &mut [f32]) {
        if !self.pool {
            return du.copy_from_slice(dz);
        }
        du.fill(0.0);
        let width = self.width;
        let (u, du) = (u.as_chunks::<GROUP>().0, du.as_chunks_mut::<GROUP>().0);
        let dz = dz.as_chunks::<GROUP>().0;
        vectorized(
            #[inline(always)]
            || {
                for (row, dz) in dz.chunks_exact(width / 2).enumerate() {
                    let first = 2 * row * width;
                    for (column, dz) in dz.iter().enumerate() {
                        let a = first + 2 * column;
                        for i in 0..GROUP {
                            let [b, d, below] =
                                first_of_four(u[a][i], u[a + 1][i], u[a + width][i], u[a + width + 1][i]);
                            du[a][i] = if !below && !b { dz[i] } else { 0.0 };
                            du[a + 1][i] = if !below && b { dz[i] } else { 0.0 };
                            du[a + width][i] = if below && !d { dz[i] } else { 0.0 };
                            du[a + width + 1][i] = if below && d { dz[i] } else { 0.0 };
                        }
                    }
                }
            },
        );
    }

    /// The normalised values or their windows' maxima.
    #[inline(always)]
    pub fn pool_plane(&self, y: &[Lanes], norm: &Norm, z: &mut [Lanes]) {
        if !self.pool {
            z.iter_mut().zip(y).for_each(|(z, y)| *z = norm.apply(y));
            return;
        }
        for (row, z) in z.chunks_exact_mut(self.width / 2).enumerate() {
            let (top, bottom) = self.rows(y, row);
            for ((z, top), bottom) in z.iter_mut().zip(top.as_chunks::<2>().0).zip(bottom.as_chunks::<2>().0)
            {
                let (a, b) = (norm.apply(&top[0]), norm.apply(&top[1]));
                let (c, d) = (norm.apply(&bottom[0]), norm.apply(&bottom[1]));
                for i in 0..GROUP {
                    z[i] = greater(greater(a[i], b[i]), greater(c[i], d[i]));
                }
            }
        }
    }

    /// The two rows under a row of windows.
    #[inline(always)]
    fn rows<'a>(&self, y: &'a [Lanes], row: usize) -> (&'a [Lanes], &'a [Lanes]) {
        y[2 * row * self.width..][..2 * self.width].split_at(self.width)
    }

    /// Keeps the values whose uniform number is at least the rate, scaled by 1/(1 − rate); the others become 0.
    fn mask(&self, plane: usize, values: &mut [f32]) {
        if let Some((rate, stream)) = self.dropout {
            super::elementwise::mask_plane(plane, values, rate, stream);
        }
    }

    /// Multiplies `dz` by the dropout's mask, and adds up dn and dn·(y − center) for every image and group.
    pub fn backward_sums(&self, y: &[f32], norms: &[Norm], dz: &mut [f32]) -> Vec<Sums> {
        let planes = y.par_chunks_exact(self.height * self.width * GROUP);
        let gradients = dz.par_chunks_exact_mut(self.out_area() * GROUP);
        let sums = gradients.zip(planes).enumerate().map(|(plane, (dz, y))| {
            self.mask(plane, dz);
            let norm = norms[plane % norms.len()];
            let (y, dz) = (y.as_chunks::<GROUP>().0, dz.as_chunks::<GROUP>().0);
            vectorized(
                #[inline(always)]
                || self.sum_plane(y, &norm, dz),
            )
        });
        sums.collect()
    }

    #[inline(always)]
    fn sum_plane(&self, y: &[Lanes], norm: &Norm, dz: &[Lanes]) -> Sums {
        let mut sums = Sums::default();
        if !self.pool {
            for (y, dz) in y.chunks_exact(self.width).zip(dz.chunks_exact(self.width)) {
                sums.add_row(y, dz, &norm.center);
            }
            return sums;
        }
        for (row, dz) in dz.chunks_exact(self.width / 2).enumerate() {
            let (top, bottom) = self.rows(y, row);
            let (mut gradient, mut product) = ([0.0_f32; GROUP], [0.0_f32; GROUP]);
            for ((dz, top), bottom) in dz.iter().zip(top.as_chunks::<2>().0).zip(bottom.as_chunks::<2>().0) {
                let [a, b] = top;
                let [c, d] = bottom;
                let n = [norm.apply(a), norm.apply(b), norm.apply(c), norm.apply(d)];
                for i in 0..GROUP {
                    let [at_b, at_d, below] = first_of_four(n[0][i], n[1][i], n[2][i], n[3][i]);
                    let above = if at_b { b[i] } else { a[i] };
                    let under = if at_d { d[i] } else { c[i] };
                    let y = if below { under } else { above };
                    gradient[i] += dz[i];
                    product[i] += dz[i] * (y - norm.center[i]);
                }
            }
            add(&mut sums.of_gradient, &gradient);
            add(&mut sums.of_product, &product);
        }
        sums
    }

    /// `da` from the masked `dz` of pooled values; the sums of `da` for every image and group.
    pub fn backward_pooled(
        &self,
        y: &[f32],
        norms: &[Norm],
        slopes: &[Slopes],
        activation: Activation,
        dz: &[f32],
        da: &mut [f32],
    ) -> Vec<[f64; GROUP]> {
        let area = self.height * self.width;
        let gradients = dz.par_chunks_exact(self.out_area() * GROUP);
        let planes = da.par_chunks_exact_mut(area * GROUP).zip(y.par_chunks_exact(area * GROUP));
        let sums = planes.zip(gradients).enumerate().map(|(plane, ((da, y), dz))| {
            let (norm, slopes) = (norms[plane % norms.len()], slopes[plane % slopes.len()]);
            let (y, dz) = (y.as_chunks::<GROUP>().0, dz.as_chunks::<GROUP>().0);
            let da = da.as_chunks_mut::<GROUP>().0;
            for_slope!(activation, |slope| self.pooled_plane(y, &norm, &slopes, dz, da, slope))
        });
        sums.collect()
    }

    /// `da` of a plane: dn is every window's gradient at its first maximum, 0 elsewhere.
    #[inline(always)]
    fn pooled_plane(
        &self,
        y: &[Lanes],
        norm: &Norm,
        slopes: &Slopes,
        dz: &[Lanes],
        da: &mut [Lanes],
        derivative: impl Fn(f32) -> f32 + Copy,
    ) -> [f64; GROUP] {
        let width = self.width;
        let mut sums = [0.0; GROUP];
        for (row, dz) in dz.chunks_exact(width / 2).enumerate() {
            let (top, bottom) = self.rows(y, row);
            let (da_top, da_bottom) = da[2 * row * width..][..2 * width].split_at_mut(width);
            let mut of_rows = [0.0_f32; GROUP];
            for (column, dz) in dz.iter().enumerate() {
                let [left, right] = [2 * column, 2 * column + 1];
                let (a, b, c, d) = (&top[left], &top[right], &bottom[left], &bottom[right]);
                let n = [norm.apply(a), norm.apply(b), norm.apply(c), norm.apply(d)];
                let mut at = [0_u32; GROUP];
                for i in 0..GROUP {
                    let [at_b, at_d, below] = first_of_four(n[0][i], n[1][i], n[2][i], n[3][i]);
                    at[i] = if below { 2 + u32::from(at_d) } else { u32::from(at_b) };
                }
                let mut back = |place: u32, y: &Lanes, da: &mut Lanes| {
                    for i in 0..GROUP {
                        let dn = if at[i] == place { dz[i] } else { 0.0 };
                        da[i] = slopes.at(i, y[i], dn) * derivative(y[i]);
                        of_rows[i] += da[i];
                    }
                };
                back(0, a, &mut da_top[left]);
                back(1, b, &mut da_top[right]);
                back(2, c, &mut da_bottom[left]);
                back(3, d, &mut da_bottom[right]);
            }
            add(&mut sums, &of_rows);
            if width % 2 == 1 {
                for (y, da) in [(top, da_top), (bottom, da_bottom)] {
                    let (y, da) = (&y[width - 1..], &mut da[width - 1..]);
                    da[0] = [0.0; GROUP];
                    rows_back(y, slopes, 1, da, &mut sums, derivative);
                }
            }
        }
        let rest = self.height / 2 * 2 * width;
        da[rest..].fill([0.0; GROUP]);
        rows_back(&y[rest..], slopes, width, &mut da[rest..], &mut sums, derivative);
        sums
    }

    /// `da` in place of dn, where there is no pooling; the sums of `da` for every image and group.
    pub fn backward_in_place(
        &self,
        y: &[f32],
        slopes: &[Slopes],
        activation: Activation,
        dn: &mut [f32],
    ) -> Vec<[f64; GROUP]> {
        let plane_len = self.height * self.width * GROUP;
        let planes = dn.par_chunks_exact_mut(plane_len).zip(y.par_chunks_exact(plane_len));
        let sums = planes.enumerate().map(|(plane, (dn, y))| {
            let slopes = slopes[plane % slopes.len()];
            let (y, dn) = (y.as_chunks::<GROUP>().0, dn.as_chunks_mut::<GROUP>().0);
            let mut sums = [0.0; GROUP];
            for_slope!(activation, |slope| rows_back(y, &slopes, self.width, dn, &mut sums, slope));
            sums
        });
        sums.collect()
    }
}

/// dn becomes `da`, row by row, and is added to `sums`.
#[inline(always)]
fn rows_back(
    y: &[Lanes],
    slopes: &Slopes,
    width: usize,
    dn: &mut [Lanes],
    sums: &mut [f64; GROUP],
    derivative: impl Fn(f32) -> f32,
) {
    for (y, dn) in y.chunks_exact(width).zip(dn.chunks_exact_mut(width)) {
        let mut row = [0.0_f32; GROUP];
        for (y, dn) in y.iter().zip(dn) {
            for i in 0..GROUP {
                dn[i] = slopes.at(i, y[i], dn[i]) * derivative(y[i]);
                row[i] += dn[i];
            }
        }
        add(sums, &row);
    }
}
