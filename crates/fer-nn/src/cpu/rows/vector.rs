//! Vectors of channels at places that were checked before.

use pulp::Simd;

/// # Safety
/// A vector's values may be read from there.
#[inline(always)]
pub(super) unsafe fn load<S: Simd>(_: S, from: *const f32) -> S::f32s {
    // SAFETY: as the caller says; any bits are values.
    unsafe { from.cast::<S::f32s>().read_unaligned() }
}

/// # Safety
/// A vector's values may be written there.
#[inline(always)]
pub(super) unsafe fn store<S: Simd>(_: S, values: S::f32s, to: *mut f32) {
    // SAFETY: as the caller says.
    unsafe { to.cast::<S::f32s>().write_unaligned(values) }
}

/// `sum·scale + shift`, and 0 in place of what is below it where `relu`; what is no number stays.
#[inline(always)]
pub(super) fn finish<S: Simd>(simd: S, sum: S::f32s, [scale, shift]: [S::f32s; 2], relu: bool) -> S::f32s {
    let y = simd.mul_add_e_f32s(sum, scale, shift);
    let zero = simd.splat_f32s(0.0);
    match (relu, S::F32_LANES) {
        (false, _) => y,
        (true, 1) => simd.select_f32s(simd.less_than_f32s(y, zero), zero, y),
        // Of a number and what is none, x86's maximum is the second operand, and NEON's what is none.
        (true, _) => simd.max_f32s(zero, y),
    }
}
