/* Users, the first set-up and API keys; the same on SQLite and on PostgreSQL. */
#include "auth_fixture.h"

#include <stdatomic.h>

static size_t list_users(store_fixture *fixture, nx_auth *auth, const char *after, nx_user *out,
                         size_t limit)
{
    size_t count = 0;
    nx_error err = {0};
    nx_assert_ok(nx_auth_users_list(auth, after, limit, &fixture->arena, out, &count, &err), err);
    return count;
}

static nx_status add(store_fixture *fixture, nx_auth *auth, const char *name, const char *password,
                     nx_role role, nx_error *err)
{
    nx_user user;
    nx_status status = nx_auth_user_add(auth, name, password, role, &fixture->arena, &user, err);
    assert_int_equal(user.id == NULL, status != NX_OK);
    return status;
}

static void users_are_made_and_listed(void **state)
{
    STORE_FIXTURE(state);
    nx_auth *auth = auth_open(fixture);
    nx_user users[4];
    nx_user user = auth_add(fixture, auth, "Zoe", NX_ROLE_ADMIN);
    (void)auth_add(fixture, auth, "bob@example.org", NX_ROLE_VIEWER);
    (void)auth_add(fixture, auth, "Ann_1.x-y", NX_ROLE_OPERATOR);
    assert_int_equal(list_users(fixture, auth, NULL, users, 4), 3);
    assert_string_equal(users[0].name, "Ann_1.x-y");
    assert_int_equal(users[0].role, NX_ROLE_OPERATOR);
    assert_false(users[0].disabled);
    assert_int_equal(users[0].login_at, 0);
    assert_true(users[0].created_at > 0 && users[0].password_at >= users[0].created_at);
    assert_string_equal(users[2].name, "Zoe");
    assert_int_equal(list_users(fixture, auth, "ANN_1.x-y", users, 1), 1);
    assert_string_equal(users[0].name, "bob@example.org");
    nx_assert_ok(nx_auth_user_get(auth, "zOE", &fixture->arena, &users[0], &err), err);
    assert_string_equal(users[0].id, user.id);
    nx_assert_ok(nx_auth_user_get(auth, user.id, &fixture->arena, &users[0], &err), err);
    assert_string_equal(users[0].name, "Zoe");
    assert_int_equal(add(fixture, auth, "ZOE", GOOD_PASSWORD, NX_ROLE_VIEWER, &err),
                     NX_ERR_CONFLICT);
    nx_assert_contains(err.message, "there is a user 'ZOE' already");
    nx_auth_free(auth);
}

static void names_and_passwords_have_a_form(void **state)
{
    STORE_FIXTURE(state);
    nx_auth *auth = auth_open(fixture);
    char longest[NX_USER_NAME_MAX + 2];
    char secret[NX_PASSWORD_MAX + 2];
    memset(longest, 'n', sizeof longest);
    memset(secret, 's', sizeof secret);
    longest[NX_USER_NAME_MAX + 1] = secret[NX_PASSWORD_MAX + 1] = '\0';
    const char *const wrong[] = {"",
                                 " ",
                                 "a b",
                                 "a'b",
                                 "a\"b",
                                 "a\nb",
                                 "a/b",
                                 "\xc3\xa4nn",
                                 "\xff",
                                 "a;--",
                                 "a%b",
                                 longest,
                                 "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b",
                                 "0190A1B2-C3D4-7E5F-8A9B-0C1D2E3F4A5B"};
    for (size_t i = 0; i < NX_COUNT(wrong); i++) {
        assert_int_equal(add(fixture, auth, wrong[i], GOOD_PASSWORD, NX_ROLE_ADMIN, &err),
                         NX_ERR_INVALID);
    }
    assert_int_equal(add(fixture, auth, "ann", "1234567", NX_ROLE_ADMIN, &err), NX_ERR_INVALID);
    assert_int_equal(add(fixture, auth, "ann", secret, NX_ROLE_ADMIN, &err), NX_ERR_INVALID);
    nx_assert_contains(err.message, "this one has 1025");
    assert_int_equal(add(fixture, auth, "ann", GOOD_PASSWORD, NX_ROLE_NONE, &err), NX_ERR_INVALID);
    assert_int_equal(nx_auth_get_stats(auth).hashings, 0); /* none was worth it */
    longest[NX_USER_NAME_MAX] = secret[NX_PASSWORD_MAX] = '\0';
    nx_assert_ok(add(fixture, auth, longest, secret, NX_ROLE_ADMIN, &err), err);
    assert_int_equal(auth_try(auth, longest, secret, HERE).outcome, NX_LOGIN_WELCOME);
    nx_assert_ok(add(fixture, auth, "b", "\xc3\xa4'\"; --\x01\xff", NX_ROLE_VIEWER, &err), err);
    assert_int_equal(auth_try(auth, "b", "\xc3\xa4'\"; --\x01\xff", HERE).outcome,
                     NX_LOGIN_WELCOME);
    nx_auth_free(auth);
}

static void roles_change_at_once(void **state)
{
    STORE_FIXTURE(state);
    nx_auth *auth = auth_open(fixture);
    nx_identity seen;
    (void)auth_add(fixture, auth, "ann", NX_ROLE_ADMIN);
    (void)auth_add(fixture, auth, "bob", NX_ROLE_OPERATOR);
    nx_login login = auth_sign_in(auth, "bob");
    nx_assert_ok(nx_auth_check(auth, login.token, 0, &seen, &err), err);
    assert_int_equal(seen.role, NX_ROLE_OPERATOR);
    nx_assert_ok(nx_auth_user_set_role(auth, "bob", NX_ROLE_VIEWER, &err), err);
    nx_assert_ok(nx_auth_check(auth, login.token, 0, &seen, &err), err);
    assert_int_equal(seen.role, NX_ROLE_VIEWER);
    assert_int_equal(seen.scopes, nx_role_scopes(NX_ROLE_VIEWER));
    nx_assert_ok(nx_auth_user_set_disabled(auth, "bob", true, &err), err);
    assert_int_equal(auth_check(auth, login.token, 0), NX_ERR_NOT_FOUND);
    nx_assert_ok(nx_auth_user_set_disabled(auth, "bob", true, &err), err);
    nx_assert_ok(nx_auth_user_set_disabled(auth, "bob", false, &err), err);
    assert_int_equal(auth_check(auth, login.token, 0), NX_ERR_NOT_FOUND); /* it stays ended */
    login = auth_sign_in(auth, "bob");
    nx_assert_ok(nx_auth_user_remove(auth, "bob", &err), err);
    assert_int_equal(auth_check(auth, login.token, 0), NX_ERR_NOT_FOUND);
    assert_int_equal(nx_auth_user_remove(auth, "bob", &err), NX_ERR_NOT_FOUND);
    assert_int_equal(nx_auth_user_set_role(auth, "bob", NX_ROLE_NONE, &err), NX_ERR_INVALID);
    nx_auth_free(auth);
}

static void somebody_can_always_manage_users(void **state)
{
    STORE_FIXTURE(state);
    nx_auth *auth = auth_open(fixture);
    assert_int_equal(add(fixture, auth, "bob", GOOD_PASSWORD, NX_ROLE_OPERATOR, &err),
                     NX_ERR_CONFLICT);
    nx_assert_contains(err.message, "the first user must be an admin");
    (void)auth_add(fixture, auth, "ann", NX_ROLE_ADMIN);
    (void)auth_add(fixture, auth, "bob", NX_ROLE_ADMIN);
    nx_assert_ok(nx_auth_user_set_disabled(auth, "bob", true, &err), err);
    assert_int_equal(nx_auth_user_set_role(auth, "ann", NX_ROLE_VIEWER, &err), NX_ERR_CONFLICT);
    nx_assert_contains(err.message, "last active admin");
    assert_int_equal(nx_auth_user_set_disabled(auth, "ann", true, &err), NX_ERR_CONFLICT);
    assert_int_equal(nx_auth_user_remove(auth, "ann", &err), NX_ERR_CONFLICT);
    nx_user ann;
    nx_assert_ok(nx_auth_user_get(auth, "ann", &fixture->arena, &ann, &err), err);
    assert_int_equal(ann.role, NX_ROLE_ADMIN);
    assert_false(ann.disabled);
    nx_assert_ok(nx_auth_user_set_disabled(auth, "bob", false, &err), err);
    nx_assert_ok(nx_auth_user_remove(auth, "ann", &err), err);
    nx_auth_free(auth);
}

typedef struct demotion {
    nx_auth *auth;
    const char *name;
    nx_status status;
} demotion;

static void *demote(void *user)
{
    demotion *what = user;
    nx_error err = {0};
    what->status = nx_auth_user_set_role(what->auth, what->name, NX_ROLE_VIEWER, &err);
    return NULL;
}

/* Two admins who demote each other: one of them stays. */
static void two_admins_cannot_both_go(void **state)
{
    STORE_FIXTURE(state);
    nx_auth *auth = auth_open(fixture);
    (void)auth_add(fixture, auth, "ann", NX_ROLE_ADMIN);
    (void)auth_add(fixture, auth, "bob", NX_ROLE_ADMIN);
    for (int round = 0; round < 10; round++) {
        demotion both[] = {{.auth = auth, .name = "ann"}, {.auth = auth, .name = "bob"}};
        pthread_t threads[2];
        for (int i = 0; i < 2; i++) {
            assert_int_equal(pthread_create(&threads[i], NULL, demote, &both[i]), 0);
        }
        for (int i = 0; i < 2; i++) {
            pthread_join(threads[i], NULL);
        }
        assert_int_equal((both[0].status == NX_OK) + (both[1].status == NX_OK), 1);
        assert_true(both[0].status == NX_ERR_CONFLICT || both[1].status == NX_ERR_CONFLICT);
        nx_assert_ok(
            nx_auth_user_set_role(auth, both[both[1].status == NX_OK].name, NX_ROLE_ADMIN, &err),
            err);
    }
    nx_auth_free(auth);
}

/* --- set-up --- */

static nx_status finish(store_fixture *fixture, nx_auth *auth, const char *token, const char *name,
                        nx_error *err)
{
    nx_user user;
    return nx_auth_setup_finish(auth, token, name, GOOD_PASSWORD, &fixture->arena, &user, err);
}

static void the_link_makes_one_admin(void **state)
{
    STORE_FIXTURE(state);
    nx_auth *auth = auth_open(fixture);
    char token[NX_AUTH_TOKEN_SIZE];
    char other[NX_AUTH_TOKEN_SIZE];
    nx_user user;
    bool any = true;
    nx_assert_ok(nx_auth_check_users(auth, 0, &any, &err), err);
    assert_false(any);
    assert_int_equal(nx_auth_peek_users(auth, NX_NS_PER_SEC - 1, &any), NX_AUTH_KNOWN);
    assert_int_equal(nx_auth_peek_users(auth, NX_NS_PER_SEC, &any), NX_AUTH_ASK);
    nx_assert_ok(nx_auth_setup_link(auth, token, &err), err);
    nx_assert_ok(nx_auth_setup_link(auth, other, &err), err); /* of another process */
    assert_int_equal(
        STORE_NUMBER(fixture->store, "SELECT count(*) FROM setup_tokens WHERE hash LIKE 'nxi%'"),
        0);
    /* what is wrong with the form leaves the link as it was */
    assert_int_equal(finish(fixture, auth, token, "a b", &err), NX_ERR_INVALID);
    assert_int_equal(
        nx_auth_setup_finish(auth, token, "ann", "short", &fixture->arena, &user, &err),
        NX_ERR_INVALID);
    nx_assert_ok(finish(fixture, auth, token, "ann", &err), err);
    nx_assert_ok(nx_auth_user_get(auth, "ann", &fixture->arena, &user, &err), err);
    assert_int_equal(user.role, NX_ROLE_ADMIN);
    (void)auth_sign_in(auth, "ann");
    assert_int_equal(nx_auth_peek_users(auth, 0, &any), NX_AUTH_KNOWN);
    assert_true(any);
    /* replayed, or another link that was good until then */
    int64_t hashings = nx_auth_get_stats(auth).hashings;
    assert_int_equal(finish(fixture, auth, token, "eve", &err), NX_ERR_NOT_FOUND);
    assert_int_equal(finish(fixture, auth, other, "eve", &err), NX_ERR_NOT_FOUND);
    assert_int_equal(nx_auth_setup_link(auth, token, &err), NX_ERR_CONFLICT);
    assert_string_equal(token, "");
    assert_int_equal(nx_auth_get_stats(auth).hashings, hashings);
    assert_int_equal(STORE_NUMBER(fixture->store, "SELECT count(*) FROM users"), 1);
    nx_auth_free(auth);
}

static void links_end(void **state)
{
    STORE_FIXTURE(state);
    nx_auth *auth = auth_open(fixture);
    char token[NX_AUTH_TOKEN_SIZE];
    nx_assert_ok(nx_auth_setup_link(auth, token, &err), err);
    (void)STORE_NUMBER(fixture->store, "UPDATE setup_tokens SET expires_at = nx_now()");
    assert_int_equal(finish(fixture, auth, token, "ann", &err), NX_ERR_NOT_FOUND);
    nx_assert_contains(err.message, "nexus users setup-link");
    for (int i = 0; i < 30; i++) {
        nx_assert_ok(nx_auth_setup_link(auth, token, &err), err);
    }
    assert_int_equal(STORE_NUMBER(fixture->store, "SELECT count(*) FROM setup_tokens"), 16);
    assert_int_equal(finish(fixture, auth, token, "a b", &err), NX_ERR_INVALID); /* it is good */
    token[10] = token[10] == 'x' ? 'y' : 'x';
    assert_int_equal(finish(fixture, auth, token, "ann", &err), NX_ERR_NOT_FOUND);
    static const char *const forms[] = {"", "x", "' OR 1=1 --", "nxi_", "nxs_"};
    for (size_t i = 0; i < NX_COUNT(forms); i++) {
        assert_int_equal(finish(fixture, auth, forms[i], "ann", &err), NX_ERR_NOT_FOUND);
    }
    assert_int_equal(nx_auth_get_stats(auth).hashings, 0);
    nx_auth_free(auth);
}

typedef struct first {
    nx_auth *auth;
    char token[NX_AUTH_TOKEN_SIZE];
    char name[8];
    nx_status status;
    pthread_barrier_t *start;
} first;

static void *set_up(void *user)
{
    first *mine = user;
    nx_error err = {0};
    nx_arena arena = nx_arena_make(0);
    nx_user made;
    pthread_barrier_wait(mine->start);
    mine->status = nx_auth_setup_finish(mine->auth, mine->token, mine->name, GOOD_PASSWORD, &arena,
                                        &made, &err);
    nx_arena_free(&arena);
    return NULL;
}

/* Eight at once, each on a store of its own as processes have them, four with one link and four
 * with another. */
static void many_finish_at_once_and_one_wins(void **state)
{
    STORE_FIXTURE(state);
    first all[8];
    nx_store *stores[NX_COUNT(all)];
    pthread_t threads[NX_COUNT(all)];
    pthread_barrier_t start;
    int won = 0;
    pthread_barrier_init(&start, NULL, NX_COUNT(all));
    for (size_t i = 0; i < NX_COUNT(all); i++) {
        stores[i] = store_open_another(fixture);
        all[i] = (first){.auth = auth_open_with(stores[i], (nx_auth_options){0}), .start = &start};
        snprintf(all[i].name, sizeof all[i].name, "user%zu", i);
        if (i < 2) {
            nx_assert_ok(nx_auth_setup_link(all[i].auth, all[i].token, &err), err);
        } else {
            memcpy(all[i].token, all[i % 2].token, sizeof all[i].token);
        }
    }
    for (size_t i = 0; i < NX_COUNT(all); i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, set_up, &all[i]), 0);
    }
    for (size_t i = 0; i < NX_COUNT(all); i++) {
        pthread_join(threads[i], NULL);
        won += all[i].status == NX_OK;
        assert_true(all[i].status == NX_OK || all[i].status == NX_ERR_NOT_FOUND);
        nx_auth_free(all[i].auth);
        nx_store_close(stores[i]);
    }
    pthread_barrier_destroy(&start);
    assert_int_equal(won, 1);
    assert_int_equal(STORE_NUMBER(fixture->store, "SELECT count(*) FROM users"), 1);
}

/* --- keys --- */

typedef struct made_key {
    char token[NX_AUTH_TOKEN_SIZE];
    nx_api_key key;
} made_key;

static made_key make_key(store_fixture *fixture, nx_auth *auth, const char *who, uint32_t scopes)
{
    made_key made;
    nx_error err = {0};
    nx_assert_ok(nx_auth_key_make(auth, who, "a key", scopes, NX_KEY_LIFETIME_S, made.token,
                                  &fixture->arena, &made.key, &err),
                 err);
    return made;
}

static void a_key_stands_for_its_user(void **state)
{
    STORE_FIXTURE(state);
    nx_auth *auth = auth_open(fixture);
    nx_identity seen;
    nx_user user = auth_add(fixture, auth, "ann", NX_ROLE_ADMIN);
    made_key made = make_key(fixture, auth, "Ann", NX_SCOPE_READ | NX_SCOPE_INFER);
    assert_memory_equal(made.token, "nxk_", 4);
    assert_memory_equal(made.token + 4, made.key.id, strlen(made.key.id));
    assert_true(made.key.expires_at >= made.key.created_at + NX_KEY_LIFETIME_S * 1000);
    nx_assert_ok(nx_auth_check_key(auth, made.token, 0, &seen, &err), err);
    assert_int_equal(seen.kind, NX_IDENTITY_KEY);
    assert_int_equal(seen.scopes, NX_SCOPE_READ | NX_SCOPE_INFER);
    assert_string_equal(seen.user_id, user.id);
    assert_string_equal(seen.name, "ann");
    assert_string_equal(seen.key_id, made.key.id);
    assert_string_equal(seen.session, "");
    assert_int_equal(nx_auth_peek(auth, made.token, 1, &seen), NX_AUTH_KNOWN);
    /* one kind does not pass for the other */
    assert_int_equal(nx_auth_check_session(auth, made.token, 0, &seen, &err), NX_ERR_NOT_FOUND);
    nx_login login = auth_sign_in(auth, "ann");
    assert_int_equal(nx_auth_check_key(auth, login.token, 0, &seen, &err), NX_ERR_NOT_FOUND);
    /* with the role its powers go */
    (void)auth_add(fixture, auth, "bob", NX_ROLE_ADMIN);
    nx_assert_ok(nx_auth_user_set_role(auth, "ann", NX_ROLE_VIEWER, &err), err);
    nx_assert_ok(nx_auth_check(auth, made.token, 0, &seen, &err), err);
    assert_int_equal(seen.scopes, NX_SCOPE_READ);
    nx_assert_ok(nx_auth_user_set_disabled(auth, "ann", true, &err), err);
    assert_int_equal(auth_check(auth, made.token, 0), NX_ERR_NOT_FOUND);
    nx_assert_ok(nx_auth_user_set_disabled(auth, "ann", false, &err), err);
    assert_int_equal(auth_check(auth, made.token, 0), NX_OK);
    nx_assert_ok(nx_auth_user_remove(auth, "ann", &err), err);
    assert_int_equal(auth_check(auth, made.token, 0), NX_ERR_NOT_FOUND);
    assert_int_equal(STORE_NUMBER(fixture->store, "SELECT count(*) FROM api_keys"), 0);
    nx_auth_free(auth);
}

static void bad_keys_are_refused(void **state)
{
    STORE_FIXTURE(state);
    nx_auth *auth = auth_open(fixture);
    (void)auth_add(fixture, auth, "ann", NX_ROLE_ADMIN);
    made_key one = make_key(fixture, auth, "ann", NX_SCOPE_READ);
    made_key two = make_key(fixture, auth, "ann", NX_SCOPE_READ);
    char forged[NX_AUTH_TOKEN_SIZE];
    /* the id of one with the secret of the other; another last character; another id */
    memcpy(forged, one.token, sizeof forged);
    memcpy(forged + 15, two.token + 15, 43);
    assert_int_equal(auth_check(auth, forged, 0), NX_ERR_NOT_FOUND);
    memcpy(forged, one.token, sizeof forged);
    forged[57] = forged[57] == 'A' ? 'B' : 'A';
    assert_int_equal(auth_check(auth, forged, 0), NX_ERR_NOT_FOUND);
    memcpy(forged, one.token, sizeof forged);
    forged[4] = forged[4] == '0' ? '1' : '0';
    assert_int_equal(auth_check(auth, forged, 0), NX_ERR_NOT_FOUND);
    assert_int_equal(nx_auth_get_stats(auth).refused, 3);
    assert_int_equal(auth_check(auth, one.token, 0), NX_OK);
    nx_assert_ok(nx_auth_key_revoke(auth, one.key.id, NULL, &err), err);
    assert_int_equal(auth_check(auth, one.token, 0), NX_ERR_NOT_FOUND);
    assert_int_equal(nx_auth_key_revoke(auth, one.key.id, NULL, &err), NX_ERR_NOT_FOUND);
    (void)STORE_NUMBER(fixture->store, "UPDATE api_keys SET expires_at = nx_now()");
    assert_int_equal(auth_check(auth, two.token, SOON), NX_ERR_NOT_FOUND);
    nx_auth_free(auth);
}

static void keys_are_listed_and_revoked(void **state)
{
    STORE_FIXTURE(state);
    nx_auth *auth = auth_open(fixture);
    nx_api_key keys[8];
    size_t count = 0;
    (void)auth_add(fixture, auth, "ann", NX_ROLE_ADMIN);
    (void)auth_add(fixture, auth, "bob", NX_ROLE_OPERATOR);
    made_key anns = make_key(fixture, auth, "ann", NX_SCOPES_ALL);
    made_key bobs = make_key(fixture, auth, "bob", NX_SCOPE_INFER);
    (void)make_key(fixture, auth, "bob", NX_SCOPE_READ);
    assert_int_equal(auth_check(auth, bobs.token, 0), NX_OK);
    nx_assert_ok(nx_auth_keys_list(auth, NULL, NULL, 8, &fixture->arena, keys, &count, &err), err);
    assert_int_equal(count, 3);
    nx_assert_ok(nx_auth_keys_list(auth, "BOB", NULL, 1, &fixture->arena, keys, &count, &err), err);
    assert_int_equal(count, 1);
    nx_assert_ok(
        nx_auth_keys_list(auth, "bob", keys[0].id, 8, &fixture->arena, keys + 1, &count, &err),
        err);
    assert_int_equal(count, 1);
    assert_string_not_equal(keys[0].id, keys[1].id);
    const nx_api_key *used = strcmp(keys[0].id, bobs.key.id) == 0 ? &keys[0] : &keys[1];
    assert_string_equal(used->user_name, "bob");
    assert_string_equal(used->name, "a key");
    assert_int_equal(used->scopes, NX_SCOPE_INFER);
    assert_true(used->used_at >= used->created_at);
    assert_int_equal(used->revoked_at, 0);
    /* each may revoke his own */
    assert_int_equal(nx_auth_key_revoke(auth, anns.key.id, "bob", &err), NX_ERR_NOT_FOUND);
    assert_int_equal(auth_check(auth, anns.token, 0), NX_OK);
    nx_assert_ok(nx_auth_key_revoke(auth, bobs.key.id, "bob", &err), err);
    nx_assert_ok(nx_auth_keys_list(auth, "bob", NULL, 8, &fixture->arena, keys, &count, &err), err);
    assert_int_equal(count, 2);
    /* what was revoked is forgotten when a month has gone, with the next key that is made */
    (void)STORE_NUMBER(fixture->store, "UPDATE api_keys SET revoked_at = revoked_at - 2592000001");
    (void)make_key(fixture, auth, "bob", NX_SCOPE_READ);
    nx_assert_ok(nx_auth_keys_list(auth, "bob", NULL, 8, &fixture->arena, keys, &count, &err), err);
    assert_int_equal(count, 2);
    nx_auth_free(auth);
}

static nx_status try_key(store_fixture *fixture, nx_auth *auth, const char *who, const char *name,
                         uint32_t scopes, int64_t lifetime_s, nx_error *err)
{
    char token[NX_AUTH_TOKEN_SIZE] = "?";
    nx_api_key key;
    nx_status status =
        nx_auth_key_make(auth, who, name, scopes, lifetime_s, token, &fixture->arena, &key, err);
    assert_int_equal(token[0] == 'n', status == NX_OK);
    return status;
}

static void keys_have_a_form(void **state)
{
    STORE_FIXTURE(state);
    nx_auth *auth = auth_open(fixture);
    char longest[NX_KEY_NAME_MAX + 2];
    memset(longest, 'n', sizeof longest);
    longest[NX_KEY_NAME_MAX + 1] = '\0';
    (void)auth_add(fixture, auth, "ann", NX_ROLE_ADMIN);
    (void)auth_add(fixture, auth, "eve", NX_ROLE_VIEWER);
    const char *const names[] = {"", longest, "a\nb", "\x7f", "\xff", "\xc3"};
    for (size_t i = 0; i < NX_COUNT(names); i++) {
        assert_int_equal(try_key(fixture, auth, "ann", names[i], NX_SCOPE_READ, 60, &err),
                         NX_ERR_INVALID);
    }
    assert_int_equal(try_key(fixture, auth, "ann", "k", 0, 60, &err), NX_ERR_INVALID);
    assert_int_equal(try_key(fixture, auth, "ann", "k", 1U << 30, 60, &err), NX_ERR_INVALID);
    assert_int_equal(try_key(fixture, auth, "ann", "k", NX_SCOPE_READ, 0, &err), NX_ERR_INVALID);
    assert_int_equal(
        try_key(fixture, auth, "ann", "k", NX_SCOPE_READ, NX_KEY_LIFETIME_MAX_S + 1, &err),
        NX_ERR_INVALID);
    assert_int_equal(try_key(fixture, auth, "eve", "k", NX_SCOPE_READ | NX_SCOPE_MODELS, 60, &err),
                     NX_ERR_INVALID);
    nx_assert_contains(err.message, "eve has the role viewer");
    nx_assert_contains(err.message, "models");
    assert_int_equal(try_key(fixture, auth, "nobody", "k", NX_SCOPE_READ, 60, &err),
                     NX_ERR_NOT_FOUND);
    nx_assert_ok(try_key(fixture, auth, "ann", "Stra\303\237e '); --", NX_SCOPE_READ, 60, &err),
                 err);
    (void)STORE_NUMBER(
        fixture->store,
        "WITH RECURSIVE n (i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 99)"
        " INSERT INTO api_keys (id, user_id, hash, name, scopes, created_at,"
        " expires_at) SELECT 'copy' || i, user_id, hash, name, scopes, created_at,"
        " expires_at FROM api_keys CROSS JOIN n");
    nx_assert_ok(try_key(fixture, auth, "ann", "k", NX_SCOPE_READ, 60, &err), err); /* the 100th */
    assert_int_equal(try_key(fixture, auth, "ann", "k", NX_SCOPE_READ, 60, &err), NX_ERR_CONFLICT);
    nx_auth_free(auth);
}

/* Whatever a string holds, it is a value and never a statement, and no error but "not found" or
 * "invalid". */
static void hostile_strings_are_only_strings(void **state)
{
    STORE_FIXTURE(state);
    nx_auth *auth = auth_open(fixture);
    char *longest = malloc(1000001);
    assert_non_null(longest);
    memset(longest, '\'', 1000000);
    longest[1000000] = '\0';
    const char *const hostile[] = {"'; DROP TABLE users; --",
                                   "' OR '1'='1",
                                   "ann' --",
                                   "\\'; --",
                                   "%",
                                   "_nn",
                                   "a%",
                                   "$1",
                                   "\xff\xfe",
                                   "\xc0\x80",
                                   "\x01",
                                   "ann\n",
                                   "Rob\xc3\xa9rt",
                                   "NULL",
                                   "\"ann\"",
                                   longest,
                                   ""};
    (void)auth_add(fixture, auth, "ann", NX_ROLE_ADMIN);
    made_key made = make_key(fixture, auth, "ann", NX_SCOPE_READ);
    for (size_t i = 0; i < NX_COUNT(hostile); i++) {
        const char *text = hostile[i];
        nx_user user;
        nx_api_key keys[2];
        nx_login login;
        size_t count = 0;
        char address[32];
        snprintf(address, sizeof address, "10.0.0.%zu", i);
        assert_int_equal(nx_auth_user_get(auth, text, &fixture->arena, &user, &err),
                         NX_ERR_NOT_FOUND);
        assert_int_equal(nx_auth_user_remove(auth, text, &err), NX_ERR_NOT_FOUND);
        assert_int_equal(nx_auth_user_set_role(auth, text, NX_ROLE_ADMIN, &err), NX_ERR_NOT_FOUND);
        assert_int_equal(nx_auth_user_set_disabled(auth, text, true, &err), NX_ERR_NOT_FOUND);
        assert_int_equal(nx_auth_set_password(auth, text, GOOD_PASSWORD, &err), NX_ERR_NOT_FOUND);
        nx_status listed = nx_auth_users_list(auth, text, 1, &fixture->arena, &user, &count, &err);
        assert_true(listed == NX_ERR_NOT_FOUND || (listed == NX_OK && strcmp(text, "NULL") == 0) ||
                    (listed == NX_OK && strcmp(text, "_nn") == 0));
        assert_int_equal(
            nx_auth_keys_list(auth, text, NULL, 2, &fixture->arena, keys, &count, &err),
            NX_ERR_NOT_FOUND);
        assert_int_equal(
            nx_auth_keys_list(auth, NULL, text, 2, &fixture->arena, keys, &count, &err),
            NX_ERR_NOT_FOUND);
        assert_int_equal(nx_auth_key_revoke(auth, text, NULL, &err), NX_ERR_NOT_FOUND);
        assert_int_equal(nx_auth_key_revoke(auth, made.key.id, text, &err), NX_ERR_NOT_FOUND);
        nx_assert_ok(nx_auth_login(auth, text, text, address, &login, &err), err);
        assert_int_equal(login.outcome, NX_LOGIN_WRONG);
        nx_assert_ok(nx_auth_login(auth, "ann", GOOD_PASSWORD, text, &login, &err), err);
        assert_int_equal(login.outcome, NX_LOGIN_WELCOME);
        assert_int_equal(auth_check(auth, text, 0), NX_ERR_NOT_FOUND);
        assert_int_equal(finish(fixture, auth, text, text, &err), NX_ERR_NOT_FOUND);
    }
    assert_int_equal(STORE_NUMBER(fixture->store, "SELECT count(*) FROM users"), 1);
    assert_int_equal(auth_check(auth, made.token, 0), NX_OK);
    free(longest);
    nx_auth_free(auth);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(users_are_made_and_listed),
        store_test(names_and_passwords_have_a_form),
        store_test(roles_change_at_once),
        store_test(somebody_can_always_manage_users),
        store_test(two_admins_cannot_both_go),
        store_test(the_link_makes_one_admin),
        store_test(links_end),
        store_test(many_finish_at_once_and_one_wins),
        store_test(a_key_stands_for_its_user),
        store_test(bad_keys_are_refused),
        store_test(keys_are_listed_and_revoked),
        store_test(keys_have_a_form),
        store_test(hostile_strings_are_only_strings),
    };
    return store_run_on_both(tests);
}
