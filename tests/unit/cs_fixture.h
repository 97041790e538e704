/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CS_FIXTURE_H
#define CS_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "chunkstore.h"

/* Repositories in folders of their own, opened by key files so that no test waits for Argon2. Every
 * failure ends the test. */

enum { FIXTURE_PATH = 512 };

struct repo {
    char dir[FIXTURE_PATH];  /* all that follows lies in it */
    char path[FIXTURE_PATH]; /* of the repository */
    char cache[FIXTURE_PATH];
    char heads[FIXTURE_PATH]; /* state folder */
    char code[CS_RECOVERY_CODE_SIZE];
    struct cs_id id;
};

int folder_setup(void **state); /* a folder, and no repository yet */
int repo_setup(void **state);
int repo_teardown(void **state);

/* Key file ${n}; 0 is the founder's. Lent for ever. */
struct cs_secret key_file(unsigned n);

struct cs_store *
open_store(const struct repo *repo); /* as founder; neither cache nor state folder */
struct cs_store *open_as(const struct repo *repo, unsigned key);
int try_open(struct cs_store **store, const struct repo *repo, unsigned key, struct cs_error *err);
struct cs_store *open_with(const struct repo *repo, const struct cs_open_options *options);

void add_key(struct cs_store *store, unsigned key, enum cs_role role, struct cs_name *slot);

/* ${len} bytes that depend on ${seed} alone and do not compress. */
void noise(void *buf, size_t len, uint64_t seed);

struct cs_writer *begin(struct cs_store *store);
struct cs_id put_chunk(struct cs_writer *writer, uint64_t seed, size_t len);
struct cs_id put_object(struct cs_writer *writer, uint64_t seed, size_t len);
void expect_chunk(struct cs_store *store, const struct cs_id *id, uint64_t seed, size_t len);
void expect_object(struct cs_store *store, const struct cs_id *id, uint64_t seed, size_t len);
int try_commit(struct cs_writer *writer, const struct cs_id *record, const char *name,
               struct cs_counters *counters, struct cs_error *err);
/* Commits an archive of one record and one chunk of noise. */
struct cs_id commit_one(struct cs_store *store, const char *name, uint64_t seed);
bool has_object(struct cs_store *store, const struct cs_id *id);

/* Number of errors that cs_check finds, all data read; the last message goes to ${message}. */
enum { CHECK_MESSAGE = 1024 };
uint64_t check_errors(struct cs_store *store, char message[CHECK_MESSAGE]);

/* ---- files; names are relative to the repository ---- */

uint8_t *file_read(const struct repo *repo, const char *name, size_t *len); /* to be freed */
void file_write(const struct repo *repo, const char *name, const void *data, size_t len);
void file_flip(const struct repo *repo, const char *name, size_t at);
void file_remove(const struct repo *repo, const char *name);
bool file_exists(const struct repo *repo, const char *name);
void file_copy(const struct repo *repo, const char *from, const char *to);
/* Files in ${folder}, and the name of the first in the order of names ("folder/name"). */
size_t files_in(const struct repo *repo, const char *folder, char first[FIXTURE_PATH]);
uint64_t bytes_in(const struct repo *repo, const char *folder);
/* Copies the whole repository to, or back from, a place beside it. */
void repo_save(const struct repo *repo);
void repo_restore(const struct repo *repo);
unsigned log_length(const struct repo *repo); /* entries of the first log folder */
void entry_name(char out[FIXTURE_PATH], unsigned number);

#define assert_ok(call)                                                                            \
    do {                                                                                           \
        struct cs_error assert_error_ = {0};                                                       \
        struct cs_error *err = &assert_error_;                                                     \
        if ((call) < 0)                                                                            \
            fail_msg("%s: %s", #call, assert_error_.message);                                      \
    } while (0)

/* ${call} uses `err`; it must fail with ${expected} and say why. */
#define assert_fails(expected, call)                                                               \
    do {                                                                                           \
        struct cs_error assert_error_ = {0};                                                       \
        struct cs_error *err = &assert_error_;                                                     \
        int assert_rc_ = (call);                                                                   \
        if (assert_rc_ != (expected))                                                              \
            fail_msg("%s: gave %d (%s), not %d", #call, assert_rc_, assert_error_.message,         \
                     (int)(expected));                                                             \
        assert_int_equal(assert_error_.code, (expected));                                          \
        assert_true(assert_error_.message[0] != 0);                                                \
    } while (0)

#endif
