-- Who wants to be told of the end of a job. One for each end: a job that is retried ends again.
CREATE TABLE webhooks (
    id text COLLATE "C" PRIMARY KEY, -- the job's id, a colon, and the number of its event
    job_id text COLLATE "C" NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    url text NOT NULL,
    state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'failed')),
    attempts bigint NOT NULL DEFAULT 0,
    fence bigint NOT NULL DEFAULT 0, -- grows with each attempt
    next_at bigint NOT NULL, -- not sent before; while an attempt runs, its end at the latest
    created_at bigint NOT NULL,
    finished_at bigint
);
CREATE INDEX webhooks_due ON webhooks (next_at) WHERE state = 'pending';
CREATE INDEX webhooks_job ON webhooks (job_id);

CREATE FUNCTION nx_job_webhook() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO webhooks (id, job_id, url, next_at, created_at)
        VALUES (NEW.id || ':' || NEW.event_seq, NEW.id, NEW.webhook_url, NEW.updated_at, NEW.updated_at);
    RETURN NULL;
END $$;
CREATE TRIGGER jobs_webhook AFTER UPDATE OF state ON jobs FOR EACH ROW
    WHEN (NEW.webhook_url IS NOT NULL AND NEW.finished_at IS NOT NULL AND OLD.finished_at IS NULL)
    EXECUTE FUNCTION nx_job_webhook();

CREATE TABLE webhook_attempts (
    webhook_id text COLLATE "C" NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    attempt bigint NOT NULL,
    status bigint NOT NULL, -- of the answer; 0: none came
    error text,
    duration_ms bigint NOT NULL,
    created_at bigint NOT NULL,
    PRIMARY KEY (webhook_id, attempt)
);
