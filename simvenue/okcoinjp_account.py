"""OKJ's account calls, trading account and the little of the funding account (docs/venues.md#okcoinjp)."""

from decimal import ROUND_FLOOR, Decimal
from typing import Any, NoReturn

from simvenue.okcoinjp_market import OkcoinjpMarket, find_pair
from simvenue.okcoinjp_orders import ARCHIVE_MS, HISTORY_MS
from simvenue.okcoinjp_protocol import Call, Params, Refusal, need, one_page, whole_number
from simvenue.okcoinjp_rows import bill_changes, bill_id, bill_row
from simvenue.values import plain
from simvenue.venue import Venue

MONEY_STEP = Decimal("0.00000001")


class OkcoinjpAccount:
    """Render what the account has and may."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._market = OkcoinjpMarket(venue)
        self.calls: dict[tuple[str, str], Call] = {
            ("GET", "/api/v5/account/balance"): self.balance,
            ("GET", "/api/v5/account/config"): self.configuration,
            ("GET", "/api/v5/account/instruments"): self._market.instruments,
            ("GET", "/api/v5/account/trade-fee"): self.fee_rates,
            ("GET", "/api/v5/account/max-size"): self.largest_order,
            ("GET", "/api/v5/account/max-avail-size"): self.available,
            ("GET", "/api/v5/account/bills"): self.bills,
            ("GET", "/api/v5/account/bills-archive"): self.archived_bills,
            ("GET", "/api/v5/asset/wallet"): self.wallet,
            ("GET", "/api/v5/asset/wallet/{currency}"): self.wallet,
            ("GET", "/api/v5/asset/currencies"): self.currencies,
            ("GET", "/api/v5/asset/asset-valuation"): self.valuation,
            ("POST", "/api/v5/asset/transfer"): self.refuse_transfer,
            ("POST", "/api/v5/asset/withdrawal"): self.refuse_transfer,
            ("POST", "/api/v5/asset/jpywithdrawal"): self.refuse_transfer,
        }
        for path in ("ledger", "deposit/history", "withdrawal/history", "bank-card-list"):
            self.calls["GET", f"/api/v5/asset/{path}"] = self.nothing
        for path in ("jpyDeposit/history", "jpyWithdrawal/history"):
            self.calls["GET", f"/api/v5/asset/{path}"] = self.nothing
        for path in ("deposit/history/{currency}", "withdrawal/history/{currency}"):
            self.calls["GET", f"/api/v5/asset/{path}"] = self.nothing

    def balance(self, params: Params) -> list[Any]:
        """Give the trading account: what a currency holds, what is free, what resting orders hold."""
        now = str(self._venue.clock.now_ms())
        wanted = params["ccy"].split(",") if "ccy" in params else None
        details = []
        for asset, (free, locked) in self._venue.shown.balances().items():
            if wanted is None or asset in wanted:
                row = {
                    "ccy": asset,
                    "eq": plain(free + locked),
                    "cashBal": plain(free + locked),
                    "availBal": plain(free),
                    "availEq": "",
                    "frozenBal": plain(locked),
                    "ordFrozen": plain(locked),
                    "uTime": now,
                }
                details.append(row)
        return [{"uTime": now, "totalEq": plain(self._worth()), "details": details}]

    def configuration(self, params: Params) -> list[Any]:
        """Tell what the key may do; it has no date of expiry."""
        key = self._venue.keys.in_use()
        withdraws = self._venue.faults.strike("withdraw_permission", "key", ("key",)) is not None or key.may_withdraw
        return [
            {
                "uid": "30000001",
                "mainUid": "30000001",
                "acctLv": "1",
                "posMode": "net_mode",
                "autoLoan": False,
                "level": "Lv1",
                "levelTmp": "",
                "label": "simulated",
                "perm": "read_only,trade,withdraw" if withdraws else "read_only,trade",
                "ip": ",".join(key.addresses),
                "roleType": "0",
                "opAuth": "0",
            }
        ]

    def fee_rates(self, params: Params) -> list[Any]:
        """State the rates that fills are charged at; what is charged is negative."""
        need(params, "instType")
        pair = find_pair(self._venue, params) if "instId" in params else self._venue.spec.pairs[0]
        return [
            {
                "category": "1",
                "instType": params["instType"],
                "level": "Lv1",
                "maker": plain(-pair.maker_rate),
                "taker": plain(-pair.taker_rate),
                "ts": str(self._venue.clock.now_ms()),
            }
        ]

    def largest_order(self, params: Params) -> list[Any]:
        """Give the largest order in base, at the best price of the other side."""
        pair = find_pair(self._venue, params)
        need(params, "tdMode")
        ticker = self._venue.market(pair.symbol).ticker()
        money = self._venue.available(pair.quote)
        buys = (money / (ticker.ask or ticker.last) / pair.lot).to_integral_value(ROUND_FLOOR) * pair.lot
        return [
            {
                "instId": pair.venue_symbol,
                "ccy": "",
                "maxBuy": plain(max(Decimal(0), buys)),
                "maxSell": plain(self._venue.available(pair.base)),
            }
        ]

    def available(self, params: Params) -> list[Any]:
        """Give what a buy could spend, in quote, and a sell, in base."""
        pair = find_pair(self._venue, params)
        need(params, "tdMode")
        row = {
            "instId": pair.venue_symbol,
            "availBuy": plain(self._venue.available(pair.quote)),
            "availSell": plain(self._venue.available(pair.base)),
        }
        return [row]

    def bills(self, params: Params) -> list[Any]:
        return self._bills(params, HISTORY_MS)

    def archived_bills(self, params: Params) -> list[Any]:
        return self._bills(params, ARCHIVE_MS)

    def wallet(self, params: Params) -> list[Any]:
        """Give the funding account, which is empty: all money lies in the trading account."""
        named = params.get("currency")
        return [
            {"currency": asset, "balance": "0", "available": "0", "hold": "0"}
            for asset in self._assets()
            if named in (None, asset)
        ]

    def currencies(self, params: Params) -> list[Any]:
        """List the currencies in this venue's own shape, which is not OKX's."""
        return [
            {"currency": asset, "name": asset, "can_deposit": "0", "can_withdraw": "0", "min_withdrawal": "0"}
            for asset in self._assets()
        ]

    def valuation(self, params: Params) -> list[Any]:
        row = {"account_type": params.get("account_type", "0"), "balance": plain(self._worth())}
        return [row | {"valuation_currency": "JPY", "timestamp": str(self._venue.clock.now_ms())}]

    def nothing(self, params: Params) -> list[Any]:
        """Deposits, withdrawals and bank cards: there are none."""
        return []

    def refuse_transfer(self, params: Params) -> NoReturn:
        """Refuse to move money: the key is for reading and trading."""
        raise Refusal("50120", "This API key doesn't have permission to use this function")

    def _assets(self) -> list[str]:
        return list(dict.fromkeys(name for pair in self._venue.spec.pairs for name in (pair.quote, pair.base)))

    def _worth(self) -> Decimal:
        """Value everything in JPY at the last prices."""
        prices = {pair.base: self._venue.market(pair.symbol).ticker().last for pair in self._venue.spec.pairs}
        worth = sum(
            (
                (free + locked) * prices.get(asset, Decimal(1))
                for asset, (free, locked) in self._venue.shown.balances().items()
            ),
            Decimal(0),
        )
        return worth.quantize(MONEY_STEP)

    def _bills(self, params: Params, kept_ms: int) -> list[Any]:
        """List both legs of each fill, newest first, with the balance after it, counted back from now."""
        begin, end = whole_number(params, "begin") or 0, whole_number(params, "end")
        oldest = max(begin, self._venue.clock.now_ms() - kept_ms)
        pairs = {pair.symbol: pair for pair in self._venue.spec.pairs}
        held = {asset: free + locked for asset, (free, locked) in self._venue.balances().items()}
        rows = []
        for fill in reversed(self._venue.fills):
            if fill.at < oldest:
                break
            pair = pairs[fill.order.symbol]
            changes = bill_changes(fill, pair)
            for leg in (1, 0):
                currency, change = changes[leg]
                row = bill_row(fill, pair, leg, held.get(currency, Decimal(0)))
                held[currency] = held.get(currency, Decimal(0)) - change
                if end is not None and fill.at > end:
                    continue
                if all(params.get(name) in (None, row[name]) for name in ("ccy", "instId", "type", "subType")):
                    rows.append((bill_id(fill, leg), row))
        return one_page(rows if params.get("instType", "SPOT") == "SPOT" else [], params)
