#include "check.h"

static int found(fault_t *fault, fault_kind_t kind, int64_t index, int64_t value, int64_t limit)
{
    *fault = (fault_t){.kind = (int32_t)kind, .index = (int32_t)index, .value = value, .limit = limit};
    return (int)kind;
}

/* The first of `count` numbers that is not from 0 to `limit`. */
static int check_range(const int32_t *numbers, int count, int64_t limit, fault_kind_t kind, fault_t *fault)
{
    for (int i = 0; i < count; i++)
        if (numbers[i] < 0 || numbers[i] > limit)
            return found(fault, kind, i, numbers[i], limit);
    return 0;
}

static int check_cache(const model_t *model, const cache_t *cache, fault_t *fault)
{
    const int64_t pairs[][2] = {
        {cache->num_layers, model->num_layers},
        {cache->num_heads, model->num_heads},
        {cache->head_dim, model->head_dim},
        {(int64_t)cache->num_blocks * LANES, ((int64_t)model->num_positions + LANES - 1) / LANES * LANES},
    };
    for (int i = 0; i < 4; i++)
        if (pairs[i][0] != pairs[i][1])
            return found(fault, FAULT_CACHE, i, pairs[i][0], pairs[i][1]);
    return 0;
}

/* Queries take the rows one after another, each up to MAX_QUERIES neighbouring positions of one slot. */
static int check_queries(const batch_t *batch, fault_t *fault)
{
    int next = 0;
    for (int i = 0; i < batch->num_queries; i++) {
        const queries_t *queries = batch->queries + i;
        int count = queries->num_rows;
        if (count < 1 || count > MAX_QUERIES)
            return found(fault, FAULT_QUERY_ROWS, i, count, MAX_QUERIES);
        if (queries->first_row != next || count > batch->num_rows - next)
            return found(fault, FAULT_QUERIES, i, queries->first_row, next);
        for (int row = next; row < next + count; row++)
            if (batch->slots[row] != queries->slot || batch->places[row] - (row - next) != queries->start)
                return found(fault, FAULT_QUERIES, i, queries->first_row, next);
        next += count;
    }
    return next == batch->num_rows ? 0 : found(fault, FAULT_QUERIES, batch->num_queries, next, batch->num_rows);
}

int check_step(const model_t *model, const cache_t *cache, const batch_t *batch, fault_t *fault)
{
    int num_rows = batch->num_rows, kind;
    const int64_t most = cache->num_slots * model->num_positions;
    const int64_t counts[][2] = {
        {num_rows, most}, {batch->num_queries, num_rows}, {batch->num_logits, num_rows}, {batch->num_hidden, num_rows},
    };
    if ((kind = check_cache(model, cache, fault)))
        return kind;
    for (int i = 0; i < 4; i++)
        if (counts[i][0] < 0 || counts[i][0] > counts[i][1])
            return found(fault, FAULT_COUNT, i, counts[i][0], counts[i][1]);
    if ((kind = check_range(batch->token_ids, num_rows, model->embedding.num_out - 1, FAULT_TOKEN_ID, fault)) ||
        (kind = check_range(batch->slots, num_rows, cache->num_slots - 1, FAULT_SLOT, fault)) ||
        (kind = check_range(batch->places, num_rows, model->num_positions - 1, FAULT_POSITION, fault)) ||
        (kind = check_range(batch->logit_rows, batch->num_logits, num_rows - 1, FAULT_LOGIT_ROW, fault)) ||
        (kind = check_range(batch->hidden_rows, batch->num_hidden, num_rows - 1, FAULT_HIDDEN_ROW, fault)))
        return kind;
    return check_queries(batch, fault);
}
