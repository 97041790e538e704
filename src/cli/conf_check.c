/* SPDX-License-Identifier: BSD-2-Clause */
/* What is asked of a configuration that was read, and what of it makes no sense. Neither reads it
 * nor does what it says. */
#include "cli/conf_check.h"

#include <string.h>

#include "cli/conf_key.h"
#include "engine/engine.h"

const struct conf_section *conf_find(const struct conf *conf, enum conf_kind kind, const char *name)
{
    for (size_t i = 0; i < conf->count; i++) {
        if (conf->sections[i].kind == kind && strcmp(conf->sections[i].name, name) == 0)
            return &conf->sections[i];
    }
    return NULL;
}

bool conf_saves(const struct conf_section *job)
{
    return job->values[CONF_IMAGES].count || job->values[CONF_DOMAIN].count ||
           job->values[CONF_QMP].count;
}

const struct conf_value *conf_value(const struct conf *conf, const struct conf_section *section,
                                    enum conf_key key)
{
    bool own = key >= CONF_KEEP_LAST && key <= CONF_CHECK && !conf_saves(section);

    if (!section->values[key].count && section->kind == CONF_JOB && !own) {
        const struct conf_section *defaults = conf_find(conf, CONF_DEFAULTS, "");

        if (defaults)
            return &defaults->values[key];
    }
    return &section->values[key];
}

const char *conf_text(const struct conf *conf, const struct conf_section *section,
                      enum conf_key key)
{
    const struct conf_value *value = conf_value(conf, section, key);

    return value->count ? value->items[0] : NULL;
}

bool conf_flag(const struct conf *conf, const struct conf_section *section, enum conf_key key)
{
    const char *text = conf_text(conf, section, key);

    return text && strcmp(text, "yes") == 0;
}

const char *conf_key_name(enum conf_key key)
{
    return conf_keys[key].name;
}

static int wrong(const struct conf *conf, const struct conf_section *section, unsigned line,
                 const char *key, struct error *err, const char *message)
{
    return error_set(err, ERROR_USAGE, "%s:%u: [%s%s%s] %s%s%s", conf->path, line,
                     section->kind == CONF_JOB          ? "job"
                     : section->kind == CONF_REPOSITORY ? "repository"
                                                        : "defaults",
                     *section->name ? " " : "", section->name, key ? key : "", key ? ": " : "",
                     message);
}

int conf_wrong(const struct conf *conf, const struct conf_section *section, enum conf_key key,
               struct error *err, const char *message)
{
    const struct conf_value *value = conf_value(conf, section, key);

    return wrong(conf, section, value->line ? value->line : section->line, conf_keys[key].name, err,
                 message);
}

static int check_repository(const struct conf *conf, const struct conf_section *section,
                            struct error *err)
{
    static const enum conf_key secrets[] = {CONF_KEY_FILE, CONF_PASSWORD_FILE,
                                            CONF_PASSWORD_COMMAND};
    bool secret = false;

    if (!section->values[CONF_PATH].count)
        return wrong(conf, section, section->line, NULL, err, "there is no path");
    for (size_t i = 0; i < sizeof secrets / sizeof secrets[0]; i++) {
        if (!section->values[secrets[i]].count)
            continue;
        if (secret)
            return conf_wrong(conf, section, secrets[i], err, "there is another secret already");
        secret = true;
    }
    return 0;
}

/* Of a job, or of the defaults. */
static int check_reference(const struct conf *conf, const struct conf_section *section,
                           struct error *err)
{
    const struct conf_value *value = &section->values[CONF_IN_REPOSITORY];

    if (value->count && !conf_find(conf, CONF_REPOSITORY, value->items[0]))
        return conf_wrong(conf, section, CONF_IN_REPOSITORY, err,
                          "there is no [repository] of that name");
    return 0;
}

static bool has_work(const struct conf *conf, const struct conf_section *job)
{
    const char *check = conf_text(conf, job, CONF_CHECK);

    for (unsigned key = CONF_KEEP_LAST; key <= CONF_KEEP_TAG; key++) {
        if (conf_value(conf, job, key)->count)
            return true;
    }
    return conf_saves(job) || conf_flag(conf, job, CONF_PRUNE) ||
           (check && strcmp(check, "no") != 0);
}

/* What is saved is one of three, and each has keys of its own. */
static int check_machine(const struct conf *conf, const struct conf_section *job, struct error *err)
{
    static const enum conf_key of_machines[] = {CONF_DISKS, CONF_QUIESCE, CONF_OVERLAY_DIR};
    bool domain = job->values[CONF_DOMAIN].count;
    bool qmp = job->values[CONF_QMP].count;

    if (job->values[CONF_IMAGES].count && (domain || qmp))
        return conf_wrong(conf, job, domain ? CONF_DOMAIN : CONF_QMP, err,
                          "there are images: a job saves those or a machine");
    if (domain && qmp)
        return conf_wrong(conf, job, CONF_QMP, err, "there is a domain already");
    if (job->values[CONF_CONNECT].count && !domain)
        return conf_wrong(conf, job, CONF_CONNECT, err, "there is no domain");
    for (size_t i = 0; i < sizeof of_machines / sizeof of_machines[0]; i++) {
        if (job->values[of_machines[i]].count && !domain && !qmp)
            return conf_wrong(conf, job, of_machines[i], err, "there is no domain or qmp");
    }
    return 0;
}

static int check_job(const struct conf *conf, const struct conf_section *job, struct error *err)
{
    static const enum conf_key of_backups[] = {CONF_TAGS, CONF_WITH, CONF_BITMAP, CONF_COMPRESSION};
    struct error reason = {0};
    int rc = check_machine(conf, job, err);

    if (rc)
        return rc;
    if (!has_work(conf, job))
        return wrong(
            conf, job, job->line, NULL, err,
            "there is nothing to do: no images, domain or qmp, keep rules, prune or check");
    for (size_t i = 0; i < sizeof of_backups / sizeof of_backups[0]; i++) {
        if (job->values[of_backups[i]].count && !conf_saves(job))
            return conf_wrong(conf, job, of_backups[i], err, "there are no images");
    }
    if (!job->values[CONF_NAME].count && engine_check_name(job->name, &reason))
        return wrong(conf, job, job->line, "name", err, reason.message);
    return 0;
}

int conf_check(const struct conf *conf, struct error *err)
{
    for (size_t i = 0; i < conf->count; i++) {
        const struct conf_section *section = &conf->sections[i];
        int rc = section->kind == CONF_REPOSITORY ? check_repository(conf, section, err)
                                                  : check_reference(conf, section, err);

        if (!rc && section->kind == CONF_JOB)
            rc = check_job(conf, section, err);
        if (rc)
            return rc;
    }
    return 0;
}
