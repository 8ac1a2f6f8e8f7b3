// The mean of every channel's positions and its gradient, and gradients that are added to others.
#include "simt.cuh"

struct MeanArgs {
    void* maps;    // (batch, area, channels), or their gradient
    float* means;  // (batch, channels), or their gradient
    u32 batch, area, channels;
    u32 adds;  // whether the gradient is added to what is there
};

template <typename T>
__device__ void global_mean(const MeanArgs& a) {
    const u32 i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= a.batch * a.channels) return;
    const T* map = static_cast<const T*>(a.maps) + size_t(i / a.channels) * a.area * a.channels + i % a.channels;
    float sum = 0;
#pragma unroll 4
    for (u32 position = 0; position < a.area; position++) sum += to_float(map[size_t(position) * a.channels]);
    a.means[i] = sum / a.area;
}

template <typename T>
__device__ void global_mean_backward(const MeanArgs& a) {
    const u32 i = blockIdx.x * blockDim.x + threadIdx.x, of_image = a.area * a.channels;
    if (i >= a.batch * of_image) return;
    T& to = static_cast<T*>(a.maps)[i];
    const float gradient = a.means[i / of_image * a.channels + i % a.channels] / a.area;
    from_float(a.adds ? to_float(to) + gradient : gradient, to);
}
KERNEL(global_mean_f32, MeanArgs, global_mean<float>)
KERNEL(global_mean_bf16, MeanArgs, global_mean<bf16>)
KERNEL(global_mean_backward_f32, MeanArgs, global_mean_backward<float>)
KERNEL(global_mean_backward_bf16, MeanArgs, global_mean_backward<bf16>)

struct AddArgs {
    const void* from;
    void* to;
    u32 count;
    u32 adds;  // else `to` is overwritten
};

template <typename From, typename To, int N>
__device__ void add(const AddArgs& a) {
    const u32 i = (blockIdx.x * blockDim.x + threadIdx.x) * N;
    if (i >= a.count) return;
    float from[N], to[N] = {};
    load<N>(static_cast<const From*>(a.from) + i, from);
    if (a.adds) load<N>(static_cast<const To*>(a.to) + i, to);
#pragma unroll
    for (int k = 0; k < N; k++) to[k] += from[k];
    store<N>(static_cast<To*>(a.to) + i, to);
}

#define ADD(name, From, To)                                 \
    KERNEL(add_##name##_4, AddArgs, (add<From, To, 4>)) \
    KERNEL(add_##name##_1, AddArgs, (add<From, To, 1>))

ADD(f32_f32, float, float)
ADD(f32_bf16, float, bf16)
ADD(bf16_f32, bf16, float)
ADD(bf16_bf16, bf16, bf16)
