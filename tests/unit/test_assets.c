#include "testing.h"

#include "web/assets.h"

/* Without the Meson option web_dist the table is empty, which is right and tested too. */
static void need_page(void)
{
    size_t count = 0;
    nx_assets(&count);
    if (count == 0) {
        fprintf(stderr, "SKIPPED: built without the web page (Meson option web_dist)\n");
        skip();
    }
}

static void unknown_paths_are_not_found(void **state)
{
    (void)state;
    assert_null(nx_asset_find(NULL));
    assert_null(nx_asset_find(""));
    assert_null(nx_asset_find("/no-such-file"));
    assert_null(nx_asset_find("/assets/"));
    assert_null(nx_asset_find("/../etc/passwd"));
    assert_null(nx_asset_find("index.html"));
    assert_null(nx_asset_find("/index.html")); /* one resource, one path */
}

static void every_asset_is_found_and_sorted(void **state)
{
    (void)state;
    size_t count = 0;
    const nx_asset *assets = nx_assets(&count);
    for (size_t i = 0; i < count; i++) {
        assert_ptr_equal(nx_asset_find(assets[i].path), &assets[i]);
        if (i > 0) {
            assert_true(strcmp(assets[i - 1].path, assets[i].path) < 0);
        }
    }
}

static void assert_asset(const char *path, const char *mime_type, const char *part)
{
    const nx_asset *asset = nx_asset_find(path);
    assert_non_null(asset);
    assert_string_equal(asset->mime_type, mime_type);
    assert_non_null(memmem(asset->data, asset->size, part, strlen(part)));
}

static void pages_are_where_they_should_be(void **state)
{
    (void)state;
    need_page();
    assert_asset("/", "text/html; charset=utf-8", "<title>Nexus</title>");
    assert_asset("/docs", "text/html; charset=utf-8", "swagger-ui");
    assert_asset("/openapi.json", "application/json", "\"/api/v1/inference/image\"");
    assert_asset("/assets/app.js", "text/javascript; charset=utf-8", "/api/v1/inference/image");
    assert_asset("/assets/app.css", "text/css; charset=utf-8", "{");
    assert_asset("/assets/app.LICENSE.txt", "text/plain; charset=utf-8", "preact");
    assert_asset("/favicon.svg", "image/svg+xml", "<svg");
}

/* RFC 1952: magic, no time stamp, and the plain size at the end. */
static void gzip_forms_are_of_the_same_bytes(void **state)
{
    (void)state;
    need_page();
    size_t count = 0;
    size_t packed = 0;
    const nx_asset *assets = nx_assets(&count);
    for (size_t i = 0; i < count; i++) {
        const nx_asset *asset = &assets[i];
        if (asset->gzip_data == NULL) {
            assert_int_equal(asset->gzip_size, 0);
            continue;
        }
        packed++;
        assert_true(asset->gzip_size > 18 && asset->gzip_size * 10 < asset->size * 9);
        assert_memory_equal(asset->gzip_data, "\x1f\x8b\x08\x00\x00\x00\x00\x00", 8);
        const unsigned char *end = asset->gzip_data + asset->gzip_size;
        uint32_t plain = (uint32_t)end[-4] | (uint32_t)end[-3] << 8 | (uint32_t)end[-2] << 16 |
                         (uint32_t)end[-1] << 24;
        assert_int_equal(plain, asset->size);
    }
    assert_true(packed > 0);
}

static void etags_are_strong_and_differ(void **state)
{
    (void)state;
    need_page();
    size_t count = 0;
    const nx_asset *assets = nx_assets(&count);
    for (size_t i = 0; i < count; i++) {
        const char *etag = assets[i].etag;
        assert_true(etag[0] == '"' && strlen(etag) == 34 && etag[33] == '"');
        char of_gzip[NX_ASSET_ETAG_SIZE];
        nx_asset_gzip_etag(&assets[i], of_gzip);
        assert_int_equal(strlen(of_gzip), 39);
        assert_memory_equal(of_gzip, etag, 33);
        assert_string_equal(of_gzip + 33, "-gzip\"");
        for (size_t j = 0; j < i; j++) {
            assert_string_not_equal(etag, assets[j].etag);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unknown_paths_are_not_found),
        cmocka_unit_test(every_asset_is_found_and_sorted),
        cmocka_unit_test(pages_are_where_they_should_be),
        cmocka_unit_test(gzip_forms_are_of_the_same_bytes),
        cmocka_unit_test(etags_are_strong_and_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
