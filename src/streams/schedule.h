/* When a stream is watched: days and hours of the server's local time. Plain data, pure functions.
 */
#ifndef NX_STREAMS_SCHEDULE_H
#define NX_STREAMS_SCHEDULE_H

#include "base/error.h"
#include "base/json_writer.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define NX_SCHEDULE_MOST 16

typedef struct nx_schedule_window {
    uint8_t days;      /* bit 0: Sunday, as tm_wday counts; on which it begins */
    uint16_t from, to; /* minutes of the day, 0..1440; to <= from: of the next day */
} nx_schedule_window;

typedef struct nx_schedule {
    nx_schedule_window windows[NX_SCHEDULE_MOST];
    size_t count; /* 0: always */
} nx_schedule;

/* Of [{"days":["mon","tue"],"from":"08:00","to":"18:00"}]; without days every day, without from and
 * to the whole day. Errors: NX_ERR_INVALID with the place. */
nx_status nx_schedule_parse(const json_t *value, nx_schedule *out, nx_error *err);

/* As such an array. */
void nx_schedule_json(const nx_schedule *schedule, nx_json *json);

/* weekday: 0 is Sunday. */
bool nx_schedule_is_open(const nx_schedule *schedule, int weekday, int minute);

#endif
