-- What kept answers are valid by (store/states.h). A state is a value by chance, which becomes another
-- one, in the same transaction, with every change of what it stands for: never one that has been before.
CREATE TABLE states (
    name TEXT PRIMARY KEY,
    state TEXT NOT NULL
) STRICT;
INSERT INTO states (name, state) VALUES
    ('videos', lower(hex(randomblob(16)))), -- one is another, or gone
    ('videos_added', lower(hex(randomblob(16)))),
    ('jobs_ended', lower(hex(randomblob(16)))); -- one that had ended is another, queued again, or gone

CREATE TRIGGER videos_changed AFTER UPDATE ON videos
    WHEN (OLD.id, OLD.owner, OLD.hash, OLD.size, OLD.name, OLD.probe, OLD.created_at)
        IS NOT (NEW.id, NEW.owner, NEW.hash, NEW.size, NEW.name, NEW.probe, NEW.created_at) BEGIN
    UPDATE states SET state = lower(hex(randomblob(16))) WHERE name = 'videos';
END;
CREATE TRIGGER videos_removed AFTER DELETE ON videos BEGIN
    UPDATE states SET state = lower(hex(randomblob(16))) WHERE name = 'videos';
END;
CREATE TRIGGER videos_added AFTER INSERT ON videos BEGIN
    UPDATE states SET state = lower(hex(randomblob(16))) WHERE name = 'videos_added';
END;
CREATE TRIGGER jobs_ended_changed AFTER UPDATE ON jobs WHEN OLD.finished_at IS NOT NULL BEGIN
    UPDATE states SET state = lower(hex(randomblob(16))) WHERE name = 'jobs_ended';
END;
CREATE TRIGGER jobs_ended_removed AFTER DELETE ON jobs WHEN OLD.finished_at IS NOT NULL BEGIN
    UPDATE states SET state = lower(hex(randomblob(16))) WHERE name = 'jobs_ended';
END;
