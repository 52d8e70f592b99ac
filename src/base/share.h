/* One of several processes that divide what a machine has. */
#ifndef NX_BASE_SHARE_H
#define NX_BASE_SHARE_H

#include <stdint.h>

/* All zero: alone. */
typedef struct nx_share {
    uint32_t index; /* from 0 */
    uint32_t count;
} nx_share;

/* This one's part of total; the parts of all add up to it, and may be 0. */
static inline uint32_t nx_share_of(nx_share share, uint32_t total)
{
    return share.count <= 1 ? total
                            : total / share.count + (share.index < total % share.count ? 1 : 0);
}

/* The same for what nobody can do without: at least 1. */
static inline uint32_t nx_share_some(nx_share share, uint32_t total)
{
    uint32_t part = nx_share_of(share, total);
    return part > 0 ? part : 1;
}

#endif
