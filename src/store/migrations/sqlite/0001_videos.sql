-- Times are milliseconds since 1970-01-01 UTC.
-- A video is content: the same bytes uploaded twice by one owner are one row.
CREATE TABLE videos (
    id TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    hash TEXT NOT NULL CHECK (length(hash) = 64), -- SHA-256 of the bytes: the object's name
    size INTEGER NOT NULL CHECK (size >= 0),
    name TEXT NOT NULL, -- of the file, as its uploader named it
    probe TEXT NOT NULL, -- JSON: codec, width, height, fps, duration
    created_at INTEGER NOT NULL,
    UNIQUE (owner, hash)
) STRICT;
CREATE INDEX videos_hash ON videos (hash);

-- Uploads that may stop and go on (tus 1.0).
CREATE TABLE uploads (
    id TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    length INTEGER CHECK (length >= 0), -- NULL: not told yet
    received INTEGER NOT NULL DEFAULT 0 CHECK (received >= 0 AND (length IS NULL OR received <= length)),
    metadata TEXT NOT NULL,
    video_id TEXT REFERENCES videos (id) ON DELETE SET NULL, -- what it became
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX uploads_expiry ON uploads (expires_at);
CREATE INDEX uploads_video ON uploads (video_id);
