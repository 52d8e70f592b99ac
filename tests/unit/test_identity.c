/* Who may do what. */
#include "testing.h"

#include "auth/auth.h"
#include "auth/identity.h"

static void roles_have_names(void **state)
{
    (void)state;
    nx_error err = {0};
    nx_role role = NX_ROLE_NONE;
    for (nx_role each = NX_ROLE_VIEWER; each <= NX_ROLE_ADMIN; each++) {
        nx_assert_ok(nx_role_parse(nx_role_name(each), &role, &err), err);
        assert_int_equal(role, each);
    }
    static const char *const none[] = {"", "none", "Admin", "root", "admin "};
    for (size_t i = 0; i < NX_COUNT(none); i++) {
        assert_int_equal(nx_role_parse(none[i], &role, &err), NX_ERR_INVALID);
        assert_int_equal(role, NX_ROLE_NONE);
    }
    nx_assert_contains(err.message, "viewer, operator or admin");
}

static void each_role_may_what_those_below_may(void **state)
{
    (void)state;
    assert_int_equal(nx_role_scopes(NX_ROLE_NONE), 0);
    for (nx_role role = NX_ROLE_VIEWER; role <= NX_ROLE_ADMIN; role++) {
        uint32_t below = nx_role_scopes(role - 1);
        assert_int_equal(nx_role_scopes(role) & below, below);
        assert_int_not_equal(nx_role_scopes(role), below);
    }
    assert_int_equal(nx_role_scopes(NX_ROLE_VIEWER) & NX_SCOPE_INFER, 0);
    assert_int_equal(nx_role_scopes(NX_ROLE_OPERATOR) & NX_SCOPE_ADMIN, 0);
    assert_int_equal(nx_role_scopes(NX_ROLE_ADMIN), NX_SCOPES_ALL);
}

static void scopes_are_written_and_read(void **state)
{
    (void)state;
    nx_error err = {0};
    char text[NX_SCOPES_TEXT];
    for (uint32_t scopes = 1; scopes <= NX_SCOPES_ALL; scopes++) {
        uint32_t read = 0;
        nx_scopes_text(scopes, text);
        nx_assert_ok(nx_scopes_parse(text, &read, &err), err);
        assert_int_equal(read, scopes);
    }
    nx_scopes_text(NX_SCOPE_READ | NX_SCOPE_MODELS, text);
    assert_string_equal(text, "read,models");
    nx_scopes_text(0, text);
    assert_string_equal(text, "");
    assert_string_equal(nx_scope_name(NX_SCOPES_COUNT - 1), "admin");
}

static void wrong_scopes_are_explained(void **state)
{
    (void)state;
    nx_error err = {0};
    uint32_t read = 7;
    static const char *const wrong[] = {"",     ",",         "read,", ",read", "read,,infer",
                                        "READ", "read infer"};
    for (size_t i = 0; i < NX_COUNT(wrong); i++) {
        assert_int_equal(nx_scopes_parse(wrong[i], &read, &err), NX_ERR_INVALID);
        assert_int_equal(read, 0);
    }
    assert_int_equal(nx_scopes_parse("read,modles", &read, &err), NX_ERR_INVALID);
    nx_assert_contains(err.message, "did you mean 'models'?");
}

static void what_an_identity_may(void **state)
{
    (void)state;
    const nx_identity nobody = {0};
    const nx_identity local = nx_identity_local();
    const nx_identity key = {
        .kind = NX_IDENTITY_KEY, .role = NX_ROLE_ADMIN, .scopes = NX_SCOPE_READ | NX_SCOPE_INFER};
    assert_true(sizeof(nx_identity) <= 256); /* the slot of a request */
    assert_int_equal(nobody.kind, NX_IDENTITY_ANONYMOUS);
    assert_true(nx_identity_may(&nobody, NX_ROLE_NONE, 0));
    assert_false(nx_identity_may(&nobody, NX_ROLE_VIEWER, 0));
    assert_false(nx_identity_may(&nobody, NX_ROLE_NONE, NX_SCOPE_READ));
    assert_true(nx_identity_may(&local, NX_ROLE_ADMIN, NX_SCOPES_ALL));
    assert_true(nx_identity_may(&key, NX_ROLE_OPERATOR, NX_SCOPE_INFER));
    assert_false(nx_identity_may(&key, NX_ROLE_ADMIN, NX_SCOPE_ADMIN));
    assert_false(nx_identity_may(&key, NX_ROLE_VIEWER, NX_SCOPE_READ | NX_SCOPE_VIDEOS));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(roles_have_names),
        cmocka_unit_test(each_role_may_what_those_below_may),
        cmocka_unit_test(scopes_are_written_and_read),
        cmocka_unit_test(wrong_scopes_are_explained),
        cmocka_unit_test(what_an_identity_may),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
