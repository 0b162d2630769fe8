#include "dot.h"
#include "matmul.h"

#include <math.h>

/* Rows computed at once: as many as leave the panel's two vectors and a splat their registers. */
#if defined(__AVX512F__)
enum { MAX_TILE = 12 };
#else
enum { MAX_TILE = 3 };
#endif

typedef union {
    v16 floats[MAX_TILE][2];
    v16i ints[MAX_TILE][2];
} sums_t;

INLINE const char *row_of(const char *values, size_t row_bytes, int i) { return values + (size_t)i * row_bytes; }

INLINE void tile_f32(const int m, const char *rows, size_t row_bytes, const void *panel, int num_in, sums_t *out)
{
    const float *weights = panel;
    v16 sums[MAX_TILE][2] = {};
    for (int k = 0; k < num_in; k++, weights += PANEL) {
        v16 low = load16(weights), high = load16(weights + LANES);
#pragma GCC unroll 12
        for (int i = 0; i < m; i++) {
            const float *from = (const float *)row_of(rows, row_bytes, i) + k;
            v16 x = m > 1 ? broadcast16(from) : splat16(*from); /* a lone row gains nothing by it */
            sums[i][0] = fma16(x, low, sums[i][0]);
            sums[i][1] = fma16(x, high, sums[i][1]);
        }
    }
#pragma GCC unroll 12
    for (int i = 0; i < m; i++) {
        out->floats[i][0] = sums[i][0];
        out->floats[i][1] = sums[i][1];
    }
}

INLINE void tile_bf16(const int m, const char *rows, size_t row_bytes, const void *panel, int num_in, sums_t *out)
{
    const bf16 *weights = panel;
    v16 sums[MAX_TILE][2] = {};
    for (int k = 0; k < num_in / 2; k++, weights += 2 * PANEL) {
#pragma GCC unroll 12
        for (int i = 0; i < m; i++) {
            uint32_t x = ((const uint32_t *)row_of(rows, row_bytes, i))[k];
            sums[i][0] = dot_bf16(x, weights, sums[i][0]);
            sums[i][1] = dot_bf16(x, weights + 2 * LANES, sums[i][1]);
        }
    }
#pragma GCC unroll 12
    for (int i = 0; i < m; i++) {
        out->floats[i][0] = sums[i][0];
        out->floats[i][1] = sums[i][1];
    }
}

INLINE void tile_int8(const int m, const char *rows, size_t row_bytes, const void *panel, int num_in, sums_t *out)
{
    const int8_t *weights = panel;
    v16i sums[MAX_TILE][2] = {};
    for (int k = 0; k < num_in / 4; k++, weights += 4 * PANEL) {
#pragma GCC unroll 12
        for (int i = 0; i < m; i++) {
            uint32_t x = ((const uint32_t *)row_of(rows, row_bytes, i))[k];
            sums[i][0] = dot_int8(x, weights, sums[i][0]);
            sums[i][1] = dot_int8(x, weights + 4 * LANES, sums[i][1]);
        }
    }
#pragma GCC unroll 12
    for (int i = 0; i < m; i++) {
        out->ints[i][0] = sums[i][0];
        out->ints[i][1] = sums[i][1];
    }
}

/* A half of the panel after the other, so that each row's sum and the dots of a group stay in registers. */
INLINE void tile_int4(const int m, const char *rows, size_t row_bytes, const void *panel, int num_in, sums_t *out)
{
    const char *weights = panel;
    const int num_groups = num_in / GROUP;
    for (int half = 0; half < 2; half++) {
        v16 sums[MAX_TILE] = {};
        for (int group = 0; group < num_groups; group++, weights += INT4_BLOCK_BYTES) {
            v16i dots[MAX_TILE];
#pragma GCC unroll 12
            for (int i = 0; i < m; i++)
                dots[i] = begin_int4(int4_facts(row_of(rows, row_bytes, i), num_in) + group);
            for (int pair = 0; pair < GROUP / 8; pair++) {
                v16i both = *(const v16i *)(weights + pair * sizeof(v16i));
                v16i low = both & 0x0f0f0f0f, high = (both >> 4) & 0x0f0f0f0f;
#pragma GCC unroll 12
                for (int i = 0; i < m; i++) {
                    const uint32_t *x = (const uint32_t *)row_of(rows, row_bytes, i) + group * (GROUP / 4) + 2 * pair;
                    dots[i] = dot_int4(low, x[0], dots[i]);
                    dots[i] = dot_int4(high, x[1], dots[i]);
                }
            }
            v16 step = from_bf16((const bf16 *)(weights + GROUP * LANES / 2));
            v16 middle = from_bf16((const bf16 *)(weights + GROUP * LANES / 2) + LANES);
#pragma GCC unroll 12
            for (int i = 0; i < m; i++) {
                const int4_facts_t *facts = int4_facts(row_of(rows, row_bytes, i), num_in) + group;
                sums[i] = fma16(__builtin_convertvector(end_int4(dots[i], facts), v16), step, sums[i]);
                sums[i] = fma16(splat16(facts->sum), middle, sums[i]);
            }
        }
#pragma GCC unroll 12
        for (int i = 0; i < m; i++)
            out->floats[i][half] = sums[i];
    }
}

#define TILE_CASE(name, m)                                                                                            \
    case m:                                                                                                           \
        name(m, rows, row_bytes, panel, num_in, out);                                                                 \
        break;
#if defined(__AVX512F__)
#define TILE_CASES(name)                                                                                              \
    TILE_CASE(name, 1) TILE_CASE(name, 2) TILE_CASE(name, 3) TILE_CASE(name, 4) TILE_CASE(name, 5) TILE_CASE(name, 6) \
    TILE_CASE(name, 7) TILE_CASE(name, 8) TILE_CASE(name, 9) TILE_CASE(name, 10) TILE_CASE(name, 11)                  \
    TILE_CASE(name, 12)
#else
#define TILE_CASES(name) TILE_CASE(name, 1) TILE_CASE(name, 2) TILE_CASE(name, 3)
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

/* 1 / (1 + e^-x) */
INLINE v16 sigmoid(v16 x) { return 1.0f / (1.0f + exp16(-x)); }

INLINE v16 activated(v16 x, activation_t activation)
{
    switch (activation) {
    case ACTIVATION_GELU_NEW: /* x/2 (1 + tanh u) is x sigmoid(2u) */
        return x * sigmoid(1.5957691216057308f * fma16(x * x * x, splat16(0.044715f), x));
    case ACTIVATION_RELU:
        return select16(x < 0.0f, splat16(0.0f), x);
    case ACTIVATION_SILU:
        return x * sigmoid(x);
    case ACTIVATION_TANH:
        return fma16(splat16(2.0f), sigmoid(2.0f * x), splat16(-1.0f));
    default:
        return x;
    }
}

static void finish_tile(const linear_t *linear, const operand_t *operand, const sums_t *sums, int first_row, int m,
                        int panel, float *out, size_t row_floats, epilogue_t epilogue, activation_t activation)
{
    int column = panel * PANEL;
    int width = linear->num_out - column < PANEL ? linear->num_out - column : PANEL;
    for (int half = 0; half < 2 && half * LANES < width; half++) {
        int first = column + half * LANES;
        v16 bias = linear->bias ? load16(linear->bias + first) : splat16(0.0f);
        for (int i = 0; i < m; i++) {
            v16 value = sums->floats[i][half];
            if (linear->kind == KIND_INT8) {
                v16i sum = sums->ints[i][half] - *(const v16i *)(linear->offsets + first);
                v16 scale = load16(linear->scales + first) * operand->scales[first_row + i];
                value = fma16(__builtin_convertvector(sum, v16), scale, bias);
            } else if (linear->kind == KIND_INT4) {
                value = fma16(value, splat16(operand->scales[first_row + i]), bias);
            } else {
                value += bias;
            }
            float *to = out + (size_t)(first_row + i) * row_floats + first;
            int rest = width - half * LANES;
            if (epilogue == ACTIVATE)
                value = activated(value, activation);
            if (rest >= LANES) {
                if (epilogue == ADD)
                    value += load16(to);
                store16(to, value);
            } else {
                float lanes[LANES];
                store16(lanes, value);
                for (int lane = 0; lane < rest; lane++)
                    to[lane] = epilogue == ADD ? to[lane] + lanes[lane] : lanes[lane];
            }
        }
    }
}

static size_t panel_bytes(const linear_t *linear)
{
    static const size_t item[] = {[KIND_F32] = 4, [KIND_BF16] = 2, [KIND_INT8] = 1};
    if (linear->kind == KIND_INT4)
        return (size_t)linear->num_in / GROUP * 2 * INT4_BLOCK_BYTES;
    return (size_t)linear->num_in * PANEL * item[linear->kind];
}

void matmul(const linear_t *linear, const operand_t *operand, int num_rows, float *out, size_t row_floats,
            epilogue_t epilogue, activation_t activation, thread_pool *pool)
{
    int num_panels = (linear->num_out + PANEL - 1) / PANEL;
    int num_tiles = (num_rows + MAX_TILE - 1) / MAX_TILE;
    int share = num_panels / (pool_size(pool) * 8);
    int taken = share < 1 ? 1 : share;
    size_t bytes = panel_bytes(linear);
    for (int first = pool_take(pool, taken); first < num_panels; first = pool_take(pool, taken)) {
        int end = first + taken < num_panels ? first + taken : num_panels;
        for (int panel = first; panel < end; panel++) {
            const char *weights = (const char *)linear->panels + (size_t)panel * bytes;
            for (int tile = 0; tile < num_tiles; tile++) {
                int row = (int)((int64_t)num_rows * tile / num_tiles);
                int m = (int)((int64_t)num_rows * (tile + 1) / num_tiles) - row;
                const char *rows = row_of(operand->values, operand->row_bytes, row);
                sums_t sums;
                if (linear->kind == KIND_F32)
                    tile_f32s(m, rows, operand->row_bytes, weights, linear->num_in, &sums);
                else if (linear->kind == KIND_BF16)
                    tile_bf16s(m, rows, operand->row_bytes, weights, linear->num_in, &sums);
                else if (linear->kind == KIND_INT8)
                    tile_int8s(m, rows, operand->row_bytes, weights, linear->num_in, &sums);
                else
                    tile_int4s(m, rows, operand->row_bytes, weights, linear->num_in, &sums);
                finish_tile(linear, operand, &sums, row, m, panel, out, row_floats, epilogue, activation);
            }
        }
    }
}

void linear_row(const linear_t *linear, int index, float *out)
{
    const char *panel = (const char *)linear->panels + (size_t)(index / PANEL) * panel_bytes(linear);
    int lane = index % PANEL;
    for (int k = 0; k < linear->num_in; k++) {
        if (linear->kind == KIND_F32) {
            out[k] = ((const float *)panel)[k * PANEL + lane];
        } else if (linear->kind == KIND_BF16) {
            uint32_t bits = (uint32_t)((const bf16 *)panel)[(k / 2 * PANEL + lane) * 2 + k % 2] << 16;
            memcpy(out + k, &bits, sizeof bits);
        } else {
            out[k] = (float)((const int8_t *)panel)[(k / 4 * PANEL + lane) * 4 + k % 4] * linear->scales[index];
        }
    }
}
