// What follows a convolution or a dense layer: bias, activation, batch norm, 2×2 maximum pooling and dropout, forward
// and backward, in as few passes over memory as the batch's statistics allow. Where an addition or a second activation
// stands between norm and pooling, `joined.cu` has the forward pass and the first of the passes back; it has `z` for all
// activations but LINEAR, RELU and ELU too.
//
// With `c` the convolution's result, `y = activation(c + bias)`, `n = (y − center)·scale + shift` and `z` the masked
// maxima of `n`, three passes read `c` again rather than keep `y`:
//
//     moments          Σ y, Σ y² → center, scale, shift and the moving statistics
//     tail             z
//     tail_sums        Σ dn, Σ dn·(y − center) → dγ, dβ, scale, slope, constant
//     tail_backward    da = (scale·dn + slope·(y − center) + constant)·activation′, Σ da → dbias
#include "tail.cuh"

template <typename C, int N>
__device__ void moments(const StageArgs& a) {
    const u32 channel = (blockIdx.y * blockDim.x + threadIdx.x) * N, area = a.height * a.width;
    const u32 rows = a.batch * area;
    const C* c = static_cast<const C*>(a.c);
    double sums[N][2] = {};
    float from[N] = {};
    if (channel < a.channels) {
        float bias[N], of_values[N] = {}, of_squares[N] = {};
        load_channels<N>(a.bias, channel, bias);
        // Measured from a value of the channel, so that a mean far from zero costs no precision.
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
        for (int i = 0; i < N; i++) sums[i][0] = of_values[i], sums[i][1] = of_squares[i];
    }
    if (!sum_over_grid<N>(sums, channel, a.channels, a.sums)) return;
#pragma unroll
    for (int i = 0; i < N; i++) {
        const double offset = sums[i][0] / rows, mean = from[i] + offset;
        // Rounding may leave a little less than nothing.
        const double variance = fmax(sums[i][1] / rows - offset * offset, 0.0);
        take_moments(a, channel + i, mean, variance);
    }
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
    float bias[N], factor[4][N];
    load_channels<N>(a.bias, channel, bias);
    dropout<N>(a, quad, channel, factor);
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
        for (int i = 0; i < N; i++) best[i] = factor[p][i] == 0 ? 0 : best[i] * factor[p][i];
        store<N>(z + position * step, best);
    }
}

// Calls `each(y, k, i, dn)` for the values under the output positions of an item: value `k` of the window of channel
// `i`, whose output's gradient is `dn`; afterwards `done(place of the value k, k)`.
template <typename C, typename Z, int N, typename Each, typename Done>
__device__ inline void visit(const StageArgs& a, u32 item, u32 channel, const float (&bias)[N], const Norm<N>& norm,
                             Each each, Done done) {
    const u32 area = a.height * a.width;
    const Quad quad(a, item);
    const size_t first = at(quad.image, area, 0, a.channels, channel);
    const C* c = static_cast<const C*>(a.c) + first;
    const Z* z = static_cast<const Z*>(a.z) + at(quad.image, quad.area, 0, a.channels, channel);
    const size_t step = a.channels;
    float factor[4][N];
    dropout<N>(a, quad, channel, factor);
#pragma unroll
    for (u32 p = 0; p < 4; p++) {
        const u32 position = quad.first + p;
        if (position >= quad.area) break;
        float dn[N];
        load<N>(z + position * step, dn);
#pragma unroll
        for (int i = 0; i < N; i++) dn[i] = factor[p][i] == 0 ? 0 : dn[i] * factor[p][i];
        const size_t place = quad.place(a, position) * step;
        if (!a.pool) {
            float y[N];
            load_y<C, N>(a, c + place, bias, y);
#pragma unroll
            for (int i = 0; i < N; i++) each(y[i], 0, i, dn[i], true);
            done(first + place, 0);
            continue;
        }
        const size_t members[4] = {place, place + step, place + a.width * step, place + (a.width + 1) * step};
        float y[4][N];
#pragma unroll
        for (int k = 0; k < 4; k++) load_y<C, N>(a, c + members[k], bias, y[k]);
#pragma unroll
        for (int i = 0; i < N; i++) {
            const u32 maximum = first_maximum(norm.apply(i, y[0][i]), norm.apply(i, y[1][i]), norm.apply(i, y[2][i]),
                                              norm.apply(i, y[3][i]));
#pragma unroll
            for (u32 k = 0; k < 4; k++) each(y[k][i], k, i, dn[i], k == maximum);
        }
#pragma unroll
        for (u32 k = 0; k < 4; k++) done(first + members[k], k);
    }
}

template <typename C, typename Z, int N>
__device__ void tail_sums(const StageArgs& a) {
    const u32 channel = (blockIdx.y * blockDim.x + threadIdx.x) * N;
    double sums[N][2] = {};
    if (channel < a.channels) {
        const Norm<N> norm(a.norm, a.channels, channel);
        float bias[N], gradient[N] = {}, product[N] = {};
        load_channels<N>(a.bias, channel, bias);
        for (u32 item = blockIdx.x * blockDim.y + threadIdx.y; item < items(a); item += gridDim.x * blockDim.y) {
            auto each = [&](float y, u32, int i, float dn, bool counts) {
                if (!counts) return;
                gradient[i] += dn;
                product[i] = fmaf(dn, y - norm.center[i], product[i]);
            };
            visit<C, Z, N>(a, item, channel, bias, norm, each, [](size_t, u32) {});
        }
#pragma unroll
        for (int i = 0; i < N; i++) sums[i][0] = gradient[i], sums[i][1] = product[i];
    }
    if (!sum_over_grid<N>(sums, channel, a.channels, a.sums)) return;
#pragma unroll
    for (int i = 0; i < N; i++) take_gradient_sums(a, channel + i, sums[i][0], sums[i][1]);
}

template <typename C, typename Z, int N>
__device__ void tail_backward(const StageArgs& a) {
    const u32 channel = (blockIdx.y * blockDim.x + threadIdx.x) * N, area = a.height * a.width;
    C* da = static_cast<C*>(a.da);
    double sums[N][2] = {};
    if (channel < a.channels) {
        const Norm<N> norm(a.norm, a.channels, channel);
        const Slopes<N> slopes(a.slopes, a.channels, channel);
        float bias[N], of_da[N] = {};
        load_channels<N>(a.bias, channel, bias);
        auto gradient = [&](float y, int i, float dn) {
            const float inner = fmaf(slopes.slope[i], y - norm.center[i], slopes.constant[i]);
            const float v = fmaf(slopes.scale[i], dn, inner) * derivative(y, a.activation, a.slope);
            of_da[i] += v;
            return v;
        };
        for (u32 item = blockIdx.x * blockDim.y + threadIdx.y; item < items(a); item += gridDim.x * blockDim.y) {
            float out[4][N];
            auto each = [&](float y, u32 k, int i, float dn, bool counts) { out[k][i] = gradient(y, i, counts ? dn : 0); };
            auto done = [&](size_t place, u32 k) { store<N>(da + place, out[k]); };
            visit<C, Z, N>(a, item, channel, bias, norm, each, done);
        }
        const Uncovered uncovered(a);
        for (u32 row = blockIdx.x * blockDim.y + threadIdx.y; row < uncovered.count; row += gridDim.x * blockDim.y) {
            const size_t place = at(row / uncovered.of_image, area, uncovered.position(a, row), a.channels, channel);
            float y[N];
            load_y<C, N>(a, static_cast<const C*>(a.c) + place, bias, y);
#pragma unroll
            for (int i = 0; i < N; i++) y[i] = gradient(y[i], i, 0);
            store<N>(da + place, y);
        }
#pragma unroll
        for (int i = 0; i < N; i++) sums[i][0] = of_da[i];
    }
    if (!sum_over_grid<N>(sums, channel, a.channels, a.sums)) return;
#pragma unroll
    for (int i = 0; i < N; i++)
        if (a.dbias) a.dbias[channel + i] = float(sums[i][0]);
}

// By the moving statistics: what a channel is normalised by.
__device__ void moving_norm(const StageArgs& a) {
    const u32 channel = blockIdx.x * blockDim.x + threadIdx.x;
    if (channel < a.channels) write_norm(a, channel, a.running_mean[channel], a.running_var[channel]);
}
KERNEL(moving_norm_f32, StageArgs, moving_norm)

#define MOMENTS(name, C, N) KERNEL(moments_##name, StageArgs, (moments<C, N>))
#define TAILS(name, C, Z, N)                                    \
    KERNEL(tail_##name, StageArgs, (tail<C, Z, N>))             \
    KERNEL(tail_sums_##name, StageArgs, (tail_sums<C, Z, N>))   \
    KERNEL(tail_backward_##name, StageArgs, (tail_backward<C, Z, N>))

MOMENTS(f32_4, float, 4)
MOMENTS(f32_1, float, 1)
MOMENTS(bf16_4, bf16, 4)
MOMENTS(bf16_1, bf16, 1)
TAILS(f32_f32_4, float, float, 4)
TAILS(f32_f32_1, float, float, 1)
TAILS(bf16_bf16_4, bf16, bf16, 4)
TAILS(bf16_bf16_1, bf16, bf16, 1)
TAILS(bf16_f32_4, bf16, float, 4)
TAILS(bf16_f32_1, bf16, float, 1)
