/* Between assets.c and the file that scripts/embed_assets.py makes. */
#ifndef NX_WEB_ASSETS_TABLE_H
#define NX_WEB_ASSETS_TABLE_H

#include "web/assets.h"

extern const nx_asset nx_assets_table[]; /* sorted by path as strcmp sorts */
extern const size_t nx_assets_count;

#endif
