/* Sums of products as the processor does them best: in integers always the same, exactly. */
#ifndef GPT2SVC_DOT_H
#define GPT2SVC_DOT_H

#include "matmul.h"

#if WIDTH == 8
/* Of WIDTH pairs: the even ones, or the odd ones, as floats. */
INLINE vec one_of_pairs(const bf16 *weights, const int odd)
{
    vec_u w = *(const vec_u *)weights;
    return odd ? (vec)(w & 0xffff0000u) : (vec)(w << 16);
}

/* Of WIDTH fours of bytes: the even ones, or the odd ones, as 16-bit integers. */
INLINE vec_i two_of_fours(const int8_t *weights, const int odd)
{
    typedef int16_t vec_s __attribute__((vector_size(4 * WIDTH), aligned(4), may_alias));
    vec_s w = *(const vec_s *)weights;
    return odd ? (vec_i)(w >> 8) : (vec_i)((w << 8) >> 8);
}
#else
/* Two products and their sum, added: by the processor's own instruction, or the same by multiply-adds. */
INLINE vec dot_bf16(uint32_t pair, const bf16 *weights, vec sum)
{
#if defined(__AVX512BF16__)
    __m512i w = _mm512_loadu_si512(weights);
    return (vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32((int)pair), (__m512bh)w);
#else
    vec_u w = *(const vec_u *)weights;
    uint32_t bits[2] = {pair << 16, pair & 0xffff0000u};
    float x[2];
    memcpy(x, bits, sizeof x);
    sum = fma_vec(splat(x[0]), (vec)(w << 16), sum);
    return fma_vec(splat(x[1]), (vec)(w & 0xffff0000u), sum);
#endif
}

#endif

#if defined(__AVX512BW__) || defined(__AVX2__)
#define HAS_MULTIPLY_ADD 1
#endif

/* A sum that the compiler may not reorder: it would add up products first, and these would want registers too. */
INLINE vec_i in_this_order(vec_i sum)
{
#if WIDTH == 8
    __asm__("" : "+x"(sum));
#endif
    return sum;
}

#if HAS_MULTIPLY_ADD
/* Of 16-bit lanes: products, and the sum of each two neighbours. */
INLINE vec_i multiply_add(vec_i a, vec_i b)
{
#if defined(__AVX512BW__)
    return (vec_i)_mm512_madd_epi16((__m512i)a, (__m512i)b);
#else
    return (vec_i)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#endif
}

/* The same of unsigned bytes in `a` and signed ones in `b`, to 16-bit lanes. */
INLINE vec_i multiply_add_bytes(vec_i a, vec_i b)
{
#if defined(__AVX512BW__)
    return (vec_i)_mm512_maddubs_epi16((__m512i)a, (__m512i)b);
#else
    return (vec_i)_mm256_maddubs_epi16((__m256i)a, (__m256i)b);
#endif
}
#endif

#if WIDTH != 8
/* Four products of an unsigned and a signed byte and their sum, added: exact in 32 bits. */
INLINE vec_i dot_int8(uint32_t four, const int8_t *weights, vec_i sum)
{
#if defined(__AVX512VNNI__)
    __m512i w = _mm512_loadu_si512(weights);
    return (vec_i)_mm512_dpbusd_epi32((__m512i)sum, _mm512_set1_epi32((int)four), w);
#else
    vec_i w = *(const vec_i *)weights;
#if HAS_MULTIPLY_ADD
    typedef int16_t vec_s __attribute__((vector_size(4 * WIDTH), aligned(4), may_alias));
    vec_i even = (vec_i)(((vec_s)w << 8) >> 8), odd = (vec_i)((vec_s)w >> 8);
    sum += multiply_add(even, (vec_i){} + (int32_t)(four & 0x00ff00ffu));
    return sum + multiply_add(odd, (vec_i){} + (int32_t)((four >> 8) & 0x00ff00ffu));
#else
    for (int byte = 0; byte < 4; byte++) {
        vec_i weight = (w << (24 - 8 * byte)) >> 24;
        sum += weight * (int32_t)((four >> (8 * byte)) & 0xff);
    }
    return sum;
#endif
#endif
}
#endif

/* The dots of a group of 4-bit weights w, 0 to 15, with signed bytes x: begun, added to, and ended as the sum of
 * (w - 8) x in 32 bits. Where the processor adds bytes to 16-bit lanes only, those hold all of a group: at most
 * 8 * 2 * 15 * 127 = 30480. */
INLINE vec_i begin_int4(const int4_facts_t *facts)
{
#if HAS_MULTIPLY_ADD && !defined(__AVX512VNNI__)
    (void)facts;
    return (vec_i){};
#else
    return (vec_i){} + facts->offset;
#endif
}

INLINE vec_i dot_int4(vec_i weights, uint32_t four, vec_i dots)
{
    vec_i x = (vec_i){} + (int32_t)four;
#if defined(__AVX512VNNI__)
    return (vec_i)_mm512_dpbusd_epi32((__m512i)dots, (__m512i)weights, (__m512i)x);
#elif HAS_MULTIPLY_ADD
    typedef uint16_t vec_us __attribute__((vector_size(4 * WIDTH), may_alias));
    return in_this_order((vec_i)((vec_us)dots + (vec_us)multiply_add_bytes(weights, x)));
#else
    for (int byte = 0; byte < 4; byte++)
        dots += ((weights >> (8 * byte)) & 0xff) * ((x << (24 - 8 * byte)) >> 24);
    return dots;
#endif
}

INLINE vec_i end_int4(vec_i dots, const int4_facts_t *facts)
{
#if HAS_MULTIPLY_ADD && !defined(__AVX512VNNI__)
    return multiply_add(dots, (vec_i){} + 0x00010001) + facts->offset;
#else
    (void)facts;
    return dots;
#endif
}

#endif
