#include "testing.h"

#include "engine/embedding_cache.h"

#include <pthread.h>

#define COUNT ((size_t)1000)
#define BYTES (COUNT * sizeof(float) + sizeof(nx_embedding))

static nx_content_hash key_of(int number)
{
    return nx_content_hash_of(&number, sizeof number);
}

static nx_embedding *embedding_of(int number)
{
    nx_error err = {0};
    nx_embedding *embedding = NULL;
    const nx_content_hash key = key_of(number);
    nx_assert_ok(nx_embedding_new(&key, 10, 20, COUNT, &embedding, &err), err);
    embedding->values[0] = (float)number;
    return embedding;
}

static nx_embedding_cache *cache_of(size_t bytes)
{
    nx_error err = {0};
    nx_embedding_cache *cache = NULL;
    nx_assert_ok(nx_embedding_cache_new(bytes, &cache, &err), err);
    return cache;
}

/* A claimant that remembers how it was woken. */
typedef struct claimant {
    nx_embedding_claim claim;
    int woken;
    nx_status status;
    nx_embedding *embedding;
} claimant;

static void wake(nx_embedding_claim *claim, nx_embedding *embedding, nx_status status,
                 const nx_error *err)
{
    claimant *self = (claimant *)claim;
    (void)err;
    self->woken++;
    self->status = status;
    self->embedding = embedding;
}

static claimant claimant_of(int number)
{
    return (claimant){.claim = {.key = key_of(number), .wake = wake}};
}

/* Encodes at once what has to be. */
static void encode(nx_embedding_cache *cache, int number)
{
    claimant c = claimant_of(number);
    nx_embedding *embedding = NULL;
    assert_int_equal(nx_embedding_cache_claim(cache, &c.claim, &embedding), NX_CLAIM_LEADS);
    embedding = embedding_of(number);
    nx_embedding_cache_publish(cache, &c.claim, embedding);
    nx_embedding_release(embedding);
}

static bool holds(nx_embedding_cache *cache, int number)
{
    const nx_content_hash key = key_of(number);
    nx_embedding *embedding = nx_embedding_cache_find(cache, &key);
    bool right = embedding != NULL && (int)embedding->values[0] == number;
    nx_embedding_release(embedding);
    return right;
}

static void hashes_are_blake2b(void **state)
{
    (void)state;
    /* BLAKE2b-256 of "abc", as b2sum -l 256 prints it */
    static const char expected[] =
        "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319";
    char text[NX_CONTENT_HASH_HEX];
    const nx_content_hash hash = nx_content_hash_of("abc", 3);
    nx_content_hash parsed;
    nx_content_hash_write(&hash, text);
    assert_string_equal(text, expected);
    assert_true(nx_content_hash_parse(expected, &parsed));
    assert_memory_equal(&parsed, &hash, sizeof hash);
    text[0] = 'B';
    assert_true(nx_content_hash_parse(text, &parsed));
    assert_memory_equal(&parsed, &hash, sizeof hash);
    text[0] = 'g';
    assert_false(nx_content_hash_parse(text, &parsed));
    assert_false(nx_content_hash_parse("", &parsed));
    assert_false(nx_content_hash_parse("bddd", &parsed));
}

static void the_least_recently_used_goes_first(void **state)
{
    (void)state;
    nx_embedding_cache *cache = cache_of(3 * BYTES);
    for (int i = 0; i < 3; i++) {
        encode(cache, i);
    }
    assert_true(holds(cache, 0)); /* now 1 is the oldest */
    encode(cache, 3);
    assert_true(holds(cache, 0));
    assert_false(holds(cache, 1));
    assert_true(holds(cache, 2));
    assert_true(holds(cache, 3));
    nx_embedding_stats stats = nx_embedding_cache_stats(cache);
    assert_int_equal(stats.count, 3);
    assert_int_equal(stats.bytes, 3 * BYTES);
    assert_int_equal(stats.misses, 4);
    assert_int_equal(stats.hits, 4);
    nx_embedding_cache_free(cache);
}

static void what_is_in_use_outlives_its_place(void **state)
{
    (void)state;
    nx_embedding_cache *cache = cache_of(BYTES);
    const nx_content_hash key = key_of(0);
    encode(cache, 0);
    nx_embedding *held = nx_embedding_cache_find(cache, &key);
    encode(cache, 1);
    assert_false(holds(cache, 0));
    nx_embedding_cache_free(cache);
    assert_true(held->values[0] == 0 && held->width == 10 && held->height == 20);
    nx_embedding_release(held);
}

static void a_cache_may_be_too_small_for_any(void **state)
{
    (void)state;
    nx_embedding_cache *cache = cache_of(0);
    encode(cache, 0);
    assert_false(holds(cache, 0));
    assert_int_equal(nx_embedding_cache_stats(cache).bytes, 0);
    nx_embedding_cache_free(cache);
}

static void those_who_wait_share_what_is_published(void **state)
{
    (void)state;
    nx_embedding_cache *cache = cache_of(0); /* shared even when it is not kept */
    claimant c[4];
    nx_embedding *embedding = NULL;
    for (int i = 0; i < 4; i++) {
        c[i] = claimant_of(7);
        assert_int_equal(nx_embedding_cache_claim(cache, &c[i].claim, &embedding),
                         i == 0 ? NX_CLAIM_LEADS : NX_CLAIM_WAITS);
    }
    assert_true(nx_embedding_cache_withdraw(cache, &c[2].claim));
    assert_false(nx_embedding_cache_withdraw(cache, &c[2].claim));
    assert_false(nx_embedding_cache_withdraw(cache, &c[0].claim)); /* it leads */
    embedding = embedding_of(7);
    nx_embedding_cache_publish(cache, &c[0].claim, embedding);
    for (int i = 0; i < 4; i++) {
        bool waited = i == 1 || i == 3;
        assert_int_equal(c[i].woken, waited);
        assert_ptr_equal(c[i].embedding, waited ? embedding : NULL);
        nx_embedding_release(c[i].embedding);
    }
    nx_embedding_release(embedding);
    nx_embedding_cache_free(cache);
}

static void the_next_leads_when_a_leader_gives_up(void **state)
{
    (void)state;
    nx_embedding_cache *cache = cache_of(BYTES);
    claimant c[3];
    nx_embedding *embedding = NULL;
    nx_error err = {.status = NX_ERR_CANCELLED};
    for (int i = 0; i < 3; i++) {
        c[i] = claimant_of(7);
        (void)nx_embedding_cache_claim(cache, &c[i].claim, &embedding);
    }
    nx_embedding_cache_abandon(cache, &c[0].claim, false, NX_ERR_CANCELLED, &err);
    assert_int_equal(c[1].woken, 1);
    assert_int_equal(c[1].status, NX_OK);
    assert_null(c[1].embedding);
    assert_int_equal(c[2].woken, 0);
    embedding = embedding_of(7);
    nx_embedding_cache_publish(cache, &c[1].claim, embedding);
    assert_ptr_equal(c[2].embedding, embedding);
    nx_embedding_release(embedding);
    nx_embedding_release(embedding);
    assert_true(holds(cache, 7));
    nx_embedding_cache_free(cache);
}

static void all_fail_of_what_concerns_all(void **state)
{
    (void)state;
    nx_embedding_cache *cache = cache_of(BYTES);
    claimant c[3];
    nx_embedding *embedding = NULL;
    nx_error err = {.status = NX_ERR_CORRUPT};
    for (int i = 0; i < 3; i++) {
        c[i] = claimant_of(7);
        (void)nx_embedding_cache_claim(cache, &c[i].claim, &embedding);
    }
    nx_embedding_cache_abandon(cache, &c[0].claim, true, NX_ERR_CORRUPT, &err);
    assert_int_equal(c[1].status, NX_ERR_CORRUPT);
    assert_int_equal(c[2].status, NX_ERR_CORRUPT);
    c[0] = claimant_of(7); /* the picture can be tried again */
    assert_int_equal(nx_embedding_cache_claim(cache, &c[0].claim, &embedding), NX_CLAIM_LEADS);
    nx_embedding_cache_abandon(cache, &c[0].claim, false, NX_ERR_CANCELLED, &err);
    nx_embedding_cache_free(cache);
}

/* --- many threads -------------------------------------------------------------------------------
 */

typedef struct party {
    nx_embedding_cache *cache;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    int encoded[4];
} party;

typedef struct guest {
    nx_embedding_claim claim;
    party *party;
    int number;
    bool woken;
    nx_embedding *embedding;
} guest;

static void wake_guest(nx_embedding_claim *claim, nx_embedding *embedding, nx_status status,
                       const nx_error *err)
{
    guest *self = (guest *)claim;
    (void)err;
    assert_int_equal(status, NX_OK);
    pthread_mutex_lock(&self->party->lock);
    self->woken = true;
    self->embedding = embedding;
    pthread_cond_broadcast(&self->party->cond);
    pthread_mutex_unlock(&self->party->lock);
}

static nx_embedding *lead(guest *self)
{
    nx_embedding *embedding = embedding_of(self->number);
    pthread_mutex_lock(&self->party->lock);
    self->party->encoded[self->number]++;
    pthread_mutex_unlock(&self->party->lock);
    nx_embedding_cache_publish(self->party->cache, &self->claim, embedding);
    return embedding;
}

static void *visit(void *argument)
{
    party *p = argument;
    for (int i = 0; i < 400; i++) {
        guest g = {.party = p, .number = i % 4};
        g.claim = (nx_embedding_claim){.key = key_of(g.number), .wake = wake_guest};
        nx_embedding *embedding = NULL;
        switch (nx_embedding_cache_claim(p->cache, &g.claim, &embedding)) {
        case NX_CLAIM_LEADS:
            embedding = lead(&g);
            break;
        case NX_CLAIM_WAITS:
            pthread_mutex_lock(&p->lock);
            while (!g.woken) {
                pthread_cond_wait(&p->cond, &p->lock);
            }
            embedding = g.embedding;
            pthread_mutex_unlock(&p->lock);
            break;
        default:
            break;
        }
        assert_non_null(embedding);
        assert_int_equal((int)embedding->values[0], g.number);
        nx_embedding_release(embedding);
    }
    return NULL;
}

static void threads_encode_each_picture_once(void **state)
{
    (void)state;
    party p = {.cache = cache_of(4 * BYTES),
               .lock = PTHREAD_MUTEX_INITIALIZER,
               .cond = PTHREAD_COND_INITIALIZER};
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, visit, &p), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    for (int i = 0; i < 4; i++) {
        assert_int_equal(p.encoded[i], 1);
    }
    nx_embedding_stats stats = nx_embedding_cache_stats(p.cache);
    assert_int_equal(stats.misses, 4);
    assert_int_equal(stats.hits, 4 * 400 - 4);
    nx_embedding_cache_free(p.cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hashes_are_blake2b),
        cmocka_unit_test(the_least_recently_used_goes_first),
        cmocka_unit_test(what_is_in_use_outlives_its_place),
        cmocka_unit_test(a_cache_may_be_too_small_for_any),
        cmocka_unit_test(those_who_wait_share_what_is_published),
        cmocka_unit_test(the_next_leads_when_a_leader_gives_up),
        cmocka_unit_test(all_fail_of_what_concerns_all),
        cmocka_unit_test(threads_encode_each_picture_once),
    };
    return cmocka_run_group_tests_name("embedding_cache", tests, NULL, NULL);
}
