#include "check.h"

#include <math.h>
#include <stdlib.h>

struct runtime {
    thread_pool *pool;
    char *memory;
    size_t size;
};

typedef struct {
    runtime_t *runtime;
    const model_t *model;
    const cache_t *cache;
    const batch_t *batch;
    float *x;        /* the residual stream, (num_rows, width_floats) */
    float *qkv;      /* queries, keys, values */
    float *attended; /* what attention brings; in float32 the next operand as it is */
    float *inner;    /* between the two layers of the MLP */
    float *normed;   /* a row of each thread */
    float *scores;   /* of each thread, for attention */
    operand_t narrow, wide; /* of n_embd and of num_inner inputs */
    size_t width_floats, qkv_floats, inner_floats, score_floats;
} pass_t;

static int width_of(const model_t *model) { return model->num_heads * model->head_dim; }

/* Rows as an operand that needs no copy: floats, a row as far apart as an operand's are. */
static size_t row_floats(int width) { return operand_row_bytes(KIND_F32, width) / sizeof(float); }

static void normalise(const norm_t *norm, float epsilon, const float *x, float *out, int width)
{
    vec sums[PARTS] = {}, squares[PARTS] = {};
    for (int k = 0; k < width; k += LANES)
        for (int p = 0; p < PARTS; p++)
            sums[p] += load_vec(x + k + p * WIDTH);
    vec mean = splat(sum_lanes(sums) / (float)width);
    for (int k = 0; k < width; k += LANES) {
        for (int p = 0; p < PARTS; p++) {
            vec distance = load_vec(x + k + p * WIDTH) - mean;
            squares[p] = fma_vec(distance, distance, squares[p]);
        }
    }
    vec scale = splat(1.0f / sqrtf(sum_lanes(squares) / (float)width + epsilon));
    for (int k = 0; k < width; k += WIDTH)
        store_vec(out + k, fma_vec((load_vec(x + k) - mean) * scale, load_vec(norm->weight + k), load_vec(norm->bias + k)));
}

static void embed(const pass_t *pass)
{
    const model_t *model = pass->model;
    const batch_t *batch = pass->batch;
    int width = width_of(model);
    for (int row; (row = pool_take(pass->runtime->pool, 1)) < batch->num_rows;) {
        float *x = pass->x + (size_t)row * pass->width_floats;
        const float *position = model->positions + (size_t)batch->places[row] * (size_t)width;
        linear_row(&model->embedding, batch->token_ids[row], x);
        for (int k = 0; k < width; k += WIDTH)
            store_vec(x + k, load_vec(x + k) + load_vec(position + k));
    }
}

/* Rows of x to the narrow operand: normed (pre-norm), as they are (`norm` NULL), or normed in place (post-norm). */
static void prepare(const pass_t *pass, const norm_t *norm, int is_in_place, int thread)
{
    const model_t *model = pass->model;
    int width = width_of(model);
    float *own = pass->normed + (size_t)thread * pass->width_floats;
    for (int row; (row = pool_take(pass->runtime->pool, 1)) < pass->batch->num_rows;) {
        float *x = pass->x + (size_t)row * pass->width_floats;
        float *normed = norm ? (is_in_place ? x : own) : x;
        if (norm)
            normalise(norm, model->epsilon, x, normed, width);
        operand_set_row(&pass->narrow, model->kind, row, normed, width);
    }
}

static void convert(const pass_t *pass, const operand_t *operand, const float *rows, size_t floats, int width)
{
    for (int row; (row = pool_take(pass->runtime->pool, 1)) < pass->batch->num_rows;)
        operand_set_row(operand, pass->model->kind, row, rows + (size_t)row * floats, width);
}

static void write_cache(const pass_t *pass, const attention_t *shape)
{
    const batch_t *batch = pass->batch;
    for (int row; (row = pool_take(pass->runtime->pool, 1)) < batch->num_rows;)
        cache_write(pass->cache, shape, batch->slots[row], batch->places[row], pass->qkv + (size_t)row * pass->qkv_floats);
}

static void attend_all(const pass_t *pass, const attention_t *shape, int thread)
{
    int num_items = pass->batch->num_queries * shape->num_heads;
    float *scores = pass->scores + (size_t)thread * pass->score_floats;
    for (int item; (item = pool_take(pass->runtime->pool, 1)) < num_items;)
        attend(pass->cache, shape, pass->batch->queries + item / shape->num_heads, item % shape->num_heads, pass->qkv,
               pass->qkv_floats, pass->attended, pass->width_floats, scores);
}

static void run_layer(const pass_t *pass, int index, int thread)
{
    const model_t *model = pass->model;
    const layer_t *layer = model->layers + index;
    const attention_t shape = {index, model->num_heads, model->head_dim};
    thread_pool *pool = pass->runtime->pool;
    int num_rows = pass->batch->num_rows, width = width_of(model);
    /* In float32 the buffers of attention and of the MLP are operands as they stand. */
    int is_converted = model->kind != KIND_F32;
    const operand_t attended = {pass->attended, NULL, pass->width_floats * sizeof(float)};
    const operand_t inner = {pass->inner, NULL, pass->inner_floats * sizeof(float)};

    if (!model->is_post_norm || index == 0) {
        prepare(pass, model->is_post_norm ? NULL : &layer->norm_1, 0, thread);
        pool_barrier(pool);
    }
    matmul(&layer->qkv, &pass->narrow, num_rows, pass->qkv, pass->qkv_floats, STORE, ACTIVATION_NONE, pool);
    pool_barrier(pool);
    write_cache(pass, &shape);
    pool_barrier(pool);
    attend_all(pass, &shape, thread);
    pool_barrier(pool);
    if (is_converted) {
        convert(pass, &pass->narrow, pass->attended, pass->width_floats, width);
        pool_barrier(pool);
    }
    matmul(&layer->attention_out, is_converted ? &pass->narrow : &attended, num_rows, pass->x, pass->width_floats, ADD,
           ACTIVATION_NONE, pool);
    pool_barrier(pool);
    prepare(pass, model->is_post_norm ? &layer->norm_1 : &layer->norm_2, model->is_post_norm, thread);
    pool_barrier(pool);
    matmul(&layer->expand, &pass->narrow, num_rows, pass->inner, pass->inner_floats, ACTIVATE, model->activation, pool);
    pool_barrier(pool);
    if (is_converted) {
        convert(pass, &pass->wide, pass->inner, pass->inner_floats, model->num_inner);
        pool_barrier(pool);
    }
    matmul(&layer->contract, is_converted ? &pass->wide : &inner, num_rows, pass->x, pass->width_floats, ADD,
           ACTIVATION_NONE, pool);
    pool_barrier(pool);
    if (model->is_post_norm) {
        prepare(pass, &layer->norm_2, 1, thread);
        pool_barrier(pool);
    }
}

/* Row `row` of x as it leaves the model: through the last norm, where there is one. */
static void last_hidden(const pass_t *pass, int row, float *out)
{
    const float *x = pass->x + (size_t)row * pass->width_floats;
    int width = width_of(pass->model);
    if (pass->model->norm.weight)
        normalise(&pass->model->norm, pass->model->epsilon, x, out, width);
    else
        memcpy(out, x, (size_t)width * sizeof(float));
}

static void run(void *argument, int thread)
{
    const pass_t *pass = argument;
    const model_t *model = pass->model;
    const batch_t *batch = pass->batch;
    thread_pool *pool = pass->runtime->pool;
    int width = width_of(model);

    embed(pass);
    pool_barrier(pool);
    for (int layer = 0; layer < model->num_layers; layer++)
        run_layer(pass, layer, thread);
    float *own = pass->normed + (size_t)thread * pass->width_floats;
    for (int i; (i = pool_take(pool, 1)) < batch->num_hidden + batch->num_logits;) {
        if (i < batch->num_hidden) {
            last_hidden(pass, batch->hidden_rows[i], batch->hidden + (size_t)i * (size_t)width);
        } else {
            last_hidden(pass, batch->logit_rows[i - batch->num_hidden], own);
            operand_set_row(&pass->narrow, model->lm_head.kind, i - batch->num_hidden, own, width);
        }
    }
    pool_barrier(pool);
    if (batch->num_logits)
        matmul(&model->lm_head, &pass->narrow, batch->num_logits, batch->logits, (size_t)model->lm_head.num_out, STORE,
               ACTIVATION_NONE, pool);
}

/* `count` bytes of the runtime's memory; called twice, to count and then to hand out. */
static void *carve(char *memory, size_t *position, size_t count)
{
    void *start = memory ? memory + *position : NULL;
    *position += (count + 63) / 64 * 64;
    return start;
}

static size_t lay_out(pass_t *pass, char *memory)
{
    const model_t *model = pass->model;
    size_t rows = (size_t)pass->batch->num_rows, threads = (size_t)pool_size(pass->runtime->pool), size = 0;
    if ((size_t)pass->batch->num_logits > rows)
        rows = (size_t)pass->batch->num_logits;
    int width = width_of(model);
    pass->width_floats = row_floats(width);
    pass->qkv_floats = row_floats(3 * width);
    pass->inner_floats = row_floats(model->num_inner);
    pass->score_floats = (size_t)MAX_QUERIES * (size_t)pass->cache->num_blocks * LANES;
    size_t of_layers = operand_row_bytes(model->kind, width), of_head = operand_row_bytes(model->lm_head.kind, width);
    pass->narrow.row_bytes = of_layers > of_head ? of_layers : of_head;
    pass->wide.row_bytes = operand_row_bytes(model->kind, model->num_inner);
    pass->x = carve(memory, &size, rows * pass->width_floats * sizeof(float));
    pass->qkv = carve(memory, &size, rows * pass->qkv_floats * sizeof(float));
    pass->attended = carve(memory, &size, rows * pass->width_floats * sizeof(float));
    pass->inner = carve(memory, &size, rows * pass->inner_floats * sizeof(float));
    pass->normed = carve(memory, &size, threads * pass->width_floats * sizeof(float));
    pass->scores = carve(memory, &size, threads * pass->score_floats * sizeof(float));
    pass->narrow.values = carve(memory, &size, rows * pass->narrow.row_bytes);
    pass->narrow.scales = carve(memory, &size, rows * sizeof(float));
    pass->wide.values = carve(memory, &size, rows * pass->wide.row_bytes);
    pass->wide.scales = carve(memory, &size, rows * sizeof(float));
    return size;
}

runtime_t *gpt2_runtime_new(int num_threads)
{
    runtime_t *runtime = calloc(1, sizeof *runtime);
    if (runtime && !(runtime->pool = pool_new(num_threads))) {
        free(runtime);
        return NULL;
    }
    return runtime;
}

void gpt2_runtime_free(runtime_t *runtime)
{
    pool_free(runtime->pool);
    free(runtime->memory);
    free(runtime);
}

int gpt2_forward(runtime_t *runtime, const model_t *model, const cache_t *cache, const batch_t *batch, fault_t *fault)
{
    int kind = check_step(model, cache, batch, fault);
    if (kind)
        return kind;
    pass_t pass = {.runtime = runtime, .model = model, .cache = cache, .batch = batch};
    size_t size = lay_out(&pass, NULL);
    if (size > runtime->size) {
        void *memory = NULL;
        if (posix_memalign(&memory, 64, size)) {
            *fault = (fault_t){.kind = FAULT_MEMORY, .value = (int64_t)size};
            return FAULT_MEMORY;
        }
        memset(memory, 0, size);
        free(runtime->memory);
        runtime->memory = memory;
        runtime->size = size;
    }
    lay_out(&pass, runtime->memory);
    pool_run(runtime->pool, run, &pass);
    return 0;
}

int gpt2_interface(void) { return INTERFACE; }

int gpt2_features(void)
{
    int features = 0;
#if defined(__AVX512VNNI__) || WIDTH == 8
    features |= 1;
#endif
#if defined(__AVX512BF16__)
    features |= 2;
#endif
    return features;
}
