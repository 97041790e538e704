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

const struct conf_value *conf_value(const struct conf *conf, const struct conf_section *section,
                                    enum conf_key key)
{
    bool own = key >= CONF_KEEP_LAST && key <= CONF_CHECK && !section->values[CONF_IMAGES].count;

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
    return job->values[CONF_IMAGES].count || conf_flag(conf, job, CONF_PRUNE) ||
           (check && strcmp(check, "no") != 0);
}

static int check_job(const struct conf *conf, const struct conf_section *job, struct error *err)
{
    static const enum conf_key of_images[] = {CONF_TAGS, CONF_WITH, CONF_BITMAP, CONF_COMPRESSION};
    struct error reason = {0};

    if (!has_work(conf, job))
        return wrong(conf, job, job->line, NULL, err,
                     "there is nothing to do: no images, keep rules, prune or check");
    for (size_t i = 0; i < sizeof of_images / sizeof of_images[0]; i++) {
        if (job->values[of_images[i]].count && !job->values[CONF_IMAGES].count)
            return conf_wrong(conf, job, of_images[i], err, "there are no images");
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
