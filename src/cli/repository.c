/* SPDX-License-Identifier: BSD-2-Clause */
/* Opens repositories: gathers path, secret, directories and threads, and wipes the secret. */
#include "cli/repository.h"

#include <stdlib.h>

#include "cli/directories.h"
#include "cli/fail.h"
#include "cli/message.h"
#include "cli/secret.h"
#include "cli/signals.h"
#include "cli/units.h"

enum { THREADS_MAX = 1024 };

int repository_name(const struct global_options *options, const char **repo)
{
    const char *variable = getenv("BYRE_REPOSITORY");

    *repo = options->repo ? options->repo : variable;
    if (!*repo || !**repo)
        return fail_usage("which repository? give --repo or set BYRE_REPOSITORY");
    return 0;
}

/* Fails early where there is nothing to open, before anybody types a passphrase for it. */
static int require_repository(const char *repo)
{
    struct cs_error err = {0};

    if (cs_probe(repo, &err) == 0)
        return 0;
    if (err.code == CS_NO_REPOSITORY)
        cs_fail(&err, CS_NO_REPOSITORY, "%s: there is no repository here (byre init makes one)",
                repo);
    return fail_store(&err);
}

static int open_with(struct cs_store **store, const struct global_options *options,
                     const char *repo, const struct secret *secret, bool accept_rollback,
                     bool even_damaged)
{
    struct cs_open_options open = {
        .secret = secret_view(secret),
        .accept_rollback = accept_rollback,
        .even_damaged = even_damaged,
        .cancel = signals_cancel(),
    };
    struct cs_error store_err = {0};
    struct error err = {0};
    char *cache_dir = NULL;
    char *state_dir = NULL;
    long threads = 0;
    int code;

    if ((options->threads &&
         option_number("--threads", options->threads, 1, THREADS_MAX, &threads, &err)) ||
        (options->rate_limit &&
         units_parse_rate("--rate-limit", options->rate_limit, &open.write_rate, &err)) ||
        directories_cache(options->cache_dir, &cache_dir, &err) ||
        directories_state(options->state_dir, &state_dir, &err)) {
        code = fail_error(&err);
        goto out;
    }
    if (!state_dir)
        message_warning("there is no place to remember the repository's state, so that an older "
                        "one could go unnoticed: give --state-dir");
    open.cache_dir = cache_dir;
    open.state_dir = state_dir;
    open.threads = (unsigned)threads;
    code = cs_open(store, repo, &open, &store_err) ? fail_store(&store_err) : 0;
out:
    free(cache_dir);
    free(state_dir);
    return code;
}

static int open_own(struct cs_store **store, const struct global_options *options,
                    bool accept_rollback, bool even_damaged)
{
    struct secret secret = {0};
    struct error err = {0};
    const char *repo = NULL;
    int code = repository_name(options, &repo);

    if (!code)
        code = require_repository(repo);
    if (!code && secret_for_repository(&secret, options, repo, false, &err))
        code = fail_error(&err);
    if (!code)
        code = open_with(store, options, repo, &secret, accept_rollback, even_damaged);
    secret_wipe(&secret);
    return code;
}

int repository_open_silently(struct cs_store **store, const struct global_options *options,
                             bool accept_rollback)
{
    return open_own(store, options, accept_rollback, false);
}

int repository_open_damaged(struct cs_store **store, const struct global_options *options,
                            bool accept_rollback)
{
    return open_own(store, options, accept_rollback, true);
}

int repository_open(struct cs_store **store, const struct global_options *options)
{
    int code = repository_open_silently(store, options, false);

    if (!code && cs_rollback_warning(*store))
        message_warning("%s", cs_rollback_warning(*store));
    return code;
}

int repository_open_other(struct cs_store **store, const struct global_options *options,
                          const char *repo)
{
    struct secret secret = {0};
    struct error err = {0};
    int code = require_repository(repo);

    if (!code && secret_for_other(&secret, repo, &err))
        code = fail_error(&err);
    if (!code)
        code = open_with(store, options, repo, &secret, false, false);
    secret_wipe(&secret);
    return code;
}
