-- Run once, when the volume is empty. Prefect's migrations make the extension themselves; here it fails early and by name.
CREATE DATABASE prefect;
\connect prefect
CREATE EXTENSION IF NOT EXISTS pg_trgm;
