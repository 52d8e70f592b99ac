-- Who may sign in. What is secret is here as a hash alone: passwords as argon2id's, tokens (32 bytes
-- by chance) as SHA-256.
CREATE TABLE users (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    password TEXT NOT NULL, -- "$argon2id$..."
    role INTEGER NOT NULL CHECK (role BETWEEN 1 AND 3), -- viewer, operator, admin
    disabled_at INTEGER, -- NULL: may sign in
    created_at INTEGER NOT NULL,
    password_at INTEGER NOT NULL,
    login_at INTEGER
) STRICT;
CREATE UNIQUE INDEX users_name ON users (lower(name));

CREATE TABLE sessions (
    hash TEXT PRIMARY KEY CHECK (length(hash) = 64),
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL -- to the minute
) STRICT;
CREATE INDEX sessions_user ON sessions (user_id, seen_at);
CREATE INDEX sessions_seen ON sessions (seen_at);

CREATE TABLE api_keys (
    id TEXT PRIMARY KEY, -- a part of the key that is no secret
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    hash TEXT NOT NULL CHECK (length(hash) = 64),
    name TEXT NOT NULL,
    scopes INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at INTEGER, -- to the minute
    revoked_at INTEGER
) STRICT;
CREATE INDEX api_keys_user ON api_keys (user_id, created_at);

-- Links with which the first admin is made.
CREATE TABLE setup_tokens (
    hash TEXT PRIMARY KEY CHECK (length(hash) = 64),
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;

-- Passwords that were tried of late, for the lockout.
CREATE TABLE login_attempts (
    id TEXT PRIMARY KEY,
    account TEXT, -- a name that was tried, whether there is such a user or not; NULL: forgiven
    address TEXT NOT NULL,
    at INTEGER NOT NULL,
    pending INTEGER NOT NULL -- 1: being checked
) STRICT;
CREATE INDEX login_attempts_account ON login_attempts (account, at);
CREATE INDEX login_attempts_address ON login_attempts (address, at);
CREATE INDEX login_attempts_at ON login_attempts (at);
