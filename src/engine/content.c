/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where the bytes of such a layer come from, and what of it is not kept. How
 * they get into the repository is backup_content.c's.
 */
#include "engine/content.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/input_format.h"
#include "engine/nbd_server.h"

enum { LOSSES_MAX = 1 };

struct content {
    const char *format; /* "nbd", or QEMU's name of the file's */
    struct nbd_source *source;
    struct nbd_server server; /* of a file */
    const char *losses[LOSSES_MAX];
    size_t loss_count;
    char text[160]; /* of one of them */
};

static const char export_loss[] =
    "only what the guest sees is kept: chain, internal snapshots, bitmaps, allocation of zero "
    "clusters and encryption of the image are not";

static int create(struct content **out, const char *format, struct error *err)
{
    *out = calloc(1, sizeof **out);
    if (*out == NULL)
        return error_no_memory(err);
    (*out)->format = format;
    (*out)->server.said = -1;
    return 0;
}

void content_close(struct content *c)
{
    if (c == NULL)
        return;
    nbd_source_close(c->source);
    nbd_server_stop(&c->server);
    free(c);
}

int content_open_export(struct content **out, struct layer_set *set, const char *uri,
                        const char *name, const struct engine_listener *listener,
                        struct layer **top, struct error *err)
{
    struct content *c = NULL;
    int rc = create(&c, "nbd", err);
    *out = NULL;
    if (rc == 0)
        rc = nbd_source_open(&c->source, uri, listener->cancel, err);
    if (rc == 0)
        rc = layer_set_add(set, name, top, err);
    if (rc < 0) {
        content_close(c);
        return rc;
    }
    (*top)->virtual_size = nbd_source_size(c->source);
    c->losses[c->loss_count++] = export_loss;
    *out = c;
    return 0;
}

/* Everything that the file consists of is locked before anything is read. */
static int add_files(struct content *c, struct layer *layer, const struct chain_options *chain,
                     const struct engine_listener *listener, struct error *err)
{
    struct input_facts facts = {0};
    int rc = input_format_inspect(&facts, layer->path, c->format, listener->cancel, err);
    for (size_t i = 0; rc == 0 && i < facts.file_count; i++)
        rc = layer_add_file(layer, facts.files[i], chain, err);
    if (rc == 0 && facts.chain > 0) {
        snprintf(c->text, sizeof c->text,
                 "its chain is not kept: it is one disk with what %zu file%s below it had",
                 facts.chain, facts.chain == 1 ? "" : "s");
        c->losses[c->loss_count++] = c->text;
    }
    input_facts_clear(&facts);
    return rc;
}

static int serve(struct content *c, struct layer *layer, const struct engine_listener *listener,
                 struct error *err)
{
    int fd = -1;
    int rc = nbd_server_start(&c->server, layer->path, c->format, &fd, err);
    if (rc < 0)
        return rc;
    rc = nbd_source_open_socket(&c->source, fd, layer->path, listener->cancel, err);
    if (rc < 0)
        return nbd_server_explain(&c->server, err);
    layer->virtual_size = nbd_source_size(c->source);
    return 0;
}

int content_open_file(struct content **out, struct layer_set *set, const char *path,
                      const char *format, const struct chain_options *chain,
                      const struct engine_listener *listener, struct layer **top, struct error *err)
{
    struct chain_options options = *chain;
    struct content *c = NULL;
    int rc = create(&c, format, err);
    *out = NULL;
    options.top = CHAIN_TOP_OTHER;
    if (rc == 0)
        rc = layer_set_open(set, path, &options, top, err);
    if (rc == 0)
        rc = add_files(c, *top, &options, listener, err);
    if (rc == 0)
        rc = serve(c, *top, listener, err);
    if (rc < 0) {
        content_close(c);
        return rc;
    }
    *out = c;
    return 0;
}

struct nbd_source *content_source(struct content *c)
{
    return c->source;
}

bool content_is_export(const struct content *c)
{
    return c->server.pid == 0;
}

const char *const *content_losses(const struct content *c, size_t *n)
{
    *n = c->loss_count;
    return c->losses;
}

struct record_content *content_record(const struct content *c, const char *bitmap)
{
    struct record_content *record = calloc(1, sizeof *record);
    if (record == NULL)
        return NULL;
    record->format = strdup(c->format);
    record->bitmap = bitmap != NULL ? strdup(bitmap) : NULL;
    record->losses = calloc(c->loss_count + 1, sizeof *record->losses);
    bool whole = record->format != NULL && record->losses != NULL &&
                 (bitmap == NULL || record->bitmap != NULL);
    for (size_t i = 0; whole && i < c->loss_count; i++) {
        record->losses[i] = strdup(c->losses[i]);
        whole = record->losses[i] != NULL;
        record->loss_count += whole;
    }
    if (whole)
        return record;
    record_content_free(record);
    return NULL;
}

int content_explain(struct content *c, struct error *err)
{
    return content_is_export(c) ? err->code : nbd_server_explain(&c->server, err);
}
