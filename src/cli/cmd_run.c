/* SPDX-License-Identifier: BSD-2-Clause */
/* byre run: jobs of the configuration, one after the other. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "cli/command.h"
#include "cli/directories.h"
#include "cli/exit_code.h"
#include "cli/fail.h"
#include "cli/job.h"
#include "cli/message.h"
#include "cli/output.h"
#include "cli/signals.h"
#include "cli/suggest.h"
#include "cli/units.h"

struct run_args {
    bool dry_run;
};

static int load(const char *option, struct conf *conf, struct error *err)
{
    char *path = NULL;
    int rc = directories_config(option, &path, err);

    if (!rc && !path)
        rc = error_set(err, ERROR_USAGE,
                       "there is no configuration: neither /etc/byre/byre.conf nor byre/byre.conf "
                       "in the configuration folder of this user can be read; give --config");
    if (!rc)
        rc = conf_load(conf, path, err);
    free(path);
    return rc;
}

/* What the command says in a file that others can read, /proc and logs do not. */
static void warn_of_secrets(const struct conf *conf)
{
    if (!(conf->mode & S_IROTH))
        return;
    for (size_t i = 0; i < conf->count; i++) {
        if (conf->sections[i].values[CONF_PASSWORD_COMMAND].count) {
            message_advice("%s has a password-command, and can be read by everybody on this "
                           "machine",
                           conf->path);
            return;
        }
    }
}

/* Before anything is done, each has to be there. */
static int check_names(const struct conf *conf, const struct option_list *names, struct error *err)
{
    for (size_t i = 0; i < names->count; i++) {
        struct suggest suggest = {0};

        if (conf_find(conf, CONF_JOB, names->items[i]))
            continue;
        suggest_begin(&suggest, names->items[i]);
        for (size_t k = 0; k < conf->count; k++) {
            if (conf->sections[k].kind == CONF_JOB)
                suggest_offer(&suggest, conf->sections[k].name);
        }
        if (suggest_nearest(&suggest))
            return error_set(err, ERROR_USAGE, "%s: there is no job %s (did you mean %s?)",
                             conf->path, names->items[i], suggest_nearest(&suggest));
        return error_set(err, ERROR_USAGE, "%s: there is no job %s", conf->path, names->items[i]);
    }
    return 0;
}

static int run_job(const struct cli *cli, const struct conf *conf, const char *name)
{
    const struct run_args *args = cli->args;
    struct job job;
    int code;

    job_init(&job, &cli->options, conf, conf_find(conf, CONF_JOB, name));
    code = args->dry_run ? job_show(&job) : job_run(&job);
    job_clear(&job);
    return code;
}

static int run(const struct cli *cli)
{
    const struct run_args *args = cli->args;
    struct conf conf = {0};
    struct error err = {0};
    uint64_t rate = 0;
    size_t failed = 0;
    size_t done = 0;
    int code = 0;

    if ((cli->options.rate_limit &&
         units_parse_rate("--rate-limit", cli->options.rate_limit, &rate, &err)) ||
        load(cli->options.config, &conf, &err) || check_names(&conf, &cli->operands, &err)) {
        conf_clear(&conf);
        return fail_error(&err);
    }
    warn_of_secrets(&conf);
    for (; done < cli->operands.count && !signals_seen(); done++) {
        int job = run_job(cli, &conf, cli->operands.items[done]);

        failed += job != 0;
        code = exit_code_worse(code, job);
    }
    if (cli->options.json)
        output_json(stdout, json_pack("{s:s, s:b, s:I, s:I, s:i}", "message_type", "summary",
                                      "dry_run", args->dry_run, "jobs_run", (json_int_t)done,
                                      "jobs_failed", (json_int_t)failed, "exit_code", code));
    conf_clear(&conf);
    return code;
}

static const struct option_spec specs[] = {
    {"dry-run", 0, OPTION_FLAG, offsetof(struct run_args, dry_run), NULL,
     "show the commands of each job", NULL},
    {0},
};

const struct command cmd_run = {
    .name = "run",
    .usage = "JOB...",
    .summary = "runs jobs of the configuration: backup, forget, prune, check",
    .description =
        "What jobs there are and what they do is said in byre.conf(5). A job stops at the first\n"
        "of its steps that fails, and says nothing where all is well, unless to a terminal.\n",
    .specs = specs,
    .args_size = sizeof(struct run_args),
    .operands_min = 1,
    .operands_max = COMMAND_ANY,
    .run = run,
};
