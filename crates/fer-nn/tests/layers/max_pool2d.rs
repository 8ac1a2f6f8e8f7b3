//! Maximum and mean pooling.

use candle_core::{DType, Device, Module, Tensor};
use fer_nn::{MaxPool2d, MeanPool2d, Padding, max_pool2d};
use proptest::prelude::*;

use crate::compare::{Memory, Random, assert_close, gradients, values, var};
use crate::reference::{self, Array};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]
    #[test]
    fn any_geometry_is_its_definition(
        x in [1..4_usize, 1..5, 1..14, 1..14],
        size in 1..5_usize,
        stride in 1..5_usize,
        padding in prop_oneof![
            Just(Padding::Valid),
            Just(Padding::Same),
            [0..4_usize, 0..4, 0..4, 0..4]
                .prop_map(|[top, bottom, left, right]| Padding::Explicit { top, bottom, left, right }),
        ],
        // Few different values make many ties.
        levels in prop_oneof![Just(1.0), Just(2.0), Just(1e6)],
        memory in Memory::any(),
        seed in any::<u64>(),
    ) {
        // Fewer zeros than a window has values, so that each window holds one.
        let padding = match padding {
            Padding::Explicit { top, bottom, left, right } => Padding::Explicit {
                top: top % size, bottom: bottom % size, left: left % size, right: right % size,
            },
            other => other,
        };
        prop_assume!(padding == Padding::Same || size <= x[2] && size <= x[3]);
        let mut random = Random::new(seed);
        let x = random.array(&x).mapv(|v| f64::from((v * levels).round() as f32 / levels as f32));
        let base = memory.hold(&x);
        let pool = MaxPool2d::new(size, stride).unwrap().padding(padding);
        let y = pool.forward(&memory.view(&base)).unwrap();
        let expected = reference::max_pool2d(&x, size, stride, padding);
        let expected_values: Vec<f32> = expected.iter().map(|&v| v as f32).collect();
        assert_eq!(y.dims(), expected.shape());
        assert_eq!(values(&y), expected_values);

        let dy = random.array(expected.shape());
        let [dx] = gradients(&y, &dy, [&base]);
        let of_x = reference::max_pool2d_backward(&x, &dy, size, stride, padding);
        assert_close("dx", &memory.view(&dx), &of_x, 1);

        let y = MeanPool2d::new(size, stride).unwrap().padding(padding).forward(&memory.view(&base)).unwrap();
        assert_close("mean", &y, &reference::mean_pool2d(&x, size, stride, padding), 1);
        let [dx] = gradients(&y, &dy, [&base]);
        let of_x = reference::mean_pool2d_backward(&x, &dy, size, stride, padding);
        assert_close("dx of the mean", &memory.view(&dx), &of_x, 1);
    }
}

#[test]
fn the_first_of_equal_values_takes_the_gradient_of_every_window_it_is_in() {
    let x = var(&Array::ones(vec![1, 1, 5, 5]));
    for (size, stride, expected) in [
        (2, 2, [[1., 0., 1., 0., 0.], [0.; 5], [1., 0., 1., 0., 0.], [0.; 5], [0.; 5]]),
        (3, 2, [[1., 0., 1., 0., 0.], [0.; 5], [1., 0., 1., 0., 0.], [0.; 5], [0.; 5]]),
        (3, 1, [[1., 1., 1., 0., 0.], [1., 1., 1., 0., 0.], [1., 1., 1., 0., 0.], [0.; 5], [0.; 5]]),
    ] {
        let y = max_pool2d(&x, size, stride).unwrap();
        let [dx] = gradients(&y, &Array::ones(y.dims()), [&x]);
        assert_eq!(values(&dx), expected.concat(), "size {size}, stride {stride}");
    }
    // One maximum in the middle is that of all four windows of 3×3.
    let mut peak = Array::zeros(vec![1, 1, 5, 5]);
    peak[[0, 0, 2, 2]] = 1.0;
    let x = var(&peak);
    let y = max_pool2d(&x, 3, 2).unwrap();
    let [dx] = gradients(&y, &Array::ones(y.dims()), [&x]);
    assert_eq!(values(&dx), peak.iter().map(|v| 4.0 * *v as f32).collect::<Vec<_>>());
}

#[test]
fn nan_is_not_hidden() {
    for place in 0..4 {
        let mut x = Array::zeros(vec![1, 1, 2, 2]);
        x.as_slice_mut().unwrap()[place] = f64::NAN;
        let x = var(&x);
        let y = max_pool2d(&x, 2, 2).unwrap();
        assert!(values(&y)[0].is_nan());
        let [dx] = gradients(&y, &Array::ones(y.dims()), [&x]);
        // NaN·0 elsewhere would be NaN too: the gradient is placed, not multiplied.
        assert_eq!(values(&dx).iter().filter(|v| **v != 0.0).count(), 1, "{place}");
    }
}

#[test]
fn windows_that_do_not_fit_are_an_error() {
    let zeros = |dims: &[usize]| Tensor::zeros(dims, DType::F32, &Device::Cpu).unwrap();
    for (dims, size, stride) in [
        ([1, 1, 2, 3], 3, 1),
        ([1, 1, 3, 2], 3, 1),
        ([1, 1, 3, 3], 0, 1),
        ([1, 1, 3, 3], 2, 0),
        ([0, 1, 3, 3], 2, 2),
        ([1, 0, 3, 3], 2, 2),
    ] {
        let message = max_pool2d(&zeros(&dims), size, stride).unwrap_err().to_string();
        assert!(message.starts_with("max_pool2d: "), "{message}");
    }
    assert!(max_pool2d(&zeros(&[1, 3, 3]), 2, 2).is_err());
}

#[test]
fn a_padding_that_leaves_a_window_empty_is_an_error() {
    let x = Tensor::zeros((1, 1, 4, 4), DType::F32, &Device::Cpu).unwrap();
    let message = MaxPool2d::new(2, 2).unwrap().padding(Padding::all(2)).forward(&x).unwrap_err().to_string();
    assert!(message.contains("lies outside the 4×4 values"), "{message}");
}
