/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What records say of a layer of which only the guest's bytes were read: what it
 * was, and what of it is lost. How it was read is not known here.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/record_parts.h"

/* What is not so many or so long is no list of losses. */
enum { LOSSES_MAX = 64, TEXT_MAX = 1024, FORMAT_MAX = 16 };

static const char format_letters[] = "abcdefghijklmnopqrstuvwxyz0123456789";

json_t *record_content_json(const struct record_content *c)
{
    json_t *losses = json_array();
    for (size_t i = 0; i < c->loss_count; i++)
        json_array_append_new(losses, json_from_bytes(c->losses[i]));
    if (json_array_size(losses) != c->loss_count) {
        json_decref(losses);
        return NULL;
    }
    return json_pack("{s:o, s:o, s:o}", "bitmap", json_from_optional(c->bitmap), "format",
                     json_from_bytes(c->format), "losses", losses);
}

static bool is_text(const char *s)
{
    return s != NULL && s[0] != 0 && strlen(s) < TEXT_MAX;
}

void record_content_get(struct json_reader *r, const json_t *o, struct record_content *c)
{
    const json_t *losses = json_list(r, o, "losses");
    size_t n = json_array_size(losses);
    c->format = json_get_bytes(r, o, "format");
    c->bitmap = json_get_optional(r, o, "bitmap");
    if (!is_text(c->format) || strlen(c->format) > FORMAT_MAX ||
        strspn(c->format, format_letters) != strlen(c->format))
        json_bad(r, "format");
    if (c->bitmap != NULL && !is_text(c->bitmap))
        json_bad(r, "bitmap");
    if (r->bad)
        return;
    c->losses = n <= LOSSES_MAX ? calloc(n + 1, sizeof *c->losses) : NULL;
    if (c->losses == NULL) {
        json_bad(r, "losses");
        return;
    }
    for (; c->loss_count < n && !r->bad; c->loss_count++) {
        char *loss = json_to_bytes(r, json_array_get(losses, c->loss_count), "losses");
        c->losses[c->loss_count] = loss;
        if (!is_text(loss))
            json_bad(r, "losses");
    }
}

void record_content_free(struct record_content *c)
{
    if (c == NULL)
        return;
    free(c->format);
    free(c->bitmap);
    for (size_t i = 0; i < c->loss_count; i++)
        free(c->losses[i]);
    free(c->losses);
    free(c);
}
