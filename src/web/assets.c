#include "web/assets.h"

#include "web/assets_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int compare_path(const void *path, const void *asset)
{
    return strcmp(path, ((const nx_asset *)asset)->path);
}

const nx_asset *nx_asset_find(const char *path)
{
    if (path == NULL) {
        return NULL;
    }
    return bsearch(path, nx_assets_table, nx_assets_count, sizeof nx_assets_table[0], compare_path);
}

const nx_asset *nx_assets(size_t *count)
{
    *count = nx_assets_count;
    return nx_assets_table;
}

void nx_asset_gzip_etag(const nx_asset *asset, char out[NX_ASSET_ETAG_SIZE])
{
    int length = (int)strlen(asset->etag);
    snprintf(out, NX_ASSET_ETAG_SIZE, "%.*s-gzip\"", length - 1, asset->etag);
}
