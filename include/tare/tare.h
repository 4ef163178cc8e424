/* SPDX-License-Identifier: MIT */
/* tare.h: log an experiment from C or C++.
 *
 *     struct tare_options o = tare_options_defaults();
 *     o.project = "digits";
 *     tare_run *run;
 *     if (tare_init(&o, &run) == 0) {
 *         tare_config(run, tare_f64("lr", 0.01), tare_str("model", "mlp"));
 *         for (int i = 0; i < 100; i++)
 *             tare_log(run, tare_f64("loss", loss), tare_i64("epoch", i));
 *         tare_finish(run, 0);
 *     }
 *
 * The library is a guest: it never prints, aborts or raises a signal, needs libc and threads
 * alone, and a call never waits longer than the bound said with it. What it has to say goes to
 * the callback `on_message` of tare_setup, and to tare_last_error.
 *
 * How it works: a call copies its values into a bounded queue and returns. One thread of the
 * library formats them and sends them to the service (`tare service`, or any service of the same
 * protocol), which is started on the first tare_init unless the environment variable
 * WANDB_SERVICE names one that runs. If the service cannot be started, or dies, the library
 * writes the run's .wandb file itself, says so once, and goes on.
 *
 * Errors: functions return 0, or a negative enum tare_error or negative errno value;
 * tare_last_error_text says more. Unless a comment says otherwise, every function may be called
 * from any thread at any time, strings are UTF-8 and NUL-terminated, and what a pointer
 * argument points to is copied before the call returns. A NULL run is TARE_EINVAL.
 *
 * fork(): runs belong to the process that made them. In a child, calls on the parent's runs
 * return TARE_EFORKED and do nothing but count; tare_attach and tare_init work there. */
#ifndef TARE_TARE_H
#define TARE_TARE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__GNUC__)
#define TARE_API __attribute__((visibility("default")))
#else
#define TARE_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- errors ---------------------------------------------------------------------------- */

#ifndef TARE_BASE_ERR_H
#define TARE_ERROR_CODES
enum tare_error {
    TARE_EINVAL = -5001,       /* an argument is not what it must be */
    TARE_ENOMEM = -5002,       /* out of memory */
    TARE_ECLOSED = -5003,      /* the run is finished, or the library torn down */
    TARE_EFULL = -5004,        /* the queue stayed full for block_ms; the data was dropped */
    TARE_ETIMEOUT = -5005,     /* no answer within the bound */
    TARE_EIO = -5006,          /* a file could not be read or written */
    TARE_ENOSPACE = -5007,     /* no space left */
    TARE_EEXIST = -5008,       /* there already */
    TARE_ENOTFOUND = -5009,    /* no such key, file or run */
    TARE_EFORMAT = -5010,      /* not JSON, not a PNG ... */
    TARE_ELIMIT = -5011,       /* too long or too many */
    TARE_EUNSUPPORTED = -5012, /* not supported */
    TARE_EPROTO = -5013,       /* the service answered what it must not */
    TARE_EPERM = -5014,        /* not permitted */
    TARE_ESERVICE = -5015,     /* the service refused, or is not available */
    TARE_ECANCELLED = -5016,   /* cancelled */
    TARE_ECONFLICT = -5017,    /* conflicts with another change */
    TARE_EFORKED = -5018       /* the run belongs to the parent process */
};
#endif

/* What went wrong last in this thread: code (0 if nothing has) and a sentence ("" if nothing
 * has). The text is valid until the next failing call of the same thread. A success does not
 * reset them. */
TARE_API int tare_last_error(void);
TARE_API const char *tare_last_error_text(void);

/* A few words for a code; never NULL, static. */
TARE_API const char *tare_error_text(int code);

/* Version of the library, such as "0.1.0"; static. */
TARE_API const char *tare_version(void);

/* ---- the library ----------------------------------------------------------------------- */

enum tare_level { TARE_DEBUG = -4, TARE_INFO = 0, TARE_WARNING = 4, TARE_ERROR = 8 };

/* How the library works in this process. Zero or NULL means the default. */
struct tare_setup_options {
    size_t size;             /* set by tare_setup_defaults() */
    int block_ms;            /* the longest a call waits for room in the queue (default 1000); -1: never */
    size_t queue_bytes;      /* of the queue between the callers and the thread (default 8 MiB) */
    size_t heavy_bytes;      /* bound for tables, images and long texts in flight (default 256 MiB) */
    size_t window_bytes;     /* per run: sent and not yet acknowledged (default 16 MiB) */
    int hang_ms;             /* a service silent this long while it owes answers is given up
                              * (default 30000) */
    int service_start_ms;    /* the longest wait for a new service's port file (default 30000) */
    const char *service_bin; /* default: TARE_SERVICE_BIN, else `tare` near the library or in PATH */
    int keep_environment;    /* not 0: do not put the service's token into WANDB_SERVICE. Changing
                              * the environment races with getenv in other threads; child
                              * processes need the token to attach (see tare_service_token) */
    int no_exit_hook;        /* not 0: exit() does not finish runs; call tare_teardown yourself */
    /* Told what a person should know. Called from the library's thread or a calling one, never
     * from two at once; must not call the library. `text` has no newline. */
    void (*on_message)(void *arg, int level, const char *text);
    void *on_message_arg;
};

static inline struct tare_setup_options tare_setup_defaults(void)
{
    struct tare_setup_options s;
    memset(&s, 0, sizeof s);
    s.size = sizeof s;
    return s;
}

/* Set how the library works. Optional, before the first tare_init or tare_attach.
 * Expected: TARE_ECONFLICT  the library is in use already */
TARE_API int tare_setup(const struct tare_setup_options *setup);

/* Finish every run of this process with `exit_code`, end the service if this process started it,
 * and release everything. exit() does this by itself. A later tare_init starts anew. No other
 * thread may be in the library; runs from before must not be used afterwards. */
TARE_API int tare_teardown(int exit_code);

/* The token of the service this process is connected to, as in WANDB_SERVICE, NUL-terminated in
 * `to`; returns its length, or an error. For another process that is to attach.
 * Expected: TARE_ESERVICE  not connected    TARE_ELIMIT  `to_size` is too small */
TARE_API int tare_service_token(char *to, size_t to_size);

/* ---- runs ------------------------------------------------------------------------------ */

typedef struct tare_run tare_run;

/* What a run is. NULL or zero means: from the environment variable named, else the default. */
struct tare_options {
    size_t size;              /* set by tare_options_defaults() */
    const char *project;      /* WANDB_PROJECT, else "uncategorized" */
    const char *entity;       /* WANDB_ENTITY */
    const char *group;        /* WANDB_RUN_GROUP */
    const char *job_type;     /* WANDB_JOB_TYPE */
    const char *name;         /* WANDB_NAME */
    const char *id;           /* WANDB_RUN_ID, else 8 random characters; no / \ # ? % : in it */
    const char *notes;        /* WANDB_NOTES */
    const char *const *tags;  /* n_tags of them; WANDB_TAGS, separated by commas */
    size_t n_tags;
    const char *mode;         /* "online", "offline" or "disabled"; WANDB_MODE, else online where
                               * there is an API key and offline where there is none */
    const char *dir;          /* the folder that gets or has "wandb/"; WANDB_DIR, else "." */
    const char *resume;       /* "allow", "must", "never" or "auto"; WANDB_RESUME */
    const char *base_url;     /* WANDB_BASE_URL, else https://api.wandb.ai */
    const char *api_key;      /* WANDB_API_KEY */
    const char *program;      /* what ran; default the executable's path */
    const char *sweep_id;     /* WANDB_SWEEP_ID */
    int init_ms;              /* the longest tare_init waits for the service (default 90000) */
    int finish_ms;            /* the longest tare_finish waits for it (default: 86400000) */
    int no_stats;             /* not 0: no system metrics */
    int no_git;               /* not 0: no git state */
};

static inline struct tare_options tare_options_defaults(void)
{
    struct tare_options o;
    memset(&o, 0, sizeof o);
    o.size = sizeof o;
    return o;
}

/* Begin a run. `options` may be NULL. On success *run is to be finished with tare_finish (exit()
 * does it otherwise). Waits at most init_ms; a service that cannot be started or does not answer
 * is not an error: the library writes the .wandb file itself.
 * Expected: TARE_EINVAL   an option is not valid
 *           TARE_ESERVICE the service refused the run (say, its id is in use there)
 *           or the error of creating the run's folder */
TARE_API int tare_init(const struct tare_options *options, tare_run **run);

/* Join a run that another process or thread began, in the service that WANDB_SERVICE names (or
 * the one of this process). *run is to be released with tare_detach, which leaves the run
 * running, or ended for all with tare_finish. Waits at most 10 s.
 * Expected: TARE_ESERVICE  there is no service, or it does not know the run */
TARE_API int tare_attach(const char *run_id, tare_run **run);

/* Send what is queued and release `run`; the run itself goes on. No other thread may use it.
 * Waits at most its finish_ms. */
TARE_API int tare_detach(tare_run *run);

/* End the run with `exit_code`, wait for the service to have it all, and release `run`. No other
 * thread may use it. Waits at most finish_ms.
 * Expected: TARE_ETIMEOUT  the service may still be at work; nothing is lost */
TARE_API int tare_finish(tare_run *run, int exit_code);

/* Wait until all that was logged is in the service's hands (or in the file, where the library
 * writes it), at most `timeout_ms`.
 * Expected: TARE_ETIMEOUT */
TARE_API int tare_flush(tare_run *run, int timeout_ms);

/* Names of the run; valid as long as it. `tare_run_dir` is its folder, with the .wandb file and
 * "files/"; "" for a disabled or attached run. */
TARE_API const char *tare_run_id(const tare_run *run);
TARE_API const char *tare_run_dir(const tare_run *run);
TARE_API const char *tare_run_name(const tare_run *run);

struct tare_stats {
    uint64_t logged;       /* calls of tare_log that were queued */
    uint64_t dropped;      /* calls whose data was dropped: the queue stayed full */
    uint64_t forked;       /* calls in a forked child, done nothing */
    uint64_t sent_bytes;   /* handed to the service */
    uint64_t acked_bytes;  /* of these, known to have been dealt with */
    int in_file;           /* 1: the library writes the .wandb file itself */
};

TARE_API int tare_run_stats(const tare_run *run, struct tare_stats *to);

/* ---- values ---------------------------------------------------------------------------- */

enum tare_type {
    TARE_NULL,
    TARE_BOOL,
    TARE_I64,
    TARE_F64,
    TARE_STRING,
    TARE_JSON,
    TARE_F64_ARRAY,
    TARE_I64_ARRAY,
    TARE_HISTOGRAM,
    TARE_SAMPLES,
    TARE_IMAGE,
    TARE_TABLE
};

/* Counts and bin edges: n_bins counts, n_bins + 1 edges; at most 512 bins. */
struct tare_histogram {
    const double *edges;
    const int64_t *counts;
    size_t n_bins;
};

struct tare_image {
    const void *png; /* the bytes of a PNG file */
    size_t n_bytes;
    const char *caption; /* or NULL */
};

struct tare_value;

/* n_rows * n_columns cells, row by row. Cells may be null, bool, integers, doubles, strings,
 * JSON or arrays; their keys are ignored. */
struct tare_table {
    const char *const *columns;
    size_t n_columns;
    const struct tare_value *cells;
    size_t n_rows;
};

/* A named value. Make it with the functions below. */
struct tare_value {
    const char *key; /* dots nest: "train.loss" stays one key in history, as in the SDK */
    enum tare_type type;
    size_t n; /* bytes of text, elements of an array, bins wanted of samples */
    union {
        int boolean;
        int64_t i64;
        double f64;
        const char *text;
        const double *f64s;
        const int64_t *i64s;
        const struct tare_histogram *histogram;
        const struct tare_image *image;
        const struct tare_table *table;
        const void *pointer;
    } as;
    size_t n_more; /* samples: how many */
};

static inline struct tare_value tare_value_of(const char *key, enum tare_type type)
{
    struct tare_value v;
    v.key = key;
    v.type = type;
    v.n = 0;
    v.as.i64 = 0;
    v.n_more = 0;
    return v;
}

static inline struct tare_value tare_null(const char *key)
{
    return tare_value_of(key, TARE_NULL);
}

static inline struct tare_value tare_bool(const char *key, int on)
{
    struct tare_value v = tare_value_of(key, TARE_BOOL);
    v.as.boolean = on != 0;
    return v;
}

static inline struct tare_value tare_i64(const char *key, int64_t i64)
{
    struct tare_value v = tare_value_of(key, TARE_I64);
    v.as.i64 = i64;
    return v;
}

static inline struct tare_value tare_f64(const char *key, double f64)
{
    struct tare_value v = tare_value_of(key, TARE_F64);
    v.as.f64 = f64;
    return v;
}

static inline struct tare_value tare_str(const char *key, const char *text)
{
    struct tare_value v = tare_value_of(key, text ? TARE_STRING : TARE_NULL);
    v.as.text = text;
    v.n = text ? strlen(text) : 0;
    return v;
}

/* `json` is one JSON value (NaN and Infinity allowed); checked when it is used. */
static inline struct tare_value tare_json(const char *key, const char *json)
{
    struct tare_value v = tare_value_of(key, TARE_JSON);
    v.as.text = json;
    v.n = json ? strlen(json) : 0;
    return v;
}

static inline struct tare_value tare_f64s(const char *key, const double *f64s, size_t n)
{
    struct tare_value v = tare_value_of(key, TARE_F64_ARRAY);
    v.as.f64s = f64s;
    v.n = n;
    return v;
}

static inline struct tare_value tare_i64s(const char *key, const int64_t *i64s, size_t n)
{
    struct tare_value v = tare_value_of(key, TARE_I64_ARRAY);
    v.as.i64s = i64s;
    v.n = n;
    return v;
}

static inline struct tare_value tare_hist(const char *key, const struct tare_histogram *h)
{
    struct tare_value v = tare_value_of(key, TARE_HISTOGRAM);
    v.as.histogram = h;
    return v;
}

/* A histogram of `n` samples in `n_bins` equal bins between the least and the greatest (0: 64
 * bins). Values that are not finite are left out. */
static inline struct tare_value tare_samples(const char *key, const double *samples, size_t n,
                                             size_t n_bins)
{
    struct tare_value v = tare_value_of(key, TARE_SAMPLES);
    v.as.f64s = samples;
    v.n = n_bins;
    v.n_more = n;
    return v;
}

static inline struct tare_value tare_png(const char *key, const struct tare_image *image)
{
    struct tare_value v = tare_value_of(key, TARE_IMAGE);
    v.as.image = image;
    return v;
}

static inline struct tare_value tare_tab(const char *key, const struct tare_table *table)
{
    struct tare_value v = tare_value_of(key, TARE_TABLE);
    v.as.table = table;
    return v;
}

/* ---- history, config, summary ---------------------------------------------------------- */

#define TARE_STEP_AUTO INT64_MIN
enum tare_commit { TARE_COMMIT_AUTO = -1, TARE_COMMIT_NO = 0, TARE_COMMIT_YES = 1 };

/* Log `n` values in one step of the history.
 *
 * `step` TARE_STEP_AUTO is the current step; a number must not be less than it (the service drops
 * such data with a warning). `commit` AUTO ends the step if none was given, and else leaves it
 * open: the next call may add to it, and a greater step ends it.
 * 0 means queued, not yet on disk: see tare_flush.
 * Expected: TARE_EINVAL   a key is missing or too long (65,535 bytes), or a value is not valid
 *           TARE_EFULL    the queue stayed full for block_ms (later calls then do not wait until
 *                         there is room again); the data was dropped and counted
 *           TARE_ECLOSED, TARE_EFORKED */
TARE_API int tare_log_values(tare_run *run, const struct tare_value *values, size_t n,
                             int64_t step, int commit);

/* The same for one JSON object of `len` bytes, a value for each key. */
TARE_API int tare_log_json(tare_run *run, const char *json, size_t len, int64_t step, int commit);

/* Set values of the run's config or summary. Keys are taken as they are. */
TARE_API int tare_config_set(tare_run *run, const struct tare_value *values, size_t n);
TARE_API int tare_config_remove(tare_run *run, const char *key);
TARE_API int tare_summary_set(tare_run *run, const struct tare_value *values, size_t n);
TARE_API int tare_summary_remove(tare_run *run, const char *key);

/* A config value as JSON, NUL-terminated in `to`; returns its length. Only what this process has
 * set (or was told on attaching) is known.
 * Expected: TARE_ENOTFOUND, TARE_ELIMIT (`to_size` is too small) */
TARE_API int tare_config_get(tare_run *run, const char *key, char *to, size_t to_size);

/* The same as a double; integers and booleans are converted.
 * Expected: TARE_ENOTFOUND, TARE_EFORMAT (not a number) */
TARE_API int tare_config_get_f64(tare_run *run, const char *key, double *to);

/* A summary value as JSON, asked of the service, within `timeout_ms`; returns its length.
 * Expected: TARE_ENOTFOUND, TARE_ELIMIT, TARE_ETIMEOUT */
TARE_API int tare_summary_get(tare_run *run, const char *key, char *to, size_t to_size,
                              int timeout_ms);

struct tare_metric {
    const char *name;        /* may end with '*' for all that begin so */
    const char *step_metric; /* the metric that is its x axis, or NULL */
    const char *summary;     /* of min,max,mean,last,first,best,none,copy, comma separated; or NULL */
    const char *goal;        /* "minimize", "maximize" or NULL */
    int step_sync;           /* -1: yes if there is a step_metric */
    int hidden;
    int overwrite;           /* replace what earlier calls said, instead of adding to it */
};

TARE_API int tare_define_metric(tare_run *run, const struct tare_metric *metric);

/* ---- files, artifacts, the rest --------------------------------------------------------- */

enum tare_policy { TARE_FILE_NOW = 0, TARE_FILE_END = 1, TARE_FILE_LIVE = 2 };

/* Keep a file with the run: it is linked into the run's "files/" as `name` (NULL: the path's last
 * part) if it is not below it already, or copied for TARE_FILE_NOW.
 * Expected: TARE_EINVAL     `name` leaves the folder
 *           TARE_ENOTFOUND  there is no such file */
TARE_API int tare_save(tare_run *run, const char *path, const char *name, enum tare_policy policy);

struct tare_artifact_file {
    const char *path; /* where it is now: a file, or with `reference` a URL */
    const char *name; /* its path in the artifact; NULL: the last part of `path` */
    int reference;    /* not 0: keep the URL, not the contents */
};

struct tare_artifact {
    const char *name;
    const char *type;        /* "dataset", "model" ... */
    const char *description; /* or NULL */
    const char *metadata;    /* a JSON object, or NULL */
    const char *const *aliases; /* NULL: "latest" */
    size_t n_aliases;
    const struct tare_artifact_file *files;
    size_t n_files;
};

/* Log an artifact. Its files are copied aside by the library's thread, so leave them in place
 * until tare_flush. While offline it is kept in the .wandb file and uploaded by a later sync. */
TARE_API int tare_log_artifact(tare_run *run, const struct tare_artifact *artifact);

/* `level` is a TARE_INFO, TARE_WARNING or TARE_ERROR; alerts of the same title within `wait_s`
 * seconds (0: 60) are sent once. */
TARE_API int tare_alert(tare_run *run, const char *title, const char *text, int level, int wait_s);

/* Add to the run's console output, as it would go to a terminal. */
TARE_API int tare_output(tare_run *run, int is_stderr, const char *text, size_t len);

#ifdef __cplusplus
} /* extern "C" */

template <class... V> inline int tare_log(tare_run *run, V... values)
{
    const tare_value all[] = {values...};
    return tare_log_values(run, all, sizeof...(V), TARE_STEP_AUTO, TARE_COMMIT_AUTO);
}

template <class... V> inline int tare_log_step(tare_run *run, int64_t step, V... values)
{
    const tare_value all[] = {values...};
    return tare_log_values(run, all, sizeof...(V), step, TARE_COMMIT_AUTO);
}

template <class... V> inline int tare_config(tare_run *run, V... values)
{
    const tare_value all[] = {values...};
    return tare_config_set(run, all, sizeof...(V));
}

template <class... V> inline int tare_summary(tare_run *run, V... values)
{
    const tare_value all[] = {values...};
    return tare_summary_set(run, all, sizeof...(V));
}
#else
#define TARE_VALUES_(...) (const struct tare_value[]){__VA_ARGS__}
#define TARE_N_VALUES_(...) (sizeof(TARE_VALUES_(__VA_ARGS__)) / sizeof(struct tare_value))

/* tare_log(run, tare_f64("loss", x), tare_i64("epoch", 3)); one argument at least. */
#define tare_log(run, ...)                                                                        \
    tare_log_values((run), TARE_VALUES_(__VA_ARGS__), TARE_N_VALUES_(__VA_ARGS__),                \
                    TARE_STEP_AUTO, TARE_COMMIT_AUTO)
#define tare_log_step(run, step, ...)                                                             \
    tare_log_values((run), TARE_VALUES_(__VA_ARGS__), TARE_N_VALUES_(__VA_ARGS__), (step),        \
                    TARE_COMMIT_AUTO)
#define tare_config(run, ...)                                                                     \
    tare_config_set((run), TARE_VALUES_(__VA_ARGS__), TARE_N_VALUES_(__VA_ARGS__))
#define tare_summary(run, ...)                                                                    \
    tare_summary_set((run), TARE_VALUES_(__VA_ARGS__), TARE_N_VALUES_(__VA_ARGS__))
#endif

#endif
