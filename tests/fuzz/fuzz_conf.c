/* SPDX-License-Identifier: BSD-2-Clause */
/* Configurations of any bytes: what is taken has only keys that were checked, and jobs that make
 * commands. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cli/conf_key.h"
#include "cli/job.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void make_commands(const struct conf *conf, const struct conf_section *section)
{
    const struct global_options options = {0};
    struct job job = {0};
    unsigned steps = 0;

    job_init(&job, &options, conf, section);
    for (unsigned step = 0; step < JOB_STEPS; step++) {
        struct words argv = {0};
        char *line;

        if (!job_has_step(&job, step))
            continue;
        steps++;
        if (step == JOB_BACKUP) /* it would look for the images */
            continue;
        if (job_command_priority(&job, &argv, NULL) || job_command(&job, step, &argv, NULL))
            abort();
        line = words_quoted(&argv);
        if (!line)
            abort();
        free(line);
        words_clear(&argv);
    }
    if (steps == 0 || job_nice(&job) < 0 || job_nice(&job) > 19)
        abort();
    job_clear(&job);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct conf conf = {0};
    struct error err = {0};
    int rc = conf_parse(&conf, "fuzz", (const char *)data, size, &err);

    if (rc && (err.code != rc || strncmp(err.message, "fuzz:", 5) != 0))
        abort();
    for (size_t i = 0; !rc && i < conf.count; i++) {
        const struct conf_section *section = &conf.sections[i];

        for (unsigned key = 0; key < CONF_KEYS; key++) {
            for (size_t k = 0; k < section->values[key].count; k++) {
                const char *item = section->values[key].items[k];

                if (!*item || !(conf_keys[key].kinds & section->kind) ||
                    conf_keys[key].check("", item, NULL))
                    abort();
            }
        }
        if (section->kind == CONF_JOB)
            make_commands(&conf, section);
    }
    conf_clear(&conf);
    return 0;
}
