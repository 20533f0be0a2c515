-- Events a day of each tool.
SELECT toDate(at) AS day, tool, count() AS events FROM events FINAL GROUP BY day, tool ORDER BY day, tool;
-- The commonest commands, by the property "command" (the older function for JSON text is in every version).
SELECT visitParamExtractString(properties, 'command') AS command, count() AS times, uniqExact(anonymous_id) AS people
FROM events FINAL WHERE tool = 'kedro' GROUP BY command ORDER BY times DESC LIMIT 20;
-- How late events arrive: the age that the daemon said, without the laptop's clock.
SELECT quantile(0.5)(age_ms) / 1000 AS median_s, quantile(0.99)(age_ms) / 1000 AS late_s FROM events FINAL;
