"""Add webhooks, windows, idempotent calls, model trials and paces, limits of keys, and usage.

Revision: b7d05e3c61fa, after 4f1c2a7d90b3
"""

from alembic import op

revision: str = "b7d05e3c61fa"
down_revision: str | None = "4f1c2a7d90b3"
branch_labels = None
depends_on = None

# A migration that cannot get its lock soon gives up rather than queue everybody behind it.
LOCK_TIMEOUT = "SET LOCAL lock_timeout = '5s'"

CALLERS = """
ALTER TABLE project
    ADD COLUMN webhook_secret    text,
    ADD COLUMN old_secret        text,
    ADD COLUMN old_secret_until  timestamptz;
ALTER TABLE api_key
    ADD COLUMN public_id text NOT NULL DEFAULT ('key_' || replace(gen_random_uuid()::text, '-', '')),
    ADD COLUMN hint                 text,
    ADD COLUMN requests_per_minute  integer,
    ADD COLUMN max_queued_items     bigint,
    ADD CONSTRAINT uq_api_key_public_id UNIQUE (public_id);
CREATE TABLE usage (
    key_id    bigint NOT NULL,
    day       date NOT NULL,
    endpoint  text NOT NULL,
    items     bigint NOT NULL,
    errors    bigint NOT NULL,
    units     bigint NOT NULL,
    cpu_ms    bigint NOT NULL,
    CONSTRAINT pk_usage PRIMARY KEY (key_id, day, endpoint),
    CONSTRAINT fk_usage_key_id_api_key FOREIGN KEY (key_id) REFERENCES api_key (id)
);
"""

JOBS = """
ALTER TABLE job
    ADD COLUMN expected_seconds  double precision NOT NULL DEFAULT 0,
    ADD COLUMN run_window        text,
    ADD COLUMN timezone          text,
    ADD COLUMN window_open       boolean NOT NULL DEFAULT true,
    ADD COLUMN retry_of          bigint,
    ADD COLUMN webhook_url       text,
    ADD COLUMN announced         boolean NOT NULL DEFAULT true,
    ADD COLUMN waiters           smallint NOT NULL DEFAULT 0,
    ADD COLUMN idempotency_key   text,
    ADD COLUMN fingerprint       bytea,
    ADD CONSTRAINT fk_job_retry_of_job FOREIGN KEY (retry_of) REFERENCES job (id) ON DELETE SET NULL;
CREATE INDEX ix_job_shortest ON job (family, key_id, priority DESC, expected_seconds, id)
    WHERE ready AND next_part < parts AND lane = 'interactive';
DROP INDEX ix_job_held;
CREATE INDEX ix_job_held ON job (id) WHERE state IN ('queued', 'running') AND NOT ready;
CREATE INDEX ix_job_windowed ON job (run_window, timezone, window_open)
    WHERE ended_at IS NULL AND run_window IS NOT NULL;
CREATE INDEX ix_job_retry_of ON job (retry_of) WHERE retry_of IS NOT NULL;
CREATE UNIQUE INDEX uq_job_idempotency_key ON job (key_id, idempotency_key)
    WHERE idempotency_key IS NOT NULL;
CREATE INDEX ix_job_in_flight ON job (key_id, fingerprint)
    WHERE ended_at IS NULL AND fingerprint IS NOT NULL;
ALTER TABLE job_progress
    ADD COLUMN cpu_ms       bigint NOT NULL DEFAULT 0,
    ADD COLUMN rate         double precision,
    ADD COLUMN marked_done  integer NOT NULL DEFAULT 0,
    ADD COLUMN marked_at    timestamptz;
ALTER TABLE item_part ADD COLUMN added boolean NOT NULL DEFAULT false;
DROP INDEX ix_chunk_job_id;
CREATE INDEX ix_chunk_job_id_lo ON chunk (job_id, lo);
CREATE INDEX ix_chunk_again ON chunk (job_id, epoch) WHERE epoch > 1;
CREATE INDEX ix_result_errors ON result (job_id, n) WHERE status <> 200;
"""

SLOTS = """
ALTER TABLE model_pause
    ADD COLUMN probe_at      timestamptz,
    ADD COLUMN probes        integer NOT NULL DEFAULT 0,
    ADD COLUMN trial_job_id  bigint;
CREATE TABLE model_pace (
    model        text NOT NULL,
    seconds      double precision NOT NULL,
    measured_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_model_pace PRIMARY KEY (model)
);
ALTER TABLE slot
    ADD COLUMN loaded      text[] NOT NULL DEFAULT '{}',
    ADD COLUMN working_on  text,
    ADD COLUMN rate        double precision,
    ADD COLUMN memory_mb   integer;
"""

WEBHOOKS = """
CREATE TABLE webhook_endpoint (
    id                text NOT NULL,
    project_id        bigint NOT NULL,
    name              text NOT NULL,
    url               text NOT NULL,
    event_types       text[] NOT NULL,
    secret            text NOT NULL,
    old_secret        text,
    old_secret_until  timestamptz,
    enabled           boolean NOT NULL DEFAULT true,
    disabled_reason   text,
    failing_since     timestamptz,
    created_at        timestamptz NOT NULL DEFAULT now(),
    updated_at        timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_webhook_endpoint PRIMARY KEY (id),
    CONSTRAINT fk_webhook_endpoint_project_id_project FOREIGN KEY (project_id) REFERENCES project (id)
);
CREATE INDEX ix_webhook_endpoint_project_id_created_at_id ON webhook_endpoint (project_id, created_at, id);
CREATE TABLE webhook_event (
    id          text NOT NULL,
    project_id  bigint NOT NULL,
    job_id      bigint,
    type        text NOT NULL,
    payload     text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_webhook_event PRIMARY KEY (id),
    CONSTRAINT fk_webhook_event_project_id_project FOREIGN KEY (project_id) REFERENCES project (id)
);
CREATE INDEX ix_webhook_event_created_at ON webhook_event (created_at);
CREATE INDEX ix_webhook_event_job_id ON webhook_event (job_id);
CREATE TABLE delivery (
    id           bigint GENERATED BY DEFAULT AS IDENTITY,
    project_id   bigint NOT NULL,
    event_id     text NOT NULL,
    endpoint_id  text,
    url          text,
    receiver     text NOT NULL,
    state        text NOT NULL DEFAULT 'pending',
    tries        integer NOT NULL DEFAULT 0,
    next_at      timestamptz NOT NULL DEFAULT now(),
    lease_until  timestamptz,
    token        bigint,
    status_code  smallint,
    latency_ms   integer,
    error        text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    ended_at     timestamptz,
    CONSTRAINT pk_delivery PRIMARY KEY (id),
    CONSTRAINT uq_delivery_event_id_endpoint_id UNIQUE (event_id, endpoint_id),
    CONSTRAINT fk_delivery_project_id_project FOREIGN KEY (project_id) REFERENCES project (id),
    CONSTRAINT fk_delivery_event_id_webhook_event FOREIGN KEY (event_id)
        REFERENCES webhook_event (id) ON DELETE CASCADE,
    CONSTRAINT fk_delivery_endpoint_id_webhook_endpoint FOREIGN KEY (endpoint_id)
        REFERENCES webhook_endpoint (id) ON DELETE CASCADE
);
CREATE INDEX ix_delivery_due ON delivery (receiver, next_at, id) WHERE state = 'pending';
CREATE INDEX ix_delivery_project_id_id ON delivery (project_id, id);
CREATE INDEX ix_delivery_endpoint_id_id ON delivery (endpoint_id, id);
CREATE TABLE delivery_attempt (
    id            bigint GENERATED BY DEFAULT AS IDENTITY,
    delivery_id   bigint NOT NULL,
    status_code   smallint,
    latency_ms    integer NOT NULL,
    error         text,
    attempted_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_delivery_attempt PRIMARY KEY (id),
    CONSTRAINT fk_delivery_attempt_delivery_id_delivery FOREIGN KEY (delivery_id)
        REFERENCES delivery (id) ON DELETE CASCADE
);
CREATE INDEX ix_delivery_attempt_delivery_id_id ON delivery_attempt (delivery_id, id);
"""

UNDO = """
DROP TABLE delivery_attempt, delivery, webhook_event, webhook_endpoint, model_pace, usage;
ALTER TABLE slot DROP COLUMN loaded, DROP COLUMN working_on, DROP COLUMN rate, DROP COLUMN memory_mb;
ALTER TABLE model_pause DROP COLUMN probe_at, DROP COLUMN probes, DROP COLUMN trial_job_id;
DROP INDEX ix_chunk_job_id_lo, ix_chunk_again, ix_result_errors;
CREATE INDEX ix_chunk_job_id ON chunk (job_id);
ALTER TABLE item_part DROP COLUMN added;
ALTER TABLE job_progress
    DROP COLUMN cpu_ms, DROP COLUMN rate, DROP COLUMN marked_done, DROP COLUMN marked_at;
DROP INDEX ix_job_shortest, ix_job_held;
CREATE INDEX ix_job_held ON job (id) WHERE state = 'queued' AND NOT ready;
ALTER TABLE job
    DROP COLUMN expected_seconds, DROP COLUMN run_window, DROP COLUMN timezone, DROP COLUMN window_open,
    DROP COLUMN retry_of, DROP COLUMN webhook_url, DROP COLUMN announced, DROP COLUMN waiters,
    DROP COLUMN idempotency_key, DROP COLUMN fingerprint;
ALTER TABLE api_key
    DROP COLUMN public_id, DROP COLUMN hint, DROP COLUMN requests_per_minute, DROP COLUMN max_queued_items;
ALTER TABLE project DROP COLUMN webhook_secret, DROP COLUMN old_secret, DROP COLUMN old_secret_until;
"""


def upgrade() -> None:
    op.execute(LOCK_TIMEOUT)
    for script in (CALLERS, JOBS, SLOTS, WEBHOOKS):
        op.execute(script)


def downgrade() -> None:
    op.execute(LOCK_TIMEOUT)
    op.execute(UNDO)
