/* Sixteen floats at a time, by the compiler's vector types: each target splits them as it must.
 *
 * Multiply-adds are explicit and the compiler is told to fuse nothing by itself (-ffp-contract=off): an element's bits
 * then do not depend on how many rows are computed along with it. */
#ifndef GPT2SVC_SIMD_H
#define GPT2SVC_SIMD_H

#include <stdint.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

enum { LANES = 16 };

typedef float v16 __attribute__((vector_size(64), aligned(4), may_alias));
typedef int32_t v16i __attribute__((vector_size(64), aligned(4), may_alias));
typedef uint32_t v16u __attribute__((vector_size(64), aligned(4), may_alias));
typedef uint16_t v16h __attribute__((vector_size(32), aligned(2), may_alias));
typedef uint16_t bf16;

#define INLINE static inline __attribute__((always_inline))

INLINE v16 load16(const float *from) { return *(const v16 *)from; }
INLINE void store16(float *to, v16 value) { *(v16 *)to = value; }
INLINE v16 splat16(float value) { return (v16){} + value; }

/* The same in one load, where splat16 adds to zero first (which makes +0 of -0, so the compiler may not leave it out). */
INLINE v16 broadcast16(const float *from)
{
    float x = *from;
    return (v16){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x};
}

/* a * b + c with one rounding where the processor can. */
INLINE v16 fma16(v16 a, v16 b, v16 c)
{
#if defined(__AVX512F__)
    return (v16)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__FMA__)
    union { v16 whole; __m256 half[2]; } x = {a}, y = {b}, z = {c};
    z.half[0] = _mm256_fmadd_ps(x.half[0], y.half[0], z.half[0]);
    z.half[1] = _mm256_fmadd_ps(x.half[1], y.half[1], z.half[1]);
    return z.whole;
#elif defined(__aarch64__)
    union { v16 whole; float32x4_t quarter[4]; } x = {a}, y = {b}, z = {c};
    for (int i = 0; i < 4; i++)
        z.quarter[i] = vfmaq_f32(z.quarter[i], x.quarter[i], y.quarter[i]);
    return z.whole;
#else
    return a * b + c;
#endif
}

INLINE v16 select16(v16i mask, v16 yes, v16 no) { return (v16)((mask & (v16i)yes) | (~mask & (v16i)no)); }
INLINE v16 max16(v16 a, v16 b) { return select16(a > b, a, b); }

INLINE v16 from_bf16(const bf16 *from)
{
    v16h halves = *(const v16h *)from;
    return (v16)(__builtin_convertvector(halves, v16u) << 16);
}

/* To the nearest bfloat16, ties to even; NaN stays NaN. */
INLINE void to_bf16(bf16 *to, v16 value)
{
    v16u bits = (v16u)value;
    v16u rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    v16i is_number = value == value;
    rounded = (rounded & (v16u)is_number) | (0x7fc0 & ~(v16u)is_number);
    *(v16h *)to = __builtin_convertvector(rounded, v16h);
}

INLINE float sum16(v16 value)
{
    float lanes[LANES];
    memcpy(lanes, &value, sizeof lanes);
    for (int width = LANES / 2; width; width /= 2)
        for (int i = 0; i < width; i++)
            lanes[i] += lanes[i + width];
    return lanes[0];
}

INLINE float largest16(v16 value)
{
    float lanes[LANES], largest;
    memcpy(lanes, &value, sizeof lanes);
    largest = lanes[0];
    for (int i = 1; i < LANES; i++)
        largest = lanes[i] > largest ? lanes[i] : largest;
    return largest;
}

/* e^x to about one unit in the last place: 0 below -87, and e^88 for all that is above; NaN stays NaN.
 * Range reduction by two parts of ln 2, then the polynomial of Moshier's Cephes library (expf). */
INLINE v16 exp16(v16 x)
{
    v16i is_tiny = x < -87.0f;
    v16i is_huge = x > 88.0f;
    v16 bounded = select16(is_huge, splat16(88.0f), select16(is_tiny, splat16(-87.0f), x));
    const v16 magic = splat16(12582912.0f); /* 1.5 * 2^23: adding it rounds to a whole number */
    v16 whole = fma16(bounded, splat16(1.44269504088896341f), magic) - magic;
    v16 rest = fma16(whole, splat16(-0.693359375f), bounded);
    rest = fma16(whole, splat16(2.12194440e-4f), rest);
    v16 y = splat16(1.9875691500e-4f);
    y = fma16(y, rest, splat16(1.3981999507e-3f));
    y = fma16(y, rest, splat16(8.3334519073e-3f));
    y = fma16(y, rest, splat16(4.1665795894e-2f));
    y = fma16(y, rest, splat16(1.6666665459e-1f));
    y = fma16(y, rest, splat16(5.0000001201e-1f));
    y = fma16(y * rest, rest, rest) + 1.0f;
    v16i exponent = (__builtin_convertvector(whole, v16i) + 127) << 23;
    return select16(is_tiny, splat16(0.0f), y * (v16)exponent);
}

#endif
