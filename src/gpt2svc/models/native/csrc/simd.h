/* Vectors of floats, by the compiler's vector types, as wide as the processor's registers: wider ones would live in
 * memory.
 *
 * What is stored and summed goes by LANES on every processor, so that the bits are the same on all: where a vector has
 * fewer, PARTS of them stand for one of LANES.
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

#if defined(__AVX2__) && !defined(__AVX512F__)
#define WIDTH 8
#else
#define WIDTH 16
#endif
enum { LANES = 16, PARTS = LANES / WIDTH };

typedef float vec __attribute__((vector_size(4 * WIDTH), aligned(4), may_alias));
typedef int32_t vec_i __attribute__((vector_size(4 * WIDTH), aligned(4), may_alias));
typedef uint32_t vec_u __attribute__((vector_size(4 * WIDTH), aligned(4), may_alias));
typedef uint16_t vec_h __attribute__((vector_size(2 * WIDTH), aligned(2), may_alias));
typedef uint16_t bf16;

#define INLINE static inline __attribute__((always_inline))

INLINE vec load_vec(const float *from) { return *(const vec *)from; }
INLINE void store_vec(float *to, vec value) { *(vec *)to = value; }
INLINE vec splat(float value) { return (vec){} + value; }

/* The same in one load, where splat adds to zero first (which makes +0 of -0, so the compiler may not leave it out). */
INLINE vec broadcast(const float *from)
{
    float x = *from;
#if WIDTH == 8
    return (vec){x, x, x, x, x, x, x, x};
#else
    return (vec){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x};
#endif
}

/* a * b + c with one rounding where the processor can. */
INLINE vec fma_vec(vec a, vec b, vec c)
{
#if defined(__AVX512F__)
    return (vec)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif WIDTH == 8
    return (vec)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__aarch64__)
    union { vec whole; float32x4_t quarter[4]; } x = {a}, y = {b}, z = {c};
    for (int i = 0; i < 4; i++)
        z.quarter[i] = vfmaq_f32(z.quarter[i], x.quarter[i], y.quarter[i]);
    return z.whole;
#else
    return a * b + c;
#endif
}

INLINE vec select_vec(vec_i mask, vec yes, vec no) { return (vec)((mask & (vec_i)yes) | (~mask & (vec_i)no)); }
INLINE vec max_vec(vec a, vec b) { return select_vec(a > b, a, b); }

INLINE vec from_bf16(const bf16 *from)
{
#if WIDTH == 8
    return (vec)_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)from)), 16);
#else
    vec_h halves = *(const vec_h *)from;
    return (vec)(__builtin_convertvector(halves, vec_u) << 16);
#endif
}

#if WIDTH == 8
/* Numbers from 0 to 65535 to 16 bits each. */
INLINE __m128i narrowed(vec_u value)
{
    __m256i whole = (__m256i)value;
    return _mm_packus_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256(whole, 1));
}
#endif

/* The bits of the nearest bfloat16, ties to even; NaN stays NaN. */
INLINE vec_u bits_of_bf16(vec value)
{
    vec_u bits = (vec_u)value;
    vec_u rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    vec_i is_number = value == value;
    return (rounded & (vec_u)is_number) | (0x7fc0 & ~(vec_u)is_number);
}

INLINE void to_bf16(bf16 *to, vec value)
{
    vec_u rounded = bits_of_bf16(value);
#if WIDTH == 8
    _mm_storeu_si128((__m128i *)to, narrowed(rounded));
#else
    *(vec_h *)to = __builtin_convertvector(rounded, vec_h);
#endif
}

INLINE float sum_lanes(const vec parts[PARTS])
{
    float lanes[LANES];
    memcpy(lanes, parts, sizeof lanes);
    for (int width = LANES / 2; width; width /= 2)
        for (int i = 0; i < width; i++)
            lanes[i] += lanes[i + width];
    return lanes[0];
}

INLINE float largest_lane(const vec parts[PARTS])
{
    float lanes[LANES], largest;
    memcpy(lanes, parts, sizeof lanes);
    largest = lanes[0];
    for (int i = 1; i < LANES; i++)
        largest = lanes[i] > largest ? lanes[i] : largest;
    return largest;
}

/* e^x to about one unit in the last place: 0 below -87, and e^88 for all that is above; NaN stays NaN.
 * Range reduction by two parts of ln 2, then the polynomial of Moshier's Cephes library (expf). */
INLINE vec exp_vec(vec x)
{
    vec_i is_tiny = x < -87.0f;
    vec_i is_huge = x > 88.0f;
    vec bounded = select_vec(is_huge, splat(88.0f), select_vec(is_tiny, splat(-87.0f), x));
    const vec magic = splat(12582912.0f); /* 1.5 * 2^23: adding it rounds to a whole number */
    vec whole = fma_vec(bounded, splat(1.44269504088896341f), magic) - magic;
    vec rest = fma_vec(whole, splat(-0.693359375f), bounded);
    rest = fma_vec(whole, splat(2.12194440e-4f), rest);
    vec y = splat(1.9875691500e-4f);
    y = fma_vec(y, rest, splat(1.3981999507e-3f));
    y = fma_vec(y, rest, splat(8.3334519073e-3f));
    y = fma_vec(y, rest, splat(4.1665795894e-2f));
    y = fma_vec(y, rest, splat(1.6666665459e-1f));
    y = fma_vec(y, rest, splat(5.0000001201e-1f));
    y = fma_vec(y * rest, rest, rest) + 1.0f;
    vec_i exponent = (__builtin_convertvector(whole, vec_i) + 127) << 23;
    return select_vec(is_tiny, splat(0.0f), y * (vec)exponent);
}

#endif
