/* SPDX-License-Identifier: BSD-2-Clause */
/* Workers and lanes: every job once, handed back in order, and the same with one thread. */
#include "pool.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

enum { THREADS_MAX = 8, JOBS = 2000 };

struct sum_job {
    struct cs_job job; /* first: the two are cast */
    uint64_t number;
    uint64_t result;
    unsigned worker;
    pthread_t thread;
    /* one a worker, without a lock: a worker is in one job at a time */
    uint64_t *runs_of_worker;
};

static uint64_t work_of(uint64_t number)
{
    uint64_t sum = number;
    for (uint64_t i = 0; i < number % 5000; i++)
        sum = sum * 31 + i;
    return sum;
}

static void run_sum(struct cs_job *job, unsigned worker)
{
    struct sum_job *s = (struct sum_job *)job;
    s->worker = worker;
    s->thread = pthread_self();
    s->runs_of_worker[worker]++;
    s->result = work_of(s->number);
}

static struct cs_pool *new_pool(unsigned threads)
{
    struct cs_pool *pool;
    struct cs_error err;
    assert_int_equal(cs_pool_new(&pool, threads, &err), 0);
    return pool;
}

/* Puts JOBS jobs, keeping up to ${window} in flight, and takes them back. */
static void run_jobs(unsigned threads, size_t window)
{
    struct cs_pool *pool = new_pool(threads);
    struct sum_job *jobs = calloc(JOBS, sizeof *jobs);
    uint64_t runs_of_worker[THREADS_MAX] = {0};
    struct cs_lane lane;
    size_t taken = 0;
    uint64_t runs = 0;

    assert_non_null(jobs);
    cs_lane_init(&lane, pool);
    for (size_t i = 0; i < JOBS; i++) {
        jobs[i].job.run = run_sum;
        jobs[i].number = i * 2654435761U % 100003;
        jobs[i].runs_of_worker = runs_of_worker;
        cs_lane_put(&lane, &jobs[i].job);
        assert_int_equal(lane.count, i + 1 - taken);
        while (lane.count >= window)
            assert_ptr_equal(cs_lane_take(&lane), &jobs[taken++].job);
    }
    for (struct cs_job *job; (job = cs_lane_take(&lane)) != NULL; taken++)
        assert_ptr_equal(job, &jobs[taken].job);
    assert_int_equal(taken, JOBS);
    assert_int_equal(lane.count, 0);
    for (size_t i = 0; i < JOBS; i++) {
        assert_true(jobs[i].worker < threads);
        assert_true(jobs[i].result == work_of(jobs[i].number));
    }
    cs_pool_free(pool);
    for (unsigned i = 0; i < threads; i++)
        runs += runs_of_worker[i];
    assert_int_equal(runs, JOBS);
    free(jobs);
}

static void test_jobs_come_back_in_order(void **state)
{
    (void)state;
    run_jobs(2, 1);
    run_jobs(2, 7);
    run_jobs(THREADS_MAX, 64);
    run_jobs(3, JOBS + 1);
}

static void test_serial_twin_gives_the_same(void **state)
{
    (void)state;
    run_jobs(1, 1);
    run_jobs(1, 64);
}

static void test_one_thread_runs_jobs_inside_put(void **state)
{
    struct cs_pool *pool = new_pool(1);
    uint64_t runs[1] = {0};
    struct sum_job job = {.job.run = run_sum, .number = 17, .runs_of_worker = runs};
    struct cs_lane lane;

    (void)state;
    assert_int_equal(cs_pool_threads(pool), 1);
    cs_lane_init(&lane, pool);
    cs_lane_put(&lane, &job.job);
    assert_int_equal(runs[0], 1);
    assert_int_equal(job.worker, 0);
    assert_true(pthread_equal(job.thread, pthread_self()));
    assert_ptr_equal(cs_lane_poll(&lane), &job.job);
    assert_null(cs_lane_poll(&lane));
    assert_null(cs_lane_take(&lane));
    cs_pool_free(pool);
}

static void test_more_threads_run_jobs_elsewhere(void **state)
{
    struct cs_pool *pool = new_pool(2);
    uint64_t runs[2] = {0};
    struct sum_job job = {.job.run = run_sum, .number = 17, .runs_of_worker = runs};
    struct cs_lane lane;

    (void)state;
    assert_int_equal(cs_pool_threads(pool), 2);
    cs_lane_init(&lane, pool);
    cs_lane_put(&lane, &job.job);
    assert_ptr_equal(cs_lane_take(&lane), &job.job);
    assert_false(pthread_equal(job.thread, pthread_self()));
    cs_pool_free(pool);
}

static void test_no_threads_means_one(void **state)
{
    (void)state;
    struct cs_pool *pool = new_pool(0);
    assert_int_equal(cs_pool_threads(pool), 1);
    cs_pool_free(pool);
    cs_pool_free(NULL);
}

struct gate_job {
    struct cs_job job;
    pthread_mutex_t *gate; /* the job is through once it could be locked */
};

static void run_gate(struct cs_job *job, unsigned worker)
{
    struct gate_job *g = (struct gate_job *)job;
    (void)worker;
    pthread_mutex_lock(g->gate);
    pthread_mutex_unlock(g->gate);
}

static void test_poll_waits_for_nothing_and_keeps_the_order(void **state)
{
    pthread_mutex_t closed = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_t open = PTHREAD_MUTEX_INITIALIZER;
    struct gate_job first = {.job.run = run_gate, .gate = &closed};
    struct gate_job second = {.job.run = run_gate, .gate = &open};
    struct gate_job third = {.job.run = run_gate, .gate = &open};
    struct cs_pool *pool = new_pool(2);
    struct cs_lane lane, other;

    (void)state;
    cs_lane_init(&lane, pool);
    cs_lane_init(&other, pool);
    assert_null(cs_lane_poll(&lane));
    pthread_mutex_lock(&closed);
    cs_lane_put(&lane, &first.job);
    cs_lane_put(&lane, &second.job);
    cs_lane_put(&other, &third.job);
    /* the third is behind the second in the queue, so both are done, yet the first is not */
    assert_ptr_equal(cs_lane_take(&other), &third.job);
    assert_null(cs_lane_poll(&lane));
    assert_int_equal(lane.count, 2);
    pthread_mutex_unlock(&closed);
    assert_ptr_equal(cs_lane_take(&lane), &first.job);
    assert_ptr_equal(cs_lane_poll(&lane), &second.job);
    assert_int_equal(lane.count, 0);
    cs_pool_free(pool);
}

static void test_jobs_are_put_again(void **state)
{
    struct cs_pool *pool = new_pool(4);
    uint64_t runs[4] = {0};
    struct sum_job jobs[3] = {0};
    struct cs_lane lane;

    (void)state;
    cs_lane_init(&lane, pool);
    for (uint64_t i = 0; i < 3; i++) {
        jobs[i].job.run = run_sum;
        jobs[i].runs_of_worker = runs;
        jobs[i].number = i;
        cs_lane_put(&lane, &jobs[i].job);
    }
    for (uint64_t i = 3; i < 3000; i++) {
        struct sum_job *job = (struct sum_job *)cs_lane_take(&lane);
        assert_ptr_equal(job, &jobs[i % 3]);
        assert_true(job->result == work_of(i - 3));
        job->number = i;
        cs_lane_put(&lane, &job->job);
    }
    while (cs_lane_take(&lane) != NULL)
        continue;
    assert_int_equal(runs[0] + runs[1] + runs[2] + runs[3], 3000);
    cs_pool_free(pool);
}

static void run_signal_mask(struct cs_job *job, unsigned worker)
{
    struct gate_job *g = (struct gate_job *)job;
    sigset_t mask;
    (void)worker;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    /* the gate is how this job says yes */
    if (sigismember(&mask, SIGINT) && sigismember(&mask, SIGTERM) && !sigismember(&mask, SIGSEGV))
        g->gate = NULL;
}

static void test_workers_leave_signals_to_the_program(void **state)
{
    pthread_mutex_t open = PTHREAD_MUTEX_INITIALIZER;
    struct gate_job job = {.job.run = run_signal_mask, .gate = &open};
    struct cs_pool *pool = new_pool(2);
    struct cs_lane lane;
    sigset_t mask;

    (void)state;
    cs_lane_init(&lane, pool);
    cs_lane_put(&lane, &job.job);
    assert_ptr_equal(cs_lane_take(&lane), &job.job);
    assert_null(job.gate);
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    assert_false(sigismember(&mask, SIGINT));
    cs_pool_free(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_jobs_come_back_in_order),
        cmocka_unit_test(test_serial_twin_gives_the_same),
        cmocka_unit_test(test_one_thread_runs_jobs_inside_put),
        cmocka_unit_test(test_more_threads_run_jobs_elsewhere),
        cmocka_unit_test(test_no_threads_means_one),
        cmocka_unit_test(test_poll_waits_for_nothing_and_keeps_the_order),
        cmocka_unit_test(test_jobs_are_put_again),
        cmocka_unit_test(test_workers_leave_signals_to_the_program),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
