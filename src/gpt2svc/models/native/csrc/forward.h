/* The forward pass of GPT-1 and GPT-2 over a slot KV cache: what Python calls. */
#ifndef GPT2SVC_FORWARD_H
#define GPT2SVC_FORWARD_H

#include "attention.h"

typedef struct {
    const float *weight, *bias; /* (n_embd) each; NULL for a norm that the model has not */
} norm_t;

typedef struct {
    linear_t qkv, attention_out, expand, contract;
    norm_t norm_1, norm_2;
} layer_t;

typedef struct {
    linear_t embedding, lm_head;
    const float *positions; /* (n_positions, n_embd) */
    const layer_t *layers;
    norm_t norm;
    float epsilon;
    int32_t num_layers, num_heads, head_dim, num_inner, num_positions;
    int32_t kind; /* of the layers; 4-bit ones go with an embedding and a head in 8 */
    int32_t activation;
    int32_t is_post_norm; /* GPT-1: each norm after its residual sum, and none at the end */
} model_t;

typedef struct {
    int32_t num_rows, num_queries, num_logits, num_hidden;
    const int32_t *token_ids, *slots, *places; /* (num_rows): `places` are positions in the sequence */
    const queries_t *queries;
    const int32_t *logit_rows, *hidden_rows;
    float *logits; /* (num_logits, vocab_size) */
    float *hidden; /* (num_hidden, n_embd) */
} batch_t;

/* Why a step was not taken. `index` says which of the step's numbers it was, `value` what it was and `limit` what it may
 * be at most (FAULT_CACHE: what it has to be; FAULT_QUERIES: the row that had to come next). */
typedef enum {
    FAULT_NONE,
    FAULT_MEMORY,
    FAULT_CACHE, /* made for another model; index: layers, heads, dimensions of a head, positions */
    FAULT_COUNT, /* index: rows, queries, rows of logits, rows of hidden states */
    FAULT_TOKEN_ID,
    FAULT_SLOT,
    FAULT_POSITION,
    FAULT_LOGIT_ROW,
    FAULT_HIDDEN_ROW,
    FAULT_QUERY_ROWS, /* of one entry of `queries` */
    FAULT_QUERIES
} fault_kind_t;

typedef struct {
    int32_t kind, index;
    int64_t value, limit;
} fault_t;

typedef struct runtime runtime_t; /* threads and buffers */

#define EXPORT __attribute__((visibility("default")))

/* Another number with each change to what Python passes: structures.py has the same one. */
enum { INTERFACE = 5 };
EXPORT int gpt2_interface(void);

EXPORT runtime_t *gpt2_runtime_new(int num_threads);
EXPORT void gpt2_runtime_free(runtime_t *runtime);

/* Computes the rows, writes their keys and values, fills `logits` and `hidden`. 0, or the kind of a fault that `fault`
 * tells of: then nothing was written. */
EXPORT int gpt2_forward(runtime_t *runtime, const model_t *model, const cache_t *cache, const batch_t *batch,
                        fault_t *fault);

/* What is fast here. Bit 0: int8, by an instruction that sums products of bytes, or where torch has none either (AVX2);
 * bit 1: sums of bfloat16's products have an instruction of their own. */
EXPORT int gpt2_features(void);

#endif
