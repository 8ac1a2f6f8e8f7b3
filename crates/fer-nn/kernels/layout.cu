// From the layout of tensors, channels before positions, to the kernels', channels last, and back.
#include "simt.cuh"

struct LayoutArgs {
    const float* planar;  // (outer, channels, area)
    float* last;          // (outer, area, channels)
    bf16* half;           // a copy of `last`; none where null. To planar: what is read where `last` is null
    u32 outer, channels, area;
};

__device__ inline bool place_of(const LayoutArgs& a, u32& i, size_t& planar) {
    i = blockIdx.x * blockDim.x + threadIdx.x;
    const u32 size = a.channels * a.area;
    if (i >= a.outer * size) return false;
    planar = size_t(i / size) * size + i % a.channels * a.area + i % size / a.channels;
    return true;
}

__device__ void to_channels_last(const LayoutArgs& a) {
    u32 i;
    size_t planar;
    if (!place_of(a, i, planar)) return;
    const float value = a.planar[planar];
    if (a.last) a.last[i] = value;
    if (a.half) from_float(value, a.half[i]);
}
KERNEL(to_channels_last_f32, LayoutArgs, to_channels_last)

__device__ void to_planar(const LayoutArgs& a) {
    u32 i;
    size_t planar;
    if (place_of(a, i, planar)) const_cast<float*>(a.planar)[planar] = a.last ? a.last[i] : to_float(a.half[i]);
}
KERNEL(to_planar_f32, LayoutArgs, to_planar)
