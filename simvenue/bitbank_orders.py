"""bitbank's private calls: assets, orders, trades (docs/venues.md#bitbank).

Each takes the parameters and gives the data of the envelope, or raises BitbankRefusal with the venue's code.
"""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from simvenue import bitbank_replies as codes
from simvenue.amounts import positive
from simvenue.bitbank_replies import BitbankRefusal, as_whole_number, whole_number
from simvenue.bitbank_rows import EXPIRES_AFTER_MS, asset_row, order_row, trade_row
from simvenue.values import AlreadyEnded, Order, OrderRequest, Pair, Rejection
from simvenue.venue import Venue

Parameters = Mapping[str, Any]

KEPT_AFTER_END_MS = 90 * 86_400_000  # three months after its end an order can no longer be looked up
IDS_AT_ONCE = 30
TRADES_AT_ONCE = 1_000


class BitbankAccount:
    """Carry out what needs a key."""

    def __init__(self, venue: Venue) -> None:
        """Act on this venue's one account."""
        self._venue = venue

    def assets(self, _: Parameters) -> dict[str, Any]:
        """List what the account holds, as `GET /user/assets`."""
        balances = self._venue.shown.balances()
        return {"assets": [asset_row(asset, free, locked) for asset, (free, locked) in balances.items()]}

    def place(self, parameters: Parameters) -> dict[str, Any]:
        """Place a limit or market order; `amount` is in base for both sides, also of a market order."""
        request = self._order_request(parameters)
        pair = self._pair(parameters)
        if self._venue.market(pair.symbol).state == "closed":  # as /spot/status says: HALT
            raise BitbankRefusal(codes.SUSPENDED)
        if self._venue.is_halted and request.time_in_force == "post_only":
            request = replace(request, time_in_force="gtc")  # a circuit break ignores post_only
        try:
            order = self._venue.place(request)
        except Rejection as rejection:
            raise BitbankRefusal(self._code(rejection, request)) from rejection
        return order_row(pair, order)

    def order(self, parameters: Parameters) -> dict[str, Any]:
        """Look one order up; 50009 from three months after its end."""
        pair = self._pair(parameters)
        order = self._look_up(pair, _order_id(parameters))
        if order is None:
            raise BitbankRefusal(codes.ORDER_NOT_FOUND)
        return order_row(pair, order)

    def orders_info(self, parameters: Parameters) -> dict[str, Any]:
        """Look several orders up; those that are unknown or too old are left out without a word."""
        pair = self._pair(parameters)
        found = (self._look_up(pair, order_id) for order_id in _order_ids(parameters))
        return {"orders": [order_row(pair, order) for order in found if order is not None]}

    def cancel(self, parameters: Parameters) -> dict[str, Any]:
        """Cancel one order; 50026 when it is cancelled already, 50027 when it is filled."""
        pair = self._pair(parameters)
        return order_row(pair, self._cancel(pair, _order_id(parameters)))

    def cancel_several(self, parameters: Parameters) -> dict[str, Any]:
        """Cancel up to 30 orders of a pair and list those that this call cancelled; refused when none was."""
        pair = self._pair(parameters)
        order_ids = _order_ids(parameters)
        if len(order_ids) > IDS_AT_ONCE:
            raise BitbankRefusal(codes.TOO_MANY_IDS)
        cancelled, refusals = [], []
        for order_id in order_ids:
            try:
                cancelled.append(order_row(pair, self._cancel(pair, order_id)))
            except BitbankRefusal as refusal:
                refusals.append(refusal)
        if refusals and not cancelled:
            raise refusals[0]
        return {"orders": cancelled}

    def active_orders(self, parameters: Parameters) -> dict[str, Any]:
        """List resting orders, newest first, of one pair or of all."""
        pair = self._pair(parameters) if parameters.get("pair") is not None else None
        from_id = whole_number(parameters, "from_id", codes.BAD_FROM_ID)
        end_id = whole_number(parameters, "end_id", codes.BAD_END_ID)
        since, end = _span(parameters)
        count = _count(parameters)
        orders = [
            order
            for order in reversed(self._venue.shown.open_orders(pair.symbol if pair else None))
            if (from_id is None or int(order.id) >= from_id)
            and (end_id is None or int(order.id) <= end_id)
            and since <= order.created_at <= end
        ]
        return {"orders": [order_row(self._pair_of(order), order) for order in orders[:count]]}

    def trade_history(self, parameters: Parameters) -> dict[str, Any]:
        """List the account's fills, newest first unless order=asc; since and end are ms."""
        pair = self._pair(parameters) if parameters.get("pair") is not None else None
        order_id = whole_number(parameters, "order_id", codes.BAD_ORDER_ID)
        since, end = _span(parameters)
        count = _count(parameters)
        fills = [
            fill
            for fill in self._venue.shown.fills()
            if (pair is None or fill.order.symbol == pair.symbol)
            and (order_id is None or fill.order.id == str(order_id))
            and since <= fill.at <= end
        ]
        if parameters.get("order") != "asc":
            fills.reverse()
        page = self._venue.shown.served(fills[:count])
        return {"trades": [trade_row(self._pair_of(fill.order), fill) for fill in page]}

    def margin_status(self, _: Parameters) -> dict[str, Any]:
        """Give the state of a margin account that was never applied for."""
        zero = "0.0000"
        amounts = dict.fromkeys(
            [
                "total_margin_balance",
                "margin_position_profit_loss",
                "unrealized_cost",
                "total_margin_position_product",
                "open_margin_position_product",
                "open_margin_order_product",
                "total_position_maintenance_margin",
                "total_long_position_maintenance_margin",
                "total_short_position_maintenance_margin",
                "total_open_order_maintenance_margin",
                "total_long_open_order_maintenance_margin",
                "total_short_open_order_maintenance_margin",
            ],
            zero,
        )
        return {
            "status": "NORMAL",
            "total_margin_balance_percentage": None,
            **amounts,
            "margin_call_percentage": None,
            "losscut_percentage": None,
            "buy_credit": zero,
            "sell_credit": zero,
            "available_balances": [
                {"pair": pair.venue_symbol, "long": "0", "short": "0"} for pair in self._venue.spec.pairs
            ],
        }

    def margin_positions(self, _: Parameters) -> dict[str, Any]:
        """List no position: this venue trades spot only."""
        return {
            "notice": {"what": None, "occurred_at": None, "amount": None, "due_date_at": None},
            "payables": {"amount": "0"},
            "positions": [],
            "losscut_threshold": {"individual": "0", "company": "0"},
        }

    # -- the parts

    def _pair(self, parameters: Parameters) -> Pair:
        name = parameters.get("pair")
        if name is None:
            raise BitbankRefusal(codes.NO_PAIR)
        pair = self._venue.pair_by_venue_symbol(name) if isinstance(name, str) else None
        if pair is None:
            raise BitbankRefusal(codes.BAD_PAIR)
        return pair

    def _pair_of(self, order: Order) -> Pair:
        pair = self._venue.pair(order.symbol)
        if pair is None:
            raise LookupError(f"order {order.id} names a pair that this venue lacks: {order.symbol}")
        return pair

    def _look_up(self, pair: Pair, order_id: int) -> Order | None:
        return self._find(pair, order_id) if self._venue.shown.order_by_id(str(order_id)) is not None else None

    def _find(self, pair: Pair, order_id: int) -> Order | None:
        """Find an order as the matching does, which knows it before the lookups do."""
        order = self._venue.order_by_id(str(order_id))
        if order is None or order.symbol != pair.symbol or self._venue.shown.forgets(order):
            return None
        gone_since = self._venue.clock.now_ms() - KEPT_AFTER_END_MS
        if order.ended_at is not None and order.ended_at < gone_since:
            return None
        return order

    def _cancel(self, pair: Pair, order_id: int) -> Order:
        order = self._find(pair, order_id)
        if order is None:
            raise BitbankRefusal(codes.ORDER_NOT_FOUND)
        try:
            self._venue.cancel(order)
        except AlreadyEnded:
            filled = order.status == "filled"
            raise BitbankRefusal(codes.ALREADY_EXECUTED if filled else codes.ALREADY_CANCELLED) from None
        return order

    def _order_request(self, parameters: Parameters) -> OrderRequest:
        pair = self._pair(parameters)
        for name, missing in (
            ("side", codes.NO_SIDE),
            ("type", codes.NO_TYPE),
            ("amount", codes.NO_AMOUNT),
        ):
            if parameters.get(name) is None:
                raise BitbankRefusal(missing)
        side, kind = parameters["side"], parameters["type"]
        if side not in ("buy", "sell"):
            raise BitbankRefusal(codes.BAD_SIDE)
        if kind not in ("limit", "market"):  # stop orders are not simulated
            raise BitbankRefusal(codes.BAD_TYPE)
        post_only = parameters.get("post_only", False)
        if not isinstance(post_only, bool) or (post_only and kind == "market"):
            raise BitbankRefusal(codes.BAD_POST_ONLY)
        if kind == "limit" and parameters.get("price") is None:
            raise BitbankRefusal(codes.NO_PRICE)
        return OrderRequest(
            symbol=pair.symbol,
            side=side,
            type=kind,
            quantity=_amount(parameters["amount"], codes.BAD_AMOUNT),
            price=_amount(parameters["price"], codes.BAD_PRICE) if kind == "limit" else None,
            time_in_force="post_only" if post_only else "gtc",
            expires_at=self._venue.clock.now_ms() + EXPIRES_AFTER_MS,
        )

    def _code(self, rejection: Rejection, request: OrderRequest) -> int:
        if rejection.reason == "too_large" and request.type == "market" and request.side == "buy":
            return codes.MARKET_BUY_TOO_LARGE
        if rejection.reason == "too_small" and request.quantity is not None:
            usual = self._venue.market(request.symbol).pair.min_quantity
            return codes.MINIMUM_RAISED if request.quantity >= usual else codes.TOO_SMALL
        if rejection.reason == "price_band" and request.price is not None:
            too_high = request.price > self._venue.market(request.symbol).ticker().last
            return codes.PRICE_TOO_HIGH if too_high else codes.PRICE_TOO_LOW
        return {
            "insufficient_funds": codes.INSUFFICIENT,
            "below_min_notional": codes.TOO_SMALL,
            "too_large": codes.TOO_LARGE,
            "off_tick": codes.BAD_PRICE,
            "off_lot": codes.BAD_AMOUNT,
            "too_many_orders": codes.TOO_MANY_ORDERS,
            "halted": codes.NO_MARKET_ORDERS,
        }[rejection.reason]


def _amount(value: Any, bad: int) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, (str, int, Decimal)):
        raise BitbankRefusal(bad)
    amount = positive(value)
    if amount is None:
        raise BitbankRefusal(bad)
    return amount


def _order_id(parameters: Parameters) -> int:
    order_id = whole_number(parameters, "order_id", codes.BAD_ORDER_ID)
    if order_id is None:
        raise BitbankRefusal(codes.NO_ORDER_ID)
    return order_id


def _order_ids(parameters: Parameters) -> list[int]:
    order_ids = parameters.get("order_ids")
    if order_ids is None:
        raise BitbankRefusal(codes.NO_ORDER_IDS)
    if not isinstance(order_ids, list) or not order_ids:
        raise BitbankRefusal(codes.BAD_ORDER_IDS)
    return [as_whole_number(order_id, codes.BAD_ORDER_IDS) for order_id in order_ids]


def _count(parameters: Parameters) -> int:
    count = whole_number(parameters, "count", codes.BAD_COUNT)
    if count is None:
        return TRADES_AT_ONCE
    if not 1 <= count <= TRADES_AT_ONCE:
        raise BitbankRefusal(codes.BAD_COUNT)
    return count


def _span(parameters: Parameters) -> tuple[int, int]:
    since = whole_number(parameters, "since", codes.BAD_SINCE)
    end = whole_number(parameters, "end", codes.BAD_END)
    return since or 0, 2**63 if end is None else end
