"""A person's approval of real money: the run is suspended with a form that shows the evidence, and waits.

Nothing is decided by Prefect: the answer is judged anew, and the approval is an event of our ledger's chain. The next
review of the rung (the trader's, or the ramp-up deployment) goes up by it if the evidence still stands.
"""

from prefect import flow
from prefect.client.schemas import State
from prefect.flow_runs import asuspend_flow_run
from prefect.states import Completed, Failed

from config.settings import ExchangeName
from tasks.approval import ApprovalForm, Shown, judge_answer, publish_proposal, seconds_to_answer, show_proposal
from tasks.session import reading


# Without the guard against late runs: it has no schedule, and what it shows is as new as its beginning.
# When it is resumed, all of it runs again from the top in a new process: showing a proposal twice shows the same one.
@flow(name="promote_stage", flow_run_name="promote_stage {exchange}", retries=0, persist_result=False)
async def promote_stage(exchange: ExchangeName) -> State[None]:
    """Ask a person whether the rung of one exchange may go up. The run fails where there is nothing to ask, nobody
    answers in time, or the answer approves nothing; its message says why.

    Args:
        exchange: The exchange whose next rung is asked for.
    """
    async with reading(exchange):
        shown = await show_proposal(exchange)
        if not isinstance(shown, Shown):
            return Failed(message=f"Nothing to approve: {shown}")
        await publish_proposal(exchange, shown)
        form = ApprovalForm.with_initial_data(description=shown.markdown)
        seconds = seconds_to_answer(exchange, shown.proposal)
        answer = await asuspend_flow_run(wait_for_input=form, timeout=seconds, key=shown.key)
        refused = await judge_answer(exchange, shown, answer)
    if refused is not None:
        return Failed(message=f"Not approved: {refused}. Run promote-stage again to answer again.")
    return Completed(message=f"{shown.proposal.phrase} approved by {answer.name}")
