// What single layers on planar tensors need beside a stage's kernels.
#include "stage.cuh"

struct LayerArgs {
    const float* x;
    const float* dy;
    float* out;
    u32 count, height, width;  // values of `out`; rows and columns of x
    u32 out_height, out_width;
    u32 size, stride, activation;
};

// The gradient before the activation, from the activation's output x and the gradient dy after it.
__device__ void activation_backward(const LayerArgs& a) {
    const u32 i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= a.count) return;
    const float y = a.x[i], dy = a.dy[i];
    a.out[i] = y > 0 || a.activation == LINEAR ? dy : a.activation == RELU ? 0 : dy * (y + 1);
}
KERNEL(activation_backward_f32, LayerArgs, activation_backward)

// The place in a plane of the first maximum of a window, NaN counting as the greatest.
__device__ inline u32 maximum(const LayerArgs& a, const float* plane, u32 window) {
    const u32 row = window / a.out_width * a.stride, column = window % a.out_width * a.stride;
    u32 best = row * a.width + column;
    for (u32 i = 0; i < a.size * a.size; i++) {
        const u32 at = (row + i / a.size) * a.width + column + i % a.size;
        if (plane[at] > plane[best] || (plane[at] != plane[at] && plane[best] == plane[best])) best = at;
    }
    return best;
}

__device__ void max_pool(const LayerArgs& a) {
    const u32 i = blockIdx.x * blockDim.x + threadIdx.x, windows = a.out_height * a.out_width;
    if (i >= a.count) return;
    const float* plane = a.x + size_t(i / windows) * a.height * a.width;
    a.out[i] = plane[maximum(a, plane, i % windows)];
}
KERNEL(max_pool_f32, LayerArgs, max_pool)

// Every value gathers from the windows that it is the first maximum of.
__device__ void max_pool_backward(const LayerArgs& a) {
    const u32 i = blockIdx.x * blockDim.x + threadIdx.x, area = a.height * a.width;
    if (i >= a.count) return;
    const u32 row = i % area / a.width, column = i % a.width, windows = a.out_height * a.out_width;
    const float* plane = a.x + size_t(i / area) * area;
    const float* dy = a.dy + size_t(i / area) * windows;
    float sum = 0;
    for (u32 r = row < a.size ? 0 : (row - a.size) / a.stride + 1; r < a.out_height && r * a.stride <= row; r++)
        for (u32 c = column < a.size ? 0 : (column - a.size) / a.stride + 1; c < a.out_width && c * a.stride <= column; c++)
            if (maximum(a, plane, r * a.out_width + c) == row * a.width + column) sum += dy[r * a.out_width + c];
    a.out[i] = sum;
}
KERNEL(max_pool_backward_f32, LayerArgs, max_pool_backward)
