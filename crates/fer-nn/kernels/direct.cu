// Convolution of images of one channel by small kernels, stride 1: the first layer, for which tiles of matrix units
// have nothing to fill. The result is (batch, out_height, out_width, channels), the weight (channels, kernel, kernel).
#include "simt.cuh"

struct DirectArgs {
    const float* images;  // (batch, height, width)
    const float* weight;
    void* c;         // the result, or its gradient
    float* partial;  // (blocks, taps, channels)
    float* dweight;
    u32 batch, height, width, channels;
    u32 out_height, out_width, top, left;
    u32 blocks;
};

// Output positions of a row that a thread computes.
constexpr int RUN = 8;

// The pixels of a run's windows in one of their rows, 0 outside the image.
template <int LEN>
__device__ inline void window(const DirectArgs& a, u32 image, int row, int column, float (&to)[LEN]) {
    const bool inside = row >= 0 && row < int(a.height);
    const float* line = a.images + (size_t(image) * a.height + (inside ? row : 0)) * a.width;
#pragma unroll
    for (int i = 0; i < LEN; i++) {
        const int at = column + i;
        to[i] = inside && at >= 0 && at < int(a.width) ? __ldg(line + at) : 0;
    }
}

template <typename C, int KERNEL_SIZE, int N>
__device__ void direct(const DirectArgs& a) {
    constexpr int TAPS = KERNEL_SIZE * KERNEL_SIZE;
    __shared__ float weights[TAPS * 32 * N];  // (taps, lanes, N)
    const u32 lanes = blockDim.x, first = blockIdx.y * lanes * N, tile = lanes * N;
    for (u32 i = threadIdx.y * lanes + threadIdx.x; i < tile * TAPS; i += lanes * blockDim.y) {
        const u32 channel = first + i % tile;
        weights[i] = channel < a.channels ? a.weight[channel * TAPS + i / tile] : 0;
    }
    __syncthreads();
    const u32 runs = div_up(a.out_width, RUN), item = blockIdx.x * blockDim.y + threadIdx.y;
    const u32 channel = first + threadIdx.x * N, image = item / (runs * a.out_height);
    if (channel >= a.channels || image >= a.batch) return;
    const u32 row = item / runs % a.out_height, column = item % runs * RUN;
    float sums[RUN][N] = {};
#pragma unroll
    for (int i = 0; i < KERNEL_SIZE; i++) {
        float pixels[RUN + KERNEL_SIZE - 1];
        window(a, image, int(row) + i - int(a.top), int(column) - int(a.left), pixels);
#pragma unroll
        for (int j = 0; j < KERNEL_SIZE; j++) {
            float weight[N];
            load<N>(weights + (i * KERNEL_SIZE + j) * tile + threadIdx.x * N, weight);
#pragma unroll
            for (int p = 0; p < RUN; p++)
#pragma unroll
                for (int k = 0; k < N; k++) sums[p][k] = fmaf(pixels[p + j], weight[k], sums[p][k]);
        }
    }
    C* c = static_cast<C*>(a.c) + ((size_t(image) * a.out_height + row) * a.out_width + column) * a.channels + channel;
#pragma unroll
    for (int p = 0; p < RUN; p++)
        if (column + p < a.out_width) store<N>(c + size_t(p) * a.channels, sums[p]);
}

// The sums of a block over its rows of images, for every tap and channel.
template <typename C, int KERNEL_SIZE, int N>
__device__ void direct_gradient(const DirectArgs& a) {
    constexpr int TAPS = KERNEL_SIZE * KERNEL_SIZE, STEP = 4;
    const u32 channel = (blockIdx.y * blockDim.x + threadIdx.x) * N, rows = a.batch * a.out_height;
    const bool inside = channel < a.channels;
    float sums[TAPS][N] = {};
    for (u32 item = blockIdx.x * blockDim.y + threadIdx.y; inside && item < rows; item += gridDim.x * blockDim.y) {
        const u32 image = item / a.out_height, row = item % a.out_height;
        const C* dc = static_cast<const C*>(a.c) + size_t(item) * a.out_width * a.channels + channel;
        for (u32 column = 0; column < a.out_width; column += STEP) {
            float gradient[STEP][N] = {};
#pragma unroll
            for (int p = 0; p < STEP; p++)
                if (column + p < a.out_width) load<N>(dc + size_t(column + p) * a.channels, gradient[p]);
#pragma unroll
            for (int i = 0; i < KERNEL_SIZE; i++) {
                float pixels[STEP + KERNEL_SIZE - 1];
                window(a, image, int(row) + i - int(a.top), int(column) - int(a.left), pixels);
#pragma unroll
                for (int j = 0; j < KERNEL_SIZE; j++)
#pragma unroll
                    for (int p = 0; p < STEP; p++)
#pragma unroll
                        for (int k = 0; k < N; k++) {
                            float& to = sums[i * KERNEL_SIZE + j][k];
                            to = fmaf(pixels[p + j], gradient[p][k], to);
                        }
            }
        }
    }
    __shared__ float shared[256 * KERNEL_SIZE * N];
    const u32 thread = threadIdx.y * blockDim.x + threadIdx.x, threads = blockDim.x * blockDim.y;
#pragma unroll
    for (int i = 0; i < KERNEL_SIZE; i++) {
        __syncthreads();
#pragma unroll
        for (int v = 0; v < KERNEL_SIZE * N; v++) shared[v * threads + thread] = sums[i * KERNEL_SIZE + v / N][v % N];
        __syncthreads();
        for (int v = threadIdx.y; inside && v < KERNEL_SIZE * N; v += blockDim.y) {
            float sum = 0;
            for (u32 y = 0; y < blockDim.y; y++) sum += shared[v * threads + y * blockDim.x + threadIdx.x];
            const u32 tap = i * KERNEL_SIZE + v / N;
            a.partial[(size_t(blockIdx.x) * TAPS + tap) * a.channels + channel + v % N] = sum;
        }
    }
}

// The weight's gradient from the sums of all blocks. A block is (values, rows).
template <int KERNEL_SIZE>
__device__ void direct_sum(const DirectArgs& a) {
    constexpr u32 TAPS = KERNEL_SIZE * KERNEL_SIZE;
    const u32 i = blockIdx.x * blockDim.x + threadIdx.x, values = TAPS * a.channels;
    double sums[1] = {};
    if (i < values) {
#pragma unroll 8
        for (u32 block = threadIdx.y; block < a.blocks; block += blockDim.y) sums[0] += a.partial[size_t(block) * values + i];
    }
    sum_over_rows<1>(sums);
    if (threadIdx.y == 0 && i < values) a.dweight[i % a.channels * TAPS + i / a.channels] = float(sums[0]);
}

#define DIRECT(name, C, K)                                                  \
    KERNEL(direct_##name##_4, DirectArgs, (direct<C, K, 4>))                \
    KERNEL(direct_##name##_1, DirectArgs, (direct<C, K, 1>))                \
    KERNEL(direct_gradient_##name##_2, DirectArgs, (direct_gradient<C, K, 2>)) \
    KERNEL(direct_gradient_##name##_1, DirectArgs, (direct_gradient<C, K, 1>))

DIRECT(f32_3, float, 3)
DIRECT(f32_5, float, 5)
DIRECT(bf16_3, bf16, 3)
DIRECT(bf16_5, bf16, 5)
KERNEL(direct_sum_3, DirectArgs, direct_sum<3>)
KERNEL(direct_sum_5, DirectArgs, direct_sum<5>)
