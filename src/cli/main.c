/* SPDX-License-Identifier: BSD-2-Clause */
/* Puts the process in order, runs the command line, and has the last word on the exit code. */
#include <fcntl.h>
#include <locale.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cli/output.h"
#include "cli/run.h"
#include "cli/signals.h"

/* Makes sure that no file opened later becomes stdin, stdout or stderr. */
static int fill_standard_descriptors(void)
{
    int fd;

    do
        fd = open("/dev/null", O_RDONLY);
    while (fd >= 0 && fd <= STDERR_FILENO);
    return fd < 0 ? -1 : close(fd);
}

int main(int argc, char **argv)
{
    struct rlimit none = {0, 0};

    if (fill_standard_descriptors())
        return 1;
    setlocale(LC_ALL, "");
    setlocale(LC_NUMERIC, "C");
    setlocale(LC_CTYPE, "C.UTF-8"); /* names are UTF-8 or bytes, whatever the locale */
    setrlimit(RLIMIT_CORE, &none);  /* memory holds keys */
    signals_setup();
    return output_finish(run_command_line(argc, (const char *const *)argv));
}
