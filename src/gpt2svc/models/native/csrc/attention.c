#include "attention.h"

#include <math.h>

enum { NUM_BLOCKS_AT_ONCE = 4, NUM_VECTORS_AT_ONCE = 4 };

static size_t head_start(const cache_t *cache, const attention_t *shape, int slot, int head)
{
    size_t floats = (size_t)cache->num_blocks * LANES * (size_t)shape->head_dim;
    return (((size_t)shape->layer * (size_t)cache->num_slots + (size_t)slot) * (size_t)shape->num_heads + (size_t)head) *
           floats;
}

static bf16 one_bf16(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (value != value)
        return 0x7fc0;
    return (bf16)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

void cache_write(const cache_t *cache, const attention_t *shape, int slot, int position, const float *qkv)
{
    int dim = shape->head_dim, width = shape->num_heads * dim;
    for (int head = 0; head < shape->num_heads; head++) {
        const float *key = qkv + width + head * dim, *value = key + width;
        size_t start = head_start(cache, shape, slot, head);
        size_t column = start + (size_t)(position / LANES) * (size_t)dim * LANES + (size_t)(position % LANES);
        size_t row = start + (size_t)position * (size_t)dim;
        if (cache->kind == KIND_BF16) {
            bf16 *keys = (bf16 *)cache->keys + column, *values = (bf16 *)cache->values + row;
            for (int d = 0; d < dim; d++)
                keys[d * LANES] = one_bf16(key[d]);
            for (int d = 0; d < dim; d += LANES)
                to_bf16(values + d, load16(value + d));
        } else {
            float *keys = (float *)cache->keys + column;
            for (int d = 0; d < dim; d++)
                keys[d * LANES] = key[d];
            memcpy((float *)cache->values + row, value, (size_t)dim * sizeof(float));
        }
    }
}

INLINE v16 load_cached(const void *base, size_t at, const int kind)
{
    return kind == KIND_BF16 ? from_bf16((const bf16 *)base + at) : load16((const float *)base + at);
}

/* Scores of r queries against nb blocks of keys: each the sum over the dimensions in their order. */
INLINE void score(const int r, const int nb, const int kind, const float *query, size_t query_floats, const void *keys,
                  size_t at, int dim, float *out, size_t out_floats)
{
    v16 sums[MAX_QUERIES][NUM_BLOCKS_AT_ONCE] = {};
    for (int d = 0; d < dim; d++) {
#pragma GCC unroll 4
        for (int b = 0; b < nb; b++) {
            v16 key = load_cached(keys, at + ((size_t)b * (size_t)dim + (size_t)d) * LANES, kind);
#pragma GCC unroll 4
            for (int i = 0; i < r; i++)
                sums[i][b] = fma16(splat16(query[(size_t)i * query_floats + (size_t)d]), key, sums[i][b]);
        }
    }
#pragma GCC unroll 4
    for (int i = 0; i < r; i++)
#pragma GCC unroll 4
        for (int b = 0; b < nb; b++)
            store16(out + (size_t)i * out_floats + b * LANES, sums[i][b]);
}

/* Scores of the keys before `length` to their weights, not yet divided by the sum, which is returned. */
static float soften(float *scores, int length)
{
    int num_blocks = (length + LANES - 1) / LANES;
    v16i lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    float *last = scores + (num_blocks - 1) * LANES;
    store16(last, select16(lane < length - (num_blocks - 1) * LANES, load16(last), splat16(-INFINITY)));
    v16 largest = load16(scores);
    for (int b = 1; b < num_blocks; b++)
        largest = max16(load16(scores + b * LANES), largest);
    v16 bound = splat16(largest16(largest)), sum = splat16(0.0f);
    for (int b = 0; b < num_blocks; b++) {
        v16 weight = exp16(load16(scores + b * LANES) - bound);
        store16(scores + b * LANES, weight);
        sum += weight;
    }
    return sum16(sum);
}

/* Adds the weighted values of the positions from `first` to before `end` to r rows of nv vectors. */
INLINE void weigh(const int r, const int nv, const int kind, const float *weights, size_t weight_floats,
                  const void *values, size_t at, int dim, int first, int end, v16 sums[][NUM_VECTORS_AT_ONCE])
{
    v16 own[MAX_QUERIES][NUM_VECTORS_AT_ONCE];
#pragma GCC unroll 4
    for (int i = 0; i < r; i++)
#pragma GCC unroll 4
        for (int v = 0; v < nv; v++)
            own[i][v] = sums[i][v];
    for (int k = first; k < end; k++) {
#pragma GCC unroll 4
        for (int v = 0; v < nv; v++) {
            v16 value = load_cached(values, at + (size_t)k * (size_t)dim + (size_t)v * LANES, kind);
#pragma GCC unroll 4
            for (int i = 0; i < r; i++)
                own[i][v] = fma16(splat16(weights[(size_t)i * weight_floats + (size_t)k]), value, own[i][v]);
        }
    }
#pragma GCC unroll 4
    for (int i = 0; i < r; i++)
#pragma GCC unroll 4
        for (int v = 0; v < nv; v++)
            sums[i][v] = own[i][v];
}

INLINE void attend_rows(const int r, const int kind, const cache_t *cache, const attention_t *shape,
                        const queries_t *queries, int head, const float *query, size_t qkv_floats, float *out,
                        size_t row_floats, float *scores)
{
    const int dim = shape->head_dim, shortest = queries->start + 1;
    size_t width = (size_t)cache->num_blocks * LANES;
    size_t base = head_start(cache, shape, queries->slot, head);
    int num_blocks = (shortest + r - 1 + LANES - 1) / LANES, b = 0;
    if (r == 1)
        for (; b + NUM_BLOCKS_AT_ONCE <= num_blocks; b += NUM_BLOCKS_AT_ONCE)
            score(r, NUM_BLOCKS_AT_ONCE, kind, query, qkv_floats, cache->keys, base + (size_t)b * (size_t)dim * LANES, dim,
                  scores + b * LANES, width);
    for (; b < num_blocks; b++)
        score(r, 1, kind, query, qkv_floats, cache->keys, base + (size_t)b * (size_t)dim * LANES, dim, scores + b * LANES,
              width);
    float inverse[MAX_QUERIES];
    for (int i = 0; i < r; i++)
        inverse[i] = 1.0f / soften(scores + (size_t)i * width, shortest + i);
    for (int d = 0; d < dim; d += NUM_VECTORS_AT_ONCE * LANES) {
        int nv = (dim - d) / LANES < NUM_VECTORS_AT_ONCE ? (dim - d) / LANES : NUM_VECTORS_AT_ONCE;
        v16 sums[MAX_QUERIES][NUM_VECTORS_AT_ONCE] = {};
        size_t at = base + (size_t)d;
#define WEIGH(rows, vectors, weights, first, end, to)                                                                 \
    weigh(rows, vectors, kind, weights, width, cache->values, at, dim, first, end, to)
        switch (nv) {
        case 1:
            WEIGH(r, 1, scores, 0, shortest, sums);
            break;
        case 2:
            WEIGH(r, 2, scores, 0, shortest, sums);
            break;
        case 3:
            WEIGH(r, 3, scores, 0, shortest, sums);
            break;
        default:
            WEIGH(r, 4, scores, 0, shortest, sums);
        }
        for (int i = 0; i < r; i++) {
            for (int v = 0; v < nv; v++) {
                if (i) /* the keys that the first query does not see yet */
                    weigh(1, 1, kind, scores + (size_t)i * width, width, cache->values, at + (size_t)v * LANES, dim,
                          shortest, shortest + i, (v16(*)[NUM_VECTORS_AT_ONCE])&sums[i][v]);
                store16(out + (size_t)i * row_floats + d + v * LANES, sums[i][v] * inverse[i]);
            }
        }
    }
}

void attend(const cache_t *cache, const attention_t *shape, const queries_t *queries, int head, const float *qkv,
            size_t qkv_floats, float *out, size_t row_floats, float *scratch)
{
    const float *query = qkv + (size_t)queries->first_row * qkv_floats + head * shape->head_dim;
    out += (size_t)queries->first_row * row_floats + head * shape->head_dim;
#define ATTEND(rows, kind)                                                                                            \
    attend_rows(rows, kind, cache, shape, queries, head, query, qkv_floats, out, row_floats, scratch)
#define ATTEND_CASE(rows)                                                                                             \
    case rows:                                                                                                        \
        if (cache->kind == KIND_BF16)                                                                                 \
            ATTEND(rows, KIND_BF16);                                                                                  \
        else                                                                                                          \
            ATTEND(rows, KIND_F32);                                                                                   \
        break;
    switch (queries->num_rows) {
        ATTEND_CASE(1)
        ATTEND_CASE(2)
        ATTEND_CASE(3)
        ATTEND_CASE(4)
    }
}
