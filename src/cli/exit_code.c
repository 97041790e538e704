/* SPDX-License-Identifier: BSD-2-Clause */
/* From error codes to exit codes: all of the mapping is here. */
#include "cli/exit_code.h"

#include <errno.h>

static int interrupted(int signal)
{
    return signal ? EXIT_CODE_SIGNAL + signal : EXIT_CODE_FAILED;
}

int exit_code_of_error(const struct error *err, bool reads_sources, int signal)
{
    switch (err->code) {
    case 0:
        return EXIT_CODE_DONE;
    case ERROR_USAGE:
        return EXIT_CODE_USAGE;
    case ERROR_CORRUPT:
        return reads_sources && err->sys != EUCLEAN ? EXIT_CODE_FAILED : EXIT_CODE_DAMAGE;
    case ERROR_IN_USE:
        return EXIT_CODE_IN_USE;
    case ERROR_AUTH:
        return EXIT_CODE_DENIED;
    case ERROR_INTERRUPTED:
        return interrupted(signal);
    default:
        return EXIT_CODE_FAILED;
    }
}

int exit_code_of_store(const struct cs_error *err, int signal)
{
    switch (err->code) {
    case 0:
        return EXIT_CODE_DONE;
    case CS_USAGE:
        return EXIT_CODE_USAGE;
    case CS_CORRUPT:
        return EXIT_CODE_DAMAGE;
    case CS_NO_REPOSITORY:
        return EXIT_CODE_NO_REPOSITORY;
    case CS_AUTH:
        return EXIT_CODE_DENIED;
    case CS_CANCELLED:
        return interrupted(signal);
    default:
        return EXIT_CODE_FAILED;
    }
}

int exit_code_worse(int a, int b)
{
    static const int order[] = {EXIT_CODE_DONE,   EXIT_CODE_PARTIAL, EXIT_CODE_IN_USE,
                                EXIT_CODE_USAGE,  EXIT_CODE_DENIED,  EXIT_CODE_NO_REPOSITORY,
                                EXIT_CODE_FAILED, EXIT_CODE_DAMAGE};
    size_t count = sizeof order / sizeof order[0];
    size_t rank_a = 0;
    size_t rank_b = 0;

    while (rank_a < count && order[rank_a] != a)
        rank_a++;
    while (rank_b < count && order[rank_b] != b)
        rank_b++;
    return rank_b > rank_a ? b : a; /* a signal is in no place of the order: behind them all */
}
