-- One row an event. For ClickHouse 18.16 (Debian 12) and everything newer.
-- A resend has the same id, tool and time, and so the same key and partition: merges keep one row of each.
-- Until they have, count with FINAL or with uniqExact(id).
-- MATERIALIZED, since older versions compute no DEFAULT for rows that come as JSON.
CREATE TABLE IF NOT EXISTS events (
    id String,
    tool String,
    tool_version String,
    event String,
    time String,
    anonymous_id String,
    project_id String,
    properties String,
    context String,
    age_ms UInt64,
    at DateTime MATERIALIZED parseDateTimeBestEffortOrZero(time),
    arrived DateTime MATERIALIZED now()
) ENGINE = ReplacingMergeTree(arrived)
PARTITION BY toYYYYMM(at)
ORDER BY (tool, at, id)
