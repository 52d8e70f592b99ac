#include "streams/schedule.h"

#include <stdio.h>
#include <string.h>

#define ALL_DAYS 0x7f
#define DAY      1440

static const char *const day_names[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};

static nx_status parse_days(const json_t *value, size_t at, uint8_t *out, nx_error *err)
{
    uint8_t days = 0;
    for (size_t i = 0; i < json_array_size(value); i++) {
        const char *name = json_string_value(json_array_get(value, i));
        int day = 0;
        while (name != NULL && day < 7 && strcmp(name, day_names[day]) != 0) {
            day++;
        }
        if (name == NULL || day == 7) {
            return nx_error_set(err, NX_ERR_INVALID,
                                "schedule[%zu].days: send some of sun, mon, tue, wed, thu, fri and "
                                "sat",
                                at);
        }
        days = (uint8_t)(days | 1U << day);
    }
    if (days == 0) {
        return nx_error_set(err, NX_ERR_INVALID, "schedule[%zu].days: the list is empty", at);
    }
    *out = days;
    return NX_OK;
}

/* "08:30". */
static bool parse_minute(const char *text, uint16_t *out)
{
    if (text == NULL || strlen(text) != 5 || text[2] != ':') {
        return false;
    }
    int digits[4];
    static const int places[] = {0, 1, 3, 4};
    for (int i = 0; i < 4; i++) {
        digits[i] = text[places[i]] - '0';
        if (digits[i] < 0 || digits[i] > 9) {
            return false;
        }
    }
    int hour = digits[0] * 10 + digits[1];
    int minute = digits[2] * 10 + digits[3];
    *out = (uint16_t)(hour * 60 + minute);
    return minute < 60 && *out <= DAY;
}

static nx_status parse_window(const json_t *value, size_t at, nx_schedule_window *out,
                              nx_error *err)
{
    const char *name = NULL;
    json_t *member = NULL;
    *out = (nx_schedule_window){.days = ALL_DAYS, .from = 0, .to = DAY};
    if (!json_is_object(value)) {
        return nx_error_set(err, NX_ERR_INVALID, "schedule[%zu]: this is no object", at);
    }
    json_object_foreach((json_t *)value, name, member)
    {
        nx_status status = NX_OK;
        if (strcmp(name, "days") == 0) {
            status = parse_days(member, at, &out->days, err);
        } else if (strcmp(name, "from") == 0 || strcmp(name, "to") == 0) {
            uint16_t *minute = name[0] == 'f' ? &out->from : &out->to;
            if (!parse_minute(json_string_value(member), minute)) {
                status =
                    nx_error_set(err, NX_ERR_INVALID,
                                 "schedule[%zu].%s: send a time from 00:00 to 24:00", at, name);
            }
        } else {
            status = nx_error_set(
                err, NX_ERR_INVALID,
                "schedule[%zu]: there is no member '%.40s', but days, from and to", at, name);
        }
        if (status != NX_OK) {
            return status;
        }
    }
    return NX_OK;
}

nx_status nx_schedule_parse(const json_t *value, nx_schedule *out, nx_error *err)
{
    *out = (nx_schedule){.count = 0};
    if (!json_is_array(value) || json_array_size(value) > NX_SCHEDULE_MOST) {
        return nx_error_set(err, NX_ERR_INVALID, "schedule: send a list of at most %d windows",
                            NX_SCHEDULE_MOST);
    }
    for (size_t i = 0; i < json_array_size(value); i++) {
        nx_status status = parse_window(json_array_get(value, i), i, &out->windows[i], err);
        if (status != NX_OK) {
            return status;
        }
    }
    out->count = json_array_size(value);
    return NX_OK;
}

static void write_minute(nx_json *json, const char *key, uint16_t minute)
{
    char text[16];
    snprintf(text, sizeof text, "%02u:%02u", minute / 60U, minute % 60U);
    nx_json_key_string(json, key, text);
}

void nx_schedule_json(const nx_schedule *schedule, nx_json *json)
{
    nx_json_array_begin(json);
    for (size_t i = 0; i < schedule->count; i++) {
        const nx_schedule_window *window = &schedule->windows[i];
        nx_json_object_begin(json);
        nx_json_key(json, "days");
        nx_json_array_begin(json);
        for (int day = 0; day < 7; day++) {
            if ((window->days & 1U << day) != 0) {
                nx_json_string(json, day_names[day]);
            }
        }
        nx_json_array_end(json);
        write_minute(json, "from", window->from);
        write_minute(json, "to", window->to);
        nx_json_object_end(json);
    }
    nx_json_array_end(json);
}

bool nx_schedule_is_open(const nx_schedule *schedule, int weekday, int minute)
{
    bool open = schedule->count == 0;
    for (size_t i = 0; i < schedule->count && !open; i++) {
        const nx_schedule_window *window = &schedule->windows[i];
        bool today = (window->days & 1U << weekday) != 0;
        bool yesterday = (window->days & 1U << (weekday + 6) % 7) != 0;
        if (window->from < window->to) {
            open = today && minute >= window->from && minute < window->to;
        } else {
            open = (today && minute >= window->from) || (yesterday && minute < window->to);
        }
    }
    return open;
}
