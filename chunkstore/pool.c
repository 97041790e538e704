/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The worker threads, their one queue of jobs, and the lanes' order. It knows
 * nothing of what a job does. A lane and its jobs are the owner's; only the
 * queue and the `done` marks are shared, and the one mutex guards them.
 */
#include "pool.h"

#include <pthread.h>
#include <stdlib.h>

#include "thread.h"

struct worker {
    struct cs_pool *pool;
    unsigned number;
    pthread_t thread;
};

struct cs_pool {
    pthread_mutex_t mutex;
    pthread_cond_t queued; /* a job, or the end */
    pthread_cond_t done;   /* a job is */
    struct cs_job *first, *last;
    bool ending;
    unsigned threads;
    unsigned started; /* 0: serial */
    struct worker workers[];
};

static struct cs_job *next_job(struct cs_pool *pool)
{
    while (pool->first == NULL && !pool->ending)
        pthread_cond_wait(&pool->queued, &pool->mutex);
    struct cs_job *job = pool->first;
    if (job != NULL) {
        pool->first = job->next_in_queue;
        if (pool->first == NULL)
            pool->last = NULL;
    }
    return job;
}

static void *work(void *arg)
{
    struct worker *worker = arg;
    struct cs_pool *pool = worker->pool;
    struct cs_job *job;
    pthread_mutex_lock(&pool->mutex);
    while ((job = next_job(pool)) != NULL) {
        pthread_mutex_unlock(&pool->mutex);
        job->run(job, worker->number);
        pthread_mutex_lock(&pool->mutex);
        job->done = true;
        pthread_cond_broadcast(&pool->done);
    }
    pthread_mutex_unlock(&pool->mutex);
    return NULL;
}

static int start_workers(struct cs_pool *pool, struct cs_error *err)
{
    int sys = 0;
    while (sys == 0 && pool->started < pool->threads) {
        struct worker *worker = &pool->workers[pool->started];
        *worker = (struct worker){.pool = pool, .number = pool->started};
        sys = cs_thread_start(&worker->thread, work, worker);
        if (sys == 0)
            pool->started++;
    }
    if (sys != 0)
        return cs_fail_sys(err, sys, "worker thread %u of %u cannot be started", pool->started + 1,
                           pool->threads);
    return 0;
}

int cs_pool_new(struct cs_pool **out, unsigned threads, struct cs_error *err)
{
    *out = NULL;
    if (threads == 0)
        threads = 1;
    struct cs_pool *pool = calloc(1, sizeof *pool + threads * sizeof *pool->workers);
    if (pool == NULL)
        return cs_fail_memory(err);
    pool->threads = threads;
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->queued, NULL);
    pthread_cond_init(&pool->done, NULL);
    int rc = threads > 1 ? start_workers(pool, err) : 0;
    if (rc < 0) {
        cs_pool_free(pool);
        return rc;
    }
    *out = pool;
    return 0;
}

void cs_pool_free(struct cs_pool *pool)
{
    if (pool == NULL)
        return;
    pthread_mutex_lock(&pool->mutex);
    pool->ending = true;
    pthread_cond_broadcast(&pool->queued);
    pthread_mutex_unlock(&pool->mutex);
    for (unsigned i = 0; i < pool->started; i++)
        pthread_join(pool->workers[i].thread, NULL);
    pthread_cond_destroy(&pool->done);
    pthread_cond_destroy(&pool->queued);
    pthread_mutex_destroy(&pool->mutex);
    free(pool);
}

unsigned cs_pool_threads(const struct cs_pool *pool)
{
    return pool->threads;
}

void cs_lane_init(struct cs_lane *lane, struct cs_pool *pool)
{
    *lane = (struct cs_lane){.pool = pool};
}

void cs_lane_put(struct cs_lane *lane, struct cs_job *job)
{
    struct cs_pool *pool = lane->pool;
    job->next_in_lane = NULL;
    job->next_in_queue = NULL;
    job->lane = lane;
    job->done = false;
    if (lane->last != NULL)
        lane->last->next_in_lane = job;
    else
        lane->first = job;
    lane->last = job;
    lane->count++;

    if (pool->started == 0) {
        job->run(job, 0);
        job->done = true;
        return;
    }
    pthread_mutex_lock(&pool->mutex);
    if (pool->last != NULL)
        pool->last->next_in_queue = job;
    else
        pool->first = job;
    pool->last = job;
    pthread_cond_signal(&pool->queued);
    pthread_mutex_unlock(&pool->mutex);
}

static struct cs_job *take(struct cs_lane *lane, bool wait)
{
    struct cs_pool *pool = lane->pool;
    struct cs_job *job = lane->first;
    if (job == NULL)
        return NULL;
    pthread_mutex_lock(&pool->mutex);
    while (wait && !job->done)
        pthread_cond_wait(&pool->done, &pool->mutex);
    bool done = job->done;
    pthread_mutex_unlock(&pool->mutex);
    if (!done)
        return NULL;
    lane->first = job->next_in_lane;
    if (lane->first == NULL)
        lane->last = NULL;
    lane->count--;
    return job;
}

struct cs_job *cs_lane_take(struct cs_lane *lane)
{
    return take(lane, true);
}

struct cs_job *cs_lane_poll(struct cs_lane *lane)
{
    return take(lane, false);
}
