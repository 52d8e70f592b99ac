/*
 * Single-flight: equal work that is asked for at once is done once. Who claims a key that nobody is
 * at work on leads; the others wait, asleep, for what the leader publishes. A leader that gives up
 * for a reason of its own (its client left, its deadline passed, no room in the queue) is followed
 * by the first of those who wait.
 *
 * Within this process. Thread-safe behind one lock, which is never held while somebody is woken.
 * What is kept are claims in flight, so there are no more than requests.
 */
#ifndef NX_API_FLIGHTS_H
#define NX_API_FLIGHTS_H

#include "base/error.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define NX_FLIGHT_KEY 32 /* bytes */

typedef struct nx_flights nx_flights;
typedef struct nx_flight nx_flight;
typedef struct nx_flight_claim nx_flight_claim;

/* Embedded in the claimant's own struct, which fills key and wake. Not freed while it leads or
 * waits. */
struct nx_flight_claim {
    uint8_t key[NX_FLIGHT_KEY]; /* spread evenly, as a hash is */
    /* Turns true before nx_flights_withdraw is called; NULL: never. A claim that comes only after
     * that does not wait, so that no withdrawal is lost. */
    const atomic_bool *gone;
    /*
     * Once, for a claim that waits, on the thread of whoever led; it may free the claim.
     * NX_OK with an outcome, borrowed for the call; NX_OK with NULL: this claim leads now; anything
     * else: what the leader failed of, and so would everybody.
     */
    void (*wake)(nx_flight_claim *claim, const void *outcome, nx_status status,
                 const nx_error *err);
    /* the table's own */
    nx_flight *flight; /* NULL: neither leads nor waits */
    nx_flight_claim *next, *previous;
    bool waits;
};

typedef enum nx_flight_role {
    NX_FLIGHT_LEADS, /* the claimant must publish, fail or abandon */
    NX_FLIGHT_WAITS, /* wake will be called, perhaps before this returns, unless it is withdrawn */
    NX_FLIGHT_ALONE, /* memory is short, or it is gone: it works for itself, and tells nobody */
} nx_flight_role;

/* NULL: no memory. */
nx_flights *nx_flights_new(void);
/* No claim may lead or wait. NULL is fine. */
void nx_flights_free(nx_flights *flights);

nx_flight_role nx_flights_claim(nx_flights *flights, nx_flight_claim *claim);

/* Takes a waiting claim out: wake will not be called. False when it does not wait (any more). */
bool nx_flights_withdraw(nx_flights *flights, nx_flight_claim *claim);

/* By the leader: wakes those who wait with the outcome. */
void nx_flights_publish(nx_flights *flights, nx_flight_claim *claim, const void *outcome);
/* By the leader: wakes those who wait with an error that they would meet as well. */
void nx_flights_fail(nx_flights *flights, nx_flight_claim *claim, nx_status status,
                     const nx_error *err);
/* By the leader: the next one leads. It may abandon in its turn, also while it is being woken. */
void nx_flights_abandon(nx_flights *flights, nx_flight_claim *claim);

/* Claims that have had to wait, since the beginning. */
uint64_t nx_flights_joined(nx_flights *flights);

#endif
