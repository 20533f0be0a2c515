-- The exporter's table has no key by event: what came twice (after a broken connection) is told by event.id.
SELECT toDate(Timestamp) AS day, ServiceName AS tool, uniqExact(LogAttributes['event.id']) AS events
FROM otel_logs GROUP BY day, tool ORDER BY day, tool;
SELECT LogAttributes['command'] AS command, uniqExact(LogAttributes['event.id']) AS times,
    uniqExact(LogAttributes['enduser.pseudo.id']) AS people
FROM otel_logs WHERE ServiceName = 'kedro' GROUP BY command ORDER BY times DESC LIMIT 20;
SELECT ResourceAttributes['os.type'] AS os, ResourceAttributes['host.arch'] AS arch,
    uniqExact(LogAttributes['enduser.pseudo.id']) AS people
FROM otel_logs GROUP BY os, arch;
