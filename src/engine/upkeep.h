/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_UPKEEP_H
#define BYRE_ENGINE_UPKEEP_H

#include "engine/engine.h"

/*
 * What byre does with a repository, images or not: what is forgotten, freed,
 * copied, checked, repaired, counted and measured. As engine.h: prints nothing,
 * for one thread.
 */

/* ---- forget ------------------------------------------------------------------ */

struct engine_span { /* of time, by the calendar */
    unsigned years;
    unsigned months;
    unsigned days;
    unsigned hours;
};

/* Reads "1y6m", "2w", "48h"; ERROR_USAGE. */
int engine_parse_span(const char *text, struct engine_span *span, struct error *err);

struct engine_keep { /* rules; an archive that any of them keeps is kept. 0: no such rule */
    unsigned last;
    unsigned hourly;
    unsigned daily;
    unsigned weekly;
    unsigned monthly;
    unsigned yearly;
    struct engine_span within; /* before the newest of its group that is not of the future */
    const char *const *tags;
    size_t tag_count;
};

struct engine_forget_options {
    const struct cs_archive *const *archives; /* these, or: */
    size_t archive_count;
    struct engine_keep keep; /* all that these do not keep, for each group apart */
    bool group_by_name;
    bool group_by_host;
    const char *name;        /* NULL, or: only archives of this name are looked at */
    const char *host;        /* the same for the host */
    const char *const *tags; /* and only those with all of these */
    size_t tag_count;
    bool dry_run;
};

struct engine_decision {
    const struct cs_archive *archive; /* lent by the store */
    bool keep;
    char **reasons; /* why it is kept */
    size_t reason_count;
};

struct engine_forget_result {
    struct engine_decision *decisions; /* group by group, the newest first */
    size_t count;
    struct cs_id *forgotten;
    size_t forgotten_count;
};

/* ERROR_USAGE where rules would keep none of a group, or there are neither rules nor archives. The
 * result is to be cleared, also on failure. */
int engine_forget(struct cs_store *store, const struct engine_forget_options *options,
                  struct engine_forget_result *result, struct error *err);
void engine_forget_result_clear(struct engine_forget_result *result);

/* ---- prune ------------------------------------------------------------------- */

struct engine_prune_options {
    double max_unused; /* fraction of what stays that may be unused */
    bool dry_run;
    bool no_grace;
    struct engine_listener listener;
};

/* ERROR_CORRUPT where something that an archive needs is missing; ERROR_CONFLICT where another
 * prune is at work. */
int engine_prune(struct cs_store *store, const struct engine_prune_options *options,
                 struct cs_prune_result *result, struct error *err);

/* ---- copy -------------------------------------------------------------------- */

struct engine_copy_options {
    const struct cs_archive *const *archives; /* of the repository to copy from */
    size_t archive_count;
    bool dry_run;
    int compression_level;
    void (*report)(void *arg, const char *message); /* damage, once an archive; listener.arg */
    struct engine_listener listener;
};

enum engine_copy_state {
    ENGINE_COPY_DAMAGED, /* not copied */
    ENGINE_COPY_PRESENT, /* was copied before */
    ENGINE_COPY_DONE,
};

struct engine_copied {
    const struct cs_archive *source; /* lent by the repository that it comes from */
    struct cs_id archive;            /* its id in the other one; zero where it is not there */
    enum engine_copy_state state;
};

struct engine_copy_result {
    struct engine_copied *archives; /* in the order of the log that they come from, each once */
    size_t count;
    size_t damaged;
    struct cs_counters stored; /* by all of it */
};

/*
 * Copies archives of the repository ${from}, which a full key has opened, into ${to}: each is a
 * commit of its own. One that cannot be read whole is left out, and reported; the others are
 * copied. Returns 0 then, too. ERROR_USAGE where the two are one repository; ERROR_UNSUPPORTED
 * where they divide disks otherwise; ERROR_NOT_FOUND where an archive was forgotten meanwhile,
 * which ends it. The result is to be cleared, also on failure.
 */
int engine_copy(struct cs_store *from, struct cs_store *to,
                const struct engine_copy_options *options, struct engine_copy_result *result,
                struct error *err);
void engine_copy_result_clear(struct engine_copy_result *result);

/* ---- check ------------------------------------------------------------------- */

enum {
    ENGINE_DAMAGE_RANGES = 32, /* told of one part */
    ENGINE_DAMAGE_MAX = 4096,  /* parts told in all */
};

enum engine_part {                        /* of an archive */
                   ENGINE_PART_RECORD,    /* of the archive or a layer: all of it depends on that */
                   ENGINE_PART_GUEST,     /* what the guest sees of a layer; ranges: guest bytes */
                   ENGINE_PART_VM_STATE,  /* of a snapshot; ranges: of the layer's address space,
                                             behind the disk */
                   ENGINE_PART_PLACEMENT, /* where the layer's file had guest bytes, which are the
                                             ranges */
                   ENGINE_PART_HEADER, /* the header cluster; here and below ranges are of the part
                                          itself */
                   ENGINE_PART_CRYPTO, /* the LUKS area */
                   ENGINE_PART_TAIL,   /* of an external data file: what is behind the disk's last
                                          cluster */
                   ENGINE_PART_BITMAP,
                   ENGINE_PART_SIDE_FILE,
};

struct engine_range { /* bytes */
    uint64_t offset;
    uint64_t length;
};

struct engine_damage { /* what of a part of an archive cannot be restored */
    struct cs_id archive;
    enum engine_part part;
    char *name;  /* of the archive */
    char *image; /* its name, or its path where another has that; NULL for a record, a side file */
    char *layer; /* its place below a restore's target; NULL as for the image */
    char *item;  /* id of the snapshot, name of the bitmap or side file; NULL for no such thing */
    char *message;                                    /* all of it in one line */
    struct engine_range ranges[ENGINE_DAMAGE_RANGES]; /* ascending, merged */
    size_t range_count;
    uint64_t ranges_all; /* also those that found no room */
    uint64_t bytes;      /* in all of them */
};

struct engine_check_options {
    double read_data;                               /* fraction, 0 to 1 */
    bool repair;                                    /* put right what can be */
    void (*report)(void *arg, const char *message); /* each thing found wrong; listener.arg */
    /* What a repair is about to do; may be NULL where there is none. */
    void (*plan)(void *arg, const char *message);
    struct engine_listener listener;
};

struct engine_check_result {
    uint64_t errors;    /* found */
    uint64_t remaining; /* of those: without a repair all of them, else those left by it */
    struct cs_repair_result repair;
    uint64_t packs_checked;
    uint64_t bytes_checked;
    uint64_t packs_read; /* as the next two: see cs_check_result */
    double read_share;
    double damaged_share_below; /* with CS_CHECK_CONFIDENCE */
    bool data_unopened;
    struct cs_id *damaged; /* archives */
    size_t damaged_count;
    struct engine_damage *damage; /* what suffers in them; once for each image that it is part of */
    size_t damage_count;          /* at most ENGINE_DAMAGE_MAX */
    uint64_t damage_all;          /* also what found no room */
};

/* 0 also where errors were found. The result is to be cleared, also on failure. */
int engine_check(struct cs_store *store, const struct engine_check_options *options,
                 struct engine_check_result *result, struct error *err);
void engine_check_result_clear(struct engine_check_result *result);

/* ---- repair ------------------------------------------------------------------ */

struct engine_repair_log_options {
    /* Told what was found, and what will be done, before it is done; listener.arg. */
    void (*report)(void *arg, const char *message);
    struct engine_listener listener;
};

/*
 * Repairs a log of which entries are missing or cannot be used; ${*written}: there was something to
 * repair. For a store opened with even_damaged: where cs_log_damage says something, this must come
 * before anything else, and after it the store can be used as any other. What was lent of archives
 * is not, any more. The rest of the repository is left as it is: check it afterwards.
 */
int engine_repair_log(struct cs_store *store, const struct engine_repair_log_options *options,
                      bool *written, struct error *err);

/* ---- stats ------------------------------------------------------------------- */

struct engine_stats_options {
    const struct cs_archive *archive; /* NULL: the whole repository */
    struct engine_listener listener;
};

struct engine_stats_result {
    uint64_t archives; /* as the next three: that were asked about, one or all */
    uint64_t images;
    uint64_t bytes_virtual;   /* of the images */
    uint64_t bytes_allocated; /* guest bytes that their layers hold */
    struct cs_stats store;    /* what they take */
};

/* Walks all archives and reads all trailers of packs, but no data. ERROR_CORRUPT where something
 * that an archive needs is missing. */
int engine_stats(struct cs_store *store, const struct engine_stats_options *options,
                 struct engine_stats_result *result, struct error *err);

/* ---- benchmark --------------------------------------------------------------- */

struct engine_benchmark_line {
    bool primitive;   /* by itself; else all of byre */
    const char *name; /* of a primitive as cs_benchmark_line's; else what was done, in words */
    uint64_t bytes;
    double seconds;
};

struct engine_benchmark_options {
    const char *folder; /* where a repository and a restored image are put, and removed again */
    const char *image;  /* NULL: 512 MiB of which half can be compressed */
    unsigned threads;   /* as in cs_open_options */
    int compression_level;
    void (*report)(void *arg, const struct engine_benchmark_line *line);
    void *arg;
    struct engine_listener listener;
};

struct engine_benchmark_result {
    /* Seconds that identifying, compressing and sealing alone take here, with all threads, for the
     * bytes of which the first backup did each, as a share of those that it took. */
    double share;
    enum cs_id_hash id_hash; /* the function that was in use */
};

int engine_benchmark(const struct engine_benchmark_options *options,
                     struct engine_benchmark_result *result, struct error *err);

#endif
