#include "models.h"

#include "engine/provider.h"
#include "engine/session.h"

static nx_runtime *runtime;

static int setup(void **state)
{
    if (access(models_data_path("lib/libonnxruntime.so.1"), R_OK) == 0) {
        runtime = models_runtime();
    }
    return scratch_make(state);
}

static int teardown(void **state)
{
    nx_runtime_free(runtime);
    return scratch_remove(state);
}

static void a_device_means_providers_in_order(void **state)
{
    (void)state;
    static const struct {
        nx_device device;
        size_t count;
        nx_provider expected[NX_MAX_PROVIDERS];
    } cases[] = {
        {{.kind = NX_DEVICE_CPU}, 1, {NX_PROVIDER_CPU}},
        {{.kind = NX_DEVICE_CUDA}, 1, {NX_PROVIDER_CUDA}},
        {{.kind = NX_DEVICE_AUTO}, 2, {NX_PROVIDER_CUDA, NX_PROVIDER_CPU}},
        {{.kind = NX_DEVICE_CUDA, .tensorrt = true}, 1, {NX_PROVIDER_TENSORRT}},
        {{.kind = NX_DEVICE_AUTO, .tensorrt = true},
         3,
         {NX_PROVIDER_TENSORRT, NX_PROVIDER_CUDA, NX_PROVIDER_CPU}},
        {{.kind = NX_DEVICE_AUTO, .tensorrt = true, .tensorrt_only = true},
         1,
         {NX_PROVIDER_TENSORRT}},
    };
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        nx_provider got[NX_MAX_PROVIDERS];
        nx_error err = {0};
        assert_int_equal(nx_provider_candidates(&cases[i].device, got, &err), cases[i].count);
        assert_memory_equal(got, cases[i].expected, cases[i].count * sizeof *got);
    }
    nx_provider got[NX_MAX_PROVIDERS];
    assert_int_equal(nx_provider_candidates(NULL, got, NULL), 1);
    assert_int_equal(got[0], NX_PROVIDER_CPU);
}

static void devices_that_contradict_themselves_are_told(void **state)
{
    (void)state;
    static const nx_device cases[] = {
        {.kind = NX_DEVICE_CPU, .tensorrt = true},
        {.kind = NX_DEVICE_CPU, .fp16 = true},
        {.kind = NX_DEVICE_AUTO, .tensorrt_only = true},
    };
    static const char *const words[] = {"INFERENCE_DEVICE is cpu", "USE_FP16", "USE_ONNX=false"};
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        nx_provider got[NX_MAX_PROVIDERS];
        nx_error err = {0};
        assert_int_equal(nx_provider_candidates(&cases[i], got, &err), 0);
        assert_int_equal(err.status, NX_ERR_INVALID);
        nx_assert_contains(err.message, words[i]);
    }
}

static void half_precision_that_nothing_gives_is_noticed(void **state)
{
    (void)state;
    static const nx_device asked = {.kind = NX_DEVICE_CUDA, .fp16 = true};
    static const nx_device not_asked = {.kind = NX_DEVICE_CUDA};
    assert_true(nx_provider_leaves_fp16(&asked, NX_PROVIDER_CUDA, NX_TYPE_FLOAT32));
    assert_true(nx_provider_leaves_fp16(&asked, NX_PROVIDER_CUDA, NX_TYPE_UINT8));
    assert_false(nx_provider_leaves_fp16(&asked, NX_PROVIDER_CUDA, NX_TYPE_FLOAT16));
    assert_false(nx_provider_leaves_fp16(&asked, NX_PROVIDER_TENSORRT, NX_TYPE_FLOAT32));
    assert_false(nx_provider_leaves_fp16(&asked, NX_PROVIDER_CPU, NX_TYPE_FLOAT32));
    assert_false(nx_provider_leaves_fp16(&not_asked, NX_PROVIDER_CUDA, NX_TYPE_FLOAT32));
}

static void the_likely_device_is_told_before_anything_is_opened(void **state)
{
    (void)state;
    bool gpu = access("/dev/nvidiactl", F_OK) == 0 || access("/dev/dxg", F_OK) == 0 ||
               access("/dev/nvhost-gpu", F_OK) == 0;
    const nx_device cuda = {.kind = NX_DEVICE_CUDA};
    const nx_device choice = {.kind = NX_DEVICE_AUTO};
    assert_string_equal(nx_session_likely_device(&(nx_device){0}), "cpu");
    assert_string_equal(nx_session_likely_device(&cuda), "cuda");
    assert_string_equal(nx_session_likely_device(&choice), gpu ? "cuda" : "cpu");
}

/* On a machine with a GPU it opens; on any other it says what is missing. */
static void a_gpu_that_is_asked_for_is_there_or_missed(void **state)
{
    NX_NEED_RUNTIME();
    const tiny_model tiny = TINY_YOLOV8;
    char path[PATH_MAX];
    char cache[PATH_MAX];
    snprintf(path, sizeof path, "%s", tiny_model_write(state, "tiny.onnx", &tiny));
    snprintf(cache, sizeof cache, "%s", scratch_path(state, "cache"));
    for (int tensorrt = 0; tensorrt < 2; tensorrt++) {
        const char *name = tensorrt != 0 ? "TensorrtExecutionProvider" : "CUDAExecutionProvider";
        const nx_device device = {
            .kind = NX_DEVICE_CUDA, .tensorrt = tensorrt != 0, .cache_dir = cache};
        nx_session *session = NULL;
        nx_error err = {0};
        nx_status status = nx_session_open(runtime, path, &(nx_session_options){.device = &device},
                                           &session, &err);
        if (status == NX_OK) {
            assert_string_equal(nx_session_provider(session), name);
        } else {
            assert_int_equal(status, NX_ERR_UNAVAILABLE);
            assert_null(session);
            nx_assert_contains(err.message, name);
            nx_assert_contains(err.message, " cannot be used: ");
            nx_assert_contains(err.message, "CPUExecutionProvider"); /* what was found */
            nx_assert_contains(err.message, "NEXUS_ORT_LIBRARY");
            nx_assert_contains(err.message, "INFERENCE_DEVICE=auto or cpu");
        }
        nx_session_free(session);
    }
}

static void auto_takes_what_is_there(void **state)
{
    NX_NEED_RUNTIME();
    const tiny_model tiny = TINY_YOLOV8;
    const char *path = tiny_model_write(state, "tiny.onnx", &tiny);
    const nx_model_options options = {
        .device = {.kind = NX_DEVICE_AUTO, .tensorrt = true, .fp16 = true}};
    nx_model *model = NULL;
    nx_error err = {0};
    nx_assert_ok(nx_model_open(runtime, path, &options, &model, &err), err);
    const nx_model_spec *spec = nx_model_get_spec(model);
    nx_assert_contains(spec->provider, "ExecutionProvider");
    assert_true(strcmp(spec->device, "cpu") == 0 || strcmp(spec->device, "cuda") == 0 ||
                strcmp(spec->device, "tensorrt") == 0);
    assert_int_equal(spec->device[0] == 'c' && spec->device[1] == 'p',
                     strcmp(spec->provider, "CPUExecutionProvider") == 0);
    nx_model_free(model);
}

static void memory_for_inputs_outlives_its_session(void **state)
{
    NX_NEED_RUNTIME();
    const tiny_model tiny = TINY_YOLOV8;
    const char *path = tiny_model_write(state, "tiny.onnx", &tiny);
    nx_session *session = NULL;
    nx_error err = {0};
    nx_assert_ok(nx_session_open(runtime, path, &(nx_session_options){0}, &session, &err), err);
    unsigned char *memory = nx_session_allocate(session, 100000);
    assert_non_null(memory);
    assert_int_equal((uintptr_t)memory % 64, 0);
    nx_session_free(session);
    memset(memory, 7, 100000);
    assert_int_equal(memory[99999], 7);
    nx_session_release(memory);
    nx_session_release(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_device_means_providers_in_order),
        cmocka_unit_test(devices_that_contradict_themselves_are_told),
        cmocka_unit_test(half_precision_that_nothing_gives_is_noticed),
        cmocka_unit_test(the_likely_device_is_told_before_anything_is_opened),
        cmocka_unit_test(a_gpu_that_is_asked_for_is_there_or_missed),
        cmocka_unit_test(auto_takes_what_is_there),
        cmocka_unit_test(memory_for_inputs_outlives_its_session),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
