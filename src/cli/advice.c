/* SPDX-License-Identifier: BSD-2-Clause */
/* Only what is true whatever the command was; messages say what is particular. */
#include "cli/advice.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "cli/exit_code.h"

const char *advice_of(const struct error *err, int exit_code, bool reads_sources)
{
    if (strstr(err->message, "byre check") || strstr(err->message, "--assume-stopped"))
        return NULL;
    if (exit_code == EXIT_CODE_DAMAGE)
        return "what is stored is damaged: byre check tells which archives suffer, and byre check "
               "--repair keeps the rest; other archives can be restored as before";
    if (exit_code == EXIT_CODE_IN_USE)
        return reads_sources ? "shut the machine down for the backup, or give a copy of the image "
                               "that nothing writes to"
                             : "shut the machine down, or restore to another place";
    if (exit_code == EXIT_CODE_DENIED && strstr(err->message, "wrong passphrase"))
        return "the recovery code that init printed opens the repository, too, wherever a "
               "passphrase is asked for";
    if (exit_code == EXIT_CODE_DENIED && strstr(err->message, "role"))
        return "give one with --key-file or --password-file; byre key list shows which there are";
    if (err->code == ERROR_NO_SPACE && reads_sources)
        return "byre forget and byre prune free space in a full repository, with the help of its "
               "reserve";
    if (err->code == ERROR_CONFLICT)
        return "the same command, given again, goes on from there";
    if (err->sys == EACCES || err->sys == EPERM)
        return "that takes the rights of its owner, or of root";
    if (err->sys == EROFS)
        return "what is read-only can be listed, checked and restored from, but not written to";
    return NULL;
}
