-- Who may sign in. What is secret is here as a hash alone: passwords as argon2id's, tokens (32 bytes
-- by chance) as SHA-256.
CREATE TABLE users (
    id text COLLATE "C" PRIMARY KEY,
    name text COLLATE "C" NOT NULL,
    password text COLLATE "C" NOT NULL, -- "$argon2id$..."
    role bigint NOT NULL CHECK (role BETWEEN 1 AND 3), -- viewer, operator, admin
    disabled_at bigint, -- NULL: may sign in
    created_at bigint NOT NULL,
    password_at bigint NOT NULL,
    login_at bigint
);
CREATE UNIQUE INDEX users_name ON users (lower(name));

CREATE TABLE sessions (
    hash text COLLATE "C" PRIMARY KEY CHECK (length(hash) = 64),
    user_id text COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at bigint NOT NULL,
    seen_at bigint NOT NULL -- to the minute
);
CREATE INDEX sessions_user ON sessions (user_id, seen_at);
CREATE INDEX sessions_seen ON sessions (seen_at);

CREATE TABLE api_keys (
    id text COLLATE "C" PRIMARY KEY, -- a part of the key that is no secret
    user_id text COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    hash text COLLATE "C" NOT NULL CHECK (length(hash) = 64),
    name text NOT NULL,
    scopes bigint NOT NULL,
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    used_at bigint, -- to the minute
    revoked_at bigint
);
CREATE INDEX api_keys_user ON api_keys (user_id, created_at);

-- Links with which the first admin is made.
CREATE TABLE setup_tokens (
    hash text COLLATE "C" PRIMARY KEY CHECK (length(hash) = 64),
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL
);

-- Passwords that were tried of late, for the lockout.
CREATE TABLE login_attempts (
    id text COLLATE "C" PRIMARY KEY,
    account text COLLATE "C", -- a name that was tried, whether there is such a user or not; NULL: forgiven
    address text COLLATE "C" NOT NULL,
    at bigint NOT NULL,
    pending bigint NOT NULL -- 1: being checked
);
CREATE INDEX login_attempts_account ON login_attempts (account, at);
CREATE INDEX login_attempts_address ON login_attempts (address, at);
CREATE INDEX login_attempts_at ON login_attempts (at);
