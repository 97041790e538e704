/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Encoding compressed clusters, which is most of the work of an image that has
 * them: where there are workers, some clusters ahead of the one that is put.
 * What becomes of a stream is writer_stream.c's.
 */
#include <stdlib.h>
#include <string.h>

#include "qcow2/writer_internal.h"

enum { AHEAD = 4 << 20 }; /* bytes of clusters */

/* In an encrypted file only compressed clusters are not, so they must stay compressed. */
static int encode(const struct qcow2_writer *w, struct qcow2_codec *codec, const uint8_t *data,
                  uint8_t *stream, size_t *len, struct error *err)
{
    int rc = qcow2_codec_encode(codec, data, w->cluster_size, stream, len, err);

    if (rc == 0 && *len == 0 && w->header.crypt_method != 0)
        return qcow2_codec_encode_always(codec, data, w->cluster_size, stream, len, err);
    return rc;
}

static int make_codecs(struct qcow2_writer *w, struct error *err)
{
    struct writer_encoder *e = &w->encoder;
    unsigned n = w->workers.count > 0 ? w->workers.count : 1;
    int rc = 0;

    if (e->codecs != NULL)
        return 0;
    e->codecs = calloc(n, sizeof *e->codecs);
    if (e->codecs == NULL)
        return error_no_memory(err);
    for (unsigned i = 0; rc == 0 && i < n; i++)
        rc = qcow2_codec_new(&e->codecs[i], w->header.compression_type, err);
    return rc;
}

static int make_room(struct qcow2_writer *w, struct error *err)
{
    struct writer_encoder *e = &w->encoder;

    if (e->room > 0)
        return 0;
    size_t room = w->cluster_size < AHEAD ? AHEAD / w->cluster_size : 1;
    e->lengths = calloc(room, sizeof *e->lengths);
    e->wanted = calloc(room, sizeof *e->wanted);
    e->streams = malloc(room * 2 * w->cluster_size);
    if (e->lengths == NULL || e->wanted == NULL || e->streams == NULL)
        return error_no_memory(err);
    e->room = room;
    return 0;
}

void writer_encoder_clear(struct qcow2_writer *w)
{
    struct writer_encoder *e = &w->encoder;
    unsigned n = w->workers.count > 0 ? w->workers.count : 1;

    for (unsigned i = 0; e->codecs != NULL && i < n; i++)
        qcow2_codec_free(e->codecs[i]);
    free(e->codecs);
    free(e->lengths);
    free(e->streams);
    free(e->wanted);
}

/* In a worker. What fails is encoded again when it is its turn, and fails again. */
static void encode_one(void *arg, size_t i, unsigned worker)
{
    struct qcow2_writer *w = arg;
    struct writer_encoder *e = &w->encoder;
    size_t len = 0;

    if (e->wanted[i] && encode(w, e->codecs[worker], w->data + (e->first + i) * w->cluster_size,
                               e->streams + i * 2 * w->cluster_size, &len, NULL) == 0)
        e->lengths[i] = len;
}

int writer_encode_ahead(struct qcow2_writer *w, uint32_t view, uint64_t first,
                        const struct qcow2_entry *entries, size_t n, size_t i, struct error *err)
{
    struct writer_encoder *e = &w->encoder;
    int rc;

    if (entries[i].class != QCOW2_COMPRESSED || w->data == NULL || w->workers.count < 2 ||
        (i >= e->first && i < e->first + e->count))
        return 0;
    if ((rc = make_codecs(w, err)) < 0 || (rc = make_room(w, err)) < 0)
        return rc;
    e->first = i;
    e->count = n - i < e->room ? n - i : e->room;
    qcow2_writer_wanted(w, view, first + i, entries + i, e->count, e->wanted);
    for (size_t k = 0; k < e->count; k++) {
        e->lengths[k] = SIZE_MAX;
        e->wanted[k] = e->wanted[k] && entries[i + k].class == QCOW2_COMPRESSED;
    }
    w->workers.each(w->workers.arg, e->count, encode_one, w);
    return 0;
}

void writer_encode_end(struct qcow2_writer *w)
{
    w->encoder.count = 0;
}

int writer_encode(struct qcow2_writer *w, size_t at, const uint8_t **stream, size_t *len,
                  struct error *err)
{
    struct writer_encoder *e = &w->encoder;
    size_t i = at / w->cluster_size;
    int rc;

    if (w->data == NULL)
        return writer_wrong_order(w, "a compressed cluster comes without its data", err);
    if (i >= e->first && i - e->first < e->count && e->lengths[i - e->first] != SIZE_MAX) {
        *stream = e->streams + (i - e->first) * 2 * w->cluster_size;
        *len = e->lengths[i - e->first];
        return 0;
    }
    if ((rc = make_codecs(w, err)) < 0)
        return rc;
    *stream = w->stream;
    return encode(w, e->codecs[0], w->data + at, w->stream, len, err);
}
