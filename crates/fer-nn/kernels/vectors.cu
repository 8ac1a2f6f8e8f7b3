// What follows a dense layer of a small batch: one block reads all rows of its channels, so that the sums stay in it and each way
// is one launch where `stage.cu` takes three forward and four back.
//
//     vectors           moments, moving statistics and z
//     vectors_backward  dγ, dβ, da and dbias
//
// Without a norm only the way back adds anything up.
#include "stage.cu"

__device__ void vectors(const StageArgs& a) {
    const u32 channel = blockIdx.y * blockDim.x + threadIdx.x;
    const bool inside = channel < a.channels;
    double sums[2] = {};
    if (inside) add_moments<float, 1>(a, channel, sums);
    sum_over_rows<2>(sums);
    if (inside && threadIdx.y == 0) take_moment_sums<float>(a, channel, sums);
    __syncthreads();
    if (!inside) return;
    const Norm<1> norm(a.norm, a.channels, channel);
    float bias[1];
    load_channels<1>(a.bias, channel, bias);
    for (u32 row = threadIdx.y; row < a.batch; row += blockDim.y) {
        const size_t place = size_t(row) * a.channels + channel;
        float y[1];
        load_y<float, 1>(a, static_cast<const float*>(a.c) + place, bias, y);
        const Dropout<1> dropout(a, Quad(a, row), channel);
        static_cast<float*>(a.z)[place] = dropout.of(0, 0, norm.apply(0, y[0]));
    }
}
KERNEL(vectors_f32, StageArgs, vectors)

__device__ void vectors_backward(const StageArgs& a) {
    const u32 channel = blockIdx.y * blockDim.x + threadIdx.x;
    const bool inside = channel < a.channels;
    if (a.gamma) {
        const Constants<1> constants(a, channel);
        double sums[2] = {};
        if (inside) add_gradients<float, float, 1>(a, channel, constants, sums);
        sum_over_rows<2>(sums);
        if (inside && threadIdx.y == 0) take_gradient_sums(a, channel, sums[0], sums[1]);
        __syncthreads();
    }
    const Constants<1> constants(a, channel);
    double sums[2] = {};
    if (inside) go_back<float, float, 1>(a, channel, constants, sums);
    sum_over_rows<2>(sums);
    if (inside && threadIdx.y == 0 && a.dbias) a.dbias[channel] = float(sums[0]);
}
KERNEL(vectors_backward_f32, StageArgs, vectors_backward)
