#include <math.h>

#include "matmul.h"

/* Rows lie a cache line further apart than they are wide: at a power of two apart, the rows of a tile would all fall
 * into the same few places of the first-level cache. */
enum { GAP_BYTES = 64 };

static int whole_groups(int width) { return (width + GROUP - 1) / GROUP; }

size_t operand_row_bytes(int kind, int width)
{
    static const size_t item[] = {[KIND_F32] = 4, [KIND_BF16] = BF16_ROW_BYTES, [KIND_INT8] = INT8_ROW_BYTES};
    size_t bytes = kind == KIND_INT4 ? (size_t)whole_groups(width) * (GROUP + sizeof(int4_facts_t))
                                     : (size_t)width * item[kind];
    return (bytes + 63) / 64 * 64 + GAP_BYTES;
}

/* Steps of a row's own, from -127 to 127: their size, and the factor that brings a value there. 0 where the row holds
 * an infinity or a NaN; its scale is then NaN, so that its results are, as they would be in floats. */
static int find_scale(const float *values, int width, float *scale, float *inverse)
{
    vec largest[PARTS] = {}, sums[PARTS] = {};
    for (int k = 0; k < width; k += LANES) {
        for (int p = 0; p < PARTS; p++) {
            vec x = load_vec(values + k + p * WIDTH);
            largest[p] = max_vec(select_vec(x < 0.0f, -x, x), largest[p]);
            sums[p] += x; /* only to see a NaN, which no comparison does */
        }
    }
    float bound = largest_lane(largest);
    float total = sum_lanes(sums);
    int is_finite = total == total && bound <= 3.0e38f;
    *scale = is_finite ? bound / 127.0f : NAN;
    *inverse = is_finite && bound > 1e-30f ? 127.0f / bound : 0.0f;
    return is_finite;
}

/* WIDTH bytes of `middle` + value * inverse, rounded to the nearest, ties to even. */
INLINE vec_i set_bytes(uint8_t *to, const float *values, float inverse, int middle)
{
    const vec magic = splat(12582912.0f);
    vec_i whole = __builtin_convertvector(fma_vec(load_vec(values), splat(inverse), magic) - magic, vec_i) + middle;
#if WIDTH == 8
    __m128i narrow = narrowed((vec_u)(whole & 0xff));
    _mm_storel_epi64((__m128i *)to, _mm_packus_epi16(narrow, narrow));
#else
    typedef uint8_t bytes16 __attribute__((vector_size(16), aligned(1), may_alias));
    *(bytes16 *)to = __builtin_convertvector(whole, bytes16);
#endif
    return whole;
}

#if WIDTH == 8
static void set_int8_row(char *to, float *scale, const float *values, int width)
{
    uint32_t *pairs = (uint32_t *)to;
    float inverse;
    int is_finite = find_scale(values, width, scale, &inverse);
    for (int k = 0; k < width; k += WIDTH) {
        uint32_t fours[WIDTH / 4];
        if (is_finite)
            set_bytes((uint8_t *)fours, values + k, inverse, 128);
        else
            memset(fours, 128, sizeof fours);
        for (int i = 0; i < WIDTH / 4; i++) {
            *pairs++ = fours[i] & 0x00ff00ffu;
            *pairs++ = (fours[i] >> 8) & 0x00ff00ffu;
        }
    }
}
#else
static void set_int8_row(char *to, float *scale, const float *values, int width)
{
    float inverse;
    if (!find_scale(values, width, scale, &inverse))
        memset(to, 128, (size_t)width);
    else
        for (int k = 0; k < width; k += WIDTH)
            set_bytes((uint8_t *)to + k, values + k, inverse, 128);
}
#endif

static void set_int4_row(char *to, float *scale, const float *values, int width)
{
    int num_groups = whole_groups(width);
    int4_facts_t *facts = int4_facts(to, num_groups * GROUP);
    float inverse;
    memset(to + width, 0, (size_t)(num_groups * GROUP - width));
    if (!find_scale(values, width, scale, &inverse)) {
        memset(to, 0, (size_t)width);
        memset(facts, 0, (size_t)num_groups * sizeof *facts);
        return;
    }
    for (int group = 0; group < num_groups; group++) {
        vec_i sums = {};
        for (int k = group * GROUP; k < (group + 1) * GROUP && k < width; k += WIDTH)
            sums += set_bytes((uint8_t *)to + k, values + k, inverse, 0);
        int32_t sum = 0;
        for (int lane = 0; lane < WIDTH; lane++)
            sum += sums[lane];
        facts[group] = (int4_facts_t){(float)sum, -8 * sum};
    }
}

void operand_set_row(const operand_t *operand, int kind, int row, const float *values, int width)
{
    char *to = (char *)operand->values + (size_t)row * operand->row_bytes;
    if (kind == KIND_INT8) {
        set_int8_row(to, operand->scales + row, values, width);
    } else if (kind == KIND_INT4) {
        set_int4_row(to, operand->scales + row, values, width);
    } else if (kind == KIND_BF16) {
        for (int k = 0; k < width; k += WIDTH)
#if WIDTH == 8
            store_vec((float *)to + k, (vec)(bits_of_bf16(load_vec(values + k)) << 16));
#else
            to_bf16((bf16 *)to + k, load_vec(values + k));
#endif
    } else if ((const char *)values != to) {
        memcpy(to, values, (size_t)width * sizeof(float));
    }
}
