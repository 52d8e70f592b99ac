-- Cameras that are watched. One host at a time runs a stream, under a lease that it renews.
CREATE TABLE streams (
    id TEXT PRIMARY KEY, -- UUIDv7: sorts by age
    name TEXT NOT NULL,
    url TEXT NOT NULL, -- with what it holds of passwords: never shown
    options TEXT NOT NULL, -- JSON
    enabled INTEGER NOT NULL,
    version INTEGER NOT NULL DEFAULT 1, -- grows with each change of the above
    created_by TEXT NOT NULL,
    user_id TEXT, -- for whom it uses its model; NULL: for somebody who may use all
    key_id TEXT, -- of an API key; NULL: none
    lease_owner TEXT,
    lease_until INTEGER,
    fence INTEGER NOT NULL DEFAULT 0, -- another one with each lease
    state TEXT NOT NULL DEFAULT 'stopped'
        CHECK (state IN ('connecting', 'live', 'stalled', 'reconnecting', 'stopped')),
    reason TEXT NOT NULL DEFAULT '',
    state_at INTEGER NOT NULL,
    status TEXT, -- JSON: what whoever runs it has counted
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    CHECK ((lease_owner IS NULL) = (lease_until IS NULL))
) STRICT;
CREATE UNIQUE INDEX streams_name ON streams (lower(name));
