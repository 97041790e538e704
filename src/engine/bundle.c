/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Tar by libarchive, which nobody else uses: its calls, its errors, and its
 * ideas of the locale stay here. What is in a tar and where it goes, others know.
 */
#include "engine/bundle.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { COPY = 64 << 10, PREAMBLE_MAX = 4 << 20 };

/* ---- names ---- */

/* libarchive converts names between the locale and UTF-8; where both are one, bytes stay as they
 * are, whatever they are. */
static locale_t enter_utf8(locale_t utf8)
{
    return utf8 != (locale_t)0 ? uselocale(utf8) : (locale_t)0;
}

static void leave_utf8(locale_t before)
{
    if (before != (locale_t)0)
        uselocale(before);
}

static locale_t new_utf8(void)
{
    return newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
}

/* ---- writing ---- */

struct bundle_writer {
    struct archive *tar;
    struct bundle_sink sink;
    struct error failure; /* of the sink */
    locale_t utf8;
    bool finished;
    bool given_up; /* what still comes is not for the sink */
};

/* Our own failure, if it was that, else libarchive's. */
static int tar_error(struct archive *tar, const struct error *own, const char *what,
                     struct error *err)
{
    if (own->code != 0) {
        if (err != NULL)
            *err = *own;
        return own->code;
    }
    const char *text = archive_error_string(tar);
    if (archive_errno(tar) == ENOMEM)
        return error_no_memory(err);
    return error_set(err, ERROR_IO, "%s: %s", what, text != NULL ? text : "tar failed");
}

static la_ssize_t on_write(struct archive *tar, void *arg, const void *buf, size_t len)
{
    struct bundle_writer *w = arg;
    if (w->given_up)
        return (la_ssize_t)len;
    if (w->failure.code == 0 && w->sink.write(w->sink.arg, buf, len, &w->failure) == 0)
        return (la_ssize_t)len;
    archive_set_error(tar, EIO, "not written");
    return -1;
}

static int set_filter(struct archive *tar, enum bundle_filter filter, unsigned threads)
{
    char number[16];
    snprintf(number, sizeof number, "%u", threads);
    switch (filter) {
    case BUNDLE_PLAIN:
        return archive_write_add_filter_none(tar);
    case BUNDLE_GZIP:
        return archive_write_add_filter_gzip(tar);
    case BUNDLE_ZSTD:
        if (archive_write_add_filter_zstd(tar) != ARCHIVE_OK)
            return ARCHIVE_FATAL;
        if (threads > 1) /* it does without where the library was built so */
            (void)archive_write_set_filter_option(tar, "zstd", "threads", number);
        return ARCHIVE_OK;
    }
    return ARCHIVE_FATAL;
}

int bundle_writer_new(struct bundle_writer **out, enum bundle_filter filter, unsigned threads,
                      const struct bundle_sink *sink, struct error *err)
{
    struct bundle_writer *w = calloc(1, sizeof *w);
    *out = NULL;
    if (w == NULL)
        return error_no_memory(err);
    w->sink = *sink;
    w->utf8 = new_utf8();
    w->tar = archive_write_new();
    int rc = w->tar == NULL ? error_no_memory(err) : 0;
    if (rc == 0 && (archive_write_set_format_pax(w->tar) != ARCHIVE_OK ||
                    set_filter(w->tar, filter, threads) != ARCHIVE_OK ||
                    archive_write_set_bytes_per_block(w->tar, COPY) != ARCHIVE_OK ||
                    archive_write_set_bytes_in_last_block(w->tar, 1) != ARCHIVE_OK ||
                    archive_write_open(w->tar, w, NULL, on_write, NULL) != ARCHIVE_OK))
        rc = tar_error(w->tar, &w->failure, "tar", err);
    if (rc < 0) {
        bundle_writer_free(w);
        return rc;
    }
    *out = w;
    return 0;
}

static void fill_entry(struct archive_entry *entry, const struct bundle_file *file)
{
    int64_t seconds = file->mtime_ns / 1000000000;
    long nanoseconds = (long)(file->mtime_ns % 1000000000);
    if (nanoseconds < 0) {
        nanoseconds += 1000000000;
        seconds--;
    }
    archive_entry_copy_pathname(entry, file->name);
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_perm(entry, file->mode & 07777);
    archive_entry_set_uid(entry, file->uid);
    archive_entry_set_gid(entry, file->gid);
    archive_entry_set_mtime(entry, (time_t)seconds, nanoseconds);
    archive_entry_set_size(entry, (la_int64_t)file->size);
    for (size_t i = 0; file->extents != NULL && i < file->extent_count; i++)
        archive_entry_sparse_add_entry(entry, (la_int64_t)file->extents[i].offset,
                                       (la_int64_t)file->extents[i].length);
    if (file->extents != NULL && file->extent_count == 0 && file->size > 0)
        archive_entry_sparse_add_entry(entry, 0, 0);
}

int bundle_writer_begin(struct bundle_writer *w, const struct bundle_file *file, struct error *err)
{
    struct archive_entry *entry = archive_entry_new();
    if (entry == NULL)
        return error_no_memory(err);
    if (file->size > INT64_MAX) {
        archive_entry_free(entry);
        return error_set(err, ERROR_UNSUPPORTED, "%s: is too large for a tar", file->name);
    }
    locale_t before = enter_utf8(w->utf8);
    fill_entry(entry, file);
    int said = archive_write_header(w->tar, entry);
    leave_utf8(before);
    archive_entry_free(entry);
    /* a warning is about a name that is not UTF-8: its bytes are written all the same */
    return said == ARCHIVE_OK || said == ARCHIVE_WARN
               ? 0
               : tar_error(w->tar, &w->failure, file->name, err);
}

int bundle_writer_data(struct bundle_writer *w, const void *buf, size_t len, struct error *err)
{
    const char *at = buf;
    while (len > 0) {
        la_ssize_t n = archive_write_data(w->tar, at, len);
        if (n <= 0)
            return tar_error(w->tar, &w->failure, "tar", err);
        at += n;
        len -= (size_t)n;
    }
    return 0;
}

int bundle_writer_finish(struct bundle_writer *w, struct error *err)
{
    if (archive_write_close(w->tar) != ARCHIVE_OK)
        return tar_error(w->tar, &w->failure, "tar", err);
    w->finished = true;
    return 0;
}

void bundle_writer_free(struct bundle_writer *w)
{
    if (w == NULL)
        return;
    if (w->tar != NULL && !w->finished) {
        w->given_up = true;
        archive_write_fail(w->tar);  /* or it would fill the entry up, */
        archive_write_close(w->tar); /* and without this leak its buffer */
    }
    archive_write_free(w->tar);
    if (w->utf8 != (locale_t)0)
        freelocale(w->utf8);
    free(w);
}

/* ---- reading ---- */

/* Two of them: one takes the compression off, and what comes out is counted before the other, who
 * knows tar, keeps it in memory. */
struct bundle_reader {
    struct archive *plain;
    struct archive *tar;
    struct bundle_source source;
    struct error failure; /* of the source, or by our own limit */
    locale_t utf8;
    size_t preamble; /* bytes read of what stands before data */
    bool in_data;
    uint8_t compressed[COPY];
    uint8_t bytes[COPY];
};

static la_ssize_t on_read(struct archive *plain, void *arg, const void **buf)
{
    struct bundle_reader *r = arg;
    size_t got = 0;
    *buf = r->compressed;
    if (r->failure.code == 0 &&
        r->source.read(r->source.arg, r->compressed, sizeof r->compressed, &got, &r->failure) == 0)
        return (la_ssize_t)got;
    archive_set_error(plain, EIO, "not read");
    return -1;
}

static la_ssize_t on_read_plain(struct archive *tar, void *arg, const void **buf)
{
    struct bundle_reader *r = arg;
    *buf = r->bytes;
    la_ssize_t got = archive_read_data(r->plain, r->bytes, sizeof r->bytes);
    if (got < 0) {
        if (r->failure.code == 0)
            error_set(&r->failure, ERROR_CORRUPT, "the tar cannot be read: %s",
                      archive_error_string(r->plain));
        archive_set_error(tar, EIO, "not read");
        return -1;
    }
    r->preamble += r->in_data ? 0 : (size_t)got;
    if (r->preamble > PREAMBLE_MAX) {
        error_set(&r->failure, ERROR_CORRUPT,
                  "the tar has more than %d bytes of headers before the data of a file",
                  PREAMBLE_MAX);
        archive_set_error(tar, EIO, "not read");
        return -1;
    }
    return got;
}

static int damaged(struct bundle_reader *r, struct archive *which, struct error *err)
{
    struct error own = r->failure;
    if (own.code == 0) {
        const char *text = archive_error_string(which);
        if (archive_errno(which) == ENOMEM)
            return error_no_memory(err);
        return error_set(err, ERROR_CORRUPT, "the tar cannot be read: %s",
                         text != NULL ? text : "it is no tar");
    }
    return tar_error(which, &own, "tar", err);
}

static int open_plain(struct bundle_reader *r, struct error *err)
{
    struct archive *a = r->plain = archive_read_new();
    struct archive_entry *entry = NULL;
    if (a == NULL)
        return error_no_memory(err);
    /* not all that it knows: some are other programs, which would be run */
    archive_read_support_filter_gzip(a);
    archive_read_support_filter_bzip2(a);
    archive_read_support_filter_xz(a);
    archive_read_support_filter_lzma(a);
    archive_read_support_filter_zstd(a);
    archive_read_support_filter_lz4(a);
    archive_read_support_filter_compress(a);
    archive_read_support_format_raw(a);
    if (archive_read_open(a, r, NULL, on_read, NULL) != ARCHIVE_OK ||
        archive_read_next_header(a, &entry) != ARCHIVE_OK)
        return damaged(r, a, err);
    return 0;
}

int bundle_reader_new(struct bundle_reader **out, const struct bundle_source *source,
                      struct error *err)
{
    struct bundle_reader *r = calloc(1, sizeof *r);
    *out = NULL;
    if (r == NULL)
        return error_no_memory(err);
    r->source = *source;
    r->utf8 = new_utf8();
    int rc = open_plain(r, err);
    if (rc == 0) {
        r->tar = archive_read_new();
        rc = r->tar == NULL ? error_no_memory(err) : 0;
    }
    if (rc == 0 && (archive_read_support_format_tar(r->tar) != ARCHIVE_OK ||
                    archive_read_open(r->tar, r, NULL, on_read_plain, NULL) != ARCHIVE_OK))
        rc = damaged(r, r->tar, err);
    if (rc < 0) {
        bundle_reader_free(r);
        return rc;
    }
    *out = r;
    return 0;
}

static const char *strangeness(struct archive_entry *entry)
{
    if (archive_entry_hardlink(entry) != NULL || archive_entry_hardlink_w(entry) != NULL)
        return "a hard link";
    switch (archive_entry_filetype(entry)) {
    case AE_IFREG:
        return archive_entry_size_is_set(entry) && archive_entry_size(entry) >= 0
                   ? NULL
                   : "a file without a size";
    case AE_IFDIR:
        return NULL;
    case AE_IFLNK:
        return "a symbolic link";
    case AE_IFCHR:
    case AE_IFBLK:
        return "a device";
    default:
        return "no regular file";
    }
}

int bundle_reader_next(struct bundle_reader *r, struct bundle_entry *out, bool *found,
                       struct error *err)
{
    struct archive_entry *entry = NULL;
    r->preamble = 0;
    r->in_data = false;
    *found = false;
    *out = (struct bundle_entry){0};
    locale_t before = enter_utf8(r->utf8);
    int said = archive_read_next_header(r->tar, &entry);
    if (said == ARCHIVE_OK || said == ARCHIVE_WARN) {
        out->name = archive_entry_pathname(entry);
        out->strange = strangeness(entry);
        out->is_folder = archive_entry_filetype(entry) == AE_IFDIR;
        out->size =
            out->strange == NULL && !out->is_folder ? (uint64_t)archive_entry_size(entry) : 0;
    }
    leave_utf8(before);
    if (said == ARCHIVE_EOF)
        return 0;
    if (said != ARCHIVE_OK && said != ARCHIVE_WARN)
        return damaged(r, r->tar, err);
    if (out->name == NULL)
        return error_set(err, ERROR_CORRUPT, "the tar has an entry without a name");
    r->in_data = true;
    *found = true;
    return 0;
}

int bundle_reader_data(struct bundle_reader *r, const void **buf, size_t *len, uint64_t *offset,
                       bool *found, struct error *err)
{
    la_int64_t at = 0;
    int said = archive_read_data_block(r->tar, buf, len, &at);
    *found = said == ARCHIVE_OK;
    *offset = (uint64_t)at;
    if (said == ARCHIVE_OK && at < 0)
        return error_set(err, ERROR_CORRUPT, "the tar has data before the beginning of a file");
    return said == ARCHIVE_OK || said == ARCHIVE_EOF ? 0 : damaged(r, r->tar, err);
}

void bundle_reader_free(struct bundle_reader *r)
{
    if (r == NULL)
        return;
    archive_read_free(r->tar);
    archive_read_free(r->plain);
    if (r->utf8 != (locale_t)0)
        freelocale(r->utf8);
    free(r);
}
