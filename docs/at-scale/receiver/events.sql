CREATE TABLE IF NOT EXISTS events (
    id TEXT PRIMARY KEY,
    tool TEXT NOT NULL,
    tool_version TEXT,
    event TEXT NOT NULL,
    time TEXT NOT NULL,
    anonymous_id TEXT,
    project_id TEXT,
    properties TEXT,
    context TEXT,
    age_ms INTEGER
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS events_by_tool ON events (tool, event, time);
