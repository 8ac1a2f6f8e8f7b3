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

// `KERNEL(name, Args, function)`: the kernel `name`, which calls `function(args)`. `FULL_KERNEL` has few enough registers for
// four blocks of 256 threads on a multiprocessor.
#ifdef __CUDACC__
#define BOUNDED(bounds, name, Args, ...) \
    extern "C" __global__ void __launch_bounds__ bounds name(const __grid_constant__ Args args) { __VA_ARGS__(args); }
#define KERNEL(name, Args, ...) BOUNDED((256), name, Args, __VA_ARGS__)
#define FULL_KERNEL(name, Args, ...) BOUNDED((256, 4), name, Args, __VA_ARGS__)
#else
#define FULL_KERNEL KERNEL
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

// The vector at a place, a multiple of its size, which only the emulated card checks.
template <int N, typename T>
__device__ inline Packed<T, N>* vector(T* at) {
#ifndef __CUDACC__
    if (reinterpret_cast<uintptr_t>(at) % sizeof(Packed<T, N>) != 0)
        emulator::fail("a vector at a place that is no multiple of its size");
#endif
    return reinterpret_cast<Packed<T, N>*>(at);
}

template <int N, typename T>
__device__ inline const Packed<T, N>* vector(const T* at) { return vector<N>(const_cast<T*>(at)); }

template <int N, typename T>
__device__ inline void load(const T* from, float (&to)[N]) {
    const Packed<T, N> packed = *vector<N>(from);
#pragma unroll
    for (int i = 0; i < N; i++) to[i] = to_float(packed.values[i]);
}

template <int N, typename T>
__device__ inline void store(T* to, const float (&from)[N]) {
    Packed<T, N> packed;
#pragma unroll
    for (int i = 0; i < N; i++) from_float(from[i], packed.values[i]);
    *vector<N>(to) = packed;
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

// What lies in shared memory is read again after this, rather than kept in registers.
#ifdef __CUDACC__
__device__ inline void read_again() { asm volatile("" ::: "memory"); }
#else
inline void read_again() {}
#endif

__device__ inline u32 div_up(u32 a, u32 b) { return (a + b - 1) / b; }

// Sums over a grid are made in two launches: the blocks of the first, which are (lanes of channels, rows) and whose second
// axis is tiles of channels, leave two sums a channel; the second adds these up. The order of the additions depends on the sizes
// alone.

// Adds up `V` sums a thread over the rows of a block, which are a power of two. The result is with the threads of the first row.
template <int V>
__device__ void sum_over_rows(double (&sums)[V]) {
    // Threads lie beside each other, so that those of a warp meet in no bank.
    __shared__ double shared[V][256];
    const u32 lanes = blockDim.x, thread = threadIdx.y * lanes + threadIdx.x;
    for (u32 rows = blockDim.y / 2; rows > 0; rows /= 2) {
        __syncthreads();
        if (threadIdx.y >= rows && threadIdx.y < 2 * rows) {
#pragma unroll
            for (int i = 0; i < V; i++) shared[i][thread] = sums[i];
        }
        __syncthreads();
        if (threadIdx.y < rows) {
#pragma unroll
            for (int i = 0; i < V; i++) sums[i] += shared[i][thread + rows * lanes];
        }
    }
}

// Leaves the sums of a block in `partial`, (blocks, channels, 2): two for each of the `V/2` channels from `channel` on.
template <int V>
__device__ void leave_sums(double (&sums)[V], u32 channel, u32 channels, double* partial) {
    sum_over_rows<V>(sums);
    if (threadIdx.y != 0 || channel >= channels) return;
    double* to = partial + (size_t(blockIdx.x) * channels + channel) * 2;
#pragma unroll
    for (int i = 0; i < V; i += 2) *vector<2>(to + i) = {sums[i], sums[i + 1]};
}

// Adds up what `blocks` blocks left of a channel: true in the thread that holds the result. A block is (channels, rows).
__device__ inline bool total_sums(const double* partial, u32 blocks, u32 channel, u32 channels, double (&sums)[2]) {
    sums[0] = sums[1] = 0;
    if (channel < channels) {
#pragma unroll 8
        for (u32 block = threadIdx.y; block < blocks; block += blockDim.y) {
            const double* from = partial + (size_t(block) * channels + channel) * 2;
            const Packed<double, 2> of_block = *vector<2>(from);
            sums[0] += of_block.values[0];
            sums[1] += of_block.values[1];
        }
    }
    sum_over_rows<2>(sums);
    return threadIdx.y == 0 && channel < channels;
}
