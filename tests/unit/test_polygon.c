#include "masks.h"

static nx_polygons polygons_of(const nx_mask *mask, double tolerance)
{
    nx_error err = {0};
    nx_polygons polygons;
    nx_assert_ok(nx_mask_polygons(mask, tolerance, &polygons, &err), err);
    return polygons;
}

/* Even-odd at the pixel's centre; the edges run along whole numbers. */
static bool filled(const nx_polygons *polygons, uint32_t x, uint32_t y)
{
    bool inside = false;
    for (size_t r = 0; r < polygons->count; r++) {
        const nx_ring *ring = &polygons->rings[r];
        for (size_t i = 0; i < ring->count; i++) {
            const nx_vertex *a = &ring->vertices[i];
            const nx_vertex *b = &ring->vertices[(i + 1) % ring->count];
            bool crosses = (a->y > (int32_t)y) != (b->y > (int32_t)y);
            inside ^= crosses && a->x > (int32_t)x;
        }
    }
    return inside;
}

static void assert_ring(const nx_ring *ring, bool hole, const nx_vertex *expected, size_t count)
{
    assert_int_equal(ring->hole, hole);
    assert_int_equal(ring->count, count);
    for (size_t start = 0; start < count; start++) { /* wherever the line begins */
        bool same = true;
        for (size_t i = 0; i < count; i++) {
            const nx_vertex *v = &ring->vertices[(start + i) % count];
            same = same && v->x == expected[i].x && v->y == expected[i].y;
        }
        if (same) {
            return;
        }
    }
    fail_msg("another line of the same number of corners");
}

static void outlines_run_clockwise_and_holes_the_other_way(void **state)
{
    (void)state;
    static const char *const rows[] = {"......", ".####.", ".#..#.", ".####.", "......"};
    static const nx_vertex outline[] = {{1, 1}, {5, 1}, {5, 4}, {1, 4}};
    static const nx_vertex hole[] = {{2, 2}, {2, 3}, {4, 3}, {4, 2}};
    nx_mask mask = mask_of(rows, 5);
    nx_polygons polygons = polygons_of(&mask, 0);
    assert_int_equal(polygons.count, 2);
    assert_ring(&polygons.rings[0], false, outline, NX_COUNT(outline));
    assert_ring(&polygons.rings[1], true, hole, NX_COUNT(hole));
    nx_polygons_free(&polygons);
    nx_mask_free(&mask);
}

static void pixels_at_the_edge_have_an_outline_too(void **state)
{
    (void)state;
    static const char *const rows[] = {"#"};
    static const nx_vertex outline[] = {{0, 0}, {1, 0}, {1, 1}, {0, 1}};
    nx_mask mask = mask_of(rows, 1);
    nx_polygons polygons = polygons_of(&mask, 5); /* not simplified away */
    assert_int_equal(polygons.count, 1);
    assert_ring(&polygons.rings[0], false, outline, NX_COUNT(outline));
    nx_polygons_free(&polygons);
    nx_mask_free(&mask);
}

static void pixels_that_touch_at_a_corner_are_apart(void **state)
{
    (void)state;
    static const char *const rows[] = {"#.", ".#"};
    nx_mask mask = mask_of(rows, 2);
    nx_polygons polygons = polygons_of(&mask, 0);
    assert_int_equal(polygons.count, 2);
    assert_int_equal(polygons.rings[0].count, 4);
    assert_int_equal(polygons.rings[1].count, 4);
    nx_polygons_free(&polygons);
    nx_mask_free(&mask);
}

static void an_empty_mask_has_no_rings(void **state)
{
    (void)state;
    static const char *const rows[] = {"..", ".."};
    nx_mask mask = mask_of(rows, 2);
    nx_polygons polygons = polygons_of(&mask, 1);
    assert_int_equal(polygons.count, 0);
    nx_polygons_free(&polygons);
    nx_mask_free(&mask);
}

static void filling_gives_back_the_mask(void **state)
{
    (void)state;
    nx_error err = {0};
    nx_mask mask;
    uint32_t random = 7;
    nx_assert_ok(nx_mask_alloc(37, 29, &mask, &err), err);
    for (int round = 0; round < 50; round++) {
        for (size_t i = 0; i < 37 * 29; i++) {
            random = random * 1664525 + 1013904223;
            mask.bits[i] = (random >> 24) < (uint32_t)(round * 5 + 3);
        }
        nx_polygons polygons = polygons_of(&mask, 0);
        for (uint32_t y = 0; y < 29; y++) {
            for (uint32_t x = 0; x < 37; x++) {
                assert_int_equal(filled(&polygons, x, y), mask.bits[y * 37 + x]);
            }
        }
        nx_polygons_free(&polygons);
    }
    nx_mask_free(&mask);
}

static void stairs_become_straight(void **state)
{
    (void)state;
    nx_error err = {0};
    nx_mask mask;
    nx_assert_ok(nx_mask_alloc(64, 64, &mask, &err), err);
    for (uint32_t y = 0; y < 64; y++) {
        memset(mask.bits + y * 64, 1, y + 1);
    }
    nx_polygons exact = polygons_of(&mask, 0);
    nx_polygons simple = polygons_of(&mask, 1);
    assert_int_equal(exact.rings[0].count, 2 * 64 + 2);
    assert_int_equal(simple.count, 1);
    assert_in_range(simple.rings[0].count, 3, 6);
    nx_polygons_free(&exact);
    nx_polygons_free(&simple);
    nx_mask_free(&mask);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outlines_run_clockwise_and_holes_the_other_way),
        cmocka_unit_test(pixels_at_the_edge_have_an_outline_too),
        cmocka_unit_test(pixels_that_touch_at_a_corner_are_apart),
        cmocka_unit_test(an_empty_mask_has_no_rings),
        cmocka_unit_test(filling_gives_back_the_mask),
        cmocka_unit_test(stairs_become_straight),
    };
    return cmocka_run_group_tests_name("polygon", tests, NULL, NULL);
}
