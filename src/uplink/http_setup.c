/* SPDX-License-Identifier: MIT */
#include "uplink/http.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/err.h"
#include "loop/proxy.h"
#include "uplink/certs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
    CONNECT_MS = 30000, /* as Go's */
    BUFFER_BYTES = 64 << 10, /* of a transfer, each direction */
    MAX_REDIRECTS = 10,
    KEEPALIVE_S = 30,
};

static const struct {
    CURLoption option;
    long value;
} fixed[] = {
    {CURLOPT_NOSIGNAL, 1},
    {CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS},
    {CURLOPT_TCP_KEEPALIVE, 1},
    {CURLOPT_TCP_KEEPIDLE, KEEPALIVE_S},
    {CURLOPT_TCP_KEEPINTVL, KEEPALIVE_S / 2},
    {CURLOPT_BUFFERSIZE, BUFFER_BYTES},
    {CURLOPT_UPLOAD_BUFFERSIZE, BUFFER_BYTES},
    {CURLOPT_HTTP09_ALLOWED, 0},
    /* curl takes Authorization and Cookie off when a redirect leaves the host, port or scheme */
    {CURLOPT_FOLLOWLOCATION, 1},
    {CURLOPT_MAXREDIRS, MAX_REDIRECTS},
    {CURLOPT_UNRESTRICTED_AUTH, 0},
    {CURLOPT_SUPPRESS_CONNECT_HEADERS, 1},
    {CURLOPT_HEADEROPT, CURLHEADER_SEPARATE},
#if LIBCURL_VERSION_NUM >= 0x075700
    {CURLOPT_QUICK_EXIT, 1}, /* a cancelled request does not wait for the resolver */
#endif
};

static bool set_fixed(CURL *e)
{
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++)
        if (curl_easy_setopt(e, fixed[i].option, fixed[i].value) != CURLE_OK)
            return false;
#if LIBCURL_VERSION_NUM >= 0x075500
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(e, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
#else
    curl_easy_setopt(e, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
    curl_easy_setopt(e, CURLOPT_REDIR_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
    return true;
}

/* ---- headers ---- */

static bool add_header(struct curl_slist **list, const char *line)
{
    struct curl_slist *more = curl_slist_append(*list, line);
    *list = more ? more : *list;
    return more != NULL;
}

/* Every line of `text` to the list; "Name:" without a value is sent empty, as Go does. */
static bool add_headers(struct curl_slist **list, const char *text)
{
    for (const char *p = text; p && *p;) {
        size_t n = strcspn(p, "\r\n");
        const char *colon = memchr(p, ':', n);
        if (colon && colon > p) {
            AUTO_FREE char *line = mem_strndup(p, n);
            if (line && colon[1 + strspn(colon + 1, " \t")] == p[n])
                line[colon - p] = ';';
            if (line && line[colon - p] == ';')
                line[colon - p + 1] = '\0';
            if (!line || !add_header(list, line))
                return false;
        }
        p += n + strspn(p + n, "\r\n");
    }
    return true;
}

static bool has_header(const char *text, const char *name)
{
    size_t n = strlen(name);
    for (const char *p = text; p && *p; p += strcspn(p, "\n"), p += *p == '\n')
        if (strncasecmp(p, name, n) == 0 && p[n] == ':')
            return true;
    return false;
}

/* What curl adds by itself and Go does not is taken off. */
static bool set_headers(struct http_work *w)
{
    static const char *const own[] = {"Expect", "Accept", "Content-Type"};
    const char *text = w->r->headers;
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
        char none[32];
        snprintf(none, sizeof none, "%s:", own[i]);
        if (!has_header(text, own[i]) && !add_header(&w->headers, none))
            return false;
    }
    if (!add_headers(&w->headers, text))
        return false;
    /* a part of a file must come as it lies there */
    if (!has_header(text, "Accept-Encoding") && !has_header(text, "Range"))
        curl_easy_setopt(w->easy, CURLOPT_ACCEPT_ENCODING, "gzip");
    return curl_easy_setopt(w->easy, CURLOPT_HTTPHEADER, w->headers) == CURLE_OK;
}

/* ---- the rest ---- */

static bool set_method(struct http_work *w)
{
    const struct http_request *r = w->r;
    CURL *e = w->easy;
    curl_off_t n = (curl_off_t)(r->body_fd >= 0 ? r->body_bytes : r->body.n);
    bool is_post = strcmp(r->method, "POST") == 0, is_put = strcmp(r->method, "PUT") == 0;
    w->up.offset = r->body_at;
    w->down_at = r->to_at;
    if (strcmp(r->method, "GET") == 0)
        return curl_easy_setopt(e, CURLOPT_HTTPGET, 1L) == CURLE_OK;
    if (strcmp(r->method, "HEAD") == 0)
        return curl_easy_setopt(e, CURLOPT_NOBODY, 1L) == CURLE_OK;
    if (is_post || (!is_put && n > 0)) {
        curl_easy_setopt(e, CURLOPT_POST, 1L);
        curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, n);
    } else if (is_put) {
        curl_easy_setopt(e, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(e, CURLOPT_INFILESIZE_LARGE, n);
    }
    return is_post || is_put || curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, r->method) == CURLE_OK;
}

static bool set_callbacks(struct http_work *w)
{
    CURL *e = w->easy;
    return curl_easy_setopt(e, CURLOPT_PRIVATE, w) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_ERRORBUFFER, w->curl_text) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_READFUNCTION, http_on_read) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_READDATA, w) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_SEEKFUNCTION, http_on_seek) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_SEEKDATA, w) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, http_on_write) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_WRITEDATA, w) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, http_on_header) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_HEADERDATA, w) == CURLE_OK;
}

/* Plain HTTP stays with 1.1. So do files: several connections bring them faster than one. */
static bool set_version(struct http_work *w, const struct url_parts *url)
{
    bool many = url->https && w->r->body_fd < 0 && w->r->to_fd < 0;
    if (many)
        curl_easy_setopt(w->easy, CURLOPT_PIPEWAIT, 1L);
    return curl_easy_setopt(w->easy, CURLOPT_HTTP_VERSION,
                            many ? (long)CURL_HTTP_VERSION_2TLS : (long)CURL_HTTP_VERSION_1_1) == CURLE_OK;
}

static const char *set_or(const char *a, const char *b)
{
    return a && *a ? a : b;
}

bool http_wants_certs(const struct http_work *w)
{
    const struct http_route *route = w->r->route;
    struct url_parts url;
    return url_split(w->r->url, &url) && url.https &&
           !(route && (route->insecure || (route->ca_file && *route->ca_file)));
}

static bool set_route(struct http_work *w, const struct url_parts *url, const struct certs *certs)
{
    static const struct http_route none;
    const struct http_route *route = w->r->route ? w->r->route : &none;
    CURL *e = w->easy;
    const char *own = url->https ? route->proxy_https : route->proxy_http;
    const char *ca = set_or(route->ca_file, getenv("SSL_CERT_FILE"));
    if (curl_easy_setopt(e, CURLOPT_PROXY, set_or(own, proxy_from_environment(url))) != CURLE_OK ||
        curl_easy_setopt(e, CURLOPT_NOPROXY, "") != CURLE_OK ||
        !add_headers(&w->proxy_headers, route->proxy_headers))
        return false;
    if (w->proxy_headers)
        curl_easy_setopt(e, CURLOPT_PROXYHEADER, w->proxy_headers);
    if (certs->store && http_wants_certs(w)) {
        if (!certs_give(certs, e))
            return false;
    } else if (ca && *ca) {
        curl_easy_setopt(e, CURLOPT_CAINFO, ca);
    }
    if (route->insecure) {
        curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    return true;
}

/* Bytes that cannot stand in an address are escaped, as Go's client does: backends have put names
 * of files into upload addresses as they were. */
static bool set_url(struct http_work *w)
{
    struct buf url = {0};
    for (const unsigned char *p = (const unsigned char *)w->r->url; *p; p++)
        if (*p <= ' ' || *p >= 0x7f || strchr("\"<>\\^`{|}", *p))
            buf_printf(&url, "%%%02X", *p);
        else
            buf_putc(&url, (char)*p);
    const char *z = buf_z(&url);
    bool ok = z && curl_easy_setopt(w->easy, CURLOPT_URL, z) == CURLE_OK;
    buf_fini(&url);
    return ok;
}

int http_setup(struct http_work *w, const struct certs *certs)
{
    struct url_parts url;
    const struct http_request *r = w->r;
    w->easy = curl_easy_init();
    bool ok = w->easy && url_split(r->url, &url) && set_fixed(w->easy) && set_callbacks(w) &&
              set_method(w) && set_headers(w) && set_version(w, &url) && set_route(w, &url, certs) &&
              set_url(w) &&
              curl_easy_setopt(w->easy, CURLOPT_TIMEOUT_MS, (long)r->timeout_ms) == CURLE_OK;
    return ok ? 0 : TARE_ENOMEM;
}

/* ---- what went wrong ---- */

static const struct {
    CURLcode code;
    int error;
} errors[] = {
    {CURLE_UNSUPPORTED_PROTOCOL, TARE_EPROTO},
    {CURLE_URL_MALFORMAT, TARE_EINVAL},
    {CURLE_COULDNT_RESOLVE_PROXY, UV_EAI_NONAME},
    {CURLE_COULDNT_RESOLVE_HOST, UV_EAI_NONAME},
    {CURLE_COULDNT_CONNECT, UV_ECONNREFUSED},
    {CURLE_PARTIAL_FILE, UV_EOF},
    {CURLE_GOT_NOTHING, UV_ECONNRESET},
    {CURLE_SEND_ERROR, UV_ECONNRESET},
    {CURLE_RECV_ERROR, UV_ECONNRESET},
    {CURLE_OUT_OF_MEMORY, TARE_ENOMEM},
    {CURLE_OPERATION_TIMEDOUT, TARE_ETIMEOUT},
    {CURLE_TOO_MANY_REDIRECTS, TARE_EPROTO},
    {CURLE_PEER_FAILED_VERIFICATION, TARE_EPERM},
    {CURLE_SSL_CACERT_BADFILE, TARE_EINVAL},
    {CURLE_SSL_CONNECT_ERROR, TARE_EPROTO},
    {CURLE_WEIRD_SERVER_REPLY, TARE_EPROTO},
    {CURLE_BAD_CONTENT_ENCODING, TARE_EPROTO},
    {CURLE_HTTP2, TARE_EPROTO},
    {CURLE_HTTP2_STREAM, TARE_EPROTO},
};

static int error_of(struct http_work *w, CURLcode code)
{
    long os_error = 0;
    if (code == CURLE_COULDNT_CONNECT && w->easy)
        curl_easy_getinfo(w->easy, CURLINFO_OS_ERRNO, &os_error);
    if (os_error > 0)
        return -(int)os_error;
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++)
        if (errors[i].code == code)
            return errors[i].error;
    return TARE_EIO;
}

static const char *own_words(int error)
{
    switch (error) {
    case UV_EOF: return "the file became shorter while it was sent";
    case TARE_ELIMIT: return "the answer is too long";
    case TARE_ETIMEOUT: return "no byte has moved for too long";
    default: return err_text(error);
    }
}

void http_explain(struct http_work *w, CURLcode code)
{
    struct http_request *r = w->r;
    if (w->error) {
        r->error = w->error;
        snprintf(r->why, sizeof r->why, "%s", own_words(w->error));
    } else if (code != CURLE_OK) {
        r->error = error_of(w, code);
        const char *text = w->curl_text[0] ? w->curl_text : curl_easy_strerror(code);
        snprintf(r->why, sizeof r->why, "%s", text);
    }
}
