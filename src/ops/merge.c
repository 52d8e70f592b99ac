#include "ops/merge.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define NONE SIZE_MAX

typedef struct slice {
    const char *at;
    size_t size;
} slice;

typedef struct sample {
    slice key; /* the name with its labels */
    double value;
    size_t next; /* of the same family */
} sample;

typedef struct family {
    slice name;
    slice head; /* its HELP and TYPE lines */
    bool gauge;
    bool shared;
    size_t first, last;
} family;

typedef struct merger {
    const nx_metrics *metrics;
    family *families;
    size_t family_count, family_room;
    sample *samples;
    size_t sample_count;
    size_t *table; /* indexes of samples by their keys' hash; NONE: free */
    size_t mask;
    bool failed; /* no memory */
} merger;

static bool equal(slice a, slice b)
{
    return a.size == b.size && memcmp(a.at, b.at, a.size) == 0;
}

/* FNV-1a (draft-eastlake-fnv), folded. */
static size_t hash(slice key)
{
    uint64_t value = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < key.size; i++) {
        value = (value ^ (unsigned char)key.at[i]) * UINT64_C(1099511628211);
    }
    return (size_t)(value ^ (value >> 32));
}

static family *find_family(merger *m, slice name)
{
    for (size_t i = 0; i < m->family_count; i++) {
        if (equal(m->families[i].name, name)) {
            return &m->families[i];
        }
    }
    return NULL;
}

/* line: its HELP line. */
static family *add_family(merger *m, slice name, slice line)
{
    if (m->family_count == m->family_room) {
        size_t room = m->family_room > 0 ? 2 * m->family_room : 64;
        family *grown = realloc(m->families, room * sizeof *grown);
        if (grown == NULL) {
            m->failed = true;
            return NULL;
        }
        m->families = grown;
        m->family_room = room;
    }
    family *added = &m->families[m->family_count++];
    *added = (family){.name = name, .head = line, .first = NONE, .last = NONE};
    added->shared = nx_metric_is_shared(m->metrics, name.at, name.size);
    return added;
}

/* Where the key is in the table, or the free place for it. */
static size_t *place_of(merger *m, slice key)
{
    size_t at = hash(key) & m->mask;
    while (m->table[at] != NONE && !equal(m->samples[m->table[at]].key, key)) {
        at = (at + 1) & m->mask;
    }
    return &m->table[at];
}

static void add_sample(merger *m, family *of, slice key, double value)
{
    size_t *place = place_of(m, key);
    if (*place != NONE) {
        double *sum = &m->samples[*place].value;
        if (isnan(*sum)) { /* which that process does not know */
            *sum = value;
        } else if (!isnan(value)) {
            *sum += value;
        }
        return;
    }
    size_t index = m->sample_count++; /* there is room: the lines were counted */
    m->samples[index] = (sample){.key = key, .value = value, .next = NONE};
    *place = index;
    if (of->last != NONE) {
        m->samples[of->last].next = index;
    } else {
        of->first = index;
    }
    of->last = index;
}

/* --- reading ------------------------------------------------------------------------------------
 */

/* The word behind "# HELP " or "# TYPE ". */
static slice word_at(slice line, size_t from)
{
    const char *at = line.at + from;
    const char *end = memchr(at, ' ', line.size - from);
    return (slice){at, end != NULL ? (size_t)(end - at) : line.size - from};
}

static bool begins(slice line, const char *with)
{
    size_t size = strlen(with);
    return line.size > size && memcmp(line.at, with, size) == 0;
}

static family *read_head(merger *m, slice line, family *current)
{
    if (begins(line, "# HELP ")) {
        slice name = word_at(line, 7);
        family *known = find_family(m, name);
        return known != NULL ? known : add_family(m, name, line);
    }
    if (begins(line, "# TYPE ") && current != NULL) {
        current->gauge = line.size > 6 && memcmp(line.at + line.size - 6, " gauge", 6) == 0;
        const char *end = current->head.at + current->head.size;
        if (line.at == end + 1) { /* behind the HELP line that is kept */
            current->head.size += 1 + line.size;
        }
    }
    return current;
}

static void read_sample(merger *m, slice line, family *current)
{
    const char *space = memrchr(line.at, ' ', line.size);
    if (space != NULL) {
        /* the number ends at the line's end, which strtod does not pass */
        add_sample(m, current, (slice){line.at, (size_t)(space - line.at)},
                   strtod(space + 1, NULL));
    }
}

static void read_text(merger *m, const nx_exposition *text, bool first)
{
    family *current = NULL;
    if (text->size == 0) {
        return;
    }
    const char *at = text->text;
    const char *end = text->text + text->size;
    while (at < end && !m->failed) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        if (newline == NULL) {
            return; /* cut off: none of ours */
        }
        slice line = {at, (size_t)(newline - at)};
        if (line.size > 0 && line.at[0] == '#') {
            current = read_head(m, line, current);
        } else if (line.size > 0 && current != NULL && (first || !current->shared) &&
                   !(text->gone && current->gauge)) {
            read_sample(m, line, current);
        }
        at = newline + 1;
    }
}

/* --- writing ------------------------------------------------------------------------------------
 */

static void write_value(double value, nx_buffer *out)
{
    if (isnan(value)) {
        nx_buffer_append_str(out, " NaN\n");
        return;
    }
    bool whole = value == floor(value) && fabs(value) < 9e15;
    nx_buffer_printf(out, whole ? " %.0f\n" : " %.12g\n", value);
}

static void write_all(const merger *m, nx_buffer *out)
{
    for (size_t f = 0; f < m->family_count; f++) {
        nx_buffer_append(out, m->families[f].head.at, m->families[f].head.size);
        nx_buffer_append_char(out, '\n');
        for (size_t i = m->families[f].first; i != NONE; i = m->samples[i].next) {
            nx_buffer_append(out, m->samples[i].key.at, m->samples[i].key.size);
            write_value(m->samples[i].value, out);
        }
    }
}

static bool make_room(merger *m, const nx_exposition *texts, size_t count)
{
    size_t lines = 1;
    size_t places = 64;
    for (size_t i = 0; i < count; i++) {
        for (size_t c = 0; c < texts[i].size; c++) {
            lines += texts[i].text[c] == '\n';
        }
    }
    while (places < 2 * lines) {
        places *= 2;
    }
    m->samples = calloc(lines, sizeof *m->samples);
    m->table = malloc(places * sizeof *m->table);
    m->mask = places - 1;
    for (size_t i = 0; m->table != NULL && i < places; i++) {
        m->table[i] = NONE;
    }
    return m->samples != NULL && m->table != NULL;
}

void nx_metrics_merge(const nx_metrics *metrics, const nx_exposition *texts, size_t count,
                      nx_buffer *out)
{
    merger m = {.metrics = metrics};
    m.failed = !make_room(&m, texts, count);
    for (size_t i = 0; i < count && !m.failed; i++) {
        read_text(&m, &texts[i], i == 0);
    }
    if (m.failed) {
        out->failed = true;
    } else {
        write_all(&m, out);
    }
    free(m.families);
    free(m.samples);
    free(m.table);
}
