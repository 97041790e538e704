/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_CLI_COMMAND_H
#define BYRE_CLI_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/option.h"

/* A command is an entry of a table: words, options, help and a function. */

struct global_options {
    const char *repo;
    const char *password_file;
    const char *password_command;
    const char *key_file;
    const char *cache_dir;
    const char *state_dir;
    const char *config;
    const char *threads;
    const char *rate_limit;
    bool json;
    bool quiet;
    int verbose;
    bool progress;
    bool no_progress;
    bool help;
    bool version;
};

struct command;

/* What one invocation asks for. */
struct cli {
    struct global_options options;
    const struct command *command;
    const void *args; /* the command's own structure of option values */
    struct option_list operands;
};

#define COMMAND_ANY SIZE_MAX

/* For the description of commands that take one. */
#define COMMAND_ARCHIVE_HELP                                                                       \
    "ARCHIVE is an id or 4 and more digits of its beginning, latest, or a name, which\n"           \
    "stands for the newest archive of that name (name:NAME, to be sure).\n"

struct command {
    const char *name;
    const char *usage;               /* the operands, and options that have to be given */
    const char *summary;             /* one line, lower case */
    const char *description;         /* more lines for help, or NULL */
    const struct option_spec *specs; /* NULL: none of its own */
    size_t args_size;                /* of the structure that ${specs} have offsets into */
    size_t operands_min;
    size_t operands_max;
    bool hidden;                           /* help and completion do not tell of it */
    const struct command *const *commands; /* those of the next word, or NULL, */
    int (*run)(const struct cli *cli);     /* and this, which returns the exit code */
};

/* Each is defined in the file of its name. */
extern const struct command cmd_backup;
extern const struct command cmd_benchmark;
extern const struct command cmd_bitmap;
extern const struct command cmd_check;
extern const struct command cmd_complete;
extern const struct command cmd_completion;
extern const struct command cmd_copy;
extern const struct command cmd_diff;
extern const struct command cmd_drill;
extern const struct command cmd_export;
extern const struct command cmd_forget;
extern const struct command cmd_help;
extern const struct command cmd_import;
extern const struct command cmd_init;
extern const struct command cmd_key;
extern const struct command cmd_list;
extern const struct command cmd_live;
extern const struct command cmd_prune;
extern const struct command cmd_restore;
extern const struct command cmd_run;
extern const struct command cmd_show;
extern const struct command cmd_stats;
extern const struct command cmd_tag;
extern const struct command cmd_version;

extern const struct option_spec command_globals[];

/* All commands, in the order that help shows them; NULL at the end. */
extern const struct command *const command_table[];

/* The command with the name ${word} in ${table}. Else NULL, and ERROR_USAGE with a suggestion. */
const struct command *command_find(const struct command *const *table, const char *word,
                                   struct error *err);

#endif
