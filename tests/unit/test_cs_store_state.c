/* SPDX-License-Identifier: BSD-2-Clause */
/* The fold: each type of entry, round trips through checkpoints, and payloads that end early. */
#include "cs_fixture.h"

#include "keys.h"
#include "state.h"

static struct cs_buf snapshot(const struct cs_state *s)
{
    struct cs_buf out = {0};
    cs_entry_begin(&out, CS_ENTRY_CHECKPOINT, 7);
    cs_entry_put_checkpoint(&out, s);
    assert_false(out.failed);
    return out;
}

static void assert_unchanged(const struct cs_state *s, const struct cs_buf *before)
{
    struct cs_buf now = snapshot(s);
    assert_int_equal(now.len, before->len);
    assert_memory_equal(now.data, before->data, now.len);
    cs_buf_clear(&now);
}

static struct cs_name name_of(uint8_t n)
{
    struct cs_name name;
    memset(&name, n, sizeof name);
    return name;
}

static struct cs_buf key_entry(unsigned changes)
{
    struct cs_buf b = {0};
    cs_entry_begin(&b, CS_ENTRY_KEY, 100);
    cs_put_u16(&b, (uint16_t)changes);
    return b;
}

static void put_add(struct cs_buf *b, uint8_t n, enum cs_role role)
{
    struct cs_identity identity = {.slot = name_of(n)};
    memset(identity.dh_public, n + 1, CS_KEY_SIZE);
    memset(identity.sign_public, n + 2, CS_KEY_SIZE);
    cs_put_key_add(b, &identity, role, CS_SLOT_KEY_FILE, "label");
}

static struct cs_buf founding(void)
{
    uint8_t data_public[CS_KEY_SIZE] = {9};
    struct cs_buf b = key_entry(2);
    put_add(&b, 1, CS_ROLE_FULL);
    cs_put_key_epoch(&b, 0, data_public);
    return b;
}

static struct cs_buf added(enum cs_entry_type type, uint8_t first)
{
    struct cs_state_pack packs[2] = {{name_of(first), 1000, CS_DATA, 0},
                                     {name_of((uint8_t)(first + 1)), 2000, CS_META, 0}};
    struct cs_state_segment segment = {name_of((uint8_t)(first + 2)), 500, 12};
    struct cs_buf b = {0};
    cs_entry_begin(&b, type, 200);
    if (type == CS_ENTRY_REPLACE) {
        cs_put_u32(&b, 2);
        cs_put_bytes(&b, name_of(12).bytes, CS_NAME_SIZE);
        cs_put_bytes(&b, name_of(99).bytes, CS_NAME_SIZE); /* is not there: passed over */
    }
    cs_entry_put_added(&b, &(struct cs_added){packs, 2, &segment, 1});
    if (type == CS_ENTRY_ARCHIVE) {
        struct cs_id id;
        memset(&id, first, sizeof id);
        cs_put_bytes(&b, &id, sizeof id);
        cs_put_u64(&b, 12345);
        cs_put_str16(&b, "name");
        cs_put_str16(&b, "host");
        cs_put_u16(&b, 2);
        cs_put_str16(&b, "one");
        cs_put_str16(&b, "");
        cs_put_u32(&b, 4);
        cs_put_bytes(&b, "\0{}\0", 4);
    }
    assert_false(b.failed);
    return b;
}

static void apply(struct cs_state *s, uint64_t number, struct cs_buf b)
{
    assert_ok(cs_state_apply(s, number, b.data, b.len, err));
    cs_buf_clear(&b);
}

static void build(struct cs_state *s)
{
    struct cs_buf keys = key_entry(1);
    put_add(&keys, 5, CS_ROLE_APPEND);
    *s = (struct cs_state){0};
    apply(s, 0, founding());
    apply(s, 1, keys);
    apply(s, 2, added(CS_ENTRY_PUBLISH, 10));
    apply(s, 3, added(CS_ENTRY_ARCHIVE, 20));
    apply(s, 4, added(CS_ENTRY_REPLACE, 30));
    struct cs_buf removal = key_entry(2);
    uint8_t data_public[CS_KEY_SIZE] = {7};
    struct cs_name slot = name_of(5);
    cs_put_key_remove(&removal, &slot);
    cs_put_key_epoch(&removal, 1, data_public);
    apply(s, 5, removal);
}

static void test_the_fold(void **state)
{
    struct cs_state s;
    (void)state;
    build(&s);
    assert_int_equal(s.key_count, 2);
    assert_false(s.keys[0].removed);
    assert_true(s.keys[1].removed);
    assert_int_equal(s.keys[1].role, CS_ROLE_APPEND);
    assert_int_equal(s.keys[0].added, 100);
    assert_int_equal(s.epoch_count, 2);
    assert_int_equal(s.epochs[1][0], 7);
    assert_int_equal(s.pack_count, 6);
    assert_int_equal(s.segment_count, 2); /* 12 was replaced */
    struct cs_name segment = name_of(22);
    assert_memory_equal(&s.segments[0].id, &segment, sizeof segment);
    assert_int_equal(s.archive_count, 1);
    assert_int_equal(s.archives[0]->entry, 3);
    assert_int_equal(s.archives[0]->bytes_stored, 12345);
    assert_int_equal(s.archives[0]->tag_count, 2);
    assert_int_equal(s.archives[0]->summary_len, 4);
    struct cs_name pack = name_of(31);
    assert_non_null(cs_state_pack(&s, &pack));
    pack = name_of(32); /* a segment's */
    assert_null(cs_state_pack(&s, &pack));
    assert_non_null(cs_state_segment(&s, &pack));
    cs_state_clear(&s);
    assert_null(cs_state_pack(&s, &pack));
}

static void test_a_checkpoint_is_the_state(void **state)
{
    struct cs_state s, again = {0};
    (void)state;
    build(&s);
    struct cs_buf cp = snapshot(&s);
    apply(&again, 0, founding()); /* is replaced */
    assert_ok(cs_state_load_checkpoint(&again, 9, cp.data, cp.len, err));
    assert_unchanged(&again, &cp);
    struct cs_buf before = snapshot(&s);
    assert_ok(cs_state_apply(&s, 9, cp.data, cp.len, err)); /* to fold, it changes nothing */
    assert_unchanged(&s, &before);
    cs_buf_clear(&before);
    apply(&again, 10, added(CS_ENTRY_ARCHIVE, 50)); /* and it goes on */
    assert_int_equal(again.archive_count, 2);
    cs_buf_clear(&cp);
    cs_state_clear(&s);
    cs_state_clear(&again);
}

static void assert_prefixes_refused(struct cs_buf payload, bool load)
{
    struct cs_state s;
    build(&s);
    struct cs_buf before = snapshot(&s);
    for (size_t len = 0; len <= payload.len + 1; len++) {
        if (len == payload.len)
            continue;
        uint8_t *copy = calloc(1, len + 1); /* of the very size, but for one */
        assert_non_null(copy);
        memcpy(copy, payload.data, len < payload.len ? len : payload.len);
        if (load)
            assert_fails(CS_CORRUPT, cs_state_load_checkpoint(&s, 9, copy, len, err));
        else
            assert_fails(CS_CORRUPT, cs_state_apply(&s, 9, copy, len, err));
        free(copy);
        assert_unchanged(&s, &before);
    }
    cs_buf_clear(&before);
    cs_buf_clear(&payload);
    cs_state_clear(&s);
}

static void test_every_truncation_is_refused_without_change(void **state)
{
    struct cs_buf keys = key_entry(2);
    struct cs_name slot = name_of(1);
    struct cs_state s;
    (void)state;
    put_add(&keys, 60, CS_ROLE_BACKUP);
    cs_put_key_remove(&keys, &slot);
    assert_prefixes_refused(keys, false);
    assert_prefixes_refused(added(CS_ENTRY_PUBLISH, 60), false);
    assert_prefixes_refused(added(CS_ENTRY_ARCHIVE, 60), false);
    assert_prefixes_refused(added(CS_ENTRY_REPLACE, 60), false);
    build(&s);
    assert_prefixes_refused(snapshot(&s), true);
    cs_state_clear(&s);
}

static void assert_refused(struct cs_buf payload)
{
    struct cs_state s;
    build(&s);
    struct cs_buf before = snapshot(&s);
    assert_fails(CS_CORRUPT, cs_state_apply(&s, 9, payload.data, payload.len, err));
    assert_unchanged(&s, &before);
    cs_buf_clear(&before);
    cs_buf_clear(&payload);
    cs_state_clear(&s);
}

static void test_hostile_payloads(void **state)
{
    struct cs_buf b;
    (void)state;
    b = key_entry(1);
    put_add(&b, 70, 0);
    assert_refused(b);
    b = key_entry(1);
    put_add(&b, 70, 4);
    assert_refused(b);
    b = key_entry(1);
    put_add(&b, 1, CS_ROLE_FULL); /* added twice */
    assert_refused(b);
    b = key_entry(1);
    cs_put_u8(&b, 4); /* no such change */
    assert_refused(b);
    b = key_entry(UINT16_MAX);
    assert_refused(b);
    b = (struct cs_buf){0};
    cs_entry_begin(&b, CS_ENTRY_PUBLISH, 0);
    cs_put_u32(&b, UINT32_MAX); /* packs */
    assert_refused(b);
    b = added(CS_ENTRY_PUBLISH, 60);
    b.data[12 + 4 + 24] = 3; /* class */
    assert_refused(b);
    b = (struct cs_buf){0};
    cs_entry_begin(&b, CS_ENTRY_REPLACE, 0);
    cs_put_u32(&b, UINT32_MAX / 2);
    assert_refused(b);
    b = added(CS_ENTRY_ARCHIVE, 60);
    b.data[b.len - 8] = 0xff; /* length of the summary */
    assert_refused(b);
}

/* ---- forget, tag, condemn, lost ---- */

static struct cs_buf entry(enum cs_entry_type type)
{
    struct cs_buf b = {0};
    cs_entry_begin(&b, type, 300);
    return b;
}

static void put_ids(struct cs_buf *b, unsigned n, const uint8_t *first)
{
    cs_put_u32(b, n);
    for (unsigned i = 0; i < n; i++) {
        struct cs_id id;
        memset(&id, first[i], sizeof id);
        cs_put_bytes(b, &id, sizeof id);
    }
}

static void put_names(struct cs_buf *b, unsigned n, const uint8_t *first)
{
    cs_put_u32(b, n);
    for (unsigned i = 0; i < n; i++)
        cs_put_bytes(b, name_of(first[i]).bytes, CS_NAME_SIZE);
}

static struct cs_buf condemn(unsigned packs, const uint8_t *pack, unsigned segments,
                             const uint8_t *segment, unsigned gone, const uint8_t *gone_pack)
{
    struct cs_buf b = entry(CS_ENTRY_CONDEMN);
    put_names(&b, packs, pack);
    put_names(&b, segments, segment);
    put_names(&b, gone, gone_pack);
    put_names(&b, 0, NULL);
    cs_entry_put_added(&b, &(struct cs_added){0});
    return b;
}

static struct cs_buf tag(uint8_t archive, const char *removed, const char *added)
{
    struct cs_buf b = entry(CS_ENTRY_TAG);
    struct cs_id id;
    memset(&id, archive, sizeof id);
    cs_put_bytes(&b, &id, sizeof id);
    cs_put_u16(&b, removed != NULL);
    if (removed != NULL)
        cs_put_str16(&b, removed);
    cs_put_u16(&b, added != NULL);
    if (added != NULL)
        cs_put_str16(&b, added);
    return b;
}

static struct cs_buf lost(uint8_t pack, uint8_t object)
{
    struct cs_buf b = entry(CS_ENTRY_LOST);
    struct cs_id id;
    cs_put_u32(&b, 1);
    cs_put_bytes(&b, name_of(pack).bytes, CS_NAME_SIZE);
    memset(&id, object, sizeof id);
    cs_put_bytes(&b, &id, sizeof id);
    return b;
}

static bool is_lost(struct cs_state *s, uint8_t pack, uint8_t object)
{
    struct cs_name name = name_of(pack);
    struct cs_id id;
    bool yes = false;
    memset(&id, object, sizeof id);
    assert_ok(cs_state_lost(s, &name, &id, &yes, err));
    return yes;
}

static bool is_live(const struct cs_state *s, uint8_t pack)
{
    struct cs_name name = name_of(pack);
    return cs_state_pack(s, &name) != NULL;
}

static void assert_survives_checkpoint(const struct cs_state *s)
{
    struct cs_state again = {0};
    struct cs_buf cp = snapshot(s);
    assert_ok(cs_state_load_checkpoint(&again, 99, cp.data, cp.len, err));
    assert_unchanged(&again, &cp);
    cs_buf_clear(&cp);
    cs_state_clear(&again);
}

static void test_forget(void **state)
{
    struct cs_state s;
    (void)state;
    build(&s);
    apply(&s, 6, added(CS_ENTRY_ARCHIVE, 40));
    apply(&s, 7, added(CS_ENTRY_ARCHIVE, 50));
    const struct cs_archive *lent = s.archives[1];
    struct cs_buf b = entry(CS_ENTRY_FORGET);
    put_ids(&b, 3, (const uint8_t[]){40, 77, 20}); /* 77 is not there: passed over */
    apply(&s, 8, b);
    assert_int_equal(s.archive_count, 1);
    assert_int_equal(s.archives[0]->id.bytes[0], 50);
    assert_int_equal(lent->id.bytes[0], 40); /* it may still be in somebody's hands */
    assert_string_equal(lent->tags[0], "one");
    assert_int_equal(s.pack_count, 10); /* nothing is freed by it */
    assert_survives_checkpoint(&s);
    b = entry(CS_ENTRY_FORGET);
    put_ids(&b, 0, NULL);
    apply(&s, 9, b);
    assert_int_equal(s.archive_count, 1);
    cs_state_clear(&s);
}

static void test_tag(void **state)
{
    struct cs_state s;
    (void)state;
    build(&s);
    apply(&s, 6, tag(20, "one", "two"));
    assert_int_equal(s.archives[0]->tag_count, 2);
    assert_string_equal(s.archives[0]->tags[0], "");
    assert_string_equal(s.archives[0]->tags[1], "two");
    apply(&s, 7, tag(20, "none", "two")); /* it has that */
    assert_int_equal(s.archives[0]->tag_count, 2);
    apply(&s, 8, tag(20, "two", "two")); /* what is removed comes first */
    assert_int_equal(s.archives[0]->tag_count, 2);
    apply(&s, 9, tag(99, "two", "three")); /* no such archive: passed over */
    assert_survives_checkpoint(&s);
    struct cs_buf many = entry(CS_ENTRY_TAG);
    struct cs_id id;
    memset(&id, 20, sizeof id);
    cs_put_bytes(&many, &id, sizeof id);
    cs_put_u16(&many, 0);
    cs_put_u16(&many, 1025);
    for (unsigned i = 0; i < 1025; i++)
        cs_put_str16(&many, "x");
    assert_fails(CS_CORRUPT, cs_state_apply(&s, 10, many.data, many.len, err));
    cs_buf_clear(&many);
    cs_state_clear(&s);
}

static void test_condemn(void **state)
{
    struct cs_state s;
    struct cs_name name;
    (void)state;
    build(&s);
    assert_int_equal(s.packs[0].published, 200);
    assert_int_equal(s.packs[2].published, 0); /* came with an archive */
    assert_int_equal(s.condemned_count, 1);    /* segment 12 was replaced */
    /* 10 and 31 are live, 77 is a file that the log never knew */
    apply(&s, 6, condemn(3, (const uint8_t[]){10, 77, 31}, 1, (const uint8_t[]){22}, 0, NULL));
    assert_int_equal(s.pack_count, 4);
    assert_false(is_live(&s, 10));
    assert_true(is_live(&s, 11));
    assert_int_equal(s.segment_count, 1);
    assert_int_equal(s.condemned_count, 5);
    assert_int_equal(s.condemn_entries, 1);
    name = name_of(77);
    assert_true(cs_state_condemned(&s, CS_FILE_PACK, &name));
    assert_survives_checkpoint(&s);
    /* nothing condemned comes back: whole entries are refused */
    struct cs_buf before = snapshot(&s);
    for (uint8_t first = 76; first <= 77; first++) {
        struct cs_buf b = added(CS_ENTRY_PUBLISH, first);
        assert_fails(CS_CORRUPT, cs_state_apply(&s, 7, b.data, b.len, err));
        cs_buf_clear(&b);
    }
    struct cs_buf again = added(CS_ENTRY_PUBLISH, 20); /* pack 20 is live */
    assert_fails(CS_CORRUPT, cs_state_apply(&s, 7, again.data, again.len, err));
    cs_buf_clear(&again);
    assert_unchanged(&s, &before);
    cs_buf_clear(&before);
    /* gone: what was listed as absent is forgotten, here also for the log, but not by a writer */
    apply(&s, 7, condemn(0, NULL, 0, NULL, 2, (const uint8_t[]){77, 55}));
    assert_int_equal(s.condemned_count, 4);
    assert_true(cs_state_condemned(&s, CS_FILE_PACK, &name));
    assert_survives_checkpoint(&s);
    apply(&s, 8, added(CS_ENTRY_PUBLISH, 77));
    assert_true(is_live(&s, 77));
    cs_state_clear(&s);
}

static void test_lost(void **state)
{
    struct cs_state s;
    (void)state;
    build(&s);
    apply(&s, 6, lost(10, 1));
    apply(&s, 7, lost(10, 1)); /* again */
    apply(&s, 8, lost(77, 1)); /* not live */
    apply(&s, 9, lost(11, 1));
    assert_int_equal(s.lost_count, 2);
    assert_true(is_lost(&s, 10, 1));
    assert_false(is_lost(&s, 10, 2));
    assert_false(is_lost(&s, 20, 1));
    assert_survives_checkpoint(&s);
    apply(&s, 10, condemn(1, (const uint8_t[]){10}, 0, NULL, 0, NULL));
    assert_int_equal(s.lost_count, 1);
    assert_false(is_lost(&s, 10, 1));
    assert_true(is_lost(&s, 11, 1));
    assert_survives_checkpoint(&s);
    cs_state_clear(&s);
}

/* Pack 0 is all zeros, and no pack's name. */
static void test_lost_and_found_nowhere(void **state)
{
    struct cs_state s;
    (void)state;
    build(&s);
    apply(&s, 6, lost(0, 1));
    apply(&s, 7, lost(10, 1));
    apply(&s, 8, lost(0, 1)); /* again */
    apply(&s, 9, lost(0, 2));
    assert_int_equal(s.lost_count, 3);
    assert_true(is_lost(&s, 0, 1) && is_lost(&s, 0, 2) && is_lost(&s, 10, 1));
    assert_survives_checkpoint(&s);
    apply(&s, 10, condemn(1, (const uint8_t[]){11}, 0, NULL, 0, NULL));
    assert_int_equal(s.lost_count, 3);
    size_t condemned = s.condemned_count;
    apply(&s, 11, condemn(1, (const uint8_t[]){0}, 0, NULL, 0, NULL));
    assert_int_equal(s.condemned_count, condemned);
    assert_int_equal(s.lost_count, 1);
    assert_true(is_lost(&s, 10, 1));
    assert_survives_checkpoint(&s);
    apply(&s, 12, lost(0, 3));
    assert_true(is_lost(&s, 0, 3));
    struct cs_buf b = added(CS_ENTRY_PUBLISH, 0);
    assert_fails(CS_CORRUPT, cs_state_try(&s, 13, b.data, b.len, err));
    cs_buf_clear(&b);
    cs_state_clear(&s);
}

/* Many in one entry, each twice, take no longer than sorting them does. */
static void test_many_lost(void **state)
{
    enum { MANY = 200000 };
    struct cs_state s;
    struct cs_buf b = entry(CS_ENTRY_LOST);
    struct cs_name pack = name_of(10);
    (void)state;
    build(&s);
    cs_put_u32(&b, 2 * MANY);
    for (uint32_t i = 0; i < 2 * MANY; i++) {
        struct cs_id id = {{0}};
        cs_le32(id.bytes, i % MANY);
        cs_put_bytes(&b, &pack, sizeof pack);
        cs_put_bytes(&b, &id, sizeof id);
    }
    assert_ok(cs_state_apply(&s, 6, b.data, b.len, err));
    assert_ok(cs_state_apply(&s, 7, b.data, b.len, err));
    assert_int_equal(s.lost_count, MANY);
    assert_int_equal(cs_from_le32(s.lost[7].id.bytes), 7); /* in the order of the log */
    cs_buf_clear(&b);
    cs_state_clear(&s);
}

static void test_new_entries_are_refused_where_cut_off(void **state)
{
    struct cs_buf b = entry(CS_ENTRY_FORGET);
    (void)state;
    put_ids(&b, 2, (const uint8_t[]){20, 21});
    assert_prefixes_refused(b, false);
    assert_prefixes_refused(tag(20, "one", "two"), false);
    assert_prefixes_refused(lost(10, 1), false);
    assert_prefixes_refused(
        condemn(1, (const uint8_t[]){10}, 1, (const uint8_t[]){22}, 1, (const uint8_t[]){9}),
        false);
    /* what an entry condemns, it does not add */
    b = entry(CS_ENTRY_CONDEMN);
    put_names(&b, 1, (const uint8_t[]){60});
    put_names(&b, 0, NULL);
    put_names(&b, 0, NULL);
    put_names(&b, 0, NULL);
    struct cs_state_pack pack = {name_of(60), 1000, CS_DATA, 0};
    cs_entry_put_added(&b, &(struct cs_added){.packs = &pack, .pack_count = 1});
    assert_refused(b);
    /* nor anything twice */
    b = entry(CS_ENTRY_PUBLISH);
    struct cs_state_pack twice[2] = {pack, pack};
    cs_entry_put_added(&b, &(struct cs_added){.packs = twice, .pack_count = 2});
    assert_refused(b);
}

/* Names that would meet in a table of a known hash must not make it slow. */
static void test_many_names(void **state)
{
    struct cs_names names = {0};
    uint32_t number = 0;
    (void)state;
    for (uint32_t i = 0; i < 100000; i++) {
        struct cs_name name = {{0}};
        cs_le32(name.bytes + (i % 2 ? 0 : 12), i);
        assert_false(cs_names_find(&names, &name, NULL));
        assert_int_equal(cs_names_add(&names, &name, i), 0);
    }
    for (uint32_t i = 0; i < 100000; i++) {
        struct cs_name name = {{0}};
        cs_le32(name.bytes + (i % 2 ? 0 : 12), i);
        assert_true(cs_names_find(&names, &name, &number));
        assert_int_equal(number, i);
    }
    cs_names_clear(&names);
}

static void test_unknown_types(void **state)
{
    struct cs_state s;
    struct cs_buf b = {0};
    (void)state;
    build(&s);
    cs_put_u16(&b, 42);
    cs_put_u16(&b, 0);
    cs_put_u64(&b, 0);
    assert_fails(CS_UNSUPPORTED, cs_state_apply(&s, 9, b.data, b.len, err));
    assert_int_equal(s.unknown_entry, 0);
    b.data[2] = CS_ENTRY_OPTIONAL;
    assert_ok(cs_state_apply(&s, 9, b.data, b.len, err));
    assert_int_equal(s.unknown_entry, 10);
    cs_buf_clear(&b);
    cs_state_clear(&s);
}

static void test_rights(void **state)
{
    static const char *const rights[] = {
        /* types 1 to 13 of full, backup, append */
        [CS_ROLE_FULL] = "yyyyyyyyyyyyy",
        [CS_ROLE_BACKUP] = "nyyyyyyyyynnn",
        [CS_ROLE_APPEND] = "nyyyynnnnnnnn",
    };
    (void)state;
    for (int role = CS_ROLE_FULL; role <= CS_ROLE_APPEND; role++)
        for (uint16_t type = 1; type <= 13; type++)
            assert_int_equal(cs_state_may((enum cs_role)role, type), rights[role][type - 1] == 'y');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_fold),
        cmocka_unit_test(test_a_checkpoint_is_the_state),
        cmocka_unit_test(test_every_truncation_is_refused_without_change),
        cmocka_unit_test(test_hostile_payloads),
        cmocka_unit_test(test_forget),
        cmocka_unit_test(test_tag),
        cmocka_unit_test(test_condemn),
        cmocka_unit_test(test_lost),
        cmocka_unit_test(test_lost_and_found_nowhere),
        cmocka_unit_test(test_many_lost),
        cmocka_unit_test(test_new_entries_are_refused_where_cut_off),
        cmocka_unit_test(test_many_names),
        cmocka_unit_test(test_unknown_types),
        cmocka_unit_test(test_rights),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
