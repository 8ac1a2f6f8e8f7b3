//! The arguments of the kernels, field for field as in `kernels/*.cu`.

use super::card::{Address, Args};

macro_rules! args {
    ($($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty,)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, Default)]
            #[repr(C)]
            pub(crate) struct $name { $(pub $field: $type,)* }

            // SAFETY: repr(C), and field for field the struct of this name in the kernels; the emulator's tests
            // compare the sizes.
            unsafe impl Args for $name {}
        )*
    };
}

args! {
    /// `stage.cu`
    StageArgs {
        c: Address,
        z: Address,
        da: Address,
        skip: Address,
        dskip: Address,
        bias: Address,
        gamma: Address,
        beta: Address,
        running_mean: Address,
        running_var: Address,
        moments: Address,
        norm: Address,
        slopes: Address,
        dgamma: Address,
        dbeta: Address,
        dbias: Address,
        state: Address,
        partial: Address,
        momentum: f64,
        epsilon: f64,
        correction: f64,
        batch: u32,
        height: u32,
        width: u32,
        channels: u32,
        pool: u32,
        activation: u32,
        after: u32,
        slope: f32,
        after_slope: f32,
        skip_half: u32,
        adds_skip: u32,
        dropout: u32,
        purpose: u32,
        threshold: u32,
        kept: f32,
        blocks: u32,
    }
    /// `direct.cu`
    DirectArgs {
        images: Address,
        weight: Address,
        c: Address,
        partial: Address,
        dweight: Address,
        batch: u32,
        height: u32,
        width: u32,
        channels: u32,
        out_height: u32,
        out_width: u32,
        top: u32,
        left: u32,
        blocks: u32,
        unused: u32,
    }
    /// `loss.cu`
    LossArgs {
        c: Address,
        bias: Address,
        targets: Address,
        class_weights: Address,
        dlogits: Address,
        dbias: Address,
        losses: Address,
        correct: Address,
        state: Address,
        smoothing: f32,
        batch: u32,
        classes: u32,
        last: u32,
    }
    /// `optimizer.cu`
    OptimizerArgs {
        weights: Address,
        m: Address,
        v: Address,
        averages: Address,
        states: Address,
        state_averages: Address,
        gradients: Address,
        half_gradients: Address,
        half_weights: Address,
        updates: Address,
        norm: Address,
        state: Address,
        partial: Address,
        ticket: Address,
        parameters: u32,
        halves: u32,
        decayed: u32,
        state_count: u32,
        rule: u32,
        blocks: u32,
    }
    /// `Standard` of `standard.cuh`
    StandardArgs {
        mean: f32,
        deviation: f32,
        applies: u32,
        unused: u32,
    }
    /// `batch.cu`
    BatchArgs {
        pixels: Address,
        targets: Address,
        order: Address,
        warps: Address,
        images: Address,
        batch_targets: Address,
        state: Address,
        fill: f32,
        fill_mode: u32,
        height: u32,
        width: u32,
        classes: u32,
        stride: u32,
        standard: StandardArgs,
    }
    /// `batch.cu`
    MixArgs {
        from: Address,
        from_targets: Address,
        to: Address,
        to_targets: Address,
        shares: Address,
        partners: Address,
        state: Address,
        area: u32,
        classes: u32,
        stride: u32,
        unused: u32,
        standard: StandardArgs,
    }
    /// `tone.cu`
    BatchToneArgs {
        images: Address,
        tones: Address,
        state: Address,
        area: u32,
        width: u32,
        stride: u32,
        stretch: u32,
        clamps: u32,
        erased: f32,
        standard: StandardArgs,
    }
    /// `mean.cu`
    MeanArgs {
        maps: Address,
        means: Address,
        batch: u32,
        area: u32,
        channels: u32,
        adds: u32,
    }
    /// `mean.cu`
    AddArgs {
        from: Address,
        to: Address,
        count: u32,
        adds: u32,
    }
    /// `layout.cu`
    LayoutArgs {
        planar: Address,
        last: Address,
        half: Address,
        outer: u32,
        channels: u32,
        area: u32,
        unused: u32,
    }
    /// `layers.cu`
    LayerArgs {
        x: Address,
        dy: Address,
        out: Address,
        count: u32,
        height: u32,
        width: u32,
        out_height: u32,
        out_width: u32,
        size: u32,
        stride: u32,
        top: u32,
        left: u32,
        activation: u32,
        slope: f32,
        unused: u32,
    }
    /// `State` of `stage.cuh`
    State {
        seed: u64,
        epoch: u32,
        step: u32,
    }
    /// `Warp` of `batch.cu`
    WarpArgs {
        matrix: [f64; 4],
        offset: [f64; 2],
        moves: u32,
        flips: u32,
    }
    /// `Tone` of `tone.cu`
    ToneArgs {
        shift: f32,
        brightness: f32,
        contrast: f32,
        offset: f32,
        top: u32,
        left: u32,
        bottom: u32,
        right: u32,
    }
}

/// The bytes of values.
pub(crate) fn bytes<T: Copy>(values: &[T]) -> &[u8] {
    // SAFETY: the values are numbers and arguments of kernels, whose gaps, where they have any, nothing reads.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

/// The bytes of values, to be overwritten.
pub(crate) fn bytes_mut<T: Copy>(values: &mut [T]) -> &mut [u8] {
    // SAFETY: as above; every pattern of bits is a number.
    unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast(), size_of_val(values)) }
}
