"""Whether a job may be claimed now. `job.ready` folds it into one column, so that claims need not look.

Whoever changes one of the conditions sets `ready` anew by this fragment; the dispatcher does it for what
only time changes.
"""

# `job` is the row of a queued or running job. Its time has come, whatever its model is up to.
IS_TIMELY = """
(coalesce(job.not_before <= now(), true) AND coalesce(job.deadline > now(), true) AND job.window_open)"""
IS_DUE = f"""
({IS_TIMELY} AND NOT EXISTS (SELECT FROM model_pause WHERE model_pause.model = job.model))"""
