/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CHUNKSTORE_H
#define CHUNKSTORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * An encrypted, deduplicating, content-addressed repository: objects under
 * keyed ids, trees of them, and an append-only log of archives. It knows
 * nothing of disks, images or policy. The format is FORMAT.md.
 *
 * Threads: a store and everything made from it belong to one thread; the
 * library starts workers of its own.
 */

/* ---- errors ------------------------------------------------------------ */

enum cs_code {
    CS_NOT_FOUND = -1,
    CS_CORRUPT = -2,     /* stored bytes are missing, altered or unreadable */
    CS_AUTH = -3,        /* a wrong secret, or a role that may not do this */
    CS_UNSUPPORTED = -4, /* a newer format or feature */
    CS_NO_SPACE = -5,
    CS_IO = -6,
    CS_NO_MEMORY = -7,
    CS_USAGE = -8,
    CS_EXISTS = -9,
    CS_NO_REPOSITORY = -10,
    CS_CANCELLED = -11, /* the caller's cancel flag was seen */
    CS_CONFLICT = -12,  /* others have changed the repository meanwhile; begin anew */
};

struct cs_error {
    int code; /* enum cs_code; 0: none */
    int sys;  /* errno, or 0 */
    char message[1024];
};

/* Sets ${err} (may be NULL), returns ${code}. Lower case, names the object and the offset. */
int cs_fail(struct cs_error *err, enum cs_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Like cs_fail for a system call that failed with ${sys}: appends its text, chooses the code. */
int cs_fail_sys(struct cs_error *err, int sys, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

int cs_fail_memory(struct cs_error *err);

#ifdef __clang_analyzer__
/* It reads one file at a time, and would take "failed, and returned 0" for possible. */
#define cs_fail(err, code, ...) ((cs_fail)(err, code, __VA_ARGS__), (int)(code))
#define cs_fail_sys(err, ...)   ((cs_fail_sys)(err, __VA_ARGS__), (int)CS_IO)
#define cs_fail_memory(err)     ((cs_fail_memory)(err), (int)CS_NO_MEMORY)
#endif

/* ---- identifiers --------------------------------------------------------- */

enum { CS_ID_SIZE = 32, CS_ID_HEX = 2 * CS_ID_SIZE + 1, CS_NAME_SIZE = 16, CS_NAME_HEX = 33 };

struct cs_id { /* of an object, an archive, a repository */
    uint8_t bytes[CS_ID_SIZE];
};

struct cs_name { /* of a pack, a segment, a key slot */
    uint8_t bytes[CS_NAME_SIZE];
};

/* Lower-case hex with a final zero byte; returns ${hex}. */
char *cs_id_hex(const struct cs_id *id, char hex[CS_ID_HEX]);
char *cs_name_hex(const struct cs_name *name, char hex[CS_NAME_HEX]);

/* Whether ${hex} is exactly 64 lower-case hex digits; then sets ${id}. */
bool cs_id_parse(struct cs_id *id, const char *hex);
bool cs_name_parse(struct cs_name *name, const char *hex); /* 32 digits */

/* ${digits} (even) random hex digits and a zero byte. */
void cs_random_hex(char *out, size_t digits);

/* ---- secrets and roles --------------------------------------------------- */

enum cs_role { CS_ROLE_FULL = 1, CS_ROLE_BACKUP = 2, CS_ROLE_APPEND = 3 };
enum cs_slot_kind { CS_SLOT_PASSPHRASE = 1, CS_SLOT_KEY_FILE = 2, CS_SLOT_RECOVERY = 3 };

enum { CS_KEY_FILE_MIN = 32, CS_KEY_FILE_MAX = 8192, CS_RECOVERY_CODE_SIZE = 40 };

struct cs_secret {
    enum cs_slot_kind kind; /* a passphrase that is a recovery code opens its slot too */
    const void *data;       /* lent; the passphrase's bytes, or the key file's */
    size_t len;
};

const char *cs_role_name(enum cs_role role);
/* "full", "backup", "append"; 0 for anything else. */
int cs_role_parse(const char *name);

/* ---- repositories -------------------------------------------------------- */

/* The function that makes a repository's ids, for its whole life. */
enum cs_id_hash {
    CS_ID_BLAKE2B,
    CS_ID_SHA256, /* HMAC: fast where the processor has instructions for it */
};

/* "blake2b", "sha256". */
const char *cs_id_hash_name(enum cs_id_hash hash);
bool cs_id_hash_parse(enum cs_id_hash *hash, const char *name); /* false: neither of them */

/* The one that is the faster here: tries both, which takes some milliseconds. */
int cs_id_hash_fastest(enum cs_id_hash *hash, struct cs_error *err);

enum { CS_RESERVE_DEFAULT = -1 };

struct cs_init_options {
    struct cs_secret secret; /* opens the founder's slot, role full; passphrase or key file */
    int64_t reserve; /* bytes of the reserve file; CS_RESERVE_DEFAULT: 128 MiB or a sixteenth of
                        the free space, whichever is less */
    const struct cs_store
        *chunker_from; /* take its chunker secrets, so that copies deduplicate; or NULL */
    enum cs_id_hash id_hash;
};

/*
 * Creates a repository in the folder ${path}, which must be absent or empty, with a slot for the
 * secret and one for a fresh recovery code, which is written to ${recovery_code} with a final
 * zero byte; the caller shows it once and wipes it. CS_EXISTS where something is there already.
 */
int cs_init(const char *path, const struct cs_init_options *options,
            char recovery_code[CS_RECOVERY_CODE_SIZE], struct cs_id *repository_id,
            struct cs_error *err);

/* Whether a repository that this version can open lies at ${path}, as far as can be told without a
 * secret. CS_NO_REPOSITORY, CS_UNSUPPORTED, CS_CORRUPT. */
int cs_probe(const char *path, struct cs_error *err);

struct cs_store;

struct cs_open_options {
    struct cs_secret secret;
    const char *cache_dir; /* NULL: none; segments are then kept in memory */
    const char *state_dir; /* NULL: the head of the log is not remembered */
    unsigned
        threads; /* workers; 1: all is done in the calling thread; 0: the cores of this process */
    uint64_t write_rate;        /* bytes a second that are written at most; 0: as fast as can be */
    bool even_damaged;          /* where the log is damaged, open it for cs_repair_log alone */
    bool accept_rollback;       /* remember the head that is found, whatever was seen before */
    const volatile int *cancel; /* NULL, or: becomes non-zero to stop what is going on */
};

/*
 * Opens the repository at ${path}: finds a slot that the secret opens, verifies its pins, reads
 * the log. CS_NO_REPOSITORY, CS_AUTH (no slot takes the secret), CS_CORRUPT.
 */
int cs_open(struct cs_store **store, const char *path, const struct cs_open_options *options,
            struct cs_error *err);
void cs_close(struct cs_store *store);

const struct cs_id *cs_repository_id(const struct cs_store *store);
enum cs_role cs_own_role(const struct cs_store *store);
const struct cs_name *cs_own_slot(const struct cs_store *store);
const char *cs_path(const struct cs_store *store);
uint32_t cs_region_size(const struct cs_store *store); /* bytes */
enum cs_id_hash cs_id_hash(const struct cs_store *store);

/* NULL, or what is wrong with the log's head against the one last seen from here. Lent. Such a
 * repository may be read with a warning; writing to it fails with CS_CORRUPT. */
const char *cs_rollback_warning(const struct cs_store *store);

/* NULL, or why the log cannot be read. Lent. Nothing but cs_repair_log and cs_close may be done
 * with such a store. */
const char *cs_log_damage(const struct cs_store *store);

/* CS_AUTH with the role that is needed, unless the own role is full. For whoever is about to read
 * data. */
int cs_require_data_key(const struct cs_store *store, struct cs_error *err);

/* ---- archives ------------------------------------------------------------ */

struct cs_archive {
    struct cs_id id;       /* object id of its record */
    uint64_t entry;        /* number of its log entry */
    int64_t time;          /* Unix seconds, by the writer's clock */
    uint64_t bytes_stored; /* what the run added to the repository */
    char *name;
    char *host;
    char **tags;
    size_t tag_count;
    uint8_t *summary; /* the caller's bytes */
    size_t summary_len;
};

/* Live archives in the order of the log. Each is lent until the store is closed or its keys are
 * changed, also where it is forgotten meanwhile; its tags until they are changed. */
size_t cs_archive_count(const struct cs_store *store);
const struct cs_archive *cs_archive_at(const struct cs_store *store, size_t i);

struct cs_author { /* of a log entry */
    struct cs_name slot;
    enum cs_role role;
    bool removed; /* the slot has been taken away since */
    bool own;
};

/* Who has made ${archive}: reads its log entry again, and holds the signature against it.
 * CS_NOT_FOUND or CS_CORRUPT where that entry is lost, so that nobody can tell. */
int cs_archive_author(struct cs_store *store, const struct cs_archive *archive,
                      struct cs_author *author, struct cs_error *err);

/* Makes an end of ${n} archives, all at once; the space that nothing else needs is freed by
 * cs_prune. CS_NOT_FOUND where one of them is not there. Role backup or full needed. */
int cs_forget(struct cs_store *store, const struct cs_id *ids, size_t n, struct cs_error *err);

/* Takes the tags ${remove} from an archive, then gives it those of ${add} that it has not. Role
 * backup or full needed. */
int cs_tag(struct cs_store *store, const struct cs_id *id, const char *const *remove,
           size_t remove_count, const char *const *add, size_t add_count, struct cs_error *err);

/* ---- objects ------------------------------------------------------------- */

enum cs_class { CS_DATA = 1, CS_META = 2 };

enum cs_type { /* of metadata objects */
               CS_CONTENT_LEAF = 1,
               CS_CONTENT_NODE = 2,
               CS_PLACEMENT_LEAF = 3,
               CS_PLACEMENT_NODE = 4,
               CS_LAYER_RECORD = 5,
               CS_ARCHIVE_RECORD = 6,
               CS_PIECE = 7,
               CS_LIST = 128, /* added to the type of a large object */
};

enum {
    CS_CHUNK = 1, /* the only type of data objects */
    CS_META_OBJECT_MAX = 128 << 10,
    CS_LARGE_OBJECT_MAX = 256 << 20,
    CS_DATA_OBJECT_MAX = 1 << 20,
};

/* The id that ${len} bytes at ${data} have here. Fails only where memory or libcrypto does. */
int cs_object_id(const struct cs_store *store, enum cs_class class, uint8_t type, const void *data,
                 size_t len, struct cs_id *id, struct cs_error *err);

/* KEYED(id key, label, data): a digest for records, of things that are not stored. Label: up to 16
 * characters. */
void cs_digest(const struct cs_store *store, const char *label, const void *data, size_t len,
               struct cs_id *digest);

/* Reads a metadata object (large ones too) into fresh memory, for the caller to free; verified. */
int cs_read_object(struct cs_store *store, enum cs_type type, const struct cs_id *id, void **data,
                   size_t *len, struct cs_error *err);

/* Reads the data chunk ${id} of ${len} bytes into ${buf}; verified. CS_AUTH without the data key.
 */
int cs_read_chunk(struct cs_store *store, const struct cs_id *id, void *buf, size_t len,
                  struct cs_error *err);

/*
 * Many chunks, in the order in which the repository has them: each frame is read, opened and held
 * against the ids by a worker, and used there. A fixed number of frames is held. Where a frame
 * cannot be read, another copy of its chunks is, as by cs_read_chunk.
 */
struct cs_fetch;

struct cs_wanted {
    struct cs_id id;
    uint32_t length; /* that it has, bytes */
    uint32_t tag;    /* the caller's own */
};

struct cs_fetched {
    const struct cs_wanted *wanted;
    const uint8_t *data; /* its bytes, verified; lent for the call */
};

struct cs_fetch_user {
    /*
     * Called in a worker, at the same time as for others: takes ${n} chunks of one frame in the
     * order in which they lie there, end to end in memory where they do; what is wanted more than
     * once comes as often. Counts in ${done}, zero at first, what it likes. Returns 0 or a code of
     * enum cs_code with ${err} set.
     */
    int (*use)(void *arg, const struct cs_fetched *chunks, size_t n, uint64_t done[2],
               struct cs_error *err);
    /* Called in the owner's thread after that, with what was counted; returns the like. */
    int (*used)(void *arg, const uint64_t done[2], struct cs_error *err);
    void *arg;
};

/* Takes its buffers and starts its workers. */
int cs_fetch_new(struct cs_fetch **fetch, struct cs_store *store, struct cs_error *err);
void cs_fetch_free(struct cs_fetch *fetch);

/* Plans the reading of ${n} chunks, fewer than 2^32; ${wanted} and what ${user} names are lent
 * until it has ended. CS_USAGE where another is going on. */
int cs_fetch_begin(struct cs_fetch *fetch, const struct cs_fetch_user *user,
                   const struct cs_wanted *wanted, size_t n, struct cs_error *err);

/*
 * Goes on with it: gives the workers what they have room for, and takes what is done, with ${wait}
 * after waiting for something. Sets ${*more}: false when all has been used. A failure ends it.
 */
int cs_fetch_step(struct cs_fetch *fetch, bool wait, bool *more, struct cs_error *err);

/* Ends it where it is: nothing is used after that. */
void cs_fetch_stop(struct cs_fetch *fetch);

/* Lets the workers run ${run} for each i below ${n}, and waits for them; ${worker} is below
 * cs_fetch_threads(), and no other call's at that time. */
void cs_fetch_each(struct cs_fetch *fetch, size_t n,
                   void (*run)(void *arg, size_t i, unsigned worker), void *arg);
unsigned cs_fetch_threads(const struct cs_fetch *fetch);

/* Whether the index has the object. */
int cs_has_object(struct cs_store *store, const struct cs_id *id, bool *found,
                  struct cs_error *err);

/* The same, with a place that can be relied on, as far as is known. */
int cs_has_sound_object(struct cs_store *store, const struct cs_id *id, bool *found,
                        struct cs_error *err);

/* Whether the log says that the object was found nowhere, and it still is; or a piece of it. */
int cs_is_lost(struct cs_store *store, const struct cs_id *id, bool *lost, struct cs_error *err);

/* Whether anything is known to be missing, so that archives may not be whole. */
int cs_lacks_objects(struct cs_store *store, bool *lacks, struct cs_error *err);

/* Looks whether all packs are there, with their sizes; nothing new relies on those that are not.
 * ${warning} (may be NULL) is told once. For whoever is about to write. */
int cs_find_missing_packs(struct cs_store *store, void (*warning)(void *arg, const char *message),
                          void *arg, struct cs_error *err);

/* ---- content: runs and chunks of a region -------------------------------- */

struct cs_run {
    uint32_t offset; /* from the region's start, bytes */
    uint32_t length; /* bytes, not 0 */
    bool zero;
    bool same; /* of cs_region_put alone; false in what was decoded */
};

struct cs_chunk {
    struct cs_id id;
    uint32_t length;
    uint8_t fingerprint[16];
};

struct cs_content { /* a decoded content leaf */
    struct cs_run *runs;
    size_t run_count;
    struct cs_chunk *chunks;
    size_t chunk_count;
};

/* Decodes a leaf for regions of ${region_size} bytes. The result is to be cleared. */
int cs_content_decode(struct cs_content *content, const void *leaf, size_t len,
                      uint32_t region_size, struct cs_error *err);
void cs_content_clear(struct cs_content *content);

/* ---- placement: the host's side of a region ------------------------------ */

struct cs_place {
    uint8_t class;   /* 0 unallocated, 1 zero, 2 zero with a host cluster, 3 data, 4 compressed */
    uint32_t length; /* compressed: bytes */
    uint64_t host;   /* byte offset */
    uint32_t sub_alloc;
    uint32_t sub_zero;
};

/*
 * Encodes ${n} places (the clusters of one region) into fresh memory for the caller to free;
 * ${*len} is 0 where the region needs no leaf. ${subclusters}: with the subcluster columns.
 */
int cs_placement_encode(uint8_t **leaf, size_t *len, const struct cs_place *places, size_t n,
                        unsigned cluster_bits, bool subclusters, struct cs_error *err);

/* Decodes a leaf into exactly ${n} places; its cluster bits must be ${cluster_bits}. */
int cs_placement_decode(struct cs_place *places, size_t n, unsigned cluster_bits, const void *leaf,
                        size_t len, struct cs_error *err);

/* The bytes that ${n} places have data for: whole clusters of class 3 and 4; with ${subclusters},
 * of class 3 only the allocated ones. */
uint64_t cs_placement_bytes(const struct cs_place *places, size_t n, unsigned cluster_bits,
                            bool subclusters);

/* ---- trees --------------------------------------------------------------- */

enum cs_tree_kind { CS_TREE_CONTENT, CS_TREE_PLACEMENT };

/*
 * A leaf stands for bytes: a content leaf for those of its data runs, a placement leaf for what
 * cs_placement_bytes says. A subtree and a tree stand for what their leaves do together.
 */
struct cs_tree {
    enum cs_tree_kind kind;
    uint64_t regions; /* that it is over: no leaf lies behind them */
    unsigned level;   /* cs_tree_level(regions); 0: the root is a leaf */
    bool empty;
    struct cs_id root;
    uint64_t bytes;
};

struct cs_subtree {  /* a leaf, or a node with all below it */
    unsigned level;  /* 0: a leaf */
    uint64_t region; /* the first that it covers, a multiple of 64^level */
    uint64_t end;    /* regions of the tree that it comes from: it has no leaf behind them */
    struct cs_id id;
    uint64_t bytes;
};

/* The level of a tree over ${regions} regions. */
unsigned cs_tree_level(uint64_t regions);

struct cs_tree_reader;

int cs_tree_open(struct cs_tree_reader **reader, struct cs_store *store, const struct cs_tree *tree,
                 struct cs_error *err);
void cs_tree_close(struct cs_tree_reader *reader);

/*
 * Finds the first leaf at or after region ${from}: sets ${*region}, and ${*leaf}, ${*len}, lent
 * until the next call; ${*found} is false behind the last one. Going forward costs one read a node.
 */
int cs_tree_next(struct cs_tree_reader *reader, uint64_t from, uint64_t *region,
                 const uint8_t **leaf, size_t *len, bool *found, struct cs_error *err);

/*
 * Finds the subtree of ${level} that region ${region} lies in; ${*found} is false where there is
 * nothing. Reads only the nodes above it, and none twice when going forward. The tree's own level
 * gives its root, whatever the region below its end; a level above that is CS_USAGE.
 */
int cs_tree_find(struct cs_tree_reader *reader, unsigned level, uint64_t region,
                 struct cs_subtree *subtree, bool *found, struct cs_error *err);

/*
 * Calls ${visit} for every node and leaf, parents first; where it returns 0 the subtree is passed
 * over, where it is negative the walk ends with that. Nodes are held against the bytes that they
 * must stand for; whether a leaf stands for ${at->bytes} is for the visit to tell, as it is for
 * whoever reads leaves by cs_tree_next: only they know what is in one.
 */
int cs_tree_walk(struct cs_store *store, const struct cs_tree *tree,
                 int (*visit)(void *arg, const struct cs_subtree *at, const uint8_t *data,
                              size_t len, struct cs_error *err),
                 void *arg, struct cs_error *err);

/* What is called while a tree is surveyed. */
struct cs_survey {
    /* Before ${at} is read. Where it returns false that is passed over. */
    bool (*enter)(void *arg, const struct cs_subtree *at);
    /* A leaf. Returns 0, or a code of enum cs_code with ${err} set. */
    int (*leaf)(void *arg, const struct cs_subtree *at, const uint8_t *data, size_t len,
                struct cs_error *err);
    /* ${at} is missing or unreadable or contradicts itself, or leaf said so (CS_CORRUPT): ${why}.
     * Nothing below it is looked at, and it is not left. As with leave, the survey ends where the
     * return value is negative. */
    int (*damaged)(void *arg, const struct cs_subtree *at, const struct cs_error *why,
                   struct cs_error *err);
    /* All below ${at} was called for. */
    int (*leave)(void *arg, const struct cs_subtree *at, struct cs_error *err);
    void *arg;
};

/* Goes through all of a tree in spite of damage, in the order of the regions. */
int cs_tree_survey(struct cs_store *store, const struct cs_tree *tree, const struct cs_survey *how,
                   struct cs_error *err);

/* As cs_tree_walk, but a node or leaf that is missing or damaged is visited, too: ${data} is NULL
 * then, and
 * ${err} says why. What is below it is not known; the walk goes on beside it. */
int cs_tree_walk_past_damage(struct cs_store *store, const struct cs_tree *tree,
                             int (*visit)(void *arg, const struct cs_subtree *at,
                                          const uint8_t *data, size_t len, struct cs_error *err),
                             void *arg, struct cs_error *err);

/* ---- writing ------------------------------------------------------------- */

struct cs_writer;

struct cs_counters {
    uint64_t bytes_new;    /* of chunks that the repository lacked, before compression */
    uint64_t bytes_stored; /* all that was written: packs, segments, log entries */
    uint64_t chunks_total;
    uint64_t chunks_new;
    uint64_t bytes_total; /* of chunks that were looked up, new or not, before compression */
    int level_lowest;     /* of frames of data, as the following; 0: none was compressed */
    int level_highest;
};

enum {
    CS_LEVEL_AUTO = -1, /* what suits the storage and the processor, found out anew on the way */
    CS_LEVEL_NONE = -2, /* data is not compressed */
};

struct cs_writer_options {
    int compression_level; /* of zstd, 1 to 19, or one of enum above; 0: the default */
    bool dry_run;          /* do all but write; there is nothing to commit then */
};

/* Begins a run. Nothing of it is seen by others before it is published or committed. CS_CORRUPT
 * where the log is not the one seen before (cs_rollback_warning). */
int cs_writer_begin(struct cs_writer **writer, struct cs_store *store,
                    const struct cs_writer_options *options, struct cs_error *err);

/* Stores a metadata object (large ones as lists). */
int cs_write_object(struct cs_writer *writer, enum cs_type type, const void *data, size_t len,
                    struct cs_id *id, struct cs_error *err);

/* Stores ${len} bytes, at most CS_DATA_OBJECT_MAX, as one data chunk. */
int cs_write_chunk(struct cs_writer *writer, const void *data, size_t len, struct cs_id *id,
                   struct cs_error *err);

struct cs_tree_builder;

/* A tree over ${regions} regions. Leaves and subtrees come in ascending order; what fails may be
 * told by a later call, at the latest by the finish. */
int cs_tree_begin(struct cs_tree_builder **builder, struct cs_writer *writer,
                  enum cs_tree_kind kind, uint64_t regions, struct cs_error *err);

/* Adds a leaf as it is (placement), which stands for ${bytes}. */
int cs_tree_add(struct cs_tree_builder *builder, uint64_t region, const void *leaf, size_t len,
                uint64_t bytes, struct cs_error *err);

/*
 * Adds what a tree of the same kind has there (cs_tree_find), as it is: nothing of it is read or
 * written, so the repository must have it. Regions put before are waited for where they must be.
 * CS_USAGE where it could have a leaf behind the builder's regions: it must lie before their end,
 * or come from a tree that has no more regions. So trees over equally many share all up to the
 * root, and a tree that grew shares what its level allows.
 */
int cs_tree_add_subtree(struct cs_tree_builder *builder, const struct cs_subtree *subtree,
                        struct cs_error *err);

/*
 * Content: the writer lends buffers, chunks and hashes them in its workers, and adds the leaf when
 * its turn comes. A region got must be put, or given back by cs_region_cancel.
 */
struct cs_region {
    uint64_t index; /* region number, set by the caller */
    uint8_t *data;  /* region-size bytes: those of a data run at its offset; the rest is free */
    struct cs_run *runs; /* room for run_capacity; ascending, not touching where equal in kind (and
                            in ${same}), from and to multiples of 512, but for the last one's end */
    size_t run_count;    /* set by the caller */
    size_t run_capacity;
    /* NULL, or: the bytes of the data runs are not looked for in ${data}. Brings the ${length}
     * bytes at ${offset}, of data runs alone, to ${to}, which may be their place in ${data}; as
     * often as a worker asks for some. Nothing else is written to those places before the region is
     * done. Returns 0 or a code of enum cs_code with ${err} set. */
    int (*read)(void *read_arg, uint32_t offset, uint32_t length, uint8_t *to,
                struct cs_error *err);
    /* Where there is a read: called once where cs_region_put returns 0, else never, in the worker
     * that read; perhaps only when the run is ended. */
    void (*done)(void *read_arg);
    void *read_arg;
    /* NULL, or: told when the region is stored what its leaf has become, in the owner's thread, by
     * some later call. Not for a region without a leaf, nor where anything failed. */
    void (*stored)(void *arg, const struct cs_region *region, const struct cs_id *leaf,
                   uint64_t bytes);
    void *arg;
    struct cs_id tag; /* for that: the caller's own */
};

/* Takes a free buffer; where there is none, stores what the workers have finished first. */
int cs_region_get(struct cs_writer *writer, struct cs_region **region, struct cs_error *err);

/*
 * Puts it for the ${n} trees that have this content in the region: its leaf is added to each.
 * ${before} (NULL: nothing is known) is the region's leaf in an earlier archive; a run that is
 * ${same} was described as data then, too, and has the bytes that it tells (as chunks, or as zeros
 * that were taken out). Of such runs only that is read which is needed for what changed around
 * them. The leaf is the same whatever ${before} tells; chunks that are known from it are neither
 * hashed nor looked up. ${builders} and ${before} are lent for the call. CS_USAGE where the runs
 * cannot be, or one is ${same} where ${before} has nothing, or without a read. The region is given
 * back in any case.
 */
int cs_region_put(struct cs_tree_builder *const *builders, size_t n, struct cs_region *region,
                  const struct cs_content *before, struct cs_error *err);
void cs_region_cancel(struct cs_writer *writer, struct cs_region *region);

/* Ends a tree: waits for its regions and sets ${tree}. Frees the builder, also on failure. */
int cs_tree_finish(struct cs_tree_builder *builder, struct cs_tree *tree, struct cs_error *err);
void cs_tree_abort(struct cs_tree_builder *builder);

struct cs_commit {
    struct cs_id archive; /* of the record, written before */
    int64_t time;
    const char *name;
    const char *host;
    const char *const *tags;
    size_t tag_count;
    const void *summary;
    size_t summary_len;
};

/* Says that the run takes over subtrees, or ids of objects, from what this archive has, without
 * having them looked up: then the commit is a CS_CONFLICT if it is forgotten and pruned meanwhile.
 * CS_CONFLICT where it is not live any more. */
int cs_writer_uses_archive(struct cs_writer *writer, const struct cs_id *archive,
                           struct cs_error *err);

/*
 * Makes everything durable, then appends the archive entry. When it returns 0 the archive exists;
 * on failure it does not, but for CS_IO where the entry got its name and that could not be flushed:
 * then the next opening tells. CS_CONFLICT where a prune has freed something meanwhile that the run
 * rests on: a new run will store it again. ${counters} (may be NULL) are those of the run. The
 * writer is free afterwards only by cs_writer_end.
 */
int cs_writer_commit(struct cs_writer *writer, const struct cs_commit *commit,
                     struct cs_counters *counters, struct cs_error *err);

/* Publishes what was stored so far, so that the next run finds it; for a run that is stopped. */
int cs_writer_publish(struct cs_writer *writer, struct cs_error *err);

void cs_writer_counters(const struct cs_writer *writer, struct cs_counters *counters);

/* Ends the run; what was neither published nor committed is gone. */
void cs_writer_end(struct cs_writer *writer);

/* ---- prune --------------------------------------------------------------- */

struct cs_marker; /* what live archives need, while it is gathered */

/* Marks the object as needed; of a large one its pieces too. ${*fresh}: it was not before; where it
 * was, whatever it names has been marked as well, if the caller always goes on from there.
 * CS_CORRUPT where it is nowhere; one that is known to be lost (cs_is_lost) is passed over. */
int cs_mark(struct cs_marker *marker, const struct cs_id *id, bool *fresh, struct cs_error *err);

struct cs_prune_options {
    double max_unused; /* of the bytes of the packs that stay, so much may stay unused: 0 to 1 */
    bool dry_run;
    bool no_grace; /* also free what was stored within the last day by a run that may go on yet */
    /* Marks all that the archive needs. */
    int (*mark)(void *arg, const struct cs_archive *archive, struct cs_marker *marker,
                struct cs_error *err);
    void (*warning)(void *arg, const char *message);            /* may be NULL */
    void (*progress)(void *arg, uint64_t done, uint64_t total); /* bytes to move; may be NULL */
    void *arg;
};

struct cs_prune_result {   /* on a dry run: what would be */
    uint64_t bytes_before; /* of all packs and segments */
    uint64_t bytes_after;
    uint64_t packs_deleted;   /* without a need to move something */
    uint64_t packs_rewritten; /* what was needed of them has moved */
    uint64_t bytes_unused;    /* that stay: too little in too large packs */
    uint64_t bytes_spared;    /* that stay because of the grace */
    uint64_t lost;            /* objects that archives need, and that are known to be lost */
};

/*
 * Frees what no live archive needs. Others may write meanwhile: their runs notice. May be stopped
 * at any time. CS_CORRUPT where something that an archive needs is missing: then nothing is freed.
 * CS_CONFLICT where another prune is at work. Role backup or full needed.
 */
int cs_prune(struct cs_store *store, const struct cs_prune_options *options,
             struct cs_prune_result *result, struct cs_error *err);

/* ---- keys ---------------------------------------------------------------- */

struct cs_key {
    struct cs_name slot;
    enum cs_role role;
    enum cs_slot_kind kind;
    const char *label; /* lent by the store */
    int64_t added;     /* Unix seconds */
    bool own;
};

/* Keys in use. ${*keys} is for the caller to free. */
int cs_key_list(const struct cs_store *store, struct cs_key **keys, size_t *count,
                struct cs_error *err);

/* Adds a slot. Role full needed. */
int cs_key_add(struct cs_store *store, const struct cs_secret *secret, enum cs_role role,
               const char *label, struct cs_name *slot, struct cs_error *err);

/* Removes the slot; with ${new_epoch} what is written from now on cannot be read with its keys.
 * Role full needed. Refuses the last full slot. */
int cs_key_remove(struct cs_store *store, const struct cs_name *slot, bool new_epoch,
                  struct cs_error *err);

/* Wraps the own slot with another secret. Any role. */
int cs_key_change(struct cs_store *store, const struct cs_secret *secret, struct cs_error *err);

/* ---- check --------------------------------------------------------------- */

struct cs_lost { /* a stored object that was proven bad */
    struct cs_name pack;
    struct cs_id id;
};

/*
 * What a check found of stored data that is not as it should be. Each list is sorted and has
 * nothing twice. What is bad in one place may have a sound copy in another.
 */
struct cs_damage {
    struct cs_lost *objects; /* in frames that do not open, or whose bytes are others; by id. Those
                                that the log calls lost are not among them */
    size_t object_count;
    struct cs_name *gone; /* live packs that are not there, and that no listing shows */
    size_t gone_count;
    struct cs_name *broken; /* packs whose header, trailer or size is wrong */
    size_t broken_count;
    struct cs_name
        *unread; /* packs of which something could not be read: the disk, not the bytes */
    size_t unread_count;
    struct cs_name *unopened; /* those of them whose header or trailer could not be read, or that
                                 could not be looked for */
    size_t unopened_count;
    struct cs_lost *unread_objects; /* in their other frames: what could not be read; by id */
    size_t unread_object_count;
    struct cs_name *segments; /* that are missing, or damaged, or say what packs do not */
    size_t segment_count;
    uint64_t unindexed; /* objects of live packs that no segment names */
};

/* Whether a bad object of this id was found. */
bool cs_damage_has(const struct cs_damage *damage, const struct cs_id *id);

/* Whether the index has the object in a place where nothing wrong was found: 0, or CS_CORRUPT with
 * what is wrong; other codes where that cannot be told. */
int cs_check_object(struct cs_store *store, const struct cs_damage *damage, const struct cs_id *id,
                    struct cs_error *err);
void cs_damage_clear(struct cs_damage *damage);

#define CS_CHECK_CONFIDENCE 0.95

struct cs_check_options {
    double read_data; /* fraction of the packs' bytes to read, 0 to 1: whole packs at random */
    struct cs_damage *damage; /* NULL, or: empty, gets what is found, for the caller to clear */
    /* Called for each thing found wrong. */
    void (*report)(void *arg, const char *message);
    void (*progress)(void *arg, uint64_t done, uint64_t total); /* bytes; may be NULL */
    void *arg;
};

struct cs_check_result {
    uint64_t errors;
    uint64_t packs_checked;
    uint64_t bytes_checked; /* of frames that were read */
    uint64_t packs_read;    /* all frames of them */
    double read_share;      /* of the packs' bytes that are theirs */
    /* With CS_CHECK_CONFIDENCE fewer than this share of the packs are damaged; 0: nothing is known
     * of it, for none was read, or something is wrong with a pack. */
    double damaged_share_below;
    bool data_unopened; /* data frames were held against their checksums only */
};

/*
 * Verifies that the log was not rolled back, slots, keyrings, the whole log, packs' structure,
 * segments against packs, and as many frames as asked for. What archives need is the caller's part.
 * Returns 0 also where errors were found; else the check itself failed.
 */
int cs_check(struct cs_store *store, const struct cs_check_options *options,
             struct cs_check_result *result, struct cs_error *err);

/* ---- repair -------------------------------------------------------------- */

struct cs_repairer; /* what live archives need, while it is gathered */

/* Says that an archive needs the object. ${*fresh}: nobody had said so yet, and there is a place
 * for it. */
int cs_repair_need(struct cs_repairer *repairer, const struct cs_id *id, bool *fresh,
                   struct cs_error *err);

/* Says that a metadata object that is needed could not be read: each place of it is looked at. */
int cs_repair_unreadable(struct cs_repairer *repairer, const struct cs_id *id,
                         struct cs_error *err);

struct cs_repair_options {
    const struct cs_damage *damage; /* as a check has found it */
    /* Says all that ${archive} needs. */
    int (*mark)(void *arg, const struct cs_archive *archive, struct cs_repairer *repairer,
                struct cs_error *err);
    void (*say)(void *arg, const char *message); /* what comes next, before anything is written */
    void *arg;
};

struct cs_repair_result {
    uint64_t segments_dropped;
    uint64_t segments_written;
    uint64_t objects_indexed; /* in those */
    uint64_t packs_dropped;
    uint64_t objects_damaged; /* in packs that stay: they are not looked for there any more */
    uint64_t objects_missing; /* that archives need, and that are nowhere */
};

/*
 * Makes the log and the index agree with the packs that are there: writes index entries anew from
 * packs, drops packs that are gone or broken, and says of objects that they are lost. Deletes
 * nothing; where there is nothing to repair it writes nothing. Others may write meanwhile.
 * CS_AUTH where the own role may not do all that ${damage} takes; CS_IO where something could not
 * be read for another reason than its bytes; CS_CORRUPT where not one pack is there.
 */
int cs_repair(struct cs_store *store, const struct cs_repair_options *options,
              struct cs_repair_result *result, struct cs_error *err);

/* ---- repairing the log ---------------------------------------------------- */

struct cs_repair_log_options {
    /* Told what was found, and what will be done, before it is done. */
    void (*report)(void *arg, const char *message);
    /*
     * Fills time, name, host, tags and summary of ${archive}, in fresh memory that it is given,
     * from its record. CS_CORRUPT where it is no record. NULL: archives whose log entries are lost
     * stay lost.
     */
    int (*describe)(void *arg, const void *record, size_t len, struct cs_archive *archive,
                    struct cs_error *err);
    /*
     * Finds which of the store's archives lack something, of what they need, in the index, or
     * cannot be walked; the store is as the repair would leave it. ${*ids} is given. NULL: it is
     * not asked what lost entries have forgotten and freed.
     */
    int (*damaged)(void *arg, struct cs_id **ids, size_t *count, struct cs_error *err);
    void *arg;
};

/*
 * Repairs the log where an entry is missing, or cannot be used: what could be saved is stated in
 * one new entry, from which every reader goes on. No file is changed or deleted. ${*written}: there
 * was something to repair; then the store is as the log says now, and nothing is lent any more.
 * Nobody else should be writing. Role full needed; CS_CORRUPT where entry 0 is damaged, or after a
 * rollback; CS_UNSUPPORTED where a newer program has written.
 */
int cs_repair_log(struct cs_store *store, const struct cs_repair_log_options *options,
                  bool *written, struct cs_error *err);

/* ---- stats --------------------------------------------------------------- */

struct cs_needs; /* what archives need, while it is gathered */

/* Says that an archive needs the object ${id}. Of a metadata object that was read ${data} is all of
 * its ${len} bytes, from which its pieces are known where it is a large one; of others it is NULL.
 * ${*fresh}: nobody had said so yet. CS_CORRUPT where it is nowhere. */
int cs_need(struct cs_needs *needs, const struct cs_id *id, const void *data, size_t len,
            bool *fresh, struct cs_error *err);

struct cs_stats_options {
    const struct cs_archive *archive; /* the one that is asked about; NULL: all of them */
    /* Says all that ${archive} needs; called for every one. What is not fresh has been gone into
     * already. */
    int (*mark)(void *arg, const struct cs_archive *archive, struct cs_needs *needs,
                struct cs_error *err);
    void (*progress)(void *arg, uint64_t done, uint64_t total); /* bytes of packs; may be NULL */
    void *arg;
};

struct cs_usage { /* by some objects */
    uint64_t objects;
    uint64_t bytes;  /* before compression */
    uint64_t stored; /* their part of the packs: those of all objects are the packs */
};

enum { CS_USAGE_DATA, CS_USAGE_META, CS_USAGE_CLASSES };

struct cs_stats {
    uint64_t packs;
    uint64_t bytes_segments;
    struct cs_usage all[CS_USAGE_CLASSES];    /* each copy of an object */
    struct cs_usage needed[CS_USAGE_CLASSES]; /* by the archive, or by any; each object once */
    struct cs_usage alone[CS_USAGE_CLASSES];  /* of those, by no other archive */
};

/*
 * Measures what archives need. Takes one or two bits for each object in the index, and a pack's
 * trailer. CS_CORRUPT where something that an archive needs is missing; CS_CONFLICT where somebody
 * has freed something meanwhile.
 */
int cs_stats(struct cs_store *store, const struct cs_stats_options *options, struct cs_stats *stats,
             struct cs_error *err);

/* ---- benchmark ----------------------------------------------------------- */

struct cs_benchmark_line {
    const char *name; /* cut, identify, fingerprint, compress, seal, checksum, open, expand; and
                         "identify by " the function that does not make this repository's ids */
    uint64_t bytes;   /* of disks; for seal, checksum and open what compression has left of them */
    double seconds;
};

struct cs_benchmark_options {
    const void *sample; /* what disks hold; whole frames of 2 MiB are used, at least one */
    size_t sample_len;
    int compression_level; /* of zstd; 0: the default */
    double seconds;        /* that each primitive takes at least */
    void (*report)(void *arg, const struct cs_benchmark_line *line);
    void *arg;
};

/* Measures the primitives as the store uses them, one after the other, each by all workers at once.
 * Takes three times the sample's size of memory. */
int cs_benchmark(struct cs_store *store, const struct cs_benchmark_options *options,
                 struct cs_error *err);

#endif
