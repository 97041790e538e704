/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A run whose level is to follow the bottleneck, on a storage and with a processor of chosen speed:
 * both take their time from a clock of the test's own, which stands still otherwise.
 */
#include "cs_fixture.h"

#include <time.h>
#include <zstd.h>

#include "backend.h"
#include "level.h"
#include "store.h"

enum { CHUNK = 256 << 10, FRAME_CHUNKS = 4, MILLISECOND = 1000000 };

static uint64_t fake_clock;       /* nanoseconds */
static uint64_t write_time;       /* that writing a frame takes */
static uint64_t compression_time; /* that compressing a frame takes */

int __wrap_clock_gettime(clockid_t clock, struct timespec *ts);
size_t __real_ZSTD_compress2(ZSTD_CCtx *context, void *out, size_t room, const void *in,
                             size_t len);
size_t __wrap_ZSTD_compress2(ZSTD_CCtx *context, void *out, size_t room, const void *in,
                             size_t len);

int __wrap_clock_gettime(clockid_t clock, struct timespec *ts)
{
    (void)clock;
    *ts = (struct timespec){.tv_sec = (time_t)(fake_clock / 1000000000),
                            .tv_nsec = (long)(fake_clock % 1000000000)};
    return 0;
}

size_t __wrap_ZSTD_compress2(ZSTD_CCtx *context, void *out, size_t room, const void *in, size_t len)
{
    fake_clock += compression_time;
    return __real_ZSTD_compress2(context, out, room, in, len);
}

static int (*real_write)(struct cs_put *put, const void *data, size_t len, struct cs_error *err);

static int slow_write(struct cs_put *put, const void *data, size_t len, struct cs_error *err)
{
    fake_clock += len > CHUNK ? write_time : 0; /* a frame */
    return real_write(put, data, len, err);
}

/* What a run has used that stores ${packs} packs of one frame each. */
static struct cs_counters used(const struct repo *repo, int level, unsigned packs)
{
    struct cs_store *store = open_store(repo);
    const struct cs_backend_ops *before = store->backend->ops;
    struct cs_backend_ops slow = *before;
    struct cs_writer_options options = {.compression_level = level};
    struct cs_writer *w = NULL;
    struct cs_counters counters;
    static uint64_t seed;
    real_write = before->write;
    slow.write = slow_write;
    store->backend->ops = &slow;
    assert_ok(cs_writer_begin(&w, store, &options, err));
    for (unsigned pack = 0; pack < packs; pack++) {
        for (unsigned i = 0; i < FRAME_CHUNKS; i++)
            put_chunk(w, ++seed, CHUNK);
        assert_ok(cs_writer_publish(w, err));
    }
    cs_writer_counters(w, &counters);
    cs_writer_end(w);
    store->backend->ops = before;
    cs_close(store);
    return counters;
}

static void assert_levels(struct cs_counters counters, int lowest, int highest)
{
    assert_int_equal(counters.level_lowest, lowest);
    assert_int_equal(counters.level_highest, highest);
}

static void test_it_follows_the_bottleneck(void **state)
{
    write_time = 100 * MILLISECOND;
    compression_time = 10 * MILLISECOND;
    assert_levels(used(*state, CS_LEVEL_AUTO, 1), 3, 3); /* nothing is known before */
    assert_levels(used(*state, CS_LEVEL_AUTO, 3), 3, 5);
    assert_levels(used(*state, CS_LEVEL_AUTO, 12), 3, CS_LEVEL_HIGHEST);
    write_time = 1 * MILLISECOND;
    assert_levels(used(*state, CS_LEVEL_AUTO, 6), CS_LEVEL_LOWEST, 3);
    compression_time = write_time = 0;
    assert_in_range(used(*state, CS_LEVEL_AUTO, 6).level_highest, 3, CS_LEVEL_HIGHEST);
}

static void test_one_that_is_given_stays(void **state)
{
    write_time = 100 * MILLISECOND;
    compression_time = 10 * MILLISECOND;
    assert_levels(used(*state, 0, 4), CS_LEVEL_DEFAULT, CS_LEVEL_DEFAULT);
    assert_levels(used(*state, 1, 4), 1, 1);
    assert_levels(used(*state, 19, 2), 19, 19);
}

/* ${level} for what compresses well: as many bytes as come in, or fewer; and it comes back. */
static uint64_t size_with(const struct repo *repo, int level)
{
    static uint8_t data[CHUNK], back[CHUNK];
    static uint8_t number;
    struct cs_store *store = open_store(repo);
    struct cs_writer *w = NULL;
    struct cs_writer_options options = {.compression_level = level};
    struct cs_counters counters;
    struct cs_id id;
    memset(data, ++number, sizeof data);
    assert_ok(cs_writer_begin(&w, store, &options, err));
    assert_ok(cs_write_chunk(w, data, sizeof data, &id, err));
    assert_ok(cs_writer_publish(w, err));
    cs_writer_counters(w, &counters);
    cs_writer_end(w);
    assert_ok(cs_read_chunk(store, &id, back, sizeof back, err));
    assert_memory_equal(data, back, sizeof data);
    cs_close(store);
    if (level == CS_LEVEL_NONE)
        assert_levels(counters, 0, 0);
    return counters.bytes_stored;
}

static void test_none_compresses_nothing(void **state)
{
    assert_true(size_with(*state, CS_LEVEL_NONE) > CHUNK);
    assert_true(size_with(*state, CS_LEVEL_AUTO) < CHUNK / 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_it_follows_the_bottleneck, repo_setup, repo_teardown),
        cmocka_unit_test_setup_teardown(test_one_that_is_given_stays, repo_setup, repo_teardown),
        cmocka_unit_test_setup_teardown(test_none_compresses_nothing, repo_setup, repo_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
