/*
 * The web page and the API's documentation, inside the binary. scripts/embed_assets.py makes the
 * table at build time from the folder that the Meson option web_dist names; without one it is
 * empty.
 *
 * Read-only data of the process: everything is thread-safe, nothing is freed.
 */
#ifndef NX_WEB_ASSETS_H
#define NX_WEB_ASSETS_H

#include <stddef.h>

typedef struct nx_asset {
    const char *path;      /* as in the URL: "/", "/docs", "/assets/app.js", "/openapi.json" */
    const char *mime_type; /* for Content-Type, with the charset of text */
    const char *etag;      /* strong, with its quotes (RFC 9110 8.8.3), of the plain bytes */
    const unsigned char *data;
    size_t size;
    /* gzip form of the same bytes (RFC 1952); NULL and 0 where it would save a tenth or less. It
     * needs an ETag of its own: see nx_asset_gzip_etag. */
    const unsigned char *gzip_data;
    size_t gzip_size;
} nx_asset;

/* Enough for any ETag below and its NUL. */
#define NX_ASSET_ETAG_SIZE 48

/* The asset at a URL path (without query, decoded), or NULL. path may be NULL. */
const nx_asset *nx_asset_find(const char *path);

/* All of them, sorted by path; count may be 0. */
const nx_asset *nx_assets(size_t *count);

/* Writes the strong ETag of the gzip form, which RFC 9110 wants to differ: "<hash>-gzip". */
void nx_asset_gzip_etag(const nx_asset *asset, char out[NX_ASSET_ETAG_SIZE]);

#endif
