-- The traceparent (W3C Trace Context) of the request that submitted a job; NULL: none.
ALTER TABLE jobs ADD COLUMN traceparent TEXT;
