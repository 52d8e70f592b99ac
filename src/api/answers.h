/*
 * GETs whose answers are kept as long as what they were made of stays the same.
 *
 * An answer is found under the states (store/states.h) of what it tells of. They are read after the
 * request has come, so that no request meets what was removed or changed before it, on whichever
 * host; one read serves all requests that have come until it begins. What is found is answered on
 * the thread that has read them; what is not is made as it would be without a cache.
 *
 * Who may ask has been checked before a handler runs, and the answers are the same for all who may.
 * Cache-Control of the request is heeded as for predictions; X-Cache tells "hit" or "miss".
 */
#ifndef NX_API_ANSWERS_H
#define NX_API_ANSWERS_H

#include "api/internal.h"
#include "api/work.h"
#include "store/states.h"

typedef struct nx_api_answers nx_api_answers;

/* The most that is kept of one answer: with its entity tag it goes into Redis. */
#define NX_ANSWER_MAX (((size_t)1 << 20) - 256)

/* What is to be known of a resource; static. */
typedef struct nx_answer_plan {
    const char *name; /* "job": those of one name find each other's */
    nx_cache_kind kind;
    unsigned states; /* bits of 1 << nx_state_of: what the answer tells of */
    bool by_id;      /* found by the path's {id} alone: it is a record, not the whole answer */
    bool slow;       /* making it takes long; of a record, answering with it, too */
    /* What else of the request it depends on beside path and query; NULL: nothing. */
    const char *(*variant)(const nx_http_request *request);
    /* Answers with what was found; etag is "" where none was kept. */
    void (*found)(nx_api *api, nx_http_request *request, nx_buffer *body, const char *etag);
    nx_api_answer make;
} nx_answer_plan;

nx_status nx_api_answers_new(nx_api_answers **out, nx_error *err);
/* No request is under way any more. NULL is fine. */
void nx_api_answers_free(nx_api_answers *answers);

/* Has a request answered; from a handler, and the request must not be touched afterwards. */
void nx_api_answer_kept(nx_api *api, nx_http_request *request, const nx_answer_plan *plan);

/* From `make`, before it answers: keeps what it has made, unless that is too much. etag: with its
 * quotes; NULL: none. body may grow and is as it was afterwards. Does nothing for a request that
 * did not come by nx_api_answer_kept. */
void nx_api_keep_answer(nx_http_request *request, nx_buffer *body, const char *etag);

/* Answers with the size bytes of fd, which moves, as nx_http_reply_file does, and keeps them. For
 * what never is other bytes while the states are the same. */
void nx_api_reply_kept_file(nx_http_request *request, const char *content_type, const char *etag,
                            int fd, uint64_t size);

/* A plan's `found` for what nx_api_reply_json sends. */
void nx_api_found_json(nx_api *api, nx_http_request *request, nx_buffer *body, const char *etag);

#endif
