/* SPDX-License-Identifier: BSD-2-Clause */
/* byre key remove: a secret that opens the repository no longer. */
#include <stdlib.h>
#include <string.h>

#include "cli/cmd_key.h"
#include "cli/fail.h"
#include "cli/repository.h"

enum { PREFIX_MIN = 4 };

struct remove_args {
    bool new_epoch;
};

/* Sets ${*slot} to the one of ${keys} whose id starts with ${prefix}. */
static int find_key(const struct cs_key *keys, size_t count, const char *prefix,
                    struct cs_name *slot, struct error *err)
{
    size_t len = strlen(prefix);
    size_t found = 0;
    char hex[CS_NAME_HEX];

    if (len < PREFIX_MIN || len >= CS_NAME_HEX || prefix[strspn(prefix, "0123456789abcdef")])
        return error_set(err, ERROR_USAGE, "%s is no key's id: %d and more hex digits", prefix,
                         PREFIX_MIN);
    for (size_t i = 0; i < count; i++) {
        if (strncmp(cs_name_hex(&keys[i].slot, hex), prefix, len) == 0) {
            *slot = keys[i].slot;
            found++;
        }
    }
    if (!found)
        return error_set(err, ERROR_NOT_FOUND, "there is no key %s", prefix);
    if (found > 1)
        return error_set(err, ERROR_USAGE, "%s is the beginning of %zu keys: give more digits",
                         prefix, found);
    return 0;
}

static int run(const struct cli *cli)
{
    const struct remove_args *args = cli->args;
    struct cs_store *store = NULL;
    struct cs_error store_err = {0};
    struct cs_key *keys = NULL;
    struct cs_name slot;
    struct error err = {0};
    char hex[CS_NAME_HEX];
    size_t count = 0;
    int code = repository_open(&store, &cli->options);

    if (!code && cs_key_list(store, &keys, &count, &store_err))
        code = fail_store(&store_err);
    if (!code && find_key(keys, count, cli->operands.items[0], &slot, &err))
        code = fail_error(&err);
    if (!code && cs_key_remove(store, &slot, args->new_epoch, &store_err))
        code = fail_store(&store_err);
    if (!code)
        cmd_key_done(cli, "removed", cs_name_hex(&slot, hex));
    free(keys);
    cs_close(store);
    return code;
}

static const struct option_spec specs[] = {
    {"new-epoch", 0, OPTION_FLAG, offsetof(struct remove_args, new_epoch), NULL,
     "what is written from now on is not for this key", NULL},
    {0},
};

const struct command cmd_key_remove = {
    .name = "remove",
    .usage = "ID",
    .summary = "removes a key",
    .description = "ID is the key's, or 4 and more digits of its beginning, as key list shows.\n",
    .specs = specs,
    .args_size = sizeof(struct remove_args),
    .operands_min = 1,
    .operands_max = 1,
    .run = run,
};
