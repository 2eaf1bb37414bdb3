"""Set up Google Cloud Monitoring for our metrics."""

import asyncio

from prefect import task
from prefect.artifacts import acreate_markdown_artifact
from prefect.cache_policies import NO_CACHE

from config.errors import ConfigurationError
from config.loader import load_settings
from services.logs import configure_logging
from services.metrics_google import SetUp, set_up_descriptors
from tasks.monitoring import markdown_table


@task(retries=0, cache_policy=NO_CACHE, persist_result=False)
async def set_up_monitoring() -> SetUp:
    """Create the descriptors that the Google Cloud project lacks, and say which it has in another form.

    Raises ConfigurationError without a project, and where Google refuses or does not answer.
    """
    from google.api_core.exceptions import GoogleAPICallError, RetryError
    from google.auth.exceptions import GoogleAuthError

    settings = load_settings()
    configure_logging(settings)
    chosen = settings.monitoring
    if chosen.project_id is None:
        raise ConfigurationError("monitoring.project_id is not set: nothing to set up in Google Cloud")
    try:
        done = await asyncio.to_thread(set_up_descriptors, chosen.project_id, chosen.target)
    except (GoogleAPICallError, RetryError, GoogleAuthError) as error:
        raise ConfigurationError(
            f"Cloud Monitoring of project {chosen.project_id}: {error}; this needs credentials of Google Cloud with "
            "the role roles/monitoring.metricWriter (docs/monitoring-setup.md)"
        ) from None
    told = (
        (done.created, "created"),
        (done.existing, "was there"),
        (done.different, "THERE IN ANOTHER FORM"),
    )
    rows = [[name, what] for names, what in told for name in names]
    counts = ", ".join(f"{len(names)} {what.lower()}" for names, what in told)
    remedy = "A metric in another form takes no point of ours: delete its descriptor and run this again.\n\n"
    await acreate_markdown_artifact(
        key="monitoring-setup",
        markdown=f"# Metrics in project {chosen.project_id}: {counts}\n\n"
        f"{'' if done.is_complete else remedy}{markdown_table(['metric', ''], rows)}",
        description="metric descriptors of Cloud Monitoring",
    )
    return done
