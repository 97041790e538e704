/* SPDX-License-Identifier: BSD-2-Clause */
/* byre key add: one more secret that opens the repository. */
#include <string.h>
#include <unistd.h>

#include "cli/cmd_key.h"
#include "cli/fail.h"
#include "cli/repository.h"
#include "cli/secret.h"

struct add_args {
    const char *role;
    const char *password_file;
    const char *key_file;
};

static int run(const struct cli *cli)
{
    const struct add_args *args = cli->args;
    struct cs_store *store = NULL;
    struct cs_error store_err = {0};
    struct secret secret = {0};
    struct cs_secret view;
    struct cs_name slot;
    struct error err = {0};
    char label[256] = "";
    char hex[CS_NAME_HEX];
    int role = args->role ? cs_role_parse(args->role) : CS_ROLE_FULL;
    int code;

    if (!role)
        return fail_usage("--role: full, backup or append, not \"%s\"", args->role);
    code = repository_open(&store, &cli->options);
    if (code)
        return code;
    if (gethostname(label, sizeof label - 1))
        strcpy(label, "unknown");
    if (secret_new(&secret, args->password_file, args->key_file, &err)) {
        code = fail_error(&err);
        goto out;
    }
    view = secret_view(&secret);
    if (cs_key_add(store, &view, (enum cs_role)role, label, &slot, &store_err))
        code = fail_store(&store_err);
    else
        cmd_key_done(cli, "added", cs_name_hex(&slot, hex));
out:
    secret_wipe(&secret);
    cs_close(store);
    return code;
}

static const struct option_spec specs[] = {
    {"role", 0, OPTION_VALUE, offsetof(struct add_args, role), "full|backup|append",
     "what it may do (default: full)", NULL},
    {"new-password-file", 0, OPTION_VALUE, offsetof(struct add_args, password_file), "FILE",
     "its passphrase: the first line of FILE", NULL},
    {"new-key-file", 0, OPTION_VALUE, offsetof(struct add_args, key_file), "FILE", "its key file",
     NULL},
    {0},
};

const struct command cmd_key_add = {
    .name = "add",
    .usage = "",
    .summary = "adds a key",
    .description = "A key of the role append can only back up, one of the role backup can also\n"
                   "forget and prune, and neither can read what disks hold; full can do all.\n",
    .specs = specs,
    .args_size = sizeof(struct add_args),
    .run = run,
};
