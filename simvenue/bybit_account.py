"""Bybit's account calls: wallet, key, coins, fees, positions, leverage (docs/venues.md#bybit)."""

from decimal import Decimal
from typing import Any

from simvenue.amounts import positive
from simvenue.bybit_market import LAUNCHED_MS, find_pair
from simvenue.bybit_protocol import BAD_PARAMETER, Call, Params, Refusal, category, one_page, whole_number
from simvenue.bybit_rows import position_row
from simvenue.values import Pair, plain
from simvenue.venue import Venue

CHAINS = {"BTC": "BTC", "ETH": "ETH", "USDT": "ETH", "JPY": "JPY"}
DISCONNECTION_PRODUCTS = ("SPOT", "DERIVATIVES", "OPTIONS")
LARGEST_LEVERAGE = Decimal(100)


class BybitAccount:
    """Render what the account has and may."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self.calls: dict[tuple[str, str], Call] = {
            ("GET", "/v5/account/wallet-balance"): self.wallet,
            ("GET", "/v5/account/info"): self.account_mode,
            ("GET", "/v5/user/query-api"): self.api_key,
            ("GET", "/v5/asset/coin/query-info"): self.coins,
            ("GET", "/v5/account/fee-rate"): self.fee_rates,
            ("GET", "/v5/position/list"): self.positions,
            ("POST", "/v5/position/set-leverage"): self.set_leverage,
            ("GET", "/v5/account/query-dcp-info"): self.disconnection,
            ("POST", "/v5/order/disconnected-cancel-all"): self.set_disconnection,
        }

    def wallet(self, params: Params) -> dict[str, Any]:
        """Give the coins that are not zero, each with what orders and positions hold of it."""
        if params.get("accountType") != "UNIFIED":
            raise Refusal(BAD_PARAMETER, "params error: accountType only support UNIFIED.")
        wanted = params["coin"].split(",") if "coin" in params else None
        rows = [
            self._coin(asset, free, locked)
            for asset, (free, locked) in self._venue.shown.balances().items()
            if (free or locked) and (wanted is None or asset in wanted)
        ]
        worth = plain(sum((Decimal(row["usdValue"]) for row in rows), Decimal(0)))
        account = {
            "accountType": "UNIFIED",
            "accountIMRate": "",
            "accountMMRate": "",
            "totalEquity": worth,
            "totalWalletBalance": worth,
            "totalMarginBalance": worth,
            "totalAvailableBalance": "",
            "totalPerpUPL": plain(self._perpetual_sum("unrealised")),
            "totalInitialMargin": plain(self._perpetual_sum("margin")),
            "totalMaintenanceMargin": "0",
            "accountLTV": "0",
            "coin": rows,
        }
        return {"list": [account]}

    def account_mode(self, params: Params) -> dict[str, Any]:
        return {
            "marginMode": "REGULAR_MARGIN",
            "updatedTime": str(LAUNCHED_MS),
            "unifiedMarginStatus": 6,
            "dcpStatus": "OFF",
            "timeWindow": 0,
            "smpGroup": 0,
            "isMasterTrader": False,
            "spotHedgingStatus": "OFF",
        }

    def api_key(self, params: Params) -> dict[str, Any]:
        """Tell what the key may do. One that is bound to an address does not expire, and the date says 1970."""
        key = self._venue.keys.in_use()
        withdraws = self._venue.faults.strike("withdraw_permission", "key", ("key",)) is not None or key.may_withdraw
        return {
            "id": "10000001",
            "note": "simulated",
            "apiKey": key.secrets.api_key,
            "readOnly": 0,
            "secret": "",
            "permissions": {
                "ContractTrade": ["Order", "Position"],
                "Spot": ["SpotTrade"],
                "Wallet": ["AccountTransfer", *(["Withdraw"] if withdraws else [])],
                "Options": [],
                "Derivatives": ["DerivativesTrade"],
                "CopyTrading": [],
                "BlockTrade": [],
                "Exchange": [],
                "NFT": [],
                "Affiliate": [],
                "Earn": [],
            },
            "ips": list(key.addresses) or ["*"],
            "type": 1,
            "deadlineDay": -2,
            "expiredAt": key.expires_at or "1970-01-01T00:00:00Z",
            "createdAt": "2026-01-01T00:00:00Z",
            "unified": 0,
            "uta": 1,
            "userID": 20000001,
            "inviterID": 0,
            "vipLevel": "No VIP",
            "mktMakerLevel": "0",
            "affiliateID": 0,
            "rsaPublicKey": "",
            "isMaster": True,
            "parentUid": "0",
            "kycLevel": "LEVEL_1",
            "kycRegion": "JPN",
        }

    def coins(self, params: Params) -> dict[str, Any]:
        names = dict.fromkeys(name for pair in self._venue.spec.pairs for name in (pair.base, pair.quote))
        wanted = params.get("coin")
        return {"rows": [_coin_facts(name) for name in names if wanted in (None, name)]}

    def fee_rates(self, params: Params) -> dict[str, Any]:
        """State the rates that fills are charged at; without a category the contracts' (as ccxt asks)."""
        word = category({"category": "linear"} | dict(params))
        rows = [
            {
                "symbol": pair.venue_symbol,
                "baseCoin": "",
                "takerFeeRate": plain(pair.taker_rate),
                "makerFeeRate": plain(pair.maker_rate),
            }
            for pair in self._venue.spec.pairs
            if pair.category == word
            and params.get("symbol") in (None, pair.venue_symbol)
            and params.get("baseCoin") in (None, pair.base)
        ]
        return {"category": word, "list": rows}

    def positions(self, params: Params) -> dict[str, Any]:
        """Give a symbol's row even when flat; for a settle coin only what is held."""
        word = category(params, ("linear", "inverse", "option"))
        if word == "linear" and "symbol" not in params and "settleCoin" not in params:
            raise Refusal(BAD_PARAMETER, "params error: symbol or settleCoin is required")
        if "symbol" in params and word == "linear":
            chosen = [find_pair(self._venue, word, params["symbol"])]
        else:
            chosen = [
                pair
                for pair in self._venue.spec.pairs
                if pair.category == word
                and params.get("settleCoin") in (None, pair.quote)
                and self._venue.positions(pair.symbol)
            ]
        rows = [(len(chosen) - place, self._position(pair)) for place, pair in enumerate(chosen)]
        page, cursor = one_page(rows, params, 20, 200)
        return {"category": word, "list": page, "nextPageCursor": cursor}

    def set_leverage(self, params: Params) -> dict[str, Any]:
        """Change the leverage of a contract; the same value again is refused (110043)."""
        word = category(params, ("linear", "inverse"))
        pair = find_pair(self._venue, word, params.get("symbol", ""))
        long, short = positive(params.get("buyLeverage", "")), positive(params.get("sellLeverage", ""))
        if long is None or long != short:
            raise Refusal(BAD_PARAMETER, "params error: buyLeverage must equal sellLeverage in one-way mode")
        if not 1 <= long <= LARGEST_LEVERAGE:
            raise Refusal(110013, "Cannot set leverage due to risk limit level.")
        if long == self._venue.leverage(pair.symbol):
            raise Refusal(110043, "Set leverage has not been modified.")
        self._venue.set_leverage(pair.symbol, long)
        return {}

    def disconnection(self, params: Params) -> dict[str, Any]:
        """List disconnection protection: empty, since an account manager has to enable it."""
        return {"dcpInfos": []}

    def set_disconnection(self, params: Params) -> dict[str, Any]:
        """Take a window of 3..300 s and arm nothing: it protects institutional accounts only."""
        seconds = whole_number(params, "timeWindow")
        if seconds is None or not 3 <= seconds <= 300:
            raise Refusal(BAD_PARAMETER, "params error: timeWindow is outside 3..300")
        if params.get("product", "OPTIONS") not in DISCONNECTION_PRODUCTS:
            raise Refusal(BAD_PARAMETER, "params error: product invalid")
        return {}

    def _coin(self, asset: str, free: Decimal, locked: Decimal) -> dict[str, Any]:
        contracts = [pair for pair in self._venue.spec.pairs if pair.kind == "perpetual" and pair.quote == asset]
        unrealised = sum((self._venue.unrealised(pair.symbol) for pair in contracts), Decimal(0))
        order_margin = sum((self._venue.order_margin(pair.symbol) for pair in contracts), Decimal(0))
        position_margin = sum((self._venue.position_margin(pair.symbol) for pair in contracts), Decimal(0))
        equity = free + locked + unrealised
        return {
            "coin": asset,
            "equity": plain(equity),
            "usdValue": plain((equity * self._dollars(asset)).quantize(Decimal("0.00000001"))),
            "walletBalance": plain(free + locked),
            "locked": plain(locked),
            "free": "",
            "spotHedgingQty": "0",
            "borrowAmount": "0",
            "spotBorrow": "0",
            "accruedInterest": "0",
            "availableToWithdraw": "",
            "availableToBorrow": "",
            "totalOrderIM": plain(order_margin),
            "totalPositionIM": plain(position_margin),
            "totalPositionMM": "0",
            "unrealisedPnl": plain(unrealised),
            "cumRealisedPnl": plain(sum((self._realised(pair) for pair in contracts), Decimal(0))),
            "bonus": "0",
            "marginCollateral": True,
            "collateralSwitch": True,
        }

    def _dollars(self, asset: str) -> Decimal:
        """Value one unit of an asset: at its own spot market, 1 for the quote, 0 without a market."""
        for pair in self._venue.spec.pairs:
            if pair.kind == "spot" and pair.base == asset:
                return self._venue.market(pair.symbol).ticker().last
        return Decimal(1) if any(pair.quote == asset for pair in self._venue.spec.pairs) else Decimal(0)

    def _perpetual_sum(self, what: str) -> Decimal:
        symbols = [pair.symbol for pair in self._venue.spec.pairs if pair.kind == "perpetual"]
        if what == "unrealised":
            return sum((self._venue.unrealised(symbol) for symbol in symbols), Decimal(0))
        margins = (self._venue.position_margin(each) + self._venue.order_margin(each) for each in symbols)
        return sum(margins, Decimal(0))

    def _realised(self, pair: Pair) -> Decimal:
        """Sum the booked profit of a contract, fees taken off."""
        mine = (fill for fill in self._venue.fills if fill.order.symbol == pair.symbol)
        return sum((fill.realised - fill.fee for fill in mine), Decimal(0))

    def _position(self, pair: Pair) -> dict[str, Any]:
        held = self._venue.positions(pair.symbol)
        return position_row(
            pair,
            held[0] if held else None,
            mark=self._venue.market(pair.symbol).ticker().last,
            leverage=self._venue.leverage(pair.symbol),
            margin=self._venue.position_margin(pair.symbol),
            unrealised=self._venue.unrealised(pair.symbol),
            realised=self._realised(pair),
            updated_at=self._venue.clock.now_ms(),
        )


def _coin_facts(name: str) -> dict[str, Any]:
    chain = {
        "chainType": CHAINS[name],
        "chain": CHAINS[name],
        "confirmation": "6",
        "withdrawFee": "0",
        "depositMin": "0",
        "withdrawMin": "0",
        "chainDeposit": "0",
        "chainWithdraw": "0",
        "minAccuracy": "8",
    }
    return {"name": name, "coin": name, "remainAmount": "0", "chains": [chain]}
