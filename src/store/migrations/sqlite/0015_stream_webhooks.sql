-- Whom a stream tells of its events, beside EVENT_WEBHOOK_URL.
ALTER TABLE streams ADD COLUMN webhook_url TEXT;
ALTER TABLE streams ADD COLUMN webhook_secret TEXT; -- NULL: what is sent there is signed as all else; never shown
