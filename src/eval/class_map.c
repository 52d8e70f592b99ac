#include "eval/class_map.h"

#include <stdlib.h>
#include <string.h>

static size_t category_by_name(const nx_coco_dataset *dataset, const char *name)
{
    size_t i = 0;
    while (i < dataset->category_count && strcmp(dataset->categories[i].name, name) != 0) {
        i++;
    }
    return i;
}

static void map_class(nx_class_map *map, size_t class_id, const nx_coco_dataset *dataset,
                      size_t category)
{
    bool known = category < dataset->category_count;
    map->indices[class_id] = known ? (int32_t)category : -1;
    map->ids[class_id] = known ? dataset->categories[category].id : -1;
    map->mapped += known;
}

static size_t count_missed_categories(const nx_class_map *map, size_t categories)
{
    size_t missed = 0;
    for (size_t category = 0; category < categories; category++) {
        size_t i = 0;
        while (i < map->class_count && map->indices[i] != (int32_t)category) {
            i++;
        }
        missed += i == map->class_count;
    }
    return missed;
}

static nx_status no_names_and_other_count(size_t classes, size_t categories, nx_error *err)
{
    return nx_error_set(err, NX_ERR_INVALID,
                        "the model has no class names, and its %zu classes cannot be told apart by "
                        "order either, because the annotations have %zu categories",
                        classes, categories);
}

static nx_status nothing_in_common(nx_class_names names, const nx_coco_dataset *dataset,
                                   nx_error *err)
{
    return nx_error_set(
        err, NX_ERR_INVALID,
        "no class of the model (%.60s, ...) has the name of a category of the annotations "
        "(%.60s, ...); they must agree letter by letter",
        nx_class_name(names, 0),
        dataset->category_count > 0 ? dataset->categories[0].name : "none");
}

nx_status nx_class_map_make(nx_class_names names, bool names_known, const nx_coco_dataset *dataset,
                            nx_class_map *out, nx_error *err)
{
    *out = (nx_class_map){.class_count = names.count, .by_order = !names_known};
    if (!names_known && names.count != dataset->category_count) {
        return no_names_and_other_count(names.count, dataset->category_count, err);
    }
    out->indices = calloc(names.count + 1, sizeof *out->indices);
    out->ids = calloc(names.count + 1, sizeof *out->ids);
    if (out->indices == NULL || out->ids == NULL) {
        nx_class_map_free(out);
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the map of classes");
    }
    for (size_t i = 0; i < names.count; i++) {
        map_class(out, i, dataset, names_known ? category_by_name(dataset, names.names[i]) : i);
    }
    if (out->mapped == 0) {
        nx_class_map_free(out);
        return nothing_in_common(names, dataset, err);
    }
    out->missed_categories = count_missed_categories(out, dataset->category_count);
    return NX_OK;
}

void nx_class_map_free(nx_class_map *map)
{
    if (map != NULL) {
        free(map->indices);
        free(map->ids);
        *map = (nx_class_map){0};
    }
}
