/* What is logged while a test looks. */
#ifndef NX_TESTS_CAPTURE_H
#define NX_TESTS_CAPTURE_H

#include "testing.h"

/* Standard error goes into a file while lines are logged. */
typedef struct capture {
    FILE *file;
    int kept;
    char text[65536];
} capture;

static inline void capture_begin(capture *c)
{
    fflush(stderr);
    c->file = tmpfile();
    assert_non_null(c->file);
    c->kept = dup(STDERR_FILENO);
    assert_int_equal(dup2(fileno(c->file), STDERR_FILENO), STDERR_FILENO);
}

static inline void capture_end(capture *c)
{
    dup2(c->kept, STDERR_FILENO);
    close(c->kept);
    rewind(c->file);
    size_t size = fread(c->text, 1, sizeof c->text - 1, c->file);
    c->text[size] = '\0';
    fclose(c->file);
}

#endif
