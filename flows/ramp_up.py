"""The staged ramp-up: judge what the rung in force has shown, and go up one rung, stay, or go down."""

from prefect import flow

from config.settings import ExchangeName
from tasks.ladder import RungReview, review_rung
from tasks.report import publish_review
from tasks.session import trading
from tasks.staleness import unless_stale


@flow(name="ramp_up", flow_run_name="ramp_up {exchange}", retries=0, persist_result=False)
@unless_stale
async def ramp_up(exchange: ExchangeName) -> RungReview:
    """Review the ladder of one exchange: paper, minimal, then 25, 50 and 100 % of the target size.

    Args:
        exchange: The exchange whose rung is judged. Its trader must not be running: it does this by itself.
    """
    async with trading(exchange):
        review = await review_rung(exchange)
    if review.verdict != "hold":
        await publish_review(review)
    return review
