#include <math.h>

#include "matmul.h"

/* Rows lie a cache line further apart than they are wide: at a power of two apart, the rows of a tile would all fall
 * into the same few places of the first-level cache. */
enum { GAP_BYTES = 64 };

size_t operand_row_bytes(int kind, int width)
{
    static const size_t item[] = {[KIND_F32] = 4, [KIND_BF16] = 2, [KIND_INT8] = 1};
    return ((size_t)width * item[kind] + 63) / 64 * 64 + GAP_BYTES;
}

static void set_int8_row(uint8_t *to, float *scale, const float *values, int width)
{
    v16 largest = splat16(0.0f), sum = splat16(0.0f);
    for (int k = 0; k < width; k += LANES) {
        v16 x = load16(values + k);
        largest = max16(select16(x < 0.0f, -x, x), largest);
        sum += x; /* only to see a NaN, which no comparison does */
    }
    float bound = largest16(largest);
    float total = sum16(sum);
    if (total != total || bound > 3.0e38f) {
        *scale = NAN; /* the row's results are NaN, as they would be in floats */
        memset(to, 128, (size_t)width);
        return;
    }
    *scale = bound / 127.0f;
    float inverse = bound > 1e-30f ? 127.0f / bound : 0.0f;
    const v16 magic = splat16(12582912.0f); /* rounds to the nearest whole number, ties to even */
    for (int k = 0; k < width; k += LANES) {
        v16 rounded = fma16(load16(values + k), splat16(inverse), magic) - magic;
        v16i whole = __builtin_convertvector(rounded, v16i) + 128;
        typedef uint8_t bytes16 __attribute__((vector_size(16), aligned(1), may_alias));
        *(bytes16 *)(to + k) = __builtin_convertvector(whole, bytes16);
    }
}

void operand_set_row(const operand_t *operand, int kind, int row, const float *values, int width)
{
    char *to = (char *)operand->values + (size_t)row * operand->row_bytes;
    if (kind == KIND_INT8) {
        set_int8_row((uint8_t *)to, operand->scales + row, values, width);
    } else if (kind == KIND_BF16) {
        for (int k = 0; k < width; k += LANES)
            to_bf16((bf16 *)to + k, load16(values + k));
    } else if ((const char *)values != to) {
        memcpy(to, values, (size_t)width * sizeof(float));
    }
}
