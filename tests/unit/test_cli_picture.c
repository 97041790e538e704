/* SPDX-License-Identifier: BSD-2-Clause */
/* Cells are powers of two that cover the disk, and every byte is counted in its cell. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/picture.h"

#define MIB ((uint64_t)1 << 20)

static struct picture begin(enum picture_mode mode, uint64_t size)
{
    struct picture picture;

    assert_int_equal(picture_begin(&picture, mode, size, 64, 16, NULL), 0);
    return picture;
}

static void cells_cover_the_disk(void **state)
{
    static const uint64_t sizes[] = {1, 4096, 4097, 64 * MIB, 64 * MIB + 1, INT64_MAX, UINT64_MAX};

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct picture p = begin(PICTURE_DENSITY, sizes[i]);

        assert_true(p.count >= 1 && p.count <= 1024);
        assert_int_equal(p.cell & (p.cell - 1), 0);
        assert_true((p.count - 1) * p.cell < sizes[i]);
        assert_true(picture_cell_size(&p, p.count - 1) <= p.cell);
        assert_int_equal((p.count - 1) * p.cell + picture_cell_size(&p, p.count - 1), sizes[i]);
        picture_clear(&p);
    }
    struct picture none = begin(PICTURE_DENSITY, 0);
    assert_int_equal(none.count, 0);
    picture_add(&none, 0, 1, 1, 0);
    picture_clear(&none);
}

static void bytes_are_counted_in_their_cells(void **state)
{
    struct picture p = begin(PICTURE_DENSITY, 64 * MIB); /* cells of 64 KiB */
    size_t kind = 99;

    (void)state;
    picture_add(&p, 65536 - 512, 1024, 1024, 0);
    assert_int_equal(p.cells[0][0], 512);
    assert_int_equal(p.cells[1][0], 512);
    picture_add(&p, 4 * MIB, 2 * 65536, 65536, 3);
    assert_int_equal(p.cells[64][3], 32768);
    assert_int_equal(p.cells[65][3], 32768);
    assert_int_equal(picture_level(&p, 64, &kind), 2);
    assert_int_equal(kind, 3);
    assert_int_equal(picture_level(&p, 0, &kind), 1);
    assert_int_equal(picture_level(&p, 2, &kind), 0);
    /* What lies, or lies behind the end, stays within the picture. */
    picture_add(&p, 64 * MIB - 512, UINT64_MAX, UINT64_MAX, 400);
    assert_int_equal(p.cells[1023][PICTURE_KINDS - 1], 512);
    picture_add(&p, 64 * MIB, 512, 512, 0);
    picture_add(&p, UINT64_MAX, UINT64_MAX, 1, 0);
    assert_int_equal(picture_sum(&p, 0), 1024);
    picture_clear(&p);
}

static void a_change_is_seen_beside_what_is_not_one(void **state)
{
    struct picture p = begin(PICTURE_CHANGES, 64 * MIB);
    size_t kind = 99;

    (void)state;
    picture_add(&p, 0, 65536 - 512, 65536 - 512, PICTURE_SAME);
    assert_int_equal(picture_level(&p, 0, &kind), PICTURE_LEVELS);
    assert_int_equal(kind, PICTURE_SAME);
    picture_add(&p, 65536 - 512, 512, 512, PICTURE_GONE);
    assert_int_equal(picture_level(&p, 0, &kind), PICTURE_LEVELS);
    assert_int_equal(kind, PICTURE_GONE);
    picture_clear(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cells_cover_the_disk),
        cmocka_unit_test(bytes_are_counted_in_their_cells),
        cmocka_unit_test(a_change_is_seen_beside_what_is_not_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
