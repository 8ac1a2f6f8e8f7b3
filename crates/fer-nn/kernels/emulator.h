// CUDA's kernels on a processor: what they are compiled with by a C++ compiler, for tests.
//
// A block's threads are fibers that run in turn, from one `__syncthreads` to the next; blocks run one after the other.
// So every index, every shared value and every order of additions is the card's; its speed and its races are not.
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
    for (unsigned left = count; left > 0;) {
        for (unsigned i = 0; i < count; i++) {
            if (fibers[i].done) continue;
            threadIdx = {i % blockDim.x, i / blockDim.x % blockDim.y, i / (blockDim.x * blockDim.y)};
            running = &fibers[i];
            swapcontext(&scheduler, &fibers[i].context);
            if (fibers[i].done) left--;
        }
    }
}

}  // namespace emulator

// Fibers are resumed in turn, so that all have come here before the first goes on.
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
        for (unsigned z = 0; z < grid[2]; z++)
            for (unsigned y = 0; y < grid[1]; y++)
                for (unsigned x = 0; x < grid[0]; x++) {
                    blockIdx = {x, y, z};
                    emulator::run_block();
                }
        return 0;
    }
    return 1;
}
