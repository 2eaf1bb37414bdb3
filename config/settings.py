"""The settings as typed values. YAML files fill them (`config/loader.py`); an unknown key is refused.

Amounts of money are Decimal from text; durations are in seconds unless the name says otherwise. The
descriptions are what a person reads when a value is refused, and in `crypto-bot config schema`; they begin
with the unit.
"""

from decimal import Decimal
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BeforeValidator, Field, field_validator, model_validator

from config.settings_alerts import AlertSettings
from config.settings_maintenance import UpkeepSettings
from config.settings_monitoring import MonitoringSettings
from config.settings_prefect import PrefectSettings
from config.settings_secrets import SecretsSettings
from config.strict import Place, Strict
from trading.money import amount

ExchangeName = Literal["bybit", "bitbank", "bitflyer", "okcoinjp"]
EXCHANGES: tuple[ExchangeName, ...] = ("bybit", "bitbank", "bitflyer", "okcoinjp")
Timeframe = Literal["1m", "5m", "15m", "30m", "1h", "4h", "1d"]


def _money(value: object) -> Decimal:
    # YAML reads 0.1 as a float; its shortest text is what the person wrote.
    return amount(str(value) if isinstance(value, float) else value)  # type: ignore[arg-type]


Money = Annotated[Decimal, BeforeValidator(_money)]
Symbol = Annotated[str, Field(pattern=r"^[A-Z0-9]+/[A-Z0-9]+(:[A-Z0-9]+)?$")]


class Endpoint(StrEnum):
    SIMULATED = "simulated"
    TESTNET = "testnet"
    LIVE = "live"


class DataSettings(Strict):
    exchange: ExchangeName = Field("bitbank", description="name: used where a command names no exchange")
    symbol: Symbol | None = Field(
        None, description="symbol for `data.exchange`, e.g. BTC/JPY; null: the exchange's own"
    )
    timeframe: Timeframe = Field("1m", description="length of a candle")
    candles: int = Field(60, ge=2, le=1000, description="number of closed candles that a strategy sees")
    cache_enabled: bool = Field(True, description="true or false: keep candles for `data.cache_ttl`")
    cache_ttl: float = Field(30, ge=0, description="seconds that candles may be used again")


class ExecutionSettings(Strict):
    rate_limit_margin: float = Field(
        0.8, gt=0, le=1, description="fraction of requests_per_minute that we allow ourselves; 0.8 is 80 %"
    )
    cancel_reserve: float = Field(0.2, ge=0, lt=1, description="fraction of the budget that only cancelling may use")
    retry_attempts: int = Field(3, ge=1, le=10, description="tries of a read; placing is never repeated")
    retry_delay: float = Field(1.0, ge=0, description="seconds before a read is repeated, doubling each time")
    timeout: float = Field(10.0, gt=0, description="seconds until a request counts as not answered")
    cycle_seconds: int = Field(60, ge=1, description="seconds of market time from one cycle to the next")
    order_style: Literal["taker", "maker"] = Field(
        "taker", description="taker takes from the book, maker rests in it (post-only)"
    )
    slippage_limit: Money = Field(
        Decimal("0.003"),
        ge=0,
        lt=1,
        description="fraction beyond the book up to which a taker order may fill",
    )
    follow_seconds: float = Field(5.0, ge=0, description="seconds of market time that an order is watched")
    unknown_patience: float = Field(
        60.0, gt=0, description="seconds that an unknown order is looked for before a human is called"
    )
    balance_tolerance: dict[str, Money] = Field(
        default_factory=dict,
        description="amounts by asset: what balance and fills may differ by; an asset not named: 0.00000001",
    )
    orphans: Literal["alert", "cancel", "adopt"] = Field(
        "alert",
        description="alert, cancel or adopt: what becomes of a resting order that the ledger does not know",
    )


class MaintenanceSettings(Strict):
    """A window that a venue has announced; regular ones are known (trading/maintenance.py)."""

    starts_at: AwareDatetime = Field(description="time with its zone, e.g. 2026-12-01T02:00:00+09:00")
    ends_at: AwareDatetime = Field(description="time with its zone; from then on orders are sent again")
    why: str = Field("announced maintenance", description="text: what the venue said")


class ExchangeSettings(Strict):
    endpoint: Endpoint = Field(Endpoint.SIMULATED, description="simulated, testnet (Bybit only) or live")
    base_url: str | None = Field(
        None,
        description="URL of a running `crypto-bot venue` (simulated only); null: the command starts its own",
    )
    control_url: str | None = Field(None, description="URL of that venue's control side (simulated only)")
    hostname: str | None = Field(None, description="host name, e.g. manepa.jp for Bybit's Japanese site")
    symbol: Symbol = Field(description="symbol as BASE/QUOTE, or BASE/QUOTE:SETTLE for a perpetual")
    requests_per_minute: int = Field(gt=0, description="requests a minute that the venue allows the account")
    target_quantity: Money = Field(gt=0, description="base currency (BTC): the size that is 100 % of the ramp")
    order_lifetime_minutes: int = Field(
        60, ge=1, le=43200, description="minutes until a resting order ends by itself (bitFlyer)"
    )
    maintenance: tuple[MaintenanceSettings, ...] = Field(
        (), description="list of announced windows, each with starts_at, ends_at and why: no order is sent in them"
    )


class StrategySettings(Strict):
    name: str = Field("sma_cross", description="one of ours, or a dotted path package.module.function")
    parameters: dict[str, Any] = Field(default_factory=dict, description="the strategy's own parameters")


class RiskSettings(Strict):
    max_order_notional: dict[str, Money] = Field(description="amounts by quote currency: one order's worth")
    max_position_notional: dict[str, Money] = Field(description="amounts by quote currency: position's worth")
    max_open_orders: int = Field(ge=1, description="number of orders that may rest at once")
    max_orders_per_minute: int = Field(ge=1, description="number of orders in any minute")
    max_orders_per_day: int = Field(ge=1, description="number of orders in a day")
    max_daily_loss: dict[str, Money] = Field(description="amounts by quote currency: loss that ends the day")
    max_drawdown: Money = Field(gt=0, le=1, description="fraction of the equity peak; 0.05 is 5 %")
    price_collar: Money = Field(gt=0, le=1, description="fraction away from the middle of the book; 0.02 is 2 %")
    max_data_age_seconds: float = Field(gt=0, description="seconds: older market data place no order")
    max_clock_skew_seconds: float = Field(gt=0, description="seconds between this clock and the venue's")
    duplicate_window_seconds: float = Field(ge=0, description="seconds in which the same order is refused")
    repeated_execution_limit: int = Field(
        ge=1, description="number of equal orders in a row without a change of mind, before the latch"
    )
    refused_in_a_row_limit: int = Field(
        ge=1, le=40, description="number of orders that the venue refused in a row, before the next ones wait"
    )

    @field_validator("max_order_notional", "max_position_notional", "max_daily_loss")
    @classmethod
    def _limits_are_positive(cls, value: dict[str, Decimal]) -> dict[str, Decimal]:
        for currency, limit in value.items():
            if limit <= 0:
                raise ValueError(f"the limit in {currency} must be greater than 0, was {limit}")
        return value


class RungSettings(Strict):
    """What must be shown on a rung before the next one. Times are market time."""

    min_seconds: float = Field(ge=0, description="seconds of market time on the rung; a day is 86400")
    min_cycles: int = Field(ge=0, description="number of cycles on the rung")
    min_fills: int = Field(ge=0, description="number of fills on the rung")
    max_error_rate: Money = Field(ge=0, le=1, description="fraction of cycles that may fail; 0.02 is 2 %")
    max_latency_p95_ms: float = Field(gt=0, description="milliseconds that 95 % of the requests stay below")
    max_slippage: Money = Field(ge=0, le=1, description="fraction paid beyond the decision price; 0.001 is 0.1 %")
    max_drawdown: Money = Field(gt=0, le=1, description="fraction that equity may fall from its highest on the rung")
    max_warnings: int = Field(ge=0, description="number of rejected or adopted orders and kill switches in min_seconds")
    max_orders_per_day: int = Field(ge=1, description="number of orders in a day that the certificate allows")


class LadderSettings(Strict):
    ramp_steps: tuple[Money, ...] = Field(
        (Decimal("0.25"), Decimal("0.5"), Decimal("1")),
        min_length=1,
        description="rising fractions of the target size, e.g. [0.25, 0.5, 1]",
    )
    certificate_days: float = Field(30, gt=0, description="days until a rung must be earned again, or renewed")
    renewal_days: float = Field(7, gt=0, description="days before its end from which the top rung may be renewed")
    review_cycles: int = Field(60, ge=1, description="trading cycles between two reviews of the rung")
    approval_hours: float = Field(24, gt=0, description="hours in which a person may approve and the approval holds")
    simulated_approves_itself: bool = Field(
        True, description="true or false: simulated venues need no human; live ones always do"
    )
    paper: RungSettings
    minimal: RungSettings
    ramp: RungSettings

    @field_validator("ramp_steps")
    @classmethod
    def _steps_rise_to_the_target(cls, value: tuple[Decimal, ...]) -> tuple[Decimal, ...]:
        if value[-1] > 1:
            raise ValueError("must end at 1 (the target size) or below")
        if not all(low < high for low, high in pairwise((Decimal(0), *value))):
            raise ValueError("must rise from above 0")
        return value

    @model_validator(mode="after")
    def _renewed_in_its_time(self) -> "LadderSettings":
        if self.renewal_days >= self.certificate_days:
            raise ValueError("renewal_days must be less than certificate_days")
        return self


class LoggingSettings(Strict):
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="least level that is kept")
    handlers: tuple[Literal["console", "file"], ...] = Field(
        ("console", "file"), description="list of console (stderr) and file"
    )
    file_path: Place | None = Field(None, description="path of the log file; null: <home>/logs/crypto-bot.log")
    format: Literal["text", "json"] = Field("text", description="text for people, json: one object a line")
    mask_balances: bool = Field(False, description="true or false: hide balances, positions and profit in the log too")


class LedgerSettings(Strict):
    url: str | None = Field(
        None, description="database URL, e.g. postgresql://user@host/name; null: SQLite at <home>/ledger.db"
    )


class Settings(Strict):
    home: Place = Field(Path("var"), description="path of the directory for ledger, logs and locks")
    data: DataSettings
    execution: ExecutionSettings
    exchanges: dict[ExchangeName, ExchangeSettings]
    strategy: StrategySettings
    risk: RiskSettings
    ladder: LadderSettings
    logging: LoggingSettings
    ledger: LedgerSettings
    prefect: PrefectSettings = Field(default_factory=PrefectSettings)
    maintenance: UpkeepSettings = Field(default_factory=UpkeepSettings)
    secrets: SecretsSettings = Field(default_factory=SecretsSettings)
    alerts: AlertSettings = Field(default_factory=AlertSettings)
    monitoring: MonitoringSettings = Field(default_factory=MonitoringSettings)

    def symbol(self, exchange: ExchangeName) -> str:
        """The symbol traded at an exchange: `data.symbol` at `data.exchange`, else the exchange's own."""
        if self.data.symbol is not None and exchange == self.data.exchange:
            return self.data.symbol
        return self.exchanges[exchange].symbol

    def account(self, exchange: ExchangeName) -> str:
        """The name under which the ledger keeps the exchange's account: what a simulation has earned, and what it
        holds, is never taken for a real account's.
        """
        endpoint = self.exchanges[exchange].endpoint
        return exchange if endpoint is Endpoint.SIMULATED else f"{exchange}@{endpoint}"

    @property
    def ledger_url(self) -> str:
        return self.ledger.url or f"sqlite:///{self.home / 'ledger.db'}"

    @property
    def ledger_is_shared(self) -> bool:
        """Whether other hosts may use the same ledger: it is more than a file of this one."""
        return not self.ledger_url.startswith("sqlite")

    @property
    def metrics_file(self) -> Path:
        return self.monitoring.file_path or self.home / "metrics" / "metrics.jsonl"

    @property
    def log_file(self) -> Path:
        return self.logging.file_path or self.home / "logs" / "crypto-bot.log"
