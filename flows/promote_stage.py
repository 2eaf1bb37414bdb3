"""A person's approval of real money: the run is suspended with a form that shows the evidence, and waits.

Nothing is decided by Prefect: the answer is judged anew, and the approval is an event of our ledger's chain. The next
review of the rung (the trader's, or the ramp-up deployment) goes up by it if the evidence still stands.
"""

from prefect import flow
from prefect.flow_runs import asuspend_flow_run

from config.settings import ExchangeName
from tasks.approval import ApprovalForm, judge_answer, publish_proposal, seconds_to_answer, show_proposal
from tasks.session import reading


# Without the guard against late runs: it has no schedule, and what it shows is as new as its beginning.
# When it is resumed, all of it runs again from the top in a new process: showing a proposal twice shows the same one.
@flow(name="promote_stage", flow_run_name="promote_stage {exchange}", retries=0, persist_result=False)
async def promote_stage(exchange: ExchangeName) -> str:
    """Ask a person whether the rung of one exchange may go up. Raises NothingToApprove, NotApproved."""
    async with reading(exchange):
        proposal = await show_proposal(exchange)
        await publish_proposal(proposal)
        form = ApprovalForm.with_initial_data(description=proposal.markdown)
        # Nobody answers in time: the run fails and nothing is approved.
        answer = await asuspend_flow_run(wait_for_input=form, timeout=seconds_to_answer(exchange), key=proposal.key)
        return await judge_answer(exchange, proposal, answer)
