//! Mixup: blends of two images and of their targets.

use ndarray::{ArrayViewMut2, ArrayViewMut4};
use rand::Rng;
use rand_distr::{Beta, Distribution};
use serde::{Deserialize, Serialize};

use crate::{Error, Result, error::check};

/// Mixup: every image of a batch is blended with another one of it, and its target likewise; with one share for the
/// batch, from Beta(α, α).
///
/// Source: Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization".
///
/// ```
/// use fer_augment::{Mix, Mixup};
/// use fer_rand::{Purpose, Stream};
/// use ndarray::{Array4, array};
///
/// let mixup = Mixup { alpha: 0.2 };
/// mixup.validate()?;
/// let mix = mixup.draw(&mut Stream { seed: 42, purpose: Purpose::named("mixup"), epoch: 0, item: 7 }.rng(), 2);
/// assert!((0.0..=1.0).contains(&mix.share) && mix.partners.len() == 2);
///
/// let mix = Mix { share: 0.75, partners: vec![1, 0] };
/// let mut images = Array4::from_shape_fn((2, 1, 48, 48), |(n, ..)| n as f32);
/// let mut targets = array![[1.0, 0.0], [0.0, 1.0]];
/// mix.apply(images.view_mut(), targets.view_mut())?;
/// assert_eq!((images[[0, 0, 5, 5]], images[[1, 0, 5, 5]]), (0.25, 0.75));
/// assert_eq!(targets, array![[0.75, 0.25], [0.25, 0.75]]);
/// # Ok::<(), fer_augment::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mixup {
    /// The α of Beta(α, α), from 0.001 to 1000: the smaller, the nearer to one image alone.
    pub alpha: f64,
}

impl Default for Mixup {
    fn default() -> Self {
        Self { alpha: 0.2 }
    }
}

/// How one batch is mixed.
#[derive(Clone, Debug, PartialEq)]
pub struct Mix {
    /// The weight of an image itself; its partner has the rest.
    pub share: f32,
    /// The place in the batch of each image's partner; drawn, it is a permutation.
    pub partners: Vec<u32>,
}

impl Mixup {
    /// Checks the value.
    ///
    /// # Errors
    /// [`Error::Config`] for one that means nothing.
    pub fn validate(&self) -> Result<()> {
        // Beyond, the draw from the distribution overflows.
        let valid = (1e-3..=1e3).contains(&self.alpha);
        check(valid, "mixup.alpha", self.alpha, "a number from 0.001 to 1000")
    }

    /// Draws the share and then, as a permutation (Fisher–Yates), the partners of a batch of this many images.
    ///
    /// A value that [`validate`](Self::validate) refuses mixes nothing: the share is 1.
    pub fn draw(&self, rng: &mut impl Rng, batch: usize) -> Mix {
        let beta = self.validate().ok().and_then(|()| Beta::new(self.alpha, self.alpha).ok());
        let share = beta.map_or(1.0, |beta| beta.sample(rng) as f32);
        let mut partners: Vec<u32> = (0..batch as u32).collect();
        for i in (1..partners.len()).rev() {
            partners.swap(i, below(rng, i as u32 + 1) as usize);
        }
        Mix { share, partners }
    }
}

impl Mix {
    /// Blends images of shape (n, channels, height, width) and targets of shape (n, classes) in place: each value x
    /// of image i becomes `share·x + (1 − share)·y` with y from its partner as it was before. Both products and the
    /// sum are rounded to `f32`.
    ///
    /// # Errors
    /// [`Error::Mix`] where images, targets and partners are not as many, a partner is not in the batch, or the share
    /// is not in 0..=1. Nothing is changed then.
    pub fn apply(&self, images: ArrayViewMut4<'_, f32>, targets: ArrayViewMut2<'_, f32>) -> Result<()> {
        let (batch, rows) = (images.dim().0, targets.nrows());
        if rows != batch || self.partners.len() != batch {
            let partners = self.partners.len();
            return Err(Error::Mix(format!(
                "there are {batch} images, {rows} targets and {partners} partners"
            )));
        }
        if let Some(partner) = self.partners.iter().find(|&&partner| partner as usize >= batch) {
            return Err(Error::Mix(format!("partner {partner} is not among the {batch} images")));
        }
        if !(0.0..=1.0).contains(&self.share) {
            return Err(Error::Mix(format!("the share is {}, but must be from 0 to 1", self.share)));
        }
        self.blend(images.into_dyn());
        self.blend(targets.into_dyn());
        Ok(())
    }

    fn blend(&self, mut rows: ndarray::ArrayViewMutD<'_, f32>) {
        let (share, rest) = (self.share, 1.0 - self.share);
        let before = rows.to_owned();
        for (mut row, &partner) in rows.outer_iter_mut().zip(&self.partners) {
            let partner = before.index_axis(ndarray::Axis(0), partner as usize);
            row.zip_mut_with(&partner, |value, other| *value = share * *value + rest * other);
        }
    }
}

/// A whole number in 0..`bound`, without bias (Lemire 2019).
fn below(rng: &mut impl Rng, bound: u32) -> u32 {
    let mut product = u64::from(rng.next_u32()) * u64::from(bound);
    if (product as u32) < bound {
        let threshold = bound.wrapping_neg() % bound;
        while (product as u32) < threshold {
            product = u64::from(rng.next_u32()) * u64::from(bound);
        }
    }
    (product >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use fer_rand::{Purpose, RandomState, Stream};
    use ndarray::{Array2, Array4};

    #[test]
    fn partners_are_a_permutation_and_every_one_of_them_is_as_likely() {
        let mut rng = RandomState::new(3);
        let mut counts = [[0_u32; 5]; 5];
        for _ in 0..10_000 {
            let mix = Mixup::default().draw(&mut rng, 5);
            let mut sorted = mix.partners.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2, 3, 4]);
            mix.partners.iter().enumerate().for_each(|(i, &partner)| counts[i][partner as usize] += 1);
        }
        // Binomial(10000, 1/5) has a standard deviation of 40.
        assert!(counts.as_flattened().iter().all(|count| count.abs_diff(2000) < 200), "{counts:?}");
    }

    #[test]
    fn shares_have_the_mean_and_the_variance_of_their_distribution() {
        for alpha in [0.001, 0.2, 1.0, 3.0, 1000.0] {
            let mut rng = RandomState::new(11);
            let shares: Vec<f64> =
                (0..20_000).map(|_| f64::from(Mixup { alpha }.draw(&mut rng, 0).share)).collect();
            let mean = shares.iter().sum::<f64>() / 20_000.0;
            let variance = shares.iter().map(|share| (share - 0.5).powi(2)).sum::<f64>() / 20_000.0;
            let expected = 0.25 / (2.0 * alpha + 1.0);
            assert!((mean - 0.5).abs() < 0.015, "{alpha}: mean {mean}");
            assert!((variance / expected - 1.0).abs() < 0.05, "{alpha}: variance {variance}, not {expected}");
        }
    }

    #[test]
    fn the_same_stream_mixes_alike() {
        let draw = |item| {
            let stream = Stream { seed: 1, purpose: Purpose::named("mixup"), epoch: 2, item };
            Mixup { alpha: 0.3 }.draw(&mut stream.rng(), 128)
        };
        assert_eq!(draw(5), draw(5));
        assert_ne!(draw(5), draw(6));
    }

    #[test]
    fn images_are_blended_with_their_partners_as_these_were() {
        let images =
            Array4::from_shape_fn((3, 2, 4, 5), |(n, c, r, k)| (n * 40 + c * 20 + r * 5 + k) as f32 / 7.0);
        let targets = Array2::from_shape_fn((3, 7), |(n, class)| (n * 7 + class) as f32 / 3.0);
        let mix = Mix { share: 0.3, partners: vec![1, 2, 0] };
        let (mut mixed, mut mixed_targets) = (images.clone(), targets.clone());
        // Channels last, as a view: strides do not matter.
        let mut last = images.clone().permuted_axes([0, 2, 3, 1]).as_standard_layout().into_owned();
        mix.apply(mixed.view_mut(), mixed_targets.view_mut()).unwrap();
        mix.apply(last.view_mut().permuted_axes([0, 3, 1, 2]), targets.clone().view_mut()).unwrap();
        assert_eq!(last.permuted_axes([0, 3, 1, 2]), mixed);
        for ((n, c, r, k), &value) in mixed.indexed_iter() {
            let own = 0.3 * images[[n, c, r, k]];
            assert_eq!(value, own + (1.0 - 0.3_f32) * images[[(n + 1) % 3, c, r, k]]);
        }
        assert_eq!(mixed_targets[[2, 4]], 0.3 * targets[[2, 4]] + (1.0 - 0.3_f32) * targets[[0, 4]]);
    }

    #[test]
    fn what_does_not_fit_is_named_and_changes_nothing() {
        let apply = |share, partners: &[u32], rows| {
            let (mut images, mut targets) = (Array4::from_elem((2, 1, 1, 1), 3.0), Array2::zeros((rows, 7)));
            let mix = Mix { share, partners: partners.to_vec() };
            let error = mix.apply(images.view_mut(), targets.view_mut()).unwrap_err();
            assert_eq!(images, Array4::from_elem((2, 1, 1, 1), 3.0));
            error.to_string()
        };
        assert!(apply(0.5, &[1], 2).ends_with("there are 2 images, 2 targets and 1 partners"));
        assert!(apply(0.5, &[1, 0], 3).ends_with("there are 2 images, 3 targets and 2 partners"));
        assert!(apply(0.5, &[1, 2], 2).ends_with("partner 2 is not among the 2 images"));
        assert!(apply(f32::NAN, &[1, 0], 2).ends_with("the share is NaN, but must be from 0 to 1"));
    }

    #[test]
    fn an_alpha_that_means_nothing_is_refused_and_mixes_nothing() {
        for alpha in [0.0, -1.0, 1e4, f64::NAN, f64::INFINITY] {
            let mixup = Mixup { alpha };
            assert!(matches!(mixup.validate(), Err(Error::Config { field: "mixup.alpha", .. })));
            assert_eq!(mixup.draw(&mut RandomState::new(0), 4).share, 1.0);
        }
    }
}
