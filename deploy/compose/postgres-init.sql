-- Run once, when the volume is empty: the slow statements of the dashboards.
CREATE EXTENSION IF NOT EXISTS pg_stat_statements;
