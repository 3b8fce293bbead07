/* What a failed request to the Docker Engine is reported as, word for word. */
#include "executors/docker/engine_error.h"
#include "tests/unit/check.h"

#include <errno.h>

static struct tn_engine_request_name name = {
    .address = "unix:///var/run/docker.sock",
    .method = "POST",
    .path = "/containers/create?name=x",
    .deadline_ms = 1500,
};

static void expect_transport(enum tn_http_end end, int sys, const char *text)
{
    struct tn_http_result result = {.end = end, .sys = sys, .detail = "Empty reply from server"};
    struct tn_err err = TN_ERR_INIT;

    tn_engine_error_transport(&name, &result, &err);
    CHECK_INT(err.code, TN_ERR_UNAVAILABLE);
    CHECK_INT(err.sys, sys);
    CHECK_STR(err.text, text);
}

static void expect_status(int status, const char *answer, enum tn_err_code code, const char *text)
{
    struct tn_err err = TN_ERR_INIT;
    cJSON *json = answer != NULL ? cJSON_Parse(answer) : NULL;

    tn_engine_error_status(&name, status, json, answer, &err);
    CHECK_INT(err.code, code);
    CHECK_STR(err.text, text);
    cJSON_Delete(json);
}

static void test_transport(void)
{
    expect_transport(TN_HTTP_NO_CONNECT, ENOENT,
                     "no Docker Engine answers at unix:///var/run/docker.sock: No such file or directory; start it "
                     "(systemctl start docker), set DOCKER_HOST, or use --executor docker=machine");
    expect_transport(TN_HTTP_NO_CONNECT, ECONNREFUSED,
                     "no Docker Engine answers at unix:///var/run/docker.sock: Connection refused; start it "
                     "(systemctl start docker), set DOCKER_HOST, or use --executor docker=machine");
    expect_transport(
        TN_HTTP_NO_CONNECT, EACCES,
        "the Docker Engine at unix:///var/run/docker.sock cannot be reached: Permission denied; add the user "
        "to group docker (usermod -aG docker NAME, then log in again), set DOCKER_HOST, or use --executor "
        "docker=machine");
    expect_transport(TN_HTTP_TIMEOUT, 0,
                     "the Docker Engine at unix:///var/run/docker.sock did not finish POST /containers/create?name=x "
                     "within 1.500 s; it may be overloaded or hang (journalctl -u docker)");
    expect_transport(TN_HTTP_BROKEN, 0,
                     "the Docker Engine at unix:///var/run/docker.sock broke off the answer to POST "
                     "/containers/create?name=x: Empty reply from server; it was stopped, or something else answers at "
                     "that address");
}

static void test_status(void)
{
    expect_status(
        409, "{\"message\":\"Conflict. The name is already in use by container \\\"1\\\".\"}", TN_ERR_CONFLICT,
        "Docker Engine at unix:///var/run/docker.sock: POST /containers/create?name=x: HTTP 409: Conflict. The "
        "name is already in use by container \"1\".; remove the container that has the name (docker rm -f), "
        "or use it");
    expect_status(
        404, "{\"message\":\"No such image: a:b\"}", TN_ERR_NOT_FOUND,
        "Docker Engine at unix:///var/run/docker.sock: POST /containers/create?name=x: HTTP 404: No such image: "
        "a:b; pull or load it into this engine first, or check its name");
    expect_status(
        400, "bad\r\nparameter", TN_ERR_CONFIG,
        "Docker Engine at unix:///var/run/docker.sock: POST /containers/create?name=x: HTTP 400: bad parameter");
    expect_status(500, NULL, TN_ERR_UNAVAILABLE,
                  "Docker Engine at unix:///var/run/docker.sock: POST /containers/create?name=x: HTTP 500: no text");
    expect_status(302, "{}", TN_ERR_PROTOCOL,
                  "Docker Engine at unix:///var/run/docker.sock: POST /containers/create?name=x: HTTP 302: {}");
}

static void test_pull(void)
{
    struct tn_image_ref ref;
    struct tn_err err = TN_ERR_INIT;
    struct tn_err decoder = {TN_ERR_UNAVAILABLE, 0, "manifest unknown"};

    CHECK(tn_image_ref_parse("r.example/x:1", &ref, &err) == 0);
    name.image = &ref;
    name.is_pull = true;
    tn_engine_error_stream(&name, &decoder, &err);
    CHECK_INT(err.code, TN_ERR_UNAVAILABLE);
    CHECK_STR(err.text,
              "manifest unknown"); /* pull_error.h says what it means */
    name.is_pull = false;
    decoder = (struct tn_err){TN_ERR_LIMIT, 0, "too much"};
    tn_engine_error_stream(&name, &decoder, &err);
    CHECK_INT(err.code, TN_ERR_LIMIT);
    CHECK_STR(err.text, "Docker Engine at unix:///var/run/docker.sock: POST /containers/create?name=x: too much");
}

int main(void)
{
    test_transport();
    test_status();
    test_pull();
    return tn_check_result();
}
