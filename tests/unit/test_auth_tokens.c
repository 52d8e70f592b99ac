/* The form of tokens, and the secret that follows from one. */
#include "testing.h"

#include "auth/tokens.h"

static void tokens_say_what_they_are(void **state)
{
    (void)state;
    static const nx_token_kind kinds[] = {NX_TOKEN_SESSION, NX_TOKEN_KEY, NX_TOKEN_SETUP};
    nx_error err = {0};
    for (size_t i = 0; i < NX_COUNT(kinds); i++) {
        char token[NX_AUTH_TOKEN_SIZE];
        char other[NX_AUTH_TOKEN_SIZE];
        char id[NX_KEY_ID_SIZE] = "";
        char seen[NX_KEY_ID_SIZE] = "";
        nx_assert_ok(nx_token_make(kinds[i], token, id, &err), err);
        nx_assert_ok(nx_token_make(kinds[i], other, NULL, &err), err);
        assert_string_not_equal(token, other);
        assert_int_equal(nx_token_look(token, seen), kinds[i]);
        assert_string_equal(seen, id);
        assert_int_equal(strlen(id), kinds[i] == NX_TOKEN_KEY ? NX_KEY_ID_SIZE - 1 : 0);
        assert_int_equal(strlen(token), kinds[i] == NX_TOKEN_KEY ? 58 : 47);
    }
}

/* Every change of one character's kind and every other length is no token. */
static void nothing_else_is_a_token(void **state)
{
    (void)state;
    static const char *const forms[] = {
        "",
        "nxs_",
        "nxk_",
        "Bearer nxs_",
        "nxs_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",   /* one short */
        "nxs_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", /* one long */
        "nxS_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "nxs_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "nxs_AAAAAAAAAAAAAAAAAAAAA'AAAAAAAAAAAAAAAAAAAAA",
        "nxs_AAAAAAAAAAAAAAAAAAAAA\303\244AAAAAAAAAAAAAAAAAAAA",
        "nxk_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "nxk_0123456789_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "nxk_012345678_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "nxk_01234567l9_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "nxk_0123456789AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    };
    for (size_t i = 0; i < NX_COUNT(forms); i++) {
        char id[NX_KEY_ID_SIZE] = "";
        assert_int_equal(nx_token_look(forms[i], id), NX_TOKEN_NONE);
        assert_string_equal(id, "");
    }
    assert_int_equal(nx_token_look(NULL, NULL), NX_TOKEN_NONE);
}

static void a_page_proves_that_it_knows_the_token(void **state)
{
    (void)state;
    nx_error err = {0};
    char token[NX_AUTH_TOKEN_SIZE];
    char other[NX_AUTH_TOKEN_SIZE];
    char csrf[NX_AUTH_CSRF_SIZE];
    char again[NX_AUTH_CSRF_SIZE];
    nx_assert_ok(nx_token_make(NX_TOKEN_SESSION, token, NULL, &err), err);
    nx_assert_ok(nx_token_make(NX_TOKEN_SESSION, other, NULL, &err), err);
    nx_auth_csrf(token, csrf);
    nx_auth_csrf(token, again);
    assert_string_equal(csrf, again);
    assert_null(strstr(token, csrf));
    assert_true(nx_auth_csrf_matches(token, csrf));
    assert_false(nx_auth_csrf_matches(other, csrf));
    assert_false(nx_auth_csrf_matches(token, NULL));
    assert_false(nx_auth_csrf_matches(NULL, csrf));
    assert_false(nx_auth_csrf_matches(token, ""));
    csrf[7] = csrf[7] == 'A' ? 'B' : 'A';
    assert_false(nx_auth_csrf_matches(token, csrf));
}

/* FIPS 180-2, appendix B.1. */
static void hashes_are_sha_256(void **state)
{
    (void)state;
    unsigned char hash[NX_TOKEN_HASH];
    char hex[NX_HASH_HEX];
    nx_token_hash("abc", hash);
    nx_token_hash_hex(hash, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_say_what_they_are),
        cmocka_unit_test(nothing_else_is_a_token),
        cmocka_unit_test(a_page_proves_that_it_knows_the_token),
        cmocka_unit_test(hashes_are_sha_256),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
