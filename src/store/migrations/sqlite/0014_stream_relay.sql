-- Where whoever runs a stream lets other processes look at it, as long as the lease is: the name of
-- a socket of its host, HOST:PORT for other hosts, and a secret of that process.
ALTER TABLE streams ADD COLUMN relay_path TEXT;
ALTER TABLE streams ADD COLUMN relay_address TEXT;
ALTER TABLE streams ADD COLUMN relay_token TEXT;
