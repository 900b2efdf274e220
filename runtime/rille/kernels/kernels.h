/* What the kernels share. Every answer is the same to the bit on every processor: whole numbers, or
   floating point in steps that are rounded one by one (no contraction, see release/kernels.py).
   Nothing is allocated or kept here; callers pass memory, and rille/kernels/ checks its sizes. */
#ifndef RILLE_KERNELS_H
#define RILLE_KERNELS_H

#include <stdint.h>
#include <string.h>

#if defined(__SSE2__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

typedef uint8_t u8;
typedef int16_t i16;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int32_t i32;
typedef int64_t i64;

#define API __attribute__((visibility("default")))

#endif
