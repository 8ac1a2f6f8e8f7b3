//! Every output and gradient against a plain convolution in `f64`.

use proptest::prelude::*;

use super::*;
use crate::cpu::groups::{Norm, from_groups, groups, to_groups};
use crate::cpu::plain::{Plain, products, values};

fn shape(batch: usize, channels: (usize, usize), size: (usize, usize), r: usize) -> ConvShape {
    padded_shape(batch, channels, size, r, (r / 2, r / 2), size)
}

fn padded_shape(
    batch: usize,
    channels: (usize, usize),
    size: (usize, usize),
    r: usize,
    padding: (usize, usize),
    out: (usize, usize),
) -> ConvShape {
    ConvShape {
        batch,
        in_channels: channels.0,
        height: size.0,
        width: size.1,
        out_channels: channels.1,
        kernel: (r, r),
        stride: 1,
        padding,
        out_height: out.0,
        out_width: out.1,
        groups: 1,
    }
}

/// `(batch, channels, area)` in groups.
fn grouped(x: &[f32], batch: usize, channels: usize, area: usize) -> Vec<f32> {
    let mut out = vec![0.0; batch * groups(channels) * area * GROUP];
    to_groups(x, channels, area, &mut out);
    out
}

/// The convolution in a direction, the weight transformed into memory with other values in it, in groups.
fn convolution(x: Images, weight: &[f32], direction: Direction, s: &ConvShape) -> Vec<f32> {
    let mut kernel = Transformed { kernels: vec![(Filtering::F2x3, vec![f32::NAN; 1000])], current: 0 };
    kernel.set(weight, direction, s, false);
    convolution_with(x, &kernel, direction, s)
}

fn convolution_with(x: Images, kernel: &Transformed, direction: Direction, s: &ConvShape) -> Vec<f32> {
    let (channels, area) = match direction {
        Direction::Forward => (s.out_channels, s.out_area()),
        Direction::InputGradient => (s.in_channels, s.height * s.width),
    };
    let mut out = vec![f32::NAN; s.batch * groups(channels) * area * GROUP];
    convolve(x, kernel, direction, s, &mut out, 1, |_, raw, out| out.copy_from_slice(raw));
    out
}

fn input<'a>(data: &'a [f32], s: &ConvShape) -> Images<'a> {
    Images { data, channels: s.in_channels, height: s.height, width: s.width, norm: None }
}

fn output<'a>(data: &'a [f32], s: &ConvShape) -> Images<'a> {
    Images { data, channels: s.out_channels, height: s.out_height, width: s.out_width, norm: None }
}

/// The output and both gradients, in groups but for the weight's.
fn all_three(x: &[f32], weight: &[f32], dy: &[f32], s: &ConvShape) -> [Vec<f32>; 3] {
    let x = grouped(x, s.batch, s.in_channels, s.height * s.width);
    let dy = grouped(dy, s.batch, s.out_channels, s.out_area());
    let mut dw = vec![f32::NAN; weight.len()];
    weight_gradient(input(&x, s), output(&dy, s), s, &mut dw);
    [
        convolution(input(&x, s), weight, Direction::Forward, s),
        convolution(output(&dy, s), weight, Direction::InputGradient, s),
        dw,
    ]
}

/// The relative errors of the output, of both gradients, and of the output by a constant weight.
fn errors(s: ConvShape) -> [f64; 4] {
    let x = values(s.batch * s.in_size(), 1);
    let weight = values(s.out_channels * s.in_channels * s.kernel.0 * s.kernel.1, 2);
    let dy = values(s.batch * s.out_size(), 4);
    let mut y = Plain::new(vec![0.0; dy.len()]);
    let mut dx = Plain::new(vec![0.0; x.len()]);
    let mut dw = Plain::new(vec![0.0; weight.len()]);
    products(&s, |at_y, at_x, at_w| {
        y.add(at_y, x[at_x], weight[at_w]);
        dx.add(at_x, dy[at_y], weight[at_w]);
        dw.add(at_w, dy[at_y], x[at_x]);
    });
    let [got_y, got_dx, got_dw] = all_three(&x, &weight, &dy, &s);
    let mut constant = Transformed::default();
    constant.set(&weight, Direction::Forward, &s, true);
    let grouped_x = grouped(&x, s.batch, s.in_channels, s.height * s.width);
    let by_constant = convolution_with(input(&grouped_x, &s), &constant, Direction::Forward, &s);
    let plain = |grouped: &[f32], channels: usize, area: usize| {
        let mut out = vec![0.0; s.batch * channels * area];
        from_groups(grouped, channels, area, &mut out);
        // What lies beyond the last channel is zero.
        assert!(self::grouped(&out, s.batch, channels, area) == grouped, "{s:?}");
        out
    };
    [
        y.relative_error(&plain(&got_y, s.out_channels, s.out_area())),
        dx.relative_error(&plain(&got_dx, s.in_channels, s.height * s.width)),
        dw.relative_error(&got_dw),
        y.relative_error(&plain(&by_constant, s.out_channels, s.out_area())),
    ]
}

/// Where most of a tile lies outside the image, as for none that [`suits`], the weights that meet nothing but zeros
/// add to the error and not to the norm.
fn assert_accurate(s: ConvShape) {
    let (errors, most) = (errors(s), if suits(&s) { 1e-5 } else { 4e-5 });
    assert!(errors.iter().all(|&e| e <= most), "{s:?}: {errors:?}");
}

#[test]
fn errors_are_below_a_hundred_thousandth_of_the_norm() {
    for s in [
        shape(2, (64, 64), (48, 48), 5),
        shape(32, (16, 16), (48, 48), 5),
        shape(1, (64, 128), (24, 24), 3),
        shape(12, (128, 128), (24, 24), 3),
        shape(2, (256, 256), (12, 12), 3),
        shape(3, (256, 256), (6, 6), 3),
        shape(16, (256, 256), (6, 6), 3),
    ] {
        assert_accurate(s);
    }
}

#[test]
fn awkward_shapes_agree_with_the_plain_convolution() {
    for r in [3, 5] {
        assert_accurate(shape(1, (1, 1), (1, 1), r));
        assert_accurate(shape(1, (1, 17), (1, 9), r));
        assert_accurate(shape(3, (17, 1), (9, 1), r));
        assert_accurate(shape(2, (3, 33), (5, 7), r));
        assert_accurate(shape(9, (16, 16), (4, 4), r));
        // Many tiles, all cut at the edges.
        assert_accurate(shape(33, (17, 18), (5, 11), r));
        assert_accurate(shape(40, (3, 5), (11, 5), r));
        // A kernel as large as the image, without padding: one output.
        assert_accurate(padded_shape(2, (5, 6), (r, r), r, (0, 0), (1, 1)));
        // Every value padded away from one side, more padding than the kernel reaches.
        assert_accurate(padded_shape(1, (2, 3), (6, 6), r, (r + 1, 0), (12, 3)));
        assert_accurate(padded_shape(1, (2, 3), (2, 30), r, (1, 7), (1, 41)));
        // The image far beyond the first outputs, in all sixteen channels of a group.
        assert_accurate(padded_shape(1, (16, 16), (3, 3), r, (15, 20), (4, 5)));
    }
}

#[test]
fn inputs_are_normalised_on_the_way_and_padding_is_zero_after_it() {
    for s in [shape(2, (21, 18), (10, 11), 3), shape(9, (21, 18), (12, 12), 3), shape(1, (21, 18), (7, 9), 5)]
    {
        let (x, dy) = (values(s.batch * s.in_size(), 1), values(s.batch * s.out_size(), 4));
        let weight = values(s.out_channels * s.in_channels * s.kernel.0 * s.kernel.1, 2);
        let constants = values(3 * 2 * GROUP, 5);
        let lanes = |i: usize| std::array::from_fn(|lane| 1.0 + constants[i * GROUP + lane]);
        let norm = [0, 3].map(|i| Norm { center: lanes(i), scale: lanes(i + 1), shift: lanes(i + 2) });
        let x = grouped(&x, s.batch, s.in_channels, s.height * s.width);
        let mut normalised = x.clone();
        for (i, lanes) in normalised.as_chunks_mut::<GROUP>().0.iter_mut().enumerate() {
            *lanes = norm[i / (s.height * s.width) % 2].apply(lanes);
        }
        let on_the_way = Images { norm: Some(&norm), ..input(&x, &s) };
        let dy = grouped(&dy, s.batch, s.out_channels, s.out_area());
        let run = |x: Images| {
            let mut dw = vec![0.0; weight.len()];
            weight_gradient(x, output(&dy, &s), &s, &mut dw);
            (convolution(x, &weight, Direction::Forward, &s), dw)
        };
        let (got, want) = (run(on_the_way), run(input(&normalised, &s)));
        let close = |got: &[f32], want: &[f32]| {
            Plain::new(want.iter().map(|&v| f64::from(v)).collect()).relative_error(got) < 1e-5
        };
        assert!(close(&got.0, &want.0) && close(&got.1, &want.1), "{s:?}");
    }
}

#[test]
fn strips_cover_every_row_once_and_pooled_outputs_get_theirs() {
    for (s, pool) in [
        (shape(3, (16, 20), (13, 7), 3), 2),
        (shape(40, (9, 40), (15, 15), 3), 2),
        (shape(2, (16, 16), (48, 48), 5), 2),
        (shape(1, (16, 33), (1, 9), 5), 2),
        (shape(1, (16, 33), (9, 1), 3), 1),
    ] {
        let x = grouped(&values(s.batch * s.in_size(), 1), s.batch, s.in_channels, s.height * s.width);
        let weight = values(s.out_channels * s.in_channels * s.kernel.0 * s.kernel.1, 2);
        let whole = convolution(input(&x, &s), &weight, Direction::Forward, &s);
        let mut kernel = Transformed::default();
        kernel.set(&weight, Direction::Forward, &s, false);
        let (height, width) = (s.out_height / pool, s.out_width / pool);
        let mut out = vec![f32::NAN; s.batch * groups(s.out_channels) * height * width * GROUP];
        let row = s.out_width * GROUP;
        let direction = Direction::Forward;
        let mut strips =
            convolve(input(&x, &s), &kernel, direction, &s, &mut out, pool, |strip, raw, out| {
                assert_eq!(raw.len(), strip.rows * row);
                assert_eq!(out.len(), strip.rows / pool * width * GROUP);
                assert!(strip.first_row % 2 == 0);
                assert!(strip.rows % 2 == 0 || strip.first_row + strip.rows == s.out_height);
                let plane = strip.image * groups(s.out_channels) + strip.group;
                assert!(
                    raw == &whole[(plane * s.out_height + strip.first_row) * row..][..raw.len()],
                    "{s:?}"
                );
                out.fill((plane * height + strip.first_row / pool) as f32);
                (strip.image, strip.group, strip.first_row, strip.rows)
            });
        strips.sort_unstable();
        let mut next = (0, 0, 0);
        for (image, group, first_row, rows) in strips {
            assert_eq!((image, group, first_row), next, "{s:?}");
            let at = (image * groups(s.out_channels) + group) * height + first_row / pool;
            let pooled = &out[at * width * GROUP..][..rows / pool * width * GROUP];
            assert!(pooled.iter().all(|&v| v == at as f32), "{s:?}");
            next = match (first_row + rows == s.out_height, group + 1 == groups(s.out_channels)) {
                (false, _) => (image, group, first_row + rows),
                (true, false) => (image, group + 1, 0),
                (true, true) => (image + 1, 0, 0),
            };
        }
        assert_eq!(next, (s.batch, 0, 0));
    }
}

#[test]
fn what_is_not_a_number_stays_inside_the_channels() {
    let s = shape(1, (16, 20), (6, 6), 3);
    let x = grouped(&vec![f32::NAN; s.in_size()], 1, s.in_channels, 36);
    let y = convolution(input(&x, &s), &values(20 * 16 * 9, 2), Direction::Forward, &s);
    for (group, lanes) in y
        .chunks_exact(36 * GROUP)
        .zip([GROUP, 4])
        .flat_map(|(group, used)| group.chunks_exact(GROUP).map(move |lanes| (lanes, used)))
    {
        assert!(group[..lanes].iter().all(|v| v.is_nan()) && group[lanes..].iter().all(|&v| v == 0.0));
    }
}

#[test]
fn a_constant_weight_is_transformed_once_for_a_filtering() {
    let (few, many) = (shape(1, (16, 16), (6, 6), 3), shape(64, (16, 16), (6, 6), 3));
    let (mut kernel, weight) = (Transformed::default(), values(16 * 16 * 9, 2));
    kernel.set(&weight, Direction::Forward, &few, true);
    kernel.set(&weight, Direction::Forward, &many, true);
    let of = |kernel: &Transformed| kernel.kernels.iter().map(|(of, _)| *of).collect::<Vec<_>>();
    assert_eq!(of(&kernel), [Filtering::F2x3, Filtering::F6x3]);
    // What is there is used again: this weight is not looked at.
    let x = grouped(&values(few.in_size(), 1), 1, 16, 36);
    kernel.set(&[], Direction::Forward, &few, true);
    let mut other = Transformed::default();
    other.set(&weight, Direction::Forward, &few, true);
    let by = |kernel| convolution_with(input(&x, &few), kernel, Direction::Forward, &few);
    assert!(by(&kernel) == by(&other));
    assert_eq!(of(&kernel).len(), 2);
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    for s in
        [shape(5, (16, 40), (18, 10), 5), shape(1, (40, 64), (11, 30), 3), shape(33, (48, 32), (11, 12), 3)]
    {
        let x = values(s.batch * s.in_size(), 1);
        let weight = values(s.out_channels * s.in_channels * s.kernel.0 * s.kernel.1, 2);
        let dy = values(s.batch * s.out_size(), 4);
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| all_three(&x, &weight, &dy, &s))
        };
        let alone = on(1);
        assert!(alone == on(2) && alone == on(3), "{s:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn random_shapes_agree_with_the_plain_convolution(
        batch in 1..4_usize,
        channels in (1..40_usize, 1..40_usize),
        size in (1..20_usize, 1..20_usize),
        r in prop_oneof![Just(3_usize), Just(5)],
        padding in (0..6_usize, 0..6_usize),
        end in (0..6_usize, 0..6_usize),
    ) {
        let out = (
            (size.0 + padding.0 + end.0).saturating_sub(r - 1),
            (size.1 + padding.1 + end.1).saturating_sub(r - 1),
        );
        prop_assume!(out.0 > 0 && out.1 > 0);
        assert_accurate(padded_shape(batch, channels, size, r, padding, out));
    }
}
