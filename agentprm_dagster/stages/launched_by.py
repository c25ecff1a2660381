"""Who launched a run from Dagster's page: the user whom the proxy before the webserver has let in.

Dagster's own webserver knows no users. deploy/dagster.yaml names this coordinator, and deploy/nginx.conf sets the
header, whatever the browser has sent in it. Schedules, sensors and backfills are launched by the daemon, for nobody.
"""

import dagster as dg
from dagster._core.run_coordinator import QueuedRunCoordinator, SubmitRunContext

USER_TAG = "user"
"""What Dagster's page shows as who has launched a run."""
USER_HEADER = "X-Forwarded-User"


class NamingRunCoordinator(QueuedRunCoordinator):
    """Dagster's queue, which first writes into a run's tags who has asked for it."""

    def submit_run(self, context: SubmitRunContext) -> dg.DagsterRun:
        """See `QueuedRunCoordinator`."""
        if user := context.get_request_header(USER_HEADER):
            self._instance.add_run_tags(context.dagster_run.run_id, {USER_TAG: user})
        return super().submit_run(context)
