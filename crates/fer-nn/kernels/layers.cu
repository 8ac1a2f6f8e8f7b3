// What single layers on planar tensors need beside a stage's kernels.
#include "tail.cuh"

struct LayerArgs {
    const float* x;
    const float* dy;
    float* out;
    u32 count, height, width;  // values of `out`; rows and columns of x
    u32 out_height, out_width;
    u32 size, stride;
    u32 top, left;  // how far the first window begins outside the plane
    u32 activation;
    float slope;
    u32 unused;
};

__device__ void activation(const LayerArgs& a) {
    const u32 i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < a.count) a.out[i] = activate(a.x[i], a.activation, a.slope);
}
KERNEL(activation_f32, LayerArgs, activation)

// The gradient before the activation, from what tells its derivative, x, and the gradient dy after it.
__device__ void activation_backward(const LayerArgs& a) {
    const u32 i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < a.count) a.out[i] = a.dy[i] * derivative(a.x[i], a.activation, a.slope);
}
KERNEL(activation_backward_f32, LayerArgs, activation_backward)

// The rows and columns of a plane that a window covers.
struct Window {
    u32 top, bottom, left, right;
    __device__ Window(const LayerArgs& a, u32 row, u32 column) {
        top = max(row * a.stride, a.top) - a.top;
        left = max(column * a.stride, a.left) - a.left;
        bottom = min(row * a.stride + a.size - a.top, a.height);
        right = min(column * a.stride + a.size - a.left, a.width);
    }
    __device__ u32 count() const { return (bottom - top) * (right - left); }
};

// The place in a plane of the first maximum of a window, NaN counting as the greatest.
__device__ inline u32 maximum(const LayerArgs& a, const float* plane, u32 row, u32 column) {
    const Window window(a, row, column);
    u32 best = window.top * a.width + window.left;
    for (u32 i = window.top; i < window.bottom; i++)
        for (u32 at = i * a.width + window.left; at < i * a.width + window.right; at++)
            if (is_greater(plane[at], plane[best])) best = at;
    return best;
}

__device__ void max_pool(const LayerArgs& a) {
    const u32 i = blockIdx.x * blockDim.x + threadIdx.x, windows = a.out_height * a.out_width;
    if (i >= a.count) return;
    const float* plane = a.x + size_t(i / windows) * a.height * a.width;
    a.out[i] = plane[maximum(a, plane, i % windows / a.out_width, i % a.out_width)];
}
KERNEL(max_pool_f32, LayerArgs, max_pool)

// Calls `each(row, column)` for the windows that cover a place of a plane.
template <typename Each>
__device__ inline void for_windows(const LayerArgs& a, u32 row, u32 column, Each each) {
    const u32 below = row + a.top, right = column + a.left;
    for (u32 r = below < a.size ? 0 : (below - a.size) / a.stride + 1; r < a.out_height && r * a.stride <= below; r++)
        for (u32 c = right < a.size ? 0 : (right - a.size) / a.stride + 1; c < a.out_width && c * a.stride <= right; c++)
            each(r, c);
}

// Every value gathers from the windows that it is the first maximum of.
__device__ void max_pool_backward(const LayerArgs& a) {
    const u32 i = blockIdx.x * blockDim.x + threadIdx.x, area = a.height * a.width;
    if (i >= a.count) return;
    const u32 row = i % area / a.width, column = i % a.width, windows = a.out_height * a.out_width;
    const float* plane = a.x + size_t(i / area) * area;
    const float* dy = a.dy + size_t(i / area) * windows;
    float sum = 0;
    for_windows(a, row, column, [&](u32 r, u32 c) {
        if (maximum(a, plane, r, c) == row * a.width + column) sum += dy[r * a.out_width + c];
    });
    a.out[i] = sum;
}
KERNEL(max_pool_backward_f32, LayerArgs, max_pool_backward)

__device__ void mean_pool(const LayerArgs& a) {
    const u32 i = blockIdx.x * blockDim.x + threadIdx.x, windows = a.out_height * a.out_width;
    if (i >= a.count) return;
    const float* plane = a.x + size_t(i / windows) * a.height * a.width;
    const Window window(a, i % windows / a.out_width, i % a.out_width);
    float sum = 0;
    for (u32 row = window.top; row < window.bottom; row++)
        for (u32 column = window.left; column < window.right; column++) sum += plane[row * a.width + column];
    a.out[i] = sum / window.count();
}
KERNEL(mean_pool_f32, LayerArgs, mean_pool)

__device__ void mean_pool_backward(const LayerArgs& a) {
    const u32 i = blockIdx.x * blockDim.x + threadIdx.x, area = a.height * a.width;
    if (i >= a.count) return;
    const float* dy = a.dy + size_t(i / area) * a.out_height * a.out_width;
    float sum = 0;
    for_windows(a, i % area / a.width, i % a.width,
                [&](u32 r, u32 c) { sum += dy[r * a.out_width + c] / Window(a, r, c).count(); });
    a.out[i] = sum;
}
KERNEL(mean_pool_backward_f32, LayerArgs, mean_pool_backward)
