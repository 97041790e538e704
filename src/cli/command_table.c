/* SPDX-License-Identifier: BSD-2-Clause */
/* The global options and the commands, in the order that help shows them. */
#include "cli/command.h"

#include <string.h>

#include "cli/suggest.h"
#include "cli/synonym.h"

#define GLOBAL(member) offsetof(struct global_options, member)

const struct option_spec command_globals[] = {
    {"repo", 'r', OPTION_VALUE, GLOBAL(repo), "REPO", "the repository", "BYRE_REPOSITORY"},
    {"password-file", 0, OPTION_VALUE, GLOBAL(password_file), "FILE",
     "passphrase: the first line of FILE", "BYRE_PASSWORD_FILE"},
    {"password-command", 0, OPTION_VALUE, GLOBAL(password_command), "CMD",
     "passphrase: the first line that CMD prints", "BYRE_PASSWORD_COMMAND"},
    {"key-file", 0, OPTION_VALUE, GLOBAL(key_file), "FILE", "a key file instead of a passphrase",
     "BYRE_KEY_FILE"},
    {"cache-dir", 0, OPTION_VALUE, GLOBAL(cache_dir), "DIR", "what may be deleted at any time",
     "BYRE_CACHE_DIR"},
    {"state-dir", 0, OPTION_VALUE, GLOBAL(state_dir), "DIR", "what was last seen of repositories",
     "BYRE_STATE_DIR"},
    {"config", 0, OPTION_VALUE, GLOBAL(config), "FILE", "the jobs that run knows", "BYRE_CONFIG"},
    {"threads", 0, OPTION_VALUE, GLOBAL(threads), "N",
     "workers (default: the cores this process may use)", NULL},
    {"rate-limit", 0, OPTION_VALUE, GLOBAL(rate_limit), "RATE",
     "write no faster to the repository: 50 MiB/s", NULL},
    {"json", 0, OPTION_FLAG, GLOBAL(json), NULL, "machine output on stdout", NULL},
    {"quiet", 'q', OPTION_FLAG, GLOBAL(quiet), NULL, "fewer messages", NULL},
    {"verbose", 'v', OPTION_COUNT, GLOBAL(verbose), NULL, "more messages; may be repeated", NULL},
    {"progress", 0, OPTION_FLAG, GLOBAL(progress), NULL,
     "show progress even where stderr is no terminal", "BYRE_PROGRESS_FPS"},
    {"no-progress", 0, OPTION_FLAG, GLOBAL(no_progress), NULL, "show none", NULL},
    {"help", 'h', OPTION_FLAG, GLOBAL(help), NULL, "this help", NULL},
    {"version", 0, OPTION_FLAG, GLOBAL(version), NULL, "the version", NULL},
    {0},
};

const struct command *const command_table[] = {
    &cmd_init,       &cmd_backup,  &cmd_list,   &cmd_show,     &cmd_diff,
    &cmd_restore,    &cmd_export,  &cmd_import, &cmd_check,    &cmd_forget,
    &cmd_prune,      &cmd_tag,     &cmd_stats,  &cmd_copy,     &cmd_run,
    &cmd_drill,      &cmd_bitmap,  &cmd_live,   &cmd_key,      &cmd_benchmark,
    &cmd_completion, &cmd_version, &cmd_help,   &cmd_complete, NULL,
};

const struct command *command_find(const struct command *const *table, const char *word,
                                   struct error *err)
{
    const char *synonym = synonym_of_command(word);
    struct suggest suggest = {0};

    suggest_begin(&suggest, word);
    for (; *table; table++) {
        if (strcmp((*table)->name, word) == 0)
            return *table;
        if (!(*table)->hidden)
            suggest_offer(&suggest, (*table)->name);
    }
    if (synonym)
        error_set(err, ERROR_USAGE, "unknown command %s: byre %s", word, synonym);
    else if (suggest_nearest(&suggest))
        error_set(err, ERROR_USAGE, "unknown command %s (did you mean %s?)", word,
                  suggest_nearest(&suggest));
    else
        error_set(err, ERROR_USAGE, "unknown command %s (byre help lists them)", word);
    return NULL;
}
