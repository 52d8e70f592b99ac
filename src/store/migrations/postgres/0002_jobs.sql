CREATE TABLE jobs (
    id text COLLATE "C" PRIMARY KEY, -- UUIDv7: sorts by age
    owner text COLLATE "C" NOT NULL,
    kind text NOT NULL,
    video_id text COLLATE "C" REFERENCES videos (id) ON DELETE SET NULL,
    state text COLLATE "C" NOT NULL DEFAULT 'queued'
        CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled', 'dead')),
    priority bigint NOT NULL DEFAULT 0, -- the greater goes first
    turn bigint NOT NULL DEFAULT 0, -- among equals of priority: owners take turns
    options text NOT NULL, -- JSON
    webhook_url text,
    attempts bigint NOT NULL DEFAULT 0, -- times it was taken
    strikes bigint NOT NULL DEFAULT 0, -- times it was taken since it last got on
    max_attempts bigint NOT NULL CHECK (max_attempts > 0), -- limit of strikes
    not_before bigint NOT NULL, -- a retry waits until then
    lease_owner text,
    lease_until bigint,
    fence bigint NOT NULL DEFAULT 0, -- another one when a lease begins or is taken away
    heartbeat_at bigint,
    position bigint NOT NULL DEFAULT 0, -- of the last checkpoint
    cancel_requested bigint NOT NULL DEFAULT 0,
    progress text, -- JSON
    result text, -- JSON
    error text,
    idempotency_key text COLLATE "C",
    request_hash text,
    event_seq bigint NOT NULL DEFAULT 1, -- of its last event
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    started_at bigint, -- the first time
    finished_at bigint,
    CHECK ((state = 'running') = (lease_until IS NOT NULL)),
    CHECK ((state IN ('queued', 'running')) = (finished_at IS NULL))
) WITH (fillfactor = 70); -- rows change a few times: room for the next version on the same page
CREATE UNIQUE INDEX jobs_idempotency ON jobs (owner, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX jobs_queue ON jobs (priority DESC, turn, id) WHERE state = 'queued';
CREATE INDEX jobs_queue_age ON jobs (id) WHERE state = 'queued';
CREATE INDEX jobs_queue_owner ON jobs (owner, priority, turn) WHERE state = 'queued';
CREATE INDEX jobs_leases ON jobs (lease_until) WHERE state = 'running';
CREATE INDEX jobs_owner ON jobs (owner, id);
CREATE INDEX jobs_video ON jobs (video_id) WHERE video_id IS NOT NULL;
CREATE INDEX jobs_finished ON jobs (finished_at) WHERE finished_at IS NOT NULL;

-- A queue's dead rows are what slows it down: they are cleared away early and often.
ALTER TABLE jobs SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 200);

-- What has happened to a job, as a stream of events with numbers that have no gap.
CREATE TABLE job_events (
    job_id text COLLATE "C" NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    seq bigint NOT NULL,
    kind text NOT NULL, -- state, progress
    state text NOT NULL,
    progress text,
    error text,
    created_at bigint NOT NULL,
    PRIMARY KEY (job_id, seq)
);

-- Whoever raises event_seq has told an event; the last thousand of a job are kept.
CREATE FUNCTION nx_job_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO job_events (job_id, seq, kind, state, progress, error, created_at)
        VALUES (NEW.id, NEW.event_seq,
            CASE WHEN TG_OP = 'UPDATE' AND NEW.state = OLD.state THEN 'progress' ELSE 'state' END,
            NEW.state, NEW.progress, NEW.error, NEW.updated_at);
    IF NEW.event_seq > 1000 THEN
        DELETE FROM job_events WHERE job_id = NEW.id AND seq <= NEW.event_seq - 1000;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER jobs_event_first AFTER INSERT ON jobs FOR EACH ROW EXECUTE FUNCTION nx_job_event();
CREATE TRIGGER jobs_event AFTER UPDATE OF event_seq ON jobs FOR EACH ROW
    WHEN (NEW.event_seq <> OLD.event_seq) EXECUTE FUNCTION nx_job_event();

-- Where a job goes on when it is taken again.
CREATE TABLE job_checkpoints (
    job_id text COLLATE "C" PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
    position bigint NOT NULL, -- what is done, in the job's own unit
    result_offset bigint NOT NULL, -- bytes of the result that belong to it
    state bytea NOT NULL,
    created_at bigint NOT NULL
);
