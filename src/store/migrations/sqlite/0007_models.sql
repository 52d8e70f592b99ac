-- Models that the processes and hosts of one database share, and who may use which model. Every change
-- takes the next generation in its own transaction, so whoever has seen a generation has seen all
-- changes up to it.
CREATE TABLE model_state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    service TEXT NOT NULL, -- tells this database from another one
    generation INTEGER NOT NULL
) STRICT;
INSERT INTO model_state (id, service, generation) VALUES (1, lower(hex(randomblob(16))), 0);

-- A name that was changed through a server. Versions that lie on one host's disk alone have no row below.
CREATE TABLE models (
    name TEXT PRIMARY KEY,
    active INTEGER NOT NULL DEFAULT 0, -- the version that serves; 0: what each host's disk says
    last_version INTEGER NOT NULL DEFAULT 0, -- the greatest number that was given out
    changed INTEGER NOT NULL DEFAULT 0, -- generation of the last change of it or its versions
    active_changed INTEGER NOT NULL DEFAULT 0 -- and of active
) STRICT, WITHOUT ROWID;

CREATE TABLE model_versions (
    name TEXT NOT NULL REFERENCES models (name),
    version INTEGER NOT NULL CHECK (version > 0),
    kind TEXT NOT NULL CHECK (kind IN ('detector', 'sam')),
    stored INTEGER NOT NULL, -- 1: its files are objects; 0: on the disk that its processes share
    added_by TEXT NOT NULL,
    added_at INTEGER NOT NULL,
    removed_at INTEGER, -- NULL: it is there
    PRIMARY KEY (name, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE model_files (
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    file TEXT NOT NULL, -- model.onnx, or encoder.onnx and decoder.onnx
    sha256 TEXT NOT NULL CHECK (length(sha256) = 64),
    size INTEGER NOT NULL,
    stored INTEGER NOT NULL, -- that of its version
    PRIMARY KEY (name, version, file),
    FOREIGN KEY (name, version) REFERENCES model_versions (name, version) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX model_files_object ON model_files (sha256) WHERE stored = 1;

-- What was taken out of memory last, and when: every process does the same.
CREATE TABLE model_unloads (
    name TEXT NOT NULL,
    version INTEGER NOT NULL, -- 0: all of them
    generation INTEGER NOT NULL,
    PRIMARY KEY (name, version)
) STRICT, WITHOUT ROWID;
CREATE INDEX model_unloads_generation ON model_unloads (generation);

-- Who may use a model. A name without a row here is for everybody who is signed in.
CREATE TABLE model_access (
    name TEXT PRIMARY KEY,
    level TEXT NOT NULL CHECK (level IN ('public', 'authenticated', 'private')),
    changed_by TEXT NOT NULL,
    changed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE model_grants (
    name TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('user', 'key')),
    subject TEXT NOT NULL, -- the id of the user or of the key
    expires_at INTEGER, -- NULL: never
    granted_by TEXT NOT NULL,
    granted_at INTEGER NOT NULL,
    PRIMARY KEY (name, kind, subject)
) STRICT, WITHOUT ROWID;

-- For whom a job uses its model: asked again when it starts. None: it was submitted without accounts.
CREATE TABLE job_subjects (
    job_id TEXT PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
    user_id TEXT NOT NULL,
    key_id TEXT NOT NULL -- '': no key
) STRICT, WITHOUT ROWID;
