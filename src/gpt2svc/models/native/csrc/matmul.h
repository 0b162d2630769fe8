/* Rows times packed weights. */
#ifndef GPT2SVC_MATMUL_H
#define GPT2SVC_MATMUL_H

#include "simd.h"
#include "thread_pool.h"

enum { PANEL = 32, GROUP = 32, INT4_BLOCK_BYTES = LANES * (GROUP / 2 + 2 * 2) };

typedef enum { KIND_F32 = 0, KIND_BF16 = 1, KIND_INT8 = 2, KIND_INT4 = 3 } kind_t;
typedef enum { ACTIVATION_NONE, ACTIVATION_GELU_NEW, ACTIVATION_RELU, ACTIVATION_SILU, ACTIVATION_TANH } activation_t;

/* A layer's weights (num_out, num_in) in panels of PANEL outputs. Within a panel, inputs come one after another, each
 * with its PANEL outputs: alone (float32), in pairs (bfloat16) or in fours (int8), so that a panel reads as
 * (num_in / G, PANEL, G). Outputs beyond num_out are zeros.
 *
 * With 4 bits a panel is two halves of LANES outputs, each (num_in / GROUP) blocks: for every eight inputs a vector of
 * four bytes an output, the first four inputs in their low halves and the others in their high ones, 0 to 15; then by
 * output, in bfloat16, the group's steps and its middles. A weight is (w - 8) * step + middle. num_in is that of the
 * layer rounded up to whole groups. */
typedef struct {
    const void *panels;
    const float *bias;      /* (num_out rounded up to PANEL) or NULL */
    const float *scales;    /* int8: what a weight of 1 stands for, by output */
    const int32_t *offsets; /* int8: 128 * the sum of the output's weights */
    int32_t num_in, num_out;
    int32_t kind;
} linear_t;

/* Of one group of a row that 4-bit weights are multiplied with. */
typedef struct {
    float sum;      /* of its bytes */
    int32_t offset; /* -8 times that */
} int4_facts_t;

/* Rows as the weights of a kind want them: floats, bfloat16, or bytes with one scale a row: 128 + x / scale for 8-bit
 * weights, x / scale and after all of them the facts of each group for 4-bit ones. With short vectors, for which no
 * instruction sums products of bfloat16 or of bytes, the multiplications find what they take: floats with bfloat16's
 * numbers, and bytes as 16-bit integers, of each four the even ones and then the odd ones. */
typedef struct {
    void *values;
    float *scales;
    size_t row_bytes;
} operand_t;

typedef enum { STORE, ADD, ACTIVATE } epilogue_t;

#if WIDTH == 8
enum { BF16_ROW_BYTES = 4, INT8_ROW_BYTES = 2 }; /* a number */
#else
enum { BF16_ROW_BYTES = 2, INT8_ROW_BYTES = 1 };
#endif

size_t operand_row_bytes(int kind, int width);

INLINE int4_facts_t *int4_facts(const char *row, int num_in) { return (int4_facts_t *)(row + num_in); }

/* One row of floats, a multiple of LANES wide, to row `row` of the operand. */
void operand_set_row(const operand_t *operand, int kind, int row, const float *values, int width);

/* out (num_rows, row_floats apart) = , += or = activation of  operand @ weights.T + bias, for the panels that this
 * thread takes. Columns beyond num_out are left alone. */
void matmul(const linear_t *linear, const operand_t *operand, int num_rows, float *out, size_t row_floats,
            epilogue_t epilogue, activation_t activation, thread_pool *pool);

/* Row `index` of the weights as floats: a token's embedding from the table that is the language model's head too. */
void linear_row(const linear_t *linear, int index, float *out);

#endif
