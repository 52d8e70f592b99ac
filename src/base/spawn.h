/* Starting this program's own children (posix_spawn). */
#ifndef NX_BASE_SPAWN_H
#define NX_BASE_SPAWN_H

#include <spawn.h>

/* In the child no signal is blocked, and none ignored, whatever the thread that starts it does.
 * Returns 0 or an errno. */
int nx_spawn_clear_signals(posix_spawnattr_t *attributes);

#endif
