/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * byre __complete -- WORD...: what the last of the words after "byre" may be, for
 * the scripts of byre completion. The first line says what follows: "words", each
 * with a tab and an explanation; or "files" or "directories", which the shell
 * knows better. It never asks for a passphrase, and soon gives up waiting.
 */
#include <ctype.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/archive_view.h"
#include "cli/command.h"
#include "cli/complete.h"
#include "cli/conf.h"
#include "cli/directories.h"
#include "cli/repository.h"
#include "cli/secret.h"
#include "cli/units.h"

/* A shell that waits for it does nothing else. */
enum { SECONDS_MAX = 5 };

static void give_up(int signal)
{
    (void)signal;
    _exit(0);
}

/* Offers ${word} where it goes on from what is there; never what could steer a terminal. */
static void offer(const struct complete *at, const char *word, const char *help)
{
    if (strncmp(word, at->word, strlen(at->word)) != 0)
        return;
    for (const char *c = word; *c; c++) {
        if (iscntrl((unsigned char)*c))
            return;
    }
    printf("%.*s%s\t%s\n", (int)at->before, at->word - at->before, word, help);
}

static void offer_commands(const struct complete *at)
{
    for (const struct command *const *table = at->commands; *table; table++) {
        if (!(*table)->hidden)
            offer(at, (*table)->name, (*table)->summary);
    }
}

static void offer_options(const struct complete *at, const struct option_spec *specs)
{
    for (; specs && specs->name; specs++) {
        char word[64];

        snprintf(word, sizeof word, "--%s", specs->name);
        offer(at, word, specs->help);
    }
}

/* The global options among the words before the last. What is wrong in those does not matter. */
static void read_options(const struct complete *at, const struct option_list *words,
                         struct global_options *options)
{
    size_t args_size = at->command ? at->command->args_size : 0;
    void *args = calloc(1, args_size + 1);
    struct option_set sets[2] = {{at->command ? at->command->specs : NULL, args},
                                 {command_globals, options}};
    struct option_list operands = {0};
    int used = 0;

    if (args)
        option_parse(sets, 2, (int)words->count - 1, words->items, false, &operands, &used, NULL);
    option_set_clear(&sets[0]);
    option_list_clear(&operands);
    free(args);
}

static void offer_archives(const struct complete *at, const struct cs_store *store)
{
    size_t count = cs_archive_count(store);
    int digits = archive_view_digits(store);

    if (count)
        offer(at, "latest", "the newest archive");
    for (size_t i = count; i-- > 0;) {
        const struct cs_archive *archive = cs_archive_at(store, i);
        char help[256];
        char time[UNITS_TEXT];
        char hex[CS_ID_HEX];

        cs_id_hex(&archive->id, hex);
        if (strlen(at->word) < (size_t)digits)
            hex[digits] = '\0';
        snprintf(help, sizeof help, "%s, %s", units_local_time(archive->time, time), archive->name);
        offer(at, hex, help);
    }
}

/* The names of archives, each once, told of with the newest of that name. */
static void offer_names(const struct complete *at, const struct cs_store *store)
{
    size_t count = cs_archive_count(store);

    for (size_t i = count; i-- > 0;) {
        const struct cs_archive *archive = cs_archive_at(store, i);
        char help[UNITS_TEXT + 8];
        char time[UNITS_TEXT];
        size_t newer = i + 1;

        while (newer < count && strcmp(cs_archive_at(store, newer)->name, archive->name) != 0)
            newer++;
        snprintf(help, sizeof help, "newest: %s", units_local_time(archive->time, time));
        if (newer == count)
            offer(at, archive->name, help);
    }
}

static void offer_tags(const struct complete *at, const struct cs_store *store)
{
    for (size_t i = cs_archive_count(store); i-- > 0;) {
        const struct cs_archive *archive = cs_archive_at(store, i);

        for (size_t k = 0; k < archive->tag_count; k++)
            offer(at, archive->tags[k], "");
    }
}

/* Archives, names or tags, where the repository opens without any ado. */
static void offer_from_repository(struct complete *at, enum complete_kind kind,
                                  const struct global_options *options)
{
    static const char prefix[] = "name:";
    struct cs_store *store = NULL;

    if (at->command == &cmd_copy) /* they are those of the other repository */
        return;
    if (!secret_at_hand(options) || repository_open_silently(&store, options, false))
        return;
    if (kind == COMPLETE_TAGS)
        offer_tags(at, store);
    if (kind == COMPLETE_ARCHIVES)
        offer_archives(at, store);
    if (kind == COMPLETE_ARCHIVES && strncmp(at->word, prefix, strlen(prefix)) == 0) {
        at->word += strlen(prefix);
        at->before += strlen(prefix);
    }
    if (kind != COMPLETE_TAGS)
        offer_names(at, store);
    cs_close(store);
}

static void offer_jobs(const struct complete *at, const struct global_options *options)
{
    struct conf conf = {0};
    char *path = NULL;

    if (!directories_config(options->config, &path, NULL) && path &&
        !conf_load(&conf, path, NULL)) {
        for (size_t i = 0; i < conf.count; i++) {
            if (conf.sections[i].kind == CONF_JOB)
                offer(at, conf.sections[i].name, "");
        }
    }
    conf_clear(&conf);
    free(path);
}

static void offer_value(struct complete *at, const char *value, size_t len,
                        const struct global_options *options)
{
    enum complete_kind kind = complete_kind(at->option, value, len);
    char word[64];

    switch (kind) {
    case COMPLETE_UNKNOWN:
    case COMPLETE_NOTHING:
    case COMPLETE_FILES:
    case COMPLETE_DIRECTORIES:
        break;
    case COMPLETE_WORD:
        snprintf(word, sizeof word, "%.*s", (int)len, value);
        offer(at, word, "");
        break;
    case COMPLETE_AUTO:
        offer(at, "auto", "");
        offer(at, "none", "");
        break;
    case COMPLETE_ARCHIVES:
    case COMPLETE_NAMES:
    case COMPLETE_TAGS:
        offer_from_repository(at, kind, options);
        break;
    case COMPLETE_JOBS:
        offer_jobs(at, options);
        break;
    }
}

/* What the first line says: where one of the alternatives is a file, the shell's own completion. */
static const char *heading(const struct complete *at)
{
    const char *value = NULL;
    size_t len = 0;

    while ((value = complete_next(at, value, &len)) != NULL) {
        enum complete_kind kind = complete_kind(at->option, value, len);

        if (kind == COMPLETE_FILES)
            return "files";
        if (kind == COMPLETE_DIRECTORIES)
            return "directories";
    }
    return "words";
}

static int run(const struct cli *cli)
{
    struct global_options options = {0};
    const char *value = NULL;
    struct complete at;
    size_t len = 0;

    signal(SIGALRM, give_up);
    alarm(SECONDS_MAX);
    complete_find(&at, cli->operands.items, cli->operands.count);
    read_options(&at, &cli->operands, &options);
    printf("%s\n", heading(&at));
    if (at.commands)
        offer_commands(&at);
    if (at.options && at.command)
        offer_options(&at, at.command->specs);
    if (at.options)
        offer_options(&at, command_globals);
    while ((value = complete_next(&at, value, &len)) != NULL)
        offer_value(&at, value, len, &options);
    return 0;
}

const struct command cmd_complete = {
    .name = "__complete",
    .usage = "-- WORD...",
    .summary = "what the last word of a command line may be",
    .hidden = true,
    .operands_min = 1,
    .operands_max = COMMAND_ANY,
    .run = run,
};
