#define _GNU_SOURCE
#include "thread_pool.h"

#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

/* A phase takes 5 to 500 microseconds. Whoever is done looks about that long whether the others are, and then sleeps:
 * on a machine with other work to do, the one waited for may not be running at all. */
enum { NUM_LOOKS = 2000 };

struct thread_pool {
    int size;
    pthread_t *threads;
    pool_body body;
    void *argument;
    int is_ending;
    _Alignas(64) atomic_uint round;    /* grows with each job */
    _Alignas(64) atomic_uint phase;    /* grows with each barrier */
    _Alignas(64) atomic_int num_arrived;
    _Alignas(64) atomic_int next;      /* item of the phase */
    _Alignas(64) atomic_int num_asleep;
};

typedef struct {
    thread_pool *pool;
    int index;
} seat;

static void look_away(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Until `*word` is another than `seen`. */
static void wait_for_change(thread_pool *pool, atomic_uint *word, unsigned seen)
{
    for (int i = 0; i < NUM_LOOKS; i++) {
        if (atomic_load_explicit(word, memory_order_acquire) != seen)
            return;
        look_away();
    }
    atomic_fetch_add(&pool->num_asleep, 1);
    while (atomic_load(word) == seen) {
#if defined(__linux__)
        syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
#else
        sched_yield();
#endif
    }
    atomic_fetch_sub(&pool->num_asleep, 1);
}

static void change(thread_pool *pool, atomic_uint *word)
{
    atomic_fetch_add(word, 1);
#if defined(__linux__)
    if (atomic_load(&pool->num_asleep))
        syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
#else
    (void)pool;
#endif
}

static void *serve(void *argument)
{
    seat own = *(seat *)argument;
    free(argument);
    for (unsigned seen = 0;; seen++) {
        wait_for_change(own.pool, &own.pool->round, seen);
        if (own.pool->is_ending)
            return NULL;
        own.pool->body(own.pool->argument, own.index);
        pool_barrier(own.pool);
    }
}

thread_pool *pool_new(int num_threads)
{
    thread_pool *pool = NULL;
    if (posix_memalign((void **)&pool, 64, sizeof *pool))
        return NULL;
    *pool = (thread_pool){.size = 1, .threads = calloc((size_t)num_threads, sizeof(pthread_t))};
    for (; pool->threads && pool->size < num_threads; pool->size++) {
        seat *own = malloc(sizeof *own);
        if (!own)
            break;
        *own = (seat){pool, pool->size};
        if (pthread_create(&pool->threads[pool->size], NULL, serve, own)) {
            free(own);
            break;
        }
    }
    if (pool->size == num_threads)
        return pool;
    pool_free(pool);
    return NULL;
}

void pool_free(thread_pool *pool)
{
    pool->is_ending = 1;
    change(pool, &pool->round);
    for (int i = 1; i < pool->size; i++)
        pthread_join(pool->threads[i], NULL);
    free(pool->threads);
    free(pool);
}

int pool_size(const thread_pool *pool) { return pool->size; }

void pool_run(thread_pool *pool, pool_body body, void *argument)
{
    pool->body = body;
    pool->argument = argument;
    atomic_store(&pool->next, 0);
    change(pool, &pool->round);
    body(argument, 0);
    pool_barrier(pool);
}

int pool_take(thread_pool *pool, int count)
{
    return atomic_fetch_add_explicit(&pool->next, count, memory_order_relaxed);
}

void pool_barrier(thread_pool *pool)
{
    unsigned seen = atomic_load_explicit(&pool->phase, memory_order_acquire);
    if (atomic_fetch_add(&pool->num_arrived, 1) == pool->size - 1) {
        atomic_store(&pool->num_arrived, 0);
        atomic_store(&pool->next, 0);
        change(pool, &pool->phase);
    } else {
        wait_for_change(pool, &pool->phase, seen);
    }
}
