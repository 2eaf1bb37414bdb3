"""The settings as typed values. YAML files fill them (`config/loader.py`); an unknown key is refused.

Amounts of money are Decimal from text; durations are in seconds unless the name says otherwise.
"""

from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from trading.money import amount

EXCHANGES = ("bybit", "bitbank", "bitflyer", "okcoinjp")
Timeframe = Literal["1m", "5m", "15m", "30m", "1h", "4h", "1d"]


def _money(value: object) -> Decimal:
    # YAML reads 0.1 as a float; its shortest text is what the person wrote.
    return amount(str(value) if isinstance(value, float) else value)  # type: ignore[arg-type]


Money = Annotated[Decimal, BeforeValidator(_money)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Endpoint(StrEnum):
    SIMULATED = "simulated"
    TESTNET = "testnet"
    LIVE = "live"


class DataSettings(Strict):
    exchange: Literal["bybit", "bitbank", "bitflyer", "okcoinjp"] = "bitbank"
    symbol: str | None = None  # None: the exchange's own symbol below
    timeframe: Timeframe = "1m"
    candles: int = Field(60, ge=2, le=1000)
    cache_enabled: bool = True
    cache_ttl: float = Field(30, ge=0)


class ExecutionSettings(Strict):
    rate_limit_margin: float = Field(0.8, gt=0, le=1)
    cancel_reserve: float = Field(0.2, ge=0, lt=1)  # share of the budget that only cancelling may use
    retry_attempts: int = Field(3, ge=1, le=10)  # reads only; placing is never repeated
    retry_delay: float = Field(1.0, ge=0)
    timeout: float = Field(10.0, gt=0)
    cycle_seconds: int = Field(60, ge=1)
    order_style: Literal["taker", "maker"] = "taker"
    slippage_limit: Money = Field(Decimal("0.003"), ge=0)  # a taker order's price limit, as a fraction beyond the book
    follow_seconds: float = Field(5.0, ge=0)
    unknown_patience: float = Field(60.0, gt=0)  # how long an unknown order is looked for before a human is called


class ExchangeSettings(Strict):
    endpoint: Endpoint = Endpoint.SIMULATED
    base_url: str | None = None  # simulated: a running `crypto-bot venue`
    control_url: str | None = None  # simulated: its control side
    hostname: str | None = None  # e.g. manepa.jp for Bybit's Japanese site
    symbol: str
    requests_per_minute: int = Field(gt=0)
    target_quantity: Money = Field(gt=0)  # base; 100 % of the ramp
    order_lifetime_minutes: int = Field(60, ge=1, le=43200)  # bitFlyer: bounds the life of an order nobody knows of


class StrategySettings(Strict):
    name: str = "sma_cross"  # one of ours, or a dotted path `package.module.function`
    parameters: dict[str, Any] = Field(default_factory=dict)


class RiskSettings(Strict):
    max_order_notional: dict[str, Money]  # by quote currency
    max_position_notional: dict[str, Money]
    max_open_orders: int = Field(ge=1)
    max_orders_per_minute: int = Field(ge=1)
    max_orders_per_day: int = Field(ge=1)
    max_daily_loss: dict[str, Money]
    max_drawdown: Money = Field(gt=0, le=1)  # fraction of the equity peak
    price_collar: Money = Field(gt=0, le=1)  # furthest from the book's middle, as a fraction
    max_data_age_seconds: float = Field(gt=0)
    max_clock_skew_seconds: float = Field(gt=0)
    duplicate_window_seconds: float = Field(ge=0)
    repeated_execution_limit: int = Field(ge=1)  # same side and size in a row without a change of mind: the latch


class RungSettings(Strict):
    """What must be shown on a rung before the next one. Times are market time."""

    min_seconds: float = Field(ge=0)
    min_cycles: int = Field(ge=0)
    min_fills: int = Field(ge=0)
    max_error_rate: Money = Field(ge=0, le=1)


class LadderSettings(Strict):
    ramp_steps: tuple[Money, ...] = (Decimal("0.25"), Decimal("0.5"), Decimal("1"))
    certificate_days: float = Field(30, gt=0)
    simulated_approves_itself: bool = True
    paper: RungSettings
    minimal: RungSettings
    ramp: RungSettings


class LoggingSettings(Strict):
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    handlers: tuple[Literal["console", "file"], ...] = ("console", "file")
    file_path: Path | None = None  # None: <home>/logs/crypto-bot.log


class LedgerSettings(Strict):
    url: str | None = None  # None: SQLite at <home>/ledger.db


class Settings(Strict):
    home: Path = Path("var")
    data: DataSettings
    execution: ExecutionSettings
    exchanges: dict[Literal["bybit", "bitbank", "bitflyer", "okcoinjp"], ExchangeSettings]
    strategy: StrategySettings
    risk: RiskSettings
    ladder: LadderSettings
    logging: LoggingSettings
    ledger: LedgerSettings

    def symbol(self, exchange: str) -> str:
        """The symbol traded at an exchange: `data.symbol` where it is the chosen exchange, else the exchange's own."""
        if self.data.symbol is not None and exchange == self.data.exchange:
            return self.data.symbol
        return self.exchanges[exchange].symbol  # type: ignore[index]

    @property
    def ledger_url(self) -> str:
        return self.ledger.url or f"sqlite:///{self.home / 'ledger.db'}"

    @property
    def log_file(self) -> Path:
        return self.logging.file_path or self.home / "logs" / "crypto-bot.log"
