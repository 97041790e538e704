/* SPDX-License-Identifier: BSD-2-Clause */
/* Recovery codes: known ones, what people type, and every single typing error. */
#include "cs_fixture.h"

#include "crypt.h"
#include "recovery.h"

static bool takes(const char *text)
{
    uint8_t bytes[CS_RECOVERY_BYTES];
    return cs_recovery_decode(bytes, text, strlen(text));
}

static void test_known_codes(void **state)
{
    uint8_t bytes[CS_RECOVERY_BYTES] = {0}, back[CS_RECOVERY_BYTES];
    char code[CS_RECOVERY_CODE_SIZE];
    (void)state;
    cs_recovery_encode(code, bytes);
    assert_string_equal(code, "0000-0000-0000-0000-0000-0000-00DG");
    for (uint8_t i = 0; i < CS_RECOVERY_BYTES; i++)
        bytes[i] = i;
    cs_recovery_encode(code, bytes);
    assert_string_equal(code, "000G-40R4-0M30-E209-185G-R38E-1Z80");
    assert_true(cs_recovery_decode(back, code, strlen(code)));
    assert_memory_equal(back, bytes, sizeof bytes);
    memset(bytes, 0xff, sizeof bytes);
    cs_recovery_encode(code, bytes);
    assert_string_equal(code, "ZZZZ-ZZZZ-ZZZZ-ZZZZ-ZZZZ-ZZZZ-ZX50");
}

static void test_as_people_type_them(void **state)
{
    (void)state;
    assert_true(takes("000g-40r4-0m30-e209-185g-r38e-1z80"));
    assert_true(takes("000G40R40M30E209185GR38E1Z80"));
    assert_true(takes("OOOG 4OR4 oM3o E2o9 I85G R38E LZ8O"));
    assert_true(takes("  000G-40R4-0M30-E209-i85G-R38E-lZ80  "));
}

static void test_what_is_no_code(void **state)
{
    (void)state;
    assert_false(takes(""));
    assert_false(takes("----"));
    assert_false(takes("000G-40R4-0M30-E209-185G-R38E-1Z8"));
    assert_false(takes("000G-40R4-0M30-E209-185G-R38E-1Z800"));
    assert_false(takes("000G-40R4-0M30-E209-185G-R38E-1Z8U"));
    assert_false(takes("000G-40R4-0M30-E209-185G-R38E-1Z81")); /* one of the four zero bits */
    assert_false(takes("000G-40R4-0M30-E209-185G-R38E-1Z80\n"));
    assert_false(takes("000G\xc3\xa9"
                       "40R4-0M30-E209-185G-R38E-1Z80"));
    uint8_t bytes[CS_RECOVERY_BYTES];
    assert_false(cs_recovery_decode(bytes, "000G-40R4-0M30-E209-185G-R38E-1Z8\0", 35));
}

/* A checksum of eight bits lets one in 256 wrong codes pass; the digits that it is made of, none.
 */
static void test_most_single_errors_are_told(void **state)
{
    static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    char code[] = "000G-40R4-0M30-E209-185G-R38E-1Z80";
    unsigned tried = 0, passed = 0;
    (void)state;
    for (size_t i = 0; i + 1 < sizeof code; i++) {
        char right = code[i];
        for (size_t k = 0; right != '-' && alphabet[k] != 0; k++) {
            code[i] = alphabet[k];
            if (code[i] == right)
                continue;
            tried++;
            passed += takes(code);
        }
        code[i] = right;
    }
    assert_int_equal(tried, 28 * 31);
    assert_true(passed < tried / 64);
}

static void test_round_trip(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 500; i++) {
        uint8_t bytes[CS_RECOVERY_BYTES], back[CS_RECOVERY_BYTES];
        char code[CS_RECOVERY_CODE_SIZE];
        cs_random(bytes, sizeof bytes);
        cs_recovery_encode(code, bytes);
        assert_int_equal(strlen(code), 34);
        assert_true(cs_recovery_decode(back, code, strlen(code)));
        assert_memory_equal(back, bytes, sizeof bytes);
    }
}

static int setup(void **state)
{
    (void)state;
    return cs_crypt_init(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_codes),     cmocka_unit_test(test_as_people_type_them),
        cmocka_unit_test(test_what_is_no_code), cmocka_unit_test(test_most_single_errors_are_told),
        cmocka_unit_test(test_round_trip),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
