#include "testing.h"

#include "api/prediction_key.h"

#include <sodium.h>

typedef struct fixture {
    nx_prediction_keys keys;
    nx_model_spec model;
    nx_postprocess_options options;
    nx_prediction_question question;
    uint8_t picture[1000];
} fixture;

static void make(fixture *f, bool shared)
{
    *f = (fixture){.keys = nx_prediction_keys_new(shared), .options = nx_postprocess_defaults()};
    f->model.name = "yolov8n";
    memset(f->model.identity, 1, sizeof f->model.identity);
    memset(f->picture, 2, sizeof f->picture);
    f->question = (nx_prediction_question){
        .model = &f->model, .version = 1, .options = &f->options, .max_pixels = 1000};
}

/* Whether the fixture, changed since, has the key that it had. */
static bool has_key(const fixture *f, const uint8_t *key)
{
    uint8_t now[NX_PREDICTION_KEY];
    nx_prediction_key(&f->keys, &f->question, f->picture, sizeof f->picture, now);
    return memcmp(now, key, sizeof now) == 0;
}

static void check_all(bool shared)
{
    fixture f;
    uint8_t key[NX_PREDICTION_KEY];
    make(&f, shared);
    const fixture before = f;
    nx_prediction_key(&f.keys, &f.question, f.picture, sizeof f.picture, key);
    assert_true(has_key(&f, key));

#define CHANGES(change)                                                                            \
    do {                                                                                           \
        change;                                                                                    \
        assert_false(has_key(&f, key));                                                            \
        f.model = before.model;                                                                    \
        f.options = before.options;                                                                \
        f.question.version = 1;                                                                    \
        f.question.max_pixels = 1000;                                                              \
        memcpy(f.picture, before.picture, sizeof f.picture);                                       \
        assert_true(has_key(&f, key));                                                             \
    } while (0)

    CHANGES(f.picture[0] ^= 1);
    CHANGES(f.picture[sizeof f.picture - 1] ^= 128);
    CHANGES(f.model.name = "yolov8s");
    CHANGES(f.model.identity[31] ^= 1);
    CHANGES(f.question.version = 2);
    CHANGES(f.question.max_pixels = 1001);
    CHANGES(f.options.confidence = 0.26f);
    CHANGES(f.options.iou = 0.46f);
    CHANGES(f.options.max_detections = 299);
    CHANGES(f.options.multi_label = true);
    CHANGES(nx_postprocess_allow_class(&f.options, 0));
    CHANGES(nx_postprocess_allow_class(&f.options, 1023));

    /* a picture is no other's beginning */
    uint8_t shorter[NX_PREDICTION_KEY];
    nx_prediction_key(&f.keys, &f.question, f.picture, sizeof f.picture - 1, shorter);
    assert_memory_not_equal(shorter, key, sizeof key);
}

static void everything_that_matters_is_in_the_key(void **state)
{
    (void)state;
    check_all(false);
    check_all(true);
}

static void processes_agree_when_they_share_and_only_then(void **state)
{
    (void)state;
    for (int shared = 0; shared < 2; shared++) {
        fixture f;
        uint8_t key[NX_PREDICTION_KEY];
        make(&f, shared == 1);
        nx_prediction_key(&f.keys, &f.question, f.picture, sizeof f.picture, key);
        f.keys = nx_prediction_keys_new(shared == 1); /* as another process makes them */
        assert_int_equal(has_key(&f, key), shared == 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_that_matters_is_in_the_key),
        cmocka_unit_test(processes_agree_when_they_share_and_only_then),
    };
    return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
