/* Threads that walk through the phases of one forward pass together. */
#ifndef GPT2SVC_THREAD_POOL_H
#define GPT2SVC_THREAD_POOL_H

typedef struct thread_pool thread_pool;
typedef void (*pool_body)(void *argument, int thread);

/* A pool of `num_threads`, the caller's own among them; NULL where threads can't be had. */
thread_pool *pool_new(int num_threads);
void pool_free(thread_pool *pool);
int pool_size(const thread_pool *pool);

/* Run `body` on every thread; returns when all have ended. */
void pool_run(thread_pool *pool, pool_body body, void *argument);

/* Within a body: the first of the next `count` items of this phase, which are the caller's. */
int pool_take(thread_pool *pool, int count);

/* Within a body: wait until all threads are here. The next phase's items start from 0. */
void pool_barrier(thread_pool *pool);

#endif
