// What every kernel is written with: element types, vectors of channels, sums over a grid.
//
// A kernel takes one struct by value and is exported by a name of its own. The same source is compiled by nvcc, and
// by a C++ compiler with `emulator.h` in the place of CUDA, so that indices and arithmetic are tested without a card.
#pragma once

#ifdef __CUDACC__
#include <cuda_bf16.h>
#else
#include "emulator.h"
#endif

using u8 = unsigned char;
using u32 = unsigned int;
using u64 = unsigned long long;

// `KERNEL(name, Args, function)`: the kernel `name`, which calls `function(args)`.
#ifdef __CUDACC__
#define KERNEL(name, Args, ...) \
    extern "C" __global__ void __launch_bounds__(256) name(const __grid_constant__ Args args) { __VA_ARGS__(args); }
#else
#define KERNEL(name, Args, ...) \
    static const emulator::Kernel name(#name, sizeof(Args), [](const void* args) { \
        __VA_ARGS__(*static_cast<const Args*>(args)); \
    });
#endif

#ifdef __CUDACC__
using bf16 = __nv_bfloat16;
__device__ inline float to_float(bf16 v) { return __bfloat162float(v); }
__device__ inline void from_float(float v, bf16& to) { to = __float2bfloat16_rn(v); }
#else
struct bf16 { unsigned short bits; };
inline float to_float(bf16 v) { return emulator::float_of(u32(v.bits) << 16); }
inline void from_float(float v, bf16& to) {
    const u32 bits = emulator::bits_of(v);
    to.bits = v != v ? 0x7fff : (unsigned short)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
#endif
__device__ inline float to_float(float v) { return v; }
__device__ inline void from_float(float v, float& to) { to = v; }

// `N` neighbours in memory, read and written as one where the type allows it.
template <typename T, int N>
struct alignas(sizeof(T) * N) Packed { T values[N]; };

template <int N, typename T>
__device__ inline void load(const T* from, float (&to)[N]) {
    const Packed<T, N> packed = *reinterpret_cast<const Packed<T, N>*>(from);
#pragma unroll
    for (int i = 0; i < N; i++) to[i] = to_float(packed.values[i]);
}

template <int N, typename T>
__device__ inline void store(T* to, const float (&from)[N]) {
    Packed<T, N> packed;
#pragma unroll
    for (int i = 0; i < N; i++) from_float(from[i], packed.values[i]);
    *reinterpret_cast<Packed<T, N>*>(to) = packed;
}

// Products and sums that are never fused, where the CPU's bits matter.
#ifdef __CUDACC__
__device__ inline double product(double a, double b) { return __dmul_rn(a, b); }
__device__ inline double sum(double a, double b) { return __dadd_rn(a, b); }
__device__ inline float product_f32(float a, float b) { return __fmul_rn(a, b); }
__device__ inline float sum_f32(float a, float b) { return __fadd_rn(a, b); }
#else
inline double product(double a, double b) { return a * b; }
inline double sum(double a, double b) { return a + b; }
inline float product_f32(float a, float b) { return a * b; }
inline float sum_f32(float a, float b) { return a + b; }
#endif

__device__ inline u32 div_up(u32 a, u32 b) { return (a + b - 1) / b; }

// Two sums for each of `N` channels a thread, over a grid whose blocks are (lanes of channels, rows) and whose second
// axis is tiles of channels. The order of the additions depends on the sizes alone, not on which block comes last.
struct Sums {
    double* partial;  // (blocks, channels, 2)
    u32* tickets;     // one a tile of channels, 0 between kernels
};

// Adds up over the block. The result is with the threads of the first row.
template <int N>
__device__ void sum_over_rows(double (&sums)[N][2]) {
    __shared__ double shared[256 * N * 2];
    const u32 lanes = blockDim.x, thread = threadIdx.y * lanes + threadIdx.x;
    double* mine = shared + thread * N * 2;
    __syncthreads();
#pragma unroll
    for (int i = 0; i < N * 2; i++) mine[i] = sums[i / 2][i % 2];
    for (u32 rows = blockDim.y / 2; rows > 0; rows /= 2) {
        __syncthreads();
        if (threadIdx.y < rows) {
            const double* other = mine + rows * lanes * N * 2;
#pragma unroll
            for (int i = 0; i < N * 2; i++) mine[i] += other[i];
        }
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < N * 2; i++) sums[i / 2][i % 2] = mine[i];
}

// Adds up over the grid: true in the threads, one for each vector of channels, that hold the result. They are of the
// block that came last of its tile. The rows of a block must be a power of two.
template <int N>
__device__ bool sum_over_grid(double (&sums)[N][2], u32 channel, u32 channels, Sums to) {
    sum_over_rows<N>(sums);
    const bool inside = channel < channels;
    if (threadIdx.y == 0 && inside) {
        double* partial = to.partial + (size_t(blockIdx.x) * channels + channel) * 2;
#pragma unroll
        for (int i = 0; i < N * 2; i++) partial[i] = sums[i / 2][i % 2];
        __threadfence();
    }
    __shared__ u32 ticket;
    __syncthreads();
    if (threadIdx.y == 0 && threadIdx.x == 0) ticket = atomicAdd(to.tickets + blockIdx.y, 1u);
    __syncthreads();
    if (ticket != gridDim.x - 1) return false;
    __threadfence();
#pragma unroll
    for (int i = 0; i < N * 2; i++) sums[i / 2][i % 2] = 0;
    // Several blocks' are fetched before any is added: the time is that of the memory's answers.
    constexpr int AHEAD = 4;
    for (u32 block = threadIdx.y; inside && block < gridDim.x; block += AHEAD * blockDim.y) {
        double fetched[AHEAD][N * 2];
#pragma unroll
        for (int k = 0; k < AHEAD; k++) {
            const u32 other = block + k * blockDim.y;
            const double* partial = to.partial + (size_t(other) * channels + channel) * 2;
#pragma unroll
            for (int i = 0; i < N * 2; i++) fetched[k][i] = other < gridDim.x ? __ldcg(partial + i) : 0;
        }
#pragma unroll
        for (int k = 0; k < AHEAD * N * 2; k++) sums[k % (N * 2) / 2][k % 2] += fetched[k / (N * 2)][k % (N * 2)];
    }
    sum_over_rows<N>(sums);
    if (threadIdx.y == 0 && threadIdx.x == 0) to.tickets[blockIdx.y] = 0;
    return threadIdx.y == 0 && inside;
}
