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
    int32_t kind, activation;
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

typedef struct runtime runtime_t; /* threads and buffers */

#define EXPORT __attribute__((visibility("default")))

EXPORT runtime_t *gpt2_runtime_new(int num_threads);
EXPORT void gpt2_runtime_free(runtime_t *runtime);

/* Computes the rows, writes their keys and values, fills `logits` and `hidden`. 0, or -1 where memory is missing. */
EXPORT int gpt2_forward(runtime_t *runtime, const model_t *model, const cache_t *cache, const batch_t *batch);

/* 1 when sums of int8 products have an instruction of their own here, and bfloat16's have: bits 0 and 1. */
EXPORT int gpt2_features(void);

#endif
