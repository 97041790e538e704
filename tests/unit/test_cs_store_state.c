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
    struct cs_state_pack packs[2] = {{name_of(first), 1000, CS_DATA},
                                     {name_of((uint8_t)(first + 1)), 2000, CS_META}};
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
    bool live = false;
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
    assert_int_equal(s.archives[0].entry, 3);
    assert_int_equal(s.archives[0].bytes_stored, 12345);
    assert_int_equal(s.archives[0].tag_count, 2);
    assert_int_equal(s.archives[0].summary_len, 4);
    struct cs_name pack = name_of(31);
    assert_ok(cs_state_pack_live(&s, &pack, &live, err));
    assert_true(live);
    pack = name_of(32); /* a segment's */
    assert_ok(cs_state_pack_live(&s, &pack, &live, err));
    assert_false(live);
    cs_state_clear(&s);
    assert_ok(cs_state_pack_live(&s, &pack, &live, err));
    assert_false(live);
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
        cmocka_unit_test(test_unknown_types),
        cmocka_unit_test(test_rights),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
