#include "attention.h"

#include <math.h>

enum { MAX_BLOCKS_AT_ONCE = 4 };

/* Of LANES numbers, for r queries: as many as have registers for their sums. */
INLINE int blocks_at_once(const int r)
{
    return WIDTH == LANES ? MAX_BLOCKS_AT_ONCE : MAX_BLOCKS_AT_ONCE / r;
}

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
            for (int d = 0; d < dim; d += WIDTH)
                to_bf16(values + d, load_vec(value + d));
        } else {
            float *keys = (float *)cache->keys + column;
            for (int d = 0; d < dim; d++)
                keys[d * LANES] = key[d];
            memcpy((float *)cache->values + row, value, (size_t)dim * sizeof(float));
        }
    }
}

/* A number to all lanes; where vectors are short in one load, since there the additions show. */
INLINE vec spread(const float *from) { return WIDTH == LANES ? splat(*from) : broadcast(from); }

INLINE vec load_cached(const void *base, size_t at, const int kind)
{
    return kind == KIND_BF16 ? from_bf16((const bf16 *)base + at) : load_vec((const float *)base + at);
}

/* Scores of r queries against nb blocks of keys: each the sum over the dimensions in their order. */
INLINE void score(const int r, const int nb, const int kind, const float *query, size_t query_floats, const void *keys,
                  size_t at, int dim, float *out, size_t out_floats)
{
    vec sums[MAX_QUERIES][MAX_BLOCKS_AT_ONCE * PARTS] = {};
    for (int d = 0; d < dim; d++) {
#pragma GCC unroll 8
        for (int v = 0; v < nb * PARTS; v++) {
            size_t block = (size_t)(v / PARTS) * (size_t)dim + (size_t)d;
            vec key = load_cached(keys, at + block * LANES + (size_t)(v % PARTS) * WIDTH, kind);
#pragma GCC unroll 4
            for (int i = 0; i < r; i++)
                sums[i][v] = fma_vec(spread(query + (size_t)i * query_floats + (size_t)d), key, sums[i][v]);
        }
    }
#pragma GCC unroll 4
    for (int i = 0; i < r; i++)
#pragma GCC unroll 8
        for (int v = 0; v < nb * PARTS; v++)
            store_vec(out + (size_t)i * out_floats + v * WIDTH, sums[i][v]);
}

/* Scores of the keys before `length` to their weights, not yet divided by the sum, which is returned. */
static float soften(float *scores, int length)
{
    int num_blocks = (length + LANES - 1) / LANES;
    static const int32_t lanes[LANES] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    vec largest[PARTS], sums[PARTS] = {};
    for (int p = 0; p < PARTS; p++) {
        float *last = scores + (num_blocks - 1) * LANES + p * WIDTH;
        vec_i lane = *(const vec_i *)(lanes + p * WIDTH);
        store_vec(last, select_vec(lane < length - (num_blocks - 1) * LANES, load_vec(last), splat(-INFINITY)));
        largest[p] = load_vec(scores + p * WIDTH);
    }
    for (int b = 1; b < num_blocks; b++)
        for (int p = 0; p < PARTS; p++)
            largest[p] = max_vec(load_vec(scores + b * LANES + p * WIDTH), largest[p]);
    vec bound = splat(largest_lane(largest));
    for (int b = 0; b < num_blocks; b++) {
        for (int p = 0; p < PARTS; p++) {
            vec weight = exp_vec(load_vec(scores + b * LANES + p * WIDTH) - bound);
            store_vec(scores + b * LANES + p * WIDTH, weight);
            sums[p] += weight;
        }
    }
    return sum_lanes(sums);
}

/* Adds the weighted values of the positions from `first` to before `end` to r rows of nb * LANES dimensions. */
INLINE void weigh(const int r, const int nb, const int kind, const float *weights, size_t weight_floats,
                  const void *values, size_t at, int dim, int first, int end, vec sums[][MAX_BLOCKS_AT_ONCE * PARTS])
{
    const int nv = nb * PARTS;
    vec own[MAX_QUERIES][MAX_BLOCKS_AT_ONCE * PARTS];
#pragma GCC unroll 4
    for (int i = 0; i < r; i++)
#pragma GCC unroll 4
        for (int v = 0; v < nv; v++)
            own[i][v] = sums[i][v];
    for (int k = first; k < end; k++) {
#pragma GCC unroll 4
        for (int v = 0; v < nv; v++) {
            vec value = load_cached(values, at + (size_t)k * (size_t)dim + (size_t)v * WIDTH, kind);
#pragma GCC unroll 4
            for (int i = 0; i < r; i++)
                own[i][v] = fma_vec(spread(weights + (size_t)i * weight_floats + (size_t)k), value, own[i][v]);
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
        for (; b + MAX_BLOCKS_AT_ONCE <= num_blocks; b += MAX_BLOCKS_AT_ONCE)
            score(r, MAX_BLOCKS_AT_ONCE, kind, query, qkv_floats, cache->keys, base + (size_t)b * (size_t)dim * LANES,
                  dim, scores + b * LANES, width);
    for (; b < num_blocks; b++)
        score(r, 1, kind, query, qkv_floats, cache->keys, base + (size_t)b * (size_t)dim * LANES, dim,
              scores + b * LANES, width);
    float inverse[MAX_QUERIES];
    for (int i = 0; i < r; i++)
        inverse[i] = 1.0f / soften(scores + (size_t)i * width, shortest + i);
    for (int d = 0; d < dim; d += blocks_at_once(r) * LANES) {
        int nb = (dim - d) / LANES < blocks_at_once(r) ? (dim - d) / LANES : blocks_at_once(r);
        vec sums[MAX_QUERIES][MAX_BLOCKS_AT_ONCE * PARTS] = {};
        size_t at = base + (size_t)d;
#define WEIGH(rows, blocks, weights, first, end, to)                                                                  \
    weigh(rows, blocks, kind, weights, width, cache->values, at, dim, first, end, to)
        switch (nb) {
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
            for (int v = 0; v < nb * PARTS; v++) {
                if (i && v % PARTS == 0) /* the keys that the first query does not see yet */
                    weigh(1, 1, kind, scores + (size_t)i * width, width, cache->values, at + (size_t)v * WIDTH, dim,
                          shortest, shortest + i, (vec(*)[MAX_BLOCKS_AT_ONCE * PARTS])&sums[i][v]);
                store_vec(out + (size_t)i * row_floats + d + v * WIDTH, sums[i][v] * inverse[i]);
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
