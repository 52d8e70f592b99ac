-- What a stream's zones and lines have counted, as its runner last said, for those who ask another process.
ALTER TABLE streams ADD COLUMN counts TEXT;
