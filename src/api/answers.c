#include "api/answers.h"

#include "api/predictions.h"
#include "api/storage.h"

#include <endian.h>
#include <errno.h>
#include <sodium.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KEY_SIZE 32
#define MAX_ETAG 100

/* A request that may be answered so; its context. */
typedef struct ticket {
    struct ticket *next; /* among those that wait for the states */
    nx_api *api;
    nx_http_request *request;
    const nx_answer_plan *plan;
    nx_prediction_policy policy;
    bool keyed; /* the states are known */
    uint8_t bytes[KEY_SIZE];
    nx_cache_key key;
    nx_buffer found; /* until it is served */
} ticket;

struct nx_api_answers {
    nx_api_work work; /* that reads the states */
    nx_api *api;      /* whose request has put the work */

    pthread_mutex_t lock; /* guards the rest */
    ticket *first;
    ticket **last; /* where the next one goes */
    bool at_work;
};

nx_status nx_api_answers_new(nx_api_answers **out, nx_error *err)
{
    nx_api_answers *answers = calloc(1, sizeof *answers);
    *out = answers;
    if (answers == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the API");
    }
    answers->last = &answers->first;
    pthread_mutex_init(&answers->lock, NULL);
    return NX_OK;
}

void nx_api_answers_free(nx_api_answers *answers)
{
    if (answers != NULL) {
        pthread_mutex_destroy(&answers->lock);
        free(answers);
    }
}

static void free_ticket(void *context)
{
    ticket *self = context;
    nx_buffer_free(&self->found);
    free(self);
}

/* --- what an answer is found by -----------------------------------------------------------------
 */

/* With its length before it, so that no two lists of texts look the same. */
static void add_text(crypto_generichash_state *state, const char *text)
{
    const uint64_t size = text != NULL ? strlen(text) : UINT64_MAX;
    const uint64_t wire = htole64(size);
    crypto_generichash_update(state, (const uint8_t *)&wire, sizeof wire);
    if (text != NULL) {
        crypto_generichash_update(state, (const uint8_t *)text, size);
    }
}

static bool add_pair(const char *name, const char *value, void *user)
{
    add_text(user, name);
    add_text(user, value);
    return true;
}

static void make_key(ticket *self, const nx_states *states)
{
    const nx_answer_plan *plan = self->plan;
    crypto_generichash_state state;
    crypto_generichash_init(&state, NULL, 0, KEY_SIZE);
    add_text(&state, "answer " NX_VERSION);
    add_text(&state, plan->name);
    for (unsigned i = 0; i < NX_STATE_COUNT; i++) {
        if ((plan->states >> i & 1) != 0) {
            add_text(&state, states->of[i]);
        }
    }
    if (plan->by_id) {
        add_text(&state, nx_http_path_param(self->request, "id"));
    } else {
        add_text(&state, plan->variant != NULL ? plan->variant(self->request) : "");
        add_text(&state, nx_http_path(self->request));
        (void)nx_http_each_query(self->request, add_pair, &state);
    }
    crypto_generichash_final(&state, self->bytes, KEY_SIZE);
    self->key = (nx_cache_key){.kind = plan->kind, .bytes = self->bytes, .size = KEY_SIZE};
    self->keyed = true;
}

/* --- answering ----------------------------------------------------------------------------------
 */

static void in_pool(const ticket *self, nx_api_answer answer, bool slow)
{
    if (slow) {
        nx_api_answer_slowly(self->api, self->request, answer);
    } else {
        nx_api_answer_quickly(self->api, self->request, answer);
    }
}

/* What is kept ends with the entity tag and a byte that says how long that is. False: it does not,
 * so that it is nothing of ours. */
static bool take_etag(nx_buffer *found, char etag[MAX_ETAG + 1])
{
    size_t size = found->size > 0 ? (unsigned char)found->data[found->size - 1] : SIZE_MAX;
    if (size > MAX_ETAG || found->size < size + 1) {
        return false;
    }
    found->size -= size + 1;
    memcpy(etag, found->data + found->size, size);
    etag[size] = '\0';
    return true;
}

static void serve(nx_api *api, nx_http_request *request)
{
    ticket *self = nx_http_context(request);
    nx_buffer body = self->found; /* self may be gone while it is still looked at */
    char etag[MAX_ETAG + 1];
    self->found = (nx_buffer)NX_BUFFER_INIT;
    if (!take_etag(&body, etag)) {
        in_pool(self, self->plan->make, self->plan->slow);
    } else {
        if (self->plan->kind == NX_CACHE_RESPONSES) {
            nx_http_add_header(request, "X-Cache", "hit");
        }
        self->plan->found(api, request, &body, etag);
    }
    nx_buffer_free(&body);
}

/* On a thread that may wait for Redis. */
static void ask(nx_api *api, nx_http_request *request)
{
    ticket *self = nx_http_context(request);
    if (nx_cache_get(api->deps.cache, &self->key, &self->found) != NX_CACHE_HIT) {
        in_pool(self, self->plan->make, self->plan->slow);
    } else if (self->plan->by_id && self->plan->slow) {
        in_pool(self, serve, true);
    } else {
        serve(api, request);
    }
}

/* states: NULL when they could not be read. The ticket may be gone when this returns. */
static void look(ticket *self, const nx_states *states)
{
    const nx_answer_plan *plan = self->plan;
    nx_cache_answer answer = NX_CACHE_MISS;
    if (states != NULL) {
        make_key(self, states);
        answer = self->policy.read ? nx_cache_peek(self->api->deps.cache, &self->key, &self->found)
                                   : NX_CACHE_OFF;
    }
    if (answer == NX_CACHE_HIT && !(plan->by_id && plan->slow)) {
        serve(self->api, self->request);
    } else if (answer == NX_CACHE_HIT) {
        in_pool(self, serve, true);
    } else if (answer == NX_CACHE_ASK) {
        in_pool(self, ask, false);
    } else {
        in_pool(self, plan->make, plan->slow);
    }
}

/* --- the states ---------------------------------------------------------------------------------
 */

/* All who wait now; none ends the work. */
static ticket *take_all(nx_api_answers *answers)
{
    pthread_mutex_lock(&answers->lock);
    ticket *all = answers->first;
    answers->first = NULL;
    answers->last = &answers->first;
    answers->at_work = all != NULL;
    pthread_mutex_unlock(&answers->lock);
    return all;
}

/* A read for those who have come before it begins, again and again while more come. */
static void read_states(nx_api_work *work)
{
    nx_api_answers *answers = (nx_api_answers *)((char *)work - offsetof(nx_api_answers, work));
    ticket *all = NULL;
    while ((all = take_all(answers)) != NULL) {
        nx_states states;
        nx_error err = {0};
        nx_status status = nx_store_states(all->api->deps.database, &states, &err);
        while (all != NULL) {
            ticket *next = all->next;
            look(all, status == NX_OK ? &states : NULL);
            all = next;
        }
    }
}

/* Whether somebody has to be put to work. */
static bool wait_in_line(nx_api_answers *answers, ticket *self)
{
    pthread_mutex_lock(&answers->lock);
    *answers->last = self;
    answers->last = &self->next;
    bool first = !answers->at_work;
    answers->at_work = true;
    pthread_mutex_unlock(&answers->lock);
    return first;
}

/* Too much waits already: so it is for all who have come, until nobody is left, and the next one
 * puts the work again. */
static void make_all(nx_api_answers *answers)
{
    ticket *all = NULL;
    while ((all = take_all(answers)) != NULL) {
        while (all != NULL) {
            ticket *next = all->next;
            in_pool(all, all->plan->make, all->plan->slow);
            all = next;
        }
    }
}

void nx_api_answer_kept(nx_api *api, nx_http_request *request, const nx_answer_plan *plan)
{
    const nx_prediction_policy policy = nx_prediction_policy_of(request);
    bool kept = api->deps.database != NULL && nx_cache_keeps(api->deps.cache, plan->kind) &&
                (policy.read || policy.write);
    ticket *self = kept ? calloc(1, sizeof *self) : NULL;
    if (self == NULL) {
        if (plan->slow) {
            nx_api_answer_slowly(api, request, plan->make);
        } else {
            nx_api_answer_quickly(api, request, plan->make);
        }
        return;
    }
    self->api = api;
    self->request = request;
    self->plan = plan;
    self->policy = policy;
    self->found = (nx_buffer)NX_BUFFER_INIT;
    nx_http_set_context(request, self, free_ticket);
    nx_api_answers *answers = api->answers;
    if (!wait_in_line(answers, self)) {
        return;
    }
    answers->work.run = read_states;
    if (!nx_api_pool_put(api->quick, &answers->work)) {
        make_all(answers);
    }
}

/* --- keeping ------------------------------------------------------------------------------------
 */

static bool is_to_be_kept(const ticket *self, uint64_t size)
{
    return self != NULL && self->keyed && self->policy.write && size <= NX_ANSWER_MAX;
}

void nx_api_keep_answer(nx_http_request *request, nx_buffer *body, const char *etag)
{
    ticket *self = nx_http_context(request);
    const size_t size = body->size;
    const size_t etag_size = etag != NULL ? strlen(etag) : 0;
    if (!is_to_be_kept(self, size) || etag_size > MAX_ETAG || body->failed) {
        return;
    }
    if (self->plan->kind == NX_CACHE_RESPONSES) {
        nx_http_add_header(request, "X-Cache", "miss");
    }
    if (nx_buffer_reserve(body, etag_size + 1)) {
        nx_buffer_append(body, etag != NULL ? etag : "", etag_size);
        nx_buffer_append_char(body, (char)etag_size);
        nx_cache_put(self->api->deps.cache, &self->key, body->data, body->size, 0);
    }
    body->size = size;
    body->failed = false; /* only the copy was */
}

static bool read_whole(int fd, size_t size, nx_buffer *out)
{
    if (!nx_buffer_reserve(out, size + 1)) {
        return false;
    }
    while (out->size < size) {
        ssize_t got = pread(fd, out->data + out->size, size - out->size, (off_t)out->size);
        if (got <= 0 && !(got < 0 && errno == EINTR)) {
            return false;
        }
        out->size += got > 0 ? (size_t)got : 0;
    }
    return true;
}

void nx_api_reply_kept_file(nx_http_request *request, const char *content_type, const char *etag,
                            int fd, uint64_t size)
{
    nx_buffer body = NX_BUFFER_INIT;
    if (!is_to_be_kept(nx_http_context(request), size) || !read_whole(fd, (size_t)size, &body)) {
        nx_buffer_free(&body);
        nx_http_reply_file(request, content_type, etag, fd, size);
        return;
    }
    close(fd);
    nx_api_keep_answer(request, &body, etag);
    nx_http_reply_content(request, content_type, etag, &body);
}

void nx_api_found_json(nx_api *api, nx_http_request *request, nx_buffer *body, const char *etag)
{
    (void)api;
    (void)etag;
    nx_api_reply_json(request, 200, body);
}
