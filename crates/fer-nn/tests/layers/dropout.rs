//! Dropout.

use fer_nn::{Mode, Step, dropout};
use proptest::prelude::*;

use crate::compare::{Memory, Random, gradients, tensor, values, var};
use crate::reference::Array;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn the_gradient_has_the_mask_of_the_output(
        dims in prop::collection::vec(1..20_usize, 2..5),
        rate in 0.01..0.95_f32,
        seed in any::<u64>(),
        epoch in any::<u32>(),
        step in any::<u32>(),
        memory in Memory::any(),
    ) {
        let mut random = Random::new(seed);
        let (x, dy) = (random.array(&dims), random.array(&dims));
        let base = memory.hold(&x);
        let mode = Mode::Train(Step { seed, epoch, step });
        let y = dropout(rate, "dropout_1").unwrap().forward(&memory.view(&base), mode).unwrap();
        let [dx] = gradients(&y, &dy, [&base]);

        let ones = Array::ones(dims);
        let mask = values(&dropout(rate, "dropout_1").unwrap().forward(&tensor(&ones), mode).unwrap());
        prop_assert!(mask.iter().all(|&m| m == 0.0 || m == 1.0 / (1.0 - rate)));
        let masked = |of: &Array| -> Vec<f32> {
            of.iter().zip(&mask).map(|(&v, m)| v as f32 * m).collect()
        };
        prop_assert_eq!(values(&y), masked(&x));
        prop_assert_eq!(values(&memory.view(&dx)), masked(&dy));
    }
}

#[test]
fn the_mask_depends_on_the_seed_the_epoch_the_step_and_the_name() {
    let ones = tensor(&Array::ones(vec![1000]));
    let mask = |name: &str, seed, epoch, step| {
        let mode = Mode::Train(Step { seed, epoch, step });
        values(&dropout(0.5, name).unwrap().forward(&ones, mode).unwrap())
    };
    let first = mask("dropout_1", 1, 2, 3);
    assert_eq!(first, mask("dropout_1", 1, 2, 3));
    for other in [
        mask("dropout_2", 1, 2, 3),
        mask("dropout_1", 2, 2, 3),
        mask("dropout_1", 1, 3, 3),
        mask("dropout_1", 1, 2, 4),
        // Epoch and step are not mixed up.
        mask("dropout_1", 1, 3, 2),
    ] {
        // Two independent fair masks of 1,000 agree in 500 ± 16 places.
        let same = first.iter().zip(&other).filter(|(a, b)| a == b).count();
        assert!((420..580).contains(&same), "{same}");
    }
}

#[test]
fn a_share_of_the_rate_is_dropped() {
    let ones = tensor(&Array::ones(vec![100_000]));
    for rate in [0.0_f32, 0.1, 0.4, 0.5, 0.6, 0.9] {
        let mode = Mode::Train(Step { seed: 3, epoch: 0, step: 0 });
        let y = values(&dropout(rate, "dropout").unwrap().forward(&ones, mode).unwrap());
        let dropped = y.iter().filter(|&&v| v == 0.0).count() as f64;
        let expected = 1e5 * f64::from(rate);
        // Four standard deviations of the binomial distribution.
        let spread = 4.0 * (expected * f64::from(1.0 - rate)).sqrt();
        assert!((dropped - expected).abs() <= spread, "{rate}: {dropped}");
    }
}

#[test]
fn evaluation_passes_everything() {
    let x = var(&Random::new(4).array(&[3, 5]));
    let y = dropout(0.9, "dropout").unwrap().forward(&x, Mode::Eval).unwrap();
    assert_eq!(values(&y), values(&x));
}

#[test]
fn a_rate_that_is_no_rate_is_an_error() {
    for rate in [-0.1, 1.0, 1.5, f32::NAN] {
        let message = dropout(rate, "dropout_1").unwrap_err().to_string();
        assert!(message.contains("at least 0 and below 1"), "{message}");
    }
}
