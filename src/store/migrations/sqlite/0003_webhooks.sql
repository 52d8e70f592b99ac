-- Who wants to be told of the end of a job. One for each end: a job that is retried ends again.
CREATE TABLE webhooks (
    id TEXT PRIMARY KEY, -- the job's id, a colon, and the number of its event
    job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    url TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'failed')),
    attempts INTEGER NOT NULL DEFAULT 0,
    fence INTEGER NOT NULL DEFAULT 0, -- grows with each attempt
    next_at INTEGER NOT NULL, -- not sent before; while an attempt runs, its end at the latest
    created_at INTEGER NOT NULL,
    finished_at INTEGER
) STRICT;
CREATE INDEX webhooks_due ON webhooks (next_at) WHERE state = 'pending';
CREATE INDEX webhooks_job ON webhooks (job_id);

CREATE TRIGGER jobs_webhook AFTER UPDATE OF state ON jobs
    WHEN NEW.webhook_url IS NOT NULL AND NEW.finished_at IS NOT NULL AND OLD.finished_at IS NULL BEGIN
    INSERT INTO webhooks (id, job_id, url, next_at, created_at)
        VALUES (NEW.id || ':' || NEW.event_seq, NEW.id, NEW.webhook_url, NEW.updated_at, NEW.updated_at);
END;

CREATE TABLE webhook_attempts (
    webhook_id TEXT NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    attempt INTEGER NOT NULL,
    status INTEGER NOT NULL, -- of the answer; 0: none came
    error TEXT,
    duration_ms INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (webhook_id, attempt)
) STRICT, WITHOUT ROWID;
