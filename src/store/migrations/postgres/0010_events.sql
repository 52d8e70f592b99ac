-- What happened before cameras. Rows are numbered in the order in which they are committed, so that
-- who reads on behind a number misses none: the row of event_head is the lock.
CREATE TABLE event_head (
    id bigint PRIMARY KEY CHECK (id = 1),
    seq bigint NOT NULL
);
INSERT INTO event_head (id, seq) VALUES (1, 0);

CREATE TABLE events (
    seq bigint PRIMARY KEY,
    id text COLLATE "C" NOT NULL UNIQUE, -- UUIDv7
    stream_id text COLLATE "C" NOT NULL, -- the events of a stream outlive it
    stream_name text NOT NULL,
    kind text COLLATE "C" NOT NULL,
    rule text COLLATE "C" NOT NULL,
    class text COLLATE "C",
    track bigint,
    zone text COLLATE "C", -- or line
    at bigint NOT NULL, -- of the frame
    details text NOT NULL, -- JSON
    snapshot text COLLATE "C", -- objects
    clip text COLLATE "C",
    bytes bigint NOT NULL, -- of the objects
    created_at bigint NOT NULL
);
CREATE INDEX events_stream ON events (stream_id, seq);
CREATE INDEX events_at ON events (at);
CREATE INDEX events_snapshot ON events (snapshot) WHERE snapshot IS NOT NULL;
CREATE INDEX events_clip ON events (clip) WHERE clip IS NOT NULL;

-- Who is still to be told: one for each event and target, entered with the event.
CREATE TABLE event_deliveries (
    id text COLLATE "C" PRIMARY KEY, -- the event's id, a colon, and the target
    event_id text COLLATE "C" NOT NULL REFERENCES events (id) ON DELETE CASCADE,
    target text COLLATE "C" NOT NULL CHECK (target IN ('webhook', 'mqtt')),
    url text NOT NULL, -- of a webhook
    state text COLLATE "C" NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'failed')),
    attempts bigint NOT NULL DEFAULT 0,
    fence bigint NOT NULL DEFAULT 0, -- grows with each attempt
    next_at bigint NOT NULL, -- not sent before; while an attempt runs, its end at the latest
    created_at bigint NOT NULL,
    finished_at bigint
);
CREATE INDEX event_deliveries_due ON event_deliveries (target, next_at) WHERE state = 'pending';
CREATE INDEX event_deliveries_event ON event_deliveries (event_id);

CREATE TABLE event_attempts (
    delivery_id text COLLATE "C" NOT NULL REFERENCES event_deliveries (id) ON DELETE CASCADE,
    attempt bigint NOT NULL,
    status bigint NOT NULL, -- of the answer; 0: none came
    error text COLLATE "C",
    duration_ms bigint NOT NULL,
    created_at bigint NOT NULL,
    PRIMARY KEY (delivery_id, attempt)
);
