// What the kernels of a stage share: activations, normalisation, positions of pooling windows, dropout's numbers.
//
// Tensors are (batch, height, width, channels). A block is (vectors of channels, rows).
#pragma once
#include "philox.cuh"
#include "stage.cuh"

__device__ inline size_t at(u32 image, u32 area, u32 position, u32 channels, u32 channel) {
    return (size_t(image) * area + position) * channels + channel;
}

// Division to two units in the last place, since the exact one is a call, before which registers are saved.
__device__ inline float sigmoid(float x) { return __fdividef(1.0f, 1 + expf(-x)); }

// Those that need few registers: LINEAR, RELU and ELU.
__device__ inline float activate_few(float x, u32 activation) {
    switch (activation) {
        case RELU: return x < 0 ? 0 : x;
        case ELU: {
            // Without a branch, so that the values of a thread are worked on side by side.
            const float below = expm1f(fminf(x, 0.0f));
            return x <= 0 ? below : x;
        }
        default: return x;
    }
}

// `slope` is the leaky ReLU's below 0.
__device__ inline float activate(float x, u32 activation, float slope) {
    switch (activation) {
        case LEAKY_RELU: return x > 0 ? x : slope * x;
        case SILU:
        case SIGMOID: return (activation == SILU ? x : 1) * sigmoid(x);
        default: return activate_few(x, activation);
    }
}

// The activation's derivative from its output y; SiLU's, which the output does not tell, from its input.
__device__ inline float derivative(float y, u32 activation, float slope) {
    switch (activation) {
        case RELU: return y > 0 ? 1 : 0;
        case ELU: return y > 0 ? 1 : y + 1;
        case LEAKY_RELU: return y > 0 ? 1 : slope;
        case SILU: {
            const float of_input = sigmoid(y);
            return of_input * (1 + y * (1 - of_input));
        }
        case SIGMOID: return y * (1 - y);
        default: return 1;
    }
}

template <int N>
__device__ inline void load_channels(const float* from, u32 channel, float (&to)[N]) {
#pragma unroll
    for (int i = 0; i < N; i++) to[i] = from ? from[channel + i] : 0;
}

// `y` of `N` channels at one place; `ANY` where the activation may be any.
template <typename C, int N, bool ANY = true>
__device__ inline void load_y(const StageArgs& a, const C* c, const float (&bias)[N], float (&y)[N]) {
    load<N>(c, y);
#pragma unroll
    for (int i = 0; i < N; i++) {
        const float x = y[i] + bias[i];
        y[i] = ANY ? activate(x, a.activation, a.slope) : activate_few(x, a.activation);
    }
}

template <int N>
struct Norm {
    float center[N], scale[N], shift[N];
    __device__ Norm(const float* norm, u32 channels, u32 channel) {
        load_channels<N>(norm, channel, center);
        load_channels<N>(norm + channels, channel, scale);
        load_channels<N>(norm + 2 * channels, channel, shift);
    }
    __device__ float apply(int i, float y) const { return fmaf(y - center[i], scale[i], shift[i]); }
};

// What the channels of a block are changed by, back through a stage, in the block's shared memory: registers are dearer there.
// `FACTOR`, `SLOPE` and `CONSTANT` are those of the gradient that goes back through the normalisation.
template <int N>
struct Constants {
    enum Which { BIAS, CENTER, SCALE, SHIFT, FACTOR, SLOPE, CONSTANT, COUNT };
    const float* mine;
    // All threads of a block come here.
    __device__ Constants(const StageArgs& a, u32 channel) {
        __shared__ float values[COUNT * N * 32];
        mine = values + threadIdx.x;
        for (u32 i = threadIdx.y; i < COUNT * N; i += blockDim.y) {
            const u32 which = i / N, at = channel + i % N;
            const float* from = which == BIAS ? a.bias : which < FACTOR ? a.norm : a.slopes;
            const u32 row = which == BIAS ? 0 : which < FACTOR ? which - CENTER : which - FACTOR;
            values[i * 32 + threadIdx.x] = from && at < a.channels ? from[row * a.channels + at] : 0;
        }
        __syncthreads();
    }
    __device__ float of(Which which, int i) const { return mine[(which * N + i) * 32]; }
};

// The greater; the first when they are equal, NaN when either is.
__device__ inline bool is_greater(float b, float a) { return b > a || b != b; }

// Where a window's first maximum is: 0 and 1 above, 2 and 3 below.
__device__ inline u32 first_maximum(float a, float b, float c, float d) {
    const bool right = is_greater(b, a), under_right = is_greater(d, c);
    const bool below = is_greater(under_right ? d : c, right ? b : a);
    return below ? 2 + under_right : right;
}

// Four positions of an image's output for `N` channels: those that one draw of dropout's words serves.
struct Quad {
    u32 image, first, area, quads;
    __device__ Quad(const StageArgs& a, u32 item) {
        area = a.pool ? (a.height / 2) * (a.width / 2) : a.height * a.width;
        quads = div_up(area, 4);
        image = item / quads;
        first = item % quads * 4;
    }
    // The place in `c` of the first of the window under an output position.
    __device__ u32 place(const StageArgs& a, u32 position) const {
        if (!a.pool) return position;
        const u32 width = a.width / 2;
        return position / width * 2 * a.width + position % width * 2;
    }
};

// What dropout keeps of `N` channels at the positions of a quad: value `lane` of a group of sixteen channels at position p of a
// plane takes word p mod 4 of block 16·(plane·⌈area/4⌉ + p/4) + lane.
template <int N>
struct Dropout {
    u32 keeps = ~0u;  // bit p·N + i
    float scale = 1;
    __device__ Dropout(const StageArgs& a, const Quad& quad, u32 channel) {
        if (!a.dropout) return;
        keeps = 0;
        scale = a.kept;
#pragma unroll
        for (int i = 0; i < N; i++) {
            const u32 group = quad.image * div_up(a.channels, 16) + (channel + i) / 16;
            const u32 block = 16 * (group * quad.quads + quad.first / 4) + (channel + i) % 16;
            const Words words = philox(a.state->seed, a.purpose, a.state->epoch, a.state->step, block);
#pragma unroll
            for (int p = 0; p < 4; p++) keeps |= u32(words.word[p] >= a.threshold) << (p * N + i);
        }
    }
    __device__ float of(u32 p, int i, float x) const { return keeps >> (p * N + i) & 1 ? x * scale : 0; }
};

__device__ inline u32 items(const StageArgs& a) { return a.batch * Quad(a, 0).quads; }

// What no window covers: the last column and the last row, where their number is odd.
struct Uncovered {
    u32 columns, of_image, count;
    __device__ explicit Uncovered(const StageArgs& a) {
        columns = a.pool ? a.width % 2 * a.height : 0;
        of_image = columns + (a.pool ? a.height % 2 * (a.width / 2 * 2) : 0);
        count = a.batch * of_image;
    }
    __device__ u32 position(const StageArgs& a, u32 row) const {
        const u32 which = row % of_image;
        return which < columns ? (which + 1) * a.width - 1 : (a.height - 1) * a.width + which - columns;
    }
};
