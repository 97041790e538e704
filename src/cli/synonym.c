/* SPDX-License-Identifier: BSD-2-Clause */
/* Words of restic, borg, git, and qemu-img; only asked where byre has none of its own. */
#include "cli/synonym.h"

#include <stddef.h>
#include <string.h>

struct synonym {
    const char *word;
    const char *meaning;
};

static const struct synonym commands[] = {
    {"snapshots", "calls that list"},
    {"archives", "calls that list"},
    {"log", "calls that list"},
    {"ls", "calls that list; show tells what is in an archive"},
    {"info", "calls that show, for one archive, and stats"},
    {"cat", "calls that show"},
    {"map", "calls that show --map"},
    {"create", "calls that backup; init makes a repository"},
    {"save", "calls that backup"},
    {"snapshot", "calls that backup"},
    {"extract", "calls that restore"},
    {"checkout", "calls that restore"},
    {"dump", "calls that restore --format raw --to -"},
    {"convert", "calls that restore --flatten"},
    {"mount", "does not mount archives: restore --flatten --to FILE, then guestmount or qemu-nbd"},
    {"compare", "calls that diff"},
    {"verify", "calls that check --read-data"},
    {"fsck", "calls that check"},
    {"repair", "calls that check --repair"},
    {"recover", "calls that check --repair"},
    {"rebuild-index", "calls that check --repair"},
    {"unlock", "has no locks that could be left behind: there is nothing to do"},
    {"break-lock", "has no locks that could be left behind: there is nothing to do"},
    {"delete", "calls that forget; prune frees the space"},
    {"remove", "calls that forget; prune frees the space"},
    {"rm", "calls that forget; prune frees the space"},
    {"compact", "calls that prune"},
    {"gc", "calls that prune"},
    {"cleanup", "calls that prune"},
    {"password", "calls that key passwd"},
    {"passwd", "calls that key passwd"},
    {"du", "calls that stats"},
    {"size", "calls that stats"},
    {"usage", "calls that stats"},
    {"clone", "calls that copy"},
    {"sync", "calls that copy"},
};

static const struct synonym options[] = {
    {"target", "to"},
    {"destination", "to"},
    {"dest", "to"},
    {"latest", "last"},
    {"disk", "image"},
    {"overwrite", "force"},
    {"raw", "format"},
    {"jobs", "threads"},
    {"silent", "quiet"},
    {"repository", "repo"},
    {"password", "password-file"},
    {"passphrase", "password-file"},
    {"passphrase-file", "password-file"},
    {"passcommand", "password-command"},
    {"read-data-subset", "read-data"},
    {"verify-data", "read-data"},
    {"delete", "prune"},
    {"picture", "map"},
    {"draw", "map"},
    {"simulate", "dry-run"},
    {"comment", "tag"},
    {"level", "compression"},
};

static const char *find(const struct synonym *table, size_t count, const char *word)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(table[i].word, word) == 0)
            return table[i].meaning;
    }
    return NULL;
}

const char *synonym_of_command(const char *word)
{
    return find(commands, sizeof commands / sizeof commands[0], word);
}

const char *synonym_of_option(const char *name)
{
    return find(options, sizeof options / sizeof options[0], name);
}
