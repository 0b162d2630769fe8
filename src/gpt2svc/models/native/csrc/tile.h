/* A few rows times one panel of weights, with every sum in a register. */
#ifndef GPT2SVC_TILE_H
#define GPT2SVC_TILE_H

#include "dot.h"

/* Rows computed at once: as many as leave the panel's vectors and a splat their registers. */
#if WIDTH == 8
enum { MAX_TILE = 6 };
#elif defined(__AVX512F__)
enum { MAX_TILE = 12 };
#else
enum { MAX_TILE = 3 };
#endif

enum { VECTORS = PANEL / WIDTH };

typedef union {
    vec floats[MAX_TILE][VECTORS];
    vec_i ints[MAX_TILE][VECTORS];
} sums_t;

INLINE const char *row_of(const char *values, size_t row_bytes, int i) { return values + (size_t)i * row_bytes; }

/* Vectors of the panel computed at once: all, or of short ones a half and then the other, for more rows than `most`. */
INLINE int vectors_at_once(const int m, const int most) { return m > most && VECTORS > 2 ? VECTORS / 2 : VECTORS; }

/* From the registers to where the vectors of this part stand in the panel. */
#define KEEP_SUMS(place)                                                                                              \
    _Pragma("GCC unroll 12") for (int i = 0; i < m; i++)                                                              \
        _Pragma("GCC unroll 4") for (int v = 0; v < nv; v++) place[i][first + v] = sums[i][v]

INLINE void tile_f32(const int m, const char *rows, size_t row_bytes, const void *panel, int num_in, sums_t *out)
{
    const int nv = vectors_at_once(m, 3);
    for (int first = 0; first < VECTORS; first += nv) {
        const float *weights = (const float *)panel + first * WIDTH;
        vec sums[MAX_TILE][VECTORS] = {};
        for (int k = 0; k < num_in; k++, weights += PANEL) {
            vec w[VECTORS];
#pragma GCC unroll 4
            for (int v = 0; v < nv; v++)
                w[v] = load_vec(weights + v * WIDTH);
#pragma GCC unroll 12
            for (int i = 0; i < m; i++) {
                const float *from = (const float *)row_of(rows, row_bytes, i) + k;
                /* Where vectors are long, a lone row gains nothing by one load. */
                vec x = m > 1 || WIDTH < LANES ? broadcast(from) : splat(*from);
#pragma GCC unroll 4
                for (int v = 0; v < nv; v++)
                    sums[i][v] = fma_vec(x, w[v], sums[i][v]);
            }
        }
        KEEP_SUMS(out->floats);
    }
}

INLINE void tile_bf16(const int m, const char *rows, size_t row_bytes, const void *panel, int num_in, sums_t *out)
{
    const int nv = vectors_at_once(m, 3);
    for (int first = 0; first < VECTORS; first += nv) {
        const bf16 *weights = (const bf16 *)panel + 2 * first * WIDTH;
        vec sums[MAX_TILE][VECTORS] = {};
        for (int k = 0; k < num_in / 2; k++, weights += 2 * PANEL) {
#if WIDTH == 8
#pragma GCC unroll 2
            for (int odd = 0; odd < 2; odd++) {
                vec w[VECTORS];
#pragma GCC unroll 4
                for (int v = 0; v < nv; v++)
                    w[v] = one_of_pairs(weights + 2 * v * WIDTH, odd);
#pragma GCC unroll 12
                for (int i = 0; i < m; i++) {
                    vec x = broadcast((const float *)row_of(rows, row_bytes, i) + 2 * k + odd);
#pragma GCC unroll 4
                    for (int v = 0; v < nv; v++)
                        sums[i][v] = fma_vec(x, w[v], sums[i][v]);
                }
            }
#else
#pragma GCC unroll 12
            for (int i = 0; i < m; i++) {
                uint32_t x = ((const uint32_t *)row_of(rows, row_bytes, i))[k];
#pragma GCC unroll 4
                for (int v = 0; v < nv; v++)
                    sums[i][v] = dot_bf16(x, weights + 2 * v * WIDTH, sums[i][v]);
            }
#endif
        }
        KEEP_SUMS(out->floats);
    }
}

INLINE void tile_int8(const int m, const char *rows, size_t row_bytes, const void *panel, int num_in, sums_t *out)
{
    const int nv = vectors_at_once(m, 2);
    for (int first = 0; first < VECTORS; first += nv) {
        const int8_t *weights = (const int8_t *)panel + 4 * first * WIDTH;
        vec_i sums[MAX_TILE][VECTORS] = {};
        for (int k = 0; k < num_in / 4; k++, weights += 4 * PANEL) {
#if WIDTH == 8
#pragma GCC unroll 2
            for (int odd = 0; odd < 2; odd++) {
                vec_i w[VECTORS];
#pragma GCC unroll 4
                for (int v = 0; v < nv; v++)
                    w[v] = two_of_fours(weights + 4 * v * WIDTH, odd);
#pragma GCC unroll 12
                for (int i = 0; i < m; i++) {
                    vec_i x = (vec_i){} + ((const int32_t *)row_of(rows, row_bytes, i))[2 * k + odd];
#pragma GCC unroll 4
                    for (int v = 0; v < nv; v++)
                        sums[i][v] = in_this_order(sums[i][v] + multiply_add(w[v], x));
                }
            }
#else
#pragma GCC unroll 12
            for (int i = 0; i < m; i++) {
                uint32_t x = ((const uint32_t *)row_of(rows, row_bytes, i))[k];
#pragma GCC unroll 4
                for (int v = 0; v < nv; v++)
                    sums[i][v] = dot_int8(x, weights + 4 * v * WIDTH, sums[i][v]);
            }
#endif
        }
        KEEP_SUMS(out->ints);
    }
}

/* A half of the panel after the other, or less, so that each row's sum and the dots of a group stay in registers. */
INLINE void tile_int4(const int m, const char *rows, size_t row_bytes, const void *panel, int num_in, sums_t *out)
{
    const int num_groups = num_in / GROUP, nv = m > 3 ? 1 : PARTS;
    for (int first = 0; first < VECTORS; first += nv) {
        const int part = first % PARTS;
        const char *weights = (const char *)panel + (size_t)(first / PARTS) * (size_t)num_groups * INT4_BLOCK_BYTES;
        vec sums[MAX_TILE][PARTS] = {};
        for (int group = 0; group < num_groups; group++, weights += INT4_BLOCK_BYTES) {
            vec_i dots[MAX_TILE][PARTS];
#pragma GCC unroll 12
            for (int i = 0; i < m; i++)
#pragma GCC unroll 4
                for (int v = 0; v < nv; v++)
                    dots[i][v] = begin_int4(int4_facts(row_of(rows, row_bytes, i), num_in) + group);
            for (int pair = 0; pair < GROUP / 8; pair++) {
#pragma GCC unroll 4
                for (int v = 0; v < nv; v++) {
                    vec_i both = ((const vec_i *)weights)[pair * PARTS + part + v];
                    vec_i low = both & 0x0f0f0f0f, high = (both >> 4) & 0x0f0f0f0f;
#pragma GCC unroll 12
                    for (int i = 0; i < m; i++) {
                        const uint32_t *row = (const uint32_t *)row_of(rows, row_bytes, i);
                        const uint32_t *x = row + group * (GROUP / 4) + 2 * pair;
                        dots[i][v] = dot_int4(low, x[0], dots[i][v]);
                        dots[i][v] = dot_int4(high, x[1], dots[i][v]);
                    }
                }
            }
#pragma GCC unroll 4
            for (int v = 0; v < nv; v++) {
                const bf16 *steps = (const bf16 *)(weights + GROUP * LANES / 2) + (part + v) * WIDTH;
                vec step = from_bf16(steps), middle = from_bf16(steps + LANES);
#pragma GCC unroll 12
                for (int i = 0; i < m; i++) {
                    const int4_facts_t *facts = int4_facts(row_of(rows, row_bytes, i), num_in) + group;
                    vec dot = __builtin_convertvector(end_int4(dots[i][v], facts), vec);
                    sums[i][v] = fma_vec(dot, step, sums[i][v]);
                    sums[i][v] = fma_vec(splat(facts->sum), middle, sums[i][v]);
                }
            }
        }
        KEEP_SUMS(out->floats);
    }
}

#define TILE_CASE(name, m)                                                                                            \
    case m:                                                                                                           \
        name(m, rows, row_bytes, panel, num_in, out);                                                                 \
        break;
#define TILE_CASES_3(name) TILE_CASE(name, 1) TILE_CASE(name, 2) TILE_CASE(name, 3)
#define TILE_CASES_6(name) TILE_CASES_3(name) TILE_CASE(name, 4) TILE_CASE(name, 5) TILE_CASE(name, 6)
#define TILE_CASES_12(name)                                                                                           \
    TILE_CASES_6(name) TILE_CASE(name, 7) TILE_CASE(name, 8) TILE_CASE(name, 9) TILE_CASE(name, 10)                   \
    TILE_CASE(name, 11) TILE_CASE(name, 12)
#if WIDTH == 8
#define TILE_CASES TILE_CASES_6
#elif defined(__AVX512F__)
#define TILE_CASES TILE_CASES_12
#else
#define TILE_CASES TILE_CASES_3
#endif
#define TILE_FUNCTION(name)                                                                                           \
    static void name##s(int m, const char *rows, size_t row_bytes, const void *panel, int num_in, sums_t *out)        \
    {                                                                                                                 \
        switch (m) { TILE_CASES(name) }                                                                               \
    }
TILE_FUNCTION(tile_f32)
TILE_FUNCTION(tile_bf16)
TILE_FUNCTION(tile_int8)
TILE_FUNCTION(tile_int4)

#endif
