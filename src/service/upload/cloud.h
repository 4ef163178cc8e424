/* SPDX-License-Identifier: MIT */
/* Objects in the stores of others, as references name them: how they are addressed and who asks.
 *
 *   s3://BUCKET/KEY       AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN; else the profile
 *                         AWS_PROFILE (default) of ~/.aws/credentials and ~/.aws/config (or
 *                         AWS_SHARED_CREDENTIALS_FILE, AWS_CONFIG_FILE); region AWS_REGION, AWS_DEFAULT_REGION,
 *                         the profile's, us-east-1; endpoint AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL
 *   gs://BUCKET/KEY       GOOGLE_APPLICATION_CREDENTIALS, else gcloud's application_default_credentials.json:
 *                         a service account's key, or a user's refresh token; endpoint
 *                         CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE, or STORAGE_EMULATOR_HOST, which is told no
 *                         credentials
 *   https://ACCOUNT.blob.core.windows.net/CONTAINER/BLOB
 *                         AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT with AZURE_STORAGE_KEY or
 *                         AZURE_STORAGE_SAS_TOKEN; AZURE_TENANT_ID, AZURE_CLIENT_ID, AZURE_CLIENT_SECRET (at
 *                         AZURE_AUTHORITY_HOST); endpoint: the connection string's BlobEndpoint, or
 *                         AZURE_STORAGE_SERVICE_ENDPOINT
 *   http(s)://...         as it is
 *
 * Who has no credentials asks without. No metadata service of a machine is asked. (The peer has the providers'
 * own libraries for this: core/internal/filetransfer/file_transfer_{s3,gcs,azure}.go.) */
#ifndef TARE_SERVICE_UPLOAD_CLOUD_H
#define TARE_SERVICE_UPLOAD_CLOUD_H

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum cloud_kind { CLOUD_NONE, CLOUD_HTTP, CLOUD_S3, CLOUD_GCS, CLOUD_AZURE };

/* A token that must be fetched first: POST `body` to `url`; the answer has "access_token". */
struct cloud_token {
    char *url;    /* NULL: none is needed, or there is one */
    char *body;   /* a form */
    char *bearer; /* the token */
};

struct cloud {
    char *s3_key, *s3_secret, *s3_session, *s3_region, *s3_endpoint; /* NULL where there is none */
    char *gcs_endpoint;
    char *azure_account, *azure_endpoint, *azure_sas;
    uint8_t azure_key[128];
    size_t azure_key_n;
    struct cloud_token gcs, azure;
};

/* Read the environment and the files. On a worker: it reads, and signs for GCS if `wants_gcs`. 0, or the reason
 * in `e`: credentials that are there and cannot be read. cloud_fini either way. */
int cloud_load(struct cloud *c, bool wants_gcs, struct err *e);
void cloud_fini(struct cloud *c);

struct cloud_place {
    enum cloud_kind kind;
    struct str bucket;  /* or container; slices of the reference */
    struct str key;     /* as it is in the reference, unescaped for Azure by cloud_place_of's caller */
    struct str host;    /* Azure's */
};

/* CLOUD_NONE: file://, wandb-artifact:// and what else is left to the program. */
struct cloud_place cloud_place_of(struct str reference);

/* A request, ready to be signed when it is sent. */
struct cloud_target {
    enum cloud_kind kind;
    const char *method; /* "GET" or "HEAD" */
    char *url;
    char *path, *query, *host; /* as they stand in the URL */
    char *resource;     /* Azure's, as it is signed */
    char *account;      /* Azure's */
};

enum { CLOUD_QUERY = 8 };

/* `key` empty: the bucket itself. `query`: pairs, sorted by name, up to one whose name is NULL; unescaped. */
void cloud_target_init(struct cloud_target *t, const struct cloud *c, const struct cloud_place *p, const char *method,
                       struct str key, const char *const query[CLOUD_QUERY][2]);
void cloud_target_fini(struct cloud_target *t);

/* Append the headers that make it ours, "Name: value\n" each. `range` is the value of its Range header, or "". */
void cloud_put_headers(const struct cloud *c, const struct cloud_target *t, const char *range, int64_t unix_s,
                       struct buf *to);

/* What a Shared Key of Azure signs. */
void cloud_azure_text(const struct cloud_target *t, const char *range, const char *headers, struct buf *to);

/* What stands in an element (base/xml.h) with its entities resolved: heap. */
char *cloud_xml_text(struct str text);

#endif
