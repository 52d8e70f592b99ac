/* Zones' counts and visitors as bytes. */
#include "analytics/state.h"
#include "analytics/zones_internal.h"

#include <math.h>
#include <string.h>

#define KIND    "NXZONING"
#define VERSION 1
#define WHAT    "set of zones"

/* Nothing that happens in a video comes near; sums cannot overflow from there. */
#define MAX_COUNT     (UINT64_C(1) << 60)
#define MAX_DWELL_NS  (INT64_C(1) << 61)
#define MAX_PLACE     1e12
#define CLASS_BYTES   (4 + 2 * 8)
#define VISITOR_BYTES (8 + 4 + 8)

static uint64_t hash(uint64_t sum, const void *bytes, size_t size)
{
    const uint8_t *at = bytes;
    for (size_t i = 0; i < size; i++) { /* FNV-1a */
        sum = (sum ^ at[i]) * UINT64_C(0x100000001b3);
    }
    return sum;
}

/* The counts belong to these zones and lines only. */
static uint64_t fingerprint(const nx_zones_spec *spec)
{
    uint64_t sum = UINT64_C(0xcbf29ce484222325);
    nx_buffer numbers = NX_BUFFER_INIT; /* in the same order on any machine */
    for (size_t i = 0; i < spec->zone_count; i++) {
        const nx_zone *zone = &spec->zones[i];
        sum = hash(sum, zone->name, strlen(zone->name) + 1);
        nx_state_put_u32(&numbers, zone->classes.only);
        for (size_t j = 0; j < NX_MAX_CLASSES / 64; j++) {
            nx_state_put_u64(&numbers, zone->classes.mask[j]);
        }
        for (size_t j = 0; j < zone->point_count; j++) {
            nx_state_put_double(&numbers, zone->points[j].x);
            nx_state_put_double(&numbers, zone->points[j].y);
        }
    }
    for (size_t i = 0; i < spec->line_count; i++) {
        const nx_line *line = &spec->lines[i];
        sum = hash(sum, line->name, strlen(line->name) + 1);
        nx_state_put_u32(&numbers, line->classes.only);
        for (size_t j = 0; j < NX_MAX_CLASSES / 64; j++) {
            nx_state_put_u64(&numbers, line->classes.mask[j]);
        }
        nx_state_put_double(&numbers, line->from.x);
        nx_state_put_double(&numbers, line->from.y);
        nx_state_put_double(&numbers, line->to.x);
        nx_state_put_double(&numbers, line->to.y);
    }
    sum = numbers.failed ? 0 : hash(sum, numbers.data, numbers.size);
    nx_buffer_free(&numbers);
    return sum;
}

/* --- save ---------------------------------------------------------------------------------------
 */

static void put_ledger(const ledger *book, nx_buffer *out)
{
    nx_state_put_u64(out, book->ended);
    nx_state_put_u64(out, book->inside);
    nx_state_put_u64(out, book->visitors);
    nx_state_put_i64(out, book->dwell_ns);
    nx_state_put_i64(out, book->longest_ns);
    nx_state_put_u32(out, (uint32_t)book->class_count);
    for (size_t i = 0; i < book->class_count; i++) {
        nx_state_put_u32(out, (uint32_t)book->classes[i].class_id);
        nx_state_put_u64(out, book->classes[i].in);
        nx_state_put_u64(out, book->classes[i].out);
    }
}

static void put_visitor(const nx_zones *z, size_t index, nx_buffer *out)
{
    const visitor *who = &z->visitors[index];
    nx_state_put_u64(out, who->id);
    nx_state_put_u32(out, (uint32_t)who->class_id);
    nx_state_put_i64(out, who->seen_ns);
    for (size_t i = 0; i < z->spec.zone_count; i++) {
        const stay *s = &z->stays[index * z->spec.zone_count + i];
        nx_state_put_u32(out,
                         (uint32_t)s->known | (uint32_t)s->inside << 1 | (uint32_t)s->visited << 2);
        nx_state_put_i64(out, s->dwell_ns);
        nx_state_put_i64(out, s->before_ns);
    }
    for (size_t i = 0; i < z->spec.line_count; i++) {
        const passage *p = &z->passages[index * z->spec.line_count + i];
        nx_state_put_u32(out, (uint32_t)(p->side + 1));
        nx_state_put_double(out, p->x);
        nx_state_put_double(out, p->y);
    }
}

void nx_zones_save(const nx_zones *z, nx_buffer *out)
{
    uint64_t print = fingerprint(&z->spec);
    nx_state_begin(out, KIND, VERSION);
    nx_state_put_u64(out, print);
    nx_state_put_double(out, z->options.hysteresis);
    nx_state_put_i64(out, z->options.forget_ns);
    nx_state_put_u32(out, z->started);
    nx_state_put_i64(out, z->now_ns);
    for (size_t i = 0; i < z->spec.zone_count + z->spec.line_count; i++) {
        put_ledger(&z->ledgers[i], out);
    }
    nx_state_put_u32(out, (uint32_t)z->count);
    for (size_t i = 0; i < z->count; i++) {
        put_visitor(z, i, out);
    }
    out->failed = out->failed || print == 0;
}

/* --- load ---------------------------------------------------------------------------------------
 */

static uint64_t read_count(nx_state_reader *reader)
{
    uint64_t count = nx_state_u64(reader);
    nx_state_expect(reader, count <= MAX_COUNT);
    return count;
}

static int64_t read_dwell(nx_state_reader *reader)
{
    int64_t time = nx_state_i64(reader);
    nx_state_expect(reader, time >= 0 && time <= MAX_DWELL_NS);
    return reader->bad ? 0 : time;
}

/* False without memory. */
static bool read_ledger(nx_state_reader *reader, ledger *book)
{
    book->ended = read_count(reader);
    book->inside = read_count(reader);
    book->visitors = read_count(reader);
    book->dwell_ns = read_dwell(reader);
    book->longest_ns = read_dwell(reader);
    size_t count = nx_state_count(reader, NX_MAX_CLASSES, CLASS_BYTES);
    int64_t last = -1;
    for (size_t i = 0; i < count && !reader->bad; i++) {
        uint32_t class_id = nx_state_u32(reader);
        uint64_t in = read_count(reader);
        uint64_t out = read_count(reader);
        nx_state_expect(reader, class_id < NX_MAX_CLASSES && (int64_t)class_id > last);
        if (reader->bad) {
            break;
        }
        nx_zone_class_count *of_class = nx_zones_class(book, (int32_t)class_id);
        if (of_class == NULL) {
            return false;
        }
        last = class_id;
        of_class->in = in;
        of_class->out = out;
        book->in += in;
        book->out += out;
    }
    return true;
}

static double read_place(nx_state_reader *reader)
{
    double value = nx_state_double(reader);
    nx_state_expect(reader, fabs(value) <= MAX_PLACE);
    return reader->bad ? 0 : value;
}

static void read_visitor(nx_state_reader *reader, nx_zones *z, size_t index)
{
    visitor *who = &z->visitors[index];
    who->id = nx_state_u64(reader);
    uint32_t class_id = nx_state_u32(reader);
    who->seen_ns = nx_state_i64(reader);
    who->class_id = (int32_t)class_id;
    nx_state_expect(reader, class_id < NX_MAX_CLASSES && who->seen_ns <= z->now_ns &&
                                who->seen_ns >= -NX_TRACKER_MAX_TIME_NS);
    nx_state_expect(reader, who->id > (index > 0 ? z->visitors[index - 1].id : 0));
    for (size_t i = 0; i < z->spec.zone_count; i++) {
        uint32_t bits = nx_state_u32(reader);
        int64_t dwell_ns = read_dwell(reader);
        int64_t before_ns = read_dwell(reader);
        z->stays[index * z->spec.zone_count + i] = (stay){
            .known = (bits & 1) != 0,
            .inside = (bits & 2) != 0,
            .visited = (bits & 4) != 0,
            .dwell_ns = dwell_ns,
            .before_ns = before_ns,
        };
        nx_state_expect(reader, bits < 8 && before_ns <= dwell_ns);
    }
    for (size_t i = 0; i < z->spec.line_count; i++) {
        passage *p = &z->passages[index * z->spec.line_count + i];
        uint32_t side = nx_state_u32(reader);
        nx_state_expect(reader, side <= 2);
        p->side = reader->bad ? 0 : (int32_t)side - 1;
        p->x = read_place(reader);
        p->y = read_place(reader);
    }
}

/* Fills an empty one from behind the options. False without memory. */
static bool read_all(nx_state_reader *reader, nx_zones *z)
{
    uint32_t started = nx_state_u32(reader);
    z->now_ns = nx_state_i64(reader);
    z->started = started == 1;
    nx_state_expect(reader, started <= 1 && z->now_ns >= -NX_TRACKER_MAX_TIME_NS &&
                                z->now_ns <= NX_TRACKER_MAX_TIME_NS);
    for (size_t i = 0; i < z->spec.zone_count + z->spec.line_count; i++) {
        if (!read_ledger(reader, &z->ledgers[i])) {
            return false;
        }
    }
    size_t bytes = VISITOR_BYTES + z->spec.zone_count * 20 + z->spec.line_count * 20;
    size_t count = nx_state_count(reader, NX_ZONES_MAX_TRACKS, bytes);
    nx_state_expect(reader, started == 1 || (count == 0 && z->now_ns == 0));
    if (reader->bad || count == 0) {
        return true;
    }
    if (!nx_zones_reserve(z, count)) {
        return false;
    }
    while (z->count < count && !reader->bad) {
        read_visitor(reader, z, z->count);
        z->count++;
    }
    return true;
}

nx_status nx_zones_load(const nx_zones_spec *spec, const void *bytes, size_t size, nx_zones **out,
                        nx_error *err)
{
    nx_state_reader reader;
    nx_zones *z = NULL;
    *out = NULL;
    nx_status status = nx_state_open(bytes, size, KIND, VERSION, WHAT, &reader, err);
    if (status != NX_OK) {
        return status;
    }
    uint64_t print = nx_state_u64(&reader);
    nx_zones_options options = {0};
    options.hysteresis = nx_state_double(&reader);
    options.forget_ns = nx_state_i64(&reader);
    if (!reader.bad && print != fingerprint(spec)) {
        return nx_error_set(err, NX_ERR_CONFLICT,
                            "this state counts for other zones or lines than those given");
    }
    if (reader.bad || nx_zones_check_options(&options, NULL) != NX_OK) {
        reader.bad = true;
        return nx_state_close(&reader, WHAT, err);
    }
    status = nx_zones_new(spec, &options, &z, err);
    if (status == NX_OK && !read_all(&reader, z)) {
        status = nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for zones and lines");
    }
    if (status == NX_OK) {
        status = nx_state_close(&reader, WHAT, err);
    }
    if (status != NX_OK) {
        nx_zones_free(z);
        return status;
    }
    *out = z;
    return NX_OK;
}
