/* SPDX-License-Identifier: MIT */
/* For a thread that may wait: curl's easy interface. Each call has a connection of its own, for curl 7.88 fails
 * when it uses one again that it knew to speak HTTP/2 (fixed in 8.0), and to this machine it costs little.
 * The status of a call comes as a header of its own, behind the body or, where there is none,
 * with the others ("gRPC over HTTP2", Responses). */
#include "uplink/grpc.h"

#include "uplink/uplink.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <strings.h>

struct call {
    struct buf *answer;
    size_t max_bytes;
    int *status;
};

static size_t on_body(char *from, size_t size, size_t n, void *ctx)
{
    struct call *c = ctx;
    n *= size;
    if (n > c->max_bytes - c->answer->len || buf_append(c->answer, from, n) != 0)
        return 0;
    return n;
}

static size_t on_header(char *from, size_t size, size_t n, void *ctx)
{
    struct call *c = ctx;
    static const char name[] = "grpc-status:";
    const size_t name_n = sizeof name - 1;
    char value[16] = "";
    n *= size;
    if (n <= name_n || n - name_n >= sizeof value || strncasecmp(from, name, name_n) != 0)
        return n;
    memcpy(value, from + name_n, n - name_n);
    *c->status = (int)strtol(value, NULL, 10);
    return n;
}

static struct curl_slist *headers(uint32_t timeout_ms)
{
    char timeout[48];
    snprintf(timeout, sizeof timeout, "grpc-timeout: %um", (unsigned)timeout_ms);
    const char *const lines[] = {"content-type: application/grpc", "te: trailers", timeout, "accept:"};
    struct curl_slist *list = NULL;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct curl_slist *longer = curl_slist_append(list, lines[i]);
        if (!longer) {
            curl_slist_free_all(list);
            return NULL;
        }
        list = longer;
    }
    return list;
}

int uplink_grpc_call(const char *url, struct str body, uint32_t timeout_ms, size_t max_bytes, struct buf *answer,
                     int *status)
{
    struct call call = {answer, max_bytes, status};
    CURL *c = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? curl_easy_init() : NULL;
    struct curl_slist *list = c ? headers(timeout_ms) : NULL;
    long http_status = 0;
    if (!list) {
        curl_easy_cleanup(c);
        return UPLINK_FAILED;
    }
    buf_clear(answer);
    *status = -1;
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http");
    curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE);
    curl_easy_setopt(c, CURLOPT_NOPROXY, "*"); /* it is a program of this machine */
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, list);
    curl_easy_setopt(c, CURLOPT_POSTFIELDS, body.p);
    curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE, (long)body.n);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, &call);
    curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(c, CURLOPT_HEADERDATA, &call);
    CURLcode code = curl_easy_perform(c);
    if (code == CURLE_OK)
        curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &http_status);
    curl_easy_cleanup(c);
    curl_slist_free_all(list);
    return code == CURLE_OK && http_status == 200 ? 0 : UPLINK_FAILED;
}
