/* SPDX-License-Identifier: BSD-2-Clause */
/* Which of the ways to give a secret is taken, in the order that the manual promises. */
#include "cli/secret.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/secret_read.h"

void secret_wipe(struct secret *secret)
{
    explicit_bzero(secret, sizeof *secret);
}

struct cs_secret secret_view(const struct secret *secret)
{
    return (struct cs_secret){.kind = secret->kind, .data = secret->data, .len = secret->len};
}

/* Reads by the first of the ways that is not NULL. Sets ${*found} where there was one. */
static int read_first(struct secret *secret, const char *key_file, const char *password_file,
                      const char *password_command, bool *found, struct error *err)
{
    *found = true;
    if (key_file)
        return secret_read_key_file(secret, key_file, err);
    if (password_file)
        return secret_read_file(secret, password_file, err);
    if (password_command)
        return secret_read_command(secret, password_command, err);
    *found = false;
    return 0;
}

/* The value of the variable ${prefix}${name}; NULL where it is unset or empty. */
static const char *variable(const char *prefix, const char *name)
{
    char full[64];
    const char *value;

    snprintf(full, sizeof full, "%s%s", prefix, name);
    value = getenv(full);
    return value && *value ? value : NULL;
}

/* Reads by the variables that start with ${prefix}. */
static int from_environment(struct secret *secret, const char *prefix, bool *found,
                            struct error *err)
{
    char name[64];
    char *password;
    int rc = read_first(secret, variable(prefix, "KEY_FILE"), variable(prefix, "PASSWORD_FILE"),
                        variable(prefix, "PASSWORD_COMMAND"), found, err);

    if (*found)
        return rc;
    snprintf(name, sizeof name, "%sPASSWORD", prefix);
    password = getenv(name);
    if (!password)
        return 0;
    *found = true;
    rc = secret_read_text(secret, password, err);
    if (rc) {
        error_wrap(err, "%s", name);
        return rc;
    }
    /* /proc shows this very memory, and programs that are started later would inherit it. */
    explicit_bzero(password, strlen(password));
    unsetenv(name);
    return 0;
}

/* Asks the terminal for a secret that does not exist yet, twice. */
static int ask_twice(struct secret *secret, const char *question, struct error *err)
{
    struct secret again = {0};
    int rc = secret_read_terminal(secret, question, err);

    if (!rc)
        rc = secret_read_terminal(&again, "the same once more: ", err);
    if (!rc && (again.len != secret->len || memcmp(again.data, secret->data, again.len) != 0))
        rc = error_set(err, ERROR_USAGE, "the two passphrases differ");
    secret_wipe(&again);
    return rc;
}

int secret_for_repository(struct secret *secret, const struct global_options *options,
                          const char *repo, bool fresh, struct error *err)
{
    char question[256];
    bool found = false;
    int rc = read_first(secret, options->key_file, options->password_file,
                        options->password_command, &found, err);

    if (!found)
        rc = from_environment(secret, "BYRE_", &found, err);
    if (found)
        return rc;
    snprintf(question, sizeof question, "%spassphrase for %.200s: ", fresh ? "new " : "", repo);
    rc = fresh ? ask_twice(secret, question, err) : secret_read_terminal(secret, question, err);
    if (rc == ERROR_NOT_FOUND)
        rc = error_set(err, ERROR_USAGE,
                       "no passphrase: give --key-file, --password-file or --password-command, or "
                       "set BYRE_KEY_FILE, BYRE_PASSWORD_FILE, BYRE_PASSWORD_COMMAND or "
                       "BYRE_PASSWORD (there is no terminal to ask on)");
    return rc;
}

bool secret_at_hand(const struct global_options *options)
{
    const char *file = options->key_file ? options->key_file : options->password_file;
    bool command = options->password_command != NULL;
    struct stat st;

    if (!file && !command) {
        file = variable("BYRE_", "KEY_FILE");
        if (!file)
            file = variable("BYRE_", "PASSWORD_FILE");
        command = variable("BYRE_", "PASSWORD_COMMAND") != NULL;
    }
    if (file)
        return stat(file, &st) == 0 && S_ISREG(st.st_mode);
    return !command && getenv("BYRE_PASSWORD");
}

int secret_for_other(struct secret *secret, const char *repo, struct error *err)
{
    char question[256];
    bool found = false;
    int rc = from_environment(secret, "BYRE_FROM_", &found, err);

    if (found)
        return rc;
    snprintf(question, sizeof question, "passphrase for %.200s: ", repo);
    rc = secret_read_terminal(secret, question, err);
    if (rc == ERROR_NOT_FOUND)
        rc = error_set(err, ERROR_USAGE,
                       "no passphrase for %s: set BYRE_FROM_KEY_FILE, BYRE_FROM_PASSWORD_FILE, "
                       "BYRE_FROM_PASSWORD_COMMAND or BYRE_FROM_PASSWORD (there is no terminal to "
                       "ask on)",
                       repo);
    return rc;
}

int secret_new(struct secret *secret, const char *password_file, const char *key_file,
               struct error *err)
{
    int rc;

    if (password_file && key_file)
        return error_set(err, ERROR_USAGE, "give --new-password-file or --new-key-file, not both");
    if (password_file)
        return secret_read_file(secret, password_file, err);
    if (key_file)
        return secret_read_key_file(secret, key_file, err);
    rc = ask_twice(secret, "new passphrase: ", err);
    if (rc == ERROR_NOT_FOUND)
        rc = error_set(err, ERROR_USAGE,
                       "no new passphrase: give --new-password-file or --new-key-file (there is "
                       "no terminal to ask on)");
    return rc;
}
