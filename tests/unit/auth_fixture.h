/* Accounts over a store under test, with hashing that is as cheap as argon2id allows. */
#ifndef NX_TESTS_AUTH_FIXTURE_H
#define NX_TESTS_AUTH_FIXTURE_H

#include "store_fixture.h"

#include "auth/auth.h"
#include "base/clock.h"

#include <pthread.h>
#include <sodium.h>

#define GOOD_PASSWORD "correct horse"
#define HERE          "192.0.2.7"
#define SOON          (2 * NX_NS_PER_SEC) /* when no process believes what it had read any more */

static inline nx_auth *auth_open_with(nx_store *store, nx_auth_options options)
{
    nx_auth *auth = NULL;
    nx_error err = {0};
    options.store = store;
    options.hash_ops = options.hash_ops != 0 ? options.hash_ops : crypto_pwhash_OPSLIMIT_MIN;
    options.hash_bytes = options.hash_bytes != 0 ? options.hash_bytes : crypto_pwhash_MEMLIMIT_MIN;
    options.hash_slots = options.hash_slots != 0 ? options.hash_slots : 4;
    options.hash_wait_ms = options.hash_wait_ms != 0 ? options.hash_wait_ms : 60000;
    nx_assert_ok(nx_auth_new(&options, &auth, &err), err);
    return auth;
}

static inline nx_auth *auth_open(const store_fixture *fixture)
{
    return auth_open_with(fixture->store, (nx_auth_options){0});
}

static inline nx_user auth_add(store_fixture *fixture, nx_auth *auth, const char *name,
                               nx_role role)
{
    nx_user user;
    nx_error err = {0};
    nx_assert_ok(nx_auth_user_add(auth, name, GOOD_PASSWORD, role, &fixture->arena, &user, &err),
                 err);
    return user;
}

static inline nx_login auth_try(nx_auth *auth, const char *name, const char *password,
                                const char *address)
{
    nx_login login;
    nx_error err = {0};
    nx_assert_ok(nx_auth_login(auth, name, password, address, &login, &err), err);
    return login;
}

static inline nx_login auth_sign_in(nx_auth *auth, const char *name)
{
    nx_login login = auth_try(auth, name, GOOD_PASSWORD, HERE);
    assert_int_equal(login.outcome, NX_LOGIN_WELCOME);
    return login;
}

/* What a token is worth at that time. */
static inline nx_status auth_check(nx_auth *auth, const char *token, int64_t now_ns)
{
    nx_identity identity;
    nx_error err = {0};
    nx_status status = nx_auth_check(auth, token, now_ns, &identity, &err);
    assert_int_equal(identity.kind == NX_IDENTITY_ANONYMOUS, status != NX_OK);
    return status;
}

#endif
