/* SPDX-License-Identifier: MIT */
/* What the sender asks a backend: operations, variables and selected fields are those of the peer
 * (core/api/graphql/), which its backends know. */
#ifndef TARE_SERVICE_STREAM_SENDER_QUERIES_H
#define TARE_SERVICE_STREAM_SENDER_QUERIES_H

#define RUN_FIELDS                                                                               \
    "id name displayName description config sweepName"                                           \
    " project { id name entity { id name } } historyLineCount"

#define UPSERT_BUCKET                                                                            \
    "mutation UpsertBucket($id: String, $name: String, $project: String, $entity: String,"       \
    " $groupName: String, $description: String, $displayName: String, $notes: String,"           \
    " $commit: String, $config: JSONString, $host: String, $debug: Boolean, $program: String,"   \
    " $repo: String, $jobType: String, $state: String, $sweep: String, $tags: [String!],"        \
    " $summaryMetrics: JSONString) {"                                                            \
    " upsertBucket(input: {id: $id, name: $name, groupName: $groupName, modelName: $project,"    \
    " entityName: $entity, description: $description, displayName: $displayName, notes: $notes," \
    " config: $config, commit: $commit, host: $host, debug: $debug, jobProgram: $program,"       \
    " jobRepo: $repo, jobType: $jobType, state: $state, sweep: $sweep, tags: $tags,"             \
    " summaryMetrics: $summaryMetrics}) { bucket { " RUN_FIELDS " } inserted } }"

#define REWIND_RUN                                                                               \
    "mutation RewindRun($runName: String!, $entity: String, $project: String,"                   \
    " $metricName: String!, $metricValue: Float!) {"                                             \
    " rewindRun(input: {runName: $runName, entityName: $entity, projectName: $project,"          \
    " metricName: $metricName, metricValue: $metricValue}) { rewoundRun { " RUN_FIELDS " } } }"

#define RUN_RESUME_STATUS                                                                        \
    "query RunResumeStatus($project: String, $entity: String, $name: String!) {"                 \
    " model(name: $project, entityName: $entity) { id name entity { id name }"                   \
    " bucket(name: $name, missingOk: true) { id name summaryMetrics displayName logLineCount"    \
    " historyLineCount eventsLineCount historyTail eventsTail config tags notes"                 \
    " wandbConfig(keys: [\"t\"]) } } }"

#define NOTIFY_RUN_ALERT                                                                         \
    "mutation NotifyScriptableRunAlert($entityName: String!, $projectName: String!,"             \
    " $runName: String!, $title: String!, $text: String!, $severity: AlertSeverity = INFO,"      \
    " $waitDuration: Duration) {"                                                                \
    " notifyScriptableRunAlert(input: {entityName: $entityName, projectName: $projectName,"      \
    " runName: $runName, title: $title, text: $text, severity: $severity,"                       \
    " waitDuration: $waitDuration}) { success } }"

#define UPDATE_ARTIFACT                                                                          \
    "mutation UpdateArtifact($artifactID: ID!, $metadata: JSONString) {"                         \
    " updateArtifact(input: {artifactID: $artifactID, metadata: $metadata}) { artifact { id } } }"

#endif
