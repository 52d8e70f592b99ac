-- Which objects there may be, and who uses them. An object is content, and so may be a video, another
-- owner's video and a result at once: it goes when nothing of these names it any more, and nobody is
-- about to.
CREATE TABLE objects (
    name text COLLATE "C" PRIMARY KEY CHECK (length(name) = 64), -- SHA-256 of the bytes
    created_at bigint NOT NULL,
    removal text COLLATE "C", -- who is taking it away just now; NULL: nobody
    removal_at bigint,
    CHECK ((removal IS NULL) = (removal_at IS NULL))
);

-- Who stores an object and has not entered yet what for. One that dies before is forgotten in time.
CREATE TABLE object_holds (
    object text COLLATE "C" NOT NULL,
    holder text COLLATE "C" NOT NULL,
    held_until bigint NOT NULL,
    PRIMARY KEY (object, holder)
);
CREATE INDEX object_holds_holder ON object_holds (holder);
CREATE INDEX object_holds_end ON object_holds (held_until);

-- What a job needs: its results, and the parts of the record that its checkpoint names.
CREATE TABLE job_objects (
    job_id text COLLATE "C" NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    object text COLLATE "C" NOT NULL,
    part bigint NOT NULL, -- 1: of its checkpoint; 0: a result
    PRIMARY KEY (job_id, object, part)
);
CREATE INDEX job_objects_object ON job_objects (object);
CREATE INDEX job_objects_part ON job_objects (job_id) WHERE part = 1;

-- What was there before. Parts are not told by any table: those of the jobs that are under way stay.
INSERT INTO job_objects (job_id, object, part)
    SELECT DISTINCT jobs.id, file ->> 'object', 0
        FROM jobs, json_array_elements(jobs.result::json -> 'files') AS file
        WHERE jobs.kind = 'video' AND jobs.result LIKE '{"files":[%' AND length(file ->> 'object') = 64;
INSERT INTO objects (name, created_at)
    SELECT hash, nx_now() FROM videos UNION SELECT object, nx_now() FROM job_objects;
