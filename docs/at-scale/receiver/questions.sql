-- To begin with: sqlite3 events.db < questions.sql
-- Events of each tool, day by day.
SELECT date(time) AS day, tool, count(*) AS events FROM events GROUP BY day, tool ORDER BY day, tool;
-- How many people use each tool, and which versions.
SELECT tool, tool_version, count(DISTINCT anonymous_id) AS people FROM events GROUP BY tool, tool_version;
-- The commonest commands, and who stays with them.
SELECT properties ->> 'command' AS command, count(*) AS times, count(DISTINCT anonymous_id) AS people
FROM events WHERE properties ->> 'command' IS NOT NULL GROUP BY command ORDER BY times DESC LIMIT 20;
-- What fails.
SELECT tool, event, avg(properties ->> 'success') AS succeeded FROM events
WHERE properties ->> 'success' IS NOT NULL GROUP BY tool, event;
-- On which systems.
SELECT context ->> '$.os.name' AS os, context ->> 'arch' AS arch, count(DISTINCT anonymous_id) AS people
FROM events GROUP BY os, arch;
-- How late events arrive, by the daemon's own measure: a laptop's clock may be wrong, its age is not.
SELECT tool, max(age_ms) / 1000 AS latest_s, avg(age_ms) / 1000 AS mean_s FROM events GROUP BY tool;
