/* Sums of products as the processor does them best: in integers always the same, exactly. */
#ifndef GPT2SVC_DOT_H
#define GPT2SVC_DOT_H

#include "matmul.h"

/* Two products and their sum, added: by the processor's own instruction, or the same by multiply-adds. */
INLINE v16 dot_bf16(uint32_t pair, const bf16 *weights, v16 sum)
{
#if defined(__AVX512BF16__)
    __m512i w = _mm512_loadu_si512(weights);
    return (v16)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32((int)pair), (__m512bh)w);
#else
    v16u w = *(const v16u *)weights;
    uint32_t bits[2] = {pair << 16, pair & 0xffff0000u};
    float x[2];
    memcpy(x, bits, sizeof x);
    sum = fma16(splat16(x[0]), (v16)(w << 16), sum);
    return fma16(splat16(x[1]), (v16)(w & 0xffff0000u), sum);
#endif
}

#if defined(__AVX512BW__) || defined(__AVX2__)
#define HAS_MULTIPLY_ADD 1
#endif

#if HAS_MULTIPLY_ADD
/* Of 16-bit lanes: products, and the sum of each two neighbours. */
INLINE v16i multiply_add(v16i a, v16i b)
{
#if defined(__AVX512BW__)
    return (v16i)_mm512_madd_epi16((__m512i)a, (__m512i)b);
#else
    union { v16i whole; __m256i half[2]; } x = {a}, y = {b};
    x.half[0] = _mm256_madd_epi16(x.half[0], y.half[0]);
    x.half[1] = _mm256_madd_epi16(x.half[1], y.half[1]);
    return x.whole;
#endif
}

/* The same of unsigned bytes in `a` and signed ones in `b`, to 16-bit lanes. */
INLINE v16i multiply_add_bytes(v16i a, v16i b)
{
#if defined(__AVX512BW__)
    return (v16i)_mm512_maddubs_epi16((__m512i)a, (__m512i)b);
#else
    union { v16i whole; __m256i half[2]; } x = {a}, y = {b};
    x.half[0] = _mm256_maddubs_epi16(x.half[0], y.half[0]);
    x.half[1] = _mm256_maddubs_epi16(x.half[1], y.half[1]);
    return x.whole;
#endif
}
#endif

/* Four products of an unsigned and a signed byte and their sum, added: exact in 32 bits. */
INLINE v16i dot_int8(uint32_t four, const int8_t *weights, v16i sum)
{
#if defined(__AVX512VNNI__)
    __m512i w = _mm512_loadu_si512(weights);
    return (v16i)_mm512_dpbusd_epi32((__m512i)sum, _mm512_set1_epi32((int)four), w);
#else
    v16i w = *(const v16i *)weights;
#if HAS_MULTIPLY_ADD
    typedef int16_t v32s __attribute__((vector_size(64), may_alias));
    v16i even = (v16i)(((v32s)w << 8) >> 8), odd = (v16i)((v32s)w >> 8);
    sum += multiply_add(even, (v16i){} + (int32_t)(four & 0x00ff00ffu));
    return sum + multiply_add(odd, (v16i){} + (int32_t)((four >> 8) & 0x00ff00ffu));
#else
    for (int byte = 0; byte < 4; byte++) {
        v16i weight = (w << (24 - 8 * byte)) >> 24;
        sum += weight * (int32_t)((four >> (8 * byte)) & 0xff);
    }
    return sum;
#endif
#endif
}

/* The dots of a group of 4-bit weights w, 0 to 15, with signed bytes x: begun, added to, and ended as the sum of
 * (w - 8) x in 32 bits. Where the processor adds bytes to 16-bit lanes only, those hold all of a group: at most
 * 8 * 2 * 15 * 127 = 30480. */
INLINE v16i begin_int4(const int4_facts_t *facts)
{
#if HAS_MULTIPLY_ADD && !defined(__AVX512VNNI__)
    (void)facts;
    return (v16i){};
#else
    return (v16i){} + facts->offset;
#endif
}

INLINE v16i dot_int4(v16i weights, uint32_t four, v16i dots)
{
    v16i x = (v16i){} + (int32_t)four;
#if defined(__AVX512VNNI__)
    return (v16i)_mm512_dpbusd_epi32((__m512i)dots, (__m512i)weights, (__m512i)x);
#elif HAS_MULTIPLY_ADD
    typedef uint16_t v32u __attribute__((vector_size(64), may_alias));
    return (v16i)((v32u)dots + (v32u)multiply_add_bytes(weights, x));
#else
    for (int byte = 0; byte < 4; byte++)
        dots += ((weights >> (8 * byte)) & 0xff) * ((x << (24 - 8 * byte)) >> 24);
    return dots;
#endif
}

INLINE v16i end_int4(v16i dots, const int4_facts_t *facts)
{
#if HAS_MULTIPLY_ADD && !defined(__AVX512VNNI__)
    return multiply_add(dots, (v16i){} + 0x00010001) + facts->offset;
#else
    (void)facts;
    return dots;
#endif
}

#endif
