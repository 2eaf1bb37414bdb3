"""The automations that `crypto-bot up` sets up: what runs the emergency stop without a person."""

from uuid import uuid4

from prefect.events.schemas.automations import EventTrigger, Posture

from cli.provision import _automations
from config.loader import load_settings
from config.settings import EXCHANGES


def test_an_exchange_where_no_cycle_has_been_is_not_called_silent() -> None:
    """Prefect waits from the start on where a trigger has no `for_each`, whatever is to come before."""
    found = [each.trigger for each in _automations(load_settings(environ={}), uuid4(), [uuid4()])]
    silent = [each for each in found if isinstance(each, EventTrigger) and each.posture is Posture.Proactive]
    assert len(silent) == len(EXCHANGES)
    for trigger in silent:
        assert trigger.after == {"crypto-bot.trader.cycle-done"} and trigger.for_each == {"prefect.resource.id"}
