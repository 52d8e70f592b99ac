-- Where in its clip an event is: milliseconds from what is shown first.
ALTER TABLE events ADD COLUMN clip_offset INTEGER;
