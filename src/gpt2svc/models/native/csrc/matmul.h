/* Rows times packed weights. */
#ifndef GPT2SVC_MATMUL_H
#define GPT2SVC_MATMUL_H

#include "simd.h"
#include "thread_pool.h"

enum { PANEL = 32 };

typedef enum { KIND_F32 = 0, KIND_BF16 = 1, KIND_INT8 = 2 } kind_t;
typedef enum { ACTIVATION_NONE, ACTIVATION_GELU_NEW, ACTIVATION_RELU, ACTIVATION_SILU, ACTIVATION_TANH } activation_t;

/* A layer's weights (num_out, num_in) in panels of PANEL outputs. Within a panel, inputs come one after another, each
 * with its PANEL outputs: alone (float32), in pairs (bfloat16) or in fours (int8), so that a panel reads as
 * (num_in / G, PANEL, G). Outputs beyond num_out are zeros. */
typedef struct {
    const void *panels;
    const float *bias;      /* (num_out rounded up to PANEL) or NULL */
    const float *scales;    /* int8: what a weight of 1 stands for, by output */
    const int32_t *offsets; /* int8: 128 * the sum of the output's weights */
    int32_t num_in, num_out;
    int32_t kind;
} linear_t;

/* Rows as the weights of a kind want them: floats, bfloat16, or bytes of 128 + x / scale, one scale a row. */
typedef struct {
    void *values;
    float *scales;
    size_t row_bytes;
} operand_t;

typedef enum { STORE, ADD, ACTIVATE } epilogue_t;

size_t operand_row_bytes(int kind, int width);

/* One row of floats, a multiple of LANES wide, to row `row` of the operand. */
void operand_set_row(const operand_t *operand, int kind, int row, const float *values, int width);

/* out (num_rows, row_floats apart) = , += or = activation of  operand @ weights.T + bias, for the panels that this
 * thread takes. Columns beyond num_out are left alone. */
void matmul(const linear_t *linear, const operand_t *operand, int num_rows, float *out, size_t row_floats,
            epilogue_t epilogue, activation_t activation, thread_pool *pool);

/* Row `index` of the weights as floats: a token's embedding from the table that is the language model's head too. */
void linear_row(const linear_t *linear, int index, float *out);

#endif
