/*
 * Where a webhook may go. Who submits a job names the URL, and the server, which may reach what
 * that person may not, sends to it: without these checks that would be server-side request forgery
 * (OWASP's cheat sheet of that name). The URL's form is checked when it is submitted; an address
 * only when it is connected to, for a name may stand for another one each time it is looked up.
 *
 * Pure functions, without the network. Thread-safe.
 */
#ifndef NX_JOBS_WEBHOOK_URL_H
#define NX_JOBS_WEBHOOK_URL_H

#include "base/error.h"

#include <stdbool.h>
#include <sys/socket.h>

#define NX_WEBHOOK_URL_MAX 2000

/*
 * For the API, when a job is submitted. The URL is http or https, without user or password, in
 * printable ASCII and at most NX_WEBHOOK_URL_MAX long; unless allow_private its host is not
 * localhost or an address that is refused below, however it is written (0x7f.1, [::ffff:7f00:1]).
 * Errors: NX_ERR_INVALID (the message says what to change and repeats nothing of the URL but an
 * address), NX_ERR_NO_MEMORY.
 */
nx_status nx_webhook_check_url(const char *url, bool allow_private, nx_error *err);

/* For those who may not know all of a URL that nx_webhook_check_url passes: its path, which is a
 * secret with some receivers, becomes three stars. out has NX_WEBHOOK_SHOWN_SIZE bytes. */
#define NX_WEBHOOK_SHOWN_SIZE (NX_WEBHOOK_URL_MAX + 8)
void nx_webhook_url_shown(const char *url, char *out);

/*
 * What is wrong with an address ("a loopback address"), or NULL for one that anybody on the
 * Internet reaches: the registries of special-purpose addresses (RFC 6890, iana.org) and what
 * clouds use for metadata. IPv6 that stands for IPv4 (mapped, NAT64, 6to4, Teredo) is refused as
 * such.
 */
const char *nx_webhook_address_refused(const struct sockaddr *address);

/* The same of a camera's, which are in private networks most of the time: those are good. What is
 * left are this machine, unless it is allowed, link-local addresses, clouds' metadata, and what is
 * no host's. */
const char *nx_camera_address_refused(const struct sockaddr *address, bool allow_loopback);

#endif
