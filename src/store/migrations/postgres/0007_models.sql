-- Models that the processes and hosts of one database share, and who may use which model. Every change
-- takes the next generation in its own transaction, so whoever has seen a generation has seen all
-- changes up to it.
CREATE TABLE model_state (
    id bigint PRIMARY KEY CHECK (id = 1),
    service text COLLATE "C" NOT NULL, -- tells this database from another one
    generation bigint NOT NULL
);
INSERT INTO model_state (id, service, generation) VALUES (1, md5(random()::text || clock_timestamp()::text), 0);

-- A name that was changed through a server. Versions that lie on one host's disk alone have no row below.
CREATE TABLE models (
    name text COLLATE "C" PRIMARY KEY,
    active bigint NOT NULL DEFAULT 0, -- the version that serves; 0: what each host's disk says
    last_version bigint NOT NULL DEFAULT 0, -- the greatest number that was given out
    changed bigint NOT NULL DEFAULT 0, -- generation of the last change of it or its versions
    active_changed bigint NOT NULL DEFAULT 0 -- and of active
);

CREATE TABLE model_versions (
    name text COLLATE "C" NOT NULL REFERENCES models (name),
    version bigint NOT NULL CHECK (version > 0),
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('detector', 'sam')),
    stored bigint NOT NULL, -- 1: its files are objects; 0: on the disk that its processes share
    added_by text COLLATE "C" NOT NULL,
    added_at bigint NOT NULL,
    removed_at bigint, -- NULL: it is there
    PRIMARY KEY (name, version)
);

CREATE TABLE model_files (
    name text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    file text COLLATE "C" NOT NULL, -- model.onnx, or encoder.onnx and decoder.onnx
    sha256 text COLLATE "C" NOT NULL CHECK (length(sha256) = 64),
    size bigint NOT NULL,
    stored bigint NOT NULL, -- that of its version
    PRIMARY KEY (name, version, file),
    FOREIGN KEY (name, version) REFERENCES model_versions (name, version) ON DELETE CASCADE
);
CREATE INDEX model_files_object ON model_files (sha256) WHERE stored = 1;

-- What was taken out of memory last, and when: every process does the same.
CREATE TABLE model_unloads (
    name text COLLATE "C" NOT NULL,
    version bigint NOT NULL, -- 0: all of them
    generation bigint NOT NULL,
    PRIMARY KEY (name, version)
);
CREATE INDEX model_unloads_generation ON model_unloads (generation);

-- Who may use a model. A name without a row here is for everybody who is signed in.
CREATE TABLE model_access (
    name text COLLATE "C" PRIMARY KEY,
    level text COLLATE "C" NOT NULL CHECK (level IN ('public', 'authenticated', 'private')),
    changed_by text COLLATE "C" NOT NULL,
    changed_at bigint NOT NULL
);

CREATE TABLE model_grants (
    name text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('user', 'key')),
    subject text COLLATE "C" NOT NULL, -- the id of the user or of the key
    expires_at bigint, -- NULL: never
    granted_by text COLLATE "C" NOT NULL,
    granted_at bigint NOT NULL,
    PRIMARY KEY (name, kind, subject)
);

-- For whom a job uses its model: asked again when it starts. None: it was submitted without accounts.
CREATE TABLE job_subjects (
    job_id text COLLATE "C" PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
    user_id text COLLATE "C" NOT NULL,
    key_id text COLLATE "C" NOT NULL -- '': no key
);
