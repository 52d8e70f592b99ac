/* Signing in: passwords, lockout, the life of sessions; the same on SQLite and on PostgreSQL. */
#include "auth_fixture.h"

#include "auth/passwords.h"
#include "store/logins.h"
#include "store/sessions.h"

#include <stdatomic.h>

#define TIMES 5 /* failures until the lock */

static void the_right_password_makes_a_session(void **state)
{
    STORE_FIXTURE(state);
    nx_auth *auth = auth_open(fixture);
    nx_user user = auth_add(fixture, auth, "Ann", NX_ROLE_ADMIN);
    nx_login first = auth_sign_in(auth, "ann");
    nx_login second = auth_sign_in(auth, "ANN");
    nx_identity seen;
    assert_string_not_equal(first.token, second.token);
    assert_true(nx_auth_csrf_matches(first.token, first.csrf));
    assert_int_equal(first.max_age_s, 30 * 24 * 3600);
    nx_assert_ok(nx_auth_check_session(auth, first.token, 0, &seen, &err), err);
    assert_int_equal(seen.kind, NX_IDENTITY_SESSION);
    assert_int_equal(seen.role, NX_ROLE_ADMIN);
    assert_int_equal(seen.scopes, NX_SCOPES_ALL);
    assert_string_equal(seen.name, "Ann");
    assert_string_equal(seen.user_id, user.id);
    assert_memory_equal(&seen, &first.identity, sizeof seen);
    /* neither the token nor the password is in the database */
    assert_int_equal(STORE_NUMBER(fixture->store, "SELECT count(*) FROM sessions WHERE "
                                                  "hash LIKE 'nx%' OR length(hash) <> 64"),
                     0);
    assert_int_equal(STORE_NUMBER(fixture->store, "SELECT count(*) FROM users WHERE password "
                                                  "LIKE '%horse%' OR password NOT LIKE "
                                                  "'$argon2id$%'"),
                     0);
    nx_assert_ok(nx_auth_user_get(auth, "ann", &fixture->arena, &user, &err), err);
    assert_true(user.login_at >= user.created_at);
    nx_auth_free(auth);
}

static void no_answer_tells_what_was_wrong(void **state)
{
    STORE_FIXTURE(state);
    nx_auth *auth = auth_open(fixture);
    char longest[NX_PASSWORD_MAX + 100];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    (void)auth_add(fixture, auth, "ann", NX_ROLE_ADMIN);
    (void)auth_add(fixture, auth, "off", NX_ROLE_VIEWER);
    nx_assert_ok(nx_auth_user_set_disabled(auth, "off", true, &err), err);
    const struct {
        const char *name;
        const char *password;
    } tries[] = {
        {"ann", "wrong horse"}, {"ann", ""},        {"nobody", GOOD_PASSWORD},
        {"off", GOOD_PASSWORD}, {"", ""},           {"ann'--", GOOD_PASSWORD},
        {"ann", longest},       {longest, longest}, {"\xff\xfe", "\xff\xfe"},
    };
    for (size_t i = 0; i < NX_COUNT(tries); i++) {
        char address[32];
        snprintf(address, sizeof address, "192.0.2.%zu", i);
        int64_t before = nx_auth_get_stats(auth).hashings;
        nx_login login = auth_try(auth, tries[i].name, tries[i].password, address);
        nx_login wrong = {.outcome = NX_LOGIN_WRONG};
        assert_memory_equal(&login, &wrong, sizeof wrong);
        assert_int_equal(nx_auth_get_stats(auth).hashings - before, 1); /* the same work */
    }
    assert_int_equal(nx_auth_get_stats(auth).wrong, NX_COUNT(tries));
    assert_int_equal(STORE_NUMBER(fixture->store, "SELECT count(*) FROM sessions"), 0);
    nx_auth_free(auth);
}

static void fail_times(nx_auth *auth, const char *name, const char *address, int times)
{
    for (int i = 0; i < times; i++) {
        assert_int_equal(auth_try(auth, name, "wrong horse", address).outcome, NX_LOGIN_WRONG);
    }
}

static void five_failures_lock_a_name(void **state)
{
    STORE_FIXTURE(state);
    nx_auth *auth = auth_open(fixture);
    (void)auth_add(fixture, auth, "ann", NX_ROLE_ADMIN);
    static const char *const names[] = {"Ann", "nobody"}; /* one that is there, one that is not */
    for (size_t n = 0; n < NX_COUNT(names); n++) {
        for (int i = 0; i < TIMES; i++) {
            char address[32];
            snprintf(address, sizeof address, "198.51.%zu.%d", n, i);
            fail_times(auth, names[n], address, 1);
        }
        int64_t before = nx_auth_get_stats(auth).hashings;
        nx_login login = auth_try(auth, names[n], GOOD_PASSWORD, HERE);
        assert_int_equal(login.outcome, NX_LOGIN_LOCKED);
        assert_true(login.retry_after_s > 1 && login.retry_after_s <= NX_LOGIN_WINDOW_MS / 1000);
        assert_string_equal(login.token, "");
        assert_int_equal(nx_auth_get_stats(auth).hashings, before);
    }
    /* another process agrees, and time opens the lock */
    nx_auth *another = auth_open(fixture);
    assert_int_equal(auth_try(another, "ann", GOOD_PASSWORD, HERE).outcome, NX_LOGIN_LOCKED);
    (void)STORE_NUMBER(fixture->store, "UPDATE login_attempts SET at = at - 900000");
    (void)auth_sign_in(another, "ann");
    assert_int_equal(STORE_NUMBER(fixture->store, "SELECT count(*) FROM login_attempts"), 0);
    nx_auth_free(another);
    nx_auth_free(auth);
}

static void five_failures_lock_an_address(void **state)
{
    STORE_FIXTURE(state);
    nx_auth *auth = auth_open(fixture);
    (void)auth_add(fixture, auth, "ann", NX_ROLE_ADMIN);
    static const struct {
        const char *tried;
        const char *same;
        const char *other;
    } addresses[] = {
        {"203.0.113.9", "::ffff:203.0.113.9", "203.0.113.10"},
        {"2001:db8:1:2::3", "2001:0db8:1:2:ffff::9%eth0", "2001:db8:1:3::3"},
        {"no address", "; drop table users", "::1"},
    };
    for (size_t a = 0; a < NX_COUNT(addresses); a++) {
        for (int i = 0; i < TIMES; i++) {
            char name[16];
            snprintf(name, sizeof name, "guess%d", i);
            fail_times(auth, name, addresses[a].tried, 1);
        }
        (void)STORE_NUMBER(fixture->store, "UPDATE login_attempts SET account = NULL");
        assert_int_equal(auth_try(auth, "ann", GOOD_PASSWORD, addresses[a].same).outcome,
                         NX_LOGIN_LOCKED);
        assert_int_equal(auth_try(auth, "ann", GOOD_PASSWORD, addresses[a].other).outcome,
                         NX_LOGIN_WELCOME);
    }
    nx_auth_free(auth);
}

static void a_success_forgives_the_name_alone(void **state)
{
    STORE_FIXTURE(state);
    nx_auth *auth = auth_open(fixture);
    (void)auth_add(fixture, auth, "ann", NX_ROLE_ADMIN);
    (void)auth_add(fixture, auth, "bob", NX_ROLE_VIEWER);
    fail_times(auth, "ann", "192.0.2.1", TIMES - 1);
    assert_int_equal(auth_try(auth, "ann", GOOD_PASSWORD, "192.0.2.1").outcome, NX_LOGIN_WELCOME);
    fail_times(auth, "ann", "192.0.2.2", TIMES - 1); /* the name counts from nought */
    /* who has an account of his own can't use it to try others' passwords for ever */
    fail_times(auth, "bob", "192.0.2.1", 1);
    assert_int_equal(auth_try(auth, "ann", GOOD_PASSWORD, "192.0.2.1").outcome, NX_LOGIN_LOCKED);
    /* an admin's new password or the end of a ban opens the lock of the name */
    fail_times(auth, "bob", "192.0.2.3", TIMES - 1);
    assert_int_equal(auth_try(auth, "bob", GOOD_PASSWORD, HERE).outcome, NX_LOGIN_LOCKED);
    nx_assert_ok(nx_auth_set_password(auth, "bob", GOOD_PASSWORD, &err), err);
    (void)auth_sign_in(auth, "bob");
    nx_auth_free(auth);
}

typedef struct burst {
    nx_auth *auth;
    atomic_int outcomes[3];
} burst;

static void *guess(void *user)
{
    burst *all = user;
    nx_login login;
    nx_error err = {0};
    if (nx_auth_login(all->auth, "ann", "wrong horse", HERE, &login, &err) == NX_OK) {
        atomic_fetch_add(&all->outcomes[login.outcome], 1);
    }
    return NULL;
}

/* Attempts that have not ended count: however many come at once, five are tried. */
static void a_burst_tries_no_more_than_five(void **state)
{
    STORE_FIXTURE(state);
    burst all = {.auth = auth_open(fixture)};
    pthread_t threads[20];
    (void)auth_add(fixture, all.auth, "ann", NX_ROLE_ADMIN);
    int64_t before = nx_auth_get_stats(all.auth).hashings;
    for (size_t i = 0; i < NX_COUNT(threads); i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, guess, &all), 0);
    }
    for (size_t i = 0; i < NX_COUNT(threads); i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(atomic_load(&all.outcomes[NX_LOGIN_WRONG]), TIMES);
    assert_int_equal(atomic_load(&all.outcomes[NX_LOGIN_LOCKED]), NX_COUNT(threads) - TIMES);
    assert_int_equal(nx_auth_get_stats(all.auth).hashings - before, TIMES);
    nx_auth_free(all.auth);
}

/* Whoever died while a password was being looked at has tried it. */
static void an_attempt_that_never_ended_counts(void **state)
{
    STORE_FIXTURE(state);
    nx_auth *auth = auth_open(fixture);
    nx_login_attempt attempt;
    (void)auth_add(fixture, auth, "ann", NX_ROLE_ADMIN);
    for (int i = 0; i < TIMES; i++) {
        nx_assert_ok(nx_store_login_begin(fixture->store, "ann", "192.0.2.1", &attempt, &err), err);
        assert_int_equal(attempt.wait_ms, 0);
    }
    nx_login login = auth_try(auth, "ann", GOOD_PASSWORD, HERE);
    assert_int_equal(login.outcome, NX_LOGIN_LOCKED);
    assert_int_equal(login.retry_after_s, 1); /* it may yet turn out to be none */
    nx_assert_ok(nx_store_login_end(fixture->store, &attempt, "ann", NX_LOGIN_VOID, &err), err);
    (void)auth_sign_in(auth, "ann");
    nx_auth_free(auth);
}

static void sessions_end_when_they_are_not_used(void **state)
{
    STORE_FIXTURE(state);
    nx_auth *auth = auth_open(fixture);
    int64_t now = 0;
    (void)auth_add(fixture, auth, "ann", NX_ROLE_ADMIN);
    nx_login login = auth_sign_in(auth, "ann");
    assert_int_equal(auth_check(auth, login.token, now), NX_OK);
    /* used within the hour, it goes on; the use is noted when the last one is over a minute old */
    (void)STORE_NUMBER(fixture->store, "UPDATE sessions SET seen_at = seen_at - 59000");
    int64_t seen = STORE_NUMBER(fixture->store, "SELECT seen_at FROM sessions");
    assert_int_equal(auth_check(auth, login.token, now += SOON), NX_OK);
    int64_t later = STORE_NUMBER(fixture->store, "SELECT seen_at FROM sessions");
    assert_true(later == seen || later >= seen + 60000); /* a slow machine may need a second */
    (void)STORE_NUMBER(fixture->store, "UPDATE sessions SET seen_at = nx_now() - 3500000");
    assert_int_equal(auth_check(auth, login.token, now += SOON), NX_OK);
    assert_true(STORE_NUMBER(fixture->store, "SELECT nx_now() - seen_at FROM sessions") < 3400000);
    (void)STORE_NUMBER(fixture->store, "UPDATE sessions SET seen_at = nx_now() - 3600000");
    assert_int_equal(auth_check(auth, login.token, now += SOON), NX_ERR_NOT_FOUND);
    /* and in any case after thirty days */
    login = auth_sign_in(auth, "ann"); /* which takes the old one away */
    assert_int_equal(STORE_NUMBER(fixture->store, "SELECT count(*) FROM sessions"), 1);
    assert_int_equal(auth_check(auth, login.token, now += SOON), NX_OK);
    (void)STORE_NUMBER(fixture->store, "UPDATE sessions SET created_at = nx_now() - 2592000000");
    assert_int_equal(auth_check(auth, login.token, now += SOON), NX_ERR_NOT_FOUND);
    nx_auth_free(auth);
}

/* What one process ends, the others refuse when they ask again, a second later. */
static void signing_out_holds_everywhere(void **state)
{
    STORE_FIXTURE(state);
    nx_auth *auth = auth_open(fixture);
    nx_auth *another = auth_open(fixture);
    nx_identity seen;
    (void)auth_add(fixture, auth, "ann", NX_ROLE_ADMIN);
    nx_login login = auth_sign_in(auth, "ann");
    nx_login other = auth_sign_in(auth, "ann");
    assert_int_equal(nx_auth_peek(another, login.token, 0, &seen), NX_AUTH_ASK);
    assert_int_equal(auth_check(another, login.token, 0), NX_OK);
    assert_int_equal(nx_auth_peek(another, login.token, 0, &seen), NX_AUTH_KNOWN);
    assert_string_equal(seen.name, "ann");
    assert_int_equal(auth_check(auth, login.token, 0), NX_OK);
    nx_assert_ok(nx_auth_logout(auth, &login.identity, &err), err);
    assert_int_equal(nx_auth_peek(auth, login.token, 0, &seen), NX_AUTH_ASK);
    assert_int_equal(auth_check(auth, login.token, 0), NX_ERR_NOT_FOUND);
    assert_int_equal(nx_auth_peek(another, login.token, SOON, &seen), NX_AUTH_ASK);
    assert_int_equal(seen.kind, NX_IDENTITY_ANONYMOUS);
    assert_int_equal(auth_check(another, login.token, SOON), NX_ERR_NOT_FOUND);
    assert_int_equal(auth_check(auth, other.token, 0), NX_OK);
    nx_assert_ok(nx_auth_logout(auth, &login.identity, &err), err); /* again: fine */
    const nx_identity nobody = {0};
    nx_assert_ok(nx_auth_logout(auth, &nobody, &err), err);
    nx_auth_free(another);
    nx_auth_free(auth);
}

static void forged_tokens_are_refused(void **state)
{
    STORE_FIXTURE(state);
    nx_auth *auth = auth_open(fixture);
    nx_identity seen;
    (void)auth_add(fixture, auth, "ann", NX_ROLE_ADMIN);
    nx_login login = auth_sign_in(auth, "ann");
    login.token[20] = login.token[20] == 'A' ? 'B' : 'A';
    assert_int_equal(nx_auth_peek(auth, login.token, 0, &seen), NX_AUTH_ASK);
    assert_int_equal(auth_check(auth, login.token, 0), NX_ERR_NOT_FOUND);
    int64_t asked = nx_auth_get_stats(auth).asked;
    static const char *const forms[] = {"", "nxs_", "nxs_' OR 1=1 --", "nxi_", "Basic YTpi"};
    for (size_t i = 0; i < NX_COUNT(forms); i++) {
        assert_int_equal(nx_auth_peek(auth, forms[i], 0, &seen), NX_AUTH_REFUSED);
        assert_int_equal(auth_check(auth, forms[i], 0), NX_ERR_NOT_FOUND);
    }
    assert_int_equal(nx_auth_peek(auth, login.identity.session, 0, &seen), NX_AUTH_REFUSED);
    assert_int_equal(nx_auth_get_stats(auth).asked, asked); /* nobody was asked */
    nx_auth_free(auth);
}

static void a_new_password_ends_other_sessions(void **state)
{
    STORE_FIXTURE(state);
    nx_auth *auth = auth_open(fixture);
    nx_login answer;
    (void)auth_add(fixture, auth, "ann", NX_ROLE_ADMIN);
    nx_login mine = auth_sign_in(auth, "ann");
    nx_login other = auth_sign_in(auth, "ann");
    assert_int_equal(
        nx_auth_change_password(auth, &mine.identity, GOOD_PASSWORD, "short", HERE, &answer, &err),
        NX_ERR_INVALID);
    nx_assert_contains(err.message, "8 to 1024 bytes; this one has 5");
    nx_assert_ok(nx_auth_change_password(auth, &mine.identity, "wrong horse", "new password", HERE,
                                         &answer, &err),
                 err);
    assert_int_equal(answer.outcome, NX_LOGIN_WRONG);
    assert_int_equal(auth_check(auth, other.token, 0), NX_OK);
    nx_assert_ok(nx_auth_change_password(auth, &mine.identity, GOOD_PASSWORD, "new password", HERE,
                                         &answer, &err),
                 err);
    assert_int_equal(answer.outcome, NX_LOGIN_WELCOME);
    assert_string_equal(answer.token, "");
    assert_int_equal(auth_check(auth, mine.token, 0), NX_OK);
    assert_int_equal(auth_check(auth, other.token, 0), NX_ERR_NOT_FOUND);
    assert_int_equal(auth_try(auth, "ann", GOOD_PASSWORD, "192.0.2.8").outcome, NX_LOGIN_WRONG);
    assert_int_equal(auth_try(auth, "ann", "new password", "192.0.2.8").outcome, NX_LOGIN_WELCOME);
    /* guessing at it here is counted as well */
    for (int i = 0; i < TIMES; i++) {
        nx_assert_ok(nx_auth_change_password(auth, &mine.identity, "wrong horse", "new password",
                                             "192.0.2.9", &answer, &err),
                     err);
    }
    nx_assert_ok(nx_auth_change_password(auth, &mine.identity, "new password", GOOD_PASSWORD,
                                         "192.0.2.9", &answer, &err),
                 err);
    assert_int_equal(answer.outcome, NX_LOGIN_LOCKED);
    /* an admin's hand ends them all, and a key has no password */
    nx_assert_ok(nx_auth_set_password(auth, "ann", GOOD_PASSWORD, &err), err);
    assert_int_equal(auth_check(auth, mine.token, 0), NX_ERR_NOT_FOUND);
    const nx_identity key = {.kind = NX_IDENTITY_KEY};
    assert_int_equal(
        nx_auth_change_password(auth, &key, GOOD_PASSWORD, "new password", HERE, &answer, &err),
        NX_ERR_INVALID);
    nx_auth_free(auth);
}

static void old_hashes_become_new_ones(void **state)
{
    STORE_FIXTURE(state);
    nx_auth *auth = auth_open(fixture);
    nx_auth *stronger = auth_open_with(
        fixture->store,
        (nx_auth_options){.hash_ops = 2, .hash_bytes = 2 * crypto_pwhash_MEMLIMIT_MIN});
    (void)auth_add(fixture, auth, "ann", NX_ROLE_ADMIN);
    nx_login login = auth_sign_in(stronger, "ann");
    assert_int_equal(nx_auth_get_stats(stronger).hashings, 2);
    assert_int_equal(STORE_NUMBER(fixture->store, "SELECT count(*) FROM users WHERE password LIKE "
                                                  "'$argon2id$v=19$m=16,t=2,p=1$%'"),
                     1);
    assert_int_equal(auth_check(stronger, login.token, 0), NX_OK);
    (void)auth_sign_in(stronger, "ann");
    assert_int_equal(nx_auth_get_stats(stronger).hashings, 3);
    nx_auth_free(stronger);
    nx_auth_free(auth);
}

typedef struct keeper {
    nx_auth *auth;
    atomic_bool over;
} keeper;

static void *keep_hashing(void *user)
{
    keeper *self = user;
    nx_arena arena = nx_arena_make(0);
    nx_error err = {0};
    while (!atomic_load(&self->over)) { /* the name is taken, which shows after the hashing */
        nx_user made;
        (void)nx_auth_user_add(self->auth, "ann", GOOD_PASSWORD, NX_ROLE_ADMIN, &arena, &made,
                               &err);
    }
    nx_arena_free(&arena);
    return NULL;
}

/* Who could not be answered for want of a slot has not failed. */
static void too_many_at_once_is_no_failure(void **state)
{
    STORE_FIXTURE(state);
    keeper self = {
        .auth = auth_open_with(fixture->store, (nx_auth_options){.hash_slots = 1,
                                                                 .hash_wait_ms = 1,
                                                                 .hash_ops = 2,
                                                                 .hash_bytes = (size_t)16 << 20})};
    pthread_t thread;
    nx_status status = NX_OK;
    nx_login login;
    (void)auth_add(fixture, self.auth, "ann", NX_ROLE_ADMIN);
    assert_int_equal(pthread_create(&thread, NULL, keep_hashing, &self), 0);
    while (status == NX_OK) {
        status = nx_auth_login(self.auth, "ann", GOOD_PASSWORD, HERE, &login, &err);
    }
    atomic_store(&self.over, true);
    pthread_join(thread, NULL);
    assert_int_equal(status, NX_ERR_BUSY);
    assert_int_equal(STORE_NUMBER(fixture->store, "SELECT count(*) FROM login_attempts"), 0);
    assert_int_equal(nx_auth_get_stats(self.auth).wrong, 0);
    nx_auth_free(self.auth);
}

static void a_user_has_so_many_sessions(void **state)
{
    STORE_FIXTURE(state);
    nx_auth *auth = auth_open(fixture);
    (void)auth_add(fixture, auth, "ann", NX_ROLE_ADMIN);
    nx_login first = auth_sign_in(auth, "ann");
    (void)STORE_NUMBER(fixture->store, "UPDATE sessions SET seen_at = seen_at - 1000");
    for (int i = 0; i < NX_SESSIONS_MAX; i++) {
        (void)auth_sign_in(auth, "ann");
    }
    assert_int_equal(STORE_NUMBER(fixture->store, "SELECT count(*) FROM sessions"),
                     NX_SESSIONS_MAX);
    assert_int_equal(auth_check(auth, first.token, 0), NX_ERR_NOT_FOUND);
    nx_auth_free(auth);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(the_right_password_makes_a_session),
        store_test(no_answer_tells_what_was_wrong),
        store_test(five_failures_lock_a_name),
        store_test(five_failures_lock_an_address),
        store_test(a_success_forgives_the_name_alone),
        store_test(a_burst_tries_no_more_than_five),
        store_test(an_attempt_that_never_ended_counts),
        store_test(sessions_end_when_they_are_not_used),
        store_test(signing_out_holds_everywhere),
        store_test(forged_tokens_are_refused),
        store_test(a_new_password_ends_other_sessions),
        store_test(old_hashes_become_new_ones),
        store_test(too_many_at_once_is_no_failure),
        store_test(a_user_has_so_many_sessions),
    };
    return store_run_on_both(tests);
}
