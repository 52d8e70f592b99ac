/* Sessions of two processes that share a database and a Redis. */
#include "auth_fixture.h"
#include "redis_fixture.h"

#include "cache/cache.h"

typedef struct process {
    nx_redis *redis;
    nx_cache *cache;
    nx_auth *auth;
} process;

static process begin_process(const store_fixture *fixture, const redis_fixture *server)
{
    const nx_redis_options client = redis_patient(server);
    process p = {.redis = redis_open(&client)};
    nx_error err = {0};
    const nx_cache_options cache = {
        .redis = p.redis,
        .max_bytes = (size_t)4 << 20,
        .ttl_ms = {[NX_CACHE_SESSIONS] = 3600000},
    };
    nx_assert_ok(nx_cache_new(&cache, &p.cache, &err), err);
    p.auth = auth_open_with(fixture->store, (nx_auth_options){.cache = p.cache});
    return p;
}

static void end_process(process *p)
{
    nx_auth_free(p->auth);
    nx_cache_free(p->cache);
    nx_redis_free(p->redis);
}

/* A fixture for the test's own Redis, two processes, and a user. */
#define BEGIN()                                                                                    \
    STORE_FIXTURE(state);                                                                          \
    REDIS_NEED_SERVER();                                                                           \
    void *redis_state_of_test = NULL;                                                              \
    assert_int_equal(redis_begin(&redis_state_of_test), 0);                                        \
    redis_fixture *server = redis_state_of_test;                                                   \
    process a = begin_process(fixture, server);                                                    \
    process b = begin_process(fixture, server);                                                    \
    auth_add(fixture, a.auth, "root", NX_ROLE_ADMIN);                                              \
    auth_add(fixture, a.auth, "ann", NX_ROLE_OPERATOR);                                            \
    int64_t now_ns = nx_clock_now_ns()

#define END()                                                                                      \
    do {                                                                                           \
        end_process(&a);                                                                           \
        end_process(&b);                                                                           \
        redis_end(&redis_state_of_test);                                                           \
    } while (0)

/* Lets a process look a session up, and waits until it is in Redis. */
static void share(process *p, const char *token, int64_t now_ns)
{
    assert_int_equal(auth_check(p->auth, token, now_ns), NX_OK);
    nx_cache_settle(p->cache);
}

static void what_one_process_knows_another_need_not_ask(void **state)
{
    BEGIN();
    nx_identity identity;
    nx_login login = auth_sign_in(a.auth, "ann");
    share(&a, login.token, now_ns);
    assert_int_equal(STORE_NUMBER(fixture->store, "DELETE FROM sessions RETURNING 1"), 1);
    nx_assert_ok(nx_auth_check(b.auth, login.token, now_ns, &identity, &err), err);
    assert_int_equal(identity.kind, NX_IDENTITY_SESSION);
    assert_int_equal(identity.role, NX_ROLE_OPERATOR);
    assert_int_equal(identity.scopes, login.identity.scopes);
    assert_string_equal(identity.name, "ann");
    assert_string_equal(identity.user_id, login.identity.user_id);
    assert_string_equal(identity.session, login.identity.session);
    /* no longer than until its use has to be noted */
    nx_redis_reply reply;
    redis_do(server, (const char *const[]){"KEYS", "nexus:sessions:?*", NULL}, &reply);
    assert_int_equal(reply.count, 1);
    const nx_redis_arg ask[] = {NX_REDIS_WORD("PTTL"), {reply.items[0].bytes, reply.items[0].size}};
    nx_redis_reply left;
    nx_assert_ok(nx_redis_run(a.redis, ask, 2, &left, &err), err);
    assert_true(left.integer > 0 && left.integer <= 60000);
    nx_redis_reply_free(&left);
    nx_redis_reply_free(&reply);
    END();
}

static void who_signs_out_is_out_everywhere(void **state)
{
    BEGIN();
    nx_login login = auth_sign_in(a.auth, "ann");
    nx_login other = auth_sign_in(a.auth, "ann");
    share(&a, login.token, now_ns);
    share(&a, other.token, now_ns);
    nx_assert_ok(nx_auth_logout(b.auth, &login.identity, &err), err);
    assert_int_equal(auth_check(b.auth, login.token, now_ns), NX_ERR_NOT_FOUND);
    assert_int_equal(auth_check(a.auth, login.token, now_ns + SOON), NX_ERR_NOT_FOUND);
    assert_int_equal(auth_check(a.auth, other.token, now_ns + SOON), NX_OK);
    END();
}

static void a_change_of_the_user_is_one_of_its_sessions(void **state)
{
    BEGIN();
    nx_identity identity;
    nx_login login = auth_sign_in(a.auth, "ann");
    share(&a, login.token, now_ns);
    nx_assert_ok(nx_auth_user_set_role(b.auth, "ann", NX_ROLE_VIEWER, &err), err);
    nx_assert_ok(nx_auth_check(a.auth, login.token, now_ns + SOON, &identity, &err), err);
    assert_int_equal(identity.role, NX_ROLE_VIEWER);
    nx_cache_settle(a.cache);
    nx_assert_ok(nx_auth_user_set_disabled(b.auth, "ann", true, &err), err);
    assert_int_equal(auth_check(a.auth, login.token, now_ns + 2 * SOON), NX_ERR_NOT_FOUND);
    assert_int_equal(auth_check(b.auth, login.token, now_ns), NX_ERR_NOT_FOUND);
    END();
}

static void without_redis_sessions_are_in_the_store(void **state)
{
    BEGIN();
    nx_login login = auth_sign_in(a.auth, "ann");
    share(&a, login.token, now_ns);
    redis_kill(server);
    assert_int_equal(auth_check(b.auth, login.token, now_ns), NX_OK);
    assert_int_equal(auth_check(a.auth, login.token, now_ns + SOON), NX_OK);
    nx_login another = auth_sign_in(b.auth, "ann");
    nx_assert_ok(nx_auth_logout(a.auth, &login.identity, &err), err);
    assert_int_equal(auth_check(a.auth, login.token, now_ns), NX_ERR_NOT_FOUND);
    assert_int_equal(auth_check(b.auth, login.token, now_ns + SOON), NX_ERR_NOT_FOUND);
    redis_start(server, NULL);
    redis_eventually(redis_state(a.redis) == NX_REDIS_CLOSED);
    redis_eventually(redis_state(b.redis) == NX_REDIS_CLOSED);
    assert_int_equal(auth_check(a.auth, login.token, now_ns + 2 * SOON), NX_ERR_NOT_FOUND);
    assert_int_equal(auth_check(a.auth, another.token, now_ns + 2 * SOON), NX_OK);
    END();
}

static void what_is_no_session_is_not_taken_for_one(void **state)
{
    BEGIN();
    nx_login login = auth_sign_in(a.auth, "ann");
    unsigned char hash[32];
    nx_cache_key key = {.kind = NX_CACHE_SESSIONS, .bytes = hash, .size = sizeof hash};
    assert_int_equal(
        sodium_hex2bin(hash, sizeof hash, login.identity.session, 64, NULL, NULL, NULL), 0);
    nx_cache_put(a.cache, &key, "root", 4, 0);
    nx_cache_settle(a.cache);
    assert_int_equal(auth_check(b.auth, login.token, now_ns), NX_OK);
    nx_cache_settle(b.cache);
    char zeros[1024] = {0};
    nx_cache_put(a.cache, &key, zeros, sizeof zeros, 0);
    nx_cache_settle(a.cache);
    assert_int_equal(auth_check(a.auth, login.token, now_ns), NX_OK);
    END();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(what_one_process_knows_another_need_not_ask),
        store_test(who_signs_out_is_out_everywhere),
        store_test(a_change_of_the_user_is_one_of_its_sessions),
        store_test(without_redis_sessions_are_in_the_store),
        store_test(what_is_no_session_is_not_taken_for_one),
    };
    return cmocka_run_group_tests_name("sqlite", tests, store_group_sqlite, store_group_end);
}
