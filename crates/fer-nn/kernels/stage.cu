// What follows a convolution or a dense layer: bias, activation, batch norm, 2×2 maximum pooling and dropout, forward
// and backward, in as few passes over memory as the batch's statistics allow. Where an addition or a second activation
// stands between norm and pooling, `joined.cu` has the forward pass and the first of the passes back; it has `z` for all
// activations but LINEAR, RELU and ELU too.
//
// With `c` the convolution's result, `y = activation(c + bias)`, `n = (y − center)·scale + shift` and `z` the masked
// maxima of `n`, three passes read `c` again rather than keep `y`:
//
//     moments          Σ y, Σ y²               total_moments     center, scale, shift and the moving statistics
//     tail             z
//     tail_sums        Σ dn, Σ dn·(y − center)  total_gradients   dγ, dβ, scale, slope, constant
//     tail_backward    da = (scale·dn + slope·(y − center) + constant)·activation′
//                      Σ da                     total_bias        dbias
#include "tail.cuh"

// The sums of a thread, of the distances from a value of the channel, so that a mean far from zero costs no precision.
template <typename C, int N>
__device__ inline void add_moments(const StageArgs& a, u32 channel, double (&sums)[2 * N]) {
    const u32 area = a.height * a.width, rows = a.batch * area;
    const C* c = static_cast<const C*>(a.c);
    float bias[N], from[N], of_values[N] = {}, of_squares[N] = {};
    load_channels<N>(a.bias, channel, bias);
    load_y<C, N>(a, c + at(0, area, 0, a.channels, channel), bias, from);
#pragma unroll 4
    for (u32 row = blockIdx.x * blockDim.y + threadIdx.y; row < rows; row += gridDim.x * blockDim.y) {
        float y[N];
        const size_t place = at(row / area, area, row % area, a.channels, channel);
        load_y<C, N>(a, c + place, bias, y);
#pragma unroll
        for (int i = 0; i < N; i++) {
            const float v = y[i] - from[i];
            of_values[i] += v;
            of_squares[i] = fmaf(v, v, of_squares[i]);
        }
    }
#pragma unroll
    for (int i = 0; i < N; i++) sums[2 * i] = of_values[i], sums[2 * i + 1] = of_squares[i];
}

template <typename C, int N>
__device__ void moments(const StageArgs& a) {
    const u32 channel = (blockIdx.y * blockDim.x + threadIdx.x) * N;
    double sums[2 * N] = {};
    if (channel < a.channels) add_moments<C, N>(a, channel, sums);
    leave_sums(sums, channel, a.channels, a.partial);
}

// From the sums of all threads.
template <typename C>
__device__ inline void take_moment_sums(const StageArgs& a, u32 channel, const double (&sums)[2]) {
    float bias[1], from[1];
    load_channels<1>(a.bias, channel, bias);
    load_y<C, 1>(a, static_cast<const C*>(a.c) + channel, bias, from);
    const double rows = double(a.batch) * a.height * a.width;
    const double offset = sums[0] / rows, mean = from[0] + offset;
    // Rounding may leave a little less than nothing.
    take_moments(a, channel, mean, fmax(sums[1] / rows - offset * offset, 0.0));
}

template <typename C>
__device__ void total_moments(const StageArgs& a) {
    const u32 channel = blockIdx.x * blockDim.x + threadIdx.x;
    double sums[2];
    if (total_sums(a.partial, a.blocks, channel, a.channels, sums)) take_moment_sums<C>(a, channel, sums);
}

template <typename C, typename Z, int N>
__device__ void tail(const StageArgs& a) {
    const u32 channel = (blockIdx.y * blockDim.x + threadIdx.x) * N, area = a.height * a.width;
    const Quad quad(a, blockIdx.x * blockDim.y + threadIdx.y);
    if (channel >= a.channels || quad.image >= a.batch) return;
    const C* c = static_cast<const C*>(a.c) + at(quad.image, area, 0, a.channels, channel);
    Z* z = static_cast<Z*>(a.z) + at(quad.image, quad.area, 0, a.channels, channel);
    const size_t step = a.channels;
    const Norm<N> norm(a.norm, a.channels, channel);
    float bias[N];
    load_channels<N>(a.bias, channel, bias);
    const Dropout<N> dropout(a, quad, channel);
#pragma unroll
    for (u32 p = 0; p < 4; p++) {
        const u32 position = quad.first + p;
        if (position >= quad.area) break;
        const C* place = c + quad.place(a, position) * step;
        float best[N];
        load_y<C, N, false>(a, place, bias, best);
#pragma unroll
        for (int i = 0; i < N; i++) best[i] = norm.apply(i, best[i]);
        if (a.pool) {
            const size_t others[3] = {step, a.width * step, (a.width + 1) * step};
            float n[4][N];
#pragma unroll
            for (int k = 0; k < 3; k++) load_y<C, N, false>(a, place + others[k], bias, n[k + 1]);
#pragma unroll
            for (int i = 0; i < N; i++) {
                const float window[4] = {best[i], norm.apply(i, n[1][i]), norm.apply(i, n[2][i]), norm.apply(i, n[3][i])};
                const float above = is_greater(window[1], window[0]) ? window[1] : window[0];
                const float below = is_greater(window[3], window[2]) ? window[3] : window[2];
                best[i] = is_greater(below, above) ? below : above;
            }
        }
#pragma unroll
        for (int i = 0; i < N; i++) best[i] = dropout.of(p, i, best[i]);
        store<N>(z + position * step, best);
    }
}

// Calls `each(y, y − center, k, i, dn, counts)` for the values under the output positions of an item: value `k` of the window of
// channel `i`, whose output's gradient is `dn`, and whether it is the maximum; afterwards `done(place of the value k, k)`.
template <typename C, typename Z, int N, typename Each, typename Done>
__device__ inline void visit(const StageArgs& a, u32 item, u32 channel, const Constants<N>& constants, Each each, Done done) {
    using Of = Constants<N>;
    const u32 area = a.height * a.width;
    const Quad quad(a, item);
    const size_t first = at(quad.image, area, 0, a.channels, channel);
    const C* c = static_cast<const C*>(a.c) + first;
    const Z* z = static_cast<const Z*>(a.z) + at(quad.image, quad.area, 0, a.channels, channel);
    const size_t step = a.channels;
    const Dropout<N> dropout(a, quad, channel);
    // One position after the other: more of them at once take registers that more threads have use for.
#pragma unroll 1
    for (u32 p = 0; p < 4; p++) {
        const u32 position = quad.first + p;
        if (position >= quad.area) break;
        read_again();
        float dn[N], bias[N];
        load<N>(z + position * step, dn);
#pragma unroll
        for (int i = 0; i < N; i++) {
            dn[i] = dropout.of(p, i, dn[i]);
            bias[i] = constants.of(Of::BIAS, i);
        }
        const size_t place = quad.place(a, position) * step;
        if (!a.pool) {
            float y[N];
            load_y<C, N>(a, c + place, bias, y);
#pragma unroll
            for (int i = 0; i < N; i++) each(y[i], y[i] - constants.of(Of::CENTER, i), 0, i, dn[i], true);
            done(first + place, 0);
            continue;
        }
        const size_t members[4] = {place, place + step, place + a.width * step, place + (a.width + 1) * step};
        float y[4][N];
#pragma unroll
        for (int k = 0; k < 4; k++) load_y<C, N>(a, c + members[k], bias, y[k]);
#pragma unroll
        for (int i = 0; i < N; i++) {
            const float center = constants.of(Of::CENTER, i), scale = constants.of(Of::SCALE, i);
            const float shift = constants.of(Of::SHIFT, i);
            auto norm = [&](float y) { return fmaf(y - center, scale, shift); };
            const u32 maximum = first_maximum(norm(y[0][i]), norm(y[1][i]), norm(y[2][i]), norm(y[3][i]));
#pragma unroll
            for (u32 k = 0; k < 4; k++) each(y[k][i], y[k][i] - center, k, i, dn[i], k == maximum);
        }
#pragma unroll
        for (u32 k = 0; k < 4; k++) done(first + members[k], k);
    }
}

// The sums of a thread.
template <typename C, typename Z, int N>
__device__ inline void add_gradients(
    const StageArgs& a, u32 channel, const Constants<N>& constants, double (&sums)[2 * N]) {
    float gradient[N] = {}, product[N] = {};
    for (u32 item = blockIdx.x * blockDim.y + threadIdx.y; item < items(a); item += gridDim.x * blockDim.y) {
        auto each = [&](float, float from_center, u32, int i, float dn, bool counts) {
            if (!counts) return;
            gradient[i] += dn;
            product[i] = fmaf(dn, from_center, product[i]);
        };
        visit<C, Z, N>(a, item, channel, constants, each, [](size_t, u32) {});
    }
#pragma unroll
    for (int i = 0; i < N; i++) sums[2 * i] = gradient[i], sums[2 * i + 1] = product[i];
}

template <typename C, typename Z, int N>
__device__ void tail_sums(const StageArgs& a) {
    const u32 channel = (blockIdx.y * blockDim.x + threadIdx.x) * N;
    const Constants<N> constants(a, channel);
    double sums[2 * N] = {};
    if (channel < a.channels) add_gradients<C, Z, N>(a, channel, constants, sums);
    leave_sums(sums, channel, a.channels, a.partial);
}

__device__ void total_gradients(const StageArgs& a) {
    const u32 channel = blockIdx.x * blockDim.x + threadIdx.x;
    double sums[2];
    if (total_sums(a.partial, a.blocks, channel, a.channels, sums)) take_gradient_sums(a, channel, sums[0], sums[1]);
}
KERNEL(total_gradients_f32, StageArgs, total_gradients)

// Writes `da`, and adds up what a thread writes.
template <typename C, typename Z, int N>
__device__ inline void go_back(const StageArgs& a, u32 channel, const Constants<N>& constants, double (&sums)[2 * N]) {
    using Of = Constants<N>;
    const u32 area = a.height * a.width;
    C* da = static_cast<C*>(a.da);
    float of_da[N] = {};
    auto gradient = [&](float y, float from_center, int i, float dn) {
        const float inner = fmaf(constants.of(Of::SLOPE, i), from_center, constants.of(Of::CONSTANT, i));
        const float v = fmaf(constants.of(Of::FACTOR, i), dn, inner) * derivative(y, a.activation, a.slope);
        of_da[i] += v;
        return v;
    };
    for (u32 item = blockIdx.x * blockDim.y + threadIdx.y; item < items(a); item += gridDim.x * blockDim.y) {
        float out[4][N];
        auto each = [&](float y, float from_center, u32 k, int i, float dn, bool counts) {
            out[k][i] = gradient(y, from_center, i, counts ? dn : 0);
        };
        auto done = [&](size_t place, u32 k) { store<N>(da + place, out[k]); };
        visit<C, Z, N>(a, item, channel, constants, each, done);
    }
    const Uncovered uncovered(a);
    for (u32 row = blockIdx.x * blockDim.y + threadIdx.y; row < uncovered.count; row += gridDim.x * blockDim.y) {
        const size_t place = at(row / uncovered.of_image, area, uncovered.position(a, row), a.channels, channel);
        float y[N], bias[N];
#pragma unroll
        for (int i = 0; i < N; i++) bias[i] = constants.of(Of::BIAS, i);
        load_y<C, N>(a, static_cast<const C*>(a.c) + place, bias, y);
#pragma unroll
        for (int i = 0; i < N; i++) y[i] = gradient(y[i], y[i] - constants.of(Of::CENTER, i), i, 0);
        store<N>(da + place, y);
    }
#pragma unroll
    for (int i = 0; i < N; i++) sums[2 * i] = of_da[i];
}

template <typename C, typename Z, int N>
__device__ void tail_backward(const StageArgs& a) {
    const u32 channel = (blockIdx.y * blockDim.x + threadIdx.x) * N;
    const Constants<N> constants(a, channel);
    double sums[2 * N] = {};
    if (channel < a.channels) go_back<C, Z, N>(a, channel, constants, sums);
    if (a.dbias) leave_sums(sums, channel, a.channels, a.partial);
}

__device__ void total_bias(const StageArgs& a) {
    const u32 channel = blockIdx.x * blockDim.x + threadIdx.x;
    double sums[2];
    if (total_sums(a.partial, a.blocks, channel, a.channels, sums)) a.dbias[channel] = float(sums[0]);
}
KERNEL(total_bias_f32, StageArgs, total_bias)

// By the moving statistics: what a channel is normalised by.
__device__ void moving_norm(const StageArgs& a) {
    const u32 channel = blockIdx.x * blockDim.x + threadIdx.x;
    if (channel < a.channels) write_norm(a, channel, a.running_mean[channel], a.running_var[channel]);
}
KERNEL(moving_norm_f32, StageArgs, moving_norm)

#define MOMENTS(name, C, N) FULL_KERNEL(moments_##name, StageArgs, (moments<C, N>))
#define TAILS(name, C, Z, N)                                       \
    FULL_KERNEL(tail_##name, StageArgs, (tail<C, Z, N>))           \
    FULL_KERNEL(tail_sums_##name, StageArgs, (tail_sums<C, Z, N>)) \
    FULL_KERNEL(tail_backward_##name, StageArgs, (tail_backward<C, Z, N>))

MOMENTS(f32_4, float, 4)
MOMENTS(f32_1, float, 1)
MOMENTS(bf16_8, bf16, 8)
MOMENTS(bf16_4, bf16, 4)
MOMENTS(bf16_1, bf16, 1)
KERNEL(total_moments_f32, StageArgs, total_moments<float>)
KERNEL(total_moments_bf16, StageArgs, total_moments<bf16>)
TAILS(f32_f32_4, float, float, 4)
TAILS(f32_f32_1, float, float, 1)
TAILS(bf16_bf16_4, bf16, bf16, 4)
TAILS(bf16_bf16_1, bf16, bf16, 1)
TAILS(bf16_f32_4, bf16, float, 4)
TAILS(bf16_f32_1, bf16, float, 1)
