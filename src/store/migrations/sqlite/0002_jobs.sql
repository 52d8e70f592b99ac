CREATE TABLE jobs (
    id TEXT PRIMARY KEY, -- UUIDv7: sorts by age
    owner TEXT NOT NULL,
    kind TEXT NOT NULL,
    video_id TEXT REFERENCES videos (id) ON DELETE SET NULL,
    state TEXT NOT NULL DEFAULT 'queued'
        CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled', 'dead')),
    priority INTEGER NOT NULL DEFAULT 0, -- the greater goes first
    turn INTEGER NOT NULL DEFAULT 0, -- among equals of priority: owners take turns
    options TEXT NOT NULL, -- JSON
    webhook_url TEXT,
    attempts INTEGER NOT NULL DEFAULT 0, -- times it was taken
    strikes INTEGER NOT NULL DEFAULT 0, -- times it was taken since it last got on
    max_attempts INTEGER NOT NULL CHECK (max_attempts > 0), -- limit of strikes
    not_before INTEGER NOT NULL, -- a retry waits until then
    lease_owner TEXT,
    lease_until INTEGER,
    fence INTEGER NOT NULL DEFAULT 0, -- another one when a lease begins or is taken away
    heartbeat_at INTEGER,
    position INTEGER NOT NULL DEFAULT 0, -- of the last checkpoint
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    progress TEXT, -- JSON
    result TEXT, -- JSON
    error TEXT,
    idempotency_key TEXT,
    request_hash TEXT,
    event_seq INTEGER NOT NULL DEFAULT 1, -- of its last event
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    started_at INTEGER, -- the first time
    finished_at INTEGER,
    CHECK ((state = 'running') = (lease_until IS NOT NULL)),
    CHECK ((state IN ('queued', 'running')) = (finished_at IS NULL))
) STRICT;
CREATE UNIQUE INDEX jobs_idempotency ON jobs (owner, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX jobs_queue ON jobs (priority DESC, turn, id) WHERE state = 'queued';
CREATE INDEX jobs_queue_age ON jobs (id) WHERE state = 'queued';
CREATE INDEX jobs_queue_owner ON jobs (owner, priority, turn) WHERE state = 'queued';
CREATE INDEX jobs_leases ON jobs (lease_until) WHERE state = 'running';
CREATE INDEX jobs_owner ON jobs (owner, id);
CREATE INDEX jobs_video ON jobs (video_id) WHERE video_id IS NOT NULL;
CREATE INDEX jobs_finished ON jobs (finished_at) WHERE finished_at IS NOT NULL;

-- What has happened to a job, as a stream of events with numbers that have no gap.
CREATE TABLE job_events (
    job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    seq INTEGER NOT NULL,
    kind TEXT NOT NULL, -- state, progress
    state TEXT NOT NULL,
    progress TEXT,
    error TEXT,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (job_id, seq)
) STRICT, WITHOUT ROWID;

-- Whoever raises event_seq has told an event; the last thousand of a job are kept.
CREATE TRIGGER jobs_event_first AFTER INSERT ON jobs BEGIN
    INSERT INTO job_events (job_id, seq, kind, state, progress, error, created_at)
        VALUES (NEW.id, NEW.event_seq, 'state', NEW.state, NEW.progress, NEW.error, NEW.updated_at);
END;
CREATE TRIGGER jobs_event AFTER UPDATE OF event_seq ON jobs WHEN NEW.event_seq <> OLD.event_seq BEGIN
    INSERT INTO job_events (job_id, seq, kind, state, progress, error, created_at)
        VALUES (NEW.id, NEW.event_seq, CASE WHEN NEW.state = OLD.state THEN 'progress' ELSE 'state' END,
            NEW.state, NEW.progress, NEW.error, NEW.updated_at);
    DELETE FROM job_events WHERE job_id = NEW.id AND seq <= NEW.event_seq - 1000;
END;

-- Where a job goes on when it is taken again.
CREATE TABLE job_checkpoints (
    job_id TEXT PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
    position INTEGER NOT NULL, -- what is done, in the job's own unit
    result_offset INTEGER NOT NULL, -- bytes of the result that belong to it
    state BLOB NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

