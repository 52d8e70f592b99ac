#include "http/form.h"

#include "http/spool.h"

#include <stdlib.h>
#include <string.h>

#define POST_BUFFER_BYTES 32768
#define MAX_FIELDS        64
#define MAX_FIELD_BYTES   65536
#define NAME_MARK         '\x01'

typedef struct part {
    char *name;
    char *filename;
    nx_buffer data;
    nx_http_spool spool; /* the file, on a route with a spool_dir */
} part;

struct nx_http_form {
    const nx_http_route *route;
    struct MHD_PostProcessor *post;
    part *parts;
    size_t count;
    size_t capacity;
    size_t files;
    const char *marked;  /* the library's copy of the last part's name; only compared */
    nx_http_part *views; /* of parts, once the form is complete */
    nx_problem problem;
    bool refused; /* problem is set */
};

static enum MHD_Result refuse(nx_http_form *form, nx_problem problem)
{
    form->problem = problem;
    form->refused = true;
    return MHD_NO;
}

static enum MHD_Result refuse_memory(nx_http_form *form)
{
    return refuse(form, nx_problem_make(503, "Try again later.", "no memory for the form"));
}

/* Opens the next part, or refuses one too many. */
static part *add_part(nx_http_form *form, const char *name, const char *filename)
{
    const nx_http_route *route = form->route;
    if (filename != NULL && form->files == route->max_files) {
        refuse(form, nx_problem_make(route->too_many_files_status, route->too_many_files_advice,
                                     "the form has more than %u file%s", route->max_files,
                                     route->max_files == 1 ? "" : "s"));
        return NULL;
    }
    if (filename == NULL && form->count - form->files == MAX_FIELDS) {
        refuse(form, nx_problem_make(400, "Send each option once.",
                                     "the form has more than %d fields", MAX_FIELDS));
        return NULL;
    }
    if (form->count == form->capacity) {
        size_t capacity = form->capacity > 0 ? form->capacity * 2 : 8;
        part *grown = realloc(form->parts, capacity * sizeof *grown);
        if (grown == NULL) {
            refuse_memory(form);
            return NULL;
        }
        form->parts = grown;
        form->capacity = capacity;
    }
    part *added = &form->parts[form->count];
    *added = (part){.name = strdup(name), .data = NX_BUFFER_INIT};
    added->filename = filename != NULL ? strdup(filename) : NULL;
    form->count++;
    form->files += filename != NULL;
    if (added->name == NULL || (filename != NULL && added->filename == NULL)) {
        refuse_memory(form);
        return NULL;
    }
    return added;
}

/* MHD_PostDataIterator: some bytes of a part. */
static enum MHD_Result take(void *user, enum MHD_ValueKind kind, const char *name,
                            const char *filename, const char *content_type,
                            const char *transfer_encoding, const char *bytes, uint64_t offset,
                            size_t size)
{
    (void)kind, (void)content_type, (void)transfer_encoding;
    nx_http_form *form = user;
    if (name == NULL || name[0] == '\0') { /* the mark needs a place */
        return refuse(form,
                      nx_problem_make(400, "Give each part a quoted name, as in name=\"image\".",
                                      "a part of the form has no name"));
    }
    part *current = NULL;
    bool goes_on = form->count > 0 && name == form->marked && name[0] == NAME_MARK &&
                   strcmp(name + 1, form->parts[form->count - 1].name + 1) == 0;
    if (!goes_on && name[0] == NAME_MARK) {
        return refuse(form,
                      nx_problem_make(400, "Name each part in plain text, as in name=\"image\".",
                                      "a part's name begins with a control character"));
    }
    if (!goes_on) {
        current = add_part(form, name, filename);
        if (current == NULL) {
            return MHD_NO;
        }
        /* offset 0 does not tell a new part, as the library also reports an empty beginning; but
         * it keeps a copy of the name for each part, so a mark on the copy does */
        *(char *)name = NAME_MARK;
        form->marked = name;
    } else {
        current = &form->parts[form->count - 1];
        if (offset != current->data.size + current->spool.size) {
            return refuse(form, nx_problem_make(400, "Send every file as a part of its own.",
                                                "the form has a multipart part inside a part"));
        }
    }
    if (current->filename != NULL && form->route->spool_dir != NULL) {
        nx_problem problem;
        return nx_http_spool_write(&current->spool, form->route->spool_dir, bytes, size, &problem)
                   ? MHD_YES
                   : refuse(form, problem);
    }
    nx_buffer_append(&current->data, bytes, size);
    if (current->data.failed) {
        return refuse_memory(form);
    }
    if (current->filename == NULL && current->data.size > MAX_FIELD_BYTES) {
        return refuse(form, nx_problem_make(413, "Send a picture as a file part, with a filename.",
                                            "field '%.60s' has more than %d bytes", current->name,
                                            MAX_FIELD_BYTES));
    }
    return MHD_YES;
}

nx_http_form *nx_http_form_new(struct MHD_Connection *connection, const nx_http_route *route,
                               nx_problem *problem)
{
    nx_http_form *form = calloc(1, sizeof *form);
    if (form == NULL) {
        *problem = nx_problem_make(503, "Try again later.", "no memory for the form");
        return NULL;
    }
    form->route = route;
    form->post = MHD_create_post_processor(connection, POST_BUFFER_BYTES, take, form);
    if (form->post == NULL) {
        free(form);
        *problem = nx_problem_make(400,
                                   "Let your HTTP library set Content-Type: it must name the "
                                   "boundary between the parts.",
                                   "Content-Type multipart/form-data has no usable boundary");
        return NULL;
    }
    return form;
}

void nx_http_form_free(nx_http_form *form)
{
    if (form == NULL) {
        return;
    }
    if (form->post != NULL) {
        MHD_destroy_post_processor(form->post);
    }
    for (size_t i = 0; i < form->count; i++) {
        free(form->parts[i].name);
        free(form->parts[i].filename);
        nx_buffer_free(&form->parts[i].data);
        nx_http_spool_free(&form->parts[i].spool);
    }
    free(form->parts);
    free(form->views);
    free(form);
}

bool nx_http_form_feed(nx_http_form *form, const char *bytes, size_t size, nx_problem *problem)
{
    if (!form->refused && MHD_post_process(form->post, bytes, size) != MHD_YES && !form->refused) {
        refuse(form, nx_problem_make(400, "Let your HTTP library build the form.",
                                     "the multipart body is malformed"));
    }
    if (form->refused) {
        *problem = form->problem;
    }
    return !form->refused;
}

bool nx_http_form_finish(nx_http_form *form, nx_problem *problem)
{
    enum MHD_Result complete = MHD_destroy_post_processor(form->post);
    form->post = NULL;
    if (!form->refused && complete != MHD_YES) {
        refuse(form, nx_problem_make(400, "Send the whole form; check that it was not cut short.",
                                     "the multipart body ends before its closing boundary"));
    }
    if (!form->refused && form->count == 0) {
        refuse(form, nx_problem_make(400, "Check that the boundary in Content-Type is the body's.",
                                     "the multipart body has no parts"));
    }
    form->views = calloc(form->count, sizeof *form->views);
    if (!form->refused && form->views == NULL) {
        refuse_memory(form);
    }
    for (size_t i = 0; !form->refused && i < form->count; i++) {
        part *from = &form->parts[i];
        form->views[i] = (nx_http_part){
            .name = from->name,
            .filename = from->filename,
            .size = from->data.size + from->spool.size,
            .path = from->spool.path,
        };
        if (from->spool.path == NULL) {
            form->views[i].data = nx_buffer_cstr(&from->data); /* adds the NUL */
        }
        if (!nx_http_spool_finish(&from->spool, &form->problem)) {
            form->refused = true;
        } else if (from->data.failed) {
            refuse_memory(form);
        }
    }
    if (form->refused) {
        *problem = form->problem;
    }
    return !form->refused;
}

const nx_http_part *nx_http_form_parts(const nx_http_form *form, size_t *count)
{
    *count = form->views != NULL ? form->count : 0;
    return form->views;
}
