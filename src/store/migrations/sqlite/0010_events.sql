-- What happened before cameras. Rows are numbered in the order in which they are committed, so that
-- who reads on behind a number misses none: the row of event_head is the lock.
CREATE TABLE event_head (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    seq INTEGER NOT NULL
) STRICT;
INSERT INTO event_head (id, seq) VALUES (1, 0);

CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE, -- UUIDv7
    stream_id TEXT NOT NULL, -- the events of a stream outlive it
    stream_name TEXT NOT NULL,
    kind TEXT NOT NULL,
    rule TEXT NOT NULL,
    class TEXT,
    track INTEGER,
    zone TEXT, -- or line
    at INTEGER NOT NULL, -- of the frame
    details TEXT NOT NULL, -- JSON
    snapshot TEXT, -- objects
    clip TEXT,
    bytes INTEGER NOT NULL, -- of the objects
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX events_stream ON events (stream_id, seq);
CREATE INDEX events_at ON events (at);
CREATE INDEX events_snapshot ON events (snapshot) WHERE snapshot IS NOT NULL;
CREATE INDEX events_clip ON events (clip) WHERE clip IS NOT NULL;

-- Who is still to be told: one for each event and target, entered with the event.
CREATE TABLE event_deliveries (
    id TEXT PRIMARY KEY, -- the event's id, a colon, and the target
    event_id TEXT NOT NULL REFERENCES events (id) ON DELETE CASCADE,
    target TEXT NOT NULL CHECK (target IN ('webhook', 'mqtt')),
    url TEXT NOT NULL, -- of a webhook
    state TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'failed')),
    attempts INTEGER NOT NULL DEFAULT 0,
    fence INTEGER NOT NULL DEFAULT 0, -- grows with each attempt
    next_at INTEGER NOT NULL, -- not sent before; while an attempt runs, its end at the latest
    created_at INTEGER NOT NULL,
    finished_at INTEGER
) STRICT;
CREATE INDEX event_deliveries_due ON event_deliveries (target, next_at) WHERE state = 'pending';
CREATE INDEX event_deliveries_event ON event_deliveries (event_id);

CREATE TABLE event_attempts (
    delivery_id TEXT NOT NULL REFERENCES event_deliveries (id) ON DELETE CASCADE,
    attempt INTEGER NOT NULL,
    status INTEGER NOT NULL, -- of the answer; 0: none came
    error TEXT,
    duration_ms INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (delivery_id, attempt)
) STRICT, WITHOUT ROWID;
