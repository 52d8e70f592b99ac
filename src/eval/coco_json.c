#include "eval/coco_json.h"

#include "base/buffer.h"
#include "base/file.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* Where in a file we are, for messages. */
typedef struct place {
    const char *file;
    const char *list; /* "annotations"; "results" stands for the nameless list of a results file */
    size_t index;
    nx_error *err;
} place;

static const char *type_name(const json_t *value)
{
    if (value == NULL) {
        return "missing";
    }
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "a whole number";
    case JSON_REAL:
        return "a fraction";
    case JSON_NULL:
        return "null";
    default:
        return "true or false";
    }
}

static nx_status wrong_type(const place *at, const char *member, const json_t *value,
                            const char *wanted)
{
    return nx_error_set(at->err, NX_ERR_INVALID, "%s: %s[%zu].%s is %s; it must be %s", at->file,
                        at->list, at->index, member, type_name(value), wanted);
}

static nx_status no_memory(const char *file, nx_error *err)
{
    return nx_error_set(err, NX_ERR_NO_MEMORY, "%s: not enough memory to read it", file);
}

/* ---- members ------------------------------------------------------------------------------- */

static nx_status read_whole(const place *at, const json_t *item, const char *member, int64_t *out)
{
    const json_t *value = json_object_get(item, member);
    if (!json_is_integer(value)) {
        return wrong_type(at, member, value, "a whole number");
    }
    *out = json_integer_value(value);
    return NX_OK;
}

/* A size in pixels that a file may leave out (0). */
static nx_status read_size(const place *at, const json_t *item, const char *member, uint32_t *out)
{
    int64_t value = 0;
    *out = 0;
    if (json_object_get(item, member) == NULL) {
        return NX_OK;
    }
    nx_status status = read_whole(at, item, member, &value);
    if (status == NX_OK && (value < 1 || value > UINT32_MAX)) {
        return nx_error_set(at->err, NX_ERR_INVALID,
                            "%s: %s[%zu].%s is %" PRId64 "; it must be a size in pixels", at->file,
                            at->list, at->index, member, value);
    }
    *out = (uint32_t)value;
    return status;
}

static nx_status read_text(const place *at, const json_t *item, const char *member, char **out)
{
    const json_t *value = json_object_get(item, member);
    if (!json_is_string(value)) {
        return wrong_type(at, member, value, "a string");
    }
    if (json_string_length(value) == 0) {
        return nx_error_set(at->err, NX_ERR_INVALID, "%s: %s[%zu].%s is empty", at->file, at->list,
                            at->index, member);
    }
    *out = strdup(json_string_value(value));
    return *out != NULL ? NX_OK : no_memory(at->file, at->err);
}

static nx_status read_box(const place *at, const json_t *item, nx_coco_box *out)
{
    static const char wanted[] = "four numbers [x, y, width, height]";
    const json_t *box = json_object_get(item, "bbox");
    double values[4];
    if (!json_is_array(box)) {
        return wrong_type(at, "bbox", box, wanted);
    }
    if (json_array_size(box) != 4) {
        return nx_error_set(at->err, NX_ERR_INVALID,
                            "%s: %s[%zu].bbox has %zu entries; it must be %s", at->file, at->list,
                            at->index, json_array_size(box), wanted);
    }
    for (size_t i = 0; i < 4; i++) {
        const json_t *value = json_array_get(box, i);
        if (!json_is_number(value)) {
            return nx_error_set(at->err, NX_ERR_INVALID,
                                "%s: %s[%zu].bbox[%zu] is %s; bbox must be %s", at->file, at->list,
                                at->index, i, type_name(value), wanted);
        }
        values[i] = json_number_value(value);
    }
    if (values[2] < 0 || values[3] < 0) {
        return nx_error_set(at->err, NX_ERR_INVALID,
                            "%s: %s[%zu].bbox has a negative width or height", at->file, at->list,
                            at->index);
    }
    *out = (nx_coco_box){values[0], values[1], values[2], values[3]};
    return NX_OK;
}

/* iscrowd: 0, 1, false or true; absent is 0. */
static nx_status read_crowd(const place *at, const json_t *item, bool *out)
{
    const json_t *value = json_object_get(item, "iscrowd");
    bool zero_or_one = json_is_integer(value) &&
                       (json_integer_value(value) == 0 || json_integer_value(value) == 1);
    if (value != NULL && !json_is_boolean(value) && !zero_or_one) {
        return wrong_type(at, "iscrowd", value, "0 or 1");
    }
    *out = json_is_true(value) || (zero_or_one && json_integer_value(value) == 1);
    return NX_OK;
}

/* ---- references by id ---------------------------------------------------------------------- */

static int compare_ids(int64_t a, int64_t b)
{
    return a < b ? -1 : a > b;
}

static int compare_images(const void *a, const void *b)
{
    return compare_ids(((const nx_coco_image *)a)->id, ((const nx_coco_image *)b)->id);
}

static int compare_categories(const void *a, const void *b)
{
    return compare_ids(((const nx_coco_category *)a)->id, ((const nx_coco_category *)b)->id);
}

/* image_id and category_id of an annotation or result, as indices into the dataset's lists. */
static nx_status read_references(const place *at, const json_t *item,
                                 const nx_coco_dataset *dataset, int32_t *out_image,
                                 int32_t *out_category)
{
    nx_coco_image image = {0};
    nx_coco_category category = {0};
    nx_status status = read_whole(at, item, "image_id", &image.id);
    if (status == NX_OK) {
        status = read_whole(at, item, "category_id", &category.id);
    }
    if (status != NX_OK) {
        return status;
    }
    const nx_coco_image *found_image =
        bsearch(&image, dataset->images, dataset->image_count, sizeof image, compare_images);
    if (found_image == NULL) {
        return nx_error_set(at->err, NX_ERR_INVALID,
                            "%s: %s[%zu].image_id is %" PRId64 ", but no image has this id",
                            at->file, at->list, at->index, image.id);
    }
    const nx_coco_category *found_category =
        bsearch(&category, dataset->categories, dataset->category_count, sizeof category,
                compare_categories);
    if (found_category == NULL) {
        return nx_error_set(at->err, NX_ERR_INVALID,
                            "%s: %s[%zu].category_id is %" PRId64 ", but no category has this id",
                            at->file, at->list, at->index, category.id);
    }
    /* The limit on the file's size keeps the lists far below 2^31 entries. */
    *out_image = (int32_t)(found_image - dataset->images);
    *out_category = (int32_t)(found_category - dataset->categories);
    return NX_OK;
}

/* ---- lists --------------------------------------------------------------------------------- */

static nx_status read_image(const place *at, const json_t *item, nx_coco_dataset *dataset)
{
    nx_coco_image *image = &dataset->images[dataset->image_count++];
    nx_status status = read_whole(at, item, "id", &image->id);
    if (status == NX_OK) {
        status = read_text(at, item, "file_name", &image->file_name);
    }
    if (status == NX_OK) {
        status = read_size(at, item, "width", &image->width);
    }
    if (status == NX_OK) {
        status = read_size(at, item, "height", &image->height);
    }
    return status;
}

static nx_status read_category(const place *at, const json_t *item, nx_coco_dataset *dataset)
{
    nx_coco_category *category = &dataset->categories[dataset->category_count++];
    nx_status status = read_whole(at, item, "id", &category->id);
    if (status == NX_OK && category->id < 0) {
        status = nx_error_set(at->err, NX_ERR_INVALID, "%s: %s[%zu].id is negative", at->file,
                              at->list, at->index);
    }
    if (status == NX_OK) {
        status = read_text(at, item, "name", &category->name);
    }
    return status;
}

static nx_status read_truth(const place *at, const json_t *item, nx_coco_dataset *dataset)
{
    nx_coco_truth *truth = &dataset->truths[dataset->truth_count++];
    nx_status status = read_references(at, item, dataset, &truth->image, &truth->category);
    if (status == NX_OK) {
        status = read_box(at, item, &truth->box);
    }
    if (status == NX_OK) {
        status = read_crowd(at, item, &truth->crowd);
    }
    return status;
}

static nx_status read_result(const place *at, const json_t *item, const nx_coco_dataset *dataset,
                             nx_coco_result *out)
{
    const json_t *score = json_object_get(item, "score");
    nx_status status = read_references(at, item, dataset, &out->image, &out->category);
    if (status == NX_OK) {
        status = read_box(at, item, &out->box);
    }
    if (status == NX_OK && !json_is_number(score)) {
        return wrong_type(at, "score", score, "a number");
    }
    out->score = json_number_value(score);
    return status;
}

static nx_status check_object(const place *at, const json_t *item)
{
    return json_is_object(item)
               ? NX_OK
               : nx_error_set(at->err, NX_ERR_INVALID, "%s: %s[%zu] is %s; it must be an object",
                              at->file, at->list, at->index, type_name(item));
}

typedef nx_status (*read_item)(const place *at, const json_t *item, nx_coco_dataset *dataset);

/* The member `list` of root. */
static nx_status find_list(const json_t *root, const char *list, const char *file,
                           const json_t **out, nx_error *err)
{
    *out = json_object_get(root, list);
    return json_is_array(*out)
               ? NX_OK
               : nx_error_set(err, NX_ERR_INVALID,
                              "%s: \"%s\" is %s; a COCO instances file has a list there", file,
                              list, type_name(*out));
}

/* Reads every item into the dataset's list, which has room for all of them. */
static nx_status read_items(const json_t *items, const char *list, const char *file, read_item read,
                            nx_coco_dataset *dataset, nx_error *err)
{
    place at = {.file = file, .list = list, .err = err};
    for (at.index = 0; at.index < json_array_size(items); at.index++) {
        const json_t *item = json_array_get(items, at.index);
        nx_status status = check_object(&at, item);
        if (status == NX_OK) {
            status = read(&at, item, dataset);
        }
        if (status != NX_OK) {
            return status;
        }
    }
    return NX_OK;
}

static nx_status sort_images(nx_coco_dataset *dataset, const char *file, nx_error *err)
{
    qsort(dataset->images, dataset->image_count, sizeof *dataset->images, compare_images);
    for (size_t i = 1; i < dataset->image_count; i++) {
        if (dataset->images[i].id == dataset->images[i - 1].id) {
            return nx_error_set(err, NX_ERR_INVALID, "%s: two images have the id %" PRId64, file,
                                dataset->images[i].id);
        }
    }
    return NX_OK;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static nx_status check_unique_names(const nx_coco_dataset *dataset, const char *file, nx_error *err)
{
    nx_status status = NX_OK;
    const char **names = calloc(dataset->category_count + 1, sizeof(const char *));
    if (names == NULL) {
        return no_memory(file, err);
    }
    for (size_t i = 0; i < dataset->category_count; i++) {
        names[i] = dataset->categories[i].name;
    }
    qsort(names, dataset->category_count, sizeof *names, compare_names);
    for (size_t i = 1; i < dataset->category_count && status == NX_OK; i++) {
        if (strcmp(names[i], names[i - 1]) == 0) {
            status = nx_error_set(err, NX_ERR_INVALID, "%s: two categories have the name '%.100s'",
                                  file, names[i]);
        }
    }
    free(names);
    return status;
}

static nx_status sort_categories(nx_coco_dataset *dataset, const char *file, nx_error *err)
{
    qsort(dataset->categories, dataset->category_count, sizeof *dataset->categories,
          compare_categories);
    for (size_t i = 1; i < dataset->category_count; i++) {
        if (dataset->categories[i].id == dataset->categories[i - 1].id) {
            return nx_error_set(err, NX_ERR_INVALID, "%s: two categories have the id %" PRId64,
                                file, dataset->categories[i].id);
        }
    }
    return check_unique_names(dataset, file, err);
}

static nx_status read_images(const json_t *root, const char *file, nx_coco_dataset *dataset,
                             nx_error *err)
{
    const json_t *items = NULL;
    nx_status status = find_list(root, "images", file, &items, err);
    if (status != NX_OK) {
        return status;
    }
    dataset->images = calloc(json_array_size(items) + 1, sizeof *dataset->images);
    if (dataset->images == NULL) {
        return no_memory(file, err);
    }
    status = read_items(items, "images", file, read_image, dataset, err);
    return status == NX_OK ? sort_images(dataset, file, err) : status;
}

static nx_status read_categories(const json_t *root, const char *file, nx_coco_dataset *dataset,
                                 nx_error *err)
{
    const json_t *items = NULL;
    nx_status status = find_list(root, "categories", file, &items, err);
    if (status != NX_OK) {
        return status;
    }
    dataset->categories = calloc(json_array_size(items) + 1, sizeof *dataset->categories);
    if (dataset->categories == NULL) {
        return no_memory(file, err);
    }
    status = read_items(items, "categories", file, read_category, dataset, err);
    return status == NX_OK ? sort_categories(dataset, file, err) : status;
}

static nx_status read_truths(const json_t *root, const char *file, nx_coco_dataset *dataset,
                             nx_error *err)
{
    const json_t *items = NULL;
    nx_status status = find_list(root, "annotations", file, &items, err);
    if (status != NX_OK) {
        return status;
    }
    dataset->truths = calloc(json_array_size(items) + 1, sizeof *dataset->truths);
    if (dataset->truths == NULL) {
        return no_memory(file, err);
    }
    return read_items(items, "annotations", file, read_truth, dataset, err);
}

/* ---- files --------------------------------------------------------------------------------- */

/* Parses JSON text; the caller releases *out with json_decref. */
static nx_status parse(const char *text, size_t size, const char *file, json_t **out, nx_error *err)
{
    json_error_t problem;
    *out = json_loadb(size > 0 ? text : "", size, JSON_REJECT_DUPLICATES, &problem);
    if (*out == NULL && json_error_code(&problem) == json_error_out_of_memory) {
        return no_memory(file, err);
    }
    return *out != NULL ? NX_OK
                        : nx_error_set(err, NX_ERR_INVALID, "%s is not valid JSON: line %d: %s",
                                       file, problem.line, problem.text);
}

nx_status nx_coco_dataset_parse(const char *text, size_t size, const char *file,
                                nx_coco_dataset *out, nx_error *err)
{
    *out = (nx_coco_dataset){0};
    json_t *root = NULL;
    nx_status status = parse(text, size, file, &root, err);
    if (status == NX_OK && !json_is_object(root)) {
        status = nx_error_set(err, NX_ERR_INVALID,
                              "%s holds %s; a COCO instances file is an object with images, "
                              "categories and annotations",
                              file, type_name(root));
    }
    if (status == NX_OK) {
        status = read_images(root, file, out, err);
    }
    if (status == NX_OK) {
        status = read_categories(root, file, out, err);
    }
    if (status == NX_OK) {
        status = read_truths(root, file, out, err);
    }
    json_decref(root);
    if (status != NX_OK) {
        nx_coco_dataset_free(out);
    }
    return status;
}

void nx_coco_dataset_free(nx_coco_dataset *dataset)
{
    if (dataset == NULL) {
        return;
    }
    for (size_t i = 0; i < dataset->image_count; i++) {
        free(dataset->images[i].file_name);
    }
    for (size_t i = 0; i < dataset->category_count; i++) {
        free(dataset->categories[i].name);
    }
    free(dataset->images);
    free(dataset->categories);
    free(dataset->truths);
    *dataset = (nx_coco_dataset){0};
}

static nx_status read_results(const json_t *root, const char *file, const nx_coco_dataset *dataset,
                              nx_coco_result *out, nx_error *err)
{
    place at = {.file = file, .list = "results", .err = err};
    for (at.index = 0; at.index < json_array_size(root); at.index++) {
        const json_t *item = json_array_get(root, at.index);
        nx_status status = check_object(&at, item);
        if (status == NX_OK) {
            status = read_result(&at, item, dataset, &out[at.index]);
        }
        if (status != NX_OK) {
            return status;
        }
    }
    return NX_OK;
}

nx_status nx_coco_results_parse(const char *text, size_t size, const char *file,
                                const nx_coco_dataset *dataset, nx_coco_result **out,
                                size_t *out_count, nx_error *err)
{
    *out = NULL;
    *out_count = 0;
    json_t *root = NULL;
    nx_status status = parse(text, size, file, &root, err);
    if (status == NX_OK && !json_is_array(root)) {
        status = nx_error_set(err, NX_ERR_INVALID, "%s holds %s; a COCO results file is an array",
                              file, type_name(root));
    }
    if (status == NX_OK) {
        *out = calloc(json_array_size(root) + 1, sizeof **out);
        status = *out != NULL ? read_results(root, file, dataset, *out, err) : no_memory(file, err);
    }
    if (status == NX_OK) {
        *out_count = json_array_size(root);
    } else {
        free(*out);
        *out = NULL;
    }
    json_decref(root);
    return status;
}

nx_status nx_coco_dataset_read(const char *path, nx_coco_dataset *out, nx_error *err)
{
    nx_buffer text = NX_BUFFER_INIT;
    *out = (nx_coco_dataset){0};
    nx_status status = nx_file_read(path, NX_COCO_MAX_FILE_BYTES, &text, err);
    if (status == NX_OK) {
        status = nx_coco_dataset_parse(text.data, text.size, path, out, err);
    }
    nx_buffer_free(&text);
    return status;
}

nx_status nx_coco_results_read(const char *path, const nx_coco_dataset *dataset,
                               nx_coco_result **out, size_t *out_count, nx_error *err)
{
    nx_buffer text = NX_BUFFER_INIT;
    *out = NULL;
    *out_count = 0;
    nx_status status = nx_file_read(path, NX_COCO_MAX_FILE_BYTES, &text, err);
    if (status == NX_OK) {
        status = nx_coco_results_parse(text.data, text.size, path, dataset, out, out_count, err);
    }
    nx_buffer_free(&text);
    return status;
}
