"""Webhook events, written by the statement that ends a job: neither can be without the other.

Every statement that ends a job has a CTE `ended` with the columns `ENDED` and puts `EMIT` after it. Plain
awaited calls are not `announced`: whoever waits is told already. Sending is `store/deliveries.py`.

The payload is OpenAI's event object (the official client's `webhooks.unwrap`): thin, just the id.
"""

from store.ids import PREFIXES

_PREFIXES = " ".join(f"WHEN '{view}' THEN '{prefix}'" for view, prefix in PREFIXES.items())

# What a statement's `UPDATE job … RETURNING` must give for its job.
ENDED = (
    "job.id, job.project_id, job.suffix, job.view, job.state, job.announced, job.webhook_url, job.ended_at"
)

# Needs %(event_id)s, a new id; at most one job may have ended. Endpoints are locked: one that is being
# deleted would break the statement.
EMIT = f"""
event AS (
    INSERT INTO webhook_event (id, project_id, job_id, type, payload)
    SELECT %(event_id)s, project_id, id, named.type, json_build_object(
               'id', %(event_id)s::text, 'object', 'event',
               'created_at', floor(extract(epoch FROM ended_at))::bigint, 'type', named.type,
               'data', json_build_object('id', named.prefix || suffix))::text
    FROM ended CROSS JOIN LATERAL (
        SELECT CASE view WHEN 'batch' THEN 'batch.' WHEN 'response' THEN 'response.' ELSE 'job.' END || state
                   AS type,
               CASE view {_PREFIXES} END AS prefix
    ) AS named
    WHERE announced AND ended_at IS NOT NULL
    RETURNING id, project_id, type
), endpoint AS (
    SELECT webhook_endpoint.id FROM event JOIN webhook_endpoint USING (project_id)
    WHERE enabled AND event.type = ANY (event_types)
    FOR KEY SHARE OF webhook_endpoint
), addressed AS (
    INSERT INTO delivery (project_id, event_id, endpoint_id, url, receiver)
    SELECT event.project_id, event.id, told.endpoint_id, told.url, told.receiver
    FROM event CROSS JOIN LATERAL (
        SELECT id AS endpoint_id, NULL AS url, id AS receiver FROM endpoint
        UNION ALL
        SELECT NULL, webhook_url, project_id || ' ' || lower(split_part(webhook_url, '/', 3))
        FROM ended WHERE webhook_url IS NOT NULL
    ) AS told
)"""
