/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_CLI_CONF_KEY_H
#define BYRE_CLI_CONF_KEY_H

#include "cli/conf.h"

/* What keys there are, and what each takes. Pure. */

enum conf_list { CONF_ONE, CONF_LINES, CONF_WORDS }; /* lines; or separated by commas too */

struct conf_key_spec {
    const char *name;
    unsigned kinds; /* of sections that may have it, enum conf_kind or'ed */
    enum conf_list list;
    int (*check)(const char *name, const char *text, struct error *err); /* one item */
};

extern const struct conf_key_spec conf_keys[CONF_KEYS];

/* Reads the value of ionice: ${*priority} is what ioprio_set takes. */
int conf_key_ionice(const char *name, const char *text, int *priority, struct error *err);

/* Whether ${text} may be the name of a job or repository: it becomes a file name and a label. */
int conf_key_section_name(const char *text, struct error *err);

#endif
