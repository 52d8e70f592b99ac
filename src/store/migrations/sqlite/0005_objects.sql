-- Which objects there may be, and who uses them. An object is content, and so may be a video, another
-- owner's video and a result at once: it goes when nothing of these names it any more, and nobody is
-- about to.
CREATE TABLE objects (
    name TEXT PRIMARY KEY CHECK (length(name) = 64), -- SHA-256 of the bytes
    created_at INTEGER NOT NULL,
    removal TEXT, -- who is taking it away just now; NULL: nobody
    removal_at INTEGER,
    CHECK ((removal IS NULL) = (removal_at IS NULL))
) STRICT;

-- Who stores an object and has not entered yet what for. One that dies before is forgotten in time.
CREATE TABLE object_holds (
    object TEXT NOT NULL,
    holder TEXT NOT NULL,
    held_until INTEGER NOT NULL,
    PRIMARY KEY (object, holder)
) STRICT, WITHOUT ROWID;
CREATE INDEX object_holds_holder ON object_holds (holder);
CREATE INDEX object_holds_end ON object_holds (held_until);

-- What a job needs: its results, and the parts of the record that its checkpoint names.
CREATE TABLE job_objects (
    job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    object TEXT NOT NULL,
    part INTEGER NOT NULL, -- 1: of its checkpoint; 0: a result
    PRIMARY KEY (job_id, object, part)
) STRICT, WITHOUT ROWID;
CREATE INDEX job_objects_object ON job_objects (object);
CREATE INDEX job_objects_part ON job_objects (job_id) WHERE part = 1;

-- What was there before. Parts are not told by any table: those of the jobs that are under way stay.
INSERT INTO job_objects (job_id, object, part)
    SELECT DISTINCT jobs.id, file.value ->> 'object', 0 FROM jobs, json_each(jobs.result, '$.files') AS file
        WHERE jobs.kind = 'video' AND jobs.result IS NOT NULL AND json_valid(jobs.result)
            AND length(file.value ->> 'object') = 64;
INSERT INTO objects (name, created_at)
    SELECT hash, nx_now() FROM videos UNION SELECT object, nx_now() FROM job_objects;
