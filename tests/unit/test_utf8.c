#include "testing.h"

#include "base/utf8.h"

#include <stdbool.h>

/* Another way to the same answer: decode by arithmetic, then check the value (RFC 3629, section 3).
 */
static size_t expected_length(const unsigned char *b, size_t size)
{
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t length = (b[0] & 0xE0) == 0xC0   ? 2
                    : (b[0] & 0xF0) == 0xE0 ? 3
                    : (b[0] & 0xF8) == 0xF0 ? 4
                                            : 0;
    if (length == 0 || size < length) {
        return 0;
    }
    uint32_t value = b[0] & (0x7FU >> length);
    for (size_t i = 1; i < length; i++) {
        if ((b[i] & 0xC0) != 0x80) {
            return 0;
        }
        value = value << 6 | (b[i] & 0x3FU);
    }
    bool surrogate = value >= 0xD800 && value <= 0xDFFF;
    return value >= smallest[length] && value <= 0x10FFFF && !surrogate ? length : 0;
}

/* Every first byte of two and three, with continuation bytes at and around each border. */
static void agrees_with_arithmetic(void **state)
{
    (void)state;
    static const unsigned char edges[] = {0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90,
                                          0x9F, 0xA0, 0xBF, 0xC0, 0xFF};
    for (unsigned first = 0x80; first <= 0xFF; first++) {
        for (unsigned second = 0; second <= 0xFF; second++) {
            for (size_t i = 0; i < NX_COUNT(edges); i++) {
                for (size_t j = 0; j < NX_COUNT(edges); j++) {
                    const unsigned char bytes[] = {(unsigned char)first, (unsigned char)second,
                                                   edges[i], edges[j]};
                    for (size_t size = 1; size <= sizeof bytes; size++) {
                        assert_int_equal(nx_utf8_sequence(bytes, size),
                                         expected_length(bytes, size));
                    }
                }
            }
        }
    }
}

static void knows_real_characters(void **state)
{
    (void)state;
    assert_int_equal(nx_utf8_sequence((const unsigned char *)"\xC3\xA9", 2), 2);     /* e acute */
    assert_int_equal(nx_utf8_sequence((const unsigned char *)"\xE2\x82\xAC", 3), 3); /* euro */
    assert_int_equal(nx_utf8_sequence((const unsigned char *)"\xF0\x9F\x9A\x8C", 4), 4); /* a bus */
    assert_int_equal(nx_utf8_sequence((const unsigned char *)"\xC0\xAF", 2), 0); /* overlong '/' */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_arithmetic),
        cmocka_unit_test(knows_real_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
