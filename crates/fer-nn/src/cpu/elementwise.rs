//! Activations with biases, dropout, and sums along channels.

use fer_rand::Stream;
use rayon::prelude::*;

use super::activate::{for_function, for_slope};
use super::groups::{GROUP, Lanes, groups};
use super::vectorized;
use crate::Activation;
use crate::mask::threshold;

/// Values a task works on: small enough for the L1 cache, large enough to be worth a task.
const CHUNK: usize = 4096;

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
    for_function!(activation, |function| run(values, bias, function));
}

/// Adds `bias` to the values and applies the activation, in place, on the calling thread.
pub(crate) fn add_bias_and_activate(values: &mut [f32], bias: f32, activation: Activation) {
    for_function!(activation, |function| values.iter_mut().for_each(|v| *v = function(*v + bias)));
}

/// The activation of every value.
pub(crate) fn activation(x: &[f32], activation: Activation) -> Vec<f32> {
    let mut y = vec![0.0; x.len()];
    y.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(y, x)| {
        for_function!(activation, |function| y.iter_mut().zip(x).for_each(|(y, &x)| *y = function(x)));
    });
    y
}

/// The gradient before the activation, from the gradient `dy` after it and the activation's output; from its input where
/// the output does not tell.
pub(crate) fn activation_backward(told: &[f32], dy: &[f32], activation: Activation) -> Vec<f32> {
    let mut dx = vec![0.0; told.len()];
    (dx.par_chunks_mut(CHUNK), told.par_chunks(CHUNK), dy.par_chunks(CHUNK)).into_par_iter().for_each(
        |(dx, told, dy)| {
            for_slope!(activation, |slope| {
                for ((dx, &told), &dy) in dx.iter_mut().zip(told).zip(dy) {
                    *dx = dy * slope(told);
                }
            });
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
        // Without a branch, which could not be foreseen.
        let kept = u32::from(word >= self.threshold).wrapping_neg();
        f32::from_bits((x * self.scale).to_bits() & kept)
    }
}

/// Inverted dropout of a group of channels `(area, 16)`, in place, on the calling thread: keeps a value where its
/// uniform number is at least `rate`, scaled by 1/(1 − rate), and puts 0 elsewhere.
pub(crate) fn mask_plane(plane: usize, values: &mut [f32], rate: f32, stream: Stream) {
    let mask = Mask::of(plane, values.len() / GROUP, rate, stream);
    vectorized(
        #[inline(always)]
        move || {
            let (draws, rest) = values.as_chunks_mut::<{ DRAW * GROUP }>();
            for (draw, values) in draws.iter_mut().enumerate() {
                let words = mask.words(draw);
                for (value, &word) in values.iter_mut().zip(words.as_flattened()) {
                    *value = mask.apply(*value, word);
                }
            }
            for (value, &word) in rest.iter_mut().zip(mask.words(draws.len()).as_flattened()) {
                *value = mask.apply(*value, word);
            }
        },
    );
}

/// Inverted dropout of `(batch, channels, area)`, with the numbers of [`mask_plane`].
pub(crate) fn dropout(x: &[f32], channels: usize, area: usize, rate: f32, stream: Stream) -> Vec<f32> {
    if x.is_empty() {
        return Vec::new();
    }
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
