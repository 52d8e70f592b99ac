-- Lists of the jobs in a state, and of an owner's in a state.
CREATE INDEX jobs_state ON jobs (state, id);
