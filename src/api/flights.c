#include "api/flights.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS 256 /* one for each first byte of a key */

/* What is being worked on. The leader has it in its claim. */
struct nx_flight {
    nx_flight *next; /* in the bucket */
    uint8_t key[NX_FLIGHT_KEY];
    nx_flight_claim *first, *last; /* who waits, in the order of coming */
    /* A thread wakes the next leader, and goes on when that one has abandoned (`again`) or ended
     * the flight (`over`) in the meantime: no depth of calls, however many give up. */
    bool waking, again, over;
};

struct nx_flights {
    pthread_mutex_t lock; /* guards all below, flights and claims */
    nx_flight *buckets[BUCKETS];
    uint64_t joined;
};

nx_flights *nx_flights_new(void)
{
    nx_flights *flights = calloc(1, sizeof *flights);
    if (flights != NULL) {
        pthread_mutex_init(&flights->lock, NULL);
    }
    return flights;
}

void nx_flights_free(nx_flights *flights)
{
    if (flights != NULL) {
        pthread_mutex_destroy(&flights->lock);
        free(flights);
    }
}

/* --- the table; the lock is held ----------------------------------------------------------------
 */

static nx_flight *find(nx_flights *flights, const uint8_t *key)
{
    nx_flight *flight = flights->buckets[key[0]];
    while (flight != NULL && memcmp(flight->key, key, NX_FLIGHT_KEY) != 0) {
        flight = flight->next;
    }
    return flight;
}

static nx_flight *add(nx_flights *flights, const uint8_t *key)
{
    nx_flight *flight = calloc(1, sizeof *flight);
    if (flight != NULL) {
        memcpy(flight->key, key, NX_FLIGHT_KEY);
        flight->next = flights->buckets[key[0]];
        flights->buckets[key[0]] = flight;
    }
    return flight;
}

/* From here on equal work begins anew. */
static void take_out(nx_flights *flights, nx_flight *flight)
{
    nx_flight **at = &flights->buckets[flight->key[0]];
    while (*at != flight) {
        at = &(*at)->next;
    }
    *at = flight->next;
}

static void append(nx_flight *flight, nx_flight_claim *claim)
{
    claim->waits = true;
    claim->next = NULL;
    claim->previous = flight->last;
    if (flight->last != NULL) {
        flight->last->next = claim;
    } else {
        flight->first = claim;
    }
    flight->last = claim;
}

static void take_claim(nx_flight *flight, nx_flight_claim *claim)
{
    if (claim->previous != NULL) {
        claim->previous->next = claim->next;
    } else {
        flight->first = claim->next;
    }
    if (claim->next != NULL) {
        claim->next->previous = claim->previous;
    } else {
        flight->last = claim->previous;
    }
    claim->next = claim->previous = NULL;
    claim->waits = false;
}

/* --- claims -------------------------------------------------------------------------------------
 */

nx_flight_role nx_flights_claim(nx_flights *flights, nx_flight_claim *claim)
{
    nx_flight_role role = NX_FLIGHT_LEADS;
    pthread_mutex_lock(&flights->lock);
    claim->waits = false;
    claim->next = claim->previous = NULL;
    claim->flight = find(flights, claim->key);
    if (claim->flight != NULL && claim->gone != NULL && atomic_load(claim->gone)) {
        claim->flight = NULL;
        role = NX_FLIGHT_ALONE;
    } else if (claim->flight != NULL) {
        append(claim->flight, claim);
        flights->joined++;
        role = NX_FLIGHT_WAITS;
    } else {
        claim->flight = add(flights, claim->key);
        role = claim->flight != NULL ? NX_FLIGHT_LEADS : NX_FLIGHT_ALONE;
    }
    pthread_mutex_unlock(&flights->lock);
    return role;
}

bool nx_flights_withdraw(nx_flights *flights, nx_flight_claim *claim)
{
    pthread_mutex_lock(&flights->lock);
    bool waits = claim->waits;
    if (waits) {
        take_claim(claim->flight, claim);
        claim->flight = NULL;
    }
    pthread_mutex_unlock(&flights->lock);
    return waits;
}

/* --- the leader ---------------------------------------------------------------------------------
 */

static void land(nx_flights *flights, nx_flight_claim *claim, const void *outcome, nx_status status,
                 const nx_error *err)
{
    pthread_mutex_lock(&flights->lock);
    nx_flight *flight = claim->flight;
    nx_flight_claim *list = flight->first;
    claim->flight = NULL;
    take_out(flights, flight);
    for (nx_flight_claim *c = list; c != NULL; c = c->next) {
        c->waits = false;
        c->flight = NULL;
    }
    flight->over = true;
    bool mine = !flight->waking;
    pthread_mutex_unlock(&flights->lock);
    if (mine) {
        free(flight);
    }
    while (list != NULL) {
        nx_flight_claim *next = list->next; /* waking may free the claim */
        list->wake(list, outcome, status, err);
        list = next;
    }
}

void nx_flights_publish(nx_flights *flights, nx_flight_claim *claim, const void *outcome)
{
    land(flights, claim, outcome, NX_OK, NULL);
}

void nx_flights_fail(nx_flights *flights, nx_flight_claim *claim, nx_status status,
                     const nx_error *err)
{
    land(flights, claim, NULL, status, err);
}

/* The lock is held. Who leads next; NULL: nobody is left, and the flight is no more. */
static nx_flight_claim *promote(nx_flights *flights, nx_flight *flight)
{
    nx_flight_claim *next = flight->first;
    if (next == NULL) {
        take_out(flights, flight);
        free(flight);
        return NULL;
    }
    take_claim(flight, next);
    flight->waking = true;
    flight->again = false;
    return next;
}

void nx_flights_abandon(nx_flights *flights, nx_flight_claim *claim)
{
    pthread_mutex_lock(&flights->lock);
    nx_flight *flight = claim->flight;
    claim->flight = NULL;
    if (flight->waking) {
        flight->again = true; /* whoever wakes goes on */
        pthread_mutex_unlock(&flights->lock);
        return;
    }
    nx_flight_claim *next = promote(flights, flight);
    while (next != NULL) {
        pthread_mutex_unlock(&flights->lock);
        next->wake(next, NULL, NX_OK, NULL);
        pthread_mutex_lock(&flights->lock);
        flight->waking = false;
        next = NULL;
        if (flight->over) {
            free(flight);
        } else if (flight->again) {
            next = promote(flights, flight);
        }
    }
    pthread_mutex_unlock(&flights->lock);
}

uint64_t nx_flights_joined(nx_flights *flights)
{
    pthread_mutex_lock(&flights->lock);
    uint64_t joined = flights->joined;
    pthread_mutex_unlock(&flights->lock);
    return joined;
}
