-- Cameras that are watched. One host at a time runs a stream, under a lease that it renews.
CREATE TABLE streams (
    id text COLLATE "C" PRIMARY KEY, -- UUIDv7: sorts by age
    name text COLLATE "C" NOT NULL,
    url text NOT NULL, -- with what it holds of passwords: never shown
    options text NOT NULL, -- JSON
    enabled bigint NOT NULL,
    version bigint NOT NULL DEFAULT 1, -- grows with each change of the above
    created_by text NOT NULL,
    user_id text COLLATE "C", -- for whom it uses its model; NULL: for somebody who may use all
    key_id text COLLATE "C", -- of an API key; NULL: none
    lease_owner text,
    lease_until bigint,
    fence bigint NOT NULL DEFAULT 0, -- another one with each lease
    state text COLLATE "C" NOT NULL DEFAULT 'stopped'
        CHECK (state IN ('connecting', 'live', 'stalled', 'reconnecting', 'stopped')),
    reason text NOT NULL DEFAULT '',
    state_at bigint NOT NULL,
    status text, -- JSON: what whoever runs it has counted
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    CHECK ((lease_owner IS NULL) = (lease_until IS NULL))
) WITH (fillfactor = 50); -- the lease changes all the time: room for the next version on the same page
CREATE UNIQUE INDEX streams_name ON streams (lower(name));
