//! Activations, dropout and sums along channels.

use fer_rand::Stream;
use rayon::prelude::*;

use super::groups::{GROUP, Lanes, groups};
use super::vectorized;
use crate::Activation;
use crate::dropout::threshold;

/// Values a task works on: small enough for the L1 cache, large enough to be worth a task.
const CHUNK: usize = 4096;

/// eˣ − 1, to 2 units in the last place for x in −87..=0; the argument is clamped to that range.
#[inline(always)]
fn exp_m1_of_negative(x: f32) -> f32 {
    let x = x.clamp(-87.0, 0.0);
    // x = n·ln 2 + r with |r| ≤ ln 2 / 2. Adding 1.5·2²³ rounds to an integer, kept in the low bits.
    let shifted = x * std::f32::consts::LOG2_E + 12_582_912.0;
    let n = shifted - 12_582_912.0;
    let r = (x - n * 0.693_359_4) + n * 2.121_944_4e-4;
    let scale = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    // eʳ − 1, the polynomial of Cephes' expf.
    let mut p = 1.987_569_1e-4;
    p = p * r + 1.398_2e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 0.5;
    let p = p * r * r + r;
    scale * p + (scale - 1.0)
}

impl Activation {
    /// The function itself. Unlike `max`, this keeps NaN.
    #[inline(always)]
    fn apply(self, x: f32) -> f32 {
        match self {
            Self::Linear => x,
            Self::Relu => {
                if x < 0.0 {
                    0.0
                } else {
                    x
                }
            }
            Self::Elu => {
                let below = exp_m1_of_negative(x);
                if x <= 0.0 { below } else { x }
            }
        }
    }
}

/// `activation(values + bias)` for a group of channels, in place, on the calling thread.
pub(crate) fn activate_group(values: &mut [f32], bias: &Lanes, activation: Activation) {
    #[inline(always)]
    fn run(values: &mut [f32], bias: &Lanes, function: impl Fn(f32) -> f32) {
        for lanes in values.as_chunks_mut::<GROUP>().0 {
            for i in 0..GROUP {
                lanes[i] = function(lanes[i] + bias[i]);
            }
        }
    }
    vectorized(
        #[inline(always)]
        || match activation {
            Activation::Linear => run(values, bias, |x| Activation::Linear.apply(x)),
            Activation::Relu => run(values, bias, |x| Activation::Relu.apply(x)),
            Activation::Elu => run(values, bias, |x| Activation::Elu.apply(x)),
        },
    );
}

/// Adds `bias` to the values and applies the activation, in place, on the calling thread.
pub(crate) fn add_bias_and_activate(values: &mut [f32], bias: f32, activation: Activation) {
    vectorized(
        #[inline(always)]
        || match activation {
            Activation::Linear => values.iter_mut().for_each(|v| *v += bias),
            Activation::Relu => values.iter_mut().for_each(|v| *v = Activation::Relu.apply(*v + bias)),
            Activation::Elu => values.iter_mut().for_each(|v| *v = Activation::Elu.apply(*v + bias)),
        },
    );
}

/// The gradient before the activation, from the activation's output `y` and the gradient `dy` after it.
pub(crate) fn activation_backward(y: &[f32], dy: &[f32], activation: Activation) -> Vec<f32> {
    let mut dx = vec![0.0; y.len()];
    (dx.par_chunks_mut(CHUNK), y.par_chunks(CHUNK), dy.par_chunks(CHUNK)).into_par_iter().for_each(
        |(dx, y, dy)| {
            vectorized(
                #[inline(always)]
                || match activation {
                    Activation::Linear => dx.copy_from_slice(dy),
                    Activation::Relu => {
                        for ((dx, &y), &dy) in dx.iter_mut().zip(y).zip(dy) {
                            *dx = if y > 0.0 { dy } else { 0.0 };
                        }
                    }
                    Activation::Elu => {
                        for ((dx, &y), &dy) in dx.iter_mut().zip(y).zip(dy) {
                            *dx = if y > 0.0 { dy } else { dy * (y + 1.0) };
                        }
                    }
                },
            );
        },
    );
    dx
}

/// Σ over batch and positions of `(batch, channels, area)`: one sum a channel.
pub(crate) fn sum_per_channel(x: &[f32], channels: usize, area: usize) -> Vec<f32> {
    let planes: Vec<f64> = x.par_chunks(area.max(1)).map(sum).collect();
    let mut sums = vec![0.0; channels];
    for image in planes.chunks(channels.max(1)) {
        sums.iter_mut().zip(image).for_each(|(s, p)| *s += p);
    }
    sums.iter().map(|&s| s as f32).collect()
}

/// The sum of the values, in sixteen interleaved partial sums.
#[inline(always)]
pub(crate) fn sum(values: &[f32]) -> f64 {
    sum_of(values, values, |v, _| v)
}

/// Σ `term(a, b)` over two slices of one length, in sixteen interleaved partial sums.
#[inline(always)]
pub(crate) fn sum_of(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> f32) -> f64 {
    vectorized(
        #[inline(always)]
        || {
            let mut lanes = [0.0_f32; 16];
            let (a_chunks, b_chunks) = (a.chunks_exact(16), b.chunks_exact(16));
            let rest = a_chunks.remainder().iter().zip(b_chunks.remainder());
            let rest: f64 = rest.map(|(&a, &b)| f64::from(term(a, b))).sum();
            for (a, b) in a_chunks.zip(b_chunks) {
                for (lane, (&a, &b)) in lanes.iter_mut().zip(a.iter().zip(b)) {
                    *lane += term(a, b);
                }
            }
            rest + lanes.iter().map(|&v| f64::from(v)).sum::<f64>()
        },
    )
}

/// Positions of a group that one draw of random words serves.
const DRAW: usize = 4;

/// The random words of some dropout: value `lane` at position `p` of a plane (a group of channels of an image)
/// takes word `p mod 4` of block `16·(plane·⌈area/4⌉ + p/4) + lane`.
#[derive(Clone, Copy)]
struct Mask {
    stream: Stream,
    first_block: u32,
    threshold: u32,
    scale: f32,
}

impl Mask {
    fn of(plane: usize, area: usize, rate: f32, stream: Stream) -> Self {
        let (threshold, scale) = threshold(rate);
        let first_block = (plane * area.div_ceil(DRAW) * GROUP) as u32;
        Self { stream, first_block, threshold, scale }
    }

    /// The words of positions `4·draw..4·draw + 4`.
    #[inline(always)]
    fn words(&self, draw: usize) -> [[u32; GROUP]; DRAW] {
        self.stream.blocks::<GROUP>(self.first_block.wrapping_add((draw * GROUP) as u32))
    }

    #[inline(always)]
    fn apply(&self, x: f32, word: u32) -> f32 {
        if word >= self.threshold { x * self.scale } else { 0.0 }
    }
}

/// Inverted dropout of a group of channels `(area, 16)`, in place, on the calling thread: keeps a value where its
/// uniform number is at least `rate`, scaled by 1/(1 − rate), and puts 0 elsewhere.
pub(crate) fn mask_plane(plane: usize, values: &mut [f32], rate: f32, stream: Stream) {
    let mask = Mask::of(plane, values.len() / GROUP, rate, stream);
    vectorized(
        #[inline(always)]
        || {
            for (draw, values) in values.chunks_mut(DRAW * GROUP).enumerate() {
                let words = mask.words(draw);
                for (value, &word) in values.iter_mut().zip(words.as_flattened()) {
                    *value = mask.apply(*value, word);
                }
            }
        },
    );
}

/// Inverted dropout of `(batch, channels, area)`, with the numbers of [`mask_plane`].
pub(crate) fn dropout(x: &[f32], channels: usize, area: usize, rate: f32, stream: Stream) -> Vec<f32> {
    let mut y = vec![0.0; x.len()];
    let of_image = groups(channels);
    let images = x.par_chunks(channels * area);
    y.par_chunks_mut(channels * area).zip(images).enumerate().for_each(|(image, (y, x))| {
        let planes = y.chunks_mut(GROUP * area).zip(x.chunks(GROUP * area));
        for (group, (y, x)) in planes.enumerate() {
            let mask = Mask::of(image * of_image + group, area, rate, stream);
            for draw in 0..area.div_ceil(DRAW) {
                let words = vectorized(
                    #[inline(always)]
                    || mask.words(draw),
                );
                for (position, words) in (draw * DRAW..area).zip(words) {
                    for (i, &word) in (position..x.len()).step_by(area).zip(&words) {
                        y[i] = mask.apply(x[i], word);
                    }
                }
            }
        }
    });
    y
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_m1_is_accurate_to_two_units_in_the_last_place() {
        for i in 0..200_000 {
            let x = -(i as f32) * 4.35e-4 - 1e-9;
            let (got, want) = (f64::from(exp_m1_of_negative(x)), f64::from(x).exp_m1());
            assert!((got - want).abs() <= 2.0 * f64::from(f32::EPSILON) * want.abs(), "{x}: {got} {want}");
        }
        assert_eq!(exp_m1_of_negative(0.0), 0.0);
        assert_eq!(exp_m1_of_negative(-1e30), -1.0);
    }

    #[test]
    fn sums_keep_every_value() {
        let values: Vec<f32> = (0..1003).map(|i| i as f32).collect();
        assert_eq!(sum(&values), 1002.0 * 1003.0 / 2.0);
        assert_eq!(
            sum_per_channel(&values[..60], 3, 5),
            [
                (0..5).chain(15..20).chain(30..35).chain(45..50).sum::<i32>() as f32,
                (5..10).chain(20..25).chain(35..40).chain(50..55).sum::<i32>() as f32,
                (10..15).chain(25..30).chain(40..45).chain(55..60).sum::<i32>() as f32,
            ]
        );
    }
}
