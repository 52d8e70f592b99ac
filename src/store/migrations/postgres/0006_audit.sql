-- Who did what. Rows are only ever added: each one's hash is over the hash of the row before it and its
-- own columns (store/audit.h), so that what was changed, taken out or put in between is found. audit_head
-- tells how many there are and the last one's hash, so that rows missing at the end are found, too; its
-- row is also the lock of whoever appends.
CREATE TABLE audit_log (
    seq bigint PRIMARY KEY CHECK (seq > 0),
    at bigint NOT NULL,
    actor_kind text COLLATE "C" NOT NULL, -- user, key, local, anonymous, command, system
    actor text COLLATE "C" NOT NULL, -- name of the user; '' of nobody
    actor_key text COLLATE "C" NOT NULL, -- public part of the API key; '' for none
    address text COLLATE "C" NOT NULL, -- of the client; '' for none
    action text COLLATE "C" NOT NULL, -- auth.login and so on
    object text COLLATE "C" NOT NULL, -- what it was done to: 'video:ID'; '' for nothing
    result text COLLATE "C" NOT NULL CHECK (result IN ('ok', 'refused', 'failed')),
    details text NOT NULL, -- a JSON object
    request_id text NOT NULL, -- '' for none
    hash text COLLATE "C" NOT NULL CHECK (length(hash) = 64)
);
CREATE INDEX audit_log_at ON audit_log (at);
CREATE INDEX audit_log_actor ON audit_log (actor, seq);
CREATE INDEX audit_log_action ON audit_log (action, seq);

CREATE TABLE audit_head (
    id bigint PRIMARY KEY CHECK (id = 1),
    seq bigint NOT NULL CHECK (seq >= 0),
    hash text COLLATE "C" NOT NULL CHECK (length(hash) = 64)
);
INSERT INTO audit_head (id, seq, hash)
    VALUES (1, 0, '0000000000000000000000000000000000000000000000000000000000000000');

CREATE OR REPLACE FUNCTION nx_audit_log_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        RAISE EXCEPTION 'the audit log is never changed'
            USING ERRCODE = 'integrity_constraint_violation';
    ELSIF NEW.seq IS DISTINCT FROM (SELECT seq + 1 FROM audit_head) THEN
        RAISE EXCEPTION 'the audit log grows at its end alone'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER audit_log_guard BEFORE INSERT OR UPDATE OR DELETE ON audit_log
    FOR EACH ROW EXECUTE FUNCTION nx_audit_log_guard();
CREATE TRIGGER audit_log_truncate BEFORE TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION nx_audit_log_guard();

CREATE OR REPLACE FUNCTION nx_audit_head_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'UPDATE' THEN
        RAISE EXCEPTION 'the audit log is never changed'
            USING ERRCODE = 'integrity_constraint_violation';
    ELSIF NEW.seq <> OLD.seq + 1
        OR NEW.hash IS DISTINCT FROM (SELECT hash FROM audit_log WHERE seq = NEW.seq) THEN
        RAISE EXCEPTION 'the head of the audit log follows its rows'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER audit_head_guard BEFORE INSERT OR UPDATE OR DELETE ON audit_head
    FOR EACH ROW EXECUTE FUNCTION nx_audit_head_guard();
CREATE TRIGGER audit_head_truncate BEFORE TRUNCATE ON audit_head
    FOR EACH STATEMENT EXECUTE FUNCTION nx_audit_head_guard();
