/* Whether a step stays within its buffers: looked at once, before anything is computed or written. */
#ifndef GPT2SVC_CHECK_H
#define GPT2SVC_CHECK_H

#include "forward.h"

/* 0 where every number of the batch is in range for the model and the cache; else the fault's kind, and `fault` tells
 * of the first one. */
int check_step(const model_t *model, const cache_t *cache, const batch_t *batch, fault_t *fault);

#endif
