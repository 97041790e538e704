/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_BUNDLE_H
#define BYRE_ENGINE_BUNDLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/*
 * Tar streams, written and read. Written ones are pax, with holes as GNU tar's sparse files 1.0,
 * which GNU tar, bsdtar and Python read. Names are bytes. For one thread at a time.
 */

/* ---- writing ---- */

enum bundle_filter { BUNDLE_PLAIN, BUNDLE_GZIP, BUNDLE_ZSTD };

struct bundle_sink { /* where the bytes of the tar go */
    int (*write)(void *arg, const void *buf, size_t len, struct error *err);
    void *arg;
};

struct bundle_extent { /* of a file, bytes */
    uint64_t offset;
    uint64_t length;
};

struct bundle_file {
    const char *name; /* relative */
    uint64_t size;    /* bytes */
    uint32_t mode;    /* permission bits */
    uint32_t uid;
    uint32_t gid;
    int64_t mtime_ns;
    /* Where it has data, ascending; the rest is holes. NULL: it has none. Lent until
     * bundle_writer_begin returns. */
    const struct bundle_extent *extents;
    size_t extent_count;
};

struct bundle_writer;

/* ${threads} for compression. The sink is called until the writer is freed. */
int bundle_writer_new(struct bundle_writer **writer, enum bundle_filter filter, unsigned threads,
                      const struct bundle_sink *sink, struct error *err);

/* The next file, whose bytes then come in order: all of them, zeros for holes. */
int bundle_writer_begin(struct bundle_writer *writer, const struct bundle_file *file,
                        struct error *err);
int bundle_writer_data(struct bundle_writer *writer, const void *buf, size_t len,
                       struct error *err);

/* Ends the tar. Without it, it stays recognizably cut off. */
int bundle_writer_finish(struct bundle_writer *writer, struct error *err);
void bundle_writer_free(struct bundle_writer *writer);

/* ---- reading ---- */

struct bundle_source { /* where the bytes of the tar come from */
    /* Sets ${*got} to 0 only at the end. */
    int (*read)(void *arg, void *buf, size_t len, size_t *got, struct error *err);
    void *arg;
};

struct bundle_entry {
    const char *name; /* as it stands there, lent until the next entry */
    uint64_t size;    /* bytes, with holes */
    bool is_folder;
    const char *strange; /* what it is where it is neither file nor folder, or NULL */
};

struct bundle_reader;

/*
 * Reads a tar that came through any of gzip, bzip2, xz, lzma, zstd, lz4 and compress; no other
 * program is run for it. Trusts nothing: what stands before a file's data may take 4 MiB.
 * ERROR_CORRUPT for what is no tar, or is damaged or cut off.
 */
int bundle_reader_new(struct bundle_reader **reader, const struct bundle_source *source,
                      struct error *err);

/* The next entry; ${*found} is false behind the last. What is left of the one before is passed
 * over only if it is small. */
int bundle_reader_next(struct bundle_reader *reader, struct bundle_entry *entry, bool *found,
                       struct error *err);

/* The next piece of the entry's data: ${*len} bytes at ${*offset}, ascending, lent until the next
 * call; what lies between pieces is zeros. ${*found} is false behind the last. */
int bundle_reader_data(struct bundle_reader *reader, const void **buf, size_t *len,
                       uint64_t *offset, bool *found, struct error *err);
void bundle_reader_free(struct bundle_reader *reader);

#endif
