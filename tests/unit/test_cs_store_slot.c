/* SPDX-License-Identifier: BSD-2-Clause */
/* Key slots and keyrings: each secret opens its own, and nothing altered, absurd or foreign is
 * taken. */
#include "cs_fixture.h"

#include "bytes.h"
#include "crypt.h"
#include "slot.h"

struct made {
    struct cs_identity identity;
    struct cs_pins pins;
    uint8_t data[CS_SLOT_SIZE];
    char name[64];
};

static void make(struct made *m, const struct cs_secret *secret)
{
    cs_identity_new(&m->identity);
    memset(&m->pins, 0x5a, sizeof m->pins);
    m->pins.epoch = 3;
    cs_slot_file(m->name, &m->identity.slot);
    assert_ok(cs_slot_seal(m->data, &m->identity, &m->pins, secret, err));
}

static int open_slot(const struct made *m, const struct cs_secret *secret, struct cs_error *err)
{
    struct cs_slot_head head;
    struct cs_identity identity;
    struct cs_pins pins;
    int rc = cs_slot_decode(&head, m->data, CS_SLOT_SIZE, m->name, err);
    if (rc == 0)
        rc = cs_slot_unseal(&identity, &pins, &head, m->data, secret, err);
    if (rc == 0) {
        assert_memory_equal(&identity, &m->identity, sizeof identity);
        assert_memory_equal(pins.config_hash, m->pins.config_hash, 32);
        assert_memory_equal(pins.first_entry_hash, m->pins.first_entry_hash, 32);
        assert_memory_equal(&pins.repository_id, &m->pins.repository_id, 32);
        assert_int_equal(pins.epoch, m->pins.epoch);
    }
    return rc;
}

/* As the owner of the slot could do, or whoever has its keys. */
static void sign_again(struct made *m)
{
    assert_ok(
        cs_sign(m->data + 384, m->identity.sign_seed, "byre slot", NULL, 0, m->data, 384, err));
}

static struct cs_secret recovery(const char *code)
{
    return (struct cs_secret){.kind = CS_SLOT_RECOVERY, .data = code, .len = strlen(code)};
}

static void test_key_file_opens_its_slot(void **state)
{
    struct cs_secret right = key_file(1), wrong = key_file(2);
    struct made m;
    (void)state;
    make(&m, &right);
    assert_ok(open_slot(&m, &right, err));
    assert_fails(CS_AUTH, open_slot(&m, &wrong, err));
    right.len--;
    assert_fails(CS_AUTH, open_slot(&m, &right, err));
}

static void test_recovery_code_opens_its_slot_and_as_a_passphrase_too(void **state)
{
    struct cs_secret right = recovery("000G-40R4-0M30-E209-185G-R38E-1Z80");
    struct cs_secret wrong = recovery("ZZZZ-ZZZZ-ZZZZ-ZZZZ-ZZZZ-ZZZZ-ZX50");
    struct made m;
    (void)state;
    make(&m, &right);
    assert_ok(open_slot(&m, &right, err));
    right.kind = CS_SLOT_PASSPHRASE;
    assert_ok(open_slot(&m, &right, err));
    right.kind = CS_SLOT_KEY_FILE;
    assert_fails(CS_AUTH, open_slot(&m, &right, err));
    assert_fails(CS_AUTH, open_slot(&m, &wrong, err));
}

static void test_passphrase_opens_its_slot(void **state)
{
    struct cs_secret right = {.kind = CS_SLOT_PASSPHRASE, .data = "a long passphrase", .len = 17};
    struct cs_secret wrong = {.kind = CS_SLOT_PASSPHRASE, .data = "a long passphrasE", .len = 17};
    struct made m;
    (void)state;
    make(&m, &right);
    assert_int_equal(cs_from_le32(m.data + 28), 3);
    assert_int_equal(cs_from_le32(m.data + 32), 64 << 10);
    assert_ok(open_slot(&m, &right, err));
    assert_fails(CS_AUTH, open_slot(&m, &wrong, err));
    struct cs_secret file = key_file(0);
    assert_fails(CS_AUTH, open_slot(&m, &file, err));
}

static void test_secrets_that_cannot_be(void **state)
{
    static const uint8_t zeros[CS_KEY_FILE_MAX + 1];
    struct cs_secret s = {.kind = CS_SLOT_PASSPHRASE, .data = "", .len = 0};
    (void)state;
    assert_fails(CS_USAGE, cs_secret_check(&s, err));
    s = (struct cs_secret){.kind = CS_SLOT_KEY_FILE, .data = zeros, .len = CS_KEY_FILE_MIN - 1};
    assert_fails(CS_USAGE, cs_secret_check(&s, err));
    s.len = CS_KEY_FILE_MAX + 1;
    assert_fails(CS_USAGE, cs_secret_check(&s, err));
    s.len = CS_KEY_FILE_MAX;
    assert_ok(cs_secret_check(&s, err));
    s.kind = 9;
    assert_fails(CS_USAGE, cs_secret_check(&s, err));
    s = recovery("no code");
    assert_fails(CS_AUTH, cs_secret_check(&s, err));
}

static void test_every_flipped_byte_of_a_slot_is_refused(void **state)
{
    struct cs_secret secret = key_file(1);
    struct made m;
    (void)state;
    make(&m, &secret);
    for (size_t i = 0; i < CS_SLOT_SIZE; i++) {
        struct cs_error err = {0};
        m.data[i] ^= 4;
        int rc = open_slot(&m, &secret, &err);
        assert_true(rc == CS_CORRUPT || (rc == CS_UNSUPPORTED && (i == 8 || i == 9)));
        m.data[i] ^= 4;
    }
}

/* The signature of the slot by itself must not be all that holds: it can be made anew. */
static void test_every_flipped_byte_signed_again_is_refused(void **state)
{
    struct cs_secret secret = key_file(1);
    struct made m;
    (void)state;
    make(&m, &secret);
    for (size_t i = 0; i < 384; i++) {
        struct cs_error err = {0};
        m.data[i] ^= 4;
        sign_again(&m);
        assert_true(open_slot(&m, &secret, &err) < 0);
        m.data[i] ^= 4;
    }
    sign_again(&m);
    assert_ok(open_slot(&m, &secret, err));
}

static void test_every_length_of_a_slot_is_refused(void **state)
{
    struct cs_secret secret = key_file(1);
    struct cs_slot_head head;
    struct made m;
    (void)state;
    make(&m, &secret);
    for (size_t len = 0; len < CS_SLOT_SIZE; len++)
        assert_fails(CS_CORRUPT, cs_slot_decode(&head, m.data, len, m.name, err));
    assert_fails(CS_CORRUPT, cs_slot_decode(&head, m.data, CS_SLOT_SIZE, "keys/other", err));
}

static void test_absurd_argon2_limits_are_refused_before_use(void **state)
{
    static const uint32_t cases[][2] = {
        {0, 65536}, {65, 65536},      {UINT32_MAX, 8}, {1, 0},
        {1, 7},     {1, 1 << 20 | 1}, {1, UINT32_MAX}, {UINT32_MAX, UINT32_MAX},
    };
    struct cs_secret secret = {.kind = CS_SLOT_PASSPHRASE, .data = "x", .len = 1};
    struct cs_slot_head head;
    struct made m;
    (void)state;
    make(&m, &secret);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cs_le32(m.data + 28, cases[i][0]);
        cs_le32(m.data + 32, cases[i][1]);
        sign_again(&m);
        assert_fails(CS_CORRUPT, cs_slot_decode(&head, m.data, CS_SLOT_SIZE, m.name, err));
    }
    secret = key_file(1); /* and a slot that needs no stretching must not ask for it */
    make(&m, &secret);
    cs_le32(m.data + 28, 1);
    cs_le32(m.data + 32, 8);
    sign_again(&m);
    assert_fails(CS_CORRUPT, cs_slot_decode(&head, m.data, CS_SLOT_SIZE, m.name, err));
}

/* ---- keyrings ---- */

struct ring {
    struct cs_keyring keyring;
    struct cs_identity issuer, owner;
    struct cs_id repository;
    uint8_t data[CS_KEYRING_SIZE];
};

static void make_ring(struct ring *r, enum cs_role role)
{
    memset(r, 0, sizeof *r);
    cs_identity_new(&r->issuer);
    cs_identity_new(&r->owner);
    memset(&r->repository, 0x33, sizeof r->repository);
    cs_random(r->keyring.id_key, 32);
    cs_random(r->keyring.chunker_key, 32);
    cs_random(r->keyring.fingerprint_key, 32);
    cs_keyring_new_epoch(&r->keyring, 7);
    assert_ok(cs_keyring_seal(r->data, &r->keyring, role, &r->repository, &r->owner.slot,
                              r->owner.dh_public, &r->issuer, err));
}

static int open_ring(const struct ring *r, struct cs_keyring *out, struct cs_error *err)
{
    return cs_keyring_unseal(out, r->data, CS_KEYRING_SIZE, "keyring", 7, &r->repository, &r->owner,
                             err);
}

static void test_only_full_keyrings_have_the_private_key(void **state)
{
    static const uint8_t zeros[32];
    (void)state;
    for (int role = CS_ROLE_FULL; role <= CS_ROLE_APPEND; role++) {
        struct ring r;
        struct cs_keyring out;
        make_ring(&r, (enum cs_role)role);
        assert_ok(open_ring(&r, &out, err));
        assert_int_equal(out.role, role);
        assert_int_equal(out.epoch, 7);
        assert_memory_equal(out.meta_key, r.keyring.meta_key, 32);
        assert_memory_equal(out.data_secret, r.keyring.data_secret, 32);
        assert_memory_equal(out.data_public, r.keyring.data_public, 32);
        assert_memory_equal(&out.issuer, &r.issuer.slot, 16);
        assert_memory_equal(out.data_private, role == CS_ROLE_FULL ? r.keyring.data_private : zeros,
                            32);
        assert_true(cs_keyring_verify(r.data, &r.repository, r.issuer.sign_public));
        assert_false(cs_keyring_verify(r.data, &r.repository, r.owner.sign_public));
    }
}

static void test_every_flipped_byte_of_a_keyring_is_refused(void **state)
{
    struct ring r;
    struct cs_keyring out;
    (void)state;
    make_ring(&r, CS_ROLE_FULL);
    for (size_t i = 0; i < CS_KEYRING_SIZE; i++) {
        struct cs_error err = {0};
        r.data[i] ^= 0x10;
        assert_false(cs_keyring_verify(r.data, &r.repository, r.issuer.sign_public));
        if (i < 376) /* what lies behind is the signature alone */
            assert_true(open_ring(&r, &out, &err) < 0);
        r.data[i] ^= 0x10;
    }
    assert_ok(open_ring(&r, &out, err));
}

static void test_foreign_keyrings_are_refused(void **state)
{
    struct ring r, other;
    struct cs_keyring out;
    struct cs_id repository;
    (void)state;
    make_ring(&r, CS_ROLE_BACKUP);
    make_ring(&other, CS_ROLE_BACKUP);
    memset(&repository, 1, sizeof repository);
    assert_fails(CS_CORRUPT, cs_keyring_unseal(&out, r.data, CS_KEYRING_SIZE, "keyring", 7,
                                               &r.repository, &other.owner, err));
    assert_fails(CS_CORRUPT, cs_keyring_unseal(&out, r.data, CS_KEYRING_SIZE, "keyring", 7,
                                               &repository, &r.owner, err));
    assert_fails(CS_CORRUPT, cs_keyring_unseal(&out, r.data, CS_KEYRING_SIZE, "keyring", 6,
                                               &r.repository, &r.owner, err));
    assert_false(cs_keyring_verify(r.data, &repository, r.issuer.sign_public));
    for (size_t len = 0; len < CS_KEYRING_SIZE; len++)
        assert_fails(CS_CORRUPT, cs_keyring_unseal(&out, r.data, len, "keyring", 7, &r.repository,
                                                   &r.owner, err));
}

/* ---- in a repository ---- */

static void test_a_slot_of_another_repository_opens_nothing(void **state)
{
    struct repo *repo = *state, *other;
    struct cs_store *store, *there;
    struct cs_name slot;
    char name[64];
    void *second = NULL;
    assert_int_equal(repo_setup(&second), 0);
    other = second;
    there = open_store(other);
    add_key(there, 3, CS_ROLE_FULL, &slot);
    cs_close(there);
    cs_slot_file(name, &slot);
    size_t len;
    uint8_t *data = file_read(other, name, &len);
    file_write(repo, name, data, len);
    free(data);
    assert_fails(CS_CORRUPT, try_open(&store, repo, 3, err));
    assert_ok(try_open(&store, repo, 0, err)); /* the others are not disturbed */
    cs_close(store);
    assert_fails(CS_AUTH, try_open(&store, repo, 4, err));
    repo_teardown(&second);
}

static void test_a_damaged_slot_does_not_keep_others_out(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_store(repo);
    struct cs_name slot;
    char name[64];
    add_key(store, 1, CS_ROLE_FULL, &slot);
    cs_close(store);
    cs_slot_file(name, &slot);
    file_flip(repo, name, 200);
    assert_fails(CS_CORRUPT, try_open(&store, repo, 1, err));
    assert_ok(try_open(&store, repo, 0, err));
    assert_true(check_errors(store, NULL) > 0);
    cs_close(store);
}

static void test_the_recovery_code_opens_the_repository(void **state)
{
    struct repo *repo = *state;
    struct cs_open_options options = {.secret = recovery(repo->code), .threads = 1};
    struct cs_store *store = open_with(repo, &options);
    assert_int_equal(cs_own_role(store), CS_ROLE_FULL);
    assert_memory_equal(cs_repository_id(store), &repo->id, sizeof repo->id);
    cs_close(store);
}

static int setup(void **state)
{
    (void)state;
    return cs_crypt_init(NULL);
}

#define with_repo(test) cmocka_unit_test_setup_teardown(test, repo_setup, repo_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_key_file_opens_its_slot),
        cmocka_unit_test(test_recovery_code_opens_its_slot_and_as_a_passphrase_too),
        cmocka_unit_test(test_passphrase_opens_its_slot),
        cmocka_unit_test(test_secrets_that_cannot_be),
        cmocka_unit_test(test_every_flipped_byte_of_a_slot_is_refused),
        cmocka_unit_test(test_every_flipped_byte_signed_again_is_refused),
        cmocka_unit_test(test_every_length_of_a_slot_is_refused),
        cmocka_unit_test(test_absurd_argon2_limits_are_refused_before_use),
        cmocka_unit_test(test_only_full_keyrings_have_the_private_key),
        cmocka_unit_test(test_every_flipped_byte_of_a_keyring_is_refused),
        cmocka_unit_test(test_foreign_keyrings_are_refused),
        with_repo(test_a_slot_of_another_repository_opens_nothing),
        with_repo(test_a_damaged_slot_does_not_keep_others_out),
        with_repo(test_the_recovery_code_opens_the_repository),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
