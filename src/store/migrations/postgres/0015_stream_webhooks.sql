-- Whom a stream tells of its events, beside EVENT_WEBHOOK_URL.
ALTER TABLE streams ADD COLUMN webhook_url text;
ALTER TABLE streams ADD COLUMN webhook_secret text; -- NULL: what is sent there is signed as all else; never shown
