/* SPDX-License-Identifier: MIT */
/* Every bound of the service in one table: what may wait how long, and how much may be kept.
 * Each name ends in its unit. */
#ifndef TARE_SERVICE_LIMITS_H
#define TARE_SERVICE_LIMITS_H

#include <stdint.h>

/* -- what comes in ------------------------------------------------------------------------ */

#define MAX_FRAME_BYTES INT64_C(2147483648)         /* the peer's limit; --max-frame-bytes */
#define READ_BUFFER_BYTES (256 * 1024)              /* one for all connections of a loop */
#define DRAIN_BYTES (64 * 1024 * 1024)              /* read of one connection once the end has begun */
#define MAX_STREAM_ID_BYTES 255
#define MAX_CONNECTIONS_BACKLOG 1024                /* of listen(2) */

/* -- what goes out ------------------------------------------------------------------------ */

#define OUT_CONNECTION_BYTES (64 * 1024 * 1024)     /* unread answers, then its reading stops */
#define OUT_TOTAL_BYTES (256 * 1024 * 1024)         /* of all connections; above it, the next: */
#define OUT_CONNECTION_SCARCE_BYTES (1024 * 1024)
#define OUT_LINGER_MS 5000                          /* to send the last answers when ending */

/* -- what is kept ------------------------------------------------------------------------- */

#define JOURNAL_GATHER_MS 10                        /* a record waits so long for others, */
#define JOURNAL_GATHER_BYTES (64 * 1024)            /* unless so much has come or someone waits */
#define JOURNAL_PENDING_BYTES (4 * 1024 * 1024)     /* of a stream, then its clients wait */
#define JOURNAL_PENDING_TOTAL_BYTES (48 * 1024 * 1024)
#define JOURNAL_PENDING_SCARCE_BYTES (64 * 1024)    /* of a stream, while the total is reached */
#define JOURNAL_FAILED_BYTES (32 * 1024 * 1024)     /* kept while the disk refuses; then dropped */
#define MEMORY_TAIL_BYTES (1024 * 1024)             /* of a run that must leave no file */
#define JOURNAL_RETRY_MS 1000                       /* between tries while the disk refuses */
#define JOURNAL_END_TRIES 3                         /* when the run or the service ends */

/* -- what is brought to a backend ---------------------------------------------------------- */

#define CURSOR_BATCH_BYTES (64 * 1024)              /* records are given in slices of so much */
#define CURSOR_WINDOW_BYTES (96 * 1024)             /* what a cursor reads of a file at a time */
#define JOB_INPUTS 1000                             /* that a program may declare of its job */
#define JOB_INPUT_PATHS 10000                       /* of one of them */
#define JOB_INPUT_FILE_BYTES (16 * 1024 * 1024)
#define JOB_TREE_BYTES (64 * 1024 * 1024)           /* a config while its types are found */
#define JOB_FILE_BYTES (256 * 1024 * 1024)          /* of the run's diff or requirements */
#define CURSOR_GATHER_MS 100                        /* new records wait so long for others */
#define CURSOR_HURRY_MS 1000                        /* no such wait so long after someone asks */
#define CURSOR_LOOK_MS 1000                         /* between looks at another's journal, as the peer */
#define SYNC_WATCH_MS 3000                          /* between looks at who writes to journals that are followed: */
#define SYNC_LEFT_LOOKS 2                           /* whose writer was seen, is not and wrote nothing: it ends */
#define SYNC_STILL_LOOKS 20                         /* nobody was ever seen, and it did not grow: that is said */

#define MEMORY_RUN_BYTES (64 * 1024 * 1024)         /* unsent, of a run that is in no file; then its clients wait. */
#define MEMORY_TOTAL_BYTES (512 * 1024 * 1024)      /* of all such runs: one may have as much as is left of it, */
#define MEMORY_SCARCE_BYTES (1024 * 1024)           /* but so much always */
#define UPSERT_DEBOUNCE_MS 5000                     /* changes of a run gather so long, as the peer */
#define MIRROR_END_MS 30000                         /* for mirrors, when the run's own backend has all */
#define SYNC_PARALLEL_MAX 64                        /* journals of one sync operation at once */
#define SYNC_MESSAGES 1000                          /* of an operation that nobody asks about */

/* -- file descriptors --------------------------------------------------------------------- */

#define SPARE_FDS 2                                 /* held back to tell a client there are none */
#define ACCEPT_RETRY_MS 100                         /* after running out of descriptors */
#define REFUSED_MS 5000                             /* a refused client may take to ask */

/* -- uploads: tries ------------------------------------------------------------------------ */

#define RETRY_AFTER_MAX_MS 3600000                   /* of what a server may ask for */
#define PACE_BURST 10                                /* requests that may go at once; the peer's */
#define PACE_MIN_PER_S 0.1                           /* requests, whatever a backend's quota; the peer's */
#define PACE_MAX_PER_S 65536                         /* the peer's */
#define PACE_MAX_RESET_S 31e6                        /* a quota for longer is none */

/* -- uploads: requests ----------------------------------------------------------------------- */

#define GRAPHQL_ANSWER_BYTES (256 * 1024 * 1024)
#define NOTED_ANSWERS 16                            /* kept for network_status */
#define NOTED_ANSWER_BYTES 4096                     /* of each */
#define TOKEN_EXPIRES_EARLY_NS INT64_C(300000000000) /* an access token is not used any more */
#define TOKEN_REFUSED_NS INT64_C(60000000000)        /* after a refusal that led to an exchange, no other does */
#define TOKEN_FILE_BYTES (1024 * 1024)
#define TOKEN_ANSWER_BYTES (1024 * 1024)
#define TOKEN_RETRIES 3                             /* of an exchange, as the peer, */
#define TOKEN_WAIT_MIN_MS 1000
#define TOKEN_WAIT_MAX_MS 5000
#define TOKEN_TRY_MS 10000
#define BACKEND_CLOSE_LOOK_MS 2                     /* have its requests ended? */

/* -- uploads: the file stream --------------------------------------------------------------- */

#define FILESTREAM_INTERVAL_NS INT64_C(15000000000)  /* between requests, as the peer; settings */
#define FILESTREAM_FIRST_NS INT64_C(3000000000)      /* what a run has when it starts gathers so long */
#define FILESTREAM_HEARTBEAT_NS INT64_C(30000000000) /* the peer's */
#define FILESTREAM_REQUEST_BYTES (10 * 1024 * 1024)  /* the peer's; settings */
#define FILESTREAM_LINE_BYTES (10 * 1024 * 1024 - 100 * 1024) /* what backends take; settings */
#define FILESTREAM_FULL_BYTES (512 * 1024)           /* of a run that waits: then it is sent at once */
#define FILESTREAM_FULL_SYNC_BYTES (1 * 1024 * 1024) /* the same of a sync, */
#define FILESTREAM_FULL_HERE_BYTES (3 * 1024 * 1024) /* and of one that packs nothing: to this machine */
#define FILESTREAM_TOTAL_BYTES (32 * 1024 * 1024)    /* of all runs; above it, the next: */
#define FILESTREAM_SCARCE_BYTES (32 * 1024)
#define FILESTREAM_ANSWER_BYTES (256 * 1024)
#define FILESTREAM_PACK_HERE_BYTES (16 * 1024)       /* compressed on the loop; more on a worker */
#define FILESTREAM_STALL_NS INT64_C(60000000000)     /* without success, then the person is told */
#define TELL_AGAIN_NS INT64_C(60000000000)           /* before a message of the same kind again */

/* -- uploads: files ------------------------------------------------------------------------ */

#define POOL_TRANSFERS 64                            /* at once, of all runs (the peer: 128 a run) */
#define TRANSFER_SMALL_BYTES (64 * 1024)             /* read at once */
#define TRANSFER_LOOK_BYTES (8 * 1024 * 1024)        /* files of which a part may lie there already, from
                                                        before: the server is asked first */
#define TRANSFER_STEP_BYTES (1024 * 1024)            /* forward, and the tries are counted anew */
#define TRANSFER_ANSWER_BYTES 1024                   /* of it is told */
#define TRANSFER_STALL_MS 120000                     /* without a byte moving */
#define PLACE_MIN_BYTES (1024 * 1024)                /* of what is copied into a server's folder, not sent, */
#define PLACE_MAX_BYTES (INT64_C(4) << 30)           /* where it reads it before it answers: TRANSFER_STALL_MS */
#define PLACE_STEP_BYTES (64 * 1024 * 1024)          /* of a copy at a time on a worker */
#define PLACES 5                                     /* copies at once; the server takes few more */
#define DOWNLOAD_KEEP_BYTES (1024 * 1024)           /* of a part: then it waits for another try */
#define FILES_BATCH 256                              /* URLs asked for at once */
#define FILES_AHEAD 256                              /* transfers begun, then no more are asked for */
#define FILES_GATHER_MS 5000                         /* as the peer: before URLs are asked for */
#define FILES_NAME_BYTES 4096
#define FILE_WATCH_MS 1000                           /* between looks at live files */
#define FILE_CHANGES 3                               /* while it is sent: then it is sent again */
#define FILE_URLS 2                                  /* more, if one is refused */

/* -- uploads: artifacts -------------------------------------------------------------------- */

#define MANIFEST_FILE_BYTES (1024 * 1024 * 1024)     /* of JSON lines that a client leaves */
#define ARTIFACT_SAVES 16                            /* at once of a run */
#define ARTIFACT_GROUP 256                           /* URLs asked for at once */
#define ARTIFACT_GROUPS 2                            /* groups being prepared */
#define ARTIFACT_AHEAD 256                           /* transfers begun, then no more are asked for */
#define ARTIFACT_HASHERS 3                           /* workers for the parts of large files */
#define ARTIFACT_PARTS 8                             /* of a large file at once */
#define FETCHES 4                                    /* downloads of artifacts at once of a run */
#define FETCH_MANIFEST_BYTES (512 * 1024 * 1024)
#define FETCH_GROUP 500                              /* URLs asked for at once (the peer: 5000) */
#define FETCH_GROUPS 2                               /* groups being prepared */
#define FETCH_AHEAD 512                              /* files with a URL, then no more are asked for */
#define FETCH_LARGE 16                               /* files at once that do not fit in memory */
#define FETCH_URL_NS INT64_C(3600000000000)          /* a URL that old may have run out, as the peer */
#define REFERENCES 32                                /* at once */
#define REFERENCE_OBJECTS 1000000                    /* of a prefix */
#define REFERENCE_LIST_BYTES (64 * 1024 * 1024)      /* a page of a list */
#define MULTIPART_BYTES (INT64_C(2) << 30)           /* files of that size go in parts, as the peer */
#define MULTIPART_MAX_BYTES (INT64_C(5) << 40)       /* what S3 takes */
#define MULTIPART_PART_BYTES (INT64_C(100) << 20)
#define MULTIPART_MAX_PARTS 10000

/* -- sweep schedulers: all but the last three as the peer ----------------------------------------- */

#define SWEEP_POLL_MIN_MS 5000                       /* between polls of the runs; settings */
#define SWEEP_SLOWDOWN_MIN_MS 1000                   /* added after a failure, doubled with each, */
#define SWEEP_SLOWDOWN_MAX_MS 60000                  /* up to this */
#define SWEEP_POLL_PAGE 200                          /* runs of a page of a poll */
#define SWEEP_WARM_PAGE 100                          /* prior runs told at a time */
#define SWEEP_STILL_NS INT64_C(60000000000)          /* between lines that say that nothing moves */
#define SWEEP_POLL_MAX_MS 86400000
#define SWEEP_POLL_BYTES (512u << 20)                /* of the rows of one poll */
#define SWEEP_WAITING_POLLS 16                       /* of one session, beside the one being answered */

/* -- ends --------------------------------------------------------------------------------- */

#define IDLE_TIMEOUT_NS INT64_C(600000000000)       /* detached: without a client, as the peer */
#define ORPHAN_LOOK_MS 2000                         /* detached: after a client has gone, is its program? */
#define SIGNAL_GRACE_MS 600000                      /* after a signal to the whole job, while the
                                                       program still logs */
#define END_MS 120000                               /* for the last writes once the end has begun */
#define ONLINE_END_MS 600000                        /* the same for uploads, if runs are finished, */
#define ONLINE_PART_MS 10000                        /* and if they are left for `wandb sync` */
#define END_TELL_MS 2000                            /* then what the end waits for is said, and said again */
#define END_TELL_AGAIN_MS 10000                     /* when it has changed */
#define FOOTER_MS 1000                              /* to print what the user should know of runs */
#define DIAG_FLUSH_MS 200                           /* for the last lines of the debug log */

#endif
