// A stage with something between its norm and its pooling: m = after(n + skip), z = dropout(pool(m)).
//
//     joined         z
//     joined_sums    dn, to `da`, and its sums as of `tail_sums`; the gradient of what was added is dn too
//
// `tail_backward` then goes on from dn as if there were no pooling and no dropout.
#include "tail.cuh"

// `N` channels of what is added, at a place of the result.
template <int N>
__device__ inline void load_skip(const StageArgs& a, size_t place, float (&skip)[N]) {
    if (!a.skip) {
#pragma unroll
        for (int i = 0; i < N; i++) skip[i] = 0;
    } else if (a.skip_half) {
        load<N>(static_cast<const bf16*>(a.skip) + place, skip);
    } else {
        load<N>(static_cast<const float*>(a.skip) + place, skip);
    }
}

// The gradient of `N` channels of what was added.
template <int N>
__device__ inline void store_skip(const StageArgs& a, size_t place, const float (&gradient)[N]) {
    if (!a.dskip) return;
    float sum[N] = {};
    bf16* half = static_cast<bf16*>(a.dskip) + place;
    float* full = static_cast<float*>(a.dskip) + place;
    if (a.adds_skip && a.skip_half) load<N>(half, sum);
    if (a.adds_skip && !a.skip_half) load<N>(full, sum);
#pragma unroll
    for (int i = 0; i < N; i++) sum[i] += gradient[i];
    if (a.skip_half)
        store<N>(half, sum);
    else
        store<N>(full, sum);
}

// What the activation after the addition reads, from `y`.
template <int N>
__device__ inline void join(const StageArgs& a, const Norm<N>& norm, size_t place, const float (&y)[N], float (&joined)[N]) {
    load_skip<N>(a, place, joined);
#pragma unroll
    for (int i = 0; i < N; i++) joined[i] += norm.apply(i, y[i]);
}

template <typename C, typename Z, int N>
__device__ void joined(const StageArgs& a) {
    const u32 channel = (blockIdx.y * blockDim.x + threadIdx.x) * N, area = a.height * a.width;
    const Quad quad(a, blockIdx.x * blockDim.y + threadIdx.y);
    if (channel >= a.channels || quad.image >= a.batch) return;
    const C* c = static_cast<const C*>(a.c);
    const size_t first = at(quad.image, area, 0, a.channels, channel);
    Z* z = static_cast<Z*>(a.z) + at(quad.image, quad.area, 0, a.channels, channel);
    const size_t step = a.channels;
    const Norm<N> norm(a.norm, a.channels, channel);
    float bias[N];
    load_channels<N>(a.bias, channel, bias);
    const Dropout<N> dropout(a, quad, channel);
    auto load_m = [&](size_t place, float (&m)[N]) {
        float y[N];
        load_y<C, N>(a, c + place, bias, y);
        join<N>(a, norm, place, y, m);
#pragma unroll
        for (int i = 0; i < N; i++) m[i] = activate(m[i], a.after, a.after_slope);
    };
#pragma unroll
    for (u32 p = 0; p < 4; p++) {
        const u32 position = quad.first + p;
        if (position >= quad.area) break;
        const size_t place = first + quad.place(a, position) * step;
        float best[N];
        load_m(place, best);
        if (a.pool) {
            float right[N], below[N], under_right[N];
            load_m(place + step, right);
            load_m(place + a.width * step, below);
            load_m(place + (a.width + 1) * step, under_right);
#pragma unroll
            for (int i = 0; i < N; i++) {
                const float above = is_greater(right[i], best[i]) ? right[i] : best[i];
                const float under = is_greater(under_right[i], below[i]) ? under_right[i] : below[i];
                best[i] = is_greater(under, above) ? under : above;
            }
        }
#pragma unroll
        for (int i = 0; i < N; i++) best[i] = dropout.of(p, i, best[i]);
        store<N>(z + position * step, best);
    }
}

template <typename C, typename Z, int N>
__device__ void joined_sums(const StageArgs& a) {
    using Of = Constants<N>;
    const u32 channel = (blockIdx.y * blockDim.x + threadIdx.x) * N, area = a.height * a.width;
    const Constants<N> constants(a, channel);
    C* da = static_cast<C*>(a.da);
    double sums[2 * N] = {};
    if (channel < a.channels) {
        const size_t step = a.channels;
        float gradient[N] = {}, product[N] = {};
        for (u32 item = blockIdx.x * blockDim.y + threadIdx.y; item < items(a); item += gridDim.x * blockDim.y) {
            const Quad quad(a, item);
            const size_t first = at(quad.image, area, 0, a.channels, channel);
            const Z* z = static_cast<const Z*>(a.z) + at(quad.image, quad.area, 0, a.channels, channel);
            const Dropout<N> dropout(a, quad, channel);
#pragma unroll 1
            for (u32 p = 0; p < 4; p++) {
                const u32 position = quad.first + p;
                if (position >= quad.area) break;
                const size_t place = first + quad.place(a, position) * step;
                // The window's first maximum so far, its derivative, its y − center and where it is.
                float best[N] = {}, slope[N] = {}, of_best[N] = {};
                u32 where[N] = {};
                const u32 members = a.pool ? 4 : 1;
#pragma unroll 1
                for (u32 k = 0; k < members; k++) {
                    const size_t member = place + (k / 2 * a.width + k % 2) * step;
                    read_again();
                    float y[N], skip[N], bias[N];
#pragma unroll
                    for (int i = 0; i < N; i++) bias[i] = constants.of(Of::BIAS, i);
                    load_y<C, N>(a, static_cast<const C*>(a.c) + member, bias, y);
                    load_skip<N>(a, member, skip);
#pragma unroll
                    for (int i = 0; i < N; i++) {
                        const float from_center = y[i] - constants.of(Of::CENTER, i);
                        const float t = skip[i] + fmaf(from_center, constants.of(Of::SCALE, i), constants.of(Of::SHIFT, i));
                        const float m = activate(t, a.after, a.after_slope);
                        if (k == 0 || is_greater(m, best[i])) {
                            best[i] = m;
                            slope[i] = derivative(a.after == SILU || a.after == LEAKY_RELU ? t : m, a.after, a.after_slope);
                            of_best[i] = from_center;
                            where[i] = k;
                        }
                    }
                }
                float dn[N];
                load<N>(z + position * step, dn);
#pragma unroll
                for (int i = 0; i < N; i++) {
                    dn[i] = dropout.of(p, i, dn[i]) * slope[i];
                    gradient[i] += dn[i];
                    product[i] = fmaf(dn[i], of_best[i], product[i]);
                }
#pragma unroll 1
                for (u32 k = 0; k < members; k++) {
                    const size_t member = place + (k / 2 * a.width + k % 2) * step;
                    float here[N];
#pragma unroll
                    for (int i = 0; i < N; i++) here[i] = where[i] == k ? dn[i] : 0;
                    store<N>(da + member, here);
                    store_skip<N>(a, member, here);
                }
            }
        }
        const Uncovered uncovered(a);
        for (u32 row = blockIdx.x * blockDim.y + threadIdx.y; row < uncovered.count; row += gridDim.x * blockDim.y) {
            const size_t place = at(row / uncovered.of_image, area, uncovered.position(a, row), a.channels, channel);
            const float none[N] = {};
            store<N>(da + place, none);
            store_skip<N>(a, place, none);
        }
#pragma unroll
        for (int i = 0; i < N; i++) sums[2 * i] = gradient[i], sums[2 * i + 1] = product[i];
    }
    if (a.gamma) leave_sums(sums, channel, a.channels, a.partial);
}

#define JOINED(name, C, Z, N)                                \
    FULL_KERNEL(joined_##name, StageArgs, (joined<C, Z, N>)) \
    FULL_KERNEL(joined_sums_##name, StageArgs, (joined_sums<C, Z, N>))

JOINED(f32_f32_4, float, float, 4)
JOINED(f32_f32_1, float, float, 1)
JOINED(bf16_bf16_4, bf16, bf16, 4)
JOINED(bf16_bf16_1, bf16, bf16, 1)
JOINED(bf16_f32_4, bf16, float, 4)
JOINED(bf16_f32_1, bf16, float, 1)
