-- What kept answers are valid by (store/states.h). A state is a value by chance, which becomes another
-- one, in the same transaction, with every change of what it stands for: never one that has been before.
CREATE TABLE states (
    name text COLLATE "C" PRIMARY KEY,
    state text COLLATE "C" NOT NULL
);
INSERT INTO states (name, state) VALUES
    ('videos', gen_random_uuid()::text), -- one is another, or gone
    ('videos_added', gen_random_uuid()::text),
    ('jobs_ended', gen_random_uuid()::text); -- one that had ended is another, queued again, or gone

CREATE FUNCTION nx_state_changes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE states SET state = gen_random_uuid()::text WHERE name = TG_ARGV[0];
    RETURN NULL;
END $$;
-- At the end of the transaction, when it has all its other locks: whoever waits for the row of a state
-- holds nothing up that the one before still needs.
CREATE CONSTRAINT TRIGGER videos_changed AFTER UPDATE ON videos DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION nx_state_changes('videos');
CREATE CONSTRAINT TRIGGER videos_removed AFTER DELETE ON videos DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION nx_state_changes('videos');
CREATE CONSTRAINT TRIGGER videos_added AFTER INSERT ON videos DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION nx_state_changes('videos_added');
CREATE CONSTRAINT TRIGGER jobs_ended_changed AFTER UPDATE OR DELETE ON jobs DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (OLD.finished_at IS NOT NULL) EXECUTE FUNCTION nx_state_changes('jobs_ended');
