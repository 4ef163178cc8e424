/* SPDX-License-Identifier: MIT */
/* Sources: "Signature Version 4", Amazon S3 API Reference; "Authorize with Shared Key" and "List Blobs", Azure
 * Storage REST reference; "JSON API", Google Cloud Storage, and "Using OAuth 2.0 for Server to Server
 * Applications", Google Identity; the settings' names from the providers' command lines. */
#include "service/upload/cloud.h"

#include "base/alloc.h"
#include "base/base64.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/os.h"
#include "base/sigv4.h"
#include "loop/module.h"
#include "service/upload/json_path.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <time.h>

enum { CREDENTIALS_BYTES = 1 << 20, TOKEN_LIFE_S = 3600, SIGNATURE_BYTES = 1024 };

#define EMPTY_SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define AZURE_VERSION "2021-08-06"
#define AZURE_HOSTS ".blob.core.windows.net"

static const char *env(const char *name)
{
    const char *v = getenv(name);
    return v && *v ? v : NULL;
}

static char *keep(const char *v)
{
    return v ? xmem_strdup(v) : NULL;
}

/* Without a slash at the end, with a scheme. Heap. */
static char *endpoint_of(const char *v)
{
    AUTO_BUF text = {0};
    if (!v)
        return NULL;
    struct str s = str_of(v);
    while (s.n > 0 && s.p[s.n - 1] == '/')
        s.n--;
    if (!memmem(s.p, s.n, "://", 3))
        buf_puts(&text, "http://");
    buf_put_str(&text, s);
    return xmem_strndup(text.data, text.len);
}

/* ---- Amazon ---- */

static struct str trimmed(struct str s)
{
    while (s.n > 0 && (*s.p == ' ' || *s.p == '\t'))
        s = str_make(s.p + 1, s.n - 1);
    while (s.n > 0 && strchr(" \t\r", s.p[s.n - 1]))
        s.n--;
    return s;
}

static void take(char **to, struct str value)
{
    if (!*to && value.n > 0)
        *to = xmem_strndup(value.p, value.n);
}

/* One line of the profile's section. */
static void take_setting(struct cloud *c, struct str line, bool is_keys)
{
    const char *eq = line.n ? memchr(line.p, '=', line.n) : NULL;
    if (!eq)
        return;
    struct str name = trimmed(str_make(line.p, (size_t)(eq - line.p)));
    struct str value = trimmed(str_make(eq + 1, (size_t)(line.p + line.n - eq - 1)));
    if (is_keys && str_eqz(name, "aws_access_key_id"))
        take(&c->s3_key, value);
    else if (is_keys && str_eqz(name, "aws_secret_access_key"))
        take(&c->s3_secret, value);
    else if (is_keys && str_eqz(name, "aws_session_token"))
        take(&c->s3_session, value);
    else if (str_eqz(name, "region"))
        take(&c->s3_region, value);
    else if (str_eqz(name, "endpoint_url"))
        take(&c->s3_endpoint, value);
}

static bool is_section(struct str line, const char *profile, bool is_config)
{
    AUTO_BUF wanted = {0};
    bool is_named = is_config && strcmp(profile, "default") != 0;
    buf_printf(&wanted, is_named ? "[profile %s]" : "[%s]", profile);
    return str_eq(line, buf_str(&wanted));
}

static void read_profile(struct cloud *c, const char *variable, const char *name, bool is_config, bool is_keys)
{
    AUTO_BUF path = {0}, text = {0};
    const char *profile = env("AWS_PROFILE"), *other = env(variable), *home = env("HOME");
    bool is_in = false;
    if (!other && !home)
        return;
    if (other)
        buf_puts(&path, other);
    else
        buf_printf(&path, "%s/.aws/%s", home, name);
    if (os_read_file(buf_z(&path), CREDENTIALS_BYTES, &text))
        return;
    for (size_t at = 0; at < text.len;) {
        const char *p = text.data + at, *nl = memchr(p, '\n', text.len - at);
        struct str line = str_make(p, nl ? (size_t)(nl - p) : text.len - at);
        at += line.n + 1;
        line = trimmed(line);
        if (line.n > 0 && *line.p == '[')
            is_in = is_section(line, profile ? profile : "default", is_config);
        else if (is_in && line.n > 0 && *line.p != '#' && *line.p != ';')
            take_setting(c, line, is_keys);
    }
}

static void load_s3(struct cloud *c)
{
    const char *region = env("AWS_REGION"), *endpoint = env("AWS_ENDPOINT_URL_S3");
    c->s3_key = keep(env("AWS_ACCESS_KEY_ID"));
    c->s3_secret = keep(env("AWS_SECRET_ACCESS_KEY"));
    bool is_keyed = c->s3_key && c->s3_secret;
    if (is_keyed)
        c->s3_session = keep(env("AWS_SESSION_TOKEN"));
    c->s3_region = keep(region ? region : env("AWS_DEFAULT_REGION"));
    c->s3_endpoint = keep(endpoint ? endpoint : env("AWS_ENDPOINT_URL"));
    read_profile(c, "AWS_SHARED_CREDENTIALS_FILE", "credentials", false, !is_keyed);
    read_profile(c, "AWS_CONFIG_FILE", "config", true, !is_keyed);
    if (!c->s3_region)
        c->s3_region = xmem_strdup("us-east-1");
    char *given = c->s3_endpoint;
    c->s3_endpoint = endpoint_of(given);
    mem_free(given);
}

/* ---- Google ---- */

/* An assertion that this account may read, signed with its key: RFC 7523. */
static int put_assertion(struct str json, const char *token_url, struct buf *to, struct err *e)
{
    AUTO_FREE char *email = json_string_at(json, "client_email"), *key = json_string_at(json, "private_key");
    AUTO_FREE char *key_id = json_string_at(json, "private_key_id");
    unsigned char signature[SIGNATURE_BYTES];
    size_t n = sizeof signature;
    AUTO_BUF head = {0}, claims = {0}, text = {0};
    long long now = (long long)(clock_wall_ns() / 1000000000);
    const struct uplink *u = module_uplink();
    if (!email || !key || !u)
        return err_set(e, TARE_EFORMAT, "the Google credentials have no client_email and private_key");
    buf_printf(&head, "{\"alg\":\"RS256\",\"typ\":\"JWT\",\"kid\":\"%s\"}", key_id ? key_id : "");
    buf_printf(&claims,
               "{\"iss\":\"%s\",\"scope\":\"https://www.googleapis.com/auth/devstorage.read_only\",\"aud\":\"%s\","
               "\"iat\":%lld,\"exp\":%lld}",
               email, token_url, now, now + TOKEN_LIFE_S);
    base64_put(&text, BASE64_URL, head.data, head.len);
    buf_putc(&text, '.');
    base64_put(&text, BASE64_URL, claims.data, claims.len);
    if (text.failed || u->sign_rs256(key, strlen(key), text.data, text.len, signature, &n))
        return err_set(e, TARE_EFORMAT, "the private key of the Google credentials cannot be used");
    buf_puts(to, "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=");
    buf_put_str(to, buf_str(&text));
    buf_putc(to, '.');
    base64_put(to, BASE64_URL, signature, n);
    return 0;
}

static void put_field(struct buf *to, const char *name, const char *value)
{
    buf_printf(to, "%s%s=", to->len ? "&" : "", name);
    buf_put_percent(to, str_of(value ? value : ""), "");
}

static void put_refresh(struct str json, struct buf *to)
{
    static const char *const names[] = {"client_id", "client_secret", "refresh_token"};
    put_field(to, "grant_type", "refresh_token");
    for (int i = 0; i < 3; i++) {
        AUTO_FREE char *value = json_string_at(json, names[i]);
        put_field(to, names[i], value);
    }
}

static int read_google(struct cloud *c, struct str json, struct err *e)
{
    AUTO_FREE char *type = json_string_at(json, "type"), *given = json_string_at(json, "token_uri");
    AUTO_BUF body = {0};
    const char *url = given ? given : "https://oauth2.googleapis.com/token";
    int rc = 0;
    if (type && strcmp(type, "service_account") == 0)
        rc = put_assertion(json, url, &body, e);
    else if (type && strcmp(type, "authorized_user") == 0)
        put_refresh(json, &body);
    else
        rc = err_set(e, TARE_EUNSUPPORTED, "Google credentials of type '%.40s' are not supported", type ? type : "");
    if (rc)
        return rc;
    c->gcs.url = xmem_strdup(url);
    c->gcs.body = xmem_strndup(body.data, body.len);
    return 0;
}

static int load_gcs(struct cloud *c, struct err *e)
{
    const char *emulator = env("STORAGE_EMULATOR_HOST"), *endpoint = env("CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE");
    const char *file = env("GOOGLE_APPLICATION_CREDENTIALS"), *home = env("HOME");
    AUTO_BUF path = {0}, json = {0};
    const char *use = endpoint ? endpoint : emulator ? emulator : "https://storage.googleapis.com";
    c->gcs_endpoint = endpoint_of(use);
    if (emulator && !endpoint)
        return 0;
    if (file)
        buf_puts(&path, file);
    else
        buf_printf(&path, "%s/.config/gcloud/application_default_credentials.json", home ? home : "");
    int rc = os_read_file(buf_z(&path), CREDENTIALS_BYTES, &json);
    if (rc && file)
        return err_set(e, rc, "the Google credentials %s cannot be read: %s", file, err_text(rc));
    return rc ? 0 : read_google(c, buf_str(&json), e);
}

/* ---- Azure ---- */

/* "AccountName=x;AccountKey=y;BlobEndpoint=..." */
static struct str part_of(const char *connection, const char *name)
{
    size_t n = strlen(name);
    for (const char *p = connection; p && *p; p += strcspn(p, ";"), p += *p == ';')
        if (strncasecmp(p, name, n) == 0 && p[n] == '=')
            return str_make(p + n + 1, strcspn(p + n + 1, ";"));
    return (struct str){0};
}

static void load_azure_ad(struct cloud *c)
{
    const char *tenant = env("AZURE_TENANT_ID"), *id = env("AZURE_CLIENT_ID"), *secret = env("AZURE_CLIENT_SECRET");
    AUTO_BUF url = {0}, body = {0};
    if (c->azure_key_n || c->azure_sas || !tenant || !id || !secret)
        return;
    AUTO_FREE char *authority = endpoint_of(env("AZURE_AUTHORITY_HOST") ? env("AZURE_AUTHORITY_HOST")
                                                                        : "https://login.microsoftonline.com");
    buf_printf(&url, "%s/", authority);
    buf_put_percent(&url, str_of(tenant), "");
    buf_puts(&url, "/oauth2/v2.0/token");
    put_field(&body, "client_id", id);
    put_field(&body, "client_secret", secret);
    put_field(&body, "grant_type", "client_credentials");
    put_field(&body, "scope", "https://storage.azure.com/.default");
    c->azure.url = xmem_strndup(url.data, url.len);
    c->azure.body = xmem_strndup(body.data, body.len);
}

static int load_azure(struct cloud *c, struct err *e)
{
    const char *connection = env("AZURE_STORAGE_CONNECTION_STRING"), *key = env("AZURE_STORAGE_KEY");
    const char *sas = env("AZURE_STORAGE_SAS_TOKEN");
    struct str secret = part_of(connection, "AccountKey"), signature = part_of(connection, "SharedAccessSignature");
    take(&c->azure_account, part_of(connection, "AccountName"));
    take(&c->azure_account, str_of(env("AZURE_STORAGE_ACCOUNT")));
    if (secret.n == 0)
        secret = str_of(key);
    if (signature.n == 0)
        signature = str_of(sas);
    if (signature.n > 0 && *signature.p == '?')
        signature = str_make(signature.p + 1, signature.n - 1);
    char *endpoint = NULL;
    take(&endpoint, part_of(connection, "BlobEndpoint"));
    take(&endpoint, str_of(env("AZURE_STORAGE_SERVICE_ENDPOINT")));
    c->azure_endpoint = endpoint_of(endpoint);
    mem_free(endpoint);
    if (secret.n > 0 && !base64_get(secret, BASE64_STANDARD, c->azure_key, sizeof c->azure_key, &c->azure_key_n)) {
        c->azure_key_n = 0;
        return err_set(e, TARE_EFORMAT, "the key of the Azure account is no base64");
    }
    if (c->azure_key_n == 0)
        take(&c->azure_sas, signature);
    load_azure_ad(c);
    return 0;
}

/* ---- all ---- */

int cloud_load(struct cloud *c, bool wants_gcs, struct err *e)
{
    *c = (struct cloud){0};
    load_s3(c);
    int rc = load_azure(c, e);
    return rc ? rc : wants_gcs ? load_gcs(c, e) : 0;
}

static void fini_token(struct cloud_token *t)
{
    mem_free(t->url);
    mem_free(t->body);
    mem_free(t->bearer);
}

void cloud_fini(struct cloud *c)
{
    char *const all[] = {c->s3_key,       c->s3_secret,     c->s3_session,     c->s3_region, c->s3_endpoint,
                         c->gcs_endpoint, c->azure_account, c->azure_endpoint, c->azure_sas};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        mem_free(all[i]);
    fini_token(&c->gcs);
    fini_token(&c->azure);
    *c = (struct cloud){0};
}

/* ---- addresses ---- */

struct cloud_place cloud_place_of(struct str ref)
{
    static const struct {
        struct str scheme;
        enum cloud_kind kind;
    } schemes[] = {{STR("s3://"), CLOUD_S3}, {STR("gs://"), CLOUD_GCS}, {STR("http://"), CLOUD_HTTP}, {STR("https://"), CLOUD_HTTP}};
    struct cloud_place p = {0};
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        if (!str_starts(ref, schemes[i].scheme))
            continue;
        p.kind = schemes[i].kind;
        struct str rest = str_make(ref.p + schemes[i].scheme.n, ref.n - schemes[i].scheme.n);
        const char *slash = rest.n ? memchr(rest.p, '/', rest.n) : NULL;
        p.bucket = str_make(rest.p, slash ? (size_t)(slash - rest.p) : rest.n);
        p.key = slash ? str_make(slash + 1, rest.n - p.bucket.n - 1) : STR("");
    }
    if (p.kind == CLOUD_HTTP && str_starts(ref, STR("https://")) && str_ends(p.bucket, STR(AZURE_HOSTS))) {
        const char *slash = p.key.n ? memchr(p.key.p, '/', p.key.n) : NULL;
        p.kind = CLOUD_AZURE;
        p.host = p.bucket;
        p.bucket = str_make(p.key.p, slash ? (size_t)(slash - p.key.p) : p.key.n);
        p.key = slash ? str_make(slash + 1, p.key.n - p.bucket.n - 1) : STR("");
    }
    return p;
}

static void put_base(const struct cloud *c, const struct cloud_place *p, struct buf *base, struct buf *path)
{
    bool is_dotted = p->bucket.n && memchr(p->bucket.p, '.', p->bucket.n);
    if (p->kind == CLOUD_S3 && c->s3_endpoint)
        buf_puts(base, c->s3_endpoint);
    else if (p->kind == CLOUD_S3 && is_dotted)
        buf_printf(base, "https://s3.%s.amazonaws.com", c->s3_region);
    else if (p->kind == CLOUD_S3)
        buf_printf(base, "https://%.*s.s3.%s.amazonaws.com", STR_ARG(p->bucket), c->s3_region);
    else if (p->kind == CLOUD_GCS)
        buf_puts(base, c->gcs_endpoint);
    else if (c->azure_endpoint)
        buf_puts(base, c->azure_endpoint);
    else
        buf_printf(base, "https://%.*s", STR_ARG(p->host));
    if (p->kind == CLOUD_GCS)
        buf_puts(path, "/storage/v1/b");
    if (p->kind == CLOUD_S3 && !c->s3_endpoint && !is_dotted)
        return;
    buf_putc(path, '/');
    buf_put_percent(path, p->bucket, "");
}

/* https://host:1/base: the path of the endpoint is part of what is signed. */
static void split_base(struct buf *base, struct buf *path_before, char **host)
{
    const char *p = memmem(base->data, base->len, "://", 3), *end = base->data + base->len;
    const char *authority = p ? p + 3 : base->data, *slash = memchr(authority, '/', (size_t)(end - authority));
    *host = xmem_strndup(authority, (size_t)((slash ? slash : end) - authority));
    if (slash) {
        buf_append(path_before, slash, (size_t)(end - slash));
        base->len = (size_t)(slash - base->data);
    }
}

void cloud_target_init(struct cloud_target *t, const struct cloud *c, const struct cloud_place *p, const char *method,
                       struct str key, const char *const query[CLOUD_QUERY][2])
{
    AUTO_BUF base = {0}, path = {0}, more = {0}, text = {0}, url = {0}, resource = {0};
    *t = (struct cloud_target){.kind = p->kind, .method = method};
    put_base(c, p, &base, &more);
    split_base(&base, &path, &t->host);
    buf_put_str(&path, buf_str(&more));
    buf_puts(&path, p->kind == CLOUD_GCS ? "/o" : "");
    if (key.n > 0 || p->kind == CLOUD_S3)
        buf_putc(&path, '/');
    buf_put_percent(&path, key, p->kind == CLOUD_GCS ? "" : "/");
    struct str account = str_make(p->host.p, p->host.n ? strcspn(p->host.p, ".") : 0);
    buf_printf(&resource, "/%.*s%.*s", STR_ARG(account), STR_ARG(buf_str(&path)));
    for (int i = 0; i < CLOUD_QUERY && query[i][0]; i++) {
        put_field(&text, query[i][0], query[i][1]);
        buf_printf(&resource, "\n%s:%s", query[i][0], query[i][1]);
    }
    t->path = xmem_strndup(path.data, path.len);
    t->query = xmem_strndup(text.len ? text.data : "", text.len);
    t->resource = xmem_strndup(resource.data, resource.len);
    t->account = xmem_strndup(account.n ? account.p : "", account.n);
    bool is_ours = p->kind == CLOUD_AZURE && c->azure_sas && (!c->azure_account || str_eqz(account, c->azure_account));
    buf_printf(&url, "%.*s%s", STR_ARG(buf_str(&base)), t->path);
    buf_printf(&url, "%s%s", text.len || is_ours ? "?" : "", t->query);
    if (is_ours)
        buf_printf(&url, "%s%s", text.len ? "&" : "", c->azure_sas);
    t->url = xmem_strndup(url.data, url.len);
}

void cloud_target_fini(struct cloud_target *t)
{
    mem_free(t->url);
    mem_free(t->path);
    mem_free(t->query);
    mem_free(t->host);
    mem_free(t->resource);
    mem_free(t->account);
    *t = (struct cloud_target){0};
}

/* ---- headers ---- */

static void put_s3(const struct cloud *c, const struct cloud_target *t, int64_t unix_s, struct buf *to)
{
    char time[SIGV4_TIME];
    if (!c->s3_key || !c->s3_secret)
        return;
    sigv4_time(unix_s, time);
    struct sigv4 s = {.method = t->method, .path = t->path, .query = t->query, .payload_hash = EMPTY_SHA256,
                      .key_id = c->s3_key, .secret = c->s3_secret, .region = c->s3_region, .unix_s = unix_s,
                      .headers = {{"host", t->host}, {"x-amz-content-sha256", EMPTY_SHA256}, {"x-amz-date", time}},
                      .n_headers = 3};
    if (c->s3_session) {
        s.headers[3].name = "x-amz-security-token";
        s.headers[3].value = c->s3_session;
        s.n_headers = 4;
    }
    buf_puts(to, "Authorization: ");
    sigv4_authorization(&s, to);
    buf_putc(to, '\n');
    for (int i = 1; i < s.n_headers; i++)
        buf_printf(to, "%s: %s\n", s.headers[i].name, s.headers[i].value);
}

void cloud_azure_text(const struct cloud_target *t, const char *range, const char *headers, struct buf *to)
{
    /* encoding, language, length, MD5, type, date, four conditions: none is sent */
    buf_printf(to, "%s\n\n\n\n\n\n\n\n\n\n\n%s\n%s%s", t->method, range, headers, t->resource);
}

static void put_azure(const struct cloud *c, const struct cloud_target *t, const char *range, int64_t unix_s,
                      struct buf *to)
{
    AUTO_BUF headers = {0}, text = {0};
    char date[40];
    uint8_t mac[SHA256_BYTES];
    struct tm tm;
    time_t now = (time_t)unix_s;
    gmtime_r(&now, &tm);
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", &tm);
    buf_printf(to, "x-ms-date: %s\nx-ms-version: " AZURE_VERSION "\n", date);
    if (c->azure.bearer) {
        buf_printf(to, "Authorization: Bearer %s\n", c->azure.bearer);
    } else if (c->azure_key_n > 0 && c->azure_account && strcmp(c->azure_account, t->account) == 0) {
        buf_printf(&headers, "x-ms-date:%s\nx-ms-version:" AZURE_VERSION "\n", date);
        cloud_azure_text(t, range, buf_z(&headers), &text);
        hmac_sha256(mac, c->azure_key, c->azure_key_n, text.data, text.len);
        buf_printf(to, "Authorization: SharedKey %s:", t->account);
        base64_put(to, BASE64_STANDARD, mac, sizeof mac);
        buf_putc(to, '\n');
    }
}

void cloud_put_headers(const struct cloud *c, const struct cloud_target *t, const char *range, int64_t unix_s,
                       struct buf *to)
{
    if (t->kind == CLOUD_S3)
        put_s3(c, t, unix_s, to);
    else if (t->kind == CLOUD_AZURE)
        put_azure(c, t, range, unix_s, to);
    else if (t->kind == CLOUD_GCS && c->gcs.bearer)
        buf_printf(to, "Authorization: Bearer %s\n", c->gcs.bearer);
}

/* ---- XML, as far as lists of objects need it ---- */

static void put_utf8(struct buf *to, unsigned long code)
{
    char escape[32];
    if (code > 0xffff && code < 0x110000) {
        snprintf(escape, sizeof escape, "%c%c%c%c", (int)(0xf0 | code >> 18), (int)(0x80 | (code >> 12 & 63)),
                 (int)(0x80 | (code >> 6 & 63)), (int)(0x80 | (code & 63)));
        buf_append(to, escape, 4);
    } else if (code > 0x7ff) {
        snprintf(escape, sizeof escape, "%c%c%c", (int)(0xe0 | code >> 12), (int)(0x80 | (code >> 6 & 63)),
                 (int)(0x80 | (code & 63)));
        buf_append(to, escape, 3);
    } else if (code > 0x7f) {
        buf_putc(to, (char)(0xc0 | code >> 6));
        buf_putc(to, (char)(0x80 | (code & 63)));
    } else if (code > 0) {
        buf_putc(to, (char)code);
    }
}

char *cloud_xml_text(struct str text)
{
    static const struct {
        const char *name;
        char c;
    } known[] = {{"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}, {"&apos;", '\''}};
    AUTO_BUF to = {0};
    for (size_t i = 0; i < text.n;) {
        struct str rest = str_make(text.p + i, text.n - i);
        const char *end = *rest.p == '&' ? memchr(rest.p, ';', rest.n < 12 ? rest.n : 12) : NULL;
        size_t n = 0;
        for (size_t k = 0; end && k < sizeof known / sizeof *known; k++) {
            if (str_starts(rest, str_of(known[k].name))) {
                buf_putc(&to, known[k].c);
                n = strlen(known[k].name);
            }
        }
        if (n == 0 && end && rest.n > 3 && rest.p[1] == '#') {
            bool is_hex = rest.p[2] == 'x';
            char digits[12];
            snprintf(digits, sizeof digits, "%.*s", (int)(end - rest.p - (is_hex ? 3 : 2)), rest.p + (is_hex ? 3 : 2));
            put_utf8(&to, strtoul(digits, NULL, is_hex ? 16 : 10));
            n = (size_t)(end - rest.p) + 1;
        }
        if (n == 0) {
            buf_putc(&to, *rest.p);
            n = 1;
        }
        i += n;
    }
    return xmem_strndup(to.len ? to.data : "", to.len);
}
