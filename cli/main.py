"""The `crypto-bot` command: parse, call, print. Heavy parts are imported by the command that needs them.

Exit status: 0 done and clean; 1 a check failed or something is left in the market; 2 usage or configuration error.
"""

import io
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from cli.alerting import alerts_app
from cli.approval_code import print_approval_code
from cli.ends import end_with_status, known_end
from cli.upkeep import register as register_upkeep
from config.errors import ConfigurationError
from config.guide import see
from config.settings import EXCHANGES, ExchangeName
from services.children import ending_signals

app = typer.Typer(
    name="crypto-bot",
    help="Takes a trading bot from code to real money on Bybit, bitbank, bitFlyer and OKCoin Japan, and keeps it safe.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    add_completion=False,
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Exchange = Annotated[str, typer.Argument(help=f"One of {', '.join(EXCHANGES)} (okj = okcoinjp).")]
Exchanges = Annotated[
    list[str] | None, typer.Option("--exchange", "-e", help="Only this exchange; may be given several times.")
]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, help="At most this many rows.")]


@app.callback()
def common(
    home: Annotated[
        Path | None, typer.Option("--home", help="Where state lives (CRYPTO_BOT_HOME; default var/).")
    ] = None,
    config: Annotated[
        list[Path] | None,
        typer.Option("--config", help="A YAML file over config/default.yml; may be repeated."),
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="section.key=value over every file; may be repeated.")
    ] = None,
) -> None:
    """The three common options may stand before or after the command's name."""


@app.command()
def demo(
    exchange: Exchanges = None,
    candles: Annotated[
        Path | None, typer.Option("--candles", help="Replay this candle file instead of generated prices.")
    ] = None,
    cycles: Annotated[int, typer.Option("--cycles", min=1, help="Trading cycles at full size, each venue.")] = 40,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the generated prices.")] = 7,
    ui: Annotated[bool, typer.Option("--ui", help="Afterwards keep Prefect's UI up until Ctrl+C.")] = False,
    as_json: Json = False,
) -> None:
    """Everything embedded: four simulated venues, the whole ladder, N trading cycles, and the audit of the books."""
    from cli.demo import run_demo

    raise typer.Exit(
        run_demo(
            exchanges=_exchanges(exchange),
            candles=candles,
            cycles=cycles,
            seed=seed,
            keep_ui=ui,
            as_json=as_json,
        )
    )


@app.command()
def up(
    exchange: Exchanges = None,
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port of Prefect's API and UI.")] = 4200,
) -> None:
    """Prefect server with its UI, deployments, a worker, and a trader for each exchange; Ctrl+C takes all down."""
    from cli.up import run_up

    raise typer.Exit(run_up(exchanges=_exchanges(exchange), port=port))


@app.command()
def check(
    exchange: Annotated[str | None, typer.Argument(help=f"One of {', '.join(EXCHANGES)}.")] = None,
    every: Annotated[bool, typer.Option("--all", "-a", help="All four exchanges.")] = False,
    compat: Annotated[
        bool,
        typer.Option("--compat", "-c", help="API compatibility alone (with --orders: as the first step)."),
    ] = False,
    orders: Annotated[
        bool, typer.Option("--orders", "-s", help="Also the minimal order: placed to rest, cancelled.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show every check, not only failures.")] = False,
    as_json: Json = False,
) -> None:
    """The first rungs: API compatibility and read-only access; with --orders the smallest possible order too."""
    from cli.checking import run_checks

    if (exchange is None) == (not every):
        raise ConfigurationError("check: name one exchange, or give --all")
    names = EXCHANGES if every else _exchanges([exchange or ""])
    stages = ("compatibility", "read_only", "minimal_order")
    wanted = stages if orders else stages[:1] if compat else stages[:2]
    raise typer.Exit(run_checks(names, wanted, verbose=verbose, as_json=as_json))


@app.command()
def trade(
    exchange: Exchange,
    once: Annotated[bool, typer.Option("--once", help="One cycle, then clear up and end.")] = False,
    supervisor: Annotated[int | None, typer.Option("--supervisor", hidden=True)] = None,
) -> None:
    """The trader of one exchange: a trading cycle each minute until Ctrl+C, which leaves no order behind."""
    from cli.trader import run_trader

    raise typer.Exit(run_trader(_exchanges([exchange])[0], once=once, supervisor=supervisor))


@app.command()
def worker() -> None:
    """A worker for the Prefect server of another machine: its runs are those of the UI and of the schedules."""
    from cli.worker import run_worker

    raise typer.Exit(run_worker())


@app.command()
def stop(
    exchange: Annotated[
        list[str] | None,
        typer.Option("--exchange", "-e", help="Only this exchange (default: all); may be given several times."),
    ] = None,
    close_positions: Annotated[
        bool, typer.Option("--close-positions", help="Also close perpetual positions at the market.")
    ] = False,
    reason: Annotated[str, typer.Option("--reason", help="Written with the kill switch.")] = "crypto-bot stop",
    as_json: Json = False,
) -> None:
    """Emergency stop: no new orders, cancel everything, read again until nothing is left. Needs no Prefect."""
    from cli.stopping import run_stop

    every = any(name.lower() == "all" for name in exchange or ("all",))
    names = EXCHANGES if every else _exchanges(exchange)
    raise typer.Exit(run_stop(names, close_positions=close_positions, reason=reason, as_json=as_json))


@app.command()
def rearm(
    exchange: Exchange,
    by: Annotated[str, typer.Option("--by", help="Your name.")],
    reason: Annotated[str, typer.Option("--reason", help="Why it is safe to trade again.")],
) -> None:
    """Take back the kill switch of an exchange after a stop; a named person answers for it."""
    from cli.stopping import run_rearm

    raise typer.Exit(run_rearm(_exchanges([exchange])[0], by=by, reason=reason))


@app.command(context_settings={"ignore_unknown_options": True})  # -50000 is an amount and no option
def adjust(
    exchange: Exchange,
    asset: Annotated[str, typer.Argument(help="The asset: JPY, BTC; for bitFlyer's CFD collateral:JPY.")],
    change: Annotated[str, typer.Argument(help="Signed: 100000 came in, -100000 went out.")],
    by: Annotated[str, typer.Option("--by", help="Your name.")],
    reason: Annotated[str, typer.Option("--reason", help="What it was.")],
) -> None:
    """Answer for a deposit or a withdrawal, so that the books add up again; a named person answers for it."""
    from cli.adjusting import run_adjust

    raise typer.Exit(run_adjust(_exchanges([exchange])[0], asset, change, by=by, reason=reason))


@app.command()
def resolve(
    exchange: Exchange,
    order: Annotated[str, typer.Argument(help="Our id of the order, or its beginning; `status` and the log name it.")],
    by: Annotated[str, typer.Option("--by", help="Your name.")],
    reason: Annotated[str, typer.Option("--reason", help="What you saw at the venue.")],
    venue_order: Annotated[
        str | None, typer.Option("--venue-order", help="It is this order of the venue (its id there).")
    ] = None,
    absent: Annotated[bool, typer.Option("--absent", help="It never came to be.")] = False,
) -> None:
    """Say what became of an order of unknown outcome that the bot cannot prove; a named person answers for it."""
    from cli.resolving import run_resolve

    raise typer.Exit(
        run_resolve(_exchanges([exchange])[0], order, venue_order_id=venue_order, absent=absent, by=by, reason=reason)
    )


@app.command()
def status(exchange: Exchanges = None, as_json: Json = False) -> None:
    """Kill switch, rung, last cycle, open orders and profit of every exchange, from the ledger."""
    from cli.views import show_status

    show_status(_exchanges(exchange), as_json=as_json)


@app.command()
def ladder(exchange: Exchanges = None, as_json: Json = False) -> None:
    """The rung of every exchange: what it has shown of what is needed, what blocks it, until when it holds."""
    from cli.ladder import show_ladder

    show_ladder(_exchanges(exchange), as_json=as_json)


@app.command()
def approve(
    exchange: Exchange,
    by: Annotated[str, typer.Option("--by", help="Your name.")],
    reason: Annotated[str, typer.Option("--reason", help="Why the next rung is right.")],
    phrase: Annotated[str, typer.Option("--phrase", help="As the command without it says.")] = "",
    code: Annotated[str, typer.Option("--code", help="Computed from the proposal's digest with your secret.")] = "",
) -> None:
    """Show the evidence for the next rung, or for renewing the top one; with --phrase and --code, approve it."""
    from cli.ladder import run_approve

    raise typer.Exit(run_approve(_exchanges([exchange])[0], by=by, reason=reason, phrase=phrase, code=code))


app.command("approval-code")(print_approval_code)


@app.command()
def demote(
    exchange: Exchange,
    by: Annotated[str, typer.Option("--by", help="Your name.")],
    reason: Annotated[str, typer.Option("--reason", help="Why it must go down.")],
    to: Annotated[str | None, typer.Option("--to", help="A lower rung; without it, the one below.")] = None,
) -> None:
    """Take the rung of an exchange down at once, also while it trades; a named person answers for it."""
    from cli.ladder import run_demote

    raise typer.Exit(run_demote(_exchanges([exchange])[0], to=to, by=by, reason=reason))


@app.command()
def orders(exchange: Exchanges = None, limit: Limit = 20, as_json: Json = False) -> None:
    """Our orders, newest first."""
    from cli.views import show_orders

    show_orders(_exchanges(exchange), limit=limit, as_json=as_json)


@app.command()
def fills(exchange: Exchanges = None, limit: Limit = 20, as_json: Json = False) -> None:
    """Our fills at the venues, newest first; what was filled on paper is among `orders`."""
    from cli.views import show_fills

    show_fills(_exchanges(exchange), limit=limit, as_json=as_json)


@app.command()
def balances(exchange: Exchanges = None, as_json: Json = False) -> None:
    """Balances as last read from the venues."""
    from cli.views import show_balances

    show_balances(_exchanges(exchange), as_json=as_json)


@app.command()
def venue(
    exchange: Exchange,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any free port.")] = 0,
    candles: Annotated[Path | None, typer.Option("--candles", help="Replay this candle file.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of prices and keys.")] = 7,
    limits: Annotated[
        str,
        typer.Option("--limits", help="published: the venue's own rate limits; guide: requests a minute."),
    ] = "published",
    clock: Annotated[
        str, typer.Option("--clock", help="wall, or stepped: POST {control_url}/clock moves it on.")
    ] = "wall",
    fault: Annotated[
        list[str] | None,
        typer.Option(
            "--fault",
            metavar="NAME[=VALUE][@OPERATION][xTIMES]",
            help="A fault from the start; may be repeated. GET {control_url}/faults lists all.",
        ),
    ] = None,
) -> None:
    """One simulated venue in the foreground; its first line on stdout is JSON."""
    from cli.venues import run_venue

    raise typer.Exit(
        run_venue(
            _exchanges([exchange])[0],
            port=port,
            candles=candles,
            seed=seed,
            limits=limits,
            clock=clock,
            faults=fault or (),
        )
    )


@app.command()
def survive(
    exchange: Exchanges = None,
    fault: Annotated[
        list[str] | None, typer.Option("--fault", "-f", help="Only this fault; may be given several times.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of prices, and of the moment of a kill.")] = 7,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Run each cell with so many seeds.")] = 1,
    listed: Annotated[bool, typer.Option("--list", help="Only name the faults.")] = False,
    markdown: Annotated[
        Path | None, typer.Option("--markdown", help="Also put the table into its marked place in this document.")
    ] = None,
    as_json: Json = False,
) -> None:
    """The survival table: every fault at every simulated venue, met by a real trader, judged by the venue's truth."""
    from cli.survive import list_drills, run_survive

    if listed:
        list_drills()
        return
    raise typer.Exit(
        run_survive(
            _exchanges(exchange), tuple(fault or ()), seed=seed, seeds=seeds, as_json=as_json, markdown=markdown
        )
    )


@app.command()
def secrets(
    name: Annotated[list[str] | None, typer.Argument(help="Further secrets to look at, e.g. ALERTS_SLACK.")] = None,
    as_json: Json = False,
) -> None:
    """Every secret: where it is kept, its version, state and age, which key it is; never a value."""
    from cli.secrets_commands import run_secrets

    raise typer.Exit(run_secrets(tuple(name or ()), as_json=as_json))


register_upkeep(app)
app.add_typer(alerts_app, name="alerts")
config_app = typer.Typer(help="Show and check the configuration.", no_args_is_help=True)
app.add_typer(config_app, name="config")


@config_app.command("show")
def config_show() -> None:
    """Print every setting in force and where it comes from; no secret is printed."""
    from config.loader import show_settings

    sys.stdout.write(show_settings())


@config_app.command("validate")
def config_validate() -> None:
    """Load the configuration as every command would, and say what is wrong."""
    from config.loader import load_settings

    load_settings()
    sys.stdout.write("configuration is valid\n")


@config_app.command("schema")
def config_schema() -> None:
    """Print the JSON schema of the configuration."""
    from cli.output import print_json
    from config.settings import Settings

    print_json(Settings.model_json_schema())


def _exchanges(names: list[str] | None) -> tuple[ExchangeName, ...]:
    from config.loader import canonical_exchange

    return tuple(dict.fromkeys(canonical_exchange(name) for name in names)) if names else EXCHANGES


def main(arguments: list[str] | None = None) -> None:
    """Run one command line (default: this process's) and exit with its status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a letter that the terminal's encoding lacks ends no command
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        _obey_signals()
        from cli.settings import take_common_options

        words = take_common_options(words, os.environ)
        status = app(args=words, prog_name="crypto-bot", standalone_mode=False)
        raise SystemExit(status if isinstance(status, int) else 0)
    except ConfigurationError as error:
        end_with_status(f"{error}{see(error.section)}", 2)
    except KeyboardInterrupt:
        end_with_status("interrupted", 130)
    except Exception as error:  # the known ends of a command; anything else is a defect and keeps its traceback
        known = known_end(error)
        if known is None:
            from services.logs import mask_crashes

            mask_crashes()  # typer has put its own in place
            raise
        end_with_status(*known)


def _obey_signals() -> None:
    """Let the first Ctrl+C, SIGTERM or hangup unwind what runs, so that no child is left; further ones are ignored."""

    def unwind(number: int, frame: FrameType | None) -> None:
        for each in ending_signals():
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    for each in ending_signals():
        signal.signal(each, unwind)


if __name__ == "__main__":
    main()
