#include "testing.h"

#include "eval/class_map.h"
#include "eval/coco_json.h"

#define IMAGES                                                                                     \
    "\"images\":[{\"id\":9,\"file_name\":\"b.jpg\",\"width\":640,\"height\":480},"                 \
    "{\"id\":-3,\"file_name\":\"a.jpg\"}]"
#define CATEGORIES "\"categories\":[{\"id\":5,\"name\":\"cat\"},{\"id\":2,\"name\":\"dog\"}]"

static nx_status parse(const char *text, nx_coco_dataset *out, nx_error *err)
{
    return nx_coco_dataset_parse(text, strlen(text), "x.json", out, err);
}

static void refuse(const char *text, const char *words)
{
    nx_coco_dataset dataset;
    nx_error err;
    assert_int_equal(parse(text, &dataset, &err), NX_ERR_INVALID);
    nx_assert_contains(err.message, "x.json");
    nx_assert_contains(err.message, words);
    assert_null(dataset.images);
    assert_null(dataset.categories);
    assert_null(dataset.truths);
}

static void a_dataset_is_sorted_by_id_and_linked_by_index(void **state)
{
    (void)state;
    nx_coco_dataset d;
    nx_error err;
    nx_status status =
        parse("{\"info\":{}," IMAGES "," CATEGORIES ",\"annotations\":["
              "{\"image_id\":9,\"category_id\":2,\"bbox\":[1,2.5,3,0],\"iscrowd\":1,\"area\":7},"
              "{\"image_id\":-3,\"category_id\":5,\"bbox\":[0,0,1e1,20],\"iscrowd\":false},"
              "{\"image_id\":9,\"category_id\":5,\"bbox\":[0,0,1,1]}]}",
              &d, &err);
    nx_assert_ok(status, err);
    assert_int_equal(d.image_count, 2);
    assert_true(d.images[0].id == -3 && strcmp(d.images[0].file_name, "a.jpg") == 0);
    assert_true(d.images[0].width == 0 && d.images[0].height == 0);
    assert_true(d.images[1].id == 9 && d.images[1].width == 640 && d.images[1].height == 480);
    assert_int_equal(d.category_count, 2);
    assert_true(d.categories[0].id == 2 && strcmp(d.categories[0].name, "dog") == 0);
    assert_true(d.categories[1].id == 5 && strcmp(d.categories[1].name, "cat") == 0);
    assert_int_equal(d.truth_count, 3);
    assert_true(d.truths[0].image == 1 && d.truths[0].category == 0 && d.truths[0].crowd);
    assert_true(d.truths[0].box.y == 2.5 && d.truths[0].box.height == 0);
    assert_true(d.truths[1].image == 0 && d.truths[1].category == 1 && !d.truths[1].crowd);
    assert_true(d.truths[1].box.width == 10);
    assert_false(d.truths[2].crowd);
    nx_coco_dataset_free(&d);
}

static void empty_lists_are_fine(void **state)
{
    (void)state;
    nx_coco_dataset d;
    nx_error err;
    nx_status status = parse("{\"images\":[],\"categories\":[],\"annotations\":[]}", &d, &err);
    nx_assert_ok(status, err);
    assert_int_equal(d.image_count + d.category_count + d.truth_count, 0);
    nx_coco_dataset_free(&d);
    nx_coco_dataset_free(&d);
    nx_coco_dataset_free(NULL);
}

static void the_frame_of_a_dataset_is_checked(void **state)
{
    (void)state;
    refuse("", "x.json is not valid JSON");
    refuse("{\"images\":[\n,]}", "line 2");
    refuse("{\"images\":[],\"images\":[]}", "duplicate object key");
    refuse("[]", "x.json holds an array; a COCO instances file is an object");
    refuse("{}", "\"images\" is missing");
    refuse("{\"images\":{}}", "\"images\" is an object");
    refuse("{" IMAGES "}", "\"categories\" is missing");
    refuse("{" IMAGES "," CATEGORIES "}", "\"annotations\" is missing");
    refuse("{" IMAGES "," CATEGORIES ",\"annotations\":[1]}",
           "annotations[0] is a whole number; it must be an object");
}

static void images_and_categories_are_checked(void **state)
{
    (void)state;
    refuse("{\"images\":[{\"id\":1,\"file_name\":\"a\"},{\"id\":\"2\"}]}",
           "images[1].id is a string; it must be a whole number");
    refuse("{\"images\":[{\"id\":1.5}]}", "images[0].id is a fraction");
    refuse("{\"images\":[{\"id\":1}]}", "images[0].file_name is missing");
    refuse("{\"images\":[{\"id\":1,\"file_name\":\"\"}]}", "images[0].file_name is empty");
    refuse("{\"images\":[{\"id\":1,\"file_name\":\"a\",\"width\":0}]}", "images[0].width is 0");
    refuse("{\"images\":[{\"id\":1,\"file_name\":\"a\",\"height\":4294967296}]}",
           "images[0].height is 4294967296");
    refuse("{\"images\":[{\"id\":1,\"file_name\":\"a\"},{\"id\":1,\"file_name\":\"b\"}]}",
           "two images have the id 1");
    refuse("{" IMAGES ",\"categories\":[{\"id\":1}]}", "categories[0].name is missing");
    refuse("{" IMAGES ",\"categories\":[{\"id\":-1,\"name\":\"a\"}]}",
           "categories[0].id is negative");
    refuse("{" IMAGES ",\"categories\":[{\"id\":1,\"name\":\"a\"},{\"id\":1,\"name\":\"b\"}]}",
           "two categories have the id 1");
    refuse("{" IMAGES ",\"categories\":[{\"id\":1,\"name\":\"a\"},{\"id\":2,\"name\":\"a\"}]}",
           "two categories have the name 'a'");
}

static void annotations_are_checked(void **state)
{
    (void)state;
    static const struct {
        const char *item;
        const char *words;
    } cases[] = {
        {"{}", "annotations[1].image_id is missing"},
        {"{\"image_id\":1,\"category_id\":2}", "annotations[1].image_id is 1, but no image"},
        {"{\"image_id\":9,\"category_id\":null}", "annotations[1].category_id is null"},
        {"{\"image_id\":9,\"category_id\":3}", "annotations[1].category_id is 3, but no category"},
        {"{\"image_id\":9,\"category_id\":2}", "annotations[1].bbox is missing; it must be four"},
        {"{\"image_id\":9,\"category_id\":2,\"bbox\":[1,2,3]}", "annotations[1].bbox has 3"},
        {"{\"image_id\":9,\"category_id\":2,\"bbox\":[1,2,3,\"4\"]}",
         "annotations[1].bbox[3] is a string"},
        {"{\"image_id\":9,\"category_id\":2,\"bbox\":[1,2,-3,4]}",
         "annotations[1].bbox has a negative"},
        {"{\"image_id\":9,\"category_id\":2,\"bbox\":[1,2,3,4],\"iscrowd\":2}",
         "annotations[1].iscrowd is a whole number; it must be 0 or 1"},
    };
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        char text[1024];
        snprintf(text, sizeof text,
                 "{" IMAGES "," CATEGORIES ",\"annotations\":["
                 "{\"image_id\":9,\"category_id\":2,\"bbox\":[1,2,3,4]},%s]}",
                 cases[i].item);
        refuse(text, cases[i].words);
    }
}

static nx_coco_dataset two_by_two(void)
{
    nx_coco_dataset d;
    nx_error err;
    nx_status status = parse("{" IMAGES "," CATEGORIES ",\"annotations\":[]}", &d, &err);
    nx_assert_ok(status, err);
    return d;
}

static void results_are_linked_by_index(void **state)
{
    (void)state;
    static const char text[] =
        "[{\"image_id\":9,\"category_id\":5,\"bbox\":[1,2,3,4.25],\"score\":0.123456789012},"
        "{\"image_id\":-3,\"category_id\":2,\"bbox\":[0,0,0,0],\"score\":1}]";
    nx_coco_dataset d = two_by_two();
    nx_coco_result *results = NULL;
    size_t count = 0;
    nx_error err;
    nx_status status =
        nx_coco_results_parse(text, sizeof text - 1, "r.json", &d, &results, &count, &err);
    nx_assert_ok(status, err);
    assert_int_equal(count, 2);
    assert_true(results[0].image == 1 && results[0].category == 1);
    assert_true(results[0].box.height == 4.25 && results[0].score == 0.123456789012);
    assert_true(results[1].image == 0 && results[1].category == 0 && results[1].score == 1);
    free(results);
    nx_coco_dataset_free(&d);
}

static void results_are_checked(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *words;
    } cases[] = {
        {"", "r.json is not valid JSON"},
        {"{}", "r.json holds an object; a COCO results file is an array"},
        {"[[]]", "results[0] is an array; it must be an object"},
        {"[{\"image_id\":\"9\"}]", "results[0].image_id is a string; it must be a whole number"},
        {"[{\"image_id\":8,\"category_id\":5}]", "results[0].image_id is 8, but no image"},
        {"[{\"image_id\":9,\"category_id\":0}]", "results[0].category_id is 0, but no category"},
        {"[{\"image_id\":9,\"category_id\":5,\"bbox\":[0,0,1,1]}]", "results[0].score is missing"},
        {"[{\"image_id\":9,\"category_id\":5,\"bbox\":[0,0,1,1],\"score\":1e999}]", "r.json"},
    };
    nx_coco_dataset d = two_by_two();
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        nx_coco_result *results = NULL;
        size_t count = 0;
        nx_error err;
        assert_int_equal(nx_coco_results_parse(cases[i].text, strlen(cases[i].text), "r.json", &d,
                                               &results, &count, &err),
                         NX_ERR_INVALID);
        nx_assert_contains(err.message, cases[i].words);
        assert_null(results);
        assert_int_equal(count, 0);
    }
    nx_coco_dataset_free(&d);
}

static void files_that_cannot_be_read_are_named(void **state)
{
    (void)state;
    nx_coco_dataset d;
    nx_coco_result *results = NULL;
    size_t count = 0;
    nx_error err;
    assert_int_equal(nx_coco_dataset_read("/nowhere/a.json", &d, &err), NX_ERR_NOT_FOUND);
    nx_assert_contains(err.message, "/nowhere/a.json");
    assert_int_equal(nx_coco_results_read("/", &d, &results, &count, &err), NX_ERR_INVALID);
    nx_assert_contains(err.message, "folder");
}

static void the_shared_annotations_have_the_known_contents(void **state)
{
    (void)state;
    NX_NEED_SHARED();
    nx_coco_dataset d;
    nx_error err;
    nx_status status = nx_coco_dataset_read(nx_shared_path("coco/instances.json"), &d, &err);
    nx_assert_ok(status, err);
    size_t crowds = 0;
    for (size_t i = 0; i < d.truth_count; i++) {
        crowds += d.truths[i].crowd;
    }
    assert_int_equal(d.image_count, 128);
    assert_int_equal(d.category_count, 80);
    assert_int_equal(d.truth_count, 939);
    assert_int_equal(crowds, 10);
    assert_string_equal(d.images[0].file_name, "000000000009.jpg");
    assert_string_equal(d.categories[79].name, "toothbrush");
    nx_coco_dataset_free(&d);
}

static const char *const cat_bird_dog[] = {"cat", "bird", "dog"};
static const char *const only_cat[] = {"cat"};
static const char *const others[] = {"Cat", "bird"};

static void classes_map_by_name(void **state)
{
    (void)state;
    nx_coco_dataset d = two_by_two();
    nx_class_map map;
    nx_error err;
    nx_status status = nx_class_map_make((nx_class_names){cat_bird_dog, 3}, true, &d, &map, &err);
    nx_assert_ok(status, err);
    assert_false(map.by_order);
    assert_true(map.indices[0] == 1 && map.indices[1] == -1 && map.indices[2] == 0);
    assert_true(map.ids[0] == 5 && map.ids[1] == -1 && map.ids[2] == 2);
    assert_int_equal(map.mapped, 2);
    assert_int_equal(map.missed_categories, 0);
    nx_class_map_free(&map);
    status = nx_class_map_make((nx_class_names){only_cat, 1}, true, &d, &map, &err);
    nx_assert_ok(status, err);
    assert_int_equal(map.mapped, 1);
    assert_int_equal(map.missed_categories, 1);
    nx_class_map_free(&map);
    nx_coco_dataset_free(&d);
}

static void classes_without_names_map_by_order(void **state)
{
    (void)state;
    nx_coco_dataset d = two_by_two();
    nx_class_map map;
    nx_error err;
    nx_status status = nx_class_map_make((nx_class_names){others, 2}, false, &d, &map, &err);
    nx_assert_ok(status, err);
    assert_true(map.by_order);
    assert_true(map.indices[0] == 0 && map.indices[1] == 1);
    assert_true(map.ids[0] == 2 && map.ids[1] == 5);
    nx_class_map_free(&map);
    nx_coco_dataset_free(&d);
}

static void classes_that_cannot_be_mapped_are_refused(void **state)
{
    (void)state;
    nx_coco_dataset d = two_by_two();
    nx_class_map map;
    nx_error err;
    assert_int_equal(nx_class_map_make((nx_class_names){others, 2}, true, &d, &map, &err),
                     NX_ERR_INVALID);
    nx_assert_contains(err.message, "(Cat, ...) has the name of a category");
    assert_int_equal(nx_class_map_make((nx_class_names){cat_bird_dog, 3}, false, &d, &map, &err),
                     NX_ERR_INVALID);
    nx_assert_contains(err.message, "3 classes");
    nx_assert_contains(err.message, "2 categories");
    nx_coco_dataset_free(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_dataset_is_sorted_by_id_and_linked_by_index),
        cmocka_unit_test(empty_lists_are_fine),
        cmocka_unit_test(the_frame_of_a_dataset_is_checked),
        cmocka_unit_test(images_and_categories_are_checked),
        cmocka_unit_test(annotations_are_checked),
        cmocka_unit_test(results_are_linked_by_index),
        cmocka_unit_test(results_are_checked),
        cmocka_unit_test(files_that_cannot_be_read_are_named),
        cmocka_unit_test(the_shared_annotations_have_the_known_contents),
        cmocka_unit_test(classes_map_by_name),
        cmocka_unit_test(classes_without_names_map_by_order),
        cmocka_unit_test(classes_that_cannot_be_mapped_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
