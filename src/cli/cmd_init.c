/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * byre init: a new repository, and its recovery code handed over once. The file
 * for the code is made before the repository is, so that a bad path costs
 * nothing; a code that cannot be written there after all is shown instead.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "cli/command.h"
#include "cli/exit_code.h"
#include "cli/fail.h"
#include "cli/message.h"
#include "cli/output.h"
#include "cli/repository.h"
#include "cli/secret.h"
#include "cli/units.h"

struct init_args {
    const char *recovery_code_file;
    const char *chunker_from;
    const char *reserve;
    const char *id_hash;
};

/* Writes the code and a line's end to ${fd}, durably. Closes it. */
static int write_code(int fd, const char *path, const char *code, struct error *err)
{
    int rc = io_write(fd, path, 0, code, strlen(code), err);

    if (!rc)
        rc = io_write(fd, path, strlen(code), "\n", 1, err);
    if (!rc && fsync(fd))
        rc = error_sys(err, errno, "%s: flushing", path);
    if (close(fd) && !rc)
        rc = error_sys(err, errno, "%s: closing", path);
    return rc;
}

/* Flushes the folder that ${path} is in, so that the new name stays. */
/* The function that was asked for, or the one that is the faster here. */
static int choose_id_hash(enum cs_id_hash *hash, const char *name)
{
    struct cs_error store_err = {0};
    struct error err = {0};

    if (!name)
        return cs_id_hash_fastest(hash, &store_err) ? fail_store(&store_err) : 0;
    if (cs_id_hash_parse(hash, name))
        return 0;
    error_set(&err, ERROR_USAGE, "--id-hash: neither blake2b nor sha256: \"%s\"", name);
    return fail_error(&err);
}

static void print_result(const struct cli *cli, const char *repo, const struct cs_id *id,
                         enum cs_id_hash id_hash, const char *code, const char *code_file)
{
    char hex[CS_ID_HEX];

    if (cli->options.json) {
        json_t *summary = json_pack("{s:s, s:o, s:s}", "message_type", "summary", "repository",
                                    output_id(id), "id_hash", cs_id_hash_name(id_hash));

        if (code)
            json_object_set_new(summary, "recovery_code", json_string(code));
        output_json(stdout, summary);
        return;
    }
    if (!cli->options.quiet)
        printf("repository %s created at %s\n", cs_id_hex(id, hex), repo);
    if (cli->options.verbose > 0)
        printf("ids are made by %s\n", cs_id_hash_name(id_hash));
    if (code)
        printf("recovery code: %s\n"
               "\n"
               "Write the code down and keep it away from this machine: it opens the repository\n"
               "where the passphrase or key file is lost, and it is not shown again.\n",
               code);
    else if (!cli->options.quiet)
        printf("recovery code written to %s: keep it away from this machine\n", code_file);
}

static int run(const struct cli *cli)
{
    const struct init_args *args = cli->args;
    struct cs_init_options options = {.reserve = CS_RESERVE_DEFAULT};
    char recovery_code[CS_RECOVERY_CODE_SIZE] = "";
    const char *code_file = args->recovery_code_file;
    struct cs_store *other = NULL;
    struct secret secret = {0};
    struct cs_error store_err = {0};
    struct error err = {0};
    struct cs_id id = {{0}};
    const char *repo = NULL;
    int code_fd = -1;
    int code = repository_name(&cli->options, &repo);

    if (code)
        goto out;
    if (args->reserve && units_parse_size("--reserve", args->reserve, &options.reserve, &err)) {
        code = fail_error(&err);
        goto out;
    }
    code = choose_id_hash(&options.id_hash, args->id_hash);
    if (code)
        goto out;
    if (args->chunker_from) {
        code = repository_open_other(&other, &cli->options, args->chunker_from);
        if (code)
            goto out;
        options.chunker_from = other;
    }
    if (secret_for_repository(&secret, &cli->options, repo, true, &err)) {
        code = fail_error(&err);
        goto out;
    }
    options.secret = secret_view(&secret);
    if (code_file) {
        code_fd = open(code_file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (code_fd < 0) {
            error_sys(&err, errno, "recovery code file %s: creating", code_file);
            code = fail_error(&err);
            goto out;
        }
    }
    if (cs_init(repo, &options, recovery_code, &id, &store_err)) {
        if (store_err.code == CS_EXISTS && cs_probe(repo, &(struct cs_error){0}) == 0)
            cs_fail(&store_err, CS_EXISTS, "%s: there is a repository here already", repo);
        code = fail_store(&store_err);
        if (code_file)
            unlink(code_file);
        goto out;
    }
    if (code_file) {
        int rc = write_code(code_fd, code_file, recovery_code, &err);

        code_fd = -1;
        if (!rc)
            rc = io_sync_folder_of(code_file, &err);
        if (rc) {
            code = EXIT_CODE_FAILED;
            message_error(code,
                          "THE RECOVERY CODE WAS NOT SAVED (%s); the repository is there, so write "
                          "down the code now: it is shown on stdout this once",
                          err.message);
            code_file = NULL;
        }
    }
    print_result(cli, repo, &id, options.id_hash, code_file ? NULL : recovery_code, code_file);
out:
    if (code_fd >= 0)
        close(code_fd);
    explicit_bzero(recovery_code, sizeof recovery_code);
    secret_wipe(&secret);
    cs_close(other);
    return code;
}

static const struct option_spec specs[] = {
    {"recovery-code-file", 0, OPTION_VALUE, offsetof(struct init_args, recovery_code_file), "FILE",
     "write the recovery code to FILE, a new one", NULL},
    {"chunker-from", 0, OPTION_VALUE, offsetof(struct init_args, chunker_from), "REPO",
     "share the chunker's secret with REPO", "BYRE_FROM_PASSWORD_FILE and so on, for its secret"},
    {"reserve", 0, OPTION_VALUE, offsetof(struct init_args, reserve), "SIZE",
     "space kept for freeing a full disk; 0: none", NULL},
    {"id-hash", 0, OPTION_VALUE, offsetof(struct init_args, id_hash), "blake2b|sha256",
     "what makes ids (default: the faster one here)", NULL},
    {0},
};

const struct command cmd_init = {
    .name = "init",
    .usage = "",
    .summary = "makes an empty, encrypted repository",
    .description =
        "Prints a recovery code once, which opens the repository where the secret is lost.\n",
    .specs = specs,
    .args_size = sizeof(struct init_args),
    .run = run,
};
