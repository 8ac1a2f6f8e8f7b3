// A batch of images made from those that live on the card: chosen, moved by an affine map as
// `scipy.ndimage.affine_transform(order=1)` does, mirrored.
//
// Source of the edges' modes: scipy, `ndimage/src/ni_interpolation.c`, `map_coordinate`.
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
    const u32* labels;
    const u32* order;   // the samples of the epoch; as they are where null
    const Warp* warps;  // one for each of `order`; none where null
    float* images;      // (batch, height, width), 0 to 1
    u32* batch_labels;
    const State* state;
    float fill;
    u32 fill_mode;
    u32 height, width;
    u32 stride;  // samples in a full batch
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
    if (pixel == 0) a.batch_labels[blockIdx.x] = a.labels[which];
    if (pixel >= area) return;
    const u8* image = a.pixels + size_t(which) * area;
    u32 row = pixel / a.width, column = pixel % a.width;
    float& to = a.images[size_t(blockIdx.x) * area + pixel];
    if (!a.warps) {
        to = float(image[pixel]) / 255.0f;
        return;
    }
    const Warp& warp = a.warps[place];
    if (warp.flips & 1) column = a.width - 1 - column;
    if (warp.flips & 2) row = a.height - 1 - row;
    if (!warp.moves) {
        to = float(image[row * a.width + column]) / 255.0f;
        return;
    }
    // The order of these sums decides whether a pixel at the very edge is inside.
    double at[2];
    for (int axis = 0; axis < 2; axis++)
        at[axis] = sum(sum(warp.offset[axis], product(row, warp.matrix[2 * axis])), product(column, warp.matrix[2 * axis + 1]));
    to = sample(a, image, at[0], at[1]);
}
KERNEL(batch_u8, BatchArgs, batch)
