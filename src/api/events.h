/* /api/v1/events: what happened before cameras (store/events.h). */
#ifndef NX_API_EVENTS_H
#define NX_API_EVENTS_H

#include "api/storage.h"
#include "store/events.h"

/* The event of the path, in the arena. False: the request is answered. */
bool nx_api_find_event(nx_api *api, nx_http_request *request, nx_arena *arena, nx_event_row *out);

/* handlers; user is the nx_api */
void nx_api_events_list(nx_http_request *request, void *user);
void nx_api_events_get(nx_http_request *request, void *user);
void nx_api_events_remove(nx_http_request *request, void *user);
void nx_api_events_snapshot(nx_http_request *request, void *user);
void nx_api_events_clip(nx_http_request *request, void *user);
void nx_api_events_deliveries(nx_http_request *request, void *user); /* job_webhooks.c */
void nx_api_events_follow(nx_http_request *request, void *user);     /* event_follow.c */

#endif
