#include "store/states.h"

#include "store/db.h"

#include <stdio.h>

static const char *const names[NX_STATE_COUNT] = {
    [NX_STATE_VIDEOS] = "videos",
    [NX_STATE_VIDEOS_ADDED] = "videos_added",
    [NX_STATE_JOBS_ENDED] = "jobs_ended",
};

static nx_status take_state(const nx_row *row, void *user, nx_error *err)
{
    (void)err;
    nx_states *out = user;
    const char *name = nx_row_text(row, 0);
    for (size_t i = 0; i < NX_STATE_COUNT; i++) {
        if (strcmp(name, names[i]) == 0) {
            snprintf(out->of[i], NX_STATE_SIZE, "%s", nx_row_text(row, 1));
        }
    }
    return NX_OK;
}

nx_status nx_store_states(nx_store *store, nx_states *out, nx_error *err)
{
    static const nx_sql all = NX_SQL("SELECT name, state FROM states");
    const nx_call call = {.sql = &all, .each = take_state, .user = out};
    *out = (nx_states){0};
    nx_status status = nx_store_run(store, NX_TX_READ, &call, NULL, err);
    for (size_t i = 0; i < NX_STATE_COUNT && status == NX_OK; i++) {
        if (out->of[i][0] == '\0') {
            status =
                nx_error_set(err, NX_ERR_CORRUPT, "the database has no state of '%s'", names[i]);
        }
    }
    return status;
}
