/* The embedded page, its documentation and openapi.json. */
#include "web/assets.h"
#include "api/internal.h"
#include "http/negotiate.h"

#include <string.h>

/* The page's own files and nothing else; pictures and live video are shown from blob: URLs, other
 * videos from the API, and Swagger UI draws its icons from data: URLs. */
#define PAGE_POLICY                                                                                \
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "        \
    "media-src 'self' blob:; connect-src 'self'; font-src 'self'; base-uri 'none'; form-action "   \
    "'none'; "                                                                                     \
    "frame-ancestors 'none'"

/* The page asks the browser for nothing of the machine's. */
#define PERMISSIONS "camera=(), microphone=(), geolocation=(), payment=(), usb=()"

static void reply_missing(nx_http_request *request)
{
    size_t count = 0;
    (void)nx_assets(&count);
    nx_problem problem =
        count == 0 ? nx_problem_make(404,
                                     "The API works all the same: POST a picture to "
                                     "/api/v1/inference/image. 'make build' embeds the page.",
                                     "this server was built without the page")
                   : nx_problem_make(404, "The page is at /.", "there is nothing at %.200s",
                                     nx_http_path(request));
    nx_http_reply_problem(request, &problem);
}

static void reply_asset(nx_http_request *request, const char *path)
{
    const nx_asset *asset = nx_asset_find(path);
    if (asset == NULL) {
        reply_missing(request);
        return;
    }
    bool gzip = asset->gzip_data != NULL &&
                nx_negotiate_coding(nx_http_header(request, "Accept-Encoding"), "gzip");
    char gzip_etag[NX_ASSET_ETAG_SIZE];
    const char *etag = asset->etag;
    if (gzip) {
        nx_asset_gzip_etag(asset, gzip_etag);
        etag = gzip_etag;
    }
    nx_http_add_header(request, "ETag", etag);
    nx_http_add_header(request, "Cache-Control", "no-cache"); /* ask each time; a 304 is short */
    nx_http_add_header(request, "Vary", "Accept-Encoding");
    nx_http_add_header(request, "Content-Security-Policy", PAGE_POLICY);
    nx_http_add_header(request, "Cross-Origin-Opener-Policy", "same-origin");
    nx_http_add_header(request, "Permissions-Policy", PERMISSIONS);
    if (nx_negotiate_none_match(nx_http_header(request, "If-None-Match"), etag)) {
        nx_http_reply_static(request, 304, NULL, NULL, 0);
        return;
    }
    if (gzip) {
        nx_http_add_header(request, "Content-Encoding", "gzip");
    }
    nx_http_reply_static(request, 200, asset->mime_type, gzip ? asset->gzip_data : asset->data,
                         gzip ? asset->gzip_size : asset->size);
}

void nx_api_asset(nx_http_request *request, void *user)
{
    (void)user;
    reply_asset(request, nx_http_path(request));
}

void nx_api_web_page(nx_http_request *request, void *user)
{
    (void)user;
    reply_asset(request, "/");
}
