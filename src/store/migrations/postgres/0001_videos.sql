-- Times are milliseconds since 1970-01-01 UTC, and this server's clock tells them: the clocks of the
-- hosts that share the database may differ.
CREATE FUNCTION nx_now() RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE AS
    $$ SELECT (extract(epoch FROM statement_timestamp()) * 1000)::bigint $$;

-- A video is content: the same bytes uploaded twice by one owner are one row. Identifiers and hashes
-- are compared as bytes, as SQLite does.
CREATE TABLE videos (
    id text COLLATE "C" PRIMARY KEY,
    owner text COLLATE "C" NOT NULL,
    hash text COLLATE "C" NOT NULL CHECK (length(hash) = 64), -- SHA-256 of the bytes: the object's name
    size bigint NOT NULL CHECK (size >= 0),
    name text NOT NULL, -- of the file, as its uploader named it
    probe text NOT NULL, -- JSON: codec, width, height, fps, duration
    created_at bigint NOT NULL,
    UNIQUE (owner, hash)
);
CREATE INDEX videos_hash ON videos (hash);

-- Uploads that may stop and go on (tus 1.0).
CREATE TABLE uploads (
    id text COLLATE "C" PRIMARY KEY,
    owner text COLLATE "C" NOT NULL,
    length bigint CHECK (length >= 0), -- NULL: not told yet
    received bigint NOT NULL DEFAULT 0 CHECK (received >= 0 AND (length IS NULL OR received <= length)),
    metadata text NOT NULL,
    video_id text COLLATE "C" REFERENCES videos (id) ON DELETE SET NULL, -- what it became
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL
);
CREATE INDEX uploads_expiry ON uploads (expires_at);
CREATE INDEX uploads_video ON uploads (video_id);
