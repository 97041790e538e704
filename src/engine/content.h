/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_CONTENT_H
#define BYRE_ENGINE_CONTENT_H

#include <stdbool.h>

#include "engine/engine.h"
#include "engine/nbd_source.h"
#include "engine/record.h"
#include "qcow2/chain.h"

/*
 * Content mode: a layer of which somebody else reads the format, and byre the
 * bytes that the guest sees: an export of an NBD server, or a file that a
 * qemu-nbd of byre's own serves. For one thread.
 */

struct content;

/* Opens the export ${uri}, and adds it to ${set} as ${*top}, lent by it, by the name ${name}. */
int content_open_export(struct content **content, struct layer_set *set, const char *uri,
                        const char *name, const struct engine_listener *listener,
                        struct layer **top, struct error *err);

/* Opens the file ${path} of ${format}, an input format that is another (input_format.h), with
 * what it consists of, as layer_set_open does with ${chain}, and has it served. */
int content_open_file(struct content **content, struct layer_set *set, const char *path,
                      const char *format, const struct chain_options *chain,
                      const struct engine_listener *listener, struct layer **top,
                      struct error *err);

void content_close(struct content *content); /* NULL is fine */

struct nbd_source *content_source(struct content *content); /* lent */

bool content_is_export(const struct content *content);

/* The texts that tell what is lost; ${*n}: how many. Lent. */
const char *const *content_losses(const struct content *content, size_t *n);

/* For its record, fresh; with ${bitmap} (NULL: none) as what is empty since this backup. NULL: no
 * memory. */
struct record_content *content_record(const struct content *content, const char *bitmap);

/* After a failure with ${err}: adds what the server of its own had to say. Returns the code. */
int content_explain(struct content *content, struct error *err);

#endif
