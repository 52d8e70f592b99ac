/*
 * multipart/form-data (RFC 7578), taken apart as it comes in by libmicrohttpd's post processor.
 * Used by one connection thread.
 */
#ifndef NX_HTTP_FORM_H
#define NX_HTTP_FORM_H

#include "http/request.h"
#include "http/server.h"

#include <microhttpd.h>
#include <stdbool.h>

typedef struct nx_http_form nx_http_form;

/* The boundary is read from the connection's Content-Type, which must be multipart/form-data.
 * Returns NULL and fills problem when there is no usable boundary or memory. */
nx_http_form *nx_http_form_new(struct MHD_Connection *connection, const nx_http_route *route,
                               nx_problem *problem);
void nx_http_form_free(nx_http_form *form);

/* False: problem says why the form is refused. */
bool nx_http_form_feed(nx_http_form *form, const char *bytes, size_t size, nx_problem *problem);
/* The body is at its end; so must be the form. */
bool nx_http_form_finish(nx_http_form *form, nx_problem *problem);

/* Valid after nx_http_form_finish. */
const nx_http_part *nx_http_form_parts(const nx_http_form *form, size_t *count);

#endif
