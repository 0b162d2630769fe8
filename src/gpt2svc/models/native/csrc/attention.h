/* Causal attention over the slots of the KV cache. */
#ifndef GPT2SVC_ATTENTION_H
#define GPT2SVC_ATTENTION_H

#include "matmul.h"

enum { MAX_QUERIES = 4 };

/* Per layer and slot and head: keys in blocks of LANES positions, (head_dim, LANES) each, so that one vector has the
 * same dimension of LANES keys; values by position, (head_dim). Both float32 or both bfloat16. */
typedef struct {
    void *keys, *values;
    int64_t num_slots;
    int32_t kind;       /* KIND_F32 or KIND_BF16 */
    int32_t num_blocks; /* of LANES positions, a slot */
    int32_t num_layers, num_heads, head_dim;
} cache_t;

/* Up to MAX_QUERIES neighbouring positions of one sequence. */
typedef struct {
    int32_t slot, start; /* position of the first */
    int32_t first_row, num_rows;
} queries_t;

typedef struct {
    int32_t layer, num_heads, head_dim;
} attention_t;

/* Keys and values of one row, after the queries in `qkv` (3 * num_heads * head_dim), to their place. */
void cache_write(const cache_t *cache, const attention_t *shape, int slot, int position, const float *qkv);

/* What the queries of one head see, to out (row_floats apart). `scratch` has room for MAX_QUERIES * num_blocks * LANES
 * floats. */
void attend(const cache_t *cache, const attention_t *shape, const queries_t *queries, int head, const float *qkv,
            size_t qkv_floats, float *out, size_t row_floats, float *scratch);

#endif
