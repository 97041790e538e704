/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How fast byre is here: the store's primitives by themselves, then backups and
 * a restore of one image in a folder of their own, which is removed again.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/io.h"
#include "engine/scratch.h"
#include "engine/upkeep.h"

enum {
    SAMPLE = 32 << 20,
    PIECE = 2 << 20, /* of a sample from one place: a frame of chunks that belong together */
    SAMPLES = 4,
    PRIMITIVES = 16,  /* at most */
    MADE = 512 << 20, /* an image of our own */
    BLOCK = 4096,
    SECRET = 64,
};

struct bench {
    const struct engine_benchmark_options *options;
    struct error *err;
    char *folder;
    char image[4096];
    struct cs_store *store;
    struct engine_benchmark_line primitives[PRIMITIVES]; /* of all samples together */
    size_t primitive_count;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void tell(struct bench *b, const char *name, uint64_t bytes, double seconds)
{
    struct engine_benchmark_line line = {.name = name, .bytes = bytes, .seconds = seconds};
    b->options->report(b->options->arg, &line);
}

/* Half of each block can be compressed, and no two blocks are the same. */
static void make_block(uint64_t *state, uint8_t block[BLOCK])
{
    for (size_t i = 0; i < BLOCK / 2; i += 8) {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        memcpy(block + i, state, 8);
    }
    memset(block + BLOCK / 2, (int)(*state % 251) + 1, BLOCK / 2);
}

static int make_image(struct bench *b)
{
    const volatile int *cancel = b->options->listener.cancel;
    uint64_t state = 88172645463325252U;
    uint8_t *buf = malloc(SAMPLE);
    int fd = open(b->image, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int rc = 0;
    if (buf == NULL)
        rc = error_no_memory(b->err);
    else if (fd < 0)
        rc = error_sys(b->err, errno, "%s", b->image);
    for (uint64_t at = 0; rc == 0 && at < MADE; at += SAMPLE) {
        for (size_t i = 0; i < SAMPLE; i += BLOCK)
            make_block(&state, buf + i);
        rc = io_write(fd, b->image, at, buf, SAMPLE, b->err);
        if (rc == 0 && cancel != NULL && *cancel)
            rc = error_set(b->err, ERROR_INTERRUPTED, "stopped");
    }
    if (fd >= 0)
        close(fd);
    free(buf);
    return rc;
}

/* What the image's file holds in places spread all over it; sample ${number} has others than the
 * samples before. */
static int read_sample(struct bench *b, unsigned number, uint8_t *sample, size_t *len)
{
    enum { PLACES = SAMPLE / PIECE };
    struct stat st;
    int fd = open(b->image, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_sys(b->err, errno, "%s", b->image);
    int rc = fstat(fd, &st) < 0 ? error_sys(b->err, errno, "%s", b->image) : 0;
    uint64_t begin = 0, stop = 0, size = (uint64_t)st.st_size;
    *len = 0;
    for (unsigned i = 0; rc == 0 && i < PLACES; i++) {
        uint64_t at = size / ((uint64_t)PLACES * SAMPLES) * (i * SAMPLES + number);
        size_t end = *len + PIECE;
        for (stop = at; rc == 0 && stop < size && *len < end;) {
            size_t got = 0;
            rc = io_next_data(fd, b->image, stop, size, &begin, &stop, b->err);
            if (rc == 0 && stop - begin > end - *len)
                stop = begin + (end - *len);
            if (rc == 0 && begin < stop)
                rc = io_read_some(fd, b->image, begin, sample + *len, (size_t)(stop - begin), &got,
                                  b->err);
            *len += got;
        }
    }
    close(fd);
    return rc;
}

static struct engine_benchmark_line *find_primitive(struct bench *b, const char *name)
{
    for (size_t i = 0; i < b->primitive_count; i++)
        if (strcmp(b->primitives[i].name, name) == 0)
            return &b->primitives[i];
    return NULL;
}

static void add_primitive(void *arg, const struct cs_benchmark_line *line)
{
    struct bench *b = arg;
    struct engine_benchmark_line *sum = find_primitive(b, line->name);
    if (sum == NULL) {
        if (b->primitive_count == PRIMITIVES)
            return;
        sum = &b->primitives[b->primitive_count++];
        *sum = (struct engine_benchmark_line){.primitive = true, .name = line->name};
    }
    sum->bytes += line->bytes;
    sum->seconds += line->seconds;
}

/* Seconds that the primitive ${name} takes for ${bytes}. */
static double alone(struct bench *b, const char *name, uint64_t bytes)
{
    const struct engine_benchmark_line *line = find_primitive(b, name);
    return line != NULL ? (double)bytes * line->seconds / (double)line->bytes : 0;
}

static int primitives(struct bench *b)
{
    uint8_t *sample = malloc(SAMPLE);
    struct cs_benchmark_options options = {
        .sample = sample,
        .compression_level = b->options->compression_level,
        .seconds = 0.05,
        .report = add_primitive,
        .arg = b,
    };
    struct cs_error e;
    if (sample == NULL)
        return error_no_memory(b->err);
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < SAMPLES; i++) {
        rc = read_sample(b, i, sample, &options.sample_len);
        if (rc == 0 && cs_benchmark(b->store, &options, &e) < 0)
            rc = engine_store_error(b->err, &e);
    }
    for (size_t i = 0; rc == 0 && i < b->primitive_count; i++)
        b->options->report(b->options->arg, &b->primitives[i]);
    free(sample);
    return rc;
}

static int open_store(struct bench *b)
{
    /* nobody is to open it later: the secret goes with this call */
    char secret[SECRET + 1], path[4200], cache[4200], code[CS_RECOVERY_CODE_SIZE];
    struct cs_id id;
    struct cs_error e;
    cs_random_hex(secret, SECRET);
    struct cs_init_options init = {
        .secret = {.kind = CS_SLOT_KEY_FILE, .data = secret, .len = SECRET}};
    snprintf(path, sizeof path, "%s/repository", b->folder);
    snprintf(cache, sizeof cache, "%s/cache", b->folder);
    struct cs_open_options open = {
        .secret = init.secret,
        .cache_dir = cache,
        .threads = b->options->threads,
        .cancel = b->options->listener.cancel,
    };
    int rc = cs_id_hash_fastest(&init.id_hash, &e); /* as a new repository would take it */
    if (rc == 0)
        rc = cs_init(path, &init, code, &id, &e);
    if (rc == 0)
        rc = cs_open(&b->store, path, &open, &e);
    return rc < 0 ? engine_store_error(b->err, &e) : 0;
}

static int backup(struct bench *b, const char *name, bool full_read,
                  struct engine_backup_result *result)
{
    const char *image = b->image;
    struct engine_backup_options options = {
        .images = &image,
        .image_count = 1,
        .name = "benchmark",
        .full_read = full_read,
        .compression_level = b->options->compression_level,
        .listener = b->options->listener,
    };
    double start = now();
    int rc = engine_backup(b->store, &options, result, b->err);
    if (rc == 0)
        tell(b, name, result->bytes_allocated, now() - start);
    return rc;
}

static int restore(struct bench *b)
{
    char path[4200];
    const struct cs_archive *archive = NULL;
    struct engine_restore_options options = {.to = path, .listener = b->options->listener};
    struct engine_restore_result result = {0};
    snprintf(path, sizeof path, "%s/restored", b->folder);
    int rc = engine_find_archive(b->store, "latest", &archive, b->err);
    double start = now();
    if (rc == 0)
        rc = engine_restore(b->store, archive, &options, &result, b->err);
    if (rc == 0)
        tell(b, "restore", result.bytes_written, now() - start);
    engine_restore_result_clear(&result);
    return rc;
}

static int pipeline(struct bench *b, struct engine_benchmark_result *result)
{
    struct engine_backup_result first, again;
    double start = now();
    result->id_hash = cs_id_hash(b->store);
    int rc = backup(b, "first backup", false, &first);
    double took = now() - start;
    if (rc < 0)
        return rc;
    double limit = alone(b, "identify", first.stored.bytes_total) +
                   alone(b, "compress", first.stored.bytes_new) +
                   alone(b, "seal", first.stored.bytes_stored);
    result->share = took > 0 ? limit / took : 0;
    rc = backup(b, "again", false, &again);
    if (rc == 0)
        rc = backup(b, "again, all is read", true, &again);
    return rc == 0 ? restore(b) : rc;
}

int engine_benchmark(const struct engine_benchmark_options *options,
                     struct engine_benchmark_result *result, struct error *err)
{
    struct bench b = {.options = options, .err = err};
    int rc = 0;
    *result = (struct engine_benchmark_result){0};
    if (scratch_make(options->folder, "byre-benchmark", &b.folder, err) < 0)
        return err->code;
    if (options->image != NULL) {
        if (snprintf(b.image, sizeof b.image, "%s", options->image) >= (int)sizeof b.image)
            rc = error_set(err, ERROR_USAGE, "%s: the path is too long", options->image);
    } else {
        snprintf(b.image, sizeof b.image, "%.4000s/image.raw", b.folder);
        rc = make_image(&b);
    }
    if (rc == 0)
        rc = open_store(&b);
    if (rc == 0)
        rc = primitives(&b);
    if (rc == 0)
        rc = pipeline(&b, result);
    cs_close(b.store);
    if (rc < 0)
        (void)scratch_remove(b.folder, NULL);
    else
        rc = scratch_remove(b.folder, err);
    free(b.folder);
    return rc;
}
