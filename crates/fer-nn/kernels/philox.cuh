// Philox 4×32-10, as fer-rand has it: the words of block `index` of a stream.
//
// Source: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
#pragma once
#include "simt.cuh"

struct Words { u32 word[4]; };

__device__ inline Words philox(u64 seed, u32 purpose, u32 epoch, u32 item, u32 index) {
    u32 a = index, b = item, c = epoch, d = purpose;
    u32 key0 = u32(seed), key1 = u32(seed >> 32);
#pragma unroll
    for (int round = 0; round < 10; round++) {
        const u32 low_high = __umulhi(a, 0xD2511F53u), low = a * 0xD2511F53u;
        const u32 high_high = __umulhi(c, 0xCD9E8D57u), high = c * 0xCD9E8D57u;
        a = high_high ^ b ^ key0;
        b = high;
        c = low_high ^ d ^ key1;
        d = low;
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    return {{a, b, c, d}};
}
