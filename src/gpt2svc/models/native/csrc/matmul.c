#include "tile.h"

/* 1 / (1 + e^-x) */
INLINE vec sigmoid(vec x) { return 1.0f / (1.0f + exp_vec(-x)); }

INLINE vec activated(vec x, activation_t activation)
{
    switch (activation) {
    case ACTIVATION_GELU_NEW: /* x/2 (1 + tanh u) is x sigmoid(2u) */
        return x * sigmoid(1.5957691216057308f * fma_vec(x * x * x, splat(0.044715f), x));
    case ACTIVATION_RELU:
        return select_vec(x < 0.0f, splat(0.0f), x);
    case ACTIVATION_SILU:
        return x * sigmoid(x);
    case ACTIVATION_TANH:
        return fma_vec(splat(2.0f), sigmoid(2.0f * x), splat(-1.0f));
    default:
        return x;
    }
}

static void finish_tile(const linear_t *linear, const operand_t *operand, const sums_t *sums, int first_row, int m,
                        int panel, float *out, size_t row_floats, epilogue_t epilogue, activation_t activation)
{
    int column = panel * PANEL;
    int width = linear->num_out - column < PANEL ? linear->num_out - column : PANEL;
    for (int v = 0; v < VECTORS && v * WIDTH < width; v++) {
        int first = column + v * WIDTH;
        vec bias = linear->bias ? load_vec(linear->bias + first) : splat(0.0f);
        for (int i = 0; i < m; i++) {
            vec value = sums->floats[i][v];
            if (linear->kind == KIND_INT8) {
                vec_i sum = sums->ints[i][v] - *(const vec_i *)(linear->offsets + first);
                vec scale = load_vec(linear->scales + first) * operand->scales[first_row + i];
                value = fma_vec(__builtin_convertvector(sum, vec), scale, bias);
            } else if (linear->kind == KIND_INT4) {
                value = fma_vec(value, splat(operand->scales[first_row + i]), bias);
            } else {
                value += bias;
            }
            float *to = out + (size_t)(first_row + i) * row_floats + first;
            int rest = width - v * WIDTH;
            if (epilogue == ACTIVATE)
                value = activated(value, activation);
            if (rest >= WIDTH) {
                if (epilogue == ADD)
                    value += load_vec(to);
                store_vec(to, value);
            } else {
                float lanes[WIDTH];
                store_vec(lanes, value);
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
