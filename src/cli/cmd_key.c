/* SPDX-License-Identifier: BSD-2-Clause */
/* byre key: its commands, and two of them: list and passwd. */
#include <stdlib.h>

#include "cli/cmd_key.h"
#include "cli/fail.h"
#include "cli/message.h"
#include "cli/output.h"
#include "cli/repository.h"
#include "cli/secret.h"
#include "cli/table.h"
#include "cli/units.h"

const char *cmd_key_kind(enum cs_slot_kind kind)
{
    switch (kind) {
    case CS_SLOT_PASSPHRASE:
        return "passphrase";
    case CS_SLOT_KEY_FILE:
        return "key-file";
    case CS_SLOT_RECOVERY:
        return "recovery-code";
    }
    return "unknown";
}

static void list_json(const struct cs_key *keys, size_t count)
{
    json_t *list = json_array();

    for (size_t i = 0; i < count; i++) {
        json_t *key = json_object();
        char hex[CS_NAME_HEX];
        char time[UNITS_TEXT];

        json_object_set_new(key, "id", json_string(cs_name_hex(&keys[i].slot, hex)));
        json_object_set_new(key, "role", json_string(cs_role_name(keys[i].role)));
        json_object_set_new(key, "kind", json_string(cmd_key_kind(keys[i].kind)));
        json_object_set_new(key, "label", output_string(keys[i].label));
        json_object_set_new(key, "added", json_string(units_utc_time(keys[i].added, time)));
        json_object_set_new(key, "own", json_boolean(keys[i].own));
        json_array_append_new(list, key);
    }
    output_json(stdout, list);
}

static int list_table(const struct cs_key *keys, size_t count, struct error *err)
{
    static const char *const headings[] = {" ID", "ROLE", "KIND", "ADDED", "LABEL"};
    struct table table;
    int rc = 0;

    table_begin(&table, sizeof headings / sizeof headings[0], headings, NULL);
    for (size_t i = 0; !rc && i < count; i++) {
        char id[CS_NAME_HEX + 1];
        char time[UNITS_TEXT];
        const char *const cells[] = {
            id,
            cs_role_name(keys[i].role),
            cmd_key_kind(keys[i].kind),
            units_local_time(keys[i].added, time),
            keys[i].label,
        };

        id[0] = keys[i].own ? '*' : ' ';
        cs_name_hex(&keys[i].slot, id + 1);
        for (size_t k = 0; !rc && k < sizeof cells / sizeof cells[0]; k++)
            rc = table_add(&table, cells[k], err);
    }
    if (!rc)
        table_print(&table, stdout);
    table_clear(&table);
    return rc;
}

static int run_list(const struct cli *cli)
{
    struct cs_store *store = NULL;
    struct cs_error store_err = {0};
    struct cs_key *keys = NULL;
    struct error err = {0};
    size_t count = 0;
    int code = repository_open(&store, &cli->options);

    if (!code && cs_key_list(store, &keys, &count, &store_err))
        code = fail_store(&store_err);
    if (!code && cli->options.json)
        list_json(keys, count);
    else if (!code && list_table(keys, count, &err))
        code = fail_error(&err);
    free(keys);
    cs_close(store);
    return code;
}

static const struct command key_list = {
    .name = "list",
    .usage = "",
    .summary = "shows the keys; * marks the one in use",
    .run = run_list,
};

struct passwd_args {
    const char *password_file;
    const char *key_file;
};

/* Whoever has nothing but the code is not to be left without it unawares. */
static void warn_of_recovery_code(const struct cs_store *store)
{
    struct cs_key *keys = NULL;
    size_t count = 0;

    if (cs_key_list(store, &keys, &count, NULL))
        return;
    for (size_t i = 0; i < count; i++) {
        if (keys[i].own && keys[i].kind == CS_SLOT_RECOVERY)
            message_warning("the recovery code that this key was made for opens nothing any more "
                            "(key add would have left it)");
    }
    free(keys);
}

static int run_passwd(const struct cli *cli)
{
    const struct passwd_args *args = cli->args;
    struct cs_store *store = NULL;
    struct cs_error store_err = {0};
    struct secret secret = {0};
    struct cs_secret view;
    struct error err = {0};
    char hex[CS_NAME_HEX];
    int code = repository_open(&store, &cli->options);

    if (!code && secret_new(&secret, args->password_file, args->key_file, &err))
        code = fail_error(&err);
    if (!code) {
        view = secret_view(&secret);
        if (cs_key_change(store, &view, &store_err))
            code = fail_store(&store_err);
    }
    if (!code) {
        cmd_key_done(cli, "changed", cs_name_hex(cs_own_slot(store), hex));
        warn_of_recovery_code(store);
    }
    secret_wipe(&secret);
    cs_close(store);
    return code;
}

static const struct option_spec passwd_specs[] = {
    {"new-password-file", 0, OPTION_VALUE, offsetof(struct passwd_args, password_file), "FILE",
     "the new passphrase: the first line of FILE", NULL},
    {"new-key-file", 0, OPTION_VALUE, offsetof(struct passwd_args, key_file), "FILE",
     "the new key file", NULL},
    {0},
};

static const struct command key_passwd = {
    .name = "passwd",
    .usage = "",
    .summary = "changes the passphrase or key file of the key in use",
    .specs = passwd_specs,
    .args_size = sizeof(struct passwd_args),
    .run = run_passwd,
};

void cmd_key_done(const struct cli *cli, const char *what, const char *id)
{
    if (cli->options.json)
        output_json(stdout, json_pack("{s:s, s:s, s:s}", "message_type", "summary", "key", id,
                                      "action", what));
    else if (!cli->options.quiet)
        printf("key %s %s\n", id, what);
}

static const struct command *const key_commands[] = {
    &key_list, &cmd_key_add, &cmd_key_remove, &key_passwd, NULL,
};

const struct command cmd_key = {
    .name = "key",
    .usage = "COMMAND",
    .summary = "manages the keys that open the repository",
    .commands = key_commands,
};
