// CUDA's kernels on a processor: what they are compiled with by a C++ compiler, for tests.
//
// A block's threads are fibers that run one after the other from one `__syncthreads` to the next, in an order that changes each
// time, and so do blocks: what needs another order than barriers give is wrong sooner or later. Barriers that only some threads
// reach end the program, and so do vectors read at places that are not theirs. Speed, and races within a warp's step, are not the
// card's.
#pragma once

#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#define __device__
#define __shared__ static

using std::max;
using std::min;

struct dim3 { unsigned x, y, z; };
inline dim3 threadIdx, blockIdx, blockDim, gridDim;

void __syncthreads();
inline void __threadfence() {}
inline unsigned atomicAdd(unsigned* to, unsigned value) { return (*to += value) - value; }
template <typename T> T __ldcg(const T* from) { return *from; }
template <typename T> T __ldg(const T* from) { return *from; }
inline float __fdividef(float a, float b) { return a / b; }
inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned((unsigned long long)a * b >> 32); }

namespace emulator {

template <typename To, typename From> To copy_bits(From from) {
    To to;
    static_assert(sizeof to == sizeof from);
    memcpy(&to, &from, sizeof to);
    return to;
}
inline float float_of(unsigned bits) { return copy_bits<float>(bits); }
inline unsigned bits_of(float value) { return copy_bits<unsigned>(value); }

[[noreturn]] inline void fail(const char* what);

// An order of `count` things, another one at each call: the first `count` numbers under a power of two of an odd stride.
struct Order {
    unsigned size = 1, stride, at;
    inline static unsigned calls;
    explicit Order(unsigned count) {
        while (size < count) size *= 2;
        const unsigned mixed = ++calls * 2654435761u;
        stride = mixed >> 8 | 1;
        at = mixed >> 3;
    }
    // The next; those not below `count` are passed over.
    unsigned next(unsigned count) {
        do at = (at + stride) & (size - 1);
        while (at >= count);
        return at;
    }
};

struct Kernel {
    using Call = void (*)(const void*);
    const char* name;
    size_t size;
    Call call;
    inline static std::vector<const Kernel*> all;
    Kernel(const char* name, size_t size, Call call) : name(name), size(size), call(call) { all.push_back(this); }
};

constexpr size_t STACK = 128 * 1024;

struct Fiber {
    ucontext_t context;
    std::vector<char> stack = std::vector<char>(STACK);
    bool done;
};

inline std::vector<Fiber> fibers;
inline ucontext_t scheduler;
inline Fiber* running;
inline const Kernel* kernel;
inline const void* arguments;

inline void enter() {
    kernel->call(arguments);
    running->done = true;
}

// Runs the threads of one block to their ends.
inline void run_block() {
    const unsigned count = blockDim.x * blockDim.y * blockDim.z;
    if (fibers.size() < count) fibers.resize(count);
    for (unsigned i = 0; i < count; i++) {
        Fiber& fiber = fibers[i];
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack.data();
        fiber.context.uc_stack.ss_size = STACK;
        fiber.context.uc_link = &scheduler;
        fiber.done = false;
        makecontext(&fiber.context, enter, 0);
    }
    for (unsigned ended = 0; ended < count;) {
        Order order(count);
        for (unsigned k = 0; k < count; k++) {
            const unsigned i = order.next(count);
            threadIdx = {i % blockDim.x, i / blockDim.x % blockDim.y, i / (blockDim.x * blockDim.y)};
            running = &fibers[i];
            swapcontext(&scheduler, &fibers[i].context);
            if (fibers[i].done) ended++;
        }
        if (ended % count != 0) fail("some threads of a block have ended, others wait for them");
    }
}

inline void fail(const char* what) {
    fprintf(stderr, "%s: %s (block %u %u of %u %u, thread %u %u of %u %u)\n", kernel->name, what, blockIdx.x, blockIdx.y, gridDim.x,
        gridDim.y, threadIdx.x, threadIdx.y, blockDim.x, blockDim.y);
    abort();
}

}  // namespace emulator

// Every fiber is resumed once before any is again, so that all have come here before the first goes on.
inline void __syncthreads() { swapcontext(&emulator::running->context, &emulator::scheduler); }

// Runs the kernel `name` on a grid. 0, or 1 where there is none of that name, 2 where its arguments have another size.
extern "C" int emulator_launch(const char* name, const unsigned* grid, const unsigned* block, const void* args, size_t size) {
    for (const emulator::Kernel* kernel : emulator::Kernel::all) {
        if (strcmp(kernel->name, name) != 0) continue;
        if (kernel->size != size) return 2;
        emulator::kernel = kernel;
        emulator::arguments = args;
        gridDim = {grid[0], grid[1], grid[2]};
        blockDim = {block[0], block[1], block[2]};
        const unsigned count = grid[0] * grid[1] * grid[2];
        emulator::Order order(count);
        for (unsigned k = 0; k < count; k++) {
            const unsigned i = order.next(count);
            blockIdx = {i % grid[0], i / grid[0] % grid[1], i / (grid[0] * grid[1])};
            emulator::run_block();
        }
        return 0;
    }
    return 1;
}
