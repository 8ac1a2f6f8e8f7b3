// A batch of images made from those that live on the card: chosen, moved by an affine map as
// `scipy.ndimage.affine_transform(order=1)` does, mirrored; and, after `tone.cu`, blended.
//
// Source of the edges' modes: scipy, `ndimage/src/ni_interpolation.c`, `map_coordinate`.
#include "standard.cuh"
#include "stage.cuh"

enum FillMode : u32 { NEAREST, CONSTANT, REFLECT, WRAP };

// Where in its image the pixel (row, column) is read: matrix · (row, column) + offset, then mirrored.
struct Warp {
    double matrix[4], offset[2];
    u32 moves;  // whether the map changes anything
    u32 flips;  // 1 left and right, 2 top and bottom
};

struct BatchArgs {
    const u8* pixels;  // (samples, height, width)
    const float* targets;  // (samples, classes)
    const u32* order;      // the samples of the epoch; as they are where null
    const Warp* warps;     // one for each of `order`; none where null
    float* images;         // (batch, height, width), 0 to 1
    float* batch_targets;  // (batch, classes)
    const State* state;
    float fill;
    u32 fill_mode;
    u32 height, width, classes;
    u32 stride;  // samples in a full batch
    Standard standard;
};

// The place along an axis that stands for this one; false where it is outside for good.
__device__ inline bool map(double& place, u32 mode, u32 len) {
    const double last = len - 1;
    if (place >= 0 && place <= last) return true;
    switch (mode) {
        case CONSTANT: return false;
        case NEAREST: place = fmin(fmax(place, 0.0), last); return true;
        default: break;
    }
    if (len == 1) {
        place = 0;
    } else if (mode == REFLECT) {
        const double period = 2.0 * len, within = place - period * floor(place / period);
        place = within < len ? within : period - within - 1;
    } else if (place < 0) {
        place += last * (trunc(-place / last) + 1);
    } else {
        place -= last * trunc(place / last);
    }
    return true;
}

__device__ inline float sample(const BatchArgs& a, const u8* image, double row, double column) {
    if (!map(row, a.fill_mode, a.height) || !map(column, a.fill_mode, a.width)) return a.fill;
    const double top = floor(row), left = floor(column), down = row - top, across = column - left;
    // Between an edge and its mirror image a place is up to a half before the first pixel.
    const u32 rows[2] = {min(u32(fmax(top, 0.0)), a.height - 1), min(u32(top + 1), a.height - 1)};
    const u32 columns[2] = {min(u32(fmax(left, 0.0)), a.width - 1), min(u32(left + 1), a.width - 1)};
    auto pixel = [&](int i, int j) { return double(float(image[rows[i] * a.width + columns[j]]) / 255.0f); };
    return float(pixel(0, 0) * (1 - down) * (1 - across) + pixel(0, 1) * (1 - down) * across +
                 pixel(1, 0) * down * (1 - across) + pixel(1, 1) * down * across);
}

__device__ void batch(const BatchArgs& a) {
    const u32 area = a.height * a.width, pixel = blockIdx.y * blockDim.x + threadIdx.x;
    const size_t place = size_t(a.state->step) * a.stride + blockIdx.x;
    const u32 which = a.order ? a.order[place] : u32(place);
    for (u32 k = pixel; k < a.classes; k += gridDim.y * blockDim.x)
        a.batch_targets[size_t(blockIdx.x) * a.classes + k] = a.targets[size_t(which) * a.classes + k];
    if (pixel >= area) return;
    const u8* image = a.pixels + size_t(which) * area;
    u32 row = pixel / a.width, column = pixel % a.width;
    float& to = a.images[size_t(blockIdx.x) * area + pixel];
    if (!a.warps) {
        to = a.standard.of(float(image[pixel]) / 255.0f);
        return;
    }
    const Warp& warp = a.warps[place];
    if (warp.flips & 1) column = a.width - 1 - column;
    if (warp.flips & 2) row = a.height - 1 - row;
    if (!warp.moves) {
        to = a.standard.of(float(image[row * a.width + column]) / 255.0f);
        return;
    }
    // The order of these sums decides whether a pixel at the very edge is inside.
    double at[2];
    for (int axis = 0; axis < 2; axis++)
        at[axis] = sum(sum(warp.offset[axis], product(row, warp.matrix[2 * axis])), product(column, warp.matrix[2 * axis + 1]));
    to = a.standard.of(sample(a, image, at[0], at[1]));
}
KERNEL(batch_u8, BatchArgs, batch)

// Mixup: value x of an image becomes share·x + (1 − share)·(its partner's), and so do its targets.
struct MixArgs {
    const float *from, *from_targets;  // (batch, area), (batch, classes)
    float *to, *to_targets;
    const float* shares;  // one a step
    const u32* partners;  // places in the batch, one for each sample of the epoch
    const State* state;
    u32 area, classes;
    u32 stride;  // samples in a full batch
    u32 unused;
    Standard standard;
};

__device__ void mix(const MixArgs& a) {
    const u32 i = blockIdx.y * blockDim.x + threadIdx.x, step = a.state->step;
    const u32 partner = a.partners[size_t(step) * a.stride + blockIdx.x];
    const float share = a.shares[step], rest = 1 - share;
    auto blend = [&](const float* values, u32 len, u32 at) {
        return sum_f32(product_f32(share, values[size_t(blockIdx.x) * len + at]), product_f32(rest, values[size_t(partner) * len + at]));
    };
    for (u32 k = i; k < a.classes; k += gridDim.y * blockDim.x)
        a.to_targets[size_t(blockIdx.x) * a.classes + k] = blend(a.from_targets, a.classes, k);
    if (i < a.area) a.to[size_t(blockIdx.x) * a.area + i] = a.standard.of(blend(a.from, a.area, i));
}
KERNEL(mix_f32, MixArgs, mix)
