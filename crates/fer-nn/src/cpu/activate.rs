//! The activations' functions and their slopes, value by value, for loops that become vector instructions.

/// `scale` and `p` of eˣ = scale + scale·p, for x in −87..=0; the argument is clamped to that range.
#[inline(always)]
fn exp_parts(x: f32) -> (f32, f32) {
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
    (scale, p * r * r + r)
}

/// eˣ − 1, to 2 units in the last place for x in −87..=0; the argument is clamped to that range.
#[inline(always)]
fn exp_m1_of_negative(x: f32) -> f32 {
    let (scale, p) = exp_parts(x);
    scale * p + (scale - 1.0)
}

/// 1/(1 + e⁻ˣ).
#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    let (scale, p) = exp_parts(-x.abs());
    let small = scale + scale * p;
    (if x < 0.0 { small } else { 1.0 }) / (1.0 + small)
}

/// x where x > 0, else eˣ − 1.
#[inline(always)]
pub(crate) fn elu(x: f32) -> f32 {
    let below = exp_m1_of_negative(x);
    if x <= 0.0 { below } else { x }
}

/// x where it is not below 0; unlike `max`, this keeps NaN.
#[inline(always)]
pub(crate) fn relu(x: f32) -> f32 {
    if x < 0.0 { 0.0 } else { x }
}

/// The slope of x·σ(x).
#[inline(always)]
pub(crate) fn silu_slope(x: f32) -> f32 {
    let of_x = sigmoid(x);
    of_x * (1.0 + x * (1.0 - of_x))
}

/// Runs `$body` with the function of an activation as `$f`, compiled for each activation and for the widest vectors.
macro_rules! for_function {
    ($activation:expr, |$f:ident| $body:expr) => {{
        use $crate::Activation::*;
        use $crate::cpu::activate;
        $crate::cpu::vectorized(
            #[inline(always)]
            || match $activation {
                Linear => {
                    let $f = |x: f32| x;
                    $body
                }
                Relu => {
                    let $f = activate::relu;
                    $body
                }
                Elu => {
                    let $f = activate::elu;
                    $body
                }
                LeakyRelu(slope) => {
                    let $f = |x: f32| if x > 0.0 { x } else { slope * x };
                    $body
                }
                Silu => {
                    let $f = |x: f32| x * activate::sigmoid(x);
                    $body
                }
                Sigmoid => {
                    let $f = activate::sigmoid;
                    $body
                }
            },
        )
    }};
}

/// Runs `$body` with the slope of an activation as `$f`: of the activation's output, but of its input for what the output
/// does not tell.
macro_rules! for_slope {
    ($activation:expr, |$f:ident| $body:expr) => {{
        use $crate::Activation::*;
        use $crate::cpu::activate;
        $crate::cpu::vectorized(
            #[inline(always)]
            || match $activation {
                Linear => {
                    let $f = |_: f32| 1.0_f32;
                    $body
                }
                Relu => {
                    let $f = |y: f32| if y > 0.0 { 1.0_f32 } else { 0.0 };
                    $body
                }
                Elu => {
                    let $f = |y: f32| if y > 0.0 { 1.0_f32 } else { y + 1.0 };
                    $body
                }
                LeakyRelu(slope) => {
                    let $f = |y: f32| if y > 0.0 { 1.0 } else { slope };
                    $body
                }
                Silu => {
                    let $f = activate::silu_slope;
                    $body
                }
                Sigmoid => {
                    let $f = |y: f32| y * (1.0 - y);
                    $body
                }
            },
        )
    }};
}

pub(crate) use {for_function, for_slope};

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
    fn sigmoid_is_accurate_on_both_sides_and_keeps_what_is_no_number() {
        for i in -4000..4000 {
            let x = i as f32 * 5e-3;
            let want = 1.0 / (1.0 + (-f64::from(x)).exp());
            assert!((f64::from(sigmoid(x)) - want).abs() <= 3.0 * f64::from(f32::EPSILON) * want, "{x}");
        }
        assert!(sigmoid(f32::NAN).is_nan());
        assert!(sigmoid(1e30) == 1.0 && sigmoid(-1e30) < 1e-37);
    }
}
