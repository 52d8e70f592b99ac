-- Who did what. Rows are only ever added: each one's hash is over the hash of the row before it and its
-- own columns (store/audit.h), so that what was changed, taken out or put in between is found. audit_head
-- tells how many there are and the last one's hash, so that rows missing at the end are found, too.
CREATE TABLE audit_log (
    seq INTEGER PRIMARY KEY CHECK (seq > 0),
    at INTEGER NOT NULL,
    actor_kind TEXT NOT NULL, -- user, key, local, anonymous, command, system
    actor TEXT NOT NULL, -- name of the user; '' of nobody
    actor_key TEXT NOT NULL, -- public part of the API key; '' for none
    address TEXT NOT NULL, -- of the client; '' for none
    action TEXT NOT NULL, -- auth.login and so on
    object TEXT NOT NULL, -- what it was done to: 'video:ID'; '' for nothing
    result TEXT NOT NULL CHECK (result IN ('ok', 'refused', 'failed')),
    details TEXT NOT NULL, -- a JSON object
    request_id TEXT NOT NULL, -- '' for none
    hash TEXT NOT NULL CHECK (length(hash) = 64)
) STRICT;
CREATE INDEX audit_log_at ON audit_log (at);
CREATE INDEX audit_log_actor ON audit_log (actor, seq);
CREATE INDEX audit_log_action ON audit_log (action, seq);

CREATE TABLE audit_head (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    seq INTEGER NOT NULL CHECK (seq >= 0),
    hash TEXT NOT NULL CHECK (length(hash) = 64)
) STRICT;
INSERT INTO audit_head (id, seq, hash)
    VALUES (1, 0, '0000000000000000000000000000000000000000000000000000000000000000');

CREATE TRIGGER audit_log_insert BEFORE INSERT ON audit_log
    WHEN NEW.seq IS NOT (SELECT seq + 1 FROM audit_head)
BEGIN
    SELECT RAISE(ABORT, 'the audit log grows at its end alone');
END;
CREATE TRIGGER audit_log_update BEFORE UPDATE ON audit_log
BEGIN
    SELECT RAISE(ABORT, 'the audit log is never changed');
END;
CREATE TRIGGER audit_log_delete BEFORE DELETE ON audit_log
BEGIN
    SELECT RAISE(ABORT, 'the audit log is never changed');
END;
CREATE TRIGGER audit_head_insert BEFORE INSERT ON audit_head
BEGIN
    SELECT RAISE(ABORT, 'the head of the audit log is there already');
END;
CREATE TRIGGER audit_head_update BEFORE UPDATE ON audit_head
    WHEN NEW.seq <> OLD.seq + 1
        OR NEW.hash IS NOT (SELECT hash FROM audit_log WHERE seq = NEW.seq)
BEGIN
    SELECT RAISE(ABORT, 'the head of the audit log follows its rows');
END;
CREATE TRIGGER audit_head_delete BEFORE DELETE ON audit_head
BEGIN
    SELECT RAISE(ABORT, 'the audit log is never changed');
END;
